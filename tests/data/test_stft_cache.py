"""The cache against the spectra of the files, and what makes it stale or damaged."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import data_config, error_db
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from specmask.audio import io as audio_io
from specmask.audio import stft as spectral
from specmask.audio.stft import Stft, inverse, to_complex, to_pairs
from specmask.config.schema import Config
from specmask.data import stft_cache
from specmask.data.mixtures import build, manifest
from specmask.data.mixtures.plan import make_plans
from specmask.data.mixtures.render import FILES
from specmask.errors import UserError
from specmask.files import held

TOTALS = {
    "data__total_training_files": 6,
    "data__total_validation_files": 2,
    "data__total_testing_files": 2,
}


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory) -> Config:
    """The configuration of a data set with caches, for reading only."""
    config = data_config(corpus, tmp_path_factory.mktemp("made"), **TOTALS)
    for plan in make_plans(config)[0]:
        build.make(plan)
        assert stft_cache.build(config, plan.split)[2]
    return config


@pytest.fixture
def copied(made, corpus, tmp_path) -> Config:
    """A copy of it that may be damaged."""
    shutil.copytree(made.data.data_path, tmp_path / "data")
    return data_config(corpus, tmp_path / "data", **TOTALS)


def spectrum(config: Config, row: dict, kind: str, split: str = "training") -> np.ndarray:
    """The spectrum of a written file, complex64 [frames, bins]."""
    x, _ = sf.read(config.stft.folder(kind, split) / row[FILES[kind]], dtype="float32")
    return spectral.forward(x, Stft.from_config(config))


def stored(found: stft_cache.Cache, kind: str, item: int) -> np.ndarray:
    """The spectrum of one item in a cache."""
    return to_complex(found.gather(kind, np.array([item]))[0].astype(np.float32))


def real(x: np.ndarray) -> np.ndarray:
    """Complex values as pairs of real ones."""
    return np.stack([x.real, x.imag])


# ---------------------------------------------------------------- the content


@pytest.mark.parametrize("split", ["training", "validation", "testing"])
def test_spectra_are_those_of_the_files(made, split):
    found = stft_cache.load(made, split)
    rows = manifest.read(made, split)
    assert len(found) == len(rows)
    for item, row in enumerate(rows):
        clean, noise = (stored(found, kind, item) for kind in ("clean", "noise"))
        for values, kind in (
            (clean, "CleanSpeech"),
            (noise, "Noise"),
            (clean + noise, "NoisySpeech"),
        ):
            wanted = spectrum(made, row, kind, split)
            assert values.shape == wanted.shape == (52, 257)
            assert error_db(real(values), real(wanted)) < -70


def test_cached_spectra_give_the_audio_back(made):
    found = stft_cache.load(made, "training")
    row = manifest.read(made, "training")[0]
    x, _ = sf.read(made.stft.folder("CleanSpeech", "training") / row["clean_file"])
    y = inverse(stored(found, "clean", 0), len(x), Stft.from_config(made))
    assert error_db(y, x) < -65


def test_index(made):
    found = stft_cache.load(made, "training")
    rows = manifest.read(made, "training")
    assert found.index["frames"].tolist() == [52] * 6
    assert found.index["offset"].tolist() == [52 * k for k in range(6)]
    assert found.index["samples"].tolist() == [8000] * 6
    assert found.index["additive"].all()
    for name in ("snr_db", "clean_level_db", "noise_level_db"):
        np.testing.assert_allclose(found.index[name], [float(r[name]) for r in rows], rtol=1e-6)


def test_two_runs_on_one_cache(made):
    folder = made.stft.cache("training")
    before = (folder / "cache.json").read_bytes()
    with held(folder):
        assert not stft_cache.build(made, "training")[2]  # what is right needs no work
        (folder / "cache.json").write_text("{}", encoding="utf-8")
        with pytest.raises(UserError, match="another run"):
            stft_cache.build(made, "training")
    assert stft_cache.build(made, "training")[2] and (folder / "cache.json").read_bytes() == before


def test_files_on_disk(made):
    folder = made.stft.cache("training")
    assert {p.name for p in folder.iterdir()} == {
        "clean.npy", "noise.npy", "index.npy", "cache.json", ".specmask",
    }  # fmt: skip
    for kind in ("clean", "noise"):
        shard = np.load(folder / f"{kind}.npy", mmap_mode="r")
        assert shard.dtype == np.float16 and shard.shape == (6 * 52, 257, 2)
    assert made.stft.cache("training").name == "Training_STFT"


def test_the_loudest_sounds_fit_into_float16():
    """Full scale at the lowest frequency, in the longest window that is accepted."""
    stft = Stft("boxcar", 65536, 65536, 65536)
    loud = spectral.forward(np.full(65536, 0.99, np.float32), stft)
    assert np.isfinite(to_pairs(loud).astype(np.float16)).all()


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_pairs_and_complex_numbers(frames, bins, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((frames, bins)) + 1j * rng.standard_normal((frames, bins))).astype(
        np.complex64
    )
    pairs = to_pairs(x)
    assert_array_equal(pairs[..., 0], x.real)
    assert_array_equal(pairs[..., 1], x.imag)
    assert_array_equal(to_complex(pairs), x)
    assert_array_equal(to_complex(pairs[:, ::-1]), x[:, ::-1])  # not contiguous


# ---------------------------------------------------------------- shards and batches


@pytest.mark.parametrize("files_per_shard", [1, 2.5, 5])
def test_shards(copied, made, monkeypatch, files_per_shard):
    whole = stft_cache.load(made, "training")
    size = int(files_per_shard * 52 * 257 * 4)
    monkeypatch.setattr(stft_cache, "SHARD_BYTES", size)
    shutil.rmtree(copied.stft.cache("training"))
    stft_cache.build(copied, "training")
    found = stft_cache.load(copied, "training")
    assert len(found.clean) == len(found.noise) == {1: 6, 2.5: 3, 5: 2}[files_per_shard]
    assert all(shard.nbytes <= size for shard in [*found.clean, *found.noise])
    order = np.array([5, 0, 3, 3, 1])
    for kind in ("clean", "noise"):
        assert_array_equal(found.gather(kind, order), whole.gather(kind, order))
    monkeypatch.undo()
    (copied.stft.cache("training") / "cache.json").unlink()
    stft_cache.build(copied, "training")  # fewer shards: the old ones are removed
    assert len(list(copied.stft.cache("training").glob("*.npy"))) == 3


def test_a_file_larger_than_a_shard_has_one_of_its_own(copied, monkeypatch):
    monkeypatch.setattr(stft_cache, "SHARD_BYTES", 100)
    shutil.rmtree(copied.stft.cache("testing"))
    stft_cache.build(copied, "testing")
    assert len(stft_cache.load(copied, "testing").clean) == 2


def test_batches_of_different_lengths_are_padded():
    index = np.zeros(3, stft_cache.INDEX)
    index["frames"], index["offset"], index["shard"] = [2, 3, 1], [0, 2, 0], [0, 0, 1]
    shards = [np.arange(20, dtype=np.float16).reshape(5, 2, 2), np.ones((1, 2, 2), np.float16)]
    found = stft_cache.Cache(index, clean=shards, noise=[-s for s in shards])
    batch = found.gather("clean", np.array([0, 1, 2]))
    assert batch.shape == (3, 3, 2, 2) and batch.dtype == np.float16
    assert_array_equal(batch[0, :2], shards[0][:2])
    assert_array_equal(batch[1], shards[0][2:])
    assert_array_equal(batch[2, :1], shards[1])
    assert not batch[0, 2:].any() and not batch[2, 1:].any()
    assert_array_equal(found.gather("noise", np.array([1])), -batch[1:2])


def test_memory_of_batches_is_used_again_once_no_view_is_left():
    index = np.zeros(1, stft_cache.INDEX)
    index["frames"] = 2
    found = stft_cache.Cache(index, [np.full((2, 3, 2), 1, np.float16)], [np.zeros((2, 3, 2))])
    first = found.gather("clean", np.array([0]))
    view = first.reshape(2, 3, 2)[1:]
    address = first.ctypes.data
    del first
    other = found.gather("noise", np.array([0]))
    assert (view == 1).all() and not other.any()
    del view
    assert found.gather("clean", np.array([0])).ctypes.data == address


# ---------------------------------------------------------------- built once, and again when stale


def test_a_second_build_does_nothing(copied):
    folder = copied.stft.cache("training")
    times = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    files, size, done = stft_cache.build(copied, "training")
    assert (files, done) == (6, False)
    assert size > 2 * 6 * 52 * 257 * 4
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == times


def refused(config: Config, split: str = "training") -> str:
    """Return the message that a cache is refused with: one line with folder and command."""
    with pytest.raises(UserError) as caught:
        stft_cache.load(config, split)
    message = str(caught.value)
    assert "python stft.py" in message and "\n" not in message
    assert str(config.stft.cache(split)) in message
    return message


def rebuilt(config: Config, split: str = "training") -> stft_cache.Cache:
    """Build what was refused and load it."""
    assert stft_cache.build(config, split)[2]
    return stft_cache.load(config, split)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"STFT__window_type": "hamming"}, "window_type was hann, is hamming"),
        ({"STFT__hop_size": 0.005}, "hop_length was 160, is 80"),
        ({"STFT__window_length": 0.02}, "window_length was 400, is 320"),
        ({"STFT__n_fft": 1024}, "n_fft was 512, is 1024"),
    ],
)
def test_caches_of_other_settings_are_stale(copied, corpus, changes, words):
    config = data_config(corpus, copied.data.data_path, **TOTALS, **changes)
    message = refused(config)
    assert "stale" in message and words in message
    row = manifest.read(config, "training")[0]
    wanted = spectrum(config, row, "CleanSpeech")
    assert error_db(real(stored(rebuilt(config), "clean", 0)), real(wanted)) < -70
    assert "stale" in refused(copied)


def test_a_cache_of_another_data_set_is_stale(copied, corpus):
    larger = data_config(
        corpus, copied.data.data_path, **TOTALS | {"data__total_training_files": 8}
    )
    build.make(make_plans(larger)[0][0])
    assert "stale" in refused(larger) and "manifest" in refused(larger)
    assert len(rebuilt(larger)) == 8


def test_a_data_set_of_other_settings_is_refused_before_its_cache(copied, corpus):
    config = data_config(corpus, copied.data.data_path, **TOTALS, data__seed=9)
    for action in (stft_cache.load, stft_cache.build):
        with pytest.raises(UserError, match=r"seed was 7, is 9.*data_prep\.py"):
            action(config, "training")


def test_no_data_set(corpus, tmp_path):
    with pytest.raises(UserError, match=r"data_prep\.py"):
        stft_cache.build(data_config(corpus, tmp_path), "training")


def test_unfinished_caches(copied):
    folder = copied.stft.cache("training")
    (folder / "cache.json").unlink()
    (folder / ".specmask-clean-0.npy").write_bytes(b"half")
    assert "no STFT cache" in refused(copied)
    rebuilt(copied)
    assert not (folder / ".specmask-clean-0.npy").exists()
    shutil.rmtree(folder)
    assert "no STFT cache" in refused(copied)
    rebuilt(copied)


def test_a_build_that_is_stopped_leaves_no_cache_that_looks_finished(copied, corpus, monkeypatch):
    """Neither for the settings that it was made for nor for those of the cache before it."""
    other = data_config(corpus, copied.data.data_path, **TOTALS, STFT__hop_size=0.005)
    forward, calls = spectral.forward, []

    def forward_some(x, stft):
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return forward(x, stft)

    monkeypatch.setattr(stft_cache, "forward", forward_some)
    with pytest.raises(KeyboardInterrupt):
        stft_cache.build(other, "training")
    monkeypatch.undo()
    assert "no STFT cache" in refused(other)
    assert "no STFT cache" in refused(copied)
    rebuilt(other)


def test_arrays_of_the_user_are_kept(copied):
    """Only shards are removed, and those that are none are not replaced either."""
    folder = copied.stft.cache("training")
    mine = np.arange(6.0)
    for name in ("clean_embeddings.npy", "noise_labels.npy", "clean.old.npy"):
        np.save(folder / name, mine)
    np.save(folder / "clean_1.npy", np.zeros((4, 257, 2), np.float16))  # a shard of a killed run
    (folder / "cache.json").unlink()
    rebuilt(copied)
    assert not (folder / "clean_1.npy").exists()
    for name in ("clean_embeddings.npy", "noise_labels.npy", "clean.old.npy"):
        assert_array_equal(np.load(folder / name), mine)
    (folder / "cache.json").unlink()
    for name in ("noise.npy", "index.npy", "clean_2.npy"):
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        np.save(folder / name, mine)
        with pytest.raises(UserError, match=f"{name}: not part of an STFT cache.*another folder"):
            stft_cache.build(copied, "training")
        assert_array_equal(np.load(folder / name), mine)
        (folder / name).write_bytes(before) if before else (folder / name).unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="needs to know the blocks of a file")
def test_the_space_is_taken_before_it_is_written(copied, monkeypatch):
    """Else a full disk ends the process by a bus error, without a word."""
    folder = copied.stft.cache("training")
    shutil.rmtree(folder)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stft_cache, "_spectrum", stop)
    with pytest.raises(KeyboardInterrupt):
        stft_cache.build(copied, "training")
    for path in folder.glob(".specmask-*"):
        assert path.stat().st_blocks * 512 >= path.stat().st_size > 300_000


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["clean.npy", "noise.npy", "index.npy"])
@pytest.mark.parametrize(
    "damage",
    [cut, Path.unlink, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"x" * 999)],
    ids=["cut", "deleted", "empty", "overwritten"],
)
def test_damaged_caches_are_refused_and_made_again(copied, made, name, damage):
    damage(copied.stft.cache("training") / name)
    message = refused(copied)
    assert "damaged" in message
    found = rebuilt(copied)  # the command in the message is enough
    for kind in ("clean", "noise"):
        wanted = stft_cache.load(made, "training").gather(kind, np.arange(6))
        assert_array_equal(found.gather(kind, np.arange(6)), wanted)


@pytest.mark.parametrize(
    ("column", "value"),
    [("frames", 0), ("frames", 1 << 30), ("offset", -1), ("offset", 1 << 40), ("shard", -1),
     ("shard", 1)],
)  # fmt: skip
def test_an_index_that_names_what_is_not_there(copied, column, value):
    path = copied.stft.cache("training") / "index.npy"
    index = np.load(path)
    index[column][2] = value
    np.save(path, index)
    assert "damaged" in refused(copied)
    rebuilt(copied)


def test_an_index_of_other_columns(copied):
    path = copied.stft.cache("training") / "index.npy"
    np.save(path, np.load(path)[["shard", "offset", "frames"]])
    assert "damaged" in refused(copied)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_damaged_facts(copied, text):
    (copied.stft.cache("training") / "cache.json").write_text(text)
    refused(copied)
    rebuilt(copied)


def test_facts_name_everything_that_counts(made):
    found = json.loads((made.stft.cache("training") / "cache.json").read_text())
    assert found == stft_cache.facts(made, "training")
    assert {"sample_rate", "window_type", "window_length", "hop_length", "n_fft"} < set(found)


@pytest.mark.parametrize("damage", ["missing", "cut", "stereo", "rate"])
def test_damaged_audio_is_named(copied, damage):
    row = manifest.read(copied, "training")[3]
    path = copied.stft.folder("Noise", "training") / row["noise_file"]
    x, rate = sf.read(path, dtype="int16")
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        audio_io.write_pcm16(path, x[:-10], rate)
    elif damage == "stereo":
        audio_io.write_pcm16(path, np.stack([x, x], 1), rate)
    else:
        audio_io.write_pcm16(path, x, 8000)
    shutil.rmtree(copied.stft.cache("training"))
    with pytest.raises(UserError, match=r"data_prep\.py") as caught:
        stft_cache.build(copied, "training")
    assert str(path) in str(caught.value)
    refused(copied)
