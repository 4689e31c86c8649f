"""Folders of recordings: enhanced in constant memory, several short ones together.

Conventions:
    A result appears when it is complete, with the input's rate, channels, length, sample format,
    tags and metadata.
"""

import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
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
from specmask.enhancement.log import Log, Stamp, stamps_of
from specmask.errors import UserError
from specmask.progress import Progress

TOGETHER = 8  # short files that share the calls of the network
SPREAD_BYTES = 20_000_000  # less is done before other processes have started
REJECTED = "enhance_rejected.csv"


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
    target: Path,
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
        target: folder that receives the results and a log of their settings.
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
    with files.held(target):
        stamps = stamps_of(recordings)  # before they are read
        log = Log.start(target, recordings, model, format, overwrite, run)
        changed = set() if overwrite or log.renewed else log.changed(stamps)
        log.pending |= changed
        log.write()
        todo = [
            r
            for r in recordings
            if overwrite or not r.target.is_file() or log.key(r) in log.pending
        ]
        for r in set(recordings).difference(todo):
            log.sources.setdefault(log.key(r), stamps[r])
        summary, started = Summary(up_to_date=len(recordings) - len(todo)), time.monotonic()
        try:
            left = {r: stamps[r] for r in todo}
            for outcome in _outcomes(left, model, block_seconds, format, workers):
                _count(outcome, summary)
                key = log.key(outcome.recording)
                if outcome.enhanced and log.note(key, stamps[outcome.recording]):
                    summary.renewed += log.renewed
                    summary.changed += key in changed
        finally:
            log.write()
        if spectrograms:
            _draw(recordings)
        summary.seconds = time.monotonic() - started
        audio_io.write_rejected(target / REJECTED, summary.rejected)
        if summary.done or summary.up_to_date:
            return summary
        if len(recordings) == 1:
            raise _unusable(recordings[0], summary)
        first = summary.rejected[0]
        raise UserError(
            f"none of {len(recordings)} files can be used, the first: {first.path}: "
            f"{first.reason}; name a folder of recordings, and see {target / REJECTED}"
        )


def enhance_single(
    recording: Recording,
    model: Enhancer,
    block_seconds: float,
    format: str = AS_INPUT,
    spectrograms: bool = False,
) -> Summary:
    """Enhance one recording into a file with a path of its own, without a log.

    For the arguments see :func:`enhance_folder`.

    Raises:
        UserError: if it cannot be used.
    """
    if spectrograms:
        spectrogram.import_matplotlib()
    summary, started = Summary(), time.monotonic()
    for outcome in _outcomes(stamps_of([recording]), model, block_seconds, format, workers=1):
        _count(outcome, summary)
    if summary.rejected:
        raise _unusable(recording, summary)
    if spectrograms:
        _draw([recording])
    summary.seconds = time.monotonic() - started
    return summary


def _unusable(recording: Recording, summary: Summary) -> UserError:
    reason = summary.rejected[0].reason
    return UserError(f"{recording.source}: {reason}; name another recording")


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
    stamps: Mapping[Recording, Stamp],
    model: Enhancer,
    block_seconds: float,
    format: str,
    workers: int,
) -> Iterator[Outcome]:
    """Enhance files, with their progress in bytes."""
    sizes = {recording: stamp[0] if stamp else 0 for recording, stamp in stamps.items()}
    recordings, total = list(sizes), sum(sizes.values())
    spread = not model.runtime.batched and len(recordings) > 1 and total >= SPREAD_BYTES
    with Progress(total, "enhance") as progress:
        if not spread or parallel.worker_count(workers) == 1:
            outcomes = _in_this_process(sizes, model, block_seconds, format, progress)
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
    sizes: dict[Recording, int],
    model: Enhancer,
    block_seconds: float,
    format: str,
    progress: Progress,
) -> Iterator[Outcome]:
    """Enhance files one after the other, or those of one block together."""
    short: list[tuple[Recording, Layout, np.ndarray]] = []

    def advance(size: int, share: float) -> None:
        progress.update(size * share)

    for recording, size in sizes.items():
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
                        functools.partial(advance, size),
                    )
                    yield Outcome(recording, enhanced)
        except AudioError as error:
            yield Outcome(recording, reason=str(error))
        if len(short) == TOGETHER:
            yield from _together(short, model, format)
            short = []
    yield from _together(short, model, format)


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
