"""Which enhanced file belongs to which clean one, and the scores of all of them.

Conventions:
    A file's name is its path below its folder with forward slashes and without the suffix.
    The condition of a file is the SNR and the type of the noise that it was made with.
    Channels are scored one by one, and the mean over them is the score of the file.
    A file that cannot be scored keeps its row, with NaN and the reason.
"""

import csv
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.fft

from specmask import audio, baselines, metrics, parallel, scores
from specmask.config import SPLITS
from specmask.errors import UserError

NOISY = "noisy"
BUILT_IN = (NOISY, *baselines.BASELINES, *baselines.ORACLES)
FILES_A_TASK = 4  # a file takes about 0.3 s, most of it for PESQ and STOI
LAG_SECONDS = 0.1  # delays are looked for up to this long,
ALIGNED_SECONDS = 30  # in the first part of a file

# what scores depend on
PACKAGES = (
    *("specmask", "numpy", "scipy", "soundfile", "soxr"),
    *("pesq", "pystoi", "fast_bss_eval", "speechmos", "onnxruntime"),
)

# noisy12_SNRdb_-3.00_clnsp12, as data_prep and MS-SNSD name their files
_OUR_NAME = re.compile(r"^noisy.*_SNRdb_(?P<snr>-?(?:[\d.]+|inf))_(?P<clean>clnsp.+)$")
# sp01_car_sn5, as NOIZEUS does
_NOIZEUS_NAME = re.compile(r"^(?P<clean>sp\d+)_(?P<noise>.+)_sn(?P<snr>-?\d+)$")


@dataclass(frozen=True)
class Condition:
    """What a noisy file was made of, as far as it is known.

    Attributes:
        snr_db: None if not known.
        noise_type, speaker: empty if not known.
    """

    snr_db: float | None = None
    noise_type: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Pair:
    """A file to be scored and its reference.

    Attributes:
        name: of the file to be scored.
        clean, enhanced: where they lie.
    """

    name: str
    clean: Path
    enhanced: Path


@dataclass(frozen=True)
class Task:
    """All that a worker needs to make a row of the table.

    Attributes:
        system: what made the enhanced file.
        name: of the noisy file, or of the enhanced one where there is none.
        clean_file: path below the clean folder.
        clean, noisy, enhanced: where they lie; with a baseline, enhanced is the noisy file.
        baseline: name of the baseline to apply first, or empty.
        condition: what the noisy file was made of.
    """

    system: str
    name: str
    clean_file: str
    clean: Path
    noisy: Path | None
    enhanced: Path
    baseline: str
    condition: Condition


class _Unusable(Exception):
    """A pair of files that cannot be compared; the text is the reason.

    Attributes:
        rate: of the clean file in Hz, 0 if not even that is known.
    """

    rate = 0


def pair(clean_dir: Path, enhanced_dir: Path) -> list[Pair]:
    """Find the clean file of every enhanced one, and see that no clean file is left over.

    Files belong together that have the same name, the same name without folders, or that a
    naming of noisy files connects: noisy12_SNRdb_-3.00_clnsp12 with clnsp12 (data_prep,
    MS-SNSD), sp01_car_sn5 with sp01 (NOIZEUS). One clean file may have many enhanced ones.

    Returns:
        pairs, sorted by name.

    Raises:
        UserError: if a folder is missing or empty, or a file has no or no clear counterpart.
    """
    clean, enhanced = _index(clean_dir), _index(enhanced_dir)
    by_stem: dict[str, list[str]] = {}
    for name in clean:
        by_stem.setdefault(_stem(name), []).append(name)
    found = {name: _counterpart(name, clean, by_stem, clean_dir) for name in enhanced}
    orphans = [name for name in enhanced if found[name] is None]
    if orphans:
        raise UserError(
            f"{enhanced[orphans[0]]}: no clean file for it in {clean_dir} ({len(orphans)} of "
            f"{len(enhanced)} files have none); expected the same name, or NAME_clnspN.wav for "
            "clnspN.wav; remove them or name another folder"
        )
    left = sorted(clean.keys() - found.values())
    if left:
        raise UserError(
            f"{enhanced_dir}: no file for {clean[left[0]]} ({len(left)} of {len(clean)} clean "
            "files have none); process all of them, or score against a folder of fewer"
        )
    return [Pair(name, clean[found[name]], path) for name, path in enhanced.items()]


def read_manifest(path: Path) -> dict[str, Condition]:
    """Read the conditions of noisy files by their name without folders.

    Args:
        path: a manifest of data_prep (CSV with noisy_file, snr_db, noise_type), or a JSON list
            of objects with id, snr_db and noise; a speaker is read where there is one.

    Raises:
        UserError: if it is neither.
    """
    expected = (
        "expected a CSV file with the columns noisy_file, snr_db, noise_type, or a JSON list of "
        "objects with id, snr_db, noise"
    )
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = [(r["id"], r["snr_db"], r["noise"], r.get("speaker")) for r in json.loads(text)]
        else:
            rows = [
                (r["noisy_file"], r["snr_db"], r["noise_type"], r.get("speaker"))
                for r in csv.DictReader(text.splitlines())
            ]
        return {
            _stem(_without_suffix(str(name))): Condition(
                _number(snr), str(noise or ""), str(speaker or "")
            )
            for name, snr, noise, speaker in rows
        }
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a manifest with --by") from None
    except KeyError as error:
        raise UserError(f"{path}: an entry has no {error}; {expected}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest ({error}); {expected}") from None


def manifest_beside(folder: Path) -> Path | None:
    """Return the manifest that data_prep wrote beside a folder of its files, if there is one."""
    for split in SPLITS:
        path = folder.parent / f"manifest_{split}.csv"
        if folder.name.endswith(f"_{split}") and path.is_file():
            return path
    return None


def evaluate(
    clean_dir: Path,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
    workers: int = 0,
    names: Sequence[str] = metrics.METRICS,
    folder: Path | None = None,
) -> list[dict]:
    """Score every file of every system.

    Args:
        clean_dir: the references.
        systems: folder of enhanced files by name of the system.
        noisy_dir: the noisy files: scored as the system ``noisy``, and what improvements are
            measured from. Without it there are no improvements and no baselines.
        baseline_names: of :data:`specmask.baselines.BASELINES` and
            :data:`specmask.baselines.ORACLES`, applied to the noisy files.
        by: manifest with the condition of every file; without one it is the manifest that
            data_prep wrote beside the data, or else the names tell what they can.
        workers: number of processes; 0: one a core.
        names: of the metrics.

        folder: where rows of an earlier run are kept. What has been scored there already, of
            the same files with the same packages, is not scored again; new rows are added.

    Returns:
        rows: system, file, clean_file, snr_db (None if not known), noise_type, speaker, lag (by
        how many samples the file lags behind the clean one, None if not known), a column a
        metric (``pesq`` becomes ``pesq_wb`` or ``pesq_nb``), reason (empty if all is well), and
        a digest of what the row was made from.
        A row has no key ``pesq_nb`` where wideband is measured, and the other way round.

    Raises:
        UserError: if files have no counterpart, or a name is unknown or taken.
    """
    if noisy_dir is None:
        names = [n for n in names if n not in metrics.NEED_NOISY]
    all_tasks = tasks(clean_dir, systems, noisy_dir, baseline_names, by)
    digests = [digest(task, names) for task in all_tasks]
    known = scores.read(folder) if folder else {}
    todo = [t for t, made_from in zip(all_tasks, digests, strict=True) if made_from not in known]
    function = partial(score_files, names=tuple(names))
    with scores.appending(folder) as keep:
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
    facts: list = [task.system, task.name, task.baseline, *names]
    for path in (task.clean, task.noisy, task.enhanced):
        status = path.stat() if path else None
        facts.append((str(path), status and (status.st_size, status.st_mtime_ns)))
    facts.append(versions())
    return hashlib.blake2b(repr(facts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


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


def score_files(task: Task, names: Sequence[str] = metrics.METRICS) -> dict:
    """Make one row of the table; see :func:`evaluate`."""
    values, reasons, rate, lag = dict.fromkeys(names, math.nan), {}, 0, None
    try:
        heard = signals(task)
        rate = heard.rate
        lag = best_lag(audio.to_mono(heard.clean), audio.to_mono(heard.enhanced), rate)
        values, reasons = _mean_score(heard.clean, heard.noisy, heard.enhanced, rate, names)
        if heard.noisy_reason:
            reasons |= {n: heard.noisy_reason for n in names if n in metrics.NEED_NOISY}
    except _Unusable as error:
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
            except _Unusable as error:
                noisy_reason = str(error)
        if task.enhanced != task.noisy:
            enhanced = _read_like(task.enhanced, "enhanced", clean, rate)
        elif noisy is None:
            raise _Unusable(noisy_reason)
        elif task.baseline:
            channels = zip(noisy.T, clean.T, strict=True)
            function = partial(baselines.apply, task.baseline)
            enhanced = np.stack([function(n, c, rate) for n, c in channels], axis=1)
        else:
            enhanced = noisy
    except _Unusable as error:
        error.rate = rate
        raise
    return Heard(clean, noisy, enhanced, rate, noisy_reason)


def best_lag(clean: np.ndarray, enhanced: np.ndarray, rate: int) -> int | None:
    """Return by how many samples the enhanced signal lags behind the clean one.

    It is where their cross-correlation is largest, within ±0.1 s, in the first 30 s; 0 where it
    is no larger than without a lag.

    Args:
        clean, enhanced: [samples].
        rate: in Hz.

    Returns:
        samples, negative if the enhanced signal comes first; None if one of the two is silent.
    """
    s, e = (np.asarray(x[: ALIGNED_SECONDS * rate], np.float64) for x in (clean, enhanced))
    furthest = min(len(s) - 1, round(LAG_SECONDS * rate))
    if furthest < 1 or not s.any() or not e.any():
        return None
    size = scipy.fft.next_fast_len(len(s) + furthest, real=True)
    spectrum = np.conj(scipy.fft.rfft(s, size)) * scipy.fft.rfft(e, size)
    correlation = scipy.fft.irfft(spectrum, size)
    lags = np.r_[0, np.arange(1, furthest + 1), -np.arange(1, furthest + 1)]
    found = correlation[lags]
    best = int(np.argmax(found))
    clearly = found[best] > found[0] + 1e-9 * np.abs(found).max()
    return int(lags[best]) if clearly else 0


def tasks(
    clean_dir: Path,
    systems: Mapping[str, Path],
    noisy_dir: Path | None = None,
    baseline_names: Sequence[str] = (),
    by: Path | None = None,
) -> list[Task]:
    """Return what is to be scored, system by system; see :func:`evaluate` for the arguments."""
    noisy = pair(clean_dir, noisy_dir) if noisy_dir else []
    folders = {NOISY: noisy_dir} if noisy_dir else {}
    for name in baseline_names:
        if name not in BUILT_IN[1:]:
            raise UserError(f"--baseline {name}: unknown; known are {', '.join(BUILT_IN[1:])}")
        if noisy_dir is None:
            raise UserError(f"--baseline {name}: no noisy files to run it on; add --noisy DIR")
        folders[name] = noisy_dir
    taken = {*BUILT_IN, *folders} & systems.keys()
    if taken:
        raise UserError(f"--system {min(taken)}=...: this name is taken; choose another")
    manifest = by or manifest_beside(noisy_dir or clean_dir)
    conditions = read_manifest(manifest) if manifest else {}
    found = []
    for system, folder in {**folders, **systems}.items():
        pairs = noisy if folder == noisy_dir else pair(clean_dir, folder)
        match = _noisy_of(pairs, noisy, noisy_dir) if noisy_dir else dict.fromkeys(pairs)
        for p in pairs:
            origin = match[p]
            name = origin.name if origin else p.name
            found.append(
                Task(
                    system=system,
                    name=name,
                    clean_file=p.clean.relative_to(clean_dir).as_posix(),
                    clean=p.clean,
                    noisy=origin.enhanced if origin else None,
                    enhanced=p.enhanced,
                    baseline=system if system in baseline_names else "",
                    condition=conditions.get(_stem(name)) or condition_of(_stem(name)),
                )
            )
    unknown = sorted({t.name for t in found if _stem(t.name) not in conditions})
    if by and unknown:
        raise UserError(
            f"--by {by}: no entry for {unknown[0]} ({len(unknown)} files have none); "
            "name the manifest of these files"
        )
    return found


def _noisy_of(pairs: Sequence[Pair], noisy: Sequence[Pair], noisy_dir: Path) -> dict[Pair, Pair]:
    """Find the noisy file of every enhanced one: by name, or as the only one of its clean file."""
    by_name = {p.name: p for p in noisy}
    by_stem, by_clean = {}, {}
    for p in noisy:
        by_stem.setdefault((_stem(p.name), p.clean), []).append(p)
        by_clean.setdefault(p.clean, []).append(p)
    found = {}
    for p in pairs:
        same = by_name.get(p.name)
        if same and same.clean == p.clean:
            found[p] = same
            continue
        matches = by_stem.get((_stem(p.name), p.clean)) or by_clean[p.clean]
        if len(matches) > 1:
            raise UserError(
                f"{p.enhanced}: {len(matches)} noisy files in {noisy_dir} fit, among them "
                f"{matches[0].enhanced.name}; name enhanced files like the noisy ones"
            )
        found[p] = matches[0]
    return found


def condition_of(stem: str) -> Condition:
    """Return what the name of a noisy file tells, without its folders and suffix."""
    match = _OUR_NAME.match(stem) or _NOIZEUS_NAME.match(stem)
    if not match:
        return Condition()
    return Condition(_number(match["snr"]), match.groupdict().get("noise", ""))


def _index(folder: Path) -> dict[str, Path]:
    """Return the audio files below a folder by name, in order."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct the path, or make its files first")
    found: dict[str, Path] = {}
    for relative in audio.files(folder):
        name = _without_suffix(relative.as_posix())
        if name in found:
            raise UserError(
                f"{folder / relative}: {found[name].name} has the same name; keep one of them"
            )
        found[name] = folder / relative
    if not found:
        raise UserError(f"{folder}: no audio files; correct the path, or make its files first")
    return found


def _counterpart(
    name: str, clean: Mapping[str, Path], by_stem: Mapping[str, list[str]], clean_dir: Path
) -> str | None:
    if name in clean:
        return name
    stem = _stem(name)
    match = _OUR_NAME.match(stem) or _NOIZEUS_NAME.match(stem)
    for candidate in (stem, match["clean"] if match else stem):
        names = by_stem.get(candidate, [])
        if len(names) > 1:
            raise UserError(
                f"{name}: {len(names)} clean files in {clean_dir} fit, among them {names[0]} and "
                f"{names[1]}; keep the folders of the clean files in the enhanced ones"
            )
        if names:
            return names[0]
    return None


def _read(path: Path, what: str) -> tuple[np.ndarray, int]:
    try:
        samples, rate = audio.read(path)
    except audio.AudioError as error:
        raise _Unusable(f"{what}: {error}") from None
    if not np.isfinite(samples).all():
        raise _Unusable(f"{what}: holds NaN or infinite samples")
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
            raise _Unusable(f"{what}: {found} {unit}, expected {expected} as the clean file has")
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
        values, failed = metrics.score(clean[:, channel], heard, enhanced[:, channel], rate, names)
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


def _number(text: object) -> float | None:
    """Return a number, None for nothing; raises ValueError or TypeError for anything else."""
    return None if text in ("", None) else float(text)


def _stem(name: str) -> str:
    return PurePosixPath(name).name


def _without_suffix(name: str) -> str:
    """Drop the suffix of an audio file only: noisy1_SNRdb_-3.00 has none."""
    path = PurePosixPath(name)
    return name.removesuffix(path.suffix) if path.suffix.lower() in audio.SUFFIXES else name
