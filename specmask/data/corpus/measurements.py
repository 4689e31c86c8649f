"""Measurements of one recording that show faults: clipping, DC, cancelled channels, band edge."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import soxr

from specmask.audio.io import BLOCK_FRAMES, AudioFile, to_mono
from specmask.audio.levels import decibel
from specmask.data.corpus import fingerprint
from specmask.data.corpus.fingerprint import Fingerprint

EDGES_HZ = (4000, 5512.5, 6000, 8000, 11025, 12000, 16000)  # half of usual rates
EDGE_DROP_DB = 25
SPECTRUM = 2048  # FFT length


@dataclass(frozen=True)
class Measurements:
    """Measurements of one file.

    Attributes:
        dc: mean of the samples.
        flat_samples: number of samples in runs of three or more equal ones at the peak.
        full_scale_share: share of the samples at full scale.
        peak: largest absolute value.
        mixdown_db: level of the mix-down relative to the channels.
        edge_hz, drop_db: where the spectrum ends, and by how much it drops there; 0 if it does not.
        fingerprint: see :func:`specmask.data.corpus.fingerprint.fingerprint`.
    """

    dc: float
    flat_samples: int
    full_scale_share: float
    peak: float
    mixdown_db: float
    edge_hz: float
    drop_db: float
    fingerprint: Fingerprint


def measure(path: Path, with_fingerprint: bool = True) -> Measurements:
    """Measure one file, block by block.

    Raises:
        AudioError: if it cannot be read.
    """
    total = np.zeros(3)  # sum, energy of the channels, energy of the mix-down
    frames = full = 0
    flat: Counter[float] = Counter()  # samples in runs, by their absolute value
    power = np.zeros(SPECTRUM // 2 + 1)
    low_rate, peak = [np.zeros(0, np.float32)], 0.0
    with AudioFile(path) as file:
        rate, channels = file.samplerate, file.channels
        stream = soxr.ResampleStream(rate, fingerprint.RATE, 1, quality="MQ")
        for block in file.blocks(BLOCK_FRAMES):
            mono = to_mono(block)
            frames += len(block)
            total += (
                np.sum(mono, dtype=np.float64),
                np.sum(np.square(block, dtype=np.float64)) / channels,
                np.sum(np.square(mono, dtype=np.float64)),
            )
            peak = max(peak, float(np.abs(block).max()))
            full += int(np.sum(np.abs(block) >= 0.985))
            flat += _flat_runs(block)
            power += _power(mono)
            if with_fingerprint:
                low_rate.append(stream.resample_chunk(mono))
    if with_fingerprint:
        low_rate.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    edge, drop = band_edge(power, rate)
    return Measurements(
        dc=total[0] / frames,
        flat_samples=sum(n for value, n in flat.items() if value >= 0.98 * peak),
        full_scale_share=full / (frames * channels),
        peak=peak,
        mixdown_db=decibel(total[2] / total[1]) if total[1] else 0.0,
        edge_hz=edge,
        drop_db=drop,
        fingerprint=fingerprint.fingerprint(np.concatenate(low_rate)),
    )


def _flat_runs(block: np.ndarray) -> Counter[float]:
    """Count samples in runs of three or more equal ones by their absolute value."""
    same = block[1:] == block[:-1]
    third = np.zeros(block.shape, bool)
    third[2:] = same[1:] & same[:-1]
    run = third.copy()  # the two before it belong to the run as well
    run[:-1] |= third[1:]
    run[:-2] |= third[2:]
    values, counts = np.unique(np.abs(block[run & (np.abs(block) > 0.1)]), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _power(mono: np.ndarray) -> np.ndarray:
    """Return the sum of the power spectra of all frames: [samples] -> [bins]."""
    count = len(mono) // SPECTRUM
    if not count:
        return np.zeros(SPECTRUM // 2 + 1)
    frames = mono[: count * SPECTRUM].reshape(count, SPECTRUM)
    spectra = scipy.fft.rfft(frames * np.hanning(SPECTRUM).astype(np.float32))
    return np.sum(np.square(np.abs(spectra), dtype=np.float64), axis=0)


def band_edge(power: np.ndarray, rate: int) -> tuple[float, float]:
    """Return the frequency where a spectrum ends as that of an upsampled recording does.

    There is an edge at f if the level just above f is 25 dB below that just below f, and stays so
    up to the highest frequency. Only half the usual sampling rates are tried.

    Args:
        power: power spectrum [bins] from 0 to half the rate.
        rate: in Hz.

    Returns:
        frequency in Hz and drop in dB; zeros if there is no edge.
    """
    level = 10 * np.log10(power + 1e-30)
    frequencies = np.linspace(0, rate / 2, len(power))
    for edge in EDGES_HZ:
        if edge > 0.9 * rate / 2:
            break
        below = level[(frequencies >= 0.8 * edge) & (frequencies <= 0.93 * edge)]
        above = level[(frequencies >= 1.04 * edge) & (frequencies <= 1.2 * edge)]
        rest = level[frequencies >= 1.04 * edge]
        drop = float(np.median(below) - np.percentile(above, 90))
        if drop >= EDGE_DROP_DB and np.median(below) - np.percentile(rest, 99) >= EDGE_DROP_DB - 5:
            return edge, drop
    return 0.0, 0.0
