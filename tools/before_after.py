"""The README's sound and picture: a noisy sentence of the demo before and after the default model.

    python demo/synthesize.py demo/out/audio
    python tools/before_after.py demo/out/audio

Mixes a test voice with a test noise of the demo at 3 dB and enhances it with the default model.
Writes docs/sounds/noisy.flac and enhanced.flac and docs/images/before-after.png. The voices are
eSpeak NG's, the noises are the demo's own: both may be given away.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

import specmask  # noqa: E402
from specmask.audio import levels, spectrogram  # noqa: E402
from specmask.audio.io import read_piece, resample  # noqa: E402
from specmask.enhancement import enhancer  # noqa: E402
from specmask.evaluation.metrics.distortion import si_sdr  # noqa: E402

RATE, SNR_DB = 16000, 3
VOICE, NOISE = "en-us-f3", "machinery"
RANGE_DB = 75


def main(audio: Path) -> None:
    """Make the three files from a folder that demo/synthesize.py has written."""
    sentences = sorted((audio / "clean/clean_test" / VOICE).iterdir())[:2]
    clean = np.concatenate([resample(*sf.read(path), RATE) for path in sentences])
    noise = sorted((audio / "noise/noise_test" / NOISE).iterdir())[0]
    disturbing = read_piece(noise, 0, len(clean), RATE).astype(float)
    gain = levels.active_level_db(clean, RATE) - levels.active_level_db(disturbing, RATE) - SNR_DB
    noisy = clean + disturbing * 10 ** (gain / 20)
    scale = 0.5 / np.abs(noisy).max()
    clean, noisy = scale * clean, scale * noisy
    model = enhancer.load(enhancer.PRETRAINED / "default.npz")
    enhanced = specmask.enhance(noisy, RATE, model)
    sounds = ROOT / "docs" / "sounds"
    sounds.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.4), sharex=True, constrained_layout=True)
    for ax, (name, x) in zip(axes, {"noisy": noisy, "enhanced": enhanced}.items(), strict=True):
        sf.write(sounds / f"{name}.flac", x, RATE, subtype="PCM_16")
        level_db = spectrogram.spectrogram(x, RATE)
        extent = 0, len(x) / RATE, 0, RATE / 2000
        image = ax.imshow(level_db, aspect="auto", extent=extent, cmap="magma")
        image.set_clim(level_db.max() - RANGE_DB, level_db.max())
        ax.set_title(f"{name}: SI-SDR {si_sdr(clean, x):.1f} dB", loc="left", fontsize=10)
        ax.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    path = ROOT / "docs/images/before-after.png"
    figure.savefig(path, dpi=80)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)  # a third of the size
    print(f"{VOICE} with {NOISE} -> {sounds}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("audio", type=Path, help="folder that demo/synthesize.py has written")
    folder = parser.parse_args().audio
    if not (folder / "clean/clean_test" / VOICE).is_dir():
        parser.error(f"{folder}: no voice {VOICE}; make it with python demo/synthesize.py {folder}")
    main(folder)
