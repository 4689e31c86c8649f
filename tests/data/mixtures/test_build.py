"""The data set measured back from its files, and the same bytes whatever happens on the way."""

import dataclasses
import itertools
import json
import math
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import (
    RATE,
    data_config,
    error_db,
    hiss,
    make_corpus,
    read_csv,
    snapshot,
    speechlike,
    tone,
    write_audio,
)
from numpy.testing import assert_array_equal

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.schema import Config
from specmask.config.types import KINDS, SPLITS
from specmask.data.mixtures import build
from specmask.data.mixtures import manifest as manifests
from specmask.data.mixtures import render as rendering
from specmask.data.mixtures.manifest import changed
from specmask.data.mixtures.plan import data_settings, make_plans
from specmask.data.mixtures.render import COLUMNS, FILES, remake
from specmask.errors import UserError

GRID = ["-6.00", "-1.00", "4.00", "9.00"]


def make(config: Config, overwrite: bool = False) -> dict[str, build.Summary]:
    """Make all splits of a data set."""
    plans, _, _ = make_plans(config)
    return {plan.split: build.make(plan, overwrite) for plan in plans}


def make_training(config: Config, overwrite: bool = False) -> build.Summary:
    """Make the training files only."""
    return build.make(make_plans(config)[0][0], overwrite)


def rows(config: Config, split: str = "training") -> list[dict[str, str]]:
    """Read a manifest without the package."""
    path = config.data.data_path / f"manifest_{split}.csv"
    return read_csv(path)


def samples(config: Config, row: dict[str, str], kind: str, split: str = "training") -> np.ndarray:
    """Read one of the three files of a row as whole numbers."""
    path = config.data.data_path / f"{kind}_{split}" / row[FILES[kind]]
    found, rate = sf.read(path, dtype="int16")
    assert rate == int(row["sample_rate"]) and sf.info(path).subtype == "PCM_16"
    assert found.shape == (int(row["samples"]),)
    return found.astype(np.int64)


def pieces(row: dict[str, str], kind: str) -> list[dict]:
    """Return what a file is made of."""
    return json.loads(row[kind])


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory) -> Config:
    """The configuration of a small data set that has been made, for reading only."""
    config = data_config(corpus, tmp_path_factory.mktemp("made"))
    assert {k: (m.total, m.new) for k, m in make(config).items()} == {
        "training": (20, 20),
        "validation": (6, 6),
        "testing": (6, 6),
    }
    return config


@pytest.fixture
def copied(made, corpus, tmp_path) -> Config:
    """A copy of it that may be damaged."""
    shutil.copytree(made.data.data_path, tmp_path / "data")
    return data_config(corpus, tmp_path / "data")


def all_rows(config: Config) -> list[tuple[str, dict[str, str]]]:
    return [(split, row) for split in SPLITS for row in rows(config, split)]


# ---------------------------------------------------------------- the files


def test_names(made):
    for split, total in (("training", 20), ("validation", 6), ("testing", 6)):
        folder = made.data.data_path
        found = rows(made, split)
        assert [r["index"] for r in found] == [str(i) for i in range(total)]
        for n, row in enumerate(found, 1):
            assert row["clean_file"] == f"clnsp{n}.wav"
            assert row["noise_file"] == f"noisy{n}_SNRdb_{row['snr_db']}.wav"
            assert row["noisy_file"] == f"noisy{n}_SNRdb_{row['snr_db']}_clnsp{n}.wav"
        for kind in KINDS:
            names = {p.name for p in (folder / f"{kind}_{split}").iterdir()}
            assert names == {row[FILES[kind]] for row in found}  # and nothing else lies there


def test_every_file_has_the_snr_that_was_asked_for(made):
    asked = set()
    for split, row in all_rows(made):
        clean, noise = (samples(made, row, kind, split) for kind in ("CleanSpeech", "Noise"))
        measured = 10 * math.log10(
            sum(int(v) ** 2 for v in clean) / sum(int(v) ** 2 for v in noise)
        )
        assert abs(measured - float(row["snr_db"])) < 0.05
        assert float(row["measured_snr_db"]) == pytest.approx(measured, abs=1e-4)
        asked.add(row["snr_db"])
    assert asked == set(GRID)


def test_noisy_is_the_sum_and_nothing_is_clipped(made):
    for split, row in all_rows(made):
        clean, noise, noisy = (samples(made, row, kind, split) for kind in KINDS)
        assert_array_equal(noisy - clean - noise, 0)
        peak = max(np.abs(x).max() for x in (clean, noise, noisy))
        assert peak <= 0.99 * 32768 + 1
        assert float(row["peak"]) == pytest.approx(np.abs(noisy).max() / 32768, abs=1e-4)
        assert row["additive"] == "yes"


def test_speech_is_at_its_level(made):
    for split, row in all_rows(made):
        clean = samples(made, row, "CleanSpeech", split) / 32768
        assert levels.active_level_db(clean, RATE) == pytest.approx(-25, abs=0.1)
        assert levels.level_db(clean) == pytest.approx(float(row["clean_level_db"]), abs=1e-3)


def test_loud_mixtures_keep_their_snr(corpus, tmp_path):
    config = data_config(corpus, tmp_path, data__speech_level_db=-5, data__SNR_lower=-30)
    make_training(config)
    limited = 0
    for row in rows(config):
        clean, noise, noisy = (samples(config, row, kind) for kind in KINDS)
        assert_array_equal(noisy - clean - noise, 0)
        assert levels.snr_db(clean, noise) == pytest.approx(float(row["snr_db"]), abs=0.05)
        peak = max(np.abs(x).max() for x in (clean, noise, noisy)) / 32768
        assert peak < 0.9901
        limited += peak > 0.98
    assert limited > 10


def test_a_row_is_enough_to_make_its_files_again(made):
    for split, row in all_rows(made):
        again = remake(row, made, split)
        for kind, array in zip(KINDS, (again.clean, again.noise, again.noisy), strict=True):
            assert_array_equal(samples(made, row, kind, split), array)


def test_rows_say_where_the_sound_is_from(made):
    for split, row in all_rows(made):
        speech, noise = pieces(row, "speech"), pieces(row, "noise")
        assert row["speaker"] == speech[0]["path"].split("/")[0]
        assert row["noise_type"] == noise[0]["path"].split("/")[0]
        root = made.data.clean_test_path if split == "testing" else made.data.clean_train_path
        assert all((root / p["path"]).is_file() for p in speech)
        assert len({p["path"].split("/")[0] for p in speech}) == 1  # one speaker a file


def test_validation_shares_nothing_with_training(made):
    found = {
        split: {
            kind: {p["path"].split("/")[0] for row in rows(made, split) for p in pieces(row, kind)}
            for kind in ("speech", "noise")
        }
        for split in SPLITS
    }
    for kind in ("speech", "noise"):
        for one, other in itertools.combinations(SPLITS, 2):
            assert found[one][kind] and not found[one][kind] & found[other][kind]
    assert found["testing"] == {"speech": {"dora"}, "noise": {"wind"}}


def test_no_two_files_are_the_same(made):
    for split in SPLITS:
        files = [samples(made, r, "NoisySpeech", split).tobytes() for r in rows(made, split)]
        assert len(set(files)) == len(files)


def test_every_clip_at_every_snr(corpus, tmp_path):
    config = data_config(corpus, tmp_path, data__snr_mode="all", data__total_training_files=14)
    make_training(config)
    found = rows(config)
    assert [r["snr_db"] for r in found] == (GRID * 4)[:14]
    for k in range(0, 14, 4):
        clip = found[k : k + 4]
        assert len({(r["speech"], r["noise"], r["seed"]) for r in clip}) == 1
        assert len({r["clean_digest"] for r in clip}) == 1  # not limited at these levels
        for row in clip:
            assert float(row["measured_snr_db"]) == pytest.approx(float(row["snr_db"]), abs=0.05)
    assert len({(r["speech"], r["noise"]) for r in found}) == 4


# ---------------------------------------------------------------- the same bytes, always


def test_the_order_of_the_files_on_disk_does_not_matter(made, tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path / "again")
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda top: reversed([(w, d, n[::-1]) for w, d, n in walk(top)])
    )
    make(data_config(corpus, tmp_path / "out"))
    assert snapshot(tmp_path / "out") == snapshot(made.data.data_path)


def test_another_seed_makes_other_files(made, corpus, tmp_path):
    config = data_config(corpus, tmp_path, data__seed=8)
    make_training(config)
    draws = [{(r["speech"], r["noise"]) for r in rows(c)} for c in (config, made)]
    assert not draws[0] & draws[1]


def test_a_second_run_does_nothing(copied):
    before, times = snapshot(copied.data.data_path), stamps(copied)
    assert [m.new for m in make(copied).values()] == [0, 0, 0]
    assert snapshot(copied.data.data_path) == before
    assert stamps(copied) == times


def stamps(config: Config, split: str = "training") -> dict[str, int]:
    """When each audio file of a split was written, by name."""
    return {
        f"{kind}/{p.name}": p.stat().st_mtime_ns
        for kind in KINDS
        for p in (config.data.data_path / f"{kind}_{split}").iterdir()
    }


@pytest.mark.parametrize("mode", ["random", "all"])
def test_a_larger_total_extends_a_smaller_one(corpus, tmp_path, mode):
    small = data_config(corpus, tmp_path, data__total_training_files=7, data__snr_mode=mode)
    large = data_config(corpus, tmp_path, data__total_training_files=11, data__snr_mode=mode)
    assert make_training(small).new == 7
    earlier, times, first = snapshot(tmp_path), stamps(small), rows(small)
    assert make_training(large).new == 4
    now = snapshot(tmp_path)
    audio_files = [name for name in earlier if name.endswith(".wav")]
    assert len(audio_files) == 21
    assert all(now[name] == earlier[name] for name in audio_files)
    assert times.items() <= stamps(large).items()
    assert rows(large)[:7] == first
    at_once = data_config(
        corpus, tmp_path / "once", data__total_training_files=11, data__snr_mode=mode
    )
    make_training(at_once)
    assert rows(at_once) == rows(large)


def test_a_smaller_total_takes_the_first_ones(copied, corpus):
    smaller = data_config(corpus, copied.data.data_path, data__total_training_files=5)
    before = rows(copied)
    done = make_training(smaller)
    assert (done.new, done.surplus) == (0, len(before) - 5)
    assert rows(smaller) == before[:5]


def test_deleted_files_are_made_again(copied, made):
    folder = copied.data.data_path
    lost = [rows(copied)[k][column] for k, column in enumerate(FILES.values())]
    for kind, name in zip(KINDS, lost, strict=True):
        (folder / f"{kind}_training" / name).unlink()
    short = folder / "CleanSpeech_training" / rows(copied)[10]["clean_file"]
    short.write_bytes(short.read_bytes()[:-100])  # one that was cut off
    times = stamps(copied)
    assert make(copied)["training"].new == 4
    assert snapshot(folder) == snapshot(made.data.data_path)
    redone = {name for name, stamp in stamps(copied).items() if times.get(name) != stamp}
    assert len(redone) == 12


@pytest.mark.parametrize("cut", [0, 1, 300, -1, -40])
def test_interrupted_runs_go_on(copied, made, cut):
    """As after a power failure: a list of what was done that ends anywhere, some files there."""
    folder = copied.data.data_path
    manifest, partial = folder / "manifest_training.csv", folder / "manifest_training.csv.partial"
    lines = manifest.read_bytes().splitlines(keepends=True)
    text = b"".join(lines[:9])  # the heading and eight files
    partial.write_bytes(text[:cut] if cut else text)
    manifest.unlink()
    complete = partial.read_bytes().count(b"\n") - 1 if partial.read_bytes() else 0
    for row in rows(made)[12:]:  # not rendered yet
        for kind in KINDS:
            (folder / f"{kind}_training" / row[FILES[kind]]).unlink()
    (folder / "Noise_training/.specmask-left.wav").write_bytes(b"half")
    times = stamps(copied)
    assert make_training(copied).new == 20 - max(0, complete)
    assert snapshot(folder) == snapshot(made.data.data_path)
    kept = [FILES[kind] for kind in KINDS]
    for row in rows(made)[: max(0, complete)]:
        for kind, column in zip(KINDS, kept, strict=True):
            name = f"{kind}/{row[column]}"
            assert stamps(copied)[name] == times[name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_run_that_is_stopped_goes_on(made, corpus, tmp_path, monkeypatch, error):
    config = data_config(corpus, tmp_path / "out")
    render, stop_at = rendering.render, 9

    def render_some(index, plan):
        if index == stop_at:
            raise error
        return render(index, plan)

    monkeypatch.setattr(rendering, "render", render_some)
    monkeypatch.setattr(build.parallel.map_chunks, "__defaults__", (None, 4))  # files a task
    with pytest.raises(error):
        make(config)
    assert not (tmp_path / "out/manifest_training.csv").exists()
    with pytest.raises(UserError, match=r"no such data set"):
        manifests.read(config, "training")
    monkeypatch.undo()
    assert make(config)["training"].new <= 20 - 8  # two tasks of four files were done
    assert snapshot(tmp_path / "out") == snapshot(made.data.data_path)


def test_leftovers_of_killed_runs_are_removed(copied):
    half, work = copied.stft.folder("Noise", "training") / ".specmask-x.wav", copied.work_path
    half.write_bytes(b"half")
    (work / "0123.pickle").write_bytes(b"plan")
    make_training(copied)
    assert not half.exists()
    assert {path.name for path in work.iterdir()} <= {"lock", "owner", "scan.sqlite"}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__SNR_lower": -9}, ["SNR_lower was -6.0, is -9.0"]),
        ({"data__seed": 8}, ["seed was 7, is 8"]),
        ({"data__file_length": 0.6}, ["file_length was 0.5, is 0.6"]),
        ({"data__snr_mode": "all"}, ["snr_mode was random, is all"]),
        ({"data__speech_level_db": -30}, ["speech_level_db"]),
        ({"data__sample_rate": 8000}, ["sample_rate was 16000, is 8000"]),
        ({"data__silence_length": 0.1}, ["silence_length"]),
        ({"audio__resampler": "resampy"}, ["resampler was soxr, is resampy"]),
    ],
)
def test_changed_settings_are_refused_by_name(copied, corpus, changes, words):
    folder = copied.data.data_path
    before = snapshot(folder)
    config = data_config(corpus, folder, **changes)
    with pytest.raises(UserError) as caught:
        make_training(config)
    for word in ["training", "--overwrite", str(folder), *words]:
        assert word in str(caught.value)
    assert snapshot(folder) == before  # nothing was touched
    with pytest.raises(UserError, match=r"--overwrite") as caught:
        manifests.read(config, "training")
    assert words[0] in str(caught.value)


def test_changed_sources_are_refused(made, tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    shutil.copytree(made.data.data_path, tmp_path / "data")
    config = data_config(corpus, tmp_path / "data")
    assert make_training(config).new == 0
    for name in ("clean_train/anna/0.wav", "clean_train/bert/0.wav", "clean_train/carl/0.wav"):
        write_audio(corpus / name, speechlike(np.random.default_rng(99), 1.2))
    with pytest.raises(
        UserError, match=r"\(the recordings used from clean_train_path have changed\)"
    ):
        make_training(config)


def test_overwrite_makes_everything_anew(copied, corpus, tmp_path):
    folder = copied.data.data_path
    config = data_config(corpus, folder, data__seed=8, data__total_training_files=5)
    assert make_training(config, overwrite=True).new == 5
    fresh = data_config(corpus, tmp_path / "fresh", data__seed=8, data__total_training_files=5)
    make_training(fresh)
    for name, content in snapshot(tmp_path / "fresh").items():
        assert (folder / name).read_bytes() == content
    assert len(stamps(config)) == 15  # nothing of the old set is left


@pytest.mark.parametrize("name", ["clnsp1.wav", "song.flac", "my recording.wav"])
def test_files_of_others_are_refused_and_not_touched(corpus, tmp_path, name):
    path = tmp_path / "CleanSpeech_training" / name
    path.parent.mkdir()
    path.write_bytes(b"precious")
    with pytest.raises(UserError, match="did not make") as caught:
        make_training(data_config(corpus, tmp_path))
    assert name in str(caught.value)
    assert snapshot(tmp_path) == {f"CleanSpeech_training/{name}": b"precious"}


def test_overwrite_leaves_files_of_others_alone_and_works(copied, made):
    """It must not remove the old data set and then refuse to make the new one."""
    path = copied.data.data_path / "CleanSpeech_training/notes.txt"
    path.write_bytes(b"precious")
    assert make_training(copied, overwrite=True).new == 20
    assert path.read_bytes() == b"precious"
    path.unlink()
    assert snapshot(copied.data.data_path) == snapshot(made.data.data_path)


@pytest.mark.parametrize("root", ["", "CleanSpeech_training", "CleanSpeech_training/own", "link"])
def test_recordings_in_the_folders_of_mixtures_are_refused(root, corpus, tmp_path):
    """With --overwrite they would be removed where they bear the names of mixtures."""
    folder = tmp_path / "CleanSpeech_training/own"
    for k in range(3):
        name = folder / f"clnsp{k + 1}.wav" if root else folder.parent / f"clnsp{k + 1}.wav"
        write_audio(name, speechlike(np.random.default_rng(k), 1.1))
    (tmp_path / "link").symlink_to(folder)
    before = snapshot(tmp_path)
    config = data_config(corpus, tmp_path, data__clean_train_path=tmp_path / root)
    with pytest.raises(UserError, match=r"clean_train_path = .*CleanSpeech_training, .*data_path"):
        make_training(config, overwrite=True)
    assert snapshot(tmp_path) == before
    beside = shutil.copytree(corpus, tmp_path / "clean")  # as in a clone
    assert make_training(data_config(beside, tmp_path), overwrite=True).new == 20


def test_sources_in_two_splits_are_refused(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    shutil.copy(corpus / "noise_train/rain/rain.wav", corpus / "noise_test/wind/copy.wav")
    with pytest.raises(
        UserError, match=r"testing wind/copy\.wav .* rain/rain\.wav .*\(1 such file\)"
    ):
        make_plans(data_config(corpus, tmp_path / "out"))


def test_the_test_folders_are_not_needed_without_a_test_set(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    shutil.rmtree(corpus / "clean_test")
    plans, _, _ = make_plans(data_config(corpus, tmp_path, data__total_testing_files=0))
    assert [p.split for p in plans] == ["training", "validation"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_damaged_settings_are_refused(copied, text):
    (copied.data.data_path / "manifest_training.json").write_text(text)
    with pytest.raises(UserError, match="--overwrite"):
        make_training(copied)
    with pytest.raises(UserError, match="--overwrite"):
        manifests.read(copied, "training")


@pytest.mark.parametrize("text", ["", "index\n", "\0\0\0\n", "a,b\n1,2\n"])
def test_damaged_manifests(copied, made, text):
    (copied.data.data_path / "manifest_training.csv").write_text(text)
    with pytest.raises(UserError, match="--overwrite"):
        manifests.read(copied, "training")
    make_training(copied)
    assert snapshot(copied.data.data_path) == snapshot(made.data.data_path)


# ---------------------------------------------------------------- hard sources


def small_corpus(root: Path, **files: np.ndarray) -> Path:
    """Write a corpus from arrays; ``train_a=x`` is speaker a, other folders get ordinary sounds."""
    make_corpus(root)
    if any(name.startswith("speech_") for name in files):
        shutil.rmtree(root / "clean_train")
    if any(name.startswith("noise_") for name in files):
        shutil.rmtree(root / "noise_train")
    for name, samples in files.items():
        kind, speaker = name.split("_", 1)
        folder = "clean_train" if kind == "speech" else "noise_train"
        write_audio(root / folder / speaker / f"{speaker}.wav", samples, subtype="FLOAT")
    return root


@pytest.mark.parametrize("floor", [0, 2e-4])
def test_silent_crops_are_drawn_again(tmp_path, floor):
    """Silence may be digital or hold the hiss of a microphone."""
    rng = np.random.default_rng(0)

    def mostly_silent(sound: np.ndarray) -> np.ndarray:
        x = (floor * rng.standard_normal(5 * RATE)).astype(np.float32)
        x[-len(sound) :] += sound
        return x

    corpus = small_corpus(
        tmp_path / "corpus",
        speech_a=mostly_silent(speechlike(rng, 1)),
        speech_b=mostly_silent(speechlike(rng, 1)),
        noise_a=mostly_silent(hiss(rng, 0.5)),
        noise_b=mostly_silent(hiss(rng, 0.5)),
    )
    config = data_config(corpus, tmp_path / "out")
    make_training(config)
    for row in rows(config):
        for kind, gain in (("CleanSpeech", "clean_gain"), ("Noise", "noise_gain")):
            original = samples(config, row, kind) / 32768 / float(row[gain])
            assert levels.level_db(original) > -60  # the hiss is at -74 dBFS
        assert float(row["measured_snr_db"]) == pytest.approx(float(row["snr_db"]), abs=0.05)
    again = data_config(corpus, tmp_path / "again")
    make_training(again)
    assert snapshot(tmp_path / "again") == snapshot(tmp_path / "out")


@pytest.fixture(params=["long", "joined"])
def offset_corpora(request, tmp_path) -> tuple[Path, Path]:
    """Two corpora of soft speech and noise; of the second, all microphones have an offset."""
    made = []
    for name, mean in (("plain", 0), ("offset", 0.05)):
        rng = np.random.default_rng(3)
        root = make_corpus(tmp_path / name)
        for path in sorted(root.rglob("*.wav")):
            kind = path.relative_to(root).parts[0]
            seconds = 2 if request.param == "long" else 0.3
            x = speechlike(rng, seconds) if kind.startswith("clean") else hiss(rng, seconds)
            x = (x - np.mean(x)) * np.float32(0.02 / np.std(x))
            write_audio(path, x + mean * rng.choice([-1, 1]), subtype="FLOAT")
        made.append(root)
    return tuple(made)


@pytest.mark.parametrize("reference", ["whole", "active"])
def test_an_offset_of_the_recordings_changes_nothing(offset_corpora, tmp_path, reference):
    """Levels and SNRs are those of the same recordings without it, to 0.1 dB."""
    found = []
    for root in offset_corpora:
        config = data_config(root, tmp_path / f"{root.name}_out", data__snr_reference=reference)
        make_training(config)
        found.append(rows(config))
        for row in found[-1]:
            clean, noise = (samples(config, row, kind) for kind in ("CleanSpeech", "Noise"))
            snr = {
                "whole": 10 * math.log10(np.var(clean) / np.var(noise)),
                "active": levels.active_snr_db(clean, noise, RATE),
            }[reference]
            assert snr == pytest.approx(float(row["snr_db"]), abs=0.1)
            again = remake(row, config, "training")
            assert_array_equal(samples(config, row, "NoisySpeech"), again.noisy)
    columns = "measured_snr_db", "measured_active_snr_db", "clean_level_db", "noise_level_db"
    for one, other in zip(*found, strict=True):
        assert "mean" not in one["speech"] + one["noise"]
        assert all("mean" in p for kind in ("speech", "noise") for p in pieces(other, kind))
        for column in columns:
            assert float(one[column]) == pytest.approx(float(other[column]), abs=0.1)


def test_channels_that_cancel_are_never_used(tmp_path):
    rng = np.random.default_rng(0)
    x = speechlike(rng, 2)
    corpus = small_corpus(
        tmp_path / "corpus", speech_a=np.stack([x, -x], 1), speech_b=speechlike(rng, 1),
        speech_c=speechlike(rng, 2),
    )  # fmt: skip
    config = data_config(corpus, tmp_path / "out")
    make(config)
    found = [p["path"] for split, row in all_rows(config) for p in pieces(row, "speech")]
    assert not any(path.startswith("a/") for path in found)


def test_nothing_but_silent_pieces_is_an_error_that_says_so(tmp_path):
    rng = np.random.default_rng(0)
    cancelling = [np.stack([x, -x], 1) for x in (hiss(rng, 2), hiss(rng, 1))]
    corpus = small_corpus(tmp_path / "corpus", noise_a=cancelling[0], noise_b=cancelling[1])
    with pytest.raises(UserError, match=r"noise_train: no usable piece .* silent"):
        make_training(data_config(corpus, tmp_path / "out"))


def test_short_speech_is_joined_with_gaps(tmp_path):
    rng = np.random.default_rng(0)
    root = make_corpus(tmp_path / "corpus")
    shutil.rmtree(root / "clean_train")
    for speaker, k in itertools.product("ab", range(3)):
        signs = rng.choice([-0.3, 0.3], 4800 + 16 * k)  # 0.3 s without a single zero
        write_audio(root / f"clean_train/{speaker}/{k}.wav", signs)
    config = data_config(root, tmp_path / "out", data__file_length=1.5)
    make_training(config)
    for row in rows(config):
        expected, at = np.zeros(24000, bool), 0
        found = pieces(row, "speech")
        for piece in found:
            assert (piece["at"], piece["offset"]) == (at, 0)
            whole = 4800 + 16 * int(piece["path"][2])
            assert piece["length"] == min(whole, 24000 - at)
            expected[at : at + piece["length"]] = True
            at += whole + 3200  # 0.2 s
        assert at >= 24000
        assert_array_equal(samples(config, row, "CleanSpeech") != 0, expected)
        assert len({p["path"][0] for p in found}) == 1
    assert len({p["path"] for row in rows(config) for p in pieces(row, "speech")}) == 3


@pytest.mark.parametrize("gap", [0, 0.05])
def test_the_gap_is_that_of_the_configuration(tmp_path, gap):
    root = make_corpus(tmp_path / "corpus")
    shutil.rmtree(root / "clean_train")
    for speaker in "ab":
        level = 0.3 if speaker == "a" else 0.2
        write_audio(root / f"clean_train/{speaker}/x.wav", level * np.tile([1, -1], 2400))
    config = data_config(root, tmp_path / "out", data__silence_length=gap)
    make_training(config)
    clean = samples(config, rows(config)[0], "CleanSpeech")
    assert np.count_nonzero(clean == 0) == round(gap * RATE)


def test_short_noise_goes_round_from_any_offset(tmp_path):
    rng = np.random.default_rng(0)
    corpus = small_corpus(tmp_path / "corpus", noise_a=hiss(rng, 0.3), noise_b=hiss(rng, 0.3))
    config = data_config(corpus, tmp_path / "out", data__file_length=1.5)
    make_training(config)
    starts = set()
    for row in rows(config):
        noise = samples(config, row, "Noise")
        assert_array_equal(noise[4800:], noise[:-4800])
        starts.add(pieces(row, "noise")[0]["offset"])
        whole, _ = sf.read(config.data.noise_train_path / pieces(row, "noise")[0]["path"])
        turned = np.roll(np.tile(whole, 5), -pieces(row, "noise")[0]["offset"])[:24000]
        assert np.abs(noise - 32768 * float(row["noise_gain"]) * turned).max() <= 0.51
    assert len(starts) > 10


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Path:
    """A corpus of 44.1 kHz stereo speech and 48 kHz noise."""
    root = make_corpus(tmp_path_factory.mktemp("studio"))
    rng = np.random.default_rng(4)
    for k, speaker in enumerate(("anna", "bert", "carl")):
        left = speechlike(rng, 1.5, 44100)
        right = tone(1000 + 500 * k, 1.5, 44100, 0.2)
        write_audio(root / f"clean_train/{speaker}/0.wav", np.stack([left, right], 1), 44100)
        (root / f"clean_train/{speaker}/1.wav").unlink()
    for kind in ("rain", "fan", "saw"):
        write_audio(root / f"noise_train/{kind}/{kind}.wav", hiss(rng, 1.2, 48000), 48000)
    return root


@pytest.mark.parametrize("resampler", ["soxr", "resampy"])
def test_other_rates_and_channels(studio, tmp_path, resampler):
    """Every clean file is a piece of the whole recording, downmixed and resampled at once."""
    config = data_config(studio, tmp_path, audio__resampler=resampler, data__total_training_files=6)
    make_training(config)
    for row in rows(config):
        for kind, column, root in (
            ("CleanSpeech", "speech", studio / "clean_train"),
            ("Noise", "noise", studio / "noise_train"),
        ):
            (piece,) = pieces(row, column)
            assert (piece["rate"], piece["channels"]) == (
                (44100, 2) if column == "speech" else (48000, 1)
            )
            whole, rate = sf.read(root / piece["path"], dtype="float32", always_2d=True)
            whole = audio_io.resample(whole.mean(1), rate, RATE, resampler)
            gain = float(row["clean_gain" if column == "speech" else "noise_gain"])
            expected = 32768 * gain * whole[piece["offset"] : piece["offset"] + 8000]
            assert error_db(samples(config, row, kind), expected) < -45  # 16-bit rounding
            assert np.abs(samples(config, row, kind) - expected).max() < 0.6
        again = remake(row, config, "training")
        assert_array_equal(samples(config, row, "NoisySpeech"), again.noisy)
        assert float(row["measured_snr_db"]) == pytest.approx(float(row["snr_db"]), abs=0.05)


def test_resamplers_make_different_files(studio, tmp_path):
    found = []
    for resampler in ("soxr", "resampy"):
        config = data_config(
            studio, tmp_path / resampler, audio__resampler=resampler, data__total_training_files=2
        )
        make_training(config)
        found.append(samples(config, rows(config)[0], "CleanSpeech"))
    assert (found[0] != found[1]).any()
    assert error_db(*found) < -30


@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_working_rates(corpus, tmp_path, rate):
    config = data_config(
        corpus, tmp_path, data__sample_rate=rate, data__total_training_files=4, STFT__n_fft=2048
    )
    make_training(config)
    for row in rows(config):
        assert (row["sample_rate"], row["samples"]) == (str(rate), str(rate // 2))
        clean, noise, noisy = (samples(config, row, kind) for kind in KINDS)
        assert_array_equal(noisy, clean + noise)
        assert levels.snr_db(clean, noise) == pytest.approx(float(row["snr_db"]), abs=0.05)


def test_a_file_that_has_gone_bad_since_the_scan_is_passed_over(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    plan = make_plans(data_config(corpus, tmp_path / "out"))[0][0]
    bad = plan.speech[0].path
    (corpus / "clean_train" / bad).write_bytes(b"")
    assert build.make(plan).new == 20
    used = {p["path"] for row in rows(plan.config) for p in pieces(row, "speech")}
    assert used and bad not in used


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any kind")
@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", "a\u2028b\x85".encode(), b'"'])
def test_names_of_any_kind(tmp_path, name):
    """Speakers and noise types are names of folders, and those may hold anything."""
    corpus = make_corpus(tmp_path / "corpus")
    for folder, old in (("clean_train", "carl"), ("noise_train", "saw"), ("noise_train", "fan")):
        new = name if old != "fan" else name + b"2"
        (corpus / folder / old).rename(corpus / folder / os.fsdecode(new))
    config = data_config(corpus, tmp_path / "out")
    plans, _, _ = make_plans(config)
    for plan in plans:
        assert build.make(plan).new == plan.total
        assert build.make(plan).new == 0  # the manifest was read back
        found = manifests.read(config, plan.split)
        assert len(found) == plan.total
        assert {row["speaker"] for row in found} <= {s.label for s in plan.speech}
        assert {row["noise_type"] for row in found} <= {s.label for s in plan.noise}


# ---------------------------------------------------------------- the manifest


def test_manifest_of_a_finished_split(made):
    found = manifests.read(made, "training")
    assert found == rows(made)
    assert tuple(found[0]) == COLUMNS


def test_no_manifest(corpus, tmp_path):
    with pytest.raises(UserError, match=r"no such data set; .*data_prep\.py"):
        manifests.read(data_config(corpus, tmp_path), "training")


def test_every_setting_counts(made):
    """What the audio depends on is compared; totals and folders are not."""
    known = set(data_settings(made))
    ignored = {name for name in type(made.data).model_fields if name not in known}
    assert ignored == {
        "clean_train_path", "noise_train_path", "clean_test_path", "noise_test_path", "data_path",
        "total_training_files", "total_validation_files", "total_testing_files",
        # these choose the sources, whose digests are compared
        "speech_layout", "noise_layout", "speaker_folder", "noise_classes", "train_pairs",
        "validation_pairs", "test_pairs", "set_aside", "leaks",
    }  # fmt: skip
    assert "resampler" in known


def test_sources_of_a_plan_count(made):
    plan = make_plans(made)[0][0]
    fewer = dataclasses.replace(plan, speech=plan.speech[:-1])
    assert changed(plan.settings(), fewer.settings()).startswith("speech_sources")
