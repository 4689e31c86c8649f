"""Formats that need PyAV: read where it is installed, counted in one line where it is not."""

from pathlib import Path

import numpy as np
import pytest
from helpers import call_script, data_overrides, make_corpus, settings_args, tone, write_audio

from specmask.audio import io as audio_io
from specmask.audio import media
from specmask.audio.io import AudioError
from specmask.evaluation import file_lists

RATE = 48000
SECONDS = 4


def encode(path: Path, codec: str) -> Path:
    """Write four seconds of a tone of 300 Hz, right channel half as loud, with PyAV."""
    av = pytest.importorskip("av", reason="needs PyAV")
    x = tone(300, SECONDS, RATE, 0.2)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.codec_context.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.stack([x, x / 2]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, 0
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", RATE, size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


@pytest.fixture
def without_pyav(monkeypatch):
    monkeypatch.setattr(media, "is_installed", lambda: False)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.m4a", "aac"), ("a.mov", "aac"), ("a.mkv", "aac"), ("a.3gp", "aac"),
     ("a.aac", "aac"), ("a.mka", "libopus"), ("a.webm", "libopus"), ("a.wv", "wavpack")],
)  # fmt: skip
def test_formats_of_media(name, codec, tmp_path):
    path = encode(tmp_path / name, codec)
    assert audio_io.files(tmp_path) == [Path(name)]
    samples, rate = audio_io.read(path)
    assert rate == RATE and SECONDS * RATE <= len(samples) < SECONDS * RATE + 3000
    with audio_io.AudioFile(path) as file:
        assert file.frames == len(samples)
        np.testing.assert_array_equal(np.concatenate(list(file.blocks(9999))), samples)
    np.testing.assert_allclose(np.sqrt(np.mean(samples**2, axis=0)), [0.1414, 0.0707], rtol=0.05)
    piece = audio_io.read_piece(path, 20_000, 5000, RATE)
    np.testing.assert_array_equal(piece, audio_io.to_mono(samples[20_000:25_000]))


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "aac"), ("a.webm", "libopus")])
def test_media_that_were_cut(name, codec, tmp_path):
    path = encode(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"truncated: [12]\.\d+ s of 4\.0"):
        audio_io.read(path)


def test_media_that_are_none(tmp_path):
    pytest.importorskip("av", reason="needs PyAV")
    (tmp_path / "a.mp4").write_bytes(b"some text " * 99)
    with pytest.raises(AudioError, match="not readable as audio: Invalid data"):
        audio_io.read(tmp_path / "a.mp4")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_media_without_sound_are_closed(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV")
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        file.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match="no sound in it") as caught:
        audio_io.read(tmp_path / "a.mkv")
    names = [str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
    assert caught.value and str(tmp_path / "a.mkv") not in names


def test_without_pyav_the_reason_names_it(without_pyav, tmp_path):
    (tmp_path / "a.webm").write_bytes(b"some bytes")
    with pytest.raises(AudioError, match=r"\.webm needs PyAV: pip install av, or convert it"):
        audio_io.read(tmp_path / "a.webm")


def test_one_line_counts_them(without_pyav, monkeypatch):
    line = media.missing_line(["a.wav", "b.MP4", "x/c.webm", "d.mp4"])
    assert line.startswith("3 files (.mp4, .webm) left out: need PyAV, pip install av")
    assert media.missing_line(["a.wav"]) == ""
    monkeypatch.setattr(media, "is_installed", lambda: True)
    assert media.missing_line(["b.mp4"]) == ""


def test_data_prep_counts_them(without_pyav, tmp_path):
    root = make_corpus(tmp_path / "corpus")
    for name in ("talk.mp4", "talk.webm"):
        (root / "clean_train/anna" / name).write_bytes(b"some bytes")
    args = settings_args(data_overrides(root, tmp_path / "out"))
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert done.returncode == 0
    assert "warning: training: 2 files (.mp4, .webm) left out" in done.stdout
    assert "anna/talk.mp4" in (tmp_path / "out/training_rejected.csv").read_text()


def test_a_video_beside_its_sound_track_is_not_scored(tmp_path):
    write_audio(tmp_path / "a.wav", tone(100, 0.1))
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"some bytes")
    assert list(file_lists.index(tmp_path)) == ["a", "b"]
    assert file_lists.index(tmp_path)["a"].name == "a.wav"
