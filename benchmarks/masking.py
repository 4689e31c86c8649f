"""Mapping or masking: the question of the Doyosae project at 0, 5, 10 and 15 dB.

    python benchmarks/masking.py {autoencoder,unet} [--budget "2000 steps"] [--out FOLDER]

compare.py trains one of the project's networks, a quarter as wide, four times on the same 3,000
mixtures: it maps the real part, or estimates a binary mask with MSE or with cross entropy, or a
ratio mask. All are scored on NOIZEUS, of which none has heard a sentence or a noise. Stopped, the
same command goes on.
"""

import argparse
import sys
from pathlib import Path

from recipes import NARROW, NARROW_UNET, ROOT, changed, compare

NOIZEUS = ROOT.parent / "shared/data/noizeus_8k"
MAPPING = {"model.target": "real_mapping", "model.compression": 1, "train.loss": "mse:1"}
BINARY = {"model.binary_threshold_db": 0}
SYSTEMS = {  # recipe and what is changed in it
    "autoencoder": [
        (f"doyosae_{name}", NARROW) for name in ("mapping", "ibm_mse", "ibm_bce", "irm")
    ],
    "unet": [
        ("doyosae_unet_bce_dice", NARROW_UNET | changes)
        for changes in (
            MAPPING,
            BINARY | {"train.loss": "mask_mse:1"},
            BINARY | {"train.loss": "bce:1"},
            {"model.target": "ratio", "train.loss": "mask_mse:1"},
        )
    ],
}
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
    parser.add_argument("network", choices=SYSTEMS)
    parser.add_argument("--budget", default="2000 steps", help="of each, as for compare.py")
    parser.add_argument("--out", type=Path, help="default: runs/masking/NETWORK")
    args = parser.parse_args()
    out = (args.out or ROOT / "runs/masking" / args.network).resolve()
    done = compare(
        [changed(name, changes) for name, changes in SYSTEMS[args.network]],
        out,
        DATA | {"data.data_path": out / "data"},
        *("--config", ROOT / "recipes/kaushal_autoencoder_8k.ini", "--seeds", 1),
        *("--budget", args.budget, "--test", NOIZEUS / "clean", NOIZEUS / "noisy"),
    )
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
