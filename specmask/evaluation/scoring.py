"""Scores of every file of every system, computed in parallel and kept between runs.

Conventions:
    Channels are scored one by one, and the mean over them is the score of the file.
    A file that cannot be scored keeps its row, with NaN and the reason.
    Files are paired by :mod:`specmask.evaluation.pairing`.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import scipy.fft

from specmask import parallel
from specmask.audio.io import AudioError, read, to_mono
from specmask.evaluation import baselines, oracles, pairing, score_table
from specmask.evaluation.metrics import table
from specmask.evaluation.pairing import Item

FILES_PER_TASK = 4  # a file takes about 0.3 s, most of it for PESQ and STOI
LENGTH_SECONDS = 0.05  # files may be shorter or longer by this; the rest is cut
LAG_SECONDS = 1.0  # longest delay that is looked for,
ALIGNED_SECONDS = 30  # in the first part of a file,
LEAST_CORRELATION = 0.1  # unless the two signals have less than this in common

# Version of the code that computes scores. Change it (to any new text) when figures change: rows
# of another version are scored again.
VERSION = "186c5e95eca5c3edcffe03a9"
PACKAGES = (
    *("specmask", "numpy", "scipy", "soundfile", "soxr"),
    *("pesq", "pystoi", "fast_bss_eval", "speechmos", "onnxruntime"),
)


class Unusable(Exception):
    """Files that cannot be compared; the text is the reason.

    Attributes:
        rate: of the clean file in Hz, 0 if it is not known.
    """

    rate = 0


def evaluate(
    clean_dir: Path | None,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
    ideal: oracles.Settings | None = None,
    workers: int = 0,
    names: Sequence[str] = table.DEFAULT,
    folder: Path | None = None,
) -> list[dict]:
    """Score every file of every system.

    Args:
        clean_dir, systems, noisy_dir, baseline_names, by, ideal: of
            :func:`specmask.evaluation.pairing.items`. Without noisy files there are no
            improvements.
        workers: number of processes; 0: one per core.
        names: of the metrics.
        folder: of the report. Rows of an earlier run in it are used again if their files and
            the packages are the same; new rows are added.

    Returns:
        rows, see :mod:`specmask.evaluation.score_table`. A row has no key ``pesq_nb`` where
        wideband PESQ is computed, and the other way round.

    Raises:
        UserError: if files have no counterpart, or a name is unknown or used twice.
    """
    items = pairing.items(clean_dir, systems, noisy_dir, baseline_names, by, ideal)
    return score_items(items, names, workers, folder)


def score_items(
    items: Sequence[Item],
    names: Sequence[str] = table.DEFAULT,
    workers: int = 0,
    folder: Path | None = None,
) -> list[dict]:
    """Score items that are paired already; else as :func:`evaluate`."""
    if not any(item.noisy for item in items):
        names = [n for n in names if n not in table.NEED_NOISY]
    if not any(item.clean for item in items):
        names = [n for n in names if n not in table.NEED_CLEAN]
    digests = [digest(item, names) for item in items]
    known = score_table.read(folder) if folder else {}
    todo = [item for item, made_from in zip(items, digests, strict=True) if made_from not in known]
    function = partial(score_item, names=tuple(names))
    with score_table.appending(folder) as keep:
        for row in parallel.map_chunks(function, todo, workers, "score", FILES_PER_TASK):
            keep(row)
            known[row["digest"]] = row
    rows = [
        known[made_from] | _identity(item) for item, made_from in zip(items, digests, strict=True)
    ]
    # A file of unknown rate counts as missing in every column of PESQ.
    seen = {key: None for row in rows for key in row if key.startswith("pesq_")} or ["pesq_wb"]
    for row in rows:
        if "pesq" in row:
            row |= dict.fromkeys(seen, row.pop("pesq"))
    return rows


def digest(item: Item, names: Sequence[str]) -> str:
    """Return a short text that changes with everything that a row depends on.

    These are the files (their size and time), the metrics with their revisions, the packages and
    :data:`VERSION`.
    """
    parts: list = [item.system, item.name, item.baseline, item.ideal, *names]
    for path in (item.clean, item.noisy, item.enhanced):
        parts.append((str(path and path.resolve()), path and _size_and_time(path)))
    parts += [versions(), VERSION]
    metrics = {name: table.METRICS[name] for name in names if name in table.METRICS}
    parts += [(name, m.revision) for name, m in metrics.items() if m.revision]
    packages = {m.package for m in metrics.values() if m.package}
    parts += [(package, package_version(package)) for package in sorted(packages - {*PACKAGES})]
    return hashlib.blake2b(repr(parts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # a broken link: its row has the reason
        return None
    return status.st_size, status.st_mtime_ns


@cache
def versions() -> dict[str, str]:
    """Return the version of every package that scores depend on."""
    return {package: package_version(package) for package in PACKAGES}


@cache
def package_version(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _identity(item: Item) -> dict:
    """Return the columns of a row that say which file it is about."""
    return {
        "system": item.system,
        "file": item.name,
        "clean_file": item.clean_file,
        "snr_db": item.condition.snr_db,
        "noise_type": item.condition.noise_type,
        "speaker": item.condition.speaker,
    }


def score_item(item: Item, names: Sequence[str] = table.DEFAULT) -> dict:
    """Return the row of one item; see :func:`evaluate`."""
    values = dict.fromkeys(names, math.nan)
    reasons: dict[str, str] = {}
    rate, lag, extra = 0, None, 0
    try:
        audio = read_recordings(item)
        rate = audio.rate
        if audio.clean is not None:
            lag = best_lag(to_mono(audio.clean), to_mono(audio.enhanced), rate)
        extra = audio.extra_samples
        values, reasons = _mean_scores(audio, names)
        if audio.noisy_reason:
            reasons |= {n: audio.noisy_reason for n in names if n in table.NEED_NOISY}
    except Unusable as error:
        reasons = dict.fromkeys(names, str(error))
        rate = error.rate
    columns = {name: table.column(name, rate) if rate else name for name in names}
    row = _identity(item) | {"lag": lag} | {columns[name]: values[name] for name in names}
    if extra:
        row["extra_samples"] = extra
    row["reason"] = _join({columns[name]: reason for name, reason in reasons.items()}, len(names))
    row["digest"] = digest(item, names)
    return row


@dataclass(frozen=True)
class Recordings:
    """Audio of an item: float32 [frames, channels] at a rate in Hz, all of one length.

    Attributes:
        clean: None where there is no reference.
        noisy: None where there is none, or where it cannot be used: noisy_reason says why.
        extra_samples: by which the enhanced file was longer than the clean one before both were
            cut to the shorter one.
    """

    clean: np.ndarray | None
    noisy: np.ndarray | None
    enhanced: np.ndarray
    rate: int
    noisy_reason: str = ""
    extra_samples: int = 0


def read_recordings(item: Item) -> Recordings:
    """Read the files of an item and apply its baseline, if it has one.

    Raises:
        Unusable: if the clean or the enhanced file cannot be used.
    """
    if item.clean is None:
        enhanced, rate = _read(item.enhanced, "enhanced")
        if item.baseline:
            enhanced = _run_baseline(item, enhanced, enhanced, rate)
        return Recordings(None, None, enhanced, rate)
    clean, rate = _read(item.clean, "clean")
    noisy, noisy_reason = None, ""
    try:
        if item.noisy:
            try:
                noisy = _read_like(item.noisy, "noisy", clean, rate)
            except Unusable as error:
                noisy_reason = str(error)
        if item.enhanced != item.noisy:
            enhanced = _read_like(item.enhanced, "enhanced", clean, rate)
        elif noisy is None:
            raise Unusable(noisy_reason)
        else:
            enhanced = noisy
    except Unusable as error:
        error.rate = rate
        raise
    extra = len(enhanced) - len(clean)
    frames = min(len(x) for x in (clean, noisy, enhanced) if x is not None)
    clean, enhanced = clean[:frames], enhanced[:frames]
    noisy = None if noisy is None else noisy[:frames]
    if item.baseline:
        enhanced = _run_baseline(item, enhanced, clean, rate)
    return Recordings(clean, noisy, enhanced, rate, noisy_reason, extra)


def _run_baseline(item: Item, noisy: np.ndarray, clean: np.ndarray, rate: int) -> np.ndarray:
    """Apply the baseline or the oracle of an item to every channel [frames, channels]."""
    channels = [
        oracles.apply(item.baseline, n, c, rate, item.ideal)
        if item.ideal
        else baselines.BASELINES[item.baseline](n, rate)
        for n, c in zip(noisy.T, clean.T, strict=True)
    ]
    return np.stack(channels, axis=1)


def best_lag(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> int | None:
    """Return by how many samples the enhanced signal lags behind the clean one.

    The lag maximises the magnitude of their cross-correlation (an inverted sign is no delay)
    within ±1 s, in the first 30 s; it is 0 if no other lag exceeds the value at 0.

    Args:
        clean, enhanced: [samples].
        rate: in Hz.

    Returns:
        samples, negative if the enhanced signal comes first; None if one of the two is silent
        or their correlation is below 0.1.

    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> best_lag(x, np.roll(x, 80), 1000)
    80
    """
    s, e = (np.asarray(x[: ALIGNED_SECONDS * rate], np.float64) for x in (clean, enhanced))
    furthest = min(len(s) - 1, round(LAG_SECONDS * rate))
    if furthest < 1 or not s.any() or not e.any():
        return None
    size = scipy.fft.next_fast_len(len(s) + furthest, real=True)
    spectrum = np.conj(scipy.fft.rfft(s, size)) * scipy.fft.rfft(e, size)
    correlation = scipy.fft.irfft(spectrum, size) / (np.linalg.norm(s) * np.linalg.norm(e))
    lags = np.r_[0, np.arange(1, furthest + 1), -np.arange(1, furthest + 1)]
    found = np.abs(correlation[lags])
    best = int(np.argmax(found))
    if found[best] < LEAST_CORRELATION:
        return None
    return int(lags[best]) if found[best] > found[0] + 1e-9 else 0


def _read(path: Path, what: str) -> tuple[np.ndarray, int]:
    try:
        samples, rate = read(path)
    except AudioError as error:
        raise Unusable(f"{what}: {error}") from None
    if not np.isfinite(samples).all():
        raise Unusable(f"{what}: holds NaN or infinite samples")
    return samples, rate


def _read_like(path: Path, what: str, clean: np.ndarray, clean_rate: int) -> np.ndarray:
    """Read a file that must have the rate, the channels and about the length of the clean one."""
    samples, rate = _read(path, what)
    tolerance = math.floor(LENGTH_SECONDS * rate)
    for found, expected, unit, largest in (
        (rate, clean_rate, "Hz", 0),
        (samples.shape[1], clean.shape[1], "channels", 0),
        (len(samples), len(clean), "samples", tolerance),
    ):
        if abs(found - expected) > largest:
            raise Unusable(f"{what}: {found} {unit}, expected {expected} as the clean file has")
    return samples


def _mean_scores(
    audio: Recordings, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Score channel by channel; NaN where one of the channels has no score."""
    channels = audio.enhanced.shape[1]
    scores: dict[str, list[float]] = {name: [] for name in names}
    reasons: dict[str, str] = {}
    for channel in range(channels):
        clean = None if audio.clean is None else audio.clean[:, channel]
        noisy = None if audio.noisy is None else audio.noisy[:, channel]
        enhanced = audio.enhanced[:, channel]
        values, failed = table.score(clean, noisy, enhanced, audio.rate, names)
        for name in names:
            scores[name].append(values[name])
        where = f"channel {channel + 1}: " if channels > 1 else ""
        reasons = {name: where + reason for name, reason in failed.items()} | reasons
    return {name: float(np.mean(values)) for name, values in scores.items()}, reasons


def _join(reasons: Mapping[str, str], count: int) -> str:
    """Join reasons by metric to one text; a reason that all metrics share is given once."""
    if len(reasons) == count and len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
