"""Mapping or masking: the question of the Doyosae project at 0, 5, 10 and 15 dB.

    python benchmarks/masking.py [--budget "2000 steps"] [--seeds 1] [--out runs/masking]

compare.py trains the project's autoencoder, a quarter as wide, four times on the same 3,000
mixtures: it maps the real part, or estimates a binary mask with MSE or with cross entropy, or a
ratio mask. All are scored on NOIZEUS, of which none has heard a sentence or a noise. Stopped, the
same command goes on.
"""

import argparse
import sys
from pathlib import Path

from recipes import NARROW, ROOT, compare

NOIZEUS = ROOT.parent / "shared/data/noizeus_8k"
RECIPES = "doyosae_mapping", "doyosae_ibm_mse", "doyosae_ibm_bce", "doyosae_irm"
DATA = {
    "data.total_training_files": 3000,
    "data.total_validation_files": 40,
    "data.snr_mode": "random",
    "data.SNR_upper": 15,
    "data.total_snrlevels": 4,
    "train.keep_checkpoints": 1,
    "train.metric_files": 4,
    "train.listen_files": 0,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="2000 steps", help="of each, as for compare.py")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/masking")
    args = parser.parse_args()
    narrow = [f"{key}={value}" for key, value in NARROW.items()]
    done = compare(
        ["@".join([str(ROOT / "recipes" / f"{name}.ini"), *narrow]) for name in RECIPES],
        args.out,
        DATA | {"data.data_path": args.out.resolve() / "data"},
        *("--config", ROOT / "recipes/kaushal_autoencoder_8k.ini", "--seeds", args.seeds),
        *("--budget", args.budget, "--test", NOIZEUS / "clean", NOIZEUS / "noisy"),
    )
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
