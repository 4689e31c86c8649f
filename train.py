"""Train a network on the cached data set; run again to go on from the last checkpoint.

Writes checkpoints to cp/RUN and TensorBoard logs to logs/RUN (tensorboard --logdir logs). Ctrl-C
saves first and ends with code 130, SIGTERM with 143.

example:
  python train.py --set train.epochs=50 --set train.run_name=longer
"""

import sys

from specmask import cli


def train(args) -> int:
    cli.import_tensorflow()
    from specmask import config, trainer

    outcome = trainer.train(config.load(args.config, args.set), fresh=args.fresh)
    p = outcome.progress
    if p.best_epoch:
        print(
            f"{p.epoch} epochs, {p.total_steps} steps, {p.seconds / 60:.1f} min; best validation "
            f"loss {p.best_loss:.5f} at epoch {p.best_epoch} -> {outcome.folder / 'best.npz'}"
        )
    return outcome.exit_code


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--fresh", action="store_true", help="start a new run beside the others")
    return cli.run(train, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
