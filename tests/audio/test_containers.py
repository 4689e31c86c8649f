"""Every recording whole, or refused with the true reason: what headers state is not believed."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import data_config, make_corpus

from specmask.audio import containers
from specmask.audio.io import AudioError, AudioFile, read, read_piece
from specmask.data.corpus import recordings
from specmask.enhancement.file import Layout

RATE = 44100
SECONDS = 6
NOISE_SECONDS = 1  # the first of them: a decoder that estimates from it is far off


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """A second of noise and five of a tone: float32 [samples]."""
    rng = np.random.default_rng(0)
    t = np.arange((SECONDS - NOISE_SECONDS) * RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 200 * t)
    return np.r_[0.2 * rng.normal(size=NOISE_SECONDS * RATE), tone].astype(np.float32)


def encoded(samples: np.ndarray, format: str, rate: int = RATE, **options: object) -> bytes:
    memory = io.BytesIO()
    sf.write(memory, samples, rate, format=format, **options)
    return memory.getvalue()


@pytest.fixture(scope="module")
def contents(sound) -> dict[str, bytes]:
    """The sound in formats, by name."""
    variable = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    found = {
        "wav": encoded(sound, "WAV", subtype="PCM_16"),
        "float.wav": encoded(sound, "WAV", subtype="FLOAT"),
        "rf64": encoded(sound, "RF64", subtype="PCM_16"),
        "w64": encoded(sound, "W64", subtype="PCM_16"),
        "aiff": encoded(sound, "AIFF", subtype="PCM_16"),
        "au": encoded(sound, "AU", subtype="PCM_16"),
        "caf": encoded(sound, "CAF", subtype="PCM_16"),
        "flac": encoded(sound, "FLAC", subtype="PCM_16"),
        "ogg": encoded(sound, "OGG", subtype="VORBIS"),
        "opus": encoded(sound, "OGG", 48000, subtype="OPUS"),
        "vbr.mp3": encoded(sound, "MP3", subtype="MPEG_LAYER_III", **variable),
        "cbr.mp3": encoded(sound, "MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT"),
    }
    for codec in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_16"):
        found[f"{codec}.wav"] = encoded(sound, "WAV", subtype=codec)
    return found


def saved(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def without_xing(content: bytes) -> bytes:
    """An MP3 file without its first frame, as radio stations send it."""
    found = content.index(b"Xing")
    return content[content.index(content[:2], found) :]


def all_ways(path: Path) -> np.ndarray:
    """Read a file as every stage does, which must agree; return the samples of its channel."""
    whole, rate = read(path)
    with AudioFile(path) as file:
        blocks = np.concatenate(list(file.blocks(10_000)))
        assert file.frames == len(whole) == Layout.of(file, path).frames
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
    assert recordings.inspect(path)["frames"] == len(whole)
    if path.name != "ogg":  # libsndfile's seeking in a Vorbis stream is not exact
        last = read_piece(path, len(whole) - 9000, 9000, rate)
        np.testing.assert_allclose(last[-2000:], whole[-2000:, 0], atol=1e-6)
    return whole[:, 0]


def refused(path: Path) -> str:
    """Read a file as every stage does: all must refuse it; return the reason."""
    with pytest.raises(AudioError) as caught:
        read(path)
    with pytest.raises(AudioError), AudioFile(path) as file:
        list(file.blocks(10_000))
    assert isinstance(recordings.inspect(path), str)
    return str(caught.value)


# ---------------------------------------------------------------- whole


@pytest.mark.parametrize(
    "name", ["wav", "float.wav", "rf64", "w64", "aiff", "au", "caf", "flac", "ogg", "vbr.mp3",
             "cbr.mp3", "MS_ADPCM.wav", "G721_32.wav", "NMS_ADPCM_16.wav"],
)  # fmt: skip
def test_ordinary_files_are_as_long_as_what_was_written(name, contents, sound, tmp_path):
    assert len(all_ways(saved(tmp_path, name, contents[name]))) == len(sound)


def test_mp3_of_variable_rate_without_xing_header(contents, sound, tmp_path):
    found = all_ways(saved(tmp_path, "a.mp3", without_xing(contents["vbr.mp3"])))
    reference = sf.read(io.BytesIO(contents["vbr.mp3"]), dtype="float32")[0]
    assert len(sound) <= len(found) <= len(sound) + 2 * 1152
    at = 576  # mpg123 takes the delay of a decoder away, 529 samples, and the encoder's stays
    np.testing.assert_allclose(found[at : at + len(sound)], reference, atol=1e-4)


def test_mp3_of_constant_rate_without_xing_header(contents, sound, tmp_path):
    content = contents["cbr.mp3"]
    content = without_xing(content if b"Xing" in content else content.replace(b"Info", b"Xing", 1))
    found = all_ways(saved(tmp_path, "a.mp3", content + b"TAG".ljust(128, b" ")))
    assert len(sound) <= len(found) <= len(sound) + 2 * 1152


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\xfb\x90\x44 no frame follows"])
def test_junk_is_read_once(junk, contents, tmp_path, monkeypatch):
    """Every byte of it looks like the beginning of a frame."""
    content = contents["cbr.mp3"]
    path = saved(tmp_path, "a.mp3", content + junk * (40_000 // len(junk)) + content)
    read_bytes = []
    at = containers._Window.at

    def counting(self, position: int, count: int) -> bytes:
        before = self._bytes
        found = at(self, position, count)
        if self._bytes is not before:
            read_bytes.append(len(self._bytes))
        return found

    monkeypatch.setattr(containers._Window, "at", counting)
    monkeypatch.setattr(containers, "WINDOW_BYTES", 2 * containers.HEADER_BYTES)
    containers.examine.cache_clear()
    try:
        containers.examine(path, path.stat().st_size, 0)
    finally:
        containers.examine.cache_clear()
    assert sum(read_bytes) < 4 * path.stat().st_size


@pytest.mark.parametrize("name", ["vbr.mp3", "cbr.mp3", "ogg", "opus"])
@pytest.mark.parametrize("count", [2, 3])
def test_joined_files(name, count, contents, tmp_path):
    one = sf.read(io.BytesIO(contents[name]), dtype="float32")[0]
    found = all_ways(saved(tmp_path, f"a.{name.rpartition('.')[2]}", count * contents[name]))
    assert len(found) == count * len(one)
    np.testing.assert_allclose(found, np.tile(one, count), atol=1e-4)


def test_joined_mp3_files_without_xing_headers(contents, sound, tmp_path):
    found = all_ways(saved(tmp_path, "a.mp3", 2 * without_xing(contents["vbr.mp3"])))
    assert len(found) >= 2 * len(sound)


def test_joined_mp3_files_with_tags_between_them(contents, sound, tmp_path):
    tag = b"ID3\4\0\0" + bytes([0, 0, 1, 0]) + bytes(128)
    found = all_ways(saved(tmp_path, "a.mp3", 2 * (tag + contents["vbr.mp3"] + tag)))
    assert len(found) == 2 * len(sound)


@pytest.mark.parametrize("riff_size", [True, False])
def test_wav_of_a_recorder_that_crashed(riff_size, contents, sound, tmp_path):
    content = patched(contents["wav"], contents["wav"].index(b"data") + 4, bytes(4))
    if not riff_size:
        content = patched(content, 4, bytes(4))
    found = all_ways(saved(tmp_path, "a.wav", content))
    np.testing.assert_array_equal(found, sf.read(io.BytesIO(contents["wav"]), dtype="float32")[0])


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_from_a_pipe(size, contents, sound, tmp_path):
    content = patched(contents["wav"], contents["wav"].index(b"data") + 4, struct.pack("<I", size))
    assert len(all_ways(saved(tmp_path, "a.wav", content))) == len(sound)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0xFFFFFFFF, 96_000_000])
def test_wav_of_more_than_four_gigabytes(size, tmp_path):
    """The size has 32 bits: it is the rest of a division, or unknown. The file is sparse."""
    path = saved(tmp_path, "a.wav", encoded(np.zeros(9), "WAV", 48000, subtype="PCM_16")[:44])
    length = 2**32 + 96_000_000
    with path.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<I", size))
        file.truncate(44 + length)
        file.seek(44 + length - 2)
        file.write(struct.pack("<h", 16384))
    with AudioFile(path) as file:
        assert file.frames == length // 2
        assert file.read(10, file.frames - 1).tolist() == [[0.5]]


def test_chunks_after_the_sound_are_no_sound(contents, sound, tmp_path):
    text = b"LIST" + struct.pack("<I", 1000) + b"INFO".ljust(1000, b"x")
    tag = b"ID3".ljust(1000, b"x")
    for rest in (text, tag, b"TAG".ljust(128, b" ")):
        assert len(all_ways(saved(tmp_path, "a.wav", contents["wav"] + rest))) == len(sound)
    assert len(all_ways(saved(tmp_path, "ogg", contents["ogg"] + tag))) == len(sound)


def test_joined_flac(contents, sound, tmp_path):
    found = all_ways(saved(tmp_path, "a.flac", contents["flac"] * 3))
    one = sf.read(io.BytesIO(contents["flac"]), dtype="float32")[0]
    np.testing.assert_array_equal(found, np.concatenate([one] * 3))


def test_flac_of_unknown_length(contents, sound, tmp_path):
    content = bytearray(contents["flac"])
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    found = all_ways(saved(tmp_path, "a.flac", bytes(content)))
    np.testing.assert_array_equal(found, sf.read(io.BytesIO(contents["flac"]), dtype="float32")[0])


def test_adpcm_is_as_long_as_its_fact_chunk_states(contents, sound, tmp_path):
    content = contents["IMA_ADPCM.wav"]
    content = patched(content, content.index(b"fact") + 8, struct.pack("<I", len(sound)))
    assert len(all_ways(saved(tmp_path, "a.wav", content))) == len(sound)


@pytest.mark.parametrize("codec", ["GSM610", "G721_32", "NMS_ADPCM_16"])
def test_codecs_that_cannot_seek_are_mixed_and_scored(codec, contents, tmp_path):
    path = saved(tmp_path, "a.wav", contents[f"{codec}.wav"])
    whole, _ = read(path)
    piece = read_piece(path, 2 * 16000, 16000, 16000)
    assert np.sqrt(np.mean(piece**2)) == pytest.approx(0.2 / np.sqrt(2), rel=0.2)
    with AudioFile(path) as file:  # backwards as well
        late, early = file.read(100, 5000), file.read(100, 200)
    np.testing.assert_array_equal(late, whole[5000:5100])
    np.testing.assert_array_equal(early, whole[200:300])


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("name", ["wav", "rf64", "w64", "aiff", "au", "caf", "GSM610.wav"])
def test_chunks_that_were_cut_name_both_sizes(name, contents, tmp_path):
    content = contents[name]
    reason = refused(saved(tmp_path, f"a.{name.rpartition('.')[2]}", content[: len(content) // 2]))
    available, stated = (int(word) for word in reason.split() if word.isdecimal())
    assert reason.startswith("truncated: ") and 0.45 * stated < available < 0.5 * stated


@pytest.mark.parametrize("name", ["float.wav", "IMA_ADPCM.wav", "rf64", "w64", "aiff", "au", "caf"])
def test_headers_that_were_cut_anywhere(name, contents, tmp_path):
    reasons = [
        recordings.inspect(
            saved(tmp_path, f"{size}.{name.rpartition('.')[2]}", contents[name][:size])
        )
        for size in range(1, 100)
    ]
    assert all(isinstance(reason, str) for reason in reasons)
    if name in ("float.wav", "IMA_ADPCM.wav", "rf64"):  # 44 bytes: in its fact chunk, and so on
        assert any("which end in the header" in reason for reason in reasons)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_mp3_that_was_cut_names_both_lengths(share, contents, tmp_path):
    content = contents["vbr.mp3"]
    reason = refused(saved(tmp_path, "a.mp3", content[: int(share * len(content))]))
    assert reason.startswith("truncated: ") and "of 6.0" in reason


@pytest.mark.parametrize("name", ["ogg", "opus"])
@pytest.mark.parametrize("joined", [False, True])
def test_ogg_that_was_cut(name, joined, contents, tmp_path):
    content = (contents[name] if joined else b"") + contents[name]
    for length in (len(content) * 3 // 4, len(content) - 1, content.rindex(b"OggS")):
        assert "truncated: the last page" in refused(saved(tmp_path, "a.ogg", content[:length]))


def test_flac_that_was_cut(contents, tmp_path):
    content = contents["flac"]
    reason = refused(saved(tmp_path, "a.flac", content[: len(content) // 2]))
    assert "damaged" in reason or "truncated" in reason


def test_sound_that_no_size_accounts_for(contents, tmp_path):
    for name, position in (("wav", 40), ("aiff", 0), ("au", 8)):
        content = contents[name]
        if name == "aiff":
            position = content.index(b"SSND") + 4
        order = "<" if name == "wav" else ">"
        content = patched(content, position, struct.pack(f"{order}I", 100_000))
        reason = refused(saved(tmp_path, f"a.{name}", content))
        assert "states 100000 bytes of sound" in reason and "4292" in reason


def test_parts_of_two_rates(contents, sound, tmp_path):
    content = contents["ogg"] + encoded(sound, "OGG", 22050, subtype="VORBIS")
    assert "22050 Hz" in refused(saved(tmp_path, "a.ogg", content))


# ---------------------------------------------------------------- through the stages


def test_a_data_set_from_files_with_wrong_headers(contents, tmp_path):
    """What is whole is used to its end; what is cut is listed with its reason."""
    root = make_corpus(tmp_path / "corpus")
    speech = root / "clean_train/dora"
    speech.mkdir()
    saved(speech, "joined.ogg", contents["ogg"] + encoded(np.zeros(RATE) + 0.1, "OGG", RATE))
    saved(speech, "gsm.wav", contents["GSM610.wav"])
    saved(speech, "cut.wav", contents["wav"][:-1000])
    paths = recordings.list_folder(root / "clean_train", "clean_train_path")
    from specmask.data.corpus.layouts import Layout as Naming

    found, rejected = recordings.scan(
        root / "clean_train", paths, Naming("speech").name_of,
        data_config(root, tmp_path / "out"), "clean_train_path",
    )  # fmt: skip
    lengths = {s.path: s.length / 16000 for s in found}
    assert lengths["dora/joined.ogg"] == pytest.approx(SECONDS + 1, abs=0.01)
    assert lengths["dora/gsm.wav"] == pytest.approx(SECONDS, abs=0.05)
    assert [r.path for r in rejected] == ["dora/cut.wav"] and "truncated" in rejected[0].reason
