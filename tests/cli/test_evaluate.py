"""evaluate.py end to end on a small test set, and what it makes again."""

import csv
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import damage, embedded, noisy_bursts, write_audio

import evaluate as script
from specmask import files
from specmask.enhancement import array, enhancer
from specmask.evaluation import oracles, scoring


def test_script_on_the_test_set_of_the_config(data, capsys, monkeypatch):
    monkeypatch.chdir("/")
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    more = ["--system", f"again={data / 'enhanced'}"]
    assert script.main([*arguments, *more]) == 0
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
    assert script.main([*folders, *options]) == 0
    assert "SI-SDRi" not in capsys.readouterr().out
    assert (data / "out" / "scores.csv").is_file()


def test_details_are_on_request(data, capsys):
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    assert script.main(arguments) == 0
    out = capsys.readouterr().out
    assert "by SNR\n" not in out and "add --details" in out and len(out.splitlines()) < 14
    assert script.main([*arguments, "--details"]) == 0
    out = capsys.readouterr().out
    assert "by SNR\n" in out and "p (Holm)" in out and "STOI: Taal et al. 2011" in out


def test_files_older_than_the_weights_are_reported(data, capsys):
    """A run trained on after its files were enhanced; the report of other weights is replaced."""
    run = data / "cp" / "run"
    run.mkdir(parents=True)
    (run / "best.npz").write_bytes(b"weights")
    (run / "config.ini").write_text("")
    arguments = ["--config", str(data / "config.ini"), "--set", f"enhance.checkpoint={run}"]
    log = data / "enhanced" / "enhanced.json"
    log.write_text(json.dumps({"model": files.digest(run / "best.npz")}))
    assert script.main(arguments) == 0
    assert "warning" not in capsys.readouterr().out
    log.write_text('{"model": "old"}')
    assert script.main(arguments) == 0
    out = capsys.readouterr().out
    assert "enhanced: enhanced by other weights (old) than those of" in out
    assert "stopped" not in out
    assert "report: replaces a report of enhanced (weights " in out
    assert script.main(arguments) == 0
    assert "replaces" not in capsys.readouterr().out


def test_files_of_earlier_settings_are_reported(data, capsys):
    """Whatever the reason is that they were not made again, and until they are removed."""
    log = data / "enhanced" / "enhanced.json"
    left = "noisy1_SNRdb_-3.00_clnsp1.wav"
    log.write_text(json.dumps({"model": "new", "pending": ["removed.wav", left]}))
    assert script.main(["--config", str(data / "config.ini")]) == 0
    line = f"enhanced: 1 files are of earlier settings or recordings (the first: {left}); enhance"
    assert line in capsys.readouterr().out


def test_a_system_is_added_to_a_report(data, capsys, monkeypatch):
    """What the report has is kept and not scored, recognised or sent through the gate again."""
    pytest.importorskip("jiwer", reason="extra asr is not installed")
    monkeypatch.setattr(enhancer, "from_config", lambda _: (SimpleNamespace(rate=16000), data))
    monkeypatch.setattr(array, "enhance", lambda x, rate, model: x)
    (data / "ears.py").write_text("def hear(samples, rate):\n    return 'one two'\n")
    monkeypatch.syspath_prepend(data)
    (data / "said.tsv").write_text("".join(f"clnsp{i}\tone three\n" for i in (1, 2, 3)))
    ini = ["--config", str(data / "config.ini"), "--set", "evaluate.page_files=1"]
    path, name = data / "report" / "summary.json", "noisy2_SNRdb_0.00_clnsp2"
    heard = ["--transcripts", str(data / "said.tsv"), "--recogniser", "ears:hear"]
    script.main([*ini, "--gate", *heard, "--listen", name])
    before, page = json.loads(path.read_text()), embedded(data / "report")
    assert len(before["probes"]) == 10 and before["words"]["enhanced"]["wer"] == 0.5
    shutil.copytree(data / "enhanced", data / "other")
    scored, real = [], scoring.score_item

    def counting(item, names):
        scored.append(item.system)
        return real(item, names)

    monkeypatch.setattr(scoring, "score_item", counting)
    monkeypatch.chdir("/")
    more = ["--system", f"other={data / 'other'}", "--baseline", "wiener"]
    capsys.readouterr()
    assert script.main([*ini, "--add", str(path), *more]) == 0
    assert "replaces" not in capsys.readouterr().out
    after = json.loads(path.read_text())
    assert list(after["systems"]) == ["noisy", "wiener", "enhanced", "other"]
    assert set(scored) == {"wiener", "other"}
    assert all(after["systems"][s] == before["systems"][s] for s in before["systems"])
    kept = ("harm", "probes", "harm_words", "words", "words_verdict", "listen")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    files = embedded(data / "report")["files"]
    assert [(f["name"], f["words"]) for f in files] == [
        (f["name"], f["words"]) for f in page["files"]
    ]
    assert files[-1]["name"] == name and len(files[-1]["words"]["heard"]) == 3
    assert "Clean speech of any pitch" in (data / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--add", "{}"], "--add {}: goes with --system NAME=DIR or --baseline NAME"),
        (["--add", "{}", "--system", "enhanced=x"], "with a name that is not in use"),
        (["--add", "{}", "--system", "x=y", "--out", "z"], "--add: goes without --out"),
        (["--add", "{}", "--system", "x=y", "--by", "z"], "--add: goes without --by"),
        (
            ["--add", "{}", "--baseline", "wiener", "--metric", "snr"],
            "--add: goes without --metric",
        ),
        (["--add", "{}", "--baseline", "wiener", "--gate"], "has no clean files, and --gate needs"),
        (["--check", "{}", "--gate"], "--check: goes without --gate"),
        (["--probe", "default", "clean", "--details"], "--probe: goes without --details"),
        (["--probe-set", "x", "clean", "enhanced"], "--probe-set: goes without folders"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, capsys, arguments, message):
    inputs = dict.fromkeys(("clean_dir", "noisy_dir", "by", "baseline_names", "names"))
    (tmp_path / "c.ini").write_text("")
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"inputs": inputs | {"systems": {"enhanced": "e"}}}))
    arguments = [a.format(path) for a in arguments]
    assert script.main(["--config", str(tmp_path / "c.ini"), *arguments]) == 2
    assert message.format(path) in capsys.readouterr().err


def test_script_on_one_folder(data, capsys):
    options = ["--config", str(data / "config.ini"), "--out", str(data / "out")]
    (data / "enhanced" / "broken.wav").write_text("no audio")
    assert script.main([str(data / "enhanced"), *options]) == 0
    out = capsys.readouterr().out
    assert "LUFS" in out and "SI-SDR" not in out
    assert "DNSMOS-OVRL" in out or "note: without DNSMOS" in out
    assert "enhanced: 1 of 4 files lack scores, 1 because (broken) enhanced: not readable" in out
    page = (data / "out" / "index.html").read_text()
    assert "1-mask.png" not in page and '"loudness"' in page
    summary = json.loads((data / "out" / "summary.json").read_text())
    assert summary["inputs"]["clean_dir"] is None
    check = [*options[:2], "--check", str(data / "out" / "summary.json")]
    assert script.main(check) == 0
    more = ["--noisy", str(data / "NoisySpeech_testing"), "--metric", "snr"]
    assert script.main([str(data / "enhanced"), *options, *more]) == 0
    assert "noisy" in capsys.readouterr().out


def test_oracles_of_all_targets_without_a_model(data, capsys):
    for folder in ("CleanSpeech_testing", "NoisySpeech_testing", "enhanced"):
        for path in (data / folder).iterdir():
            if folder == "enhanced" or not path.stem.endswith("clnsp3"):
                path.unlink()
    ini = ["--config", str(data / "config.ini")]
    options = ["--set", "stft.n_fft=400", "--set", "model.binary_threshold_db=20"]
    assert script.main([*ini, *options, "--oracle", "--baseline", "oracle_ratio"]) == 0
    out = capsys.readouterr().out
    assert not (data / "report" / "summary.json").exists()  # that of the enhanced files
    path = data / "report" / "oracles" / "summary.json"
    summary = json.loads(path.read_text())
    systems = summary["systems"]
    assert set(systems) == {"noisy", *oracles.ORACLES}
    score = {name: s["metrics"]["si_sdr"]["mean"] for name, s in systems.items()}
    assert score["oracle_complex_mapping"] > score["oracle_complex"] > score["oracle_ratio"]
    assert list(systems["oracle_binary"]["by_snr"]) == ["6 dB"] and "oracle_noise_db" in out
    assert summary["inputs"]["ideal"]["n_fft"] == 400
    # checked with the settings of the report, not those of the config
    assert script.main([*ini, "--check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "11 rows scored again, all figures are the same" in out
    folders = [str(data / "CleanSpeech_testing"), str(data / "NoisySpeech_testing")]
    assert script.main([*ini, "--oracle", *folders, "--out", str(data / "out")]) == 0
    other = json.loads((data / "out" / "summary.json").read_text())["systems"]
    for name in ("noisy", "oracle_complex_mapping"):  # nothing of the settings is in these
        assert other[name]["metrics"]["si_sdr"]["mean"] == pytest.approx(score[name], abs=0.01)
    assert other["oracle_binary"]["metrics"]["si_sdr"]["mean"] != score["oracle_binary"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/enhanced", "--gate"], "--gate needs two: CLEAN ENHANCED"),
        (["{}/enhanced", "--baseline", "oracle_ratio"], "oracle_ratio: needs the clean files"),
        (["--metric", "mos"], "--metric mos: unknown; known are snr, si_sdr"),
        (["{}/nowhere", "{}/enhanced"], "nowhere: no such folder"),
        (["--oracle", "{}/CleanSpeech_testing"], "--oracle needs two: CLEAN NOISY"),
        (["--oracle", "--gate"], "--oracle: goes without --noisy and --gate"),
        (["--baseline", "oracle_irm"], "oracle_irm: unknown; known are wiener"),
        (["--system", "x"], "--system x: expected NAME=DIR"),
        (["--system", "enhanced={}"], "expected NAME=DIR with a name that is not in use"),
        (["--system", "clean={}"], "expected NAME=DIR with a name that is not in use"),
        (["--by", "{}/gone.json"], "gone.json: no such file"),
        (["--set", "enhance.output_path={}/none"], "none: no such folder; run enhance.py"),
        (["--set", "data.data_path={}/none"], "no such folder; make the test set"),
        (["--set", "data.unknown=1"], "unknown option"),
    ],
)
def test_errors_are_one_line(data, capsys, arguments, message):
    arguments = [a.format(data) for a in arguments]
    assert script.main(["--config", str(data / "config.ini"), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and err.startswith("error: ")


def test_script_fails_when_nothing_could_be_scored(data, capsys):
    for path in (data / "CleanSpeech_testing").iterdir():
        damage(path, "silent")
    assert script.main(["--config", str(data / "config.ini")]) == 2
    assert "none of 6 files could be scored: clean is silent" in capsys.readouterr().err
    assert "clean is silent" in (data / "report" / "scores.csv").read_text()


def test_check_makes_the_figures_again(data, capsys, monkeypatch):
    (data / "enhanced" / "enhanced.json").write_text('{"model": "abc"}')
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    assert script.main(arguments) == 0
    path = data / "report" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["checkpoints"] == {"enhanced": "abc"}
    assert summary["manifest"]["name"] == "manifest_testing.csv"
    assert summary["inputs"]["clean_dir"] == "../CleanSpeech_testing"
    assert "[evaluate]" in summary["config"] and summary["versions"]["numpy"] == np.__version__
    monkeypatch.chdir("/")
    arguments = ["--config", str(data / "config.ini"), "--check", str(path)]
    capsys.readouterr()
    assert script.main(arguments) == 0
    assert "9 rows scored again, all figures are the same" in capsys.readouterr().out
    write_audio(data / "enhanced" / "noisy2_SNRdb_0.00_clnsp2.wav", noisy_bursts(2, 0.02))
    (data / "enhanced" / "enhanced.json").write_text('{"model": "abd"}')
    assert script.main(arguments) == 1
    err = capsys.readouterr().err
    assert "different: checkpoints/enhanced: was abc, is abd" in err
    assert re.search(r"different: systems/enhanced/metrics/si_sdr/mean: was \S+, is \S+", err)
    assert "systems/noisy" not in err


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"inputs": {}}'])
def test_check_of_a_wrong_summary(data, capsys, text):
    path = data / "s.json"
    if text is not None:
        path.write_text(text)
    assert script.main(["--config", str(data / "config.ini"), "--check", str(path)]) == 2
    err = capsys.readouterr().err
    assert str(path) in err and err.count("\n") == 1
