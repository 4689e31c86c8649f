"""Download a known corpus from its home and unpack it; run again to resume.

examples:
  python data/fetch.py                            names, licences, sizes
  python data/fetch.py librispeech-dev-clean
  python data/fetch.py esc-50 --to corpora/esc-50
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from specmask.cli import console


def fetch(args: argparse.Namespace) -> None:
    from specmask.data.corpus import catalogue, download
    from specmask.errors import UserError

    corpora = catalogue.load()
    if not args.name:
        for name, corpus in corpora.items():
            size = sum(a.size for a in corpus.archives)
            about = f", {size / 1e9:.1f} GB" if size else ""
            print(f"{name}: {corpus.title}{about}\n    {corpus.licence}\n    {corpus.home}")
        return
    if args.name not in corpora:
        raise UserError(f"{args.name}: unknown; known are {', '.join(corpora)}")
    corpus = corpora[args.name]
    if args.mirror:
        corpus = download.from_mirror(corpus, args.mirror)
    download.fetch(corpus, args.to or Path("data") / "corpora" / args.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__, ini=False)
    parser.add_argument("name", nargs="?", help="corpus to download; none: list all")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: data/corpora/NAME")
    parser.add_argument("--mirror", metavar="URL", help="take the archives from another server")
    return console.run(fetch, parser.parse_args(argv))
