"""Parameters of augmentation, their effect on mixtures, and the same bytes from the row alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import (
    RATE,
    ROOT,
    data_config,
    hiss,
    make_corpus,
    read_csv,
    snapshot,
    speechlike,
    tone,
    write_audio,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.audio import levels
from specmask.config.data import Augment
from specmask.config.schema import Config
from specmask.config.types import KINDS
from specmask.data import stft_cache
from specmask.data.mixtures import augmentation, build, effects, manifest, mixing, render, rir
from specmask.data.mixtures.plan import make_plans
from specmask.data.mixtures.render import FILES
from specmask.errors import UserError

# Every option that switches something on, and the key of its parameters.
SWITCHES = {
    "level_db": {"level_lower_db": -10, "level_upper_db": 5},
    "speed": {"speed_probability": 1},
    "pitch": {"pitch_probability": 1},
    "eq_speech": {"eq_speech_probability": 1},
    "eq_noise": {"eq_noise_probability": 1},
    "noises_db": {"noises_lower": 2, "noises_upper": 3},
    "colour": {"coloured_probability": 1},
    "impacts": {"impact_probability": 1},
    "switched": {"switched_probability": 1},
    "babble": {"babble_probability": 1, "babble_voices_lower": 2, "babble_voices_upper": 3},
    "only clean": {"clean_only_probability": 1},
    "only noise": {"noise_only_probability": 1},
    "room": {"room_probability": 1},
    "room early": {"room_probability": 1, "rir_target": "early", "rir_noise": "yes"},
    "room dry": {"room_probability": 1, "rir_target": "dry"},
    "band": {"band_probability": 1},
    "band full": {"band_probability": 1, "band_target": "full"},
    "clip": {"clip_probability": 1},
    "codec": {"codec_probability": 1},
}
NOWHERE = Path("nowhere"), Path("out")  # for draws that read and write nothing
MORE_THAN_A_SUM = {"room early", "room dry", "band full", "clip", "codec"}


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A corpus of five speakers."""
    root = make_corpus(tmp_path_factory.mktemp("voices"))
    rng = np.random.default_rng(8)
    for speaker in ("emma", "finn", "gina"):
        for k in range(2):
            write_audio(root / f"clean_train/{speaker}/{k}.wav", speechlike(rng, 1))
    write_audio(root / "clean_test/hugo/0.wav", speechlike(rng, 1))
    return root


def configured(corpus, out, options: dict, **changes) -> Config:
    """A small data set with these options of [augment]; others as ``data__seed=3``."""
    values = {f"augment__{key}": value for key, value in options.items()}
    sizes = {f"data__total_{s}_files": n for s, n in (("training", 4), ("validation", 1))}
    return data_config(corpus, out, **(sizes | {"data__total_testing_files": 1} | values | changes))


def made(config: Config, split: str = "training") -> list[dict[str, str]]:
    """Make one split and return its rows."""
    plan = next(p for p in make_plans(config)[0] if p.split == split)
    build.make(plan)
    return read_csv(config.data.data_path / f"manifest_{split}.csv")


def arrays(config: Config, row: dict[str, str], split: str = "training") -> list[np.ndarray]:
    """The three files of a row as whole numbers."""
    folder = config.data.data_path
    return [
        sf.read(folder / f"{kind}_{split}" / row[FILES[kind]], dtype="int16")[0].astype(int)
        for kind in KINDS
    ]


def parameters(row: dict[str, str]) -> dict:
    """The parameters in a row."""
    return json.loads(row["augmentation"] or "{}")


def check(config: Config, rows: list[dict[str, str]], split: str = "training") -> None:
    """Test what holds for every file: the sum, the peak, the SNRs, and the file from its row."""
    for row in rows:
        clean, noise, noisy = arrays(config, row, split)
        assert_array_equal(noisy, clean + noise)
        assert max(np.abs(x).max() for x in (clean, noise, noisy)) <= 0.99 * 32768 + 1
        measured = levels.snr_db(clean, noise)
        assert float(row["measured_snr_db"]) == pytest.approx(measured, abs=1e-3)
        active = levels.active_snr_db(clean, noise, RATE)
        assert float(row["measured_active_snr_db"]) == pytest.approx(active, abs=1e-3)
        if row["additive"] == "yes":
            by_level = config.data.blend == "level"
            found = measured if by_level or config.data.snr_reference == "whole" else active
            asked, quietest = float(row["snr_db"]), min(map(levels.power, (clean, noise)))
            assert found == asked or abs(found - asked) < 0.05 or quietest < 4
        again = render.remake(row, config, split)
        assert again.scale == parameters(row).get("scale", 1)
        for x, y in zip(
            (clean, noise, noisy), (again.clean, again.noise, again.noisy), strict=True
        ):
            assert_array_equal(x, y)


# ---------------------------------------------------------------- every option on its own


@pytest.mark.parametrize("name", SWITCHES)
def test_each_one(voices, tmp_path, name):
    config = configured(voices, tmp_path, SWITCHES[name])
    rows = made(config)
    assert all(name.split()[0] in parameters(row) for row in rows)
    assert {row["additive"] for row in rows} == {"no" if name in MORE_THAN_A_SUM else "yes"}
    check(config, rows)


@settings(max_examples=20)
@given(
    names=st.sets(st.sampled_from(sorted(SWITCHES)), min_size=2, max_size=9),
    seed=st.integers(0, 10**6),
    reference=st.sampled_from(["whole", "active"]),
    blend=st.sampled_from(["snr", "level"]),
)
def test_any_combination(voices, tmp_path_factory, names, seed, reference, blend):
    options = {}
    for name in sorted(names):
        options |= SWITCHES[name]
    for group in (("coloured", "impact", "babble"), ("clean_only", "noise_only")):
        chosen = {f"{kind}_probability" for kind in group} & options.keys()
        options |= dict.fromkeys(chosen, 1 / max(1, len(chosen)))
    config = configured(
        voices, tmp_path_factory.mktemp("any"), options, data__seed=seed,
        data__total_training_files=3, data__snr_reference=reference, data__blend=blend,
    )  # fmt: skip
    check(config, made(config))


@pytest.mark.parametrize("name", SWITCHES)
def test_one_option_does_not_move_the_draws_of_others(name):
    """Everything on against everything but one."""
    every, fewer = {}, {}
    for other, options in SWITCHES.items():
        if other.split()[0] not in ("only", "colour", "impacts", "babble"):
            every |= options
            fewer |= options if other.split()[0] != name.split()[0] else {}
    if name in ("colour", "impacts", "babble", "only clean", "only noise"):
        every |= {key: 0.5 if key.endswith("probability") else v for key, v in
                  SWITCHES[name].items()}  # fmt: skip
    configs = [data_config(*NOWHERE, **{f"augment__{k}": v for k, v in o.items()})
               for o in (every, fewer)]  # fmt: skip
    key = name.split()[0]
    seen = 0
    for clip in range(20):
        one, other = (augmentation.draw(c, "training", clip) for c in configs)
        seen += key in one
        assert key not in other
        assert {k: v for k, v in one.items() if k != key} == other
    assert seen


@pytest.mark.parametrize(("one", "other"), [("coloured", "babble"), ("clean_only", "noise_only")])
def test_of_two_that_exclude_each_other_neither_moves_the_other(one, other):
    def happened(*names: str) -> list[dict]:
        options = {f"augment__{name}_probability": 0.4 for name in names}
        config = data_config(*NOWHERE, **options)
        return [augmentation.draw(config, "training", clip) for clip in range(100)]

    first, second, both = happened(one), happened(other), happened(one, other)
    assert [{**a, **b} for a, b in zip(first, second, strict=True)] == both
    assert not any(a and b for a, b in zip(first, second, strict=True))


def test_draws_are_independent():
    """Over 1,000 clips, the kinds are not correlated."""
    chances = {k for o in SWITCHES.values() for k in o if k.endswith("probability")}
    options = {f"augment__{name}": 0.5 for name in chances - {"impact_probability"}}
    config = data_config(*NOWHERE, augment__noises_upper=2, **options)
    found = [augmentation.draw(config, "training", clip) for clip in range(1000)]
    keys = ["speed", "pitch", "eq_speech", "eq_noise", "noises_db", "colour", "room", "band",
            "clip", "codec", "switched"]  # fmt: skip
    happened = [[key in d for d in found] for key in keys]
    happened.append([d["only"] == "clean" for d in found])
    correlation = np.corrcoef(happened) - np.eye(len(happened))
    assert np.abs(correlation).max() < 0.15  # almost five standard deviations


def test_sources_and_snrs_stay_when_something_is_switched_on(voices, tmp_path):
    plain = made(configured(voices, tmp_path / "plain", {}))
    for name in ("pitch", "eq_noise", "room dry", "codec", "noises_db", "colour"):
        rows = made(configured(voices, tmp_path / name, SWITCHES[name]))
        for a, b in zip(plain, rows, strict=True):
            assert (a["speech"], a["snr_db"]) == (b["speech"], b["snr_db"])
            if name != "colour":
                further = [p for p in json.loads(b["noise"]) if "layer" not in p]
                assert json.loads(a["noise"]) == further


def test_nothing_is_drawn_by_default(voices, tmp_path):
    config = configured(voices, tmp_path, {})
    assert [augmentation.draw(config, split, 3) for split in ("training", "testing")] == [{}, {}]
    assert {row["augmentation"] for row in made(config)} == {""}


@pytest.mark.parametrize("key", sorted(SWITCHES.keys() - {"level_db", "noises_db"}))
def test_probabilities(key):
    (option,) = (k for k in SWITCHES[key] if k.endswith("probability"))
    config = data_config(*NOWHERE, **{f"augment__{option}": 0.3})
    name, _, only = key.partition(" ")
    happened = [augmentation.draw(config, "training", k).get(name) for k in range(1000)]
    share = np.mean([h == only if name == "only" else h is not None for h in happened])
    assert share == pytest.approx(0.3, abs=0.06)  # four standard deviations


def test_ranges_are_kept_and_used():
    options = {k: v for o in SWITCHES.values() for k, v in o.items()}
    options |= {"babble_probability": 0.5, "coloured_probability": 0.5, "noises_lower": 1,
                "impact_probability": 0, "clean_only_probability": 0,
                "noise_only_probability": 0}  # fmt: skip
    config = data_config(*NOWHERE, **{f"augment__{k}": v for k, v in options.items()},
                         data__blend="level")  # fmt: skip
    found = [augmentation.draw(config, "training", k) for k in range(300)]
    ranges = {
        "blend": (0.2, 0.8), "level_db": (-10, 5), "speed": (0.9, 1.1), "pitch": (-2, 2),
        "clip": (0.001, 0.02), "babble": (2, 3),
    }  # fmt: skip
    values = {key: [d[key] for d in found if key in d] for key in ranges}
    values |= {f"band {edge}": [d["band"][f"{edge}_hz"] for d in found] for edge in ("low", "high")}
    values["quality"] = [d["codec"]["quality"] for d in found]
    values["colour"] = [d["colour"][0] for d in found if "colour" in d]
    values["noises"] = [1 + len(d.get("noises_db", ())) for d in found]
    values["spread"] = [v for d in found for v in d.get("noises_db", ())]
    values["gain"] = [f[2] for d in found for f in d["eq_speech"] + d["eq_noise"]]
    ranges |= {
        "band low": (50, 300), "band high": (3400, 7000), "quality": (0.05, 0.5),
        "colour": (-2, 2), "noises": (1, 3), "spread": (-6, 0), "gain": (-6, 6),
    }  # fmt: skip
    for key, (low, high) in ranges.items():
        margin = 0.06 * (high - low)
        assert low <= min(values[key]) <= low + margin, key
        assert high - margin <= max(values[key]) <= high, key
    assert {d["codec"]["name"] for d in found} == {"mp3", "opus", "vorbis"}
    assert all(d["eq_speech"] != d["eq_noise"] for d in found)


# ---------------------------------------------------------------- what they do to a mixture


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Config:
    """A configuration for mixtures of arrays."""
    return data_config(NOWHERE[0], tmp_path_factory.mktemp("out"))


def mix(config: Config, what: dict, speech=None, noises=None, snr: float = 5) -> mixing.Mixture:
    """Mix a second of speech and hiss with what was drawn."""
    rng = np.random.default_rng(0)
    speech = speechlike(rng, 1) if speech is None else speech
    return augmentation.mix(speech, noises or [hiss(rng, 1)], what, config, snr)


def test_the_level_is_that_of_the_clean_file(plain):
    rng = np.random.default_rng(1)
    for what in ({}, {"pitch": 2.0}, {"eq_speech": [["low", 100, 6, 0.7]]}):
        m = mix(plain, {"level_db": -12.5, **what}, speechlike(rng, 1))
        level = levels.active_level_db(m.clean / 32768, RATE)
        assert level == pytest.approx(-25 - 12.5, abs=0.05)


def test_several_noises_at_their_levels(plain):
    tones = [tone(hertz, 1, amplitude=a) for hertz, a in ((500, 0.3), (1000, 0.01), (2000, 0.9))]
    m = mix(plain, {"noises_db": [-3.0, -6.0]}, noises=tones, snr=0)
    power = np.abs(np.fft.rfft(m.noise / 32768))[[500, 1000, 2000]] ** 2
    assert_allclose(10 * np.log10(power / power[0]), [0, -3, -6], atol=0.05)
    assert levels.snr_db(m.clean, m.noise) == pytest.approx(0, abs=0.01)


def test_equalisers_act_on_their_own_signal(plain):
    one, two = (mix(plain, {key: [["high", 2000, -12, 0.7]]}) for key in ("eq_speech", "eq_noise"))
    before = mix(plain, {})

    def high(x: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(x.astype(float))) ** 2
        return 10 * math.log10(spectrum[5000:].sum() / spectrum[:1000].sum())

    for m, changed, kept in ((one, "clean", "noise"), (two, "noise", "clean")):
        assert high(getattr(m, changed)) - high(getattr(before, changed)) < -10
        assert high(getattr(m, kept)) == pytest.approx(high(getattr(before, kept)), abs=0.1)


def test_a_data_set_from_before_an_option_has_its_default(tmp_path):
    path = tmp_path / "manifest_training.json"
    path.write_text('{"speed_probability": 0.5}', encoding="utf-8")
    found = manifest.read_settings(path)
    assert (found["speed_probability"], found["rir_share"]) == (0.5, 1)
    assert manifest.changed(found, {"rir_share": 1, "impact_probability": 0}) == ""
    assert "impact_probability was 0" in manifest.changed(found, {"impact_probability": 0.1})


def test_babble_has_its_voices_at_one_level():
    x = [tone(500, 1, amplitude=0.9), tone(700, 1, amplitude=0.01)]
    power = np.abs(np.fft.rfft(augmentation.babble(x, RATE)))[[500, 700]] ** 2
    assert power[0] == pytest.approx(power[1], rel=1e-3)


@pytest.fixture(scope="module")
def hall(tmp_path_factory) -> Config:
    """A configuration with a folder of one response, its direct path at sample 100."""
    folder = tmp_path_factory.mktemp("hall")
    h = np.zeros(4000, np.float32)
    h[[100, 580, 1540]] = 0.5, -0.25, 0.2
    write_audio(folder / "h.wav", h, subtype="FLOAT")
    return data_config(NOWHERE[0], folder / "out", augment__rir_path=folder)


@pytest.mark.parametrize("target", ["dry", "early", "reverberant"])
def test_targets_in_a_room(hall, target):
    """The room adds delayed copies; the target holds none, the first, or both."""
    x = speechlike(np.random.default_rng(3), 1)
    copies = [
        np.concatenate([np.zeros(d), g * x[: RATE - d]]) for d, g in ((480, -0.5), (1440, 0.4))
    ]
    room = {"path": "h.wav", "channel": 0, "target": target}
    m = mix(hall, {"room": room}, x, snr=10)
    count = ["dry", "early", "reverberant"].index(target)
    wanted = x + sum(copies[:count])
    assert_allclose(m.clean / 32768, m.clean_gain * m.scale * wanted, atol=0.6 / 32768)
    level = levels.active_level_db(m.clean / 32768, RATE)
    assert level == pytest.approx(-25, abs=0.05)  # as without the room
    noise = m.noisy / 32768 - m.clean_gain * (x + sum(copies))  # what was there besides speech
    heard = levels.power(m.clean_gain * (x + sum(copies)))
    assert 10 * math.log10(heard / levels.power(noise)) == pytest.approx(10, abs=0.05)
    assert m.additive == (target == "reverberant")


def test_noise_in_the_same_room(hall):
    """It has the reflections too, and the speech is not changed by that."""
    click = np.zeros(RATE)
    click[1000] = 1.0
    room = {"path": "h.wav", "channel": 0, "target": "reverberant"}
    what = {"level_db": -25, "room": room | {"noise_path": "h.wav", "noise_channel": 0}}
    m = mix(hall, what, noises=[click], snr=10)
    at = m.noise[[1000, 1480, 2440]]
    assert_allclose(at / at[0], [1, -0.5, 0.4], atol=1e-3)
    assert np.count_nonzero(np.abs(m.noise) > 1) == 3
    alone = mix(hall, {"level_db": -25, "room": room}, noises=[click], snr=10)
    assert_array_equal(m.clean, alone.clean)


@pytest.mark.parametrize("target", ["limited", "full"])
def test_bands(plain, target):
    band = {"low_hz": 300.0, "high_hz": 3400.0, "target": target}
    m = mix(plain, {"band": band})

    def outside(x: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(x.astype(float))) ** 2
        return 10 * math.log10(spectrum[3700:].sum() / spectrum[:3400].sum())

    assert outside(m.noisy) < -38
    assert (outside(m.clean) < -38) == (target == "limited")
    assert m.additive == (target == "limited")


def test_clipping_is_of_the_mixture_only(plain):
    m = mix(plain, {"clip": 0.01})
    assert_array_equal(m.clean, mix(plain, {}).clean)
    assert np.mean(np.abs(m.noisy) == np.abs(m.noisy).max()) == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("name", effects.CODECS)
def test_codecs_leave_the_target_in_its_place(plain, name):
    m = mix(plain, {"codec": {"name": name, "quality": 0.5}}, snr=30)
    before = mix(plain, {}, snr=30)
    assert_array_equal(m.clean, before.clean)
    product = np.fft.rfft(m.noisy, 1 << 16) * np.conj(np.fft.rfft(before.noisy, 1 << 16))
    assert int(np.argmax(np.fft.irfft(product))) == 0
    assert (m.noisy != before.noisy).any()


@pytest.mark.parametrize("only", ["clean", "noise"])
def test_one_alone_is_as_loud_as_in_the_mixture(plain, only):
    noises = [np.zeros(RATE)] if only == "clean" else None
    m, both = mix(plain, {"only": only}, noises=noises), mix(plain, {})
    assert_array_equal(m.noisy, both.clean if only == "clean" else both.noise)
    assert not (m.noise if only == "clean" else m.clean).any()
    assert m.additive


# ---------------------------------------------------------------- data sets


def test_babble_is_of_others(voices, tmp_path):
    config = configured(
        voices, tmp_path, SWITCHES["babble"] | {"babble_voices_upper": 12},
        data__total_training_files=30, data__file_length=0.2,
    )  # fmt: skip
    counts = set()
    for row in made(config):
        pieces = json.loads(row["noise"])
        speakers = [{p["path"].split("/")[0] for p in pieces if p["voice"] == v}
                    for v in range(parameters(row)["babble"])]  # fmt: skip
        assert all(len(s) == 1 and row["speaker"] not in s for s in speakers)
        if len(speakers) <= 2:  # of which the split has enough
            assert len(set.union(*speakers)) == len(speakers)
        assert row["noise_type"] == "babble"
        counts.add(len(speakers))
    assert min(counts) == 2 and max(counts) > 8


def test_babble_needs_a_second_speaker(corpus, tmp_path):
    with pytest.raises(UserError, match=r"babble_probability: .*one speaker for (val|test)"):
        make_plans(configured(corpus, tmp_path, {"babble_probability": 0.1}))


def test_speed_takes_as_much_of_the_recording_as_it_needs(voices, tmp_path):
    options = {"speed_probability": 1, "speed_lower": 1.5, "speed_upper": 1.6}
    for row in made(configured(voices, tmp_path, options, data__file_length=0.25)):
        (piece,) = json.loads(row["speech"])
        assert piece["length"] == math.ceil(4000 * parameters(row)["speed"]) + 1


@pytest.mark.parametrize("only", ["clean", "noise"])
def test_names_and_columns_of_one_alone(voices, tmp_path, only):
    config = configured(voices, tmp_path, SWITCHES[f"only {only}"])
    for n, row in enumerate(made(config), 1):
        snr = "inf" if only == "clean" else "-inf"
        assert row["noisy_file"] == f"noisy{n}_SNRdb_{snr}_clnsp{n}.wav"
        assert {row["snr_db"], row["measured_snr_db"], row["measured_active_snr_db"]} == {snr}
        assert row["noise_level_db" if only == "clean" else "clean_level_db"] == "-inf"
        assert json.loads(row["noise" if only == "clean" else "speech"]) == []
        assert (row["noise_type"] == "none") == (only == "clean")
    before = snapshot(tmp_path)
    assert build.make(make_plans(config)[0][0]).new == 0
    assert build.make(make_plans(config)[0][0], overwrite=True).new == 4
    assert snapshot(tmp_path) == before


def test_blending_by_level(voices, tmp_path):
    """Recordings keep their level, the noise is multiplied, and the name has the measured SNR."""
    config = configured(
        voices, tmp_path, {}, data__blend="level", data__blend_lower=0.3, data__blend_upper=0.5
    )
    for row in made(config):
        ratio = float(row["noise_gain"]) / float(row["clean_gain"])
        assert ratio == pytest.approx(parameters(row)["blend"]) and 0.3 <= ratio <= 0.5
        assert float(row["clean_gain"]) == 1 or float(row["peak"]) > 0.98
        clean, noise, _ = arrays(config, row)
        assert float(row["snr_db"]) == pytest.approx(levels.snr_db(clean, noise), abs=0.0051)
        assert row["noise_file"].endswith(f"_SNRdb_{row['snr_db']}.wav")
        (piece,) = json.loads(row["noise"])
        path = config.data.noise_train_path / piece["path"]
        whole, _ = sf.read(path)
        source = whole[piece["offset"] : piece["offset"] + len(noise)]
        assert np.abs(noise - 32768 * float(row["noise_gain"]) * source).max() < 0.51


def test_active_reference_of_a_data_set(voices, tmp_path):
    config = configured(voices, tmp_path, {}, data__snr_reference="active")
    for row in made(config):
        assert float(row["measured_active_snr_db"]) == pytest.approx(float(row["snr_db"]), abs=0.05)


def test_all_snrs_of_a_clip_have_the_same_augmentation(voices, tmp_path):
    options = SWITCHES["room"] | SWITCHES["pitch"] | SWITCHES["noises_db"]
    config = configured(voices, tmp_path, options, data__snr_mode="all")
    rows = made(config)
    assert len({row["snr_db"] for row in rows}) == 4
    assert len({row["augmentation"] for row in rows}) == 1


def test_the_test_set_may_stay_plain(voices, tmp_path):
    options = SWITCHES["pitch"] | SWITCHES["noises_db"]
    plain, on, off = (
        configured(voices, tmp_path / name, more)
        for name, more in (("a", {}), ("b", options), ("c", options | {"testing": "no"}))
    )
    files = [made(c, "testing") for c in (plain, on, off)]
    assert files[0] == files[2] != files[1]
    assert parameters(made(off)[0])  # training is not plain


def test_a_folder_of_responses(voices, tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        decay = np.exp(-np.arange(8820) / 900)[:, None]
        write_audio(tmp_path / f"rir/{k}.wav", rng.standard_normal((8820, 2)) * decay * 0.1, 44100)
    (tmp_path / "rir/broken.wav").write_bytes(b"x")
    options = SWITCHES["room early"] | {"rir_path": tmp_path / "rir"}
    config = configured(voices, tmp_path / "out", options, data__total_training_files=12)
    _, _, rejected = make_plans(config)
    assert [r.path for r in rejected["training"]] == ["rir/broken.wav"]
    rows = made(config)
    check(config, rows)
    found = [parameters(row)["room"] for row in rows]
    assert (
        {r["path"] for r in found}
        == {r["noise_path"] for r in found}
        == {"0.wav", "1.wav", "2.wav"}
    )
    assert {r["channel"] for r in found} == {0, 1}
    (tmp_path / "rir/2.wav").unlink()
    with pytest.raises(UserError, match=r"recordings used from rir_path have changed.*--overwrite"):
        made(config)
    row = next(row for row in rows if parameters(row)["room"]["path"] == "2.wav")
    with pytest.raises(UserError, match=r"2\.wav: not readable: .*put the file back"):
        render.remake(row, config, "training")


def test_rooms_are_asked_for_before_the_first_file(voices, tmp_path, monkeypatch):
    def missing():
        raise UserError("no package")

    monkeypatch.setattr(rir, "library", missing)
    make_plans(configured(voices, tmp_path, {}))
    with pytest.raises(UserError, match="no package"):
        make_plans(configured(voices, tmp_path, SWITCHES["room"]))


def test_the_last_scale_is_in_the_row(voices, tmp_path):
    """A codec goes beyond what it was given; all three files are lowered then."""
    config = configured(voices, tmp_path, SWITCHES["codec"], data__speech_level_db=-5)
    rows = made(config)
    assert any(parameters(row).get("scale", 1) < 1 for row in rows)
    check(config, rows)


def test_two_workers_make_the_same_bytes(voices, tmp_path):
    options = {k: v for name in ("room dry", "pitch", "codec", "babble", "noises_db")
               for k, v in SWITCHES[name].items()} | {"babble_probability": 0.5}  # fmt: skip
    for workers in (1, 2):
        changes = {"compute__workers": workers, "data__total_training_files": 20}
        made(configured(voices, tmp_path / str(workers), options, **changes))
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "2")


def test_changed_options_are_refused_by_name(voices, tmp_path):
    made(configured(voices, tmp_path, {}))
    with pytest.raises(UserError, match=r"codec_probability was 0.0, is 0.5.*--overwrite"):
        made(configured(voices, tmp_path, {"codec_probability": 0.5}))


def test_cache_of_every_kind_of_file(voices, tmp_path):
    """Infinite levels and differences that are no noise go through the cache as they are."""
    options = {
        "clean_only_probability": 0.3,
        "noise_only_probability": 0.3,
        "clip_probability": 0.5,
    }
    config = configured(voices, tmp_path, options, data__total_training_files=16)
    rows = made(config)
    stft_cache.build(config, "training")
    index = stft_cache.load(config, "training").index
    assert {"inf", "-inf"} < {row["snr_db"] for row in rows}
    for record, row in zip(index, rows, strict=True):
        assert record["snr_db"] == float(row["snr_db"])
        assert record["additive"] == (row["additive"] == "yes")
        assert np.isinf(record["noise_level_db"]) == (row["noise_level_db"] == "-inf")


def test_every_option_is_explained():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    missing = [name for name in Augment.model_fields if f"`{name}" not in text]
    assert missing == []
