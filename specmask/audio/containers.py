"""Length of the sound in an audio file, from its container and not from its header alone.

libsndfile believes headers: it stops where they say that the sound ends. What they say is compared
with what is in the file:

    WAV, RF64, W64, AIFF, AU   size of the data chunk, with the size of the file
    Ogg                        pages: the last one is marked, further streams may follow (RFC 3533)
    MP3                        frame headers, with the number of frames in the Xing header
    FLAC                       number of samples, which may be unknown; further streams may follow

A file that has less than its header states is truncated. One that has more is decoded in parts: a
part is a range of bytes with a header of its own before it.
"""

import functools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

LARGEST_BYTES = 0xFFFFFFFF  # of a size of 32 bits
TAG_BYTES = 256  # of a tag after the frames of MP3, at most
PADDING_BYTES = 4096  # after a data chunk, at most: a block of a disk
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")
HEADER_BYTES, WINDOW_BYTES = 1 << 12, 1 << 20  # read at a time: of headers, of a whole file
MS_ADPCM, IMA_ADPCM, GSM610, NMS_ADPCM = 0x02, 0x11, 0x31, 0x38  # codes in the fmt chunk of WAV


class AudioError(Exception):
    """An audio file that cannot be used; the text is the reason, without the file's name."""


@dataclass(frozen=True)
class Part:
    """A range of bytes of a file that is decoded as a separate file, after a header."""

    header: bytes
    start: int
    stop: int


@dataclass(frozen=True)
class Container:
    """How a file is to be decoded, and how long it is.

    Attributes:
        parts: to be decoded one after the other; empty: the file as it is.
        samples: per channel, of codecs that code a block of samples at a time, whose last block
            may be longer; 0: not stated.
        block: the number of samples of such a block.
        counted: number of samples that the decoder must reach; where it would end before without
            parts, these are needed.
        stated: the number of samples that libsndfile gives is stated in the file, not estimated.
    """

    parts: tuple[Part, ...] = ()
    samples: int = 0
    block: int = 0
    counted: int = 0
    stated: bool = True


@functools.lru_cache(maxsize=4096)
def examine(path: Path, size: int, modified_ns: int) -> Container:
    """Return how a file is to be decoded.

    Args:
        path: of the file.
        size: of the file, in bytes.
        modified_ns: time of its last change: with the size, what a result is kept for.

    Raises:
        AudioError: if the file has less sound than it states, or more that may be something else.
        OSError: if it cannot be read.
    """
    with path.open("rb", buffering=0) as raw:
        file = _Window(raw, size)
        for start, reader in _READERS.items():
            if file.at(0, len(start)) == start:
                try:
                    return reader(file)
                except struct.error:
                    raise AudioError(f"truncated: {size} bytes, which end in the header") from None
        if file.at(0, 3) == b"ID3" or _mpeg_frame(file.at(0, 4)):
            return _mpeg(file)
    return Container()


class _Window:
    """Bytes of a file at any position, read ``window`` bytes at a time."""

    def __init__(self, raw: RawIOBase, size: int):
        self.size = size
        self.window = HEADER_BYTES
        self._raw = raw
        self._start = 0
        self._bytes = b""

    def at(self, position: int, count: int) -> bytes:
        """Return bytes; fewer at the end of the file."""
        first = position - self._start
        if first < 0 or first + count > len(self._bytes):
            self._raw.seek(position)
            self._bytes = self._raw.read(max(count, self.window)) or b""
            self._start, first = position, 0
        return self._bytes[first : first + count]


# ---------------------------------------------------------------- chunks


def _wav(file: _Window) -> Container:
    """WAV, also with the 64-bit sizes of RF64 (EBU Tech 3306): chunks of name, size and content."""
    order = ">" if file.at(0, 4) == b"RIFX" else "<"
    position, fmt, fact, long_size = 12, b"", 0, 0
    while position + 8 <= file.size:
        name, size = struct.unpack(f"{order}4sI", file.at(position, 8))
        position += 8
        if name == b"data":
            break
        if name == b"fmt ":
            fmt = file.at(position, min(size, 1024))
        if name == b"fact" and size >= 4:
            (fact,) = struct.unpack(f"{order}I", file.at(position, 4))
        if name == b"ds64" and size >= 16:
            (long_size,) = struct.unpack("<Q", file.at(position + 8, 8))
        position += size + size % 2
    else:
        return Container()  # no sound: libsndfile says so
    if size == LARGEST_BYTES and long_size:
        size = long_size
    available = file.size - position
    samples, block = _coded_samples(fmt, fact, order)
    if _is_unknown(size) and available <= size:
        return Container(samples=samples, block=block)
    if size > available + 1:  # some writers count a byte of padding that they do not write
        raise AudioError(f"truncated: {available} bytes of {size}")
    if _is_chunks(file, position + size + size % 2, order):
        return Container(samples=samples, block=block)
    if size == 0 or _is_unknown(size):  # the recorder crashed, or wrote to a pipe
        whole = available
    else:  # the size has lost its upper bits
        whole = size + (available - size) // (LARGEST_BYTES + 1) * (LARGEST_BYTES + 1)
    if not _is_chunks(file, position + whole + whole % 2, order):
        _refuse_sound_after(file, position + whole, whole)
    if whole == size:
        return Container(samples=samples, block=block)
    header = _wav_header(file.at(0, position - 8), fmt, whole, order)
    return Container((Part(header, position, position + whole),))


def _coded_samples(fmt: bytes, fact: int, order: str) -> tuple[int, int]:
    """Return the number of samples of the fact chunk and of a block, for codecs with blocks."""
    if len(fmt) < 16:
        return 0, 0
    (code,) = struct.unpack_from(f"{order}H", fmt)
    if code == NMS_ADPCM:
        return fact, 160
    if code not in (MS_ADPCM, IMA_ADPCM, GSM610) or len(fmt) < 20:
        return 0, 0
    (block,) = struct.unpack_from(f"{order}H", fmt, 18)
    return fact, block


def _wav_header(start: bytes, fmt: bytes, size: int, order: str) -> bytes:
    """Return the header of a WAV file again, with another size of the data."""
    if size + len(start) + 8 <= LARGEST_BYTES:
        total = struct.pack(f"{order}I", len(start) + size)
        return start[:4] + total + start[8:] + b"data" + struct.pack(f"{order}I", size)
    form = b"ds64" + struct.pack("<IQQQI", 28, size + 100, size, 0, 0)
    form += b"fmt " + struct.pack("<I", len(fmt)) + fmt
    unknown = struct.pack("<I", LARGEST_BYTES)
    return b"RF64" + unknown + b"WAVE" + form + b"data" + unknown


def _w64(file: _Window) -> Container:
    """Sony Wave 64: chunks of a GUID, a size that counts both, and content, padded to 8 bytes."""
    position = 40
    while position + 24 <= file.size:
        name, size = struct.unpack("<4s12xQ", file.at(position, 24))
        if name == b"data":
            _refuse_truncated(file, position + 24, size - 24)
            break
        position += max(24, size + -size % 8)
    return Container()


def _aiff(file: _Window) -> Container:
    """AIFF: chunks as in WAV, in the other byte order; eight bytes precede the samples."""
    position = 12
    while position + 8 <= file.size:
        name, size = struct.unpack(">4sI", file.at(position, 8))
        position += 8
        if name == b"SSND":
            _refuse_truncated(file, position, size)
            after = position + size + size % 2
            if not _is_unknown(size) and not _is_chunks(file, after, ">"):
                _refuse_sound_after(file, position + size, size)
            break
        position += size + size % 2
    return Container()


def _au(file: _Window) -> Container:
    """AU: position and size of the samples, in either byte order; the size may be unknown."""
    order = ">" if file.at(0, 4) == b".snd" else "<"
    if file.size >= 12:
        position, size = struct.unpack(f"{order}4x2I", file.at(0, 12))
        _refuse_truncated(file, position, size)
        if not _is_unknown(size):
            _refuse_sound_after(file, position + size, size)
    return Container()


def _caf(file: _Window) -> Container:
    """Apple's CAF: chunks of name, 64-bit size (-1: to the end) and content."""
    position = 8
    while position + 12 <= file.size:
        name, size = struct.unpack(">4sq", file.at(position, 12))
        position += 12
        if size < 0:
            break
        if name == b"data":
            _refuse_truncated(file, position, size)
        position += size
    return Container()


def _is_unknown(size: int) -> bool:
    """Return whether a size of 32 bits means that the writer did not know it, as in a pipe."""
    return 0x7FFFF000 <= size <= 0x7FFFFFFF or 0xFFFFF000 <= size <= LARGEST_BYTES


def _is_chunks(file: _Window, position: int, order: str) -> bool:
    """Return whether the file ends with whole chunks from a position on."""
    while position + 8 <= file.size:
        name, size = struct.unpack(f"{order}4sI", file.at(position, 8))
        if not re.fullmatch(rb"[ -~]{4}", name):
            return False
        position += 8 + size + size % 2
    return file.size - 1 <= position <= file.size + 1


def _refuse_truncated(file: _Window, position: int, size: int) -> None:
    available = file.size - position
    if available + 1 < size < 1 << 62 and not _is_unknown(size):
        raise AudioError(f"truncated: {available} bytes of {size}")


def _refuse_sound_after(file: _Window, position: int, size: int) -> None:
    rest = file.size - position
    if rest > PADDING_BYTES and not file.at(position, 8).startswith(TAGS):
        raise AudioError(
            f"the header states {size} bytes of sound, and {rest} other bytes follow; repair the "
            "header, e.g. with ffmpeg"
        )


# ---------------------------------------------------------------- Ogg


def _ogg(file: _Window) -> Container:
    """Ogg: pages, each with flags for the first and the last one of a stream.

    Streams that follow each other are a chain (RFC 3533, section 4); libsndfile ends with the
    first one.
    """
    starts: list[int] = []
    open_streams: set[int] = set()
    begun = False  # a page of content has been seen since the last start
    position, file.window = 0, WINDOW_BYTES
    while position + 27 <= file.size:
        head = file.at(position, 27)
        if head[:4] != b"OggS":
            found = _find(file, b"OggS", position + 1)
            if found < 0:
                break  # a tag after the last page
            if open_streams:
                raise AudioError(f"damaged: {found - position} bytes in it are no Ogg page")
            position = found
            continue
        flags, serial, segments = head[5], int.from_bytes(head[14:18], "little"), head[26]
        table = file.at(position + 27, segments)
        length = 27 + segments + sum(table)
        if len(table) < segments or position + length > file.size:
            raise AudioError("truncated: the last page of the Ogg stream is cut")
        if flags & 2:
            if begun or not starts:
                _refuse_open(open_streams)
                starts.append(position)
                begun = False
            open_streams.add(serial)
        else:
            begun = True
        if flags & 4:
            open_streams.discard(serial)
        position += length
    _refuse_open(open_streams)
    return _in_parts(starts, file.size) if len(starts) > 1 else Container()


def _in_parts(starts: list[int], size: int) -> Container:
    """Return streams that follow one another, each up to the start of the next."""
    stops = [*starts[1:], size]
    return Container(tuple(Part(b"", a, b) for a, b in zip(starts, stops, strict=True)))


def _refuse_open(streams: set[int]) -> None:
    if streams:
        raise AudioError("truncated: the last page of the Ogg stream is missing")


def _find(file: _Window, pattern: bytes, position: int) -> int:
    while position < file.size:
        found = file.at(position, HEADER_BYTES).find(pattern)
        if found >= 0:
            return position + found
        position += HEADER_BYTES - len(pattern) + 1
    return -1


# ---------------------------------------------------------------- MPEG audio

_KBPS = {  # by version (1, 2 also for 2.5) and layer
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class _Frame:
    """A frame of MPEG audio: its length in bytes, its samples, and the place of a Xing header."""

    length: int
    samples: int
    rate: int
    xing: int
    kind: int  # the bits that all frames of a stream share


@dataclass
class _Segment:
    """Frames that follow a Xing header, or the first frames of a file."""

    header: bytes  # of the first frame
    start: int
    stated: int | None  # number of frames in the Xing header
    frames: int = 0
    samples: int = 0
    stop: int = 0


@functools.lru_cache(maxsize=1024)
def _mpeg_frame(header: bytes) -> _Frame | None:
    """Read a frame header of four bytes (ISO/IEC 11172-3, section 2.4.2.3); None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate_bits, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version_bits == 1 or layer == 4 or bit_rate in (0, 15) or rate_bits == 3:
        return None
    version = 1 if version_bits == 3 else 2
    rate = (44100, 48000, 32000)[rate_bits] >> {3: 0, 2: 1, 0: 2}[version_bits]
    samples = {1: 384, 2: 1152, 3: 1152 if version == 1 else 576}[layer]
    slot = 4 if layer == 1 else 1
    kbps = _KBPS[version, layer][bit_rate]
    length = (samples // 8 * kbps * 1000 // rate // slot + padding) * slot
    mono = header[3] >> 6 == 3
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[version, mono]
    kind = int.from_bytes(header, "big") & 0xFFFE0C00
    return _Frame(length, samples, rate, 4 + side, kind)


def _mpeg(file: _Window) -> Container:
    """MPEG audio: frames without an index; only a Xing header states their number.

    mpg123 estimates the length where there is none, and ends with the first of joined files.
    """
    segments: list[_Segment] = []
    position, rate, layer3 = 0, 1, False
    file.window = WINDOW_BYTES
    while position + 4 <= file.size:
        header = file.at(position, 4)
        frame = _mpeg_frame(header)
        if frame is None or not (segments or _frame_follows(file, position, frame)):
            position = _after_no_frame(file, position)
            continue
        rate, stop, layer3 = frame.rate, position + frame.length, header[1] & 6 == 2
        xing = file.at(position + frame.xing, 12)
        if xing[:4] in (b"Xing", b"Info"):
            stated = int.from_bytes(xing[8:12], "big") if xing[7] & 1 else None
            if not segments and stated and _is_as_long(file, position, frame, xing):
                return Container()
            segments.append(_Segment(header, position, stated, stop=stop))
        else:
            if not segments:
                segments.append(_Segment(header, position, None))
            if stop > file.size:
                break  # within the last frame
            last = segments[-1]
            last.frames += 1
            last.samples += frame.samples
            last.stop = stop
        position = stop
    segments = [s for s in segments if s.frames]
    for s in segments:
        if s.stated is not None and s.frames + 1 < s.stated:
            seconds = s.samples / rate
            raise AudioError(f"truncated: {seconds:.2f} s of {seconds * s.stated / s.frames:.2f} s")
    if len(segments) == 1 and _agrees(segments[0]):
        return Container()
    counted = sum(s.samples for s in segments)
    if not layer3:
        return Container(counted=counted, stated=False)
    parts = tuple(
        Part(b"" if _agrees(s) else _xing_frame(s.header, s.frames), _sound_start(s, file), s.stop)
        for s in segments
    )
    return Container(parts, counted=counted, stated=False)


def _agrees(segment: _Segment) -> bool:
    return segment.stated is not None and abs(segment.frames - segment.stated) <= 1


def _sound_start(segment: _Segment, file: _Window) -> int:
    """Return the first byte to decode: after a Xing header that states another number."""
    if segment.stated is None or _agrees(segment):
        return segment.start
    frame = _mpeg_frame(segment.header)
    return segment.start + (frame.length if frame else 0)


def _frame_follows(file: _Window, position: int, frame: _Frame) -> bool:
    """Return whether another frame of the same kind follows: two bytes look like one by chance."""
    follower = _mpeg_frame(file.at(position + frame.length, 4))
    return follower is not None and follower.kind == frame.kind


def _after_no_frame(file: _Window, position: int) -> int:
    """Return where to look for a frame next: after a tag, or at the next sync."""
    head = file.at(position, 10)
    if head[:3] == b"ID3" and len(head) == 10:
        a, b, c, d = head[6:10]  # seven bits each
        return position + 10 + (a << 21 | b << 14 | c << 7 | d)
    if head[:3] == b"TAG":
        return position + 128
    found = position + 1
    while (found := _find(file, b"\xff", found)) >= 0:
        frame = _mpeg_frame(file.at(found, 4))
        if frame and _frame_follows(file, found, frame):
            return found
        found += 1
    return file.size


def _is_as_long(file: _Window, position: int, frame: _Frame, xing: bytes) -> bool:
    """Return whether a Xing header states the number of bytes of the file, but for a tag."""
    if not xing[7] & 2:
        return False
    stated = int.from_bytes(file.at(position + frame.xing + 12, 4), "big")
    return 0 <= file.size - position - stated <= TAG_BYTES


def _xing_frame(header: bytes, frames: int) -> bytes:
    """Return a frame with a Xing header: the number of frames after it."""
    first = bytearray(header)
    first[1] |= 1  # no checksum
    first[2] = first[2] & 0x0D | 0xE0  # the highest bit rate, no padding: there is room for it
    frame = _mpeg_frame(bytes(first))
    if frame is None:
        return b""
    content = bytes(first).ljust(frame.xing, b"\0") + b"Info" + struct.pack(">II", 1, frames)
    return content.ljust(frame.length, b"\0")


_STREAMINFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")  # header of the first block of metadata


def _flac(file: _Window) -> Container:
    """FLAC: the number of samples is in 36 bits of STREAMINFO, 0: unknown (RFC 9639, 8.2).

    Further streams may follow, where files were joined; the decoder stops after the first.
    """
    starts, start = [0], 0
    file.window = WINDOW_BYTES
    while (start := _find(file, b"fLaC", start + 4)) >= 0:
        if file.at(start + 4, 4) in _STREAMINFO:
            starts.append(start)
    if len(starts) > 1:
        return _in_parts(starts, file.size)
    samples = int.from_bytes(file.at(21, 5), "big") & 0xFFFFFFFFF
    return Container(stated=samples > 0)


_READERS: dict[bytes, Callable[[_Window], Container]] = {
    b"RIFF": _wav,
    b"RIFX": _wav,
    b"RF64": _wav,
    b"riff": _w64,
    b"FORM": _aiff,
    b".snd": _au,
    b"dns.": _au,
    b"caff": _caf,
    b"OggS": _ogg,
    b"fLaC": _flac,
}
