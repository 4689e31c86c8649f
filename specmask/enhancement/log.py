"""The log of a folder of results, ``enhanced.json``: their settings and recordings."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from specmask import files
from specmask.audio import io as audio_io
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.inputs import Recording
from specmask.errors import UserError

NAME = "enhanced.json"
PENDING = "pending"  # key in the file
SOURCES = "sources"
WRITE_SECONDS = 5  # between two writings: a kill loses no more

Stamp = list[int]  # size in bytes and time of change in ns of a recording; empty: it has none


@dataclass
class Log:
    """What is known of the results in a folder; they are named by their paths in it.

    Attributes:
        folder: of the results.
        settings: that they are made with.
        pending: those that are to be made again and still are the old ones.
        sources: stamps of the recordings that they were made from; logs of earlier versions have
            none.
        renewed: whether the pending ones are of earlier weights of the same run.
        written: when the file was last written.
    """

    folder: Path
    settings: dict[str, object]
    pending: set[str]
    sources: dict[str, Stamp]
    renewed: bool = False
    written: float = 0.0

    @classmethod
    def start(
        cls,
        folder: Path,
        recordings: Sequence[Recording],
        model: Enhancer,
        format: str,
        overwrite: bool,
        run: Path | None,
    ) -> "Log":
        """Return the log of a run that begins, its settings compared with those in the file.

        For the arguments see :func:`specmask.enhancement.folder.enhance_folder`.

        Raises:
            UserError: if files of other settings would stay beside the new ones.
        """
        settings: dict[str, object] = {"model": model.digest, "channels": model.channels}
        settings |= {"highband": model.highband} | asdict(model.knobs) | {"format": format}
        try:
            before = dict(files.parse_json((folder / NAME).read_text(encoding="utf-8")))
            pending = {str(name) for name in before.pop(PENDING, [])}
            sources: dict[str, Stamp] = dict(before.pop(SOURCES, {}))
        except (OSError, ValueError, TypeError):
            before, pending, sources = {}, set(), {}
        origin = files.relative_to(folder, run) if run else ""
        same_run = before.pop("run", "") == origin != ""
        same_run = same_run and before | {"model": model.digest} == settings
        log = cls(folder, settings | ({"run": origin} if origin else {}), pending, sources)
        existing = {log.key(r) for r in recordings if r.target.exists()}
        others = {path.as_posix() for path in audio_io.files(folder)} - existing
        log.pending &= existing | others
        if overwrite:
            log.pending |= existing
            if before and before != settings:
                log.pending |= others
        elif before != settings and same_run and not others:
            log.pending, log.renewed = existing, True
        elif before != settings and (existing or (before and others)):
            maker = "other settings" if before else "another program"
            if before and before.get("model") != model.digest:
                maker = "another checkpoint"
            first = min(existing or others)
            raise UserError(
                f"{folder}: holds files made by {maker} (the first: {first}); "
                f"{'--overwrite makes them again, or ' if existing else ''}name another output "
                "folder"
            )
        return log

    def key(self, recording: Recording) -> str:
        """Return the name of a result."""
        return recording.target.relative_to(self.folder).as_posix()

    def changed(self, stamps: Mapping[Recording, Stamp]) -> set[str]:
        """Return the results whose recordings have changed since they were made."""
        return {
            key
            for recording, stamp in stamps.items()
            if recording.target.is_file()
            and _is_changed(recording, stamp, self.sources.get(key := self.key(recording)))
        }

    def note(self, key: str, stamp: Stamp) -> bool:
        """Note that a result was made; return whether it was pending."""
        self.sources[key] = stamp
        if key not in self.pending:
            return False
        self.pending.remove(key)
        if time.monotonic() - self.written > WRITE_SECONDS:
            self.write()
        return True

    def write(self) -> None:
        """Write the file."""
        content = self.settings | ({PENDING: sorted(self.pending)} if self.pending else {})
        content |= {SOURCES: {key: stamp for key, stamp in sorted(self.sources.items()) if stamp}}
        with files.replacing(self.folder / NAME) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
        self.written = time.monotonic()


def stamps_of(recordings: Iterable[Recording]) -> dict[Recording, Stamp]:
    """Return the stamps of recordings; a broken link has none, and opening it gives the reason."""
    stamps: dict[Recording, Stamp] = {}
    for recording in recordings:
        try:
            status = recording.source.stat()
        except OSError:
            stamps[recording] = []
        else:
            stamps[recording] = [status.st_size, status.st_mtime_ns]
    return stamps


def _is_changed(recording: Recording, stamp: Stamp, before: Stamp | None) -> bool:
    """Return whether a recording has changed since its result was made.

    Without a stored stamp, one that is newer than the result counts as changed.
    """
    if not stamp:
        return False
    return stamp != before if before else stamp[1] > recording.target.stat().st_mtime_ns
