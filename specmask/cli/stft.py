"""Cache the short-time Fourier transforms of the data set on disk, for training.

Reads what data_prep.py made and writes Training_STFT, Validation_STFT and Testing_STFT. A cache
that fits is left alone; one that does not is made again.

examples:
  python stft.py
  python stft.py --config recipes/bench.ini
"""

from specmask.cli import console


def transform(args) -> None:
    from specmask.config import ini
    from specmask.data import prepare

    prepare.transform(ini.load(args.config, args.set))


def main(argv=None) -> int:
    return console.run(transform, console.parser(__doc__).parse_args(argv))
