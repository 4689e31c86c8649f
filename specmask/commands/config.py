"""Print config.ini with every option, its meaning, unit, range and default.

example:
  specmask config > config.ini
"""

from specmask import cli


def show(args) -> None:
    from specmask import config

    print(config.render(), end="")


def main(argv=None) -> int:
    return cli.run(show, cli.parser(__doc__, ini=False).parse_args(argv))
