"""The stages before a training, as their scripts run them: the data set and the STFT cache."""

from specmask.audio import io as audio_io
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data import stft_cache
from specmask.data.mixtures import build, preflight, transcripts
from specmask.data.mixtures.plan import make_plans


def make(config: Config, overwrite: bool = False) -> None:
    """Make the data set of a configuration, as far as it is not there yet, and tell what was done.

    Raises:
        UserError: if there is nothing to make it from, or its folders hold something else.
    """
    plans, warnings, rejected = make_plans(config)
    for line in dict.fromkeys(line for plan in plans for line in plan.layout):
        print(line)
    for warning in warnings:
        print(f"warning: {warning}")
    for split, files in rejected.items():
        path = audio_io.write_rejected(config.data.data_path / f"{split}_rejected.csv", files)
        if path:
            print(f"{len(files)} {split} files set aside, the reasons are in {path}")
    with build.alone(config):
        surveys = [build.survey(plan, overwrite) for plan in plans]
        print(preflight.plan_line(surveys), flush=True)
        for survey in surveys:
            _fill(survey)


def _fill(survey: build.Survey) -> None:
    plan, made = survey.plan, build.fill(survey)
    print(
        f"{made.split}: {made.total} files, {plan.hours:.2f} h, {made.new} new, "
        f"from {len(plan.speech)} speech and {len(plan.noise)} noise recordings -> "
        f"{made.manifest}"
    )
    if made.surplus:
        print(f"note: {made.surplus} files of a larger {made.split} set stay in its folders")
    words = transcripts.write(plan)
    if words:
        print(f"what is said in whole recordings: {words}")


def transform(config: Config) -> None:
    """Make the STFT caches of a configuration, unless they are there and right, and tell so.

    Raises:
        UserError: if the data set is missing, stale or damaged.
    """
    for split in SPLITS:
        if not getattr(config.data, f"total_{split}_files"):
            continue
        files, size, made = stft_cache.build(config, split)
        state = "made" if made else "already there and right"
        print(f"{split}: {files} files, {size / 1e6:.0f} MB, {state} -> {config.stft.cache(split)}")
