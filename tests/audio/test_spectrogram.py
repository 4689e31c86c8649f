"""Spectrograms, masks and waveforms as pictures, by hand."""

import io
import re

import numpy as np
import pytest
from helpers import RATE
from PIL import Image

from specmask.audio import spectrogram


def test_picture_by_hand():
    values = np.array([[0.0, 1.0], [0.5, 9.0], [-3.0, np.nan]])
    colours = [(0, 0, 0), (100, 200, 50), (250, 0, 255)]
    read = np.array(
        Image.open(io.BytesIO(spectrogram.picture(values, 0, 1, colours))).convert("RGB")
    )
    black, middle, last = colours
    assert read.shape == (3, 2, 3)
    assert read[0].tolist() == [list(black), list(last)]
    assert np.abs(read[1, 0].astype(int) - middle).max() <= 1 and read[1, 1].tolist() == list(last)
    assert read[2].tolist() == [list(black)] * 2


def test_a_tone_is_at_its_frequency():
    t = np.arange(4 * RATE) / RATE
    levels = spectrogram.spectrogram(np.sin(2 * np.pi * 6000 * t), RATE)
    rows, columns = levels.shape
    assert rows == 257 and columns <= spectrogram.MOST_COLUMNS
    middle = levels[:, columns // 2]
    assert np.argmax(middle) == 256 - 192  # 6 of 8 kHz, from the top
    assert middle.max() == pytest.approx(0, abs=0.1)  # full scale


def test_frames_of_long_files_are_averaged():
    powers = np.arange(2000.0)[:, None] * np.ones((1, 3))
    found = spectrogram._average(powers)
    assert len(found) == 667 and found[0, 0] == 1 and found[-1, 0] == (1998 + 1999) / 2


def test_waveform_keeps_the_peaks():
    x = np.zeros(100_000)
    x[50_000], x[70_000] = 0.9, -0.7
    path = spectrogram.waveform(x)
    heights = [float(v) for v in re.findall(r",(-?[\d.]+)", path)]
    assert min(heights) == -0.9 and max(heights) == 0.7 and path.startswith("M0,")
    assert spectrogram.waveform(np.array([0.5])).count("L") == 1


def test_spectrograms_are_below_each_other_on_one_scale():
    x = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    image = Image.open(io.BytesIO(spectrogram.spectrograms([x, 0.1 * x], RATE)))
    assert (image.format, image.mode, image.size) == ("PNG", "P", (102, 257 + 3 + 257))
    loud, quiet = np.asarray(image)[:257, 50].max(), np.asarray(image)[260:, 50].max()
    assert loud == 255 and quiet == pytest.approx(255 * (1 - 20 / spectrogram.RANGE_DB), abs=1)


def test_a_mask_is_real_over_imaginary_part():
    values = np.zeros((7, 5, 2))
    values[..., 0], values[..., 1] = 2, -2
    image = np.asarray(Image.open(io.BytesIO(spectrogram.mask(values, 2.0))).convert("RGB"))
    assert image.shape == (5 + 3 + 5, 7, 3)
    assert (image[:5] == spectrogram.SIGNED[-1]).all() and (
        image[-5:] == spectrogram.SIGNED[0]
    ).all()
