"""Command-line options, exit codes and one-line errors that all commands share."""

import argparse
import errno
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from specmask import __version__
from specmask.errors import UserError
from specmask.silence import import_tensorflow as import_tensorflow  # for all commands
from specmask.silence import quiet as quiet

CLONE = Path(__file__).resolve().parents[2]  # of an installed package: site-packages

HELP_WIDTH = 100  # columns

EXIT_OK = 0
EXIT_BROKEN_BOUND = 1  # evaluate.py --gate and --check
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def default_config() -> Path | None:
    """Return config.ini beside the scripts, else that of the working directory, else None."""
    candidates = CLONE / "config.ini", Path("config.ini")
    return next((path for path in candidates if path.is_file()), None)


def as_called(text: str) -> str:
    """Return a text with ``python NAME.py`` replaced where the user calls ``specmask NAME``."""
    if not sys.argv[0].startswith("specmask "):
        return text
    return re.sub(r"python (?:\w+/)*(\w+)\.py", r"specmask \1", text)


class AppendLayer(argparse.Action):
    """Collects the files of --config; the first one takes the place of the default."""

    def __call__(self, parser, namespace, value, option=None):
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [value] if given is self.default else [*given, value])


class SetOption(argparse.Action):
    """A flag for an option of the INI file: ``--mix 0.5`` is ``--set enhance.mix=0.5``."""

    def __call__(self, parser, namespace, value, option=None):
        namespace.set = [*namespace.set, f"{self.const}={value}"]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized"):
            message += "; an option of the INI file is set by --set, e.g. --set train.epochs=5"
        self.exit(EXIT_USER_ERROR, f"error: {message}; see {self.prog} --help\n")


def parser(
    description: str,
    broken: str = "",
    ini: bool = True,
    config_help: str = "INI file, or several, of which later ones win (default: config.ini beside "
    "the scripts, or in this folder)",
) -> Parser:
    """Return a parser with the options of all commands: --config, --set, --version, --help.

    Args:
        description: purpose and examples: the docstring of the command.
        broken: meaning of exit code 1, if the command has it.
        ini: whether the command reads an INI file.
        config_help: help of --config.
    """
    codes = {
        EXIT_OK: "all is well",
        EXIT_BROKEN_BOUND: broken,
        EXIT_USER_ERROR: "the input is wrong",
        EXIT_INTERRUPTED: "stopped by Ctrl-C",
        EXIT_TERMINATED: "stopped by SIGTERM",
    }
    meanings = "; ".join(f"{code} {meaning}" for code, meaning in codes.items() if meaning)
    p = Parser(
        description=as_called(description),
        epilog=textwrap.fill(f"exit codes: {meanings}", HELP_WIDTH),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"specmask {__version__}")
    if not ini:
        return p
    default = default_config()
    p.add_argument(
        "--config",
        type=Path,
        action=AppendLayer,
        default=[default] if default else [],
        metavar="FILE",
        help=config_help,
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override an option of the INI files, e.g. train.epochs=5; may be given several times",
    )
    return p


def add_option_flag(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    flag: str,
    option: str,
    help: str,
    **arguments: Any,
) -> None:
    """Add a flag for an option of the INI file, e.g. ``--mix`` for ``enhance.mix``."""
    parser.add_argument(
        flag, action=SetOption, const=option, dest="set", default=argparse.SUPPRESS, help=help,
        **arguments,
    )  # fmt: skip


def positive(text: str) -> int:
    """Return a whole number from 1, as the type of an option."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1")
    return int(text)


Arguments = TypeVar("Arguments", argparse.Namespace, Sequence[str])


class Terminated(KeyboardInterrupt):
    """SIGTERM: the process ends as after Ctrl-C, with another code."""


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def run(action: Callable[[Arguments], int | None], args: Arguments) -> int:
    """Call ``action(args)`` and turn errors that a user can fix into one line and an exit code.

    Returns:
        the code of the action (0 for None), 2 after an error of the user's input, 130 after Ctrl-C,
        143 after SIGTERM, 141 when the reader of its output has closed the pipe.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):  # a legacy console may lack characters of file names
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = action(args) or EXIT_OK
        if sys.stdout:  # raises BrokenPipeError here, not at exit
            sys.stdout.flush()
        return code
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt as stop:
        print("\nstopped; run the same command to resume", file=sys.stderr)
        return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED
    except BrokenPipeError:  # as after | head
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)  # receives what is flushed at exit
        return EXIT_BROKEN_PIPE
    except ModuleNotFoundError as error:  # most likely another Python than that of the environment
        if os.environ.get("SPECMASK_DEBUG") or not error.name:
            raise
        message = (
            f"{sys.executable} has no package {error.name}; activate the environment (README.md), "
            f"or install the packages: {sys.executable} -m pip install -r requirements.lock"
        )
    except OSError as error:
        if os.environ.get("SPECMASK_DEBUG"):
            raise
        message = os_error_line(error)
    print(f"error: {as_called(' '.join(message.split()))}", file=sys.stderr)
    return EXIT_USER_ERROR


def os_error_line(error: OSError) -> str:
    """Return what the operating system refused and what to do, in one line."""
    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"{where}: the disk is full; free some space and run the same command again"
    advice = {
        errno.EACCES: "check its permissions or choose another folder",
        errno.EPERM: "check its permissions or choose another folder",
        errno.EROFS: "it is read-only; choose another folder",
        errno.ENOTDIR: "a part of this path is a file; choose another folder",
    }.get(error.errno or 0, "check the path and run the same command again")
    return f"{where}: {error.strerror or error}; {advice}"
