"""Take the default model's recipe apart: train it with one thing changed at a time, score each.

    python benchmarks/ablation.py [--budget "1000 steps"] [--seeds 1] [--out FOLDER] [NAME ...]

compare.py trains all of them on the same data and scores them on its test set. Beside that stand
the lowest validation loss, the validation SI-SDRi of those weights, and the scores on the bench.
Nothing is chosen by these: the table shows what was chosen before. Stopped, the same command goes
on; several calls may share a folder.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
SCORES = {"pesq_wb": 3, "stoi": 4, "estoi": 4, "si_sdr": 2}


def call(script: str, *words: object) -> None:
    """Run a script of the project, or stop."""
    command = [sys.executable, ROOT / script, *words]
    subprocess.run([str(word) for word in command], check=True)


def bench(run: Path, settings: Path, out: Path) -> dict[str, float]:
    """Return the scores on the bench of a run's best weights."""
    if not (out / "summary.json").is_file():
        call("enhance.py", "--config", settings, "--checkpoint", run, BENCH / "noisy", out / "wav")
        call(
            "evaluate.py", BENCH / "clean", out / "wav", "--noisy", BENCH / "noisy",
            "--by", BENCH / "manifest.json", "--out", out, "--config", settings,
        )  # fmt: skip
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {name: found["systems"]["enhanced"]["metrics"][name]["mean"] for name in SCORES}


def best(run: Path) -> dict[str, float]:
    """Return the validation figures of a run's best weights."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["validation_loss"]))
    return {name: float(row[name]) for name in ("validation_loss", "si_sdr_improvement")}


def line(name: str, recipe: dict, out: Path) -> str:
    """Return the row of a variant: means over its seeds; SI-SDR of each in brackets."""
    found = []
    for training in recipe["trainings"]:
        settings = Path(training["command"][-1])
        run = out / "cp" / settings.stem
        found.append(best(run) | bench(run, settings, out / "bench" / settings.stem))

    def mean(key: str, digits: int, all_seeds: bool = False) -> str:
        values = [f[key] for f in found]
        text = f"{statistics.mean(values):.{digits}f}"
        every = ", ".join(f"{v:.{digits}f}" for v in values)
        return f"{text} ({every})" if all_seeds and len(values) > 1 else text

    cells = [
        name,
        VARIANTS[name].lstrip("@").replace("@", ", ") or "-",
        f"{recipe['parameters']:,}",
        f"{recipe['multiply_adds_a_second'] / 1e6:.1f}",
        mean("validation_loss", 5),
        mean("si_sdr_improvement", 2, all_seeds=True),
        *(mean(key, digits, all_seeds=key == "si_sdr") for key, digits in SCORES.items()),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *VARIANTS])
    parser.add_argument("--budget", default="1000 steps", help="of each, as for compare.py")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablation")
    args = parser.parse_args()
    names, out = args.names or list(VARIANTS), args.out.resolve()
    recipes = [f"{RECIPE}{VARIANTS[name]}" for name in names]
    call("compare.py", *recipes, "--budget", args.budget, "--seeds", args.seeds, "--out", out)
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))["recipes"]
    head = ("variant", "changed", "parameters", "M MAC/s", "validation loss", "SI-SDRi dB")
    head += ("PESQ-WB", "STOI", "ESTOI", "SI-SDR dB")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name, recipe in zip(names, found.values(), strict=True):
        print(line(name, recipe, out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
