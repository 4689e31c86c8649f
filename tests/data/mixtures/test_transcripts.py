"""Words of the sources become words of the files that hold them whole."""

import shutil

import numpy as np
import pytest
from helpers import data_config, make_corpus, speechlike, write_audio

from specmask.data.mixtures import build, manifest, transcripts
from specmask.data.mixtures.plan import make_plans
from specmask.evaluation import word_errors


def test_words_of_librispeech_and_vctk(tmp_path):
    folder = tmp_path / "LibriSpeech/dev/19/198"
    folder.mkdir(parents=True)
    lines = "19-198-0000 CHAPTER ONE", "19-198-0001 YES", "19-198-0002 ", ""
    (folder / "19-198.trans.txt").write_text("\n".join(lines))
    (tmp_path / "testset_txt").mkdir()
    (tmp_path / "testset_txt/p232_001.txt").write_text("Please call\nStella.\n")
    (tmp_path / "readme.txt").write_text("nothing said")
    (folder / "latin.trans.txt").write_bytes(b"19-198-0003 \xff\xfe\n")
    assert transcripts.find(tmp_path) == {
        "19-198-0000": "CHAPTER ONE", "19-198-0001": "YES", "p232_001": "Please call Stella.",
    }  # fmt: skip


@pytest.fixture
def books(tmp_path):
    """A corpus of LibriSpeech: recordings of 0.4 s and one of 2 s."""
    root = make_corpus(tmp_path / "corpus")
    shutil.rmtree(root / "clean_test")
    rng = np.random.default_rng(0)
    folder = root / "clean_test/19/198"
    words = []
    for k, seconds in enumerate((0.4, 0.4, 2.0)):
        write_audio(folder / f"19-198-{k:04}.flac", speechlike(rng, seconds))
        words.append(f"19-198-{k:04} WORD{k}")
    (folder / "19-198.trans.txt").write_text("\n".join(words))
    return root


def test_only_whole_recordings_have_words(books, tmp_path):
    config = data_config(books, tmp_path, data__silence_length=0.2, data__total_testing_files=30)
    plan = make_plans(config)[0][2]
    build.make(plan)
    found = word_errors.read_transcripts(transcripts.write(plan))
    rows = manifest.read(config, "testing")
    # 0.4 s of a recording and 0.2 s of silence fill 0.5 s: one word, or a part of the long one
    whole = {r["clean_file"][:-4] for r in rows if "0002" not in r["speech"]}
    assert set(found) == whole and 5 < len(whole) < 30
    assert set(found.values()) == {"WORD0", "WORD1"}
    damaged = dict(zip(sorted(whole), ("x", "[1]", "{}", "[{}]"), strict=False))
    for row in rows:
        row["speech"] = damaged.get(row["clean_file"][:-4], row["speech"])
    manifest.write(manifest.path_of(config, "testing"), rows)
    assert set(word_errors.read_transcripts(transcripts.write(plan))) == whole - set(damaged)


def test_without_any_nothing_is_written(corpus, tmp_path):
    plan = make_plans(data_config(corpus, tmp_path))[0][2]
    build.make(plan)
    assert transcripts.write(plan) is None
    assert not (tmp_path / "transcripts_testing.tsv").exists()


def test_overwriting_leaves_no_words_of_the_old_files(books, corpus, tmp_path):
    old, new = (
        make_plans(data_config(root, tmp_path, data__total_testing_files=30))[0][2]
        for root in (books, corpus)
    )
    build.make(old)
    path = transcripts.write(old)
    next(books.rglob("*.trans.txt")).unlink()
    build.make(old)  # the files are the same, and so are their words
    assert transcripts.write(old) is None and path.is_file()
    build.make(new, overwrite=True)
    assert transcripts.write(new) is None and not path.exists()
