"""Make the data set: mix clean speech and noise at stepped SNRs.

Reads clean_train_path, noise_train_path, clean_test_path and noise_test_path of [data] and writes
CleanSpeech_*, Noise_* and NoisySpeech_* folders with a manifest each. What is done and right is
not done again; a run that was stopped goes on where it was.

example:
  python data_prep.py --set data.total_training_files=2000
"""

import sys

from specmask import cli


def prepare(args) -> None:
    from specmask import audio, config, dataset, parallel, synthesis

    cfg = config.load(args.config, args.set)
    with parallel.engine(cfg.compute):
        plans, warnings, rejected = dataset.plan(cfg)
        for warning in warnings:
            print(f"warning: {warning}")
        for split, files in rejected.items():
            path = audio.write_rejected(cfg.data.data_path / f"{split}_rejected.csv", files)
            if path:
                print(f"{len(files)} {split} files set aside, the reasons are in {path}")
        with synthesis.alone(cfg):
            make(plans, args.overwrite)


def make(plans, overwrite: bool) -> None:
    from specmask import preflight, synthesis

    surveys = [synthesis.survey(plan, overwrite) for plan in plans]
    print(preflight.plan_line(surveys), flush=True)
    for survey in surveys:
        plan, made = survey.plan, synthesis.fill(survey)
        hours = made.total * plan.config.data.file_length / 3600
        print(
            f"{made.split}: {made.total} files, {hours:.2f} h, {made.new} new, "
            f"from {len(plan.speech)} speech and {len(plan.noise)} noise recordings -> "
            f"{made.manifest}"
        )
        if made.surplus:
            print(f"note: {made.surplus} files of a larger {made.split} set stay in its folders")


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--overwrite", action="store_true", help="make files again that other settings made"
    )
    return cli.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
