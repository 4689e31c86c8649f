"""Spectrograms, masks and waveforms as pictures: PNG and SVG.

Conventions:
    Sounds are ``[samples]``. A picture is [rows, columns], time to the right, frequency upwards,
    stored as PNG with a palette.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from specmask import files
from specmask.audio import io as audio_io
from specmask.audio.stft import Stft, forward
from specmask.errors import UserError, import_failure

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01  # of a spectrogram
RANGE_DB = 80
MASK_RANGE_DB = 30
MOST_COLUMNS = 900
WAVE_POINTS = 400
# From dark to light, even in brightness.
HEAT = [(6, 4, 15), (52, 16, 92), (132, 34, 110), (212, 72, 66), (249, 155, 48), (252, 250, 205)]
SIGNED = [(33, 102, 172), (247, 247, 247), (178, 24, 43)]  # minus, zero, plus
TEAL = [(8, 14, 20), (10, 62, 84), (38, 128, 138), (132, 196, 170), (246, 250, 226)]


def spectrogram(x: np.ndarray, rate: int) -> np.ndarray:
    """Return power in dB, a sine of full scale having 0: [samples] -> float64 [bins, columns].

    High frequencies come first; columns are at most 900.

    >>> spectrogram(np.zeros(16000), 16000).shape
    (257, 102)
    """
    window = max(2, round(WINDOW_SECONDS * rate))
    hop = max(1, round(HOP_SECONDS * rate))
    stft = Stft.hann(window, hop)
    spectrum = forward(np.asarray(x, np.float32), stft) * (2 / stft.window.sum())
    powers = _average(np.square(np.abs(spectrum, dtype=np.float64)))
    return 10 * np.log10(powers + 1e-30).T[::-1]


def _average(powers: np.ndarray) -> np.ndarray:
    """Average neighbouring frames so that at most 900 are left: [frames, bins]."""
    size = -(-len(powers) // MOST_COLUMNS)
    starts = np.arange(0, len(powers), size)
    return np.add.reduceat(powers, starts) / np.minimum(size, len(powers) - starts)[:, None]


def picture(values: np.ndarray, low: float, high: float, colours: Sequence[tuple]) -> bytes:
    """Return a PNG of values from low to high: [rows, columns] -> file content."""
    with np.errstate(invalid="ignore"):
        scaled = np.clip((values - low) / (high - low), 0, 1)
    indices = np.round(255 * np.nan_to_num(scaled)).astype(np.uint8)
    anchors = np.linspace(0, 255, len(colours))
    palette = np.stack([np.interp(np.arange(256), anchors, c) for c in zip(*colours, strict=True)])
    image = Image.fromarray(indices)
    image.putpalette(np.round(palette.T).astype(np.uint8).tobytes())
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=9)
    return content.getvalue()


def waveform(x: np.ndarray) -> str:
    """Return the outline of a signal as an SVG path, 400 wide, from -1 to 1: [samples] -> text."""
    edges = np.linspace(0, len(x), min(WAVE_POINTS, len(x)) + 1).astype(int)[:-1]
    high, low = np.maximum.reduceat(x, edges), np.minimum.reduceat(x, edges)
    x_positions = np.linspace(0, WAVE_POINTS, len(edges))
    points = [*zip(x_positions, high, strict=True)]
    points += zip(x_positions[::-1], low[::-1], strict=True)
    return "M" + "L".join(f"{x:.4g},{-y:.3f}" for x, y in points) + "Z"


def spectrograms(waves: Sequence[np.ndarray], rate: int) -> bytes:
    """Return a PNG of spectrograms below each other, all on the scale of the loudest one."""
    levels = [spectrogram(x, rate) for x in waves]
    loudest = max(level.max() for level in levels)
    return picture(_stacked(levels), loudest - RANGE_DB, loudest, HEAT)


def mask(values: np.ndarray, bound: float) -> bytes:
    """Return a PNG of a mask [frames, bins, 2], real over imaginary part, from -bound to bound."""
    return picture(_stacked([values[..., k].T[::-1] for k in (0, 1)]), -bound, bound, SIGNED)


def _stacked(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Stack planes [rows, columns] vertically, with a line of the highest value between."""
    line = np.full((3, planes[0].shape[1]), np.inf)
    return np.concatenate([part for plane in planes for part in (line, plane)][1:])


SECONDS = 60  # shown of a recording
LOUDEST_DB = -20  # top of the colour scale, full scale being 0


def import_matplotlib(what: str = "--spectrograms") -> Any:
    """Return matplotlib's module ``figure``.

    Args:
        what: option that needs it, for the error message.

    Raises:
        UserError: if matplotlib is not installed, or broken.
    """
    try:
        from matplotlib import figure
    except ImportError as error:
        raise UserError(
            f"{what}: matplotlib {import_failure(error)}; pip install matplotlib"
        ) from None
    return figure


def write_comparison(before: Path, after: Path, picture: Path) -> None:
    """Write spectrograms of the first channel of two files, one above the other, as PNG.

    Raises:
        AudioError: if one cannot be read.
    """
    sheet = import_matplotlib().Figure(figsize=(10, 6), layout="constrained")
    for place, (title, path) in enumerate((("input", before), ("enhanced", after)), 1):
        with audio_io.AudioFile(path) as file:
            rate = file.samplerate
            samples = file.read(SECONDS * rate)
        axes = sheet.add_subplot(2, 1, place)
        image = axes.imshow(
            spectrogram(samples[:, 0], rate),
            aspect="auto",
            vmin=LOUDEST_DB - RANGE_DB,
            vmax=LOUDEST_DB,
            extent=(0, len(samples) / rate, 0, rate / 2000),
        )
        axes.set(title=title, xlabel="time in s", ylabel="frequency in kHz")
        sheet.colorbar(image, ax=axes, label="dBFS")
    with files.replacing(picture) as temporary:
        sheet.savefig(temporary, format="png", dpi=80)
