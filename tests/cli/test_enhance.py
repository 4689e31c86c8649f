"""Flags of enhance.py that stand for options of [enhance]."""

from pathlib import Path

import pytest
from helpers import ROOT

from specmask.cli import enhance as command
from specmask.cli import live
from specmask.config import ini
from specmask.enhancement import enhancer


@pytest.fixture
def settings(monkeypatch):
    """A function from arguments to the configuration that the command would use."""
    loaded = []
    monkeypatch.setattr(command, "enhance", lambda a: loaded.append(ini.load(a.config, a.set)))

    def load(*arguments: str):
        assert command.main(["in", "out", *arguments]) == 0
        return loaded.pop().enhance

    return load


def test_flags_set_options(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = "--mix 0.5 --max-suppression 12 --gain -3 --format flac --runtime onnx --model cp/run"
    found = settings(*flags.split())
    assert (found.mix, found.max_suppression_db, found.post_gain_db) == (0.5, 12, -3)
    assert (found.format, found.runtime) == ("flac", "onnx")
    assert found.checkpoint == tmp_path / "cp/run"  # relative to the working directory


def test_flags_and_set_win_over_the_file_and_the_last_one_over_all(settings, tmp_path):
    (tmp_path / "a.ini").write_text("[enhance]\nmix = 0.1\npost_gain_db = 6\n", encoding="utf-8")
    arguments = ["--config", str(tmp_path / "a.ini"), "--mix", "0.5", "--set", "enhance.mix=0.7"]
    assert settings(*arguments).mix == 0.7
    assert settings(*arguments, "--mix", "0.9").mix == 0.9
    assert settings(*arguments).post_gain_db == 6


def test_the_model_default_is_the_one_that_comes_with_specmask(settings):
    assert settings("--model", "default").checkpoint.parent == ROOT / "pretrained"
    assert settings().checkpoint == Path()


@pytest.mark.parametrize("flag", [["--mix", "2"], ["--gain", "loud"], ["--format", "mp3"]])
def test_values_are_checked_as_in_the_file(settings, capsys, flag):
    assert command.main(["in", "out", *flag]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: command line: [enhance] ") and flag[1] in message


def test_live_takes_the_flags_of_the_sound_too(monkeypatch):
    loaded = []
    monkeypatch.setattr(live, "listen", lambda a: loaded.append(ini.load(a.config, a.set).enhance))
    assert live.main(["--mix", "0.5", "--gain", "3", "--model", "default"]) == 0
    assert (loaded[0].mix, loaded[0].post_gain_db) == (0.5, 3)
    assert loaded[0].checkpoint.parent == ROOT / "pretrained"


def test_help_names_units(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    text = capsys.readouterr().out
    for flag in ("--max-suppression DB", "--gain DB", "--mix SHARE", "--model RUN"):
        assert flag in text


def test_load_takes_the_default_model_without_a_path():
    model = enhancer.load(runtime="onnx")
    assert model.digest == enhancer.load("default", runtime="onnx").digest
    assert model.digest == enhancer.load(ROOT / "pretrained/default.onnx").digest
