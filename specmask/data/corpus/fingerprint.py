"""Acoustic fingerprints: finding recordings with the same content, at any gain, format or offset.

A fingerprint is a sequence of sub-fingerprints of 24 bits, one every 8 ms, from the signs of the
differences of band energies along frequency and time (after Haitsma and Kalker: A highly robust
audio fingerprinting system. ISMIR 2002). Equal sub-fingerprints of two files vote for an offset
between them; an offset with enough votes is confirmed, or not, by cross-correlation of the
waveforms.

Differs from the paper: of the sub-fingerprints of long files one in eight is kept, chosen by its
value, so that two copies keep the same ones; times 64 ms apart are compared, not neighbours.
Recordings at another speed or pitch are not found.
"""

from pathlib import Path

import numpy as np
import scipy.fft

from specmask.audio.io import read_piece

RATE = 4000  # Hz
FRAME, HOP = 1024, 32  # samples: 256 ms, 8 ms
LAG = 8  # frames between the energies that are compared
BANDS = 25
LOWEST_HZ, HIGHEST_HZ = 200, 1800
KEPT = 8  # one sub-fingerprint of so many, in long files
ALL_SECONDS = 5  # up to twice this length all are kept
RANGE_DB = 40  # frames this far below the loudest one are left out
VOTES = 3
COMMON = 48  # a sub-fingerprint with more copies than this in all files is no evidence
LARGEST_INDEX = 4_000_000
OVERLAP_SECONDS = 10  # that are compared sample by sample
SEARCH_SECONDS = 0.05  # around the offset that was voted for
SAME = 0.8  # correlation from which on two recordings count as the same

Fingerprint = tuple[np.ndarray, np.ndarray]  # sub-fingerprints uint32 [kept], frames int32 [kept]

EMPTY: Fingerprint = (np.zeros(0, np.uint32), np.zeros(0, np.int32))  # of a signal too short
_EDGES = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * FRAME / RATE
_BITS = (1 << np.arange(BANDS - 1, dtype=np.uint32)).astype(np.uint32)


def fingerprint(x: np.ndarray) -> Fingerprint:
    """Return kept sub-fingerprints and their frames.

    Args:
        x: [samples] at 4 kHz.

    Returns:
        uint32 [kept] and int32 [kept].
    """
    if len(x) < FRAME + (LAG + 1) * HOP:
        return EMPTY
    window = np.hanning(FRAME).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(x, FRAME)[::HOP]
    edges = np.round(_EDGES).astype(int)
    bands = np.concatenate(
        [
            np.add.reduceat(np.abs(scipy.fft.rfft(block * window)) ** 2, edges, axis=1)[:, :BANDS]
            for block in np.array_split(frames, -(-len(frames) // 2048))
        ]
    )
    total = bands.sum(axis=1)
    slope = np.diff(np.log(bands + 1e-12 * (total.max() + 1e-30)), axis=1)
    bits = (slope[LAG:] - slope[:-LAG]) > 0
    hashes = (bits * _BITS).sum(axis=1, dtype=np.uint32)
    loud = total[LAG:] > total.max() * 10 ** (-RANGE_DB / 10)
    new = np.concatenate([[True], hashes[1:] != hashes[:-1]])
    kept = np.flatnonzero(loud & new & _chosen(hashes, _share(len(x) / RATE)))
    return hashes[kept], kept.astype(np.int32)


def _share(seconds: float) -> int:
    """Return n where one sub-fingerprint of n is kept; powers of two, whose choices are nested."""
    return min(KEPT, 1 << max(0, int(np.log2(seconds / ALL_SECONDS))))


def _chosen(hashes: np.ndarray, share: int) -> np.ndarray:
    mixed = (hashes.astype(np.uint64) * np.uint64(2654435761)) >> np.uint64(13)
    return mixed % np.uint64(share) == 0


def candidates(fingerprints: list[Fingerprint]) -> list[tuple[int, int, float]]:
    """Return pairs of files that may have content in common, with the offset in seconds.

    Args:
        fingerprints: one per file.
    """
    sizes = [len(h) for h, _ in fingerprints]
    if not sum(sizes):
        return []
    hashes = np.concatenate([h for h, _ in fingerprints])
    times = np.concatenate([t for _, t in fingerprints])
    files = np.repeat(np.arange(len(fingerprints)), sizes)
    if len(hashes) > LARGEST_INDEX:
        kept = _chosen(hashes // np.uint32(7), -(-len(hashes) // LARGEST_INDEX))
        hashes, times, files = hashes[kept], times[kept], files[kept]
    order = np.lexsort((times, files, hashes))
    hashes, times, files = hashes[order], times[order], files[order]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = counts[inverse] <= COMMON
    hashes, times, files = hashes[rare], times[rare], files[rare]
    found = []
    for step in range(1, COMMON):
        same = np.flatnonzero((hashes[step:] == hashes[:-step]) & (files[step:] != files[:-step]))
        if len(same):
            delay = times[same] - times[same + step]
            found.append(np.stack([files[same], files[same + step], delay], axis=1))
    if not found:
        return []
    return _most_voted(np.concatenate(found))


def _most_voted(votes: np.ndarray) -> list[tuple[int, int, float]]:
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for shift in (0, 2):  # bins of four frames, twice, so that no offset lies on a border only
        keys, counts = np.unique(
            np.column_stack([votes[:, :2], (votes[:, 2] + shift) // 4]), axis=0, return_counts=True
        )
        enough = counts >= VOTES
        for (a, b, delay), count in zip(keys[enough], counts[enough], strict=True):
            seconds = (delay * 4 + 1.5 - shift) * HOP / RATE
            if count > best.get((a, b), (0, 0.0))[0]:
                best[a, b] = (int(count), float(seconds))
    return [(int(a), int(b), seconds) for (a, b), (_, seconds) in sorted(best.items())]


def correlation(first: Path, second: Path, offset: float) -> tuple[float, float]:
    """Return the largest correlation of two files near an offset, and that offset.

    Both are compared between 200 and 1800 Hz over at most 10 s, normalised to 1 for the same
    waveform at any gain or polarity.

    Args:
        first, second: audio files.
        offset: second's start in first, in seconds; negative if it begins before.

    Returns:
        correlation from 0 to 1, offset in seconds.

    Raises:
        AudioError: if a file cannot be read.
    """
    samples = OVERLAP_SECONDS * RATE
    lag = round(SEARCH_SECONDS * RATE)
    start = round(offset * RATE)
    a = read_piece(first, max(0, start), samples, RATE)
    b = read_piece(second, max(0, -start), samples, RATE)
    length = min(_length(a), _length(b))
    if length < FRAME:
        return 0.0, offset
    size = scipy.fft.next_fast_len(2 * samples, real=True)
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    band = (frequencies >= LOWEST_HZ) & (frequencies <= HIGHEST_HZ)
    spectra = [scipy.fft.rfft(v[:length].astype(np.float64), size) * band for v in (a, b)]
    energy = [np.sum(np.square(scipy.fft.irfft(s, size))) for s in spectra]
    if min(energy) <= 0:
        return 0.0, offset
    cross = scipy.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    near = np.concatenate([cross[-lag:], cross[: lag + 1]]) / np.sqrt(energy[0] * energy[1])
    best = int(np.argmax(np.abs(near)))
    return float(min(1.0, np.abs(near[best]))), offset + (best - lag) / RATE


def _length(x: np.ndarray) -> int:
    """Return the length without the zeros that a read beyond the end gives."""
    found = np.flatnonzero(x)
    return int(found[-1]) + 1 if len(found) else 0
