"""Take the default model's recipe apart: train it with one thing changed at a time, score each.

    python benchmarks/ablation.py [--budget "1000 steps"] [--seeds 1] [--out FOLDER] [NAME ...]

compare.py trains all of them on the same data and scores them on the bench. Beside that stand the
lowest validation loss and the validation SI-SDRi of those weights. Nothing is chosen by the bench:
the table shows what was chosen before. Stopped, the same command goes on; several calls may share a
folder.
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
HEAD = (
    *("variant", "changed", "parameters", "M MAC/s", "validation loss", "validation SI-SDRi dB"),
    *("bench PESQ-WB", "STOI", "ESTOI", "SI-SDR dB"),
)


def best(history: Path) -> dict[str, float]:
    """Return the validation figures of a run's best weights."""
    with history.open(encoding="utf-8", newline="") as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["validation_loss"]))
    return {name: float(row[name]) for name in ("validation_loss", "si_sdr_improvement")}


def line(name: str, recipe: dict, scores: dict, out: Path) -> str:
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
        VARIANTS[name].lstrip("@").replace("@", ", ") or "-",
        f"{recipe['parameters']:,}",
        f"{recipe['multiply_adds_a_second'] / 1e6:.1f}",
        validation("validation_loss", 5),
        validation("si_sdr_improvement", 2),
    ]
    digits = {"pesq_wb": 3, "stoi": 4, "estoi": 4, "si_sdr": 2}
    cells += [f"{scores[key]['mean']:.{n}f}" for key, n in digits.items()]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *VARIANTS])
    parser.add_argument("--budget", default="1000 steps", help="of each, as for compare.py")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablation")
    args = parser.parse_args()
    names, out = args.names or list(VARIANTS), args.out.resolve()
    command = [sys.executable, ROOT / "compare.py", *(f"{RECIPE}{VARIANTS[n]}" for n in names)]
    command += ["--budget", args.budget, "--seeds", args.seeds, "--out", out]
    command += ["--test", BENCH / "clean", BENCH / "noisy", "--by", BENCH / "manifest.json"]
    subprocess.run([str(word) for word in command], check=True)
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for name, (label, recipe) in zip(names, found["recipes"].items(), strict=True):
        print(line(name, recipe, found["systems"][label]["metrics"], out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
