"""Word errors by hand, with recognisers that are functions of the test, and pocketsphinx."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf
from helpers import SHARED, damage, white_noise, write_audio
from numpy.testing import assert_allclose

import evaluate as script
from specmask.enhancement import array
from specmask.errors import UserError
from specmask.evaluation import pairing, word_errors

jiwer = pytest.importorskip("jiwer", reason="extra asr is not installed")


def word_distance(said: list[str], heard: list[str]) -> int:
    """Least number of words to change, by the recursion itself."""
    if not said or not heard:
        return len(said) + len(heard)
    return min(
        word_distance(said[1:], heard[1:]) + (said[0] != heard[0]),
        word_distance(said[1:], heard) + 1,
        word_distance(said, heard[1:]) + 1,
    )


def test_errors_by_hand():
    # hits: ONE THREE; one substitution, one deletion, one insertion
    found = word_errors.errors(["one two three four"], ["ONE too three. and"])
    assert (found.words, found.files, found.failed) == (4, 1, 0)
    assert_allclose([found.wer, found.mer, found.wil], [2 / 4, 2 / 4, 1 - 2 * 2 / (4 * 4)])
    found = word_errors.errors(["a b", "c d"], ["a b x", "c"])
    assert_allclose([found.wer, found.mer, found.wil], [2 / 4, 2 / 5, 1 - 9 / (4 * 4)])


def test_wer_against_the_recursion():
    rng = np.random.default_rng(0)
    for _ in range(20):
        said, heard = ([*rng.choice(["A", "B", "C"], rng.integers(1, 6))] for _ in range(2))
        expected = word_distance(said, heard) / len(said)
        assert_allclose(word_errors.errors([" ".join(said)], [" ".join(heard)]).wer, expected)


def test_a_failure_counts_as_deletions():
    found = word_errors.errors(["one two", "three"], ["one two", None])
    assert (found.wer, found.words, found.files, found.failed) == (1 / 3, 3, 2, 1)


def test_normalisation():
    assert (
        word_errors.normalise(" It's  five-o'clock,\tnow_ÄRGER!") == "IT'S FIVE O'CLOCK NOW ÄRGER"
    )


def test_names_in_transcripts(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("an4/x/v1.2.flac\tone\nan4/y/b.wav\ttwo\nz\\b\tthree\nan4/x/v1.2.flac\tOne\n")
    found = word_errors.read_transcripts(path)
    assert found == {"an4/x/v1.2": "ONE", "an4/y/b": "TWO", "z/b": "THREE"}
    say = word_errors.finder(found)
    assert [say("x/v1.2.flac"), say("v1.2.wav"), say("an4/y/b.flac")] == ["ONE", "ONE", "TWO"]
    assert say("b.wav") is None  # two files have this name
    path.write_text("a.wav\tone\na.flac\ttwo\n")
    with pytest.raises(UserError, match=r"line 2: a\.flac has other words"):
        word_errors.read_transcripts(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a.wav one two\n", "line 1: expected FILE, a tab"), ("\n", "no transcripts"), (None, "read")],
)
def test_wrong_transcripts(tmp_path, text, message):
    path = tmp_path / "t.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        word_errors.read_transcripts(path)


def test_grammar():
    assert "( five | six )+" in word_errors.grammar(["SIX", "FIVE"])


def test_unknown_words_are_composed():
    known = {"rub": "R AH B", "out": "AW T"}
    assert word_errors._pronounce("rubout", known.get) == "R AH B AW T"
    with pytest.raises(UserError, match="cannot pronounce 'rubber'"):
        word_errors._pronounce("rubber", known.get)


def test_any_function_is_a_recogniser(data):
    calls = []

    def recogniser(samples, rate):
        calls.append((samples.shape, rate))
        if len(calls) == 2:
            raise RuntimeError("out of ideas")
        return "one" if len(calls) < 4 else "two"

    tasks = pairing.items(data / "CleanSpeech_testing", {"e": data / "enhanced"})
    rows = word_errors.recognise(tasks, {"clnsp1": "ONE", "x/clnsp3": "ONE"}, recogniser)
    assert [(r["system"], r["heard"]) for r in rows] == [
        ("clean", "ONE"),
        ("e", None),
        ("clean", "ONE"),
        ("e", "TWO"),
    ]
    assert set(calls) == {((16000,), 16000)}
    found = word_errors.summary(rows)
    assert (found["clean"]["wer"], found["e"]["wer"], found["e"]["failed"]) == (0, 1, 1)
    assert list(found["e"]["by_snr"]) == ["-3 dB", "6 dB"] and "by_snr" not in found["clean"]
    assert "e -3 dB                      1      1   100.0" in word_errors.table(found)
    with pytest.raises(UserError, match=r"none for clnsp1\.wav"):
        word_errors.recognise(tasks, {"other": "ONE"}, recogniser)


def test_a_file_that_holds_nan_is_not_recognised(tmp_path):
    """As before an enhancer of the gate, which refuses such samples."""
    path = write_audio(tmp_path / "a.wav", white_noise(900))
    recogniser = lambda samples, rate: "one"  # noqa: E731
    assert word_errors.recognise_file(path, recogniser, array.enhance) == "ONE"
    damage(path, "NaN")
    assert word_errors.recognise_file(path, recogniser, array.enhance) is None


def spoken(system: str, errors: list[int], words: int = 10) -> list[dict]:
    """Rows of files of so many words, the first of which are wrong."""
    said = [f"W{k}" for k in range(words)]
    return [
        {"system": system, "file": f"f{i}", "said": " ".join(said), "errors": n,
         "heard": " ".join(["X"] * n + said[n:])}
        for i, n in enumerate(errors)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (
            [5] * 8,
            [2] * 8,
            "helps recognition here: WER 50.0 % noisy, 20.0 % e (80 words",
        ),
        (
            [2] * 8,
            [5] * 8,
            "harms recognition here: WER 20.0 % noisy, 50.0 % e (80 words",
        ),
        (
            [2, 5] * 4,
            [5, 2] * 4,
            "makes no clear difference to recognition here: WER 35.0",
        ),
    ],
)
def test_verdict(before, after, line):
    rows = spoken("clean", [0] * 8) + spoken("noisy", before) + spoken("e", after)
    assert word_errors.verdict(rows).startswith(f"enhancing {line}")
    assert word_errors.verdict(rows[:16]) == word_errors.verdict(rows[16:]) == ""


def test_a_recogniser_of_ones_own(data, capsys, monkeypatch):
    (data / "mine.py").write_text("LIST = []\ndef listen(samples, rate): return 'one'\n")
    (data / "t.tsv").write_text("clnsp1\tone\nclnsp2\ttwo\n")
    monkeypatch.chdir(data)
    arguments = ["--config", "config.ini", "--transcripts", "t.tsv", "--recogniser"]
    assert script.main([*arguments, "mine:listen"]) == 0
    out = capsys.readouterr().out
    assert "no clear difference to recognition here: WER 50.0 % noisy, 50.0 % enhanced" in out
    assert "no clear difference" in (data / "report" / "index.html").read_text()
    for name, words in (
        ("mine:no", "no attribute 'no'"),
        ("nowhere:f", "No module named 'nowhere'"),
        ("mine:LIST", "not a function"),
        ("", "Empty module name"),
    ):
        assert script.main([*arguments, name or ":f"]) == 2
        assert words in capsys.readouterr().err
    assert script.main(["--config", "config.ini", "--recogniser", "mine:listen"]) == 2
    assert "needs --transcripts FILE" in capsys.readouterr().err


AN4 = SHARED / "data" / "clean_test" / "an4"


def test_pocketsphinx_on_real_words(tmp_path, capsys):
    pytest.importorskip("pocketsphinx", reason="extra asr is not installed")
    if not AN4.is_dir():
        pytest.skip(f"needs real speech in {AN4}")
    transcripts = SHARED / "data" / "transcripts" / "clean_test.tsv"
    known = word_errors.read_transcripts(transcripts)
    names = [n for n in known if known[n] in ("ENTER SEVEN", "NO")][:2]
    for name in names:
        for folder in ("c", "e"):
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(AN4.parent / f"{name}.flac", tmp_path / folder)
    (tmp_path / "config.ini").write_text("[compute]\nworkers = 1\n[evaluate]\npage_files = 0\n")
    arguments = [str(tmp_path / "c"), str(tmp_path / "e"), "--transcripts", str(transcripts)]
    assert script.main([*arguments, "--config", str(tmp_path / "config.ini")]) == 0
    found = json.loads((tmp_path / "report" / "summary.json").read_text())["words"]
    assert found["clean"] == found["enhanced"] and found["clean"]["files"] == 2
    assert found["clean"]["wer"] == 0
    assert "WER %" in capsys.readouterr().out


def test_pocketsphinx_does_not_depend_on_the_files_before():
    pytest.importorskip("pocketsphinx", reason="extra asr is not installed")
    if not AN4.is_dir():
        pytest.skip(f"needs real speech in {AN4}")
    known = word_errors.read_transcripts(SHARED / "data" / "transcripts" / "clean_test.tsv")
    recogniser = word_errors.sphinx(known.values())
    sounds = [sf.read(AN4.parent / f"{name}.flac")[0] for name in sorted(known)[::10]]
    in_turn = [recogniser(x, 16000) for x in sounds]
    backwards = [recogniser(x, 16000) for x in reversed(sounds)]
    assert in_turn == backwards[::-1]


def test_pocketsphinx_on_silence():
    pytest.importorskip("pocketsphinx", reason="extra asr is not installed")
    recogniser = word_errors.sphinx(["yes no"])
    assert isinstance(recogniser(np.zeros(8000, np.float32), 8000), str)
