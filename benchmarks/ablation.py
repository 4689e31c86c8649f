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
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
BENCH = SHARED / "data/bench"
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
SCORES = (
    r"PESQ-WB (?P<pesq_wb>\S+)  STOI (?P<stoi>\S+)  ESTOI (?P<estoi>\S+)  SI-SDR (?P<si_sdr>\S+) dB"
)


def call(script: str, *words: object) -> None:
    """Run a script of the project, or stop."""
    command = [sys.executable, ROOT / script, *words]
    subprocess.run([str(word) for word in command], check=True)


def bench(run: Path, settings: Path, out: Path) -> dict[str, float]:
    """Return the scores of a run's best weights on the bench, by ../shared/score.py."""
    text = out.parent / f"{out.name}.txt"
    if not text.is_file():
        at = f"enhance.checkpoint={run}"
        call("enhance.py", "--config", settings, "--set", at, BENCH / "noisy", out)
        score = [sys.executable, SHARED / "score.py", BENCH / "clean", out]
        done = subprocess.run(score, check=True, capture_output=True, text=True)
        text.write_text(done.stdout, encoding="utf-8")
    found = re.search(SCORES, text.read_text(encoding="utf-8"))
    return {name: float(value) for name, value in found.groupdict().items()}


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
        mean("pesq_wb", 3),
        mean("stoi", 4),
        mean("estoi", 4),
        mean("si_sdr", 2, all_seeds=True),
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
