"""The commands of Specmask: ``specmask COMMAND``, or ``python -m specmask COMMAND``."""

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from specmask import __version__
from specmask.cli import console
from specmask.errors import UserError

# In the order of use.
COMMANDS = (
    "data_prep", "stft", "train", "enhance", "evaluate", "export", "compare", "live", "fetch",
    "recipes", "config",
)  # fmt: skip
MODULES = {"compare": "compare/command"}  # where a command is more than one module


def summary(command: str) -> str:
    """Return the first line of a command's docstring, without importing it."""
    path = Path(__file__).parent / "cli" / f"{MODULES.get(command, command)}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def listing() -> str:
    """Return the commands, one per line."""
    lines = [f"  {name:<10s} {summary(name)}" for name in COMMANDS]
    return "\n".join(
        ["usage: specmask COMMAND [options]", "", *lines, "", "See specmask COMMAND --help."]
    )


def run(words: Sequence[str]) -> int:
    """Run a command with its options, or list the commands."""
    if not words or words[0] in ("-h", "--help"):
        print(listing())
        return console.EXIT_OK
    if words[0] == "--version":
        print(f"specmask {__version__}")
        return console.EXIT_OK
    name = words[0].removesuffix(".py").replace("-", "_")
    if name not in COMMANDS:
        raise UserError(f"{words[0]}: no such command; expected one of {', '.join(COMMANDS)}")
    sys.argv[0] = f"specmask {name}"  # for its help and messages
    module = MODULES.get(name, name).replace("/", ".")
    return importlib.import_module(f"specmask.cli.{module}").main(words[1:])


def main() -> int:
    """Run the command line of this process."""
    return console.run(run, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
