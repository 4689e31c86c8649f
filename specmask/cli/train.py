"""Train a network on the cached data set; run again to resume from the last checkpoint.

Writes checkpoints to cp/RUN and TensorBoard logs to logs/RUN (tensorboard --logdir logs). Ctrl-C
and SIGTERM save first. Too many steps in a row without a finite gradient end it with exit code 2.

examples:
  python train.py
  python train.py --list
  python train.py --set train.epochs=50 --set train.run_name=longer
"""

import argparse
from collections.abc import Sequence

from specmask.cli import console


def train(args: argparse.Namespace) -> int:
    from specmask.config import ini

    settings = ini.load(args.config, args.set)
    if args.list:
        from specmask.training import runs

        print("\n".join(runs.table(settings.train.checkpoint_path)))
        return console.EXIT_OK
    console.import_tensorflow()
    if args.pace:
        from specmask.training import step_time

        print(f"{step_time.seconds_per_step(settings):.4g} s a step")
        return console.EXIT_OK
    from specmask.training import trainer

    outcome = trainer.train(settings, fresh=args.fresh, profile=args.profile)
    p = outcome.progress
    if p.best_epoch:
        which = "validation" if settings.data.total_validation_files else "training"
        print(
            f"{p.epoch} epochs, {p.total_steps} steps, {p.seconds / 60:.1f} min; lowest {which} "
            f"loss {p.best_loss:.5f} at epoch {p.best_epoch} -> {outcome.folder / 'best.npz'}"
        )
    return outcome.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__)
    parser.add_argument("--fresh", action="store_true", help="start a new run beside the others")
    parser.add_argument(
        "--list", action="store_true", help="show the runs, their best scores, their differences"
    )
    parser.add_argument(
        "--pace", action="store_true", help="only measure how long a step takes, for about 20 s"
    )
    parser.add_argument(
        "--profile", action="store_true", help="also write a trace of a few steps to the logs"
    )
    return console.run(train, parser.parse_args(argv))
