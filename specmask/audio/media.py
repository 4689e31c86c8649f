"""Formats that libsndfile does not read, decoded by PyAV: sound of video, AAC, WMA, Speex."""

import functools
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from specmask.audio.containers import AudioError

SUFFIXES = frozenset(
    f".{name}"
    for name in "m4a aac wma amr webm mp4 mov mkv mka 3gp wv spx".split()  # noqa: SIM905
)
NOT_INSTALLED = "needs PyAV: pip install av, or convert it to flac first, e.g. with ffmpeg"
UNKNOWN_FRAMES = (1 << 63) - 1  # as libsndfile states an unknown length
TOLERANCE_SECONDS = 1.0  # by which a container's duration may be longer than its sound


@functools.cache
def is_installed() -> bool:
    """Return whether PyAV is there; it is imported with the first file that needs it."""
    return importlib.util.find_spec("av") is not None


def is_media(path: PurePath) -> bool:
    """Return whether a file of this name needs PyAV."""
    return path.suffix.lower() in SUFFIXES


def can_read(path: PurePath) -> bool:
    """Return whether a file of this name does not need PyAV, or it is installed."""
    return not is_media(path) or is_installed()


def missing_line(paths: Iterable[str]) -> str:
    """Return one line on the files that need PyAV, where it is not installed; else nothing.

    >>> missing_line(["a.wav"])
    ''
    """
    found = Counter(PurePath(p).suffix.lower() for p in paths if is_media(PurePath(p)))
    if not found or is_installed():
        return ""
    count, names = found.total(), ", ".join(sorted(found))
    return (
        f"{count} {'file' if count == 1 else 'files'} ({names}) left out: "
        f"{'needs' if count == 1 else 'need'} PyAV, pip install av, or convert them to flac"
    )


class MediaFile:
    """A file that PyAV decodes, with the interface of soundfile.SoundFile: its first sound stream.

    Raises:
        AudioError: if it is not readable or has no sound.
    """

    format, subtype, endian = "WAV", "PCM_16", "FILE"  # of an output written in its place
    frames = UNKNOWN_FRAMES

    def __init__(self, path: Path):
        import av

        self._errors: Any = av.error.FFmpegError  # av is imported late
        try:
            self._container = av.open(os.fspath(path), metadata_errors="ignore")
        except self._errors as error:
            raise AudioError(f"not readable as audio: {error.strerror}") from None
        first, problem = None, "no sound in it"
        try:
            if self._container.streams.audio:
                self._stream = self._container.streams.audio[0]
                self._decoded = self._container.decode(self._stream)
                first = next(self._decoded, None)
        except self._errors as error:
            problem = error.strerror or str(error)
        if first is None:
            self.close()
            raise AudioError(f"not readable as audio: {problem}")
        self.samplerate, self.channels = first.sample_rate, first.layout.nb_channels
        # packed float32; a stream may change its rate or layout, which the first frame decides
        self._converter = av.AudioResampler("flt", first.layout, first.sample_rate)
        self._pieces = self._converted(first)
        self._done = 0
        self._at_end = False

    def _converted(self, frame: Any) -> list[np.ndarray]:
        frames = self._converter.resample(frame)
        return [f.to_ndarray().reshape(-1, self.channels) for f in frames]

    def read(self, frames: int = -1, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """Return the next samples, [frames, channels]; fewer at the end.

        Raises:
            RuntimeError: if it is damaged, as soundfile does.
            AudioError: if it is truncated.
        """
        missing = frames - sum(len(p) for p in self._pieces)
        try:
            while not self._at_end and (frames < 0 or missing > 0):
                frame = next(self._decoded, None)
                pieces = self._converted(frame)  # None: what the converter still holds
                self._at_end = frame is None
                self._pieces += pieces
                missing -= sum(len(p) for p in pieces)
        except self._errors as error:
            raise RuntimeError(error.strerror or str(error)) from None
        whole = np.concatenate([np.zeros((0, self.channels), np.float32), *self._pieces])
        count = len(whole) if frames < 0 else frames
        self._pieces = [whole[count:]]
        self._done += len(whole[:count])
        if self._at_end and not len(whole[:count]):
            self._refuse_truncated()
        return whole[:count].astype(dtype, copy=False)

    def _refuse_truncated(self) -> None:
        stream, stated = self._stream, 0.0
        if stream.duration and stream.time_base:
            stated = float(stream.duration * stream.time_base)
        elif self._container.duration and len(self._container.streams) == 1:
            stated = self._container.duration / 1e6
        seconds = self._done / self.samplerate
        if seconds < stated - TOLERANCE_SECONDS:
            raise AudioError(f"truncated: {seconds:.2f} s of {stated:.2f} s")

    def close(self) -> None:
        """Close the file."""
        self._container.close()
