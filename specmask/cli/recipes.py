"""List the recipes: INI files of whole systems to train on your own recordings.

A recipe holds the network, its training and the mixtures, and no folders: it is a layer over an
INI file of yours, or takes the folders of config.ini's defaults in the working directory.

examples:
  specmask recipes
  specmask train --config mine.ini --config recipes/default.ini
  specmask config --config mine.ini --config recipes/default.ini --show
"""

import argparse
from collections.abc import Sequence

from specmask.cli import console


def recipes(args: argparse.Namespace) -> None:
    from specmask.config.ini import RECIPES

    paths = sorted(RECIPES.glob("*.ini"))
    width = max(len(path.stem) for path in paths)
    for path in paths:
        with path.open(encoding="utf-8") as file:
            print(f"{path.stem:{width}}  {file.readline().lstrip('# ').rstrip()}")
    print(f"\n--config recipes/NAME.ini, in {RECIPES}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return console.run(recipes, console.parser(__doc__, ini=False).parse_args(argv))
