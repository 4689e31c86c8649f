"""Files and folders of recordings: enhanced in constant memory, several short ones together.

Conventions:
    An output lies in the target folder under the input's name and subfolder, complete or not at
    all, with the input's rate, channels, length, sample format and tags. It never lies over an
    input, and never outside the target folder.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from specmask import files, parallel
from specmask.audio import io as audio_io
from specmask.audio import spectrogram
from specmask.audio.io import AudioError, Rejected
from specmask.enhancement import streaming
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.file import AS_INPUT, Writer, blocks, enhance_file
from specmask.errors import UserError

TOGETHER = 8  # short files that share the calls of the network
LOG = "enhanced.json"


@dataclass(frozen=True)
class Job:
    """One recording: where it lies, where its result goes, and its name below the input folder."""

    source: Path
    target: Path
    name: Path


@dataclass
class Summary:
    """What a run over a folder did."""

    done: int = 0
    skipped: int = 0
    limited: int = 0  # samples that were larger than the format can hold
    audio_seconds: float = 0.0
    seconds: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What became of one recording."""

    job: Job
    seconds: float = 0.0
    limited: int = 0
    reason: str | None = None  # why it was set aside


def enhance_folder(
    source: Path,
    target: Path,
    model: Enhancer,
    block_seconds: float,
    overwrite: bool = False,
    glob: str = "*",
    format: str = AS_INPUT,
    workers: int = 1,
    spectrograms: bool = False,
) -> Summary:
    """Enhance every audio file below a folder (or one file) into another folder.

    What has been enhanced with the same settings is skipped. A file that cannot be used is
    reported and does not stop the rest. TensorFlow uses all cores in one process, where short
    files share the calls of the network; the other runtimes use a process a core.

    Args:
        source, target: folders, or a file and a folder.
        model: what :func:`specmask.load` returns.
        block_seconds: audio held in memory at a time.
        overwrite: make again what is there.
        glob: only files whose name or last part of the path matches.
        format: as input, wav or flac.
        workers: processes, for runtimes without TensorFlow; 0: one a core.
        spectrograms: also write a picture of input and result beside each result.

    Raises:
        UserError: if there is nothing to do, the target holds files of another origin, or a
            result would lie over an input.
    """
    jobs = _jobs(source, target, glob, format)
    if spectrograms:
        spectrogram.import_matplotlib()
    target.mkdir(parents=True, exist_ok=True)
    _claim(target, jobs, model, format, overwrite)
    todo = [job for job in jobs if overwrite or not job.target.is_file()]
    summary = Summary(skipped=len(jobs) - len(todo))
    started = time.monotonic()
    if model.runtime.batches:
        results = _in_this_process(todo, model, block_seconds, format)
    else:
        work = partial(_try, model=model, block_seconds=block_seconds, format=format)
        results = parallel.map_chunks(work, todo, workers, "enhance", chunk=1)
    for result in results:
        if result.reason is not None:
            summary.rejected.append(Rejected(result.job.name.as_posix(), result.reason))
            continue
        summary.done += 1
        summary.audio_seconds += result.seconds
        summary.limited += result.limited
        if spectrograms:
            picture = result.job.target.with_name(f"{result.job.target.name}.png")
            spectrogram.write_comparison(result.job.source, result.job.target, picture)
    summary.seconds = time.monotonic() - started
    if not summary.done and not summary.skipped:
        first = summary.rejected[0]
        if source.is_file():
            raise UserError(f"{source}: {first.reason}; name another recording")
        raise UserError(
            f"{source}: none of {len(jobs)} files can be used, the first: "
            f"{first.path}: {first.reason}; name a folder of recordings"
        )
    return summary


def _try(
    job: Job,
    model: Enhancer,
    block_seconds: float,
    format: str,
    tell: Callable[[float], object] = lambda share: None,
) -> Result:
    """Enhance one file, or tell why that is not possible."""
    try:
        return Result(
            job, *enhance_file(job.source, job.target, model, block_seconds, format, tell)
        )
    except AudioError as error:
        return Result(job, reason=str(error))


def _in_this_process(
    jobs: Sequence[Job], model: Enhancer, block_seconds: float, format: str
) -> Iterator[Result]:
    """Enhance files one after the other, neighbours that are short together."""
    sizes = {job.source: _size(job.source) for job in jobs}
    options = {"unit": "B", "unit_scale": True, "disable": None, "smoothing": 0.05}
    with tqdm(total=sum(sizes.values()), desc="enhance", **options) as bar:
        waiting: list[Job] = []
        for job in jobs:
            if model.causal and _is_short(job.source, block_seconds):
                waiting.append(job)
                if len(waiting) < TOGETHER:
                    continue
                ready, alone, waiting = waiting, [], []
            else:
                ready, alone = [], [job]
            for result in _together(ready, model, format):
                bar.update(sizes[result.job.source])
                yield result
            for long in alone:
                size = sizes[long.source]
                tell = lambda share, size=size: bar.update(share * size)  # noqa: E731
                yield _try(long, model, block_seconds, format, tell)
        for result in _together(waiting, model, format):
            bar.update(sizes[result.job.source])
            yield result


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a broken link: opening it tells the reason
        return 0


def _is_short(path: Path, seconds: float) -> bool:
    try:
        with audio_io.opened(path) as file:
            return 0 < file.frames * file.channels <= seconds * file.samplerate
    except AudioError:
        return False


def _together(jobs: Sequence[Job], model: Enhancer, format: str) -> Iterator[Result]:
    """Enhance short files in the same calls of the network."""
    recordings, used = [], []
    for job in jobs:
        try:
            with audio_io.opened(job.source) as file:
                x = np.concatenate(list(blocks(file, file.frames)))
                recordings.append((x, file.samplerate))
            used.append(job)
        except AudioError as error:
            yield Result(job, reason=str(error))
    if not used:
        return
    for job, y, (_, rate) in zip(
        used, streaming.together(recordings, model), recordings, strict=True
    ):
        try:
            with (
                audio_io.opened(job.source) as file,
                files.replacing(job.target) as temporary,
                Writer(temporary, file, format) as out,
            ):
                out.write(y)
            yield Result(job, len(y) / rate, out.limited)
        except AudioError as error:
            yield Result(job, reason=str(error))


def recordings(source: Path, glob: str = "*") -> tuple[Path, list[Path]]:
    """Return the folder and the names in it of one recording, or of all below a folder.

    Raises:
        UserError: if there is none.
    """
    if source.is_file():
        return source.parent, [Path(source.name)]
    advice = (
        "name a recording or a folder of some; without IN, python data/data_prep.py makes a test "
        "set first"
    )
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder; {advice}")
    names = [name for name in audio_io.files(source) if name.match(glob)]
    if not names:
        found = "no audio files" + ("" if glob == "*" else f" that match {glob}")
        raise UserError(f"{source}: {found}; {advice}")
    return source, names


def _jobs(source: Path, target: Path, glob: str, format: str) -> list[Job]:
    """Return what is to be done, checked so that no result can lie over an input or elsewhere."""
    root, names = recordings(source, glob)
    inside = target.resolve()
    if root.resolve() == inside or (target.is_dir() and target.samefile(root)):
        raise UserError(f"{target}: is the input folder itself; name another folder for the output")
    # Results of an earlier run are no input.
    names = [n for n in names if inside not in (root / n).resolve().parents]
    if not names:
        raise UserError(f"{source}: holds results in {target} alone; name a folder of recordings")
    results = zip(names, _renamed(names, format), strict=True)
    jobs = [Job(root / name, target / result, name) for name, result in results]
    inputs = {job.source.resolve() for job in jobs}
    for job in jobs:
        place = job.target.parent.resolve() / job.target.name
        if place in inputs:
            raise UserError(f"{job.target}: is one of the inputs; name another output folder")
        if inside != place.parent and inside not in place.parents:
            raise UserError(
                f"{job.target}: leads out of {target} through a link; name another output folder"
            )
    return jobs


def _renamed(names: Sequence[Path], format: str) -> list[Path]:
    """Return the names of the results: another suffix for another format, no two the same."""
    if format == AS_INPUT:
        return list(names)
    new = [name.with_suffix(f".{format}") for name in names]
    twice = {n for n in new if new.count(n) > 1} if len(set(new)) < len(new) else set()
    return [
        name.with_name(f"{name.name}.{format}") if short in twice else short
        for name, short in zip(names, new, strict=True)
    ]


def _claim(target: Path, jobs: list[Job], model: Enhancer, format: str, overwrite: bool) -> None:
    """Refuse to mix files of two models or settings in one folder; note whose files these are."""
    log = target / LOG
    maker = {"model": model.digest, "channels": model.channels, "highband": model.highband}
    maker |= asdict(model.knobs) | {"format": format}
    existing = next((job for job in jobs if job.target.exists()), None)
    if existing is not None and not overwrite:
        try:
            found = dict(json.loads(log.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            found = {}
        if found != maker:
            whom = "something else" if not found else "other settings"
            if found and found.get("model") != model.digest:
                whom = "another checkpoint"
            raise UserError(
                f"{target}: holds files made by {whom} (the first: {existing.name}); "
                "--overwrite makes them again, or name another output folder"
            )
    with files.replacing(log) as temporary:
        temporary.write_text(json.dumps(maker), encoding="utf-8")
