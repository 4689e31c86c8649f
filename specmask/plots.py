"""Spectrograms of a recording before and after, as PNG (needs matplotlib, extra ``plots``)."""

from pathlib import Path
from typing import Any

import numpy as np

from specmask import audio
from specmask.errors import UserError

SECONDS = 60  # of a recording that are shown
WINDOW_SECONDS = 0.032
RANGE_DB = 80


def spectrogram_db(x: np.ndarray, rate: int) -> np.ndarray:
    """Return power in dB of [samples]: float [bins, frames]; a full-scale sine gives about 0 dB."""
    length = max(16, round(WINDOW_SECONDS * rate))
    x = audio.fit(x, max(len(x), length))
    frames = np.lib.stride_tricks.sliding_window_view(x, length)[:: length // 2]
    window = np.hanning(length)
    spectra = np.fft.rfft(frames * window, axis=1) * (2 / window.sum())
    return 20 * np.log10(np.abs(spectra).T + 1e-10)


def check() -> Any:
    """Import what draws.

    Raises:
        UserError: if it is missing.
    """
    try:
        from matplotlib import figure
    except ImportError:
        raise UserError(
            "--spectrograms: matplotlib is not installed; pip install 'specmask[plots]'"
        ) from None
    return figure


def draw(before: Path, after: Path, picture: Path) -> None:
    """Draw the first channel of two files above each other, on the same scales.

    Raises:
        AudioError: if one cannot be read.
    """
    sheet = check().Figure(figsize=(10, 6), layout="constrained")
    for place, (title, path) in enumerate((("input", before), ("enhanced", after)), 1):
        with audio.opened(path) as file:
            frames = SECONDS * file.samplerate
        samples, rate = audio.read(path, frames=frames)
        axes = sheet.add_subplot(2, 1, place)
        image = axes.imshow(
            spectrogram_db(samples[:, 0], rate),
            origin="lower",
            aspect="auto",
            vmin=-RANGE_DB - 20,
            vmax=-20,
            extent=(0, len(samples) / rate, 0, rate / 2000),
        )
        axes.set(title=title, xlabel="time in s", ylabel="frequency in kHz")
        sheet.colorbar(image, ax=axes, label="dBFS")
    with audio.replacing(picture) as temporary:
        sheet.savefig(temporary, format="png", dpi=80)
