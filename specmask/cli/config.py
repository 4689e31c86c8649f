"""Print or write config.ini with every option, its meaning, unit, range and value.

Values are the defaults; with --config or --set those of the files and options given, so that an
INI file of an older version gains the new options: --config config.ini --out config.ini. Its values
stay; comments of your own are lost.

examples:
  specmask config --out config.ini
  specmask config --config mine.ini --config recipes/default.ini --show
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from specmask.cli import console


def config(args: argparse.Namespace) -> None:
    from specmask import files
    from specmask.config import ini
    from specmask.errors import UserError

    default = console.default_config()
    if args.show and not args.config and default:
        args.config = [default]
    layers = ini.read(args.config, args.set)
    checked = ini.build(layers)
    if args.show:
        print(ini.render(checked, layers), end="")
        return
    text = ini.explain(layers, args.out.parent if args.out else Path())
    if not args.out:
        print(text, end="")
        return
    edited = args.out.is_file() and args.out.read_bytes() != text.encode()
    if edited and not args.overwrite and args.out.resolve() not in map(Path.resolve, args.config):
        raise UserError(
            f"{args.out}: exists; --config {args.out} keeps its values, --overwrite replaces it"
        )
    with files.replacing(args.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"every option, explained -> {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__, config_help="INI file to take values from; later ones win")
    parser.set_defaults(config=[])
    parser.add_argument(
        "--show",
        action="store_true",
        help="print all values, with the source of those that are not the default; without "
        "--config those of the config.ini that the other commands take",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write this file")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return console.run(config, parser.parse_args(argv))
