"""Folders of recordings: enhanced in constant memory, several short ones together.

Conventions:
    A result appears when it is complete, with the input's rate, channels, length, sample format,
    tags and metadata.
"""

import functools
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from specmask import files, parallel
from specmask.audio import io as audio_io
from specmask.audio import spectrogram
from specmask.audio.io import AudioError, Rejected
from specmask.enhancement import streaming
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.file import (
    AS_INPUT,
    Enhanced,
    Layout,
    enhance_blocks,
    enhance_file,
    write_file,
)
from specmask.enhancement.inputs import Recording
from specmask.errors import UserError
from specmask.files import parse_json, relative_to
from specmask.progress import Progress

TOGETHER = 8  # short files that share the calls of the network
SPREAD_BYTES = 20_000_000  # less is done before other processes have started
LOG = "enhanced.json"
REJECTED = "enhance_rejected.csv"
LOG_SECONDS = 5  # between two lists of the pending results: a kill loses no more
PENDING = "pending"  # in the log: results that are to be made again and still are the old ones
SOURCES = "sources"  # in the log: size and time of change of the recording of each result

Stamp = list[int]  # size in bytes and time of change in ns of a recording


@dataclass(frozen=True)
class Outcome:
    """The result of one recording, or the reason why it was set aside."""

    recording: Recording
    enhanced: Enhanced | None = None
    reason: str = ""


@dataclass
class Summary:
    """The totals of a run over a folder."""

    done: int = 0
    up_to_date: int = 0
    renewed: int = 0  # results of earlier weights of the same run, made again
    changed: int = 0  # results whose recordings had changed, made again
    limited: dict[str, int] = field(default_factory=dict)  # file -> samples above full scale
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)  # file -> what is not kept
    audio_seconds: float = 0.0
    seconds: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)


def enhance_folder(
    recordings: Sequence[Recording],
    target: Path | None,
    model: Enhancer,
    block_seconds: float,
    overwrite: bool = False,
    format: str = AS_INPUT,
    workers: int = 1,
    spectrograms: bool = False,
    run: Path | None = None,
) -> Summary:
    """Enhance recordings into a folder.

    Recordings that were enhanced with the same settings, and have not changed since, are skipped.
    A file that cannot be used is reported and does not stop the rest. TensorFlow uses all cores in
    one process, where short files share the calls of the network; the other runtimes use a process
    per core.

    Args:
        recordings: of :func:`specmask.enhancement.inputs.find_recordings`, with the same format.
        target: folder that receives the results and a log of their settings; None: no log, for a
            single file with a path of its own.
        model: what :func:`specmask.load` returns.
        block_seconds: audio held in memory at a time.
        overwrite: make existing results again.
        format: as input, wav or flac.
        workers: processes, for runtimes without TensorFlow; 0: one per core.
        spectrograms: also write a picture of input and result beside each result.
        run: whose best weights these are. Results of its earlier weights are made again, those of
            other models are not.

    Raises:
        UserError: if no recording can be used, the target has files of other settings, or another
            process enhances into it.
    """
    if spectrograms:
        spectrogram.import_matplotlib()
    with files.held(target) if target else nullcontext():
        settings: dict[str, object] = {}
        pending: set[str] = set()
        changed: set[str] = set()
        sources: dict[str, Stamp] = {}
        renewed = False
        stamps = {r: _stamp(r.source) for r in recordings}  # before they are read
        if target is not None:
            settings, pending, sources, renewed = _settings(
                target, recordings, model, format, overwrite, run
            )
            if not (overwrite or renewed):
                changed = {
                    key
                    for r in recordings
                    if r.target.is_file()
                    and _is_changed(r, stamps[r], sources.get(key := _key(target, r)))
                }
                pending |= changed
            _write_log(target, settings, pending, sources)
        todo = [
            r
            for r in recordings
            if overwrite or not r.target.is_file() or (target and _key(target, r) in pending)
        ]
        if target is not None:  # logs of earlier versions have no sources
            for r in set(recordings).difference(todo):
                sources.setdefault(_key(target, r), stamps[r])
        summary = Summary(up_to_date=len(recordings) - len(todo))
        started = logged = time.monotonic()
        try:
            for outcome in _outcomes(todo, model, block_seconds, format, workers):
                _count(outcome, summary)
                if target is None or outcome.enhanced is None:
                    continue
                key = _key(target, outcome.recording)
                sources[key] = stamps[outcome.recording]
                if key in pending:
                    pending.remove(key)
                    summary.renewed += renewed
                    summary.changed += key in changed
                    if time.monotonic() - logged > LOG_SECONDS:
                        _write_log(target, settings, pending, sources)
                        logged = time.monotonic()
        finally:
            if target is not None:
                _write_log(target, settings, pending, sources)
        if spectrograms:
            _draw(recordings)
        summary.seconds = time.monotonic() - started
        if target is not None:
            audio_io.write_rejected(target / REJECTED, summary.rejected)
        if not summary.done and not summary.up_to_date:
            first = summary.rejected[0]
            if len(recordings) == 1:
                raise UserError(f"{recordings[0].source}: {first.reason}; name another recording")
            raise UserError(
                f"none of {len(recordings)} files can be used, the first: {first.path}: "
                f"{first.reason}; name a folder of recordings"
                + (f", and see {target / REJECTED}" if target else "")
            )
        return summary


def _count(outcome: Outcome, summary: Summary) -> None:
    """Add a result to the totals."""
    name, enhanced = outcome.recording.name.as_posix(), outcome.enhanced
    if enhanced is None:
        summary.rejected.append(Rejected(name, outcome.reason))
        return
    summary.done += 1
    summary.audio_seconds += enhanced.seconds
    if enhanced.limited:
        summary.limited[name] = enhanced.limited
    if enhanced.lost:
        summary.lost[name] = enhanced.lost


def _draw(recordings: Sequence[Recording]) -> None:
    """Write the pictures that are missing, or older than their results."""
    for recording in recordings:
        picture = recording.target.with_name(f"{recording.target.name}.png")
        if not recording.target.is_file() or (
            picture.is_file() and picture.stat().st_mtime >= recording.target.stat().st_mtime
        ):
            continue
        with suppress(AudioError):  # a result of earlier whose recording cannot be read any more
            spectrogram.write_comparison(recording.source, recording.target, picture)


def _outcomes(
    recordings: Sequence[Recording],
    model: Enhancer,
    block_seconds: float,
    format: str,
    workers: int,
) -> Iterator[Outcome]:
    """Enhance files, with their progress in bytes."""
    sizes = {recording: _size(recording.source) for recording in recordings}
    total = sum(sizes.values())
    spread = not model.runtime.batched and len(recordings) > 1 and total >= SPREAD_BYTES
    with Progress(total, "enhance") as progress:
        if not spread or parallel.worker_count(workers) == 1:
            outcomes = _in_this_process(recordings, sizes, model, block_seconds, format, progress)
        else:
            work = functools.partial(
                _enhance, model=model, block_seconds=block_seconds, format=format
            )
            outcomes = parallel.map_chunks(work, recordings, workers, chunk=1)
        done = 0
        for outcome in outcomes:
            done += sizes[outcome.recording]
            progress.update(done - progress.done)
            yield outcome


def _enhance(recording: Recording, model: Enhancer, block_seconds: float, format: str) -> Outcome:
    """Enhance one file, or return why that is not possible."""
    try:
        return Outcome(
            recording,
            enhance_file(
                recording.source,
                recording.target,
                model,
                block_seconds,
                recording.format(format),
            ),
        )
    except AudioError as error:
        return Outcome(recording, reason=str(error))


def _in_this_process(
    recordings: Sequence[Recording],
    sizes: dict[Recording, int],
    model: Enhancer,
    block_seconds: float,
    format: str,
    progress: Progress,
) -> Iterator[Outcome]:
    """Enhance files one after the other, or those of one block together."""
    short: list[tuple[Recording, Layout, np.ndarray]] = []
    for recording in recordings:
        try:
            with audio_io.AudioFile(recording.source) as file:
                layout = Layout.of(file, recording.source)
                parts = file.blocks(max(1, round(block_seconds * layout.rate)))
                first, second = next(parts), next(parts, None)
                is_short = second is None and first.size <= block_seconds * layout.rate
                if is_short and model.causal and model.runtime.batched:
                    short.append((recording, layout, first))
                else:
                    start = [first] if second is None else [first, second]
                    enhanced = enhance_blocks(
                        itertools.chain(start, parts),
                        layout,
                        recording.target,
                        model,
                        recording.format(format),
                        functools.partial(_advance, progress, sizes[recording]),
                    )
                    yield Outcome(recording, enhanced)
        except AudioError as error:
            yield Outcome(recording, reason=str(error))
        if len(short) == TOGETHER:
            yield from _together(short, model, format)
            short = []
    yield from _together(short, model, format)


def _advance(progress: Progress, size: int, share: float) -> None:
    progress.update(size * share)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a broken link: opening it gives the reason
        return 0


def _together(
    short: Sequence[tuple[Recording, Layout, np.ndarray]], model: Enhancer, format: str
) -> Iterator[Outcome]:
    """Enhance short files in the same calls of the network."""
    if not short:
        return
    enhanced = streaming.enhance_together([(x, layout.rate) for _, layout, x in short], model)
    for (recording, layout, _), y in zip(short, enhanced, strict=True):
        try:
            enhanced_file = write_file(y, layout, recording.target, recording.format(format))
            yield Outcome(recording, enhanced_file)
        except AudioError as error:
            yield Outcome(recording, reason=str(error))


def _settings(
    target: Path,
    recordings: Sequence[Recording],
    model: Enhancer,
    format: str,
    overwrite: bool,
    run: Path | None,
) -> tuple[dict[str, object], set[str], dict[str, Stamp], bool]:
    """Compare the settings with those of the files that a folder holds.

    Returns:
        the settings for the log; the results in the folder that are to be made again, which a
        kill leaves in the log as pending; the recordings that results were made from, as far as
        they are known; whether the results to be made again are of earlier weights of the run.

    Raises:
        UserError: if files of other settings would stay beside the new ones.
    """
    settings: dict[str, object] = {"model": model.digest, "channels": model.channels}
    settings |= {"highband": model.highband} | asdict(model.knobs) | {"format": format}
    try:
        before = dict(parse_json((target / LOG).read_text(encoding="utf-8")))
        pending = {str(name) for name in before.pop(PENDING, [])}
        sources: dict[str, Stamp] = dict(before.pop(SOURCES, {}))
    except (OSError, ValueError, TypeError):
        before, pending, sources = {}, set(), {}
    origin = relative_to(target, run) if run else ""
    same_run = before.pop("run", "") == origin != ""
    same_run = same_run and before | {"model": model.digest} == settings
    existing = {_key(target, r) for r in recordings if r.target.exists()}
    others = {path.as_posix() for path in audio_io.files(target)} - existing
    pending &= existing | others
    renewed = False
    if overwrite:
        pending |= existing
        if before and before != settings:
            pending |= others
    elif before != settings and same_run and not others:
        pending, renewed = existing, True
    elif before != settings and (existing or (before and others)):
        maker = "other settings" if before else "another program"
        if before and before.get("model") != model.digest:
            maker = "another checkpoint"
        first = min(existing or others)
        raise UserError(
            f"{target}: holds files made by {maker} (the first: {first}); "
            f"{'--overwrite makes them again, or ' if existing else ''}name another output folder"
        )
    return settings | ({"run": origin} if origin else {}), pending, sources, renewed


def _key(target: Path, recording: Recording) -> str:
    """Return the name of a result in the log of its folder."""
    return recording.target.relative_to(target).as_posix()


def _stamp(source: Path) -> Stamp:
    try:
        status = source.stat()
    except OSError:  # a broken link: opening it gives the reason
        return []
    return [status.st_size, status.st_mtime_ns]


def _is_changed(recording: Recording, stamp: Stamp, before: Stamp | None) -> bool:
    """Return whether a recording is another than its result was made from.

    Where that one is not known, a recording that is newer than the result is taken for another.
    """
    if not stamp:
        return False
    return stamp != before if before else stamp[1] > recording.target.stat().st_mtime_ns


def _write_log(
    target: Path, settings: dict[str, object], pending: set[str], sources: dict[str, Stamp]
) -> None:
    content = settings | ({PENDING: sorted(pending)} if pending else {})
    content |= {SOURCES: {key: stamp for key, stamp in sorted(sources.items()) if stamp}}
    with files.replacing(target / LOG) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
