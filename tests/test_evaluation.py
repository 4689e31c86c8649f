"""Pairing, rows, tables and the script, on small folders; and agreement with score.py."""

import csv
import importlib.util
import json
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from specmask import baselines, evaluation, metrics, report, scores
from specmask.errors import UserError
from specmask.evaluation import Condition

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
RATE = 16000


def speech(seed: int, rate: int = RATE) -> np.ndarray:
    """One second of noise in bursts: enough for every metric."""
    t = np.arange(rate) / rate
    envelope = np.sin(2 * np.pi * t) ** 2 * (t % 0.5 < 0.4)
    return 0.1 * envelope * np.random.default_rng(seed).standard_normal(rate)


def noisy_speech(seed: int, level: float = 0.01, rate: int = RATE) -> np.ndarray:
    return speech(seed, rate) + level * np.random.default_rng(seed + 100).standard_normal(rate)


def write(path: Path, x: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate, subtype="PCM_16")
    return path


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: pairing looks at names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    """Three files named as data_prep does, with their manifest and an enhanced folder."""
    rows = [["index", "clean_file", "noise_file", "noisy_file", "speaker", "noise_type", "snr_db"]]
    for i, (snr, noise) in enumerate([("-3.00", "rain"), ("0.00", "rain"), ("6.00", "dogs")], 1):
        stem = f"noisy{i}_SNRdb_{snr}"
        write(tmp_path / "CleanSpeech_testing" / f"clnsp{i}.wav", speech(i))
        write(tmp_path / "NoisySpeech_testing" / f"{stem}_clnsp{i}.wav", noisy_speech(i, 0.02))
        write(tmp_path / "enhanced" / f"{stem}_clnsp{i}.wav", noisy_speech(i, 0.01))
        names = [f"clnsp{i}.wav", f"{stem}.wav", f"{stem}_clnsp{i}.wav"]
        rows.append([i - 1, *names, "anna", noise, float(snr)])
    with (tmp_path / "manifest_testing.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "config.ini").write_text(
        "[data]\ndata_path = .\n[enhance]\noutput_path = enhanced\n[compute]\nworkers = 1\n"
    )
    return tmp_path


def run_evaluation(data: Path, **options) -> list[dict]:
    arguments = {
        "systems": {"enhanced": data / "enhanced"},
        "noisy_dir": data / "NoisySpeech_testing",
        "workers": 1,
        "names": ("si_sdr", "si_sdr_improvement"),
    } | options
    return evaluation.evaluate(data / "CleanSpeech_testing", **arguments)


# ---------------------------------------------------------------- pairing


@pytest.mark.parametrize(
    ("clean", "enhanced"),
    [
        ("a.wav", "a.wav"),
        ("anna/a.wav", "anna/a.flac"),
        ("anna/a.wav", "a.wav"),
        ("a.wav", "out/deep/a.ogg"),
        ("clnsp12.wav", "noisy12_SNRdb_-3.00_clnsp12.wav"),
        ("clnsp12.wav", "x/noisy12_SNRdb_inf_clnsp12.wav"),
        ("sp01.flac", "sp01_car_sn5.wav"),
        ("sp01.flac", "sp01_subway_train_sn15.wav"),
        ("noisy1_SNRdb_-3.00.wav", "noisy1_SNRdb_-3.00.wav"),
    ],
)
def test_pair_by_name(tmp_path, clean, enhanced):
    touch(tmp_path / "c", clean, "b.wav")
    touch(tmp_path / "e", enhanced, "b.wav", "notes.txt")
    pairs = {p.enhanced: p.clean for p in evaluation.pair(tmp_path / "c", tmp_path / "e")}
    assert pairs == {
        tmp_path / "e" / enhanced: tmp_path / "c" / clean,
        tmp_path / "e" / "b.wav": tmp_path / "c" / "b.wav",
    }


def test_pair_prefers_the_same_folder(tmp_path):
    names = ["anna/1.wav", "bert/1.wav"]
    pairs = evaluation.pair(touch(tmp_path / "c", *names), touch(tmp_path / "e", *names))
    assert [p.clean.parent.name for p in pairs] == ["anna", "bert"]
    assert [p.name for p in pairs] == ["anna/1", "bert/1"]


def test_many_noisy_files_of_one_clean_file(tmp_path):
    enhanced = touch(tmp_path / "e", "sp01_car_sn0.wav", "sp01_car_sn5.wav", "sp01_babble_sn5.wav")
    pairs = evaluation.pair(touch(tmp_path / "c", "sp01.wav"), enhanced)
    assert [p.name for p in pairs] == ["sp01_babble_sn5", "sp01_car_sn0", "sp01_car_sn5"]


@pytest.mark.parametrize(
    ("clean", "enhanced", "message"),
    [
        (["a.wav"], ["a.wav", "x.wav", "y.wav"], r"x\.wav: no clean file .*2 of 3 files"),
        (["a.wav", "b.wav", "c.wav"], ["a.wav"], r"no file for \S*b\.wav \(2 of 3 clean"),
        (["p/a.wav", "q/a.wav"], ["a.wav"], r"a: 2 clean files .* p/a and q/a"),
        (["a.wav"], ["a.wav", "a.flac"], r"a\.wav: a\.flac has the same name"),
        (["a.wav"], ["a.txt"], r"e: no audio files"),
    ],
)
def test_pair_names_what_is_wrong(tmp_path, clean, enhanced, message):
    clean, enhanced = touch(tmp_path / "c", *clean), touch(tmp_path / "e", *enhanced)
    with pytest.raises(UserError, match=message):
        evaluation.pair(clean, enhanced)


def test_pair_of_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"gone: no such folder"):
        evaluation.pair(tmp_path / "gone", tmp_path)


@given(
    index=st.integers(1, 99999),
    snr=st.floats(-100, 100, allow_nan=False),
)
@settings(deadline=None)
def test_names_of_data_prep_tell_their_snr(index, snr):
    name = f"noisy{index}_SNRdb_{snr:.2f}_clnsp{index}"
    assert evaluation.condition_of(name) == Condition(float(f"{snr:.2f}"))


def test_conditions_from_names():
    assert evaluation.condition_of("sp01_station_sn10") == Condition(10, "station")
    assert evaluation.condition_of("noisy1_SNRdb_-inf_clnsp1") == Condition(-math.inf)
    assert evaluation.condition_of("hello") == Condition()


# ---------------------------------------------------------------- manifests


def test_manifest_of_data_prep(data):
    path = evaluation.manifest_beside(data / "NoisySpeech_testing")
    assert path == data / "manifest_testing.csv"
    assert evaluation.read_manifest(path)["noisy1_SNRdb_-3.00_clnsp1"] == Condition(
        -3, "rain", "anna"
    )
    assert evaluation.manifest_beside(data / "enhanced") is None


def test_manifest_as_json(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[{"id": "d_0.5", "snr_db": -5, "noise": "rain", "more": 1}]')
    assert evaluation.read_manifest(path) == {"d_0.5": Condition(-5, "rain")}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.json", "{", "not a manifest"),
        ("m.json", '[{"id": "a", "noise": "x"}]', "no 'snr_db'"),
        ("m.json", '["a"]', "not a manifest"),
        ("m.csv", "noisy_file,snr_db\na,1\n", "no 'noise_type'"),
        ("m.csv", "noisy_file,snr_db,noise_type\na,loud,x\n", "'loud'"),
    ],
)
def test_bad_manifest(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        evaluation.read_manifest(tmp_path / name)
    assert "expected a CSV file with the columns" in str(caught.value)


# ---------------------------------------------------------------- rows


def test_rows_of_all_systems(data):
    rows = run_evaluation(data, baseline_names=["wiener"], names=metrics.METRICS)
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
    expected, _ = metrics.score(*signals, RATE)
    expected["pesq_wb"] = expected.pop("pesq")
    assert {name: first[name] for name in expected} == expected
    filtered = baselines.wiener(signals[1], RATE)
    assert rows[3]["si_sdr"] == metrics.si_sdr(signals[0], filtered)


def test_two_workers_make_the_same_rows(data):
    for i in range(4, 8):  # more than one task
        write(data / "CleanSpeech_testing" / f"clnsp{i}.wav", speech(i))
        for folder in ("NoisySpeech_testing", "enhanced"):
            write(data / folder / f"noisy{i}_SNRdb_0.00_clnsp{i}.wav", noisy_speech(i))
    names = ("si_sdr", "estoi")
    assert run_evaluation(data, workers=2, names=names) == run_evaluation(data, names=names)


def test_without_noisy_files_there_are_no_improvements(data):
    rows = run_evaluation(data, noisy_dir=None, names=metrics.METRICS)
    assert len(rows) == 3
    assert not metrics.NEED_NOISY & rows[0].keys()
    assert rows[0]["noise_type"] == "rain"  # the manifest lies beside the clean files too


def test_enhanced_files_named_like_the_clean_ones(data):
    for path in (data / "enhanced").iterdir():
        path.rename(path.with_name(path.stem.split("_")[-1] + ".wav"))
    rows = run_evaluation(data)
    assert [r["file"] for r in rows[:3]] == [r["file"] for r in rows[3:]]
    assert [r["snr_db"] for r in rows[3:]] == [-3, 0, 6]
    assert all(r["si_sdr_improvement"] > 3 for r in rows[3:])  # half the noise: 6 dB


def test_channels_are_averaged(tmp_path):
    left, right = noisy_speech(1, 0.003), noisy_speech(1, 0.03)
    stereo = np.stack([speech(1), speech(1)], axis=1)
    write(tmp_path / "c" / "a.wav", stereo)
    write(tmp_path / "e" / "a.wav", np.stack([left, right], axis=1))
    row = evaluation.evaluate(
        tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["si_sdr", "stoi"]
    )[0]
    clean, enhanced = (sf.read(tmp_path / d / "a.wav")[0] for d in "ce")
    each = [metrics.si_sdr(clean[:, k], enhanced[:, k]) for k in range(2)]
    assert each[0] - each[1] > 15
    assert_allclose(row["si_sdr"], np.mean(each))
    write(tmp_path / "e" / "a.wav", np.stack([left, 0 * right], axis=1))
    row = evaluation.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["si_sdr"])[0]
    assert math.isnan(row["si_sdr"]) and row["reason"] == "channel 2: enhanced is silent"


def damage(path: Path, how: str) -> None:
    x = sf.read(path)[0]
    if how == "not audio":
        path.write_text("hello")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "rate":
        sf.write(path, x, 8000)
    elif how == "stereo":
        sf.write(path, np.stack([x, x], axis=1), RATE)
    elif how == "short":
        sf.write(path, x[:-7], RATE)
    elif how == "silent":
        sf.write(path, 0 * x, RATE)
    elif how == "NaN":
        sf.write(path, np.where(np.arange(len(x)) == 9, np.nan, x), RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("not audio", "enhanced: not readable as audio"),
        ("empty", "enhanced: empty file"),
        ("rate", "enhanced: 8000 Hz, expected 16000 as the clean file has"),
        ("stereo", "enhanced: 2 channels, expected 1"),
        ("short", "enhanced: 15993 samples, expected 16000"),
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
    damage(data / "NoisySpeech_testing" / "noisy2_SNRdb_0.00_clnsp2.wav", "short")
    rows = run_evaluation(data, baseline_names=["wiener"])
    for row in (rows[1], rows[4]):  # noisy and wiener have nothing to score
        assert math.isnan(row["si_sdr"]) and row["reason"].startswith("noisy: 15993")
    assert math.isfinite(rows[7]["si_sdr"]) and math.isnan(rows[7]["si_sdr_improvement"])
    assert rows[7]["reason"].startswith("si_sdr_improvement: noisy: 15993 samples")


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
        write(tmp_path / "c" / f"{name}.wav", speech(1, rate), rate)
        write(tmp_path / "e" / f"{name}.wav", noisy_speech(1, 0.003, rate), rate)
    write(tmp_path / "c" / "lost.wav", speech(1)).write_bytes(b"")
    write(tmp_path / "e" / "lost.wav", speech(1))
    rows = evaluation.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, workers=1, names=["pesq"])
    lost, narrow, wide = rows
    assert "pesq_wb" not in narrow and "pesq_nb" not in wide
    assert math.isnan(lost["pesq_wb"]) and math.isnan(lost["pesq_nb"])
    for name, value in (("pesq_wb", wide["pesq_wb"]), ("pesq_nb", narrow["pesq_nb"])):
        m = report.mean(rows, name)
        assert (m.mean, m.scored, m.missing) == (value, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"baseline_names": ["magic"]},
            "magic: unknown; known are wiener, spectral",
        ),
        ({"baseline_names": ["wiener"], "noisy_dir": None}, "no noisy files to run it on"),
        ({"systems": {"noisy": Path("x")}}, "--system noisy=...: this name is taken"),
    ],
)
def test_options_that_cannot_be_met(data, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        run_evaluation(data, **options)


def test_a_manifest_of_other_files_is_refused(data):
    (data / "m.json").write_text('[{"id": "d0", "snr_db": -5, "noise": "rain"}]')
    with pytest.raises(UserError, match=r"no entry for noisy1_SNRdb_-3.00_clnsp1 \(3 files"):
        run_evaluation(data, by=data / "m.json")


def test_several_noisy_files_that_fit(tmp_path):
    touch(tmp_path / "c", "sp01.wav")
    touch(tmp_path / "n", "sp01_car_sn0.wav", "sp01_car_sn5.wav")
    touch(tmp_path / "e", "sp01.wav")
    with pytest.raises(UserError, match=r"sp01\.wav: 2 noisy files .*sp01_car_sn0\.wav"):
        evaluation.evaluate(tmp_path / "c", {"e": tmp_path / "e"}, tmp_path / "n", workers=1)


# ---------------------------------------------------------------- report


def make_row(system="s", file="f", snr=0.0, noise="rain", reason="", **scores) -> dict:
    return {
        "system": system,
        "file": file,
        "clean_file": "c.wav",
        "snr_db": snr,
        "noise_type": noise,
        "speaker": "",
        **scores,
        "reason": reason,
    }


ROWS = [
    make_row(file="a", si_sdr=1.0, stoi=0.5),
    make_row(file="b", si_sdr=3.0, stoi=math.nan, reason="stoi: too short", snr=6.0),
    make_row(file="c", si_sdr=8.0, stoi=0.75, noise="dogs"),
    make_row(system="t", file="a", si_sdr=-2.0, stoi=0.25),
]


def test_means_say_what_they_are_over():
    for name, expected in (("si_sdr", (4.0, 3, 0)), ("stoi", (0.625, 2, 1))):
        m = report.mean(ROWS[:3], name)
        assert (m.mean, m.scored, m.missing) == expected
        assert m.low < m.mean < m.high
    empty = report.mean(ROWS[1:2], "stoi")
    assert math.isnan(empty.mean) and (empty.scored, empty.missing) == (0, 1)


def test_table():
    lines = [line.split() for line in report.table(ROWS).splitlines()]
    assert lines[0] == ["system", "n", "SI-SDR", "dB", "STOI"]
    assert lines[1:4] == [
        ["overall"],
        ["s", "3", "4.00±3.50", "0.6250±0.1250", "(2)"],
        ["t", "1", "-2.00", "0.2500"],
    ]
    assert ["0", "dB", "s", "2", "4.50±3.50", "0.6250±0.1250"] in lines
    assert ["6", "dB", "s", "1", "3.00", "nan", "(0)"] in lines
    assert ["dogs", "s", "1", "8.00", "0.7500"] in lines
    text = report.table(ROWS)
    assert "s: 1 of 3 files lack scores, 1 because (b) stoi: too short" in text
    assert re.search(r"STOI: Taal et al\. 2011, package pystoi \d+\.\d+", text)


def test_table_without_conditions_has_one_section():
    text = report.table([make_row(snr=None, noise="", si_sdr=1.0)])
    assert "overall" in text and "by SNR" not in text and "by noise" not in text


def test_groups_are_in_order_and_zero_has_no_sign():
    snrs = [10.0, -5.0, -0.0, math.inf, 0.0, None]
    found = report.groups([make_row(snr=s, noise="", si_sdr=1.0) for s in snrs])
    assert list(found) == ["by_snr"]
    assert list(found["by_snr"]) == ["-5 dB", "0 dB", "10 dB", "inf dB", "unknown"]
    assert len(found["by_snr"]["0 dB"]) == 2


def test_many_snrs_are_put_together():
    rows = [make_row(snr=s, si_sdr=s) for s in np.linspace(-5, 9.9, 60)]
    found = report.groups(rows)["by_snr"]
    assert list(found) == ["-5 to 0 dB", "0 to 5 dB", "5 to 10 dB"]
    for label, members in found.items():
        low = float(label.split()[0])
        assert all(low <= r["snr_db"] < low + 5 for r in members)
    assert sum(map(len, found.values())) == 60


def test_files_of_the_report(tmp_path):
    content = report.summary(ROWS, "evaluate.py a b", {"versions": evaluation.versions()})
    report.write(tmp_path / "new", ROWS, content)
    with (tmp_path / "new" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["file"] for r in rows] == ["a", "b", "c", "a"]
    assert float(rows[2]["si_sdr"]) == 8 and rows[1]["stoi"] == "nan"
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["command"] == "evaluate.py a b"
    assert re.match(r"\d+\.\d+", summary["versions"]["pesq"])
    s = summary["systems"]["s"]
    assert s["files"] == 3
    expected = {"mean": 0.625, "low": 0.5, "high": 0.75, "scored": 2, "missing": 1}
    assert s["metrics"]["stoi"] == expected
    nothing = dict.fromkeys(["mean", "low", "high"])
    assert s["by_snr"]["6 dB"]["metrics"]["stoi"] == nothing | {"scored": 0, "missing": 1}
    assert s["by_noise"]["dogs"]["metrics"]["si_sdr"]["mean"] == 8
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["scores.csv", "summary.json"]


# ---------------------------------------------------------------- the script


def script():
    spec = importlib.util.spec_from_file_location("evaluate_script", ROOT / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_on_the_test_set_of_the_config(data, capsys, monkeypatch):
    monkeypatch.chdir("/")
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    more = ["--system", f"again={data / 'enhanced'}"]
    assert script().main([*arguments, *more]) == 0
    out = capsys.readouterr().out
    for heading in ("SI-SDR dB", "SI-SDRi dB", "SDR dB", "PESQ-WB", "STOI", "ESTOI", "SNRi dB"):
        assert heading in out
    with (data / "report" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {r["system"] for r in rows} == {"noisy", "wiener", "enhanced", "again"}
    summary = json.loads((data / "report" / "summary.json").read_text())
    assert summary["command"].endswith(" ".join(more))
    enhanced, again = summary["systems"]["enhanced"], summary["systems"]["again"]
    assert enhanced == again and not enhanced["misaligned"]
    assert enhanced["by_noise"]["rain"]["files"] == 2


def test_script_on_two_folders(data, capsys):
    folders = [str(data / "CleanSpeech_testing"), str(data / "enhanced")]
    options = ["--config", str(data / "config.ini"), "--out", str(data / "out")]
    assert script().main([*folders, *options]) == 0
    assert "SI-SDRi" not in capsys.readouterr().out
    assert (data / "out" / "scores.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/CleanSpeech_testing"], "expected two: CLEAN ENHANCED"),
        (["{}/nowhere", "{}/enhanced"], "nowhere: no such folder"),
        (["--system", "x"], "--system x: expected NAME=DIR"),
        (["--system", "enhanced={}"], "expected NAME=DIR with a name of its own"),
        (["--by", "{}/gone.json"], "gone.json: no such file"),
        (["--set", "enhance.output_path={}/none"], "none: no such folder; run enhance.py"),
        (["--set", "data.data_path={}/none"], "no such folder; make the test set"),
        (["--set", "data.unknown=1"], "unknown option"),
    ],
)
def test_script_says_what_is_wrong_in_one_line(data, capsys, arguments, message):
    arguments = [a.format(data) for a in arguments]
    assert script().main(["--config", str(data / "config.ini"), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and err.startswith("error: ")


def test_script_fails_when_nothing_could_be_scored(data, capsys):
    for path in (data / "CleanSpeech_testing").iterdir():
        damage(path, "silent")
    assert script().main(["--config", str(data / "config.ini")]) == 2
    assert "none of 6 files could be scored: clean is silent" in capsys.readouterr().err
    assert "clean is silent" in (data / "report" / "scores.csv").read_text()


def test_help_imports_nothing_heavy():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import evaluate\n"
        "try: evaluate.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'pydantic', 'scipy'} & sys.modules.keys()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--baseline" in result.stdout


# ---------------------------------------------------------------- going on where it stopped


def count_scored(monkeypatch) -> list:
    """Return a list that grows with every file that is really scored."""
    scored, real = [], evaluation.score_files

    def counting(task, names):
        scored.append((task.system, task.name))
        return real(task, names)

    monkeypatch.setattr(evaluation, "score_files", counting)
    return scored


def test_what_is_scored_already_is_not_scored_again(data, monkeypatch):
    arguments = ["--config", str(data / "config.ini")]
    assert script().main(arguments) == 0
    table = (data / "report" / "scores.csv").read_bytes()
    assert not (data / "report" / "scores.partial.jsonl").exists()
    scored = count_scored(monkeypatch)
    assert script().main(arguments) == 0
    assert scored == [] and (data / "report" / "scores.csv").read_bytes() == table
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    write(path, noisy_speech(2, 0.005))
    assert script().main([*arguments, "--baseline", "wiener"]) == 0
    wiener = [s for s in scored if s[0] == "wiener"]
    assert len(wiener) == 3 and sorted(set(scored) - set(wiener)) == [("enhanced", path.stem)]
    assert (data / "report" / "scores.csv").read_bytes() != table


def test_rows_with_gaps_are_made_again(data, monkeypatch):
    damage(data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav", "silent")
    rows = run_evaluation(data, folder=data / "r")
    scores.write(data / "r", rows, report.columns(rows))
    scored = count_scored(monkeypatch)
    run_evaluation(data, folder=data / "r")
    assert scored == [("enhanced", "noisy2_SNRdb_0.00_clnsp2")]


def test_a_killed_run_goes_on(data, monkeypatch):
    real = evaluation.score_files

    def killed(task, names):
        if task.name.startswith("noisy3"):
            raise KeyboardInterrupt
        return real(task, names)

    monkeypatch.setattr(evaluation, "FILES_A_TASK", 1)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "score_files", killed)
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
    x = np.r_[np.zeros(2000), speech(seed), np.zeros(2000)]
    noise = 0.02 * np.random.default_rng(seed + 50).standard_normal(len(x))
    assert evaluation.best_lag(x, np.roll(-0.0 + x, lag) + noise, RATE) == lag


def test_lag_of_silence_and_of_very_short_files():
    assert evaluation.best_lag(np.zeros(100), np.ones(100), RATE) is None
    assert evaluation.best_lag(np.ones(1), np.ones(1), RATE) is None
    assert evaluation.best_lag(np.r_[0.0, 1.0], np.r_[0.0, 1.0], RATE) == 0


def test_a_late_file_is_told(data):
    path = data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav"
    x = sf.read(path)[0]
    write(path, np.r_[np.zeros(80), x[:-80]])
    rows = run_evaluation(data)
    assert [row["lag"] for row in rows] == [0, 0, 0, 0, 80, 0]
    text = report.table(rows)
    assert "warning: enhanced: 1 of 3 files do not lie on the clean ones, at most by 80" in text
    assert report.summary(rows, "", {})["systems"]["enhanced"]["misaligned"] == 1


# ---------------------------------------------------------------- comparisons and reproduction


def test_comparisons_are_paired_by_file():
    ours = [make_row(system="new", file=f"f{i}", si_sdr=float(i + 2)) for i in range(9)]
    theirs = [make_row(system="old", file=f"f{i}", si_sdr=float(i)) for i in reversed(range(8))]
    (entry,) = report.comparisons(ours + theirs)
    assert (entry["system"], entry["other"], entry["files"]) == ("new", "old", 8)
    assert (entry["mean"], entry["low"], entry["high"]) == (2, 2, 2)
    assert entry["p"] == entry["p_holm"] == 2 / 2**8  # all eight signs alike, two-sided
    text = report.table(ours + theirs)
    assert "SI-SDR dB of new" in text and "+2.00 to +2.00" in text


def test_baselines_are_not_what_is_compared():
    rows = [make_row(system=s, si_sdr=v) for s, v in (("noisy", 0.0), ("wiener", 1.0), ("me", 3.0))]
    found = [(e["system"], e["other"], e["mean"]) for e in report.comparisons(rows)]
    assert found == [("me", "noisy", 3), ("me", "wiener", 2)]
    assert report.comparisons(rows[:2]) == report.comparisons(rows[2:]) == []


def test_check_makes_the_figures_again(data, capsys, monkeypatch):
    (data / "enhanced" / "enhanced.json").write_text('{"model": "abc"}')
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    assert script().main(arguments) == 0
    path = data / "report" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["checkpoints"] == {"enhanced": "abc"}
    assert summary["manifest"]["name"] == "manifest_testing.csv"
    assert summary["inputs"]["clean_dir"] == "../CleanSpeech_testing"
    assert "[evaluate]" in summary["config"] and summary["versions"]["numpy"] == np.__version__
    monkeypatch.chdir("/")
    arguments = ["--config", str(data / "config.ini"), "--check", str(path)]
    capsys.readouterr()
    assert script().main(arguments) == 0
    assert "9 rows scored again, all figures are the same" in capsys.readouterr().out
    write(data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav", noisy_speech(2, 0.02))
    (data / "enhanced" / "enhanced.json").write_text('{"model": "abd"}')
    assert script().main(arguments) == 1
    err = capsys.readouterr().err
    assert "different: checkpoints/enhanced: was abc, is abd" in err
    assert re.search(r"different: systems/enhanced/metrics/si_sdr/mean: was \S+, is \S+", err)
    assert "systems/noisy" not in err


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"inputs": {}}'])
def test_check_of_what_is_no_summary(data, capsys, text):
    path = data / "s.json"
    if text is not None:
        path.write_text(text)
    assert script().main(["--config", str(data / "config.ini"), "--check", str(path)]) == 2
    err = capsys.readouterr().err
    assert str(path) in err and err.count("\n") == 1


# ---------------------------------------------------------------- the independent scorer


@pytest.mark.skipif(
    not (SHARED / "data" / "bench").is_dir() or not (SHARED / "score.py").is_file(),
    reason=f"needs score.py and the bench in {SHARED}",
)
@pytest.mark.parametrize(
    ("bench", "clean", "pattern", "label"),
    [
        ("bench", "d0[0-3]0", "d0[0-3]0.*", "PESQ-WB"),
        ("noizeus_8k", "sp01", "sp01_*_sn5.*", "PESQ-NB"),
    ],
)
def test_means_are_those_of_score_py(tmp_path, monkeypatch, capsys, bench, clean, pattern, label):
    source = SHARED / "data" / bench
    for path in source.glob(f"clean/{clean}.*"):
        write(tmp_path / "c" / f"{path.stem}.wav", *sf.read(path))
    for path in source.glob(f"noisy/{pattern}"):
        write(tmp_path / "n" / f"{path.stem}.wav", *sf.read(path))
    arguments = [str(SHARED / "score.py"), str(tmp_path / "c"), str(tmp_path / "n")]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(arguments[0])
    printed = capsys.readouterr().out
    rows = evaluation.evaluate(tmp_path / "c", {"s": tmp_path / "n"}, workers=1)
    ours = report.table(rows).splitlines()
    cells = dict(zip(re.split(r"\s{2,}", ours[0].strip()), ours[2].split(), strict=True))
    form = rf"n +(\d+) +{label} (\S+) +STOI (\S+) +ESTOI (\S+) +SI-SDR (\S+)"
    expected = re.search(form, printed).groups()
    found = [cells[k].split("±")[0] for k in ("n", label, "STOI", "ESTOI", "SI-SDR dB")]
    assert tuple(found) == expected
    assert len(rows) == 4
