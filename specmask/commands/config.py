"""Print config.ini with every option, its meaning, unit, range and default.

example:
  specmask config > config.ini
"""

import argparse

from specmask import cli


def show(args) -> None:
    from specmask import config

    print(config.render(), end="")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return cli.run(show, parser.parse_args(argv))
