"""Train every recipe on its own data at a small budget, score it, and make one table of all.

    python benchmarks/recipes.py [--budget "20 minutes"] [--out runs/recipes] [NAME ...]

Each recipe is trained by compare.py, alone, on fewer files than its INI asks for, and scored on its
own test set. What is changed to suit minutes instead of days, the width of some networks too,
is in the table. Stopped, the same command resumes. The table holds what is
finished in the folder, so recipes may be named in several calls, also at the same time.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

MIXED = {  # [data] of the recipes that mix speech and noise
    "data.total_training_files": 3000,
    "data.total_validation_files": 100,
    "data.total_testing_files": 100,
}
# Constant rates and whole files are for days on a GPU.
SHORT = {"train.schedule": "cosine", "train.ema": 0.99}
WIDE = SHORT | {
    "train.learning_rate": 1e-3,
    "train.crop_seconds": 1,
    "train.batch_size": 16,
    "train.accumulation": 1,
}
SMALL = SHORT | {"train.batch_size": 8}  # more steps of fewer files
NARROW = SHORT | {  # a quarter of the published width
    "model.conv_channels": 8,
    "model.dense_units": 128,
    "train.learning_rate": 1e-3,
    "train.batch_size": 15,
}
# 3,000 files would be 600 clips at five SNRs, soon known by heart; crops are the project's windows.
REMIXED = SMALL | {"train.remix": "yes", "data.snr_mode": "random", "train.crop_seconds": 1.008}
NARROW_UNET = SHORT | {
    "model.conv_channels": 8,
    "train.learning_rate": 1e-3,
    "train.batch_size": 6,
    "train.accumulation": 1,
}


class Plan(NamedTuple):
    """How long a recipe is trained, a name for what is changed in it, and the changes."""

    budget: str
    name: str
    changes: Mapping[str, str | float]


PLANS = {
    "default": Plan("1500 steps", "-", {}),
    "bench": Plan("1000 steps", "-", {}),
    "voicebank_demand": Plan("3000 steps", "cosine", SHORT),
    "wilson2018_causal": Plan("91 steps", "wide", WIDE),
    "wilson2018_blstm": Plan("66 steps", "wide", WIDE),
    "wilson2018_blstm3": Plan("48 steps", "wide", WIDE),
    "yunyangzeng": Plan("70 steps", "wide", WIDE),
    "vbelz_unet_8k": Plan("2500 steps", "batch 8", SMALL),
    "kaushal_autoencoder_8k": Plan("7000 steps", "remixed", REMIXED),
    "doyosae_mapping": Plan("2800 steps", "narrow", NARROW),
    "doyosae_ibm_mse": Plan("3500 steps", "narrow", NARROW),
    "doyosae_ibm_bce": Plan("5000 steps", "narrow", NARROW),
    "doyosae_irm": Plan("4000 steps", "narrow", NARROW),
    "doyosae_unet_bce_dice": Plan("1500 steps", "narrow", NARROW_UNET),
}
HEAD = (
    *("recipe", "parameters", "changed", "steps", "validation loss"),
    *("SI-SDR dB", "STOI", "PESQ"),
)


def changed(name: str, changes: Mapping) -> str:
    """Return a recipe with its options as compare.py takes them."""
    return "@".join([f"{ROOT}/recipes/{name}.ini", *(f"{k}={v}" for k, v in changes.items())])


def compare(recipes: Sequence[str], out: Path, options: Mapping, *more: object) -> bool:
    """Call compare.py with options of the INI file and more words; return whether it succeeded."""
    words = [sys.executable, ROOT / "compare.py", *recipes, "--out", out, *more]
    words += [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    words = [str(word) for word in words]
    print("$", shlex.join(words), flush=True)
    return subprocess.run(words).returncode == 0


def train(name: str, out: Path, budget: str | None) -> bool:
    """Train and score a recipe in a folder of its own; return whether it finished."""
    changes = PLANS[name].changes
    data = {k: v for k, v in changes.items() if k.startswith("data.")}  # no recipe has its own
    recipe = changed(name, {k: v for k, v in changes.items() if k not in data})
    options = {"data.data_path": out / "data" / name, "train.keep_checkpoints": 1} | data
    if not name.startswith("doyosae"):  # these have ready-made pairs
        options |= MIXED
    folders = "noizeus" if name.startswith("doyosae") else "folders"
    layers = [f"{ROOT}/benchmarks/{folders}.ini", f"{ROOT}/recipes/{name}.ini"]
    layers = [word for layer in layers for word in ("--config", layer)]
    budget = budget or PLANS[name].budget
    return compare([recipe], out / name, options, "--seeds", 1, "--budget", budget, *layers)


def line(name: str, found: Mapping) -> list[str]:
    """Return the row of a recipe: what it is, what it took, noisy -> enhanced."""
    label, recipe = next(iter(found["recipes"].items()))
    training, systems = recipe["trainings"][0], found["systems"]

    def scores(metric: str, digits: int) -> str:
        pair = (systems[s]["metrics"][metric]["mean"] for s in ("noisy", label))
        return " -> ".join("-" if v is None else f"{v:.{digits}f}" for v in pair)

    pesq = "pesq_wb" if "pesq_wb" in systems[label]["metrics"] else "pesq_nb"
    return [
        f"`{name}`",
        f"{recipe['parameters']:,}",
        PLANS[name].name,
        f"{training['steps']:,}",
        f"{training['first_loss']:.4g} -> {training['last_loss']:.4g}",
        scores("si_sdr", 2),
        scores("stoi", 4),
        scores(pesq, 3) + (" NB" if pesq == "pesq_nb" else ""),
    ]


def table(out: Path) -> str:
    """Return the table of the recipes that are finished, in the order of ``PLANS``."""
    rows = [HEAD, ["---"] * len(HEAD)]
    for name in PLANS:
        summary = out / name / "summary.json"
        if summary.is_file():
            rows.append(line(name, json.loads(summary.read_text(encoding="utf-8"))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *PLANS])
    parser.add_argument("--budget", help="another one for each, as for compare.py")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "recipes")
    args = parser.parse_args()
    out = args.out.resolve()
    failed = [name for name in args.names or PLANS if not train(name, out, args.budget)]
    print(f"\n{table(out)}")
    if failed:
        print(f"not finished: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
