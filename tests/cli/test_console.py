"""Options, exit codes and one-line errors that all commands share."""

import errno
import os
import subprocess
import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

import pytest
from helpers import ROOT

from specmask import __main__, __version__
from specmask.cli import console, export
from specmask.config import ini
from specmask.errors import UserError

SCRIPTS = sorted(
    p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.py"), *ROOT.glob("data/*.py")]
)

# Runs a script and reports which of the slow packages it has imported.
HELP = """
import runpy, sys
script = sys.argv[1]
sys.argv = [script, "--help"]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    slow = {"tensorflow", "keras", "resampy", "numba", "scipy", "tensorboard", "pesq"}
    slow |= {"numpy", "pydantic"}
    print(end.code, sorted(slow.intersection(sys.modules)), file=sys.stderr)
"""


def outcome(capsys, error: BaseException | None = None, code: int | None = None) -> tuple[int, str]:
    """Run an action that ends like this; return the exit code and stderr."""

    def action(args: Namespace) -> int | None:
        if error:
            raise error
        return code

    result = console.run(action, Namespace())
    return result, capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (143, 143)])
def test_codes_of_the_action(capsys, code, expected):
    assert outcome(capsys, code=code) == (expected, "")


def test_user_errors_are_one_line_and_code_2(capsys):
    assert outcome(capsys, UserError("x.wav:\n  is   bad")) == (2, "error: x.wav: is bad\n")


def test_interruption(capsys):
    code, text = outcome(capsys, KeyboardInterrupt())
    assert code == 130
    assert "run the same command to resume" in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "permissions"),
        (errno.EPERM, "permissions"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "choose another folder"),
        (errno.EISDIR, "check the path"),
    ],
)
def test_errors_of_the_operating_system_are_one_line(capsys, number, word):
    code, text = outcome(capsys, OSError(number, "refused", "/some/where.wav"))
    assert code == 2
    assert text.startswith("error: /some/where.wav: ") and word in text
    assert text.count("\n") == 1


def test_system_error_without_a_name(capsys):
    code, text = outcome(capsys, OSError("odd"))
    assert code == 2 and "odd" in text


def test_a_missing_package_is_named_with_the_interpreter(capsys):
    """The Python of the system in the place of that of the environment."""
    code, text = outcome(capsys, ModuleNotFoundError("No module named 'soxr'", name="soxr"))
    assert code == 2
    assert text.startswith(f"error: {sys.executable} has no package soxr; activate")
    assert text.count("\n") == 1


def test_faults_of_the_program_are_not_hidden(capsys, monkeypatch):
    with pytest.raises(ZeroDivisionError):
        outcome(capsys, ZeroDivisionError())
    monkeypatch.setenv("SPECMASK_DEBUG", "1")
    with pytest.raises(OSError, match="odd"):
        outcome(capsys, OSError("odd"))


def test_names_that_the_console_cannot_show():
    program = (
        "from specmask.cli import console\n"
        "from specmask import errors\n"
        "def act(args): raise errors.UserError('caf\\udce9 \\u4e2d.wav: bad')\n"
        "raise SystemExit(console.run(act, None))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "error: caf\\udce9 \\u4e2d.wav: bad\n"


def test_a_closed_pipe_ends_the_command_in_silence():
    program = (
        "import sys\n"
        "from specmask.cli import console\n"
        "def act(args):\n"
        "    sys.stdin.read()\n"
        "    print('x' * 100_000)\n"
        "raise SystemExit(console.run(act, None))"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **pipes) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == console.EXIT_BROKEN_PIPE


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x"])
def test_positive_takes_whole_numbers_from_one(text):
    assert console.positive("12") == 12
    with pytest.raises(ArgumentTypeError, match="expected a whole number from 1"):
        console.positive(text)


def test_options():
    args = console.parser("what it does").parse_args(["--set", "a.b=1", "--set", "c.d=2"])
    assert args.set == ["a.b=1", "c.d=2"]
    assert args.config == [ROOT / "config.ini"]
    several = console.parser("").parse_args(["--config", "a.ini", "--config", "b.ini"])
    assert several.config == [Path("a.ini"), Path("b.ini")]
    assert console.parser("").parse_args([]).set == []  # not shared between parsers


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_complete(script, tmp_path):
    """Quick means without importing what takes seconds to import."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(ROOT / script)],
        cwd=ROOT / script.rpartition("/")[0],
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert done.stderr == "0 []\n"
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("example") for line in lines)
    assert any(line.startswith("  python ") and Path(script).name in line for line in lines)
    assert "exit codes: 0 all is well; " in done.stdout
    options = ["--help", "--version"]
    if script != "data/fetch.py":  # reads no INI file
        options += ["--config FILE", "--set SECTION.KEY=VALUE"]
    for word in options:
        assert word in done.stdout


def specmask(*words: str, cwd) -> subprocess.CompletedProcess:
    """Run the package as a command, as it runs where it is installed."""
    return subprocess.run(
        [sys.executable, "-m", "specmask", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_package_lists_its_commands(tmp_path):
    modules = {p.stem for p in (ROOT / "specmask" / "cli").iterdir() if p.name[0] != "_"}
    assert set(__main__.COMMANDS) == modules - {"console", "gate"}
    assert {Path(s).stem for s in SCRIPTS} == set(__main__.COMMANDS) - {"config", "recipes"}
    listed = specmask(cwd=tmp_path)
    assert listed.returncode == 0
    for name in __main__.COMMANDS:
        assert f"  {name} " in listed.stdout
    wrong = specmask("trian", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: trian: no such command; expected one of data_prep,")
    shown = specmask("stft", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: specmask stft ")
    assert "  specmask stft --config recipes/bench.ini" in shown.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 100
    refused = specmask("stft", cwd=tmp_path)  # in an empty folder
    assert refused.stderr.endswith("make it with specmask data_prep\n")


def test_config_is_printed_and_written(tmp_path):
    default = (ROOT / "config.ini").read_text(encoding="utf-8")
    assert specmask("config", cwd=tmp_path).stdout == default
    path = tmp_path / "config.ini"
    for _ in range(2):  # nothing is lost where the file has not been edited
        assert specmask("config", "--out", "config.ini", cwd=tmp_path).returncode == 0
        assert path.read_text(encoding="utf-8") == default


def test_an_edited_config_is_kept_or_brought_up_to_date(tmp_path):
    path = tmp_path / "config.ini"
    path.write_text("[train]\nepochs = 7\n", encoding="utf-8")
    refused = specmask("config", "--out", "config.ini", cwd=tmp_path)
    assert refused.returncode == 2 and "--config config.ini keeps its values" in refused.stderr
    assert path.read_text(encoding="utf-8") == "[train]\nepochs = 7\n"
    words = ["config", "--config", "config.ini", "--out", "config.ini"]
    assert specmask(*words, cwd=tmp_path).returncode == 0
    text = path.read_text(encoding="utf-8")
    assert text == ini.render().replace("epochs = 20", "epochs = 7")
    assert specmask("config", "--out", "config.ini", "--overwrite", cwd=tmp_path).returncode == 0
    assert path.read_text(encoding="utf-8") == ini.render()


def test_config_shows_where_values_come_from(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.ini").write_text(f"[data]\nseed = {seed}\n", encoding="utf-8")
    words = [
        "config",
        "--show",
        "--config",
        "a.ini",
        "--config",
        "b.ini",
        "--set",
        "train.epochs=3",
    ]
    shown = specmask(*words, cwd=tmp_path).stdout
    assert "# from b.ini, in place of a.ini\nseed = 2\n" in shown
    assert "# from command line\nepochs = 3\n" in shown
    shown = specmask("config", "--show", "--set", "data.seed=3", cwd=tmp_path).stdout  # config.ini
    assert f"# from command line, in place of {ROOT / 'config.ini'}\nseed = 3\n" in shown
    assert shown.count("# from") == 1


def test_config_of_the_folder_where_there_is_no_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "CLONE", tmp_path / "installed")
    monkeypatch.chdir(tmp_path)
    assert console.default_config() is None
    defaults = ini.load(None, ["train.epochs=3"])
    assert defaults.train.epochs == 3
    assert defaults.train.checkpoint_path == tmp_path.resolve() / "cp"
    (tmp_path / "config.ini").write_text("[train]\nepochs = 7\n", encoding="utf-8")
    assert ini.load(console.default_config()).train.epochs == 7


def test_tflite_is_another_name_of_the_format_litert(capsys):
    assert export.main(["--format", "tflite, onnx, coreml"]) == 2
    assert "--format coreml: expected some of onnx, litert" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["enhance", "--version"]])
def test_version(words, tmp_path):
    shown = specmask(*words, cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"specmask {__version__}\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_options_end_with_code_2(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--qqq", "x"],  # x: compare.py wants a recipe
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: unrecognized arguments: --qqq")
    assert "--set" in done.stderr and "--help" in done.stderr
    assert done.stderr.count("\n") == 1
