"""Cache the short-time Fourier transforms of the data set on disk, for training.

Reads what data_prep.py made and writes Training_STFT, Validation_STFT and Testing_STFT. A cache
that is up to date is kept; another one is made again.

examples:
  python stft.py
  python stft.py --config recipes/bench.ini
"""

import argparse
from collections.abc import Sequence

from specmask.cli import console


def transform(args: argparse.Namespace) -> None:
    from specmask.config import ini
    from specmask.config.initial import with_initial_network
    from specmask.data import prepare

    config, _ = with_initial_network(ini.load(args.config, args.set))
    prepare.transform(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return console.run(transform, console.parser(__doc__).parse_args(argv))
