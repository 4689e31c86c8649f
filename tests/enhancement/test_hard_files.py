"""Recordings whose headers are wrong: the whole sound, or the true reason why not."""

import struct

import numpy as np
import pytest
import soundfile as sf
from helpers import white_noise, write_audio

from specmask.audio.io import AudioError
from specmask.enhancement.file import enhance_file

SECONDS = 6


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Noise, then a tone: variable bit rates differ by far."""
    t = np.arange((SECONDS - 1) * 16000) / 16000
    return np.concatenate([white_noise(16000), 0.2 * np.sin(2 * np.pi * 200 * t)])


def joined_mp3(data: bytes) -> bytes:
    return data + data


def mp3_without_xing(data: bytes) -> bytes:
    return data[data.index(data[:2], data.index(b"Xing")) :]


def flac_of_unknown_length(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    return bytes(changed)


def wav_of_a_crash(data: bytes) -> bytes:
    """The sizes are written at the end, which did not come."""
    start = data.index(b"data")
    return data[:4] + bytes(4) + data[8 : start + 4] + bytes(4) + data[start + 8 :]


@pytest.mark.parametrize(
    ("name", "options", "change", "times"),
    [
        ("a.mp3", {"bitrate_mode": "VARIABLE", "compression_level": 0.5}, mp3_without_xing, 1),
        ("a.mp3", {}, joined_mp3, 2),
        ("a.ogg", {}, lambda data: data + data, 2),
        ("a.flac", {}, flac_of_unknown_length, 1),
        ("a.wav", {}, wav_of_a_crash, 1),
    ],
)
def test_the_whole_sound_comes_out(identity, sound, tmp_path, name, options, change, times):
    source = tmp_path / name
    sf.write(source, sound, 16000, **options)
    source.write_bytes(change(source.read_bytes()))
    done = enhance_file(source, tmp_path / "out.wav", identity, 1.0, format="wav")
    padding = 0.2 * times  # an MP3 encoder's delay
    assert done.seconds == pytest.approx(SECONDS * times, abs=padding)
    assert sf.info(tmp_path / "out.wav").duration == pytest.approx(done.seconds, abs=1e-3)
    y = sf.read(tmp_path / "out.wav")[0][-16000:]
    assert np.sqrt(np.mean(y**2)) == pytest.approx(0.2 / np.sqrt(2), rel=0.2)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.ogg", "a.flac"])
def test_a_file_that_is_cut_is_refused(identity, sound, tmp_path, name):
    source = write_audio(tmp_path / name, sound, 16000)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        enhance_file(source, tmp_path / "out.wav", identity, 1.0)
    assert not (tmp_path / "out.wav").exists()


def test_a_wav_file_above_4_gib_whose_size_wrapped_is_refused(identity, tmp_path):
    source = write_audio(tmp_path / "a.wav", white_noise(32000), 16000)
    data = bytearray(source.read_bytes())
    start = data.index(b"data") + 4
    data[start : start + 4] = struct.pack("<I", 16000)
    source.write_bytes(bytes(data))
    with pytest.raises(AudioError, match=r"states 16000 bytes .* 48000 other bytes"):
        enhance_file(source, tmp_path / "out.wav", identity, 1.0)
