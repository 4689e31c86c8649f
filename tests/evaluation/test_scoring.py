"""Rows of scores on small folders: channels, damaged files, interrupted runs, alignment."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import RATE, bursts, damage, noisy_bursts, run_evaluation, write_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_equal

import evaluate as script
from specmask.errors import UserError
from specmask.evaluation import baselines, pairing, report, score_table, scoring
from specmask.evaluation.metrics import distortion
from specmask.evaluation.metrics.loudness import loudness
from specmask.evaluation.metrics.table import DEFAULT, NEED_NOISY, score


def test_rows_of_all_systems(data):
    rows = run_evaluation(data, baseline_names=["wiener"], names=DEFAULT)
    assert [r["system"] for r in rows] == ["noisy"] * 3 + ["wiener"] * 3 + ["enhanced"] * 3
    first = rows[6]
    assert first["file"] == "noisy1_SNRdb_-3.00_clnsp1"
    assert (first["clean_file"], first["snr_db"], first["noise_type"]) == ("clnsp1.wav", -3, "rain")
    assert all(r["reason"] == "" for r in rows)
    assert all(r["si_sdr_improvement"] == r["snr_improvement"] == 0 for r in rows[:3])
    signals = [
        sf.read(data / folder / name)[0]
        for folder, name in [
            ("CleanSpeech_testing", "clnsp1.wav"),
            ("NoisySpeech_testing", f"{first['file']}.wav"),
            ("enhanced", f"{first['file']}.wav"),
        ]
    ]
    expected, _ = score(*signals, RATE)
    expected["pesq_wb"] = expected.pop("pesq")
    assert {name: first[name] for name in expected} == expected
    filtered = baselines.wiener(signals[1], RATE)
    assert rows[3]["si_sdr"] == distortion.si_sdr(signals[0], filtered)


def test_two_workers_make_the_same_rows(data):
    for i in range(4, 8):  # more than one task
        write_audio(data / "CleanSpeech_testing" / f"clnsp{i}.wav", bursts(i))
        for folder in ("NoisySpeech_testing", "enhanced"):
            write_audio(data / folder / f"noisy{i}_SNRdb_0.00_clnsp{i}.wav", noisy_bursts(i))
    names = ("si_sdr", "estoi")
    assert run_evaluation(data, workers=2, names=names) == run_evaluation(data, names=names)


def test_without_noisy_files_there_are_no_improvements(data):
    rows = run_evaluation(data, noisy_dir=None, names=DEFAULT)
    assert len(rows) == 3
    assert not NEED_NOISY & rows[0].keys()
    assert rows[0]["noise_type"] == "rain"  # the manifest lies beside the clean files too


def test_enhanced_files_named_like_the_clean_ones(data):
    for path in (data / "enhanced").iterdir():
        path.rename(path.with_name(path.stem.split("_")[-1] + ".wav"))
    rows = run_evaluation(data)
    assert [r["file"] for r in rows[:3]] == [r["file"] for r in rows[3:]]
    assert [r["snr_db"] for r in rows[3:]] == [-3, 0, 6]
    assert all(r["si_sdr_improvement"] > 3 for r in rows[3:])  # half the noise: 6 dB


def test_channels_are_averaged(tmp_path):
    left, right = noisy_bursts(1, 0.003), noisy_bursts(1, 0.03)
    stereo = np.stack([bursts(1), bursts(1)], axis=1)
    write_audio(tmp_path / "c" / "a.wav", stereo)
    write_audio(tmp_path / "e" / "a.wav", np.stack([left, right], axis=1))
    row = scoring.evaluate(
        tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["si_sdr", "stoi"]
    )[0]
    clean, enhanced = (sf.read(tmp_path / d / "a.wav")[0] for d in "ce")
    each = [distortion.si_sdr(clean[:, k], enhanced[:, k]) for k in range(2)]
    assert each[0] - each[1] > 15
    assert_allclose(row["si_sdr"], np.mean(each))
    write_audio(tmp_path / "e" / "a.wav", np.stack([left, 0 * right], axis=1))
    row = scoring.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["si_sdr"])[0]
    assert math.isnan(row["si_sdr"]) and row["reason"] == "channel 2: enhanced is silent"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("not audio", "enhanced: not readable as audio"),
        ("empty", "enhanced: empty file"),
        ("rate", "enhanced: 8000 Hz, expected 16000 as the clean file has"),
        ("stereo", "enhanced: 2 channels, expected 1"),
        ("too short", "enhanced: 15199 samples, expected 16000"),
        ("silent", "enhanced is silent"),
        ("NaN", "enhanced: holds NaN or infinite samples"),
    ],
)
def test_a_bad_enhanced_file_keeps_its_row(data, how, reason):
    names = ("si_sdr", "si_sdr_improvement", "pesq")
    before = run_evaluation(data, names=names)
    damage(data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav", how)
    after = run_evaluation(data, names=names)
    bad = after.pop(4)
    before.pop(4)
    assert after == before
    assert bad["reason"].startswith(reason)
    assert all(math.isnan(bad[n]) for n in ("si_sdr", "si_sdr_improvement", "pesq_wb"))


def test_a_bad_noisy_file_costs_improvements_only(data):
    damage(data / "NoisySpeech_testing" / "noisy2_SNRdb_0.00_clnsp2.wav", "too short")
    rows = run_evaluation(data, baseline_names=["wiener"])
    for row in (rows[1], rows[4]):  # noisy and wiener have nothing to score
        assert math.isnan(row["si_sdr"]) and row["reason"].startswith("noisy: 15199")
    assert math.isfinite(rows[7]["si_sdr"]) and math.isnan(rows[7]["si_sdr_improvement"])
    assert rows[7]["reason"].startswith("si_sdr_improvement: noisy: 15199 samples")


def test_a_bad_clean_file_costs_all_systems_a_score(data):
    damage(data / "CleanSpeech_testing" / "clnsp2.wav", "empty")
    rows = run_evaluation(data, names=["si_sdr", "pesq"])
    bad = [r for r in rows if r["clean_file"] == "clnsp2.wav"]
    assert len(bad) == 2
    for row in bad:
        assert row["reason"] == "clean: empty file (0 bytes)"
        assert math.isnan(row["si_sdr"]) and math.isnan(row["pesq_wb"])


def test_bandwidths_of_pesq_do_not_mix(tmp_path):
    for name, rate in (("wide", 16000), ("narrow", 8000)):
        write_audio(tmp_path / "c" / f"{name}.wav", bursts(1, rate), rate)
        write_audio(tmp_path / "e" / f"{name}.wav", noisy_bursts(1, 0.003, rate), rate)
    write_audio(tmp_path / "c" / "lost.wav", bursts(1)).write_bytes(b"")
    write_audio(tmp_path / "e" / "lost.wav", bursts(1))
    rows = scoring.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["pesq"])
    lost, narrow, wide = rows
    assert "pesq_wb" not in narrow and "pesq_nb" not in wide
    assert math.isnan(lost["pesq_wb"]) and math.isnan(lost["pesq_nb"])
    for name, value in (("pesq_wb", wide["pesq_wb"]), ("pesq_nb", narrow["pesq_nb"])):
        m = report.mean(rows, name)
        assert (m["mean"], m["scored"], m["missing"]) == (value, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"baseline_names": ["magic"]},
            "magic: unknown; known are wiener, spectral",
        ),
        ({"baseline_names": ["wiener"], "noisy_dir": None}, "no noisy files to run it on"),
        ({"systems": {"noisy": Path("x")}}, "--system noisy=...: this name is used already"),
    ],
)
def test_wrong_options(data, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        run_evaluation(data, **options)


# ---------------------------------------------------------------- resuming


def count_scored(monkeypatch) -> list:
    """Return a list that grows with every file that is really scored."""
    scored, real = [], scoring.score_item

    def counting(item, names):
        scored.append((item.system, item.name))
        return real(item, names)

    monkeypatch.setattr(scoring, "score_item", counting)
    return scored


def test_scored_files_are_not_scored_again(data, monkeypatch):
    arguments = ["--config", str(data / "config.ini")]
    assert script.main(arguments) == 0
    table = (data / "report" / "scores.csv").read_bytes()
    assert not (data / "report" / "scores.partial.jsonl").exists()
    scored = count_scored(monkeypatch)
    assert script.main(arguments) == 0
    assert scored == [] and (data / "report" / "scores.csv").read_bytes() == table
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    write_audio(path, noisy_bursts(2, 0.005))
    assert script.main([*arguments, "--baseline", "wiener"]) == 0
    wiener = [s for s in scored if s[0] == "wiener"]
    assert len(wiener) == 3 and sorted(set(scored) - set(wiener)) == [("enhanced", path.stem)]
    assert (data / "report" / "scores.csv").read_bytes() != table


def test_rows_of_relative_paths_are_those_of_absolute_ones(data, monkeypatch):
    """summary.json, and so --add, has absolute paths."""
    monkeypatch.chdir(data)
    first = run_evaluation(Path(), folder=data / "report")
    scored = count_scored(monkeypatch)
    assert run_evaluation(data.resolve(), folder=data / "report") == first and scored == []


def test_other_code_or_packages_score_again(data, monkeypatch):
    (item, *_) = pairing.items(data / "CleanSpeech_testing", {"e": data / "enhanced"})
    digests = {scoring.digest(item, ["si_sdr"]), scoring.digest(item, ["stoi"])}
    monkeypatch.setattr(scoring, "VERSION", "changed")
    digests.add(scoring.digest(item, ["si_sdr"]))
    monkeypatch.setattr(scoring, "versions", lambda: {"pesq": "0.0.5"})
    digests.add(scoring.digest(item, ["si_sdr"]))
    assert len(digests) == 4


def test_gaps_are_used_again_unless_they_may_be_mended(data, monkeypatch):
    """Rows that lack a package or are of silence stay; that of a damaged file is made again."""
    monkeypatch.setitem(sys.modules, "pesq", None)
    damage(data / "enhanced" / "noisy1_SNRdb_-3.00_clnsp1.wav", "silent")
    damage(data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav", "not audio")
    options = {"folder": data / "r", "names": ("si_sdr", "pesq")}
    rows = run_evaluation(data, **options)
    reasons = [row["reason"] for row in rows]
    assert reasons[0] == reasons[5] == "pesq_wb: package pesq is not installed"
    assert reasons[3] == "enhanced is silent"
    scored = count_scored(monkeypatch)
    assert_equal(run_evaluation(data, **options), rows)  # from scores.partial.jsonl
    score_table.write(data / "r", rows, report.columns(rows))
    assert_equal(run_evaluation(data, **options), rows)  # from scores.csv
    assert scored == 2 * [("enhanced", "noisy2_SNRdb_0.00_clnsp2")]


def test_a_killed_run_is_resumed(data, monkeypatch):
    real = scoring.score_item

    def killed(item, names):
        if item.name.startswith("noisy3"):
            raise KeyboardInterrupt
        return real(item, names)

    monkeypatch.setattr(scoring, "FILES_PER_TASK", 1)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "score_item", killed)
        with pytest.raises(KeyboardInterrupt):
            run_evaluation(data, folder=data / "r")
    partial = data / "r" / "scores.partial.jsonl"
    with partial.open("a") as file:
        file.write('\n{"system": "noi')  # the disk was full in the middle of a line
    scored = count_scored(monkeypatch)
    rows = run_evaluation(data, folder=data / "r")
    assert ("noisy", "noisy1_SNRdb_-3.00_clnsp1") not in scored and len(scored) == 4
    assert rows == run_evaluation(data)


@pytest.mark.parametrize("text", ["", "system\n", "a,b\n1\n", "\0\0", "si_sdr,digest\nx,y\n"])
def test_a_damaged_table_is_made_again(data, text):
    (data / "r").mkdir()
    (data / "r" / "scores.csv").write_text(text)
    assert run_evaluation(data, folder=data / "r") == run_evaluation(data)


# ---------------------------------------------------------------- alignment


@given(lag=st.integers(-1600, 1600), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_best_lag_is_the_delay(lag, seed):
    x = np.r_[np.zeros(2000), bursts(seed), np.zeros(2000)]
    noise = 0.02 * np.random.default_rng(seed + 50).standard_normal(len(x))
    assert scoring.best_lag(x, np.roll(-0.0 + x, lag) + noise, RATE) == lag


def test_lag_of_silence_and_of_very_short_files():
    assert scoring.best_lag(np.zeros(100), np.ones(100), RATE) is None
    assert scoring.best_lag(np.ones(1), np.ones(1), RATE) is None
    assert scoring.best_lag(np.r_[0.0, 1.0], np.r_[0.0, 1.0], RATE) == 0


def test_a_changed_sign_is_no_delay():
    x = bursts(1)
    assert scoring.best_lag(x, -x, RATE) == 0


def test_no_delay_between_unrelated_signals():
    rng = np.random.default_rng(0)
    assert scoring.best_lag(*rng.standard_normal((2, 4 * RATE)), RATE) is None


def test_a_broken_link_keeps_its_row(data):
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    path.unlink()
    try:
        path.symlink_to(data / "gone.wav")
    except OSError:
        pytest.skip("symbolic links are not allowed here")
    rows = run_evaluation(data)
    assert rows[4]["reason"].startswith("enhanced: not readable") and len(rows) == 6


def test_a_late_file_is_reported(data):
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    x = sf.read(path)[0]
    write_audio(path, np.r_[np.zeros(80), x[:-80]])
    rows = run_evaluation(data)
    assert [row["lag"] for row in rows] == [0, 0, 0, 0, 80, 0]
    text = "\n".join(report.problems(rows))
    assert (
        "warning: enhanced: 1 of 3 files are not aligned with the clean ones, the worst by 80"
        in text
    )
    assert report.summary(rows, "", {})["systems"]["enhanced"]["misaligned"] == 1


def test_a_file_of_another_recording_is_reported(data):
    """It has no delay, and scores that count. A silent file and a silent clean one are no such."""
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    length = sf.info(path).frames
    write_audio(path, 0.1 * np.random.default_rng(5).standard_normal(length))
    rows = run_evaluation(data)
    assert rows[4]["lag"] is None and rows[4]["si_sdr"] < -20
    warning = "warning: enhanced: 1 of 3 files have next to nothing in common with their clean"
    assert [line[: len(warning)] for line in report.problems(rows)] == [warning]
    write_audio(path, np.zeros(length))
    lines = report.problems(run_evaluation(data))
    assert len(lines) == 2 and "1 of 3 files are silent and their clean ones" in lines[1]
    write_audio(data / "CleanSpeech_testing" / "clnsp2.wav", np.zeros(length))
    assert all("lack scores" in line for line in report.problems(run_evaluation(data)))


def test_files_without_noise_do_not_count_in_means_of_ratios(data):
    """100 dB of the noisy file would; its own row has them, and other metrics count it."""
    names = ("si_sdr", "si_sdr_improvement", "sdr", "stoi")
    clean, noisy = data / "CleanSpeech_testing" / "clnsp2.wav", data / "NoisySpeech_testing"
    alone = run_evaluation(data, names=names)
    (noisy / "noisy2_SNRdb_0.00_clnsp2.wav").write_bytes(clean.read_bytes())
    rows = run_evaluation(data, names=names)
    assert rows[1]["si_sdr"] == 100 and rows[4]["si_sdr"] == alone[4]["si_sdr"]
    content = report.summary(rows, "", {})
    others = [row for row in alone if row["file"] != rows[1]["file"]]
    expected = report.summary(others, "", {})
    assert content["without_noise"] == 1 and "without_noise" not in expected
    for system in ("noisy", "enhanced"):
        for name in ("si_sdr", "sdr"):
            found = content["systems"][system]["metrics"][name]
            assert found == expected["systems"][system]["metrics"][name] and found["scored"] == 2
        assert content["systems"][system]["metrics"]["stoi"]["scored"] == 3
    tests = {(c["metric"], c["files"]) for c in content["comparisons"]}
    assert ("si_sdr", 2) in tests and ("stoi", 3) in tests
    line = "1 of 3 noisy files equal their clean ones (noisy2_SNRdb_0.00_clnsp2): left out of means"
    assert report.problems(rows)[0].startswith(line)
    earlier = report.summary(rows, "", {}, count_all=True)
    assert earlier["systems"]["noisy"]["metrics"]["si_sdr"]["mean"] > 30
    assert report.mean(rows[:3], "si_sdr") == earlier["systems"]["noisy"]["metrics"]["si_sdr"]


# ---------------------------------------------------------------- lengths, and no reference


@pytest.mark.parametrize("samples", [-800, 800])
def test_a_little_shorter_or_longer_is_cut(data, samples):
    """As tools do that work in whole frames: 63,744 samples for 64,000."""
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    x = sf.read(path)[0]
    write_audio(path, x[:samples] if samples < 0 else np.r_[x, np.zeros(samples)])
    rows = run_evaluation(data, folder=data / "r")
    assert [row.get("extra_samples", 0) for row in rows] == [0, 0, 0, 0, samples, 0]
    assert rows[4]["reason"] == "" and rows[4]["si_sdr_improvement"] > 3
    note = (
        f"enhanced: 1 of 3 files are longer or shorter than the clean ones, at most by {samples:+d}"
    )
    assert any(line.startswith(note) for line in report.problems(rows))
    score_table.write(data / "r", rows, report.columns(rows))
    assert run_evaluation(data, folder=data / "r") == rows


def test_files_without_reference(data):
    names = ["si_sdr", "si_sdr_improvement", "loudness"]
    rows = run_evaluation(data, clean_dir=None, names=names, baseline_names=["wiener"])
    assert [r["system"] for r in rows] == ["noisy"] * 3 + ["wiener"] * 3 + ["enhanced"] * 3
    assert rows[0]["file"] == rows[6]["file"] and rows[6]["noise_type"] == "rain"
    for row in rows:
        assert not {"si_sdr", "si_sdr_improvement"} & row.keys()
        assert row["lag"] is None and -70 < row["loudness"] < 0 and row["clean_file"] == ""
    x, rate = sf.read(data / "enhanced" / f"{rows[6]['file']}.wav")
    assert rows[6]["loudness"] == pytest.approx(loudness(x, rate))
    assert rows[3]["loudness"] < rows[0]["loudness"]
    entry = report.comparisons(rows)[0]
    assert (entry["system"], entry["other"], entry["metric"]) == ("enhanced", "noisy", "loudness")
    (data / "enhanced" / "x.wav").write_text("no audio")
    rows = run_evaluation(data, clean_dir=None, noisy_dir=None, names=names)
    assert len(rows) == 4 and rows[3]["reason"].startswith("enhanced: not readable as audio")
