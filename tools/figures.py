"""Draw the pictures of the README from what `make demo` has left in demo/out.

    python tools/figures.py
    python tools/figures.py --run runs/default/cp/default

Writes docs/images/spectrograms.png (a noisy test file, what the demo's network made of it, and
the clean speech) and docs/images/training.png (the loss and the SI-SDRi by epoch). With --run only
the latter, as NAME-training.png, for another run.
"""

import argparse
import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

from specmask.audio import io as audio_io  # noqa: E402
from specmask.audio import stft  # noqa: E402
from specmask.audio.stft import Stft  # noqa: E402
from specmask.config import ini, schema  # noqa: E402
from specmask.data.mixtures import manifest  # noqa: E402
from specmask.evaluation.metrics import distortion  # noqa: E402

IMAGES = ROOT / "docs" / "images"
RANGE_DB = 70


def typical(cfg: schema.Config) -> dict[str, str]:
    """Return the manifest row of the test file whose SI-SDRi is the median."""
    gains = []
    for row in manifest.read(cfg, "testing"):
        clean, noisy, enhanced = (audio_io.read(p)[0][:, 0] for p in paths(cfg, row).values())
        gains.append((distortion.si_sdr_improvement(clean, noisy, enhanced), row))
    gains.sort(key=lambda pair: pair[0])
    return gains[len(gains) // 2][1]


def paths(cfg: schema.Config, row: dict[str, str]) -> dict[str, Path]:
    """Return the three files of a row: clean, noisy, enhanced."""
    return {
        "clean": cfg.stft.folder("CleanSpeech", "testing") / row["clean_file"],
        "noisy": cfg.stft.folder("NoisySpeech", "testing") / row["noisy_file"],
        "enhanced": cfg.enhance.output_path / row["noisy_file"],
    }


def draw_spectrograms(cfg: schema.Config) -> None:
    row = typical(cfg)
    files = paths(cfg, row)
    clean = audio_io.read(files["clean"])[0][:, 0]
    figure, axes = plt.subplots(3, 1, figsize=(9, 6.4), sharex=True, constrained_layout=True)
    for ax, name in zip(axes, ("noisy", "enhanced", "clean"), strict=True):
        x, rate = audio_io.read(files[name])
        magnitude = np.abs(stft.forward(x[:, 0], Stft.from_config(cfg)))
        level_db = 20 * np.log10(magnitude.T + 1e-5)
        extent = 0, len(x) / rate, 0, rate / 2000
        image = ax.imshow(level_db, origin="lower", aspect="auto", extent=extent, cmap="magma")
        image.set_clim(level_db.max() - RANGE_DB, level_db.max())
        title = name
        if name != "clean":
            title += f": SI-SDR {distortion.si_sdr(clean, x[:, 0]):.1f} dB"
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.suptitle(f"{row['noise_type']}, {row['snr_db']} dB SNR", fontsize=10)
    path = IMAGES / "spectrograms.png"
    figure.savefig(path, dpi=90)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)  # a third of the size


def draw_training(run: Path, picture: str) -> None:
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = [int(r["epoch"]) for r in rows]
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), constrained_layout=True)
    for name in ("training_loss", "validation_loss"):
        axes[0].plot(epochs, [float(r[name]) for r in rows], label=name.replace("_", " "))
    axes[0].legend()
    axes[1].plot(epochs, [float(r["si_sdr_improvement"]) for r in rows], label="SI-SDRi in dB")
    axes[1].legend()
    for ax in axes:
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
    figure.savefig(IMAGES / picture, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, metavar="DIR", help="only the curves of this run")
    args = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    if args.run:
        draw_training(args.run, f"{args.run.name}-training.png")
    else:
        settings = ini.load(ROOT / "recipes" / "demo.ini")
        draw_spectrograms(settings)
        draw_training(settings.train.checkpoint_path / settings.train.run_name, "training.png")
    print(f"pictures -> {IMAGES}")
