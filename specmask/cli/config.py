"""Print config.ini with every option, its meaning, unit, range and default.

example:
  specmask config > config.ini
"""

import argparse

from specmask.cli import console


def show(args: argparse.Namespace) -> None:
    from specmask.config import ini

    print(ini.render(), end="")


def main(argv=None) -> int:
    return console.run(show, console.parser(__doc__, ini=False).parse_args(argv))
