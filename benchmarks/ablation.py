"""Take the default model's recipe apart: train it with one thing changed at a time, score each.

    python benchmarks/ablation.py [--budget "1000 steps"] [--seeds 1] [--out FOLDER] [NAME ...]
    python benchmarks/ablation.py --data [...] [NAME ...]

compare.py trains all of them on the same data and scores them on the bench; with --data each of
them has data of its own, 2,000 files with something left out of their augmentation. Beside the
scores stand the lowest validation loss and the validation SI-SDRi of those weights. Nothing is
chosen by the bench: the table shows what was chosen before. Stopped, the same command goes on;
several calls may share a folder.
"""

import argparse
import csv
import json
import statistics
import sys
from pathlib import Path

from recipes import ROOT, compare

BENCH = ROOT.parent / "shared/data/bench"
RECIPE = ROOT / "recipes/default.ini"
VARIANTS = {
    "default": "",
    "adamw": "@train.optimizer=adamw@train.learning_rate=3e-3",
    "no_remix": "@train.remix=no",
    "one_block": "@model.recurrent_layers=1",
    "spectral_loss": "@train.loss=compressed:1",
    "delta_phase": "@model.delta_phase=both",
    "no_bands": "@model.erb_bands=0",
    "bound_1": "@model.mask_bound=1",
    "consistency": "@train.loss=compressed:1, si_sdr:0.0014, consistency:0.3",
    "complex_weight": "@train.complex_weight=0.113",
    "no_ema": "@train.ema=0",
    "short_crops": "@train.crop_seconds=1@train.batch_size=16",
    "magnitude": "@model.target=magnitude",
    "one_noise": "@train.remix_noises=1",
    "no_levels": "@train.remix_gain_db=0",
    "no_equaliser": "@train.remix_tilt_db=0",
}
DATA = {  # what is set in [augment]
    "all": {},
    "no_rooms": {"room_probability": 0},
    "no_babble_nor_colour": {"babble_probability": 0, "coloured_probability": 0},
    "no_speed_eq_bands": {
        "speed_probability": 0,
        "eq_speech_probability": 0,
        "eq_noise_probability": 0,
        "band_probability": 0,
    },
    "none": {
        "level_lower_db": 0,
        "level_upper_db": 0,
        "speed_probability": 0,
        "noises_upper": 1,
        "babble_probability": 0,
        "coloured_probability": 0,
        "clean_only_probability": 0,
        "room_probability": 0,
        "eq_speech_probability": 0,
        "eq_noise_probability": 0,
        "band_probability": 0,
    },
}
FILES = {"data.total_training_files": 2000, "data.total_validation_files": 100}
HEAD = (
    *("variant", "changed", "parameters", "M MAC/s", "validation loss", "validation SI-SDRi dB"),
    *("bench PESQ-WB", "STOI", "ESTOI", "SI-SDR dB"),
)


def best(history: Path) -> dict[str, float]:
    """Return the validation figures of a run's best weights."""
    with history.open(encoding="utf-8", newline="") as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["validation_loss"]))
    return {name: float(row[name]) for name in ("validation_loss", "si_sdr_improvement")}


def trained(recipes: list[str], out: Path, args: argparse.Namespace, options: dict) -> dict:
    """Train and score recipes, and return the summary."""
    words = ["--budget", args.budget, "--seeds", args.seeds]
    words += ["--test", BENCH / "clean", BENCH / "noisy", "--by", BENCH / "manifest.json"]
    if not compare(recipes, out, options, *words):
        sys.exit(1)
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def line(name: str, changed: str, recipe: dict, scores: dict, out: Path) -> str:
    """Return the row of a variant: means over its seeds, of validation those of all in brackets."""
    runs = [out / "cp" / Path(t["command"][-1]).stem for t in recipe["trainings"]]
    found = [best(run / "history.csv") for run in runs]

    def validation(key: str, digits: int) -> str:
        values = [f[key] for f in found]
        text = f"{statistics.mean(values):.{digits}f}"
        every = ", ".join(f"{v:.{digits}f}" for v in values)
        return f"{text} ({every})" if len(values) > 1 else text

    cells = [
        name,
        changed or "-",
        f"{recipe['parameters']:,}",
        f"{recipe['multiply_adds_a_second'] / 1e6:.1f}",
        validation("validation_loss", 5),
        validation("si_sdr_improvement", 2),
    ]
    digits = {"pesq_wb": 3, "stoi": 4, "estoi": 4, "si_sdr": 2}
    cells += [f"{scores[key]['mean']:.{n}f}" for key, n in digits.items()]
    return f"| {' | '.join(cells)} |"


def rows(changed: dict[str, str], found: dict, out: Path) -> list[str]:
    """Return the rows of a summary."""
    return [
        line(name, what, recipe, found["systems"][label]["metrics"], out)
        for (name, what), (label, recipe) in zip(
            changed.items(), found["recipes"].items(), strict=True
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", action="store_true", help="leave out augmentation of the data")
    parser.add_argument("--budget", default="1000 steps", help="of each, as for compare.py")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablation")
    args = parser.parse_args()
    known, out = DATA if args.data else VARIANTS, args.out.resolve()
    names = args.names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    lines = []
    if args.data:
        for name in names:
            own = out / name
            options = {f"augment.{key}": value for key, value in DATA[name].items()}
            options |= FILES | {"data.data_path": own / "data"}
            found = trained([str(RECIPE)], own, args, options)
            lines += rows({name: ", ".join(f"{k}={v}" for k, v in DATA[name].items())}, found, own)
    else:
        found = trained([f"{RECIPE}{VARIANTS[name]}" for name in names], out, args, {})
        lines = rows({n: VARIANTS[n].lstrip("@").replace("@", ", ") for n in names}, found, out)
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
