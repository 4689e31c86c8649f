"""Train a network on the cached data set; run again to resume from the last checkpoint.

Writes checkpoints to cp/RUN and TensorBoard logs to logs/RUN (tensorboard --logdir logs), at the
end also cp/RUN/exports/step.tflite, with which enhance.py needs no TensorFlow (causal networks,
not with multi_worker). Ctrl-C and SIGTERM save first. Too many steps in a row without a finite
gradient end it with exit code 2.

examples:
  python train.py
  python train.py --list
  python train.py --set train.epochs=50 --set train.run_name=longer
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

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

        print(f"{step_time.seconds_per_step(settings):.4g} s per step")
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
        if outcome.exit_code == console.EXIT_OK and settings.train.strategy != "multi_worker":
            export_step(outcome.folder)
    return outcome.exit_code


def export_step(run: Path) -> None:
    """Write what enhance.py runs without TensorFlow, and say so in a line."""
    from specmask.export import formats

    try:
        path = formats.renew_step(run)
    except Exception as error:  # of any converter: the training is complete without it
        line = " ".join(str(error).split())
        print(f"note: no export of {run}: {line}; enhance.py runs it in TensorFlow", flush=True)
    else:
        if path:
            print(f"step for LiteRT -> {path}; enhance.py runs it without TensorFlow", flush=True)


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
