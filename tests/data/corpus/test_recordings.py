"""Which recordings are used, who speaks in them, and that no split shares them."""

from pathlib import Path

import numpy as np
import pytest
from helpers import RATE, data_config, speechlike, write_audio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from specmask.data.corpus import recordings
from specmask.data.corpus.layouts import Layout
from specmask.data.corpus.recordings import Source, inspect
from specmask.data.corpus.splits import split_sources
from specmask.errors import UserError


def source(path: str, group: str, length: int, start: int = 0, label: str = "x") -> Source:
    """A source that lies on no disk."""
    return Source(path, RATE, 1, f"digest of {path}", -20.0, group, label, start, start + length)


def good(seed: int = 0, seconds: float = 1) -> np.ndarray:
    """Samples that nothing is wrong with."""
    return speechlike(np.random.default_rng(seed), seconds)


# ---------------------------------------------------------------- one file


def test_facts_of_a_good_file(tmp_path):
    x = np.stack([0.5 * good(1), 0.5 * good(2)], 1)
    facts = inspect(write_audio(tmp_path / "a.wav", x, subtype="FLOAT"))
    assert (facts["rate"], facts["channels"], facts["frames"]) == (RATE, 2, RATE)
    assert facts["level_db"] == pytest.approx(10 * np.log10(np.mean(x**2)), abs=0.01)


def test_the_digest_is_of_the_content(tmp_path):
    x, other = ((32768 * good(seed)).astype(np.int16) for seed in (0, 1))
    digests = [
        inspect(write_audio(tmp_path / name, samples, rate))["digest"]
        for name, samples, rate in (
            ("a.wav", x, RATE),
            ("copy.flac", x, RATE),  # another format, nothing lost
            ("other.wav", other, RATE),
            ("rate.wav", x, 8000),
            ("stereo.wav", np.stack([x, x], 1), RATE),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_files_longer_than_a_block(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "a.wav", good())
    whole = inspect(path)
    monkeypatch.setattr(recordings, "BLOCK_FRAMES", 1000)
    assert inspect(path) == whole


def with_one(value: float) -> np.ndarray:
    """A good signal but for one sample."""
    x = good()
    x[5000] = value
    return x


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(RATE), "silent"),
        (np.full(RATE, 9e-5), "silent"),
        (np.full(RATE, 0.5), "silent: a constant"),
        (with_one(np.nan), "NaN"),
        (with_one(np.inf), "infinite"),
        (with_one(-1e38), "samples of 1e+38, expected at most 65535"),
        (good(seconds=0.1), "too short: 0.100 s"),
        (np.zeros(0), "holds no samples"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_content_that_cannot_be_used(tmp_path, samples, reason):
    found = inspect(write_audio(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert isinstance(found, str) and reason in found


@pytest.mark.parametrize(
    "samples", [good(seconds=0.25), 2e-4 * np.tile([1, -1], RATE // 2), 32768 * good()]
)
def test_content_that_can_just_be_used(tmp_path, samples):
    assert isinstance(inspect(write_audio(tmp_path / "a.wav", samples, subtype="FLOAT")), dict)


# ---------------------------------------------------------------- a folder


def scan(root: Path, tmp_path: Path) -> tuple[list[Source], dict[str, str]]:
    """Scan a folder of speech; return the sources and the reasons by path."""
    config, option = data_config(tmp_path, tmp_path / "out"), "clean_train_path"
    paths = recordings.list_folder(root, option)
    found, rejected = recordings.scan(root, paths, Layout("speech").name_of, config, option)
    return found, {r.path: r.reason for r in rejected}


def test_good_and_bad_files_of_a_folder(tmp_path):
    root = tmp_path / "speech"
    write_audio(root / "b/good.wav", good(1, 1.5), 8000)
    twice = (32768 * good(2)).astype(np.int16)
    write_audio(root / "a/good.wav", twice, 44100)
    write_audio(root / "a/copy.flac", twice, 44100)
    write_audio(root / "b/silent.wav", np.zeros(RATE))
    write_audio(root / "b/nan.wav", with_one(np.nan), subtype="FLOAT")
    write_audio(root / "short.wav", good(3, 0.1))
    (root / "b/empty.wav").write_bytes(b"")
    (root / "b/readme.txt").write_text("not looked at")
    found, reasons = scan(root, tmp_path)
    assert [s.path for s in found] == ["a/copy.flac", "b/good.wav"]
    assert [s.length for s in found] == [-(-RATE * RATE // 44100), 2 * 24000]
    assert [(s.group, s.rate) for s in found] == [("a", 44100), ("b", 8000)]
    assert reasons.pop("a/good.wav") == "same content as a/copy.flac"
    assert {k: v.split(":")[0].split()[0] for k, v in reasons.items()} == {
        "b/silent.wav": "silent",
        "b/nan.wav": "holds",
        "short.wav": "too",
        "b/empty.wav": "empty",
    }


def test_folders_without_anything_to_use(tmp_path):
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    (empty / "notes.txt").write_text("x")
    write_audio(bad / "a.wav", np.zeros(RATE))
    write_audio(bad / "b.wav", np.zeros(2 * RATE))
    for folder, words in (
        (tmp_path / "no", ["no such folder", "make demo"]),
        (tmp_path / "empty/notes.txt", ["no such folder"]),
        (empty, ["no audio files", "make demo"]),
        (bad, ["none of 2 files", "a.wav: silent"]),
    ):
        with pytest.raises(UserError) as caught:
            scan(folder, tmp_path)
        for word in ["[data] clean_train_path", str(folder), *words]:
            assert word in str(caught.value)


# ---------------------------------------------------------------- validation


def groups_of(part: list[Source]) -> set[str]:
    return {s.group for s in part}


@settings(max_examples=200)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(4000, 10**6)), min_size=2, max_size=12),
    share=st.floats(0.01, 0.899),
    seed=st.integers(0, 99),
)
@example([(0, RATE), (1, RATE)], 0.8, 0)
def test_no_group_is_in_both_parts(sizes, share, seed):
    whole = [source(f"{k}.wav", f"group {g}", n) for k, (g, n) in enumerate(sizes)]
    training, validation, warnings = split_sources(whole, share, RATE, np.random.default_rng(seed))
    assert training and validation
    assert not groups_of(training) & groups_of(validation)
    assert {s.path for s in training} | {s.path for s in validation} == {s.path for s in whole}
    assert len(training) + len(validation) == len(whole)
    assert any("of one group" in w for w in warnings) == (len({g for g, _ in sizes}) == 1)
    again = split_sources(whole, share, RATE, np.random.default_rng(seed))
    assert again == (training, validation, warnings)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_the_share_is_that_of_the_time(share):
    rng = np.random.default_rng(0)
    whole = [source(f"{k}", f"{k % 100}", int(rng.integers(RATE, 9 * RATE))) for k in range(400)]
    _, validation, _ = split_sources(whole, share, RATE, rng)
    part = sum(s.length for s in validation) / sum(s.length for s in whole)
    assert share <= part <= 1.1 * share


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_is_too_large_is_passed_over(seed):
    whole = [source("long", "long", 90 * RATE)]
    whole += [source(f"{k}", f"{k}", RATE) for k in range(30)]
    _, validation, _ = split_sources(whole, 0.1, RATE, np.random.default_rng(seed))
    assert sum(s.length for s in validation) == 12 * RATE


def test_a_single_group_is_split_by_file_with_a_warning():
    whole = [source(f"{k}.wav", "one", RATE) for k in range(10)]
    training, validation, warnings = split_sources(whole, 0.2, RATE, np.random.default_rng(0))
    assert (len(training), len(validation)) == (8, 2)
    assert "one group" in warnings[0] and "by file" in warnings[0]


@pytest.mark.parametrize(("speakers", "warned"), [(2, True), (7, False)])
def test_a_validation_much_larger_than_its_share_is_reported(speakers, warned):
    """Of two speakers, one is half of the time."""
    whole = [source(f"{s}/{k}.wav", str(s), RATE) for s in range(speakers) for k in range(5)]
    _, validation, warnings = split_sources(whole, 0.1, RATE, np.random.default_rng(0))
    assert len(validation) == 5
    words = "validation takes 1 of 2 speakers or recordings, 50% of the time where"
    assert [w.startswith(words) for w in warnings] == [True] * warned


def test_files_in_no_folder_are_split_by_file_with_a_warning():
    whole = [source(f"{k}.wav", f"file:{k}.wav", RATE, label="") for k in range(10)]
    training, validation, warnings = split_sources(whole, 0.2, RATE, np.random.default_rng(0))
    assert (len(training), len(validation)) == (8, 2)
    assert warnings[0].startswith("10 files are in no folder")


@given(
    seconds=st.floats(8, 10_000),
    share=st.floats(0.01, 0.899),
    rate=st.sampled_from((8000, 16000, 48000)),
)
def test_a_single_file_is_split_by_time_with_a_gap(seconds, share, rate):
    whole = source("long.wav", "long.wav", round(seconds * rate) + 1)
    (first,), (last,), warnings = split_sources([whole], share, rate, np.random.default_rng(0))
    assert first.start == whole.start and last.stop == whole.stop
    assert last.start - first.stop == 2 * rate  # what speaks or hums on is in neither
    shortest = recordings.SHORTEST_SECONDS * rate
    assert first.length >= shortest and last.length >= shortest
    assert "long.wav" in warnings[0]


def test_a_single_file_that_is_too_short_to_be_split():
    with pytest.raises(UserError, match=r"one\.wav: the only file, 5\.0 s"):
        split_sources([source("one.wav", "one", 5 * RATE)], 0.1, RATE, np.random.default_rng(0))


# ---------------------------------------------------------------- leaks


def test_digest_of_a_list(tmp_path):
    first, second = source("a", "a", 5), source("b", "b", 5)
    assert recordings.digest([first, second]) == recordings.digest([first, second])
    assert len({recordings.digest(s) for s in ([first], [second], [first, second], [])}) == 4
