"""What every script shares: options, exit codes, and errors in one line."""

import argparse
import errno
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from specmask.errors import UserError

CLONE = Path(__file__).resolve().parents[2]  # or what the package is installed in

HELP_WIDTH = 100  # columns

EXIT_OK = 0
EXIT_BROKEN_BOUND = 1  # evaluate.py --gate and --check
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def default_config() -> Path | None:
    """Return config.ini beside the scripts; where the package is installed, that of the folder.

    Without either, None: the defaults hold.
    """
    places = CLONE / "config.ini", Path("config.ini")
    return next((path for path in places if path.is_file()), None)


def as_called(text: str) -> str:
    """Return a text with its commands as they are called: the scripts, or ``specmask COMMAND``."""
    if not sys.argv[0].startswith("specmask "):
        return text
    return re.sub(r"python (?:\w+/)*(\w+)\.py", r"specmask \1", text)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of everything else."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized"):
            message += "; an option of the INI file is set by --set, e.g. --set train.epochs=5"
        self.exit(EXIT_USER_ERROR, f"error: {message}; {self.prog} --help tells more\n")


def parser(
    description: str,
    broken: str = "",
    ini: bool = True,
    config_help: str = "the INI file (default: config.ini beside the scripts, or in this folder)",
) -> Parser:
    """Return a parser with what all scripts have: --config, --set, --help, and the exit codes.

    Args:
        description: what the script does, with examples: its docstring.
        broken: what exit code 1 says, if the script has it.
        ini: whether it reads an INI file.
        config_help: of --config.
    """
    codes = {
        EXIT_OK: "all is well",
        EXIT_BROKEN_BOUND: broken,
        EXIT_USER_ERROR: "the input is wrong",
        EXIT_INTERRUPTED: "stopped by Ctrl-C",
        EXIT_TERMINATED: "stopped by SIGTERM",
    }
    told = "; ".join(f"{code} {meaning}" for code, meaning in codes.items() if meaning)
    p = Parser(
        description=as_called(description),
        epilog=textwrap.fill(f"exit codes: {told}", HELP_WIDTH),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if not ini:
        return p
    p.add_argument(
        "--config",
        type=Path,
        default=default_config(),
        metavar="FILE",
        help=config_help,
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one option of the INI file, e.g. train.epochs=5; may be given several times",
    )
    return p


def positive(text: str) -> int:
    """Read a whole number from 1 on, for a parser."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return int(text)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the process ends as after Ctrl-C, with another code."""


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def run(action: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    """Call ``action(args)`` and turn what can go wrong for a user into one line and an exit code.

    Returns:
        The action's own code (0 if it gives none), 2 after an error of the user's input,
        130 after Ctrl-C, 143 after SIGTERM, 141 when nobody reads its output any more.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # names may not fit a legacy console's encoding
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = action(args) or EXIT_OK
        if sys.stdout:  # what cannot be written any more shows now
            sys.stdout.flush()
        return code
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt as stop:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever reads has had enough, as head
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)  # for what is still to be flushed at the end
        return EXIT_BROKEN_PIPE
    except ModuleNotFoundError as error:  # most likely not the Python of the environment
        if os.environ.get("SPECMASK_DEBUG") or not error.name:
            raise
        message = (
            f"{sys.executable} has no package {error.name}; activate the environment (README.md), "
            f"or install what is needed: {sys.executable} -m pip install -r requirements.lock"
        )
    except OSError as error:
        if os.environ.get("SPECMASK_DEBUG"):
            raise
        message = os_error_line(error)
    print(f"error: {as_called(' '.join(message.split()))}", file=sys.stderr)
    return EXIT_USER_ERROR


def os_error_line(error: OSError) -> str:
    """Say in one line what the operating system refused and what to do."""
    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"{where}: the disk is full; free some space and run the same command again"
    advice = {
        errno.EACCES: "check its permissions or choose another folder",
        errno.EPERM: "check its permissions or choose another folder",
        errno.EROFS: "it is read-only; choose another folder",
        errno.ENOTDIR: "a part of this path is a file; choose another folder",
    }.get(error.errno, "check the path and run the same command again")
    return f"{where}: {error.strerror or error}; {advice}"


def import_tensorflow() -> None:
    """Import TensorFlow without the log lines that it prints before its log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import tensorflow  # noqa: F401


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what libraries write to stderr meanwhile, that of C++ code too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
