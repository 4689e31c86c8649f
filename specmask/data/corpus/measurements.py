"""What is measured in one recording to tell whether something is wrong with it."""

from collections import Counter
from pathlib import Path

import numpy as np
import scipy.fft
import soxr

from specmask.audio import io as audio_io
from specmask.audio.levels import decibel
from specmask.data.corpus import fingerprint, recordings

EDGES_HZ = (4000, 5512.5, 6000, 8000, 11025, 12000, 16000)  # half of usual rates
EDGE_DROP_DB = 25
SPECTRUM = 2048  # FFT length


def examine(path: Path, fingerprints: bool = True) -> dict:
    """Measure one file.

    Returns:
        dc: mean of the samples. flat: number of samples in runs of three or more equal ones at the
        peak. full: share at full scale. cancels_db: level of the mix-down relative to the channels.
        edge_hz, drop_db: where the spectrum ends, and by how much it drops there; 0 if it does not.
        print: see :func:`specmask.data.corpus.fingerprint.fingerprint`.
    """
    total = np.zeros(3)  # sum, energy of the channels, energy of the mix-down
    frames = full = 0
    flat: Counter[float] = Counter()
    power = np.zeros(SPECTRUM // 2 + 1)
    low, peak = [], 0.0
    with audio_io.opened(path) as file:
        rate, channels = file.samplerate, file.channels
        stream = soxr.ResampleStream(rate, fingerprint.RATE, 1, quality="MQ")
        while len(block := file.read(recordings.BLOCK_FRAMES, dtype="float32", always_2d=True)):
            mono = audio_io.to_mono(block)
            frames += len(block)
            total += (
                np.sum(mono, dtype=np.float64),
                np.sum(np.square(block, dtype=np.float64)) / channels,
                np.sum(np.square(mono, dtype=np.float64)),
            )
            peak = max(peak, float(np.abs(block).max()))
            full += int(np.sum(np.abs(block) >= 0.985))
            flat += _flat(block)
            power += _power(mono)
            if fingerprints:
                low.append(stream.resample_chunk(mono, last=len(block) < recordings.BLOCK_FRAMES))
    edge, drop = band_edge(power, rate)
    x = np.concatenate(low) if low else np.zeros(0, np.float32)
    return {
        "dc": total[0] / frames,
        "flat": sum(n for value, n in flat.items() if value >= 0.98 * peak),
        "full": full / (frames * channels),
        "peak": peak,
        "cancels_db": decibel(total[2] / total[1]) if total[1] else 0.0,
        "edge_hz": edge,
        "drop_db": drop,
        "print": fingerprint.fingerprint(x),
    }


def _flat(block: np.ndarray) -> Counter:
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
    """Sum of the power spectra of all frames."""
    count = len(mono) // SPECTRUM
    if not count:
        return np.zeros(SPECTRUM // 2 + 1)
    frames = mono[: count * SPECTRUM].reshape(count, SPECTRUM)
    spectra = scipy.fft.rfft(frames * np.hanning(SPECTRUM).astype(np.float32))
    return np.sum(np.square(np.abs(spectra), dtype=np.float64), axis=0)


def band_edge(power: np.ndarray, rate: int) -> tuple[float, float]:
    """Return where a spectrum ends as that of an upsampled recording does.

    There is an edge at f if the level just above f is 25 dB below that just below f, and stays so
    up to the highest frequency. Only half the usual sampling rates are looked at.

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
