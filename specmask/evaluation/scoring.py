"""The scores of every file of every system, in parallel, and what they depend on.

Conventions:
    Channels are scored one by one, and the mean over them is the score of the file.
    A file that cannot be scored keeps its row, with NaN and the reason.
    Which file belongs to which is told by :mod:`specmask.evaluation.pairing`.
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
from specmask.audio import io as audio_io
from specmask.evaluation import baselines, oracles, pairing, score_table
from specmask.evaluation.metrics import table
from specmask.evaluation.pairing import Task

FILES_A_TASK = 4  # a file takes about 0.3 s, most of it for PESQ and STOI
LAG_SECONDS = 1.0  # delays are looked for up to this long,
ALIGNED_SECONDS = 30  # in the first part of a file,
LEAST_CORRELATION = 0.1  # and not where the two signals have nothing in common

# what scores depend on
# Of the code that makes scores; scores of another version are made anew. Any new text will do.
VERSION = "186c5e95eca5c3edcffe03a9"
PACKAGES = (
    *("specmask", "numpy", "scipy", "soundfile", "soxr"),
    *("pesq", "pystoi", "fast_bss_eval", "speechmos", "onnxruntime"),
)


class Unusable(Exception):
    """A pair of files that cannot be compared; the text is the reason.

    Attributes:
        rate: of the clean file in Hz, 0 if not even that is known.
    """

    rate = 0


def evaluate(
    clean_dir: Path,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
    ideal: oracles.Settings | None = None,
    workers: int = 0,
    names: Sequence[str] = table.METRICS,
    folder: Path | None = None,
) -> list[dict]:
    """Score every file of every system.

    Args:
        clean_dir, systems, noisy_dir, baseline_names, by, ideal: of
            :func:`specmask.evaluation.pairing.tasks`. Without noisy files there are no
            improvements.
        workers: number of processes; 0: one a core.
        names: of the metrics.
        folder: where rows of an earlier run are kept. What has been scored there already, of
            the same files with the same packages, is not scored again; new rows are added.

    Returns:
        rows: system, file, clean_file, snr_db (None if not known), noise_type, speaker, lag (by
        how many samples the file lags behind the clean one, None if that cannot be told), a
        column a metric (``pesq`` becomes ``pesq_wb`` or ``pesq_nb``), reason (empty if all is
        well), and a digest of what the row was made from.
        A row has no key ``pesq_nb`` where wideband is measured, and the other way round.

    Raises:
        UserError: if files have no counterpart, or a name is unknown or taken.
    """
    if noisy_dir is None:
        names = [n for n in names if n not in table.NEED_NOISY]
    all_tasks = pairing.tasks(clean_dir, systems, noisy_dir, baseline_names, by, ideal)
    digests = [digest(task, names) for task in all_tasks]
    known = score_table.read(folder) if folder else {}
    todo = [t for t, made_from in zip(all_tasks, digests, strict=True) if made_from not in known]
    function = partial(score_files, names=tuple(names))
    with score_table.appending(folder) as keep:
        for row in parallel.map_chunks(function, todo, workers, "score", FILES_A_TASK):
            keep(row)
            known[row["digest"]] = row
    rows = [
        known[made_from] | _about(task) for task, made_from in zip(all_tasks, digests, strict=True)
    ]
    # A file of unknown rate counts as one that is missing in every column of PESQ.
    seen = {key: None for row in rows for key in row if key.startswith("pesq_")} or ["pesq_wb"]
    for row in rows:
        if "pesq" in row:
            row |= dict.fromkeys(seen, row.pop("pesq"))
    return rows


def digest(task: Task, names: Sequence[str]) -> str:
    """Return what a row depends on, as a short text: files, their size and time, metrics, packages.

    A file that is written again has another time, and is scored again.
    """
    facts: list = [task.system, task.name, task.baseline, task.ideal, *names]
    for path in (task.clean, task.noisy, task.enhanced):
        facts.append((str(path), path and _state(path)))
    facts += [versions(), VERSION]
    return hashlib.blake2b(repr(facts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # a broken link: its row will tell
        return None
    return status.st_size, status.st_mtime_ns


@cache
def versions() -> dict[str, str]:
    """Return the version of every package that scores depend on."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _about(task: Task) -> dict:
    return {
        "system": task.system,
        "file": task.name,
        "clean_file": task.clean_file,
        "snr_db": task.condition.snr_db,
        "noise_type": task.condition.noise_type,
        "speaker": task.condition.speaker,
    }


def score_files(task: Task, names: Sequence[str] = table.METRICS) -> dict:
    """Make one row of the table; see :func:`evaluate`."""
    values, reasons, rate, lag = dict.fromkeys(names, math.nan), {}, 0, None
    try:
        heard = signals(task)
        rate = heard.rate
        lag = best_lag(audio_io.to_mono(heard.clean), audio_io.to_mono(heard.enhanced), rate)
        values, reasons = _mean_score(heard.clean, heard.noisy, heard.enhanced, rate, names)
        if heard.noisy_reason:
            reasons |= {n: heard.noisy_reason for n in names if n in table.NEED_NOISY}
    except Unusable as error:
        reasons = dict.fromkeys(names, str(error))
        rate = error.rate
    columns = {name: _column(name, rate) for name in names}
    row = _about(task) | {"lag": lag} | {columns[name]: values[name] for name in names}
    row["reason"] = _join({columns[name]: reason for name, reason in reasons.items()}, len(names))
    row["digest"] = digest(task, names)
    return row


@dataclass(frozen=True)
class Heard:
    """The audio of a task: float32 [frames, channels] at a rate in Hz.

    Attributes:
        noisy: None where there is none, or where it cannot be used: noisy_reason tells why.
    """

    clean: np.ndarray
    noisy: np.ndarray | None
    enhanced: np.ndarray
    rate: int
    noisy_reason: str = ""


def signals(task: Task) -> Heard:
    """Read the files of a task and apply its baseline, if it has one."""
    clean, rate = _read(task.clean, "clean")
    noisy, noisy_reason = None, ""
    try:
        if task.noisy:
            try:
                noisy = _read_like(task.noisy, "noisy", clean, rate)
            except Unusable as error:
                noisy_reason = str(error)
        if task.enhanced != task.noisy:
            enhanced = _read_like(task.enhanced, "enhanced", clean, rate)
        elif noisy is None:
            raise Unusable(noisy_reason)
        elif task.baseline:
            channels = zip(noisy.T, clean.T, strict=True)
            enhanced = np.stack([_processed(task, n, c, rate) for n, c in channels], axis=1)
        else:
            enhanced = noisy
    except Unusable as error:
        error.rate = rate
        raise
    return Heard(clean, noisy, enhanced, rate, noisy_reason)


def _processed(task: Task, noisy: np.ndarray, clean: np.ndarray, rate: int) -> np.ndarray:
    """Apply the baseline or the oracle of a task to a channel [samples]."""
    if task.baseline in oracles.ORACLES:
        return oracles.apply(task.baseline, noisy, clean, rate, task.ideal)
    return baselines.BASELINES[task.baseline](noisy, rate)


def best_lag(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> int | None:
    """Return by how many samples the enhanced signal lags behind the clean one.

    It is where their cross-correlation is largest in magnitude (a changed sign is no delay),
    within ±1 s, in the first 30 s; 0 where it is no larger than without a lag.

    Args:
        clean, enhanced: [samples].
        rate: in Hz.

    Returns:
        samples, negative if the enhanced signal comes first; None if one of the two is silent,
        or they have too little in common to tell (a correlation below 0.1).
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
        samples, rate = audio_io.read(path)
    except audio_io.AudioError as error:
        raise Unusable(f"{what}: {error}") from None
    if not np.isfinite(samples).all():
        raise Unusable(f"{what}: holds NaN or infinite samples")
    return samples, rate


def _read_like(path: Path, what: str, clean: np.ndarray, clean_rate: int) -> np.ndarray:
    """Read a file that must have the rate, channels and length of the clean one."""
    samples, rate = _read(path, what)
    for found, expected, unit in (
        (rate, clean_rate, "Hz"),
        (samples.shape[1], clean.shape[1], "channels"),
        (len(samples), len(clean), "samples"),
    ):
        if found != expected:
            raise Unusable(f"{what}: {found} {unit}, expected {expected} as the clean file has")
    return samples


def _mean_score(
    clean: np.ndarray,
    noisy: np.ndarray | None,
    enhanced: np.ndarray,
    rate: int,
    names: Sequence[str],
) -> tuple[dict[str, float], dict[str, str]]:
    """Score [frames, channels] channel by channel; NaN where one of the channels has no score."""
    channels = clean.shape[1]
    scores: dict[str, list[float]] = {name: [] for name in names}
    reasons: dict[str, str] = {}
    for channel in range(channels):
        heard = None if noisy is None else noisy[:, channel]
        values, failed = table.score(clean[:, channel], heard, enhanced[:, channel], rate, names)
        for name in names:
            scores[name].append(values[name])
        where = f"channel {channel + 1}: " if channels > 1 else ""
        reasons = {name: where + reason for name, reason in failed.items()} | reasons
    return {name: float(np.mean(values)) for name, values in scores.items()}, reasons


def _column(name: str, rate: int) -> str:
    """Name of a metric's column; PESQ of different bandwidths must not get into one mean."""
    if name != "pesq" or not rate:
        return name
    return f"pesq_{'wb' if rate >= 16000 else 'nb'}"


def _join(reasons: Mapping[str, str], count: int) -> str:
    """Put reasons by metric into one text, once where all metrics have the same."""
    if len(reasons) == count and len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
