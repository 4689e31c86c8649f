"""Reading, resampling and writing: tones with known levels, whole files, and bad files."""

import csv
import itertools
import os
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import RATE, error_db, hiss, speechlike, tone, write_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from specmask.audio import io as audio_io
from specmask.audio import media
from specmask.audio.io import AudioError, Rejected

RESAMPLERS = ("soxr", "resampy")
RATES = (8000, 11025, 22050, 44100, 48000, 96000)


def amplitude(x: np.ndarray, hertz: float, rate: int = RATE) -> float:
    """Least-squares amplitude of a sine in the middle of a signal, away from its ends."""
    t = np.arange(len(x)) / rate
    middle = slice(len(x) // 4, 3 * len(x) // 4)
    basis = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)], 1)[middle]
    return float(np.linalg.norm(np.linalg.lstsq(basis, x[middle].astype(np.float64))[0]))


def level_change_db(hertz: float, rate_in: int, resampler: str, rate_out: int = RATE) -> float:
    """Level of a resampled tone in dB relative to what it was."""
    y = audio_io.resample(tone(hertz, 0.5, rate_in), rate_in, rate_out, resampler)
    return 20 * np.log10(amplitude(y, hertz, rate_out) / 0.5)


# ---------------------------------------------------------------- resampling


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("hertz", [50, 1000, 4000, 7000])
def test_tones_keep_their_level(rate, hertz):
    assert abs(level_change_db(hertz, rate, "soxr")) < 0.01
    assert abs(level_change_db(hertz, rate, "resampy")) < 0.3


@pytest.mark.parametrize("hertz", [50, 1000, 3300])
def test_tones_keep_their_level_upwards(hertz):
    assert abs(level_change_db(hertz, 8000, "soxr")) < 0.01
    assert abs(level_change_db(hertz, 8000, "resampy")) < 0.3


@pytest.mark.parametrize(("resampler", "limit"), [("soxr", -100), ("resampy", -80)])
@pytest.mark.parametrize("hertz", [9500, 12000, 20000])
def test_tones_beyond_the_band_do_not_fold_back(resampler, limit, hertz):
    y = audio_io.resample(tone(hertz, 0.5, 48000), 48000, RATE, resampler)[1000:-1000]
    assert 20 * np.log10(np.abs(y).max() / 0.5) < limit


@pytest.mark.parametrize("resampler", RESAMPLERS)
@pytest.mark.parametrize("rate", RATES)
def test_resampled_tones_start_at_the_same_time(resampler, rate):
    y = audio_io.resample(tone(500, 0.5, rate), rate, RATE, resampler)
    assert error_db(y[800:-800], tone(500, 0.5)[800 : len(y) - 800]) < -60


@pytest.mark.parametrize("resampler", RESAMPLERS)
def test_lengths_and_channels(resampler):
    for rate, samples in itertools.product((8000, 44100), (1, 7, 441, 1000)):
        expected = -(-samples * RATE // rate)  # rounded up
        mono = audio_io.resample(np.ones(samples, np.float32), rate, RATE, resampler)
        assert mono.shape == (expected,) and mono.dtype == np.float32
    stereo = np.stack([tone(500, 0.2, 44100), tone(900, 0.2, 44100)], 1)
    both = audio_io.resample(stereo, 44100, RATE, resampler)
    for channel in (0, 1):
        alone = audio_io.resample(stereo[:, channel], 44100, RATE, resampler)
        assert error_db(both[:, channel], alone) < -120


def test_the_same_rate_changes_nothing():
    x = hiss(np.random.default_rng(0), 0.1)
    assert_array_equal(audio_io.resample(x, RATE, RATE), x)


@pytest.fixture(scope="module")
def broadband(tmp_path_factory):
    """Files of white noise, stereo, at several rates: the hardest signal for cutting pieces."""
    folder = tmp_path_factory.mktemp("broadband")
    rng = np.random.default_rng(3)
    for rate in (*RATES, RATE):
        write_audio(
            folder / f"{rate}.wav", 0.3 * rng.standard_normal((rate, 2)), rate, subtype="FLOAT"
        )
    return folder


@pytest.fixture(scope="module")
def wholes(broadband):
    """The whole files at the working rate, by (rate, resampler)."""
    found = {}
    for rate, resampler in itertools.product((*RATES, RATE), RESAMPLERS):
        samples = sf.read(broadband / f"{rate}.wav", dtype="float32")[0].mean(axis=1)
        found[rate, resampler] = audio_io.resample(samples, rate, RATE, resampler)
    return found


@settings(max_examples=60)
@given(
    rate=st.sampled_from((*RATES, RATE)),
    resampler=st.sampled_from(RESAMPLERS),
    offset=st.integers(0, RATE - 1),
    length=st.integers(400, RATE),
)
def test_pieces_are_those_of_the_whole_file(broadband, wholes, rate, resampler, offset, length):
    piece = audio_io.read_piece(broadband / f"{rate}.wav", offset, length, RATE, resampler)
    whole = wholes[rate, resampler]
    assert piece.shape == (length,) and piece.dtype == np.float32
    wanted = audio_io.fit(whole[offset:], length)
    error = np.sqrt(np.mean(np.square(piece - wanted, dtype=np.float64)))
    assert error < 1e-5 * np.std(whole)  # -100 dB, also where a piece is mostly beyond the end
    assert not piece[len(whole) - offset :].any()


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("beyond", [0, 1, 5000])
def test_pieces_beyond_the_end_are_zero(broadband, rate, beyond):
    piece = audio_io.read_piece(broadband / f"{rate}.wav", RATE + beyond, 100, RATE)
    assert_array_equal(piece, np.zeros(100))


# ---------------------------------------------------------------- formats


FORMATS = [  # name, rate, options of soundfile, largest error in dB
    ("a.wav", 16000, {"subtype": "PCM_16"}, -60),
    ("a.wav", 44100, {"subtype": "PCM_24"}, -100),
    ("a.wav", 48000, {"subtype": "FLOAT"}, -140),
    ("a.wav", 8000, {"subtype": "ULAW"}, -25),
    ("a.WAV", 22050, {"subtype": "PCM_U8"}, -15),
    ("a.flac", 44100, {}, -60),
    ("a.aiff", 11025, {}, -60),
    ("a.ogg", 44100, {}, -10),
    ("a.opus", 48000, {"format": "OGG", "subtype": "OPUS"}, -10),
    ("a.mp3", 44100, {}, -10),
    ("renamed.wav", 44100, {"format": "MP3"}, -10),  # the content counts, not the name
    ("renamed.mp3", 44100, {"format": "WAV"}, -60),
]


@pytest.mark.parametrize(("name", "rate", "options", "limit"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(tmp_path, name, rate, options, limit, channels):
    rng = np.random.default_rng(1)
    x = np.stack([speechlike(rng, 0.5, rate) for _ in range(channels)], 1)
    path = write_audio(tmp_path / name, x, rate, **options)
    samples, found = audio_io.read(path)
    assert found == rate
    assert samples.shape == x.shape and samples.dtype == np.float32
    assert error_db(samples, x) < limit
    part, _ = audio_io.read(path, 2000, 1500)
    assert error_db(part, samples[2000:3500]) < -100
    mono = audio_io.read_piece(path, 0, rate // 4, rate)
    assert error_db(mono, samples[: rate // 4].mean(1)) < -100


def test_reading_stops_at_the_end(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(100, 0.1), subtype="FLOAT")
    assert len(audio_io.read(path, 1000, 10_000)[0]) == 600


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_downmixing_is_the_mean(channels):
    x = hiss(np.random.default_rng(2), 0.1)[: 200 * channels].reshape(-1, channels)
    mono = audio_io.to_mono(x)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, x.astype(np.float64).mean(1), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.wav", b"", "empty"),
        ("text.wav", b"hello, this is no audio at all\n" * 40, "not readable as audio"),
        ("text.flac", b"hello, this is no audio at all\n" * 40, "not readable as audio"),
        ("text.mp3", b"hello, this is no audio at all\n" * 40, "not readable as audio"),
        ("zeros.ogg", bytes(5000), "not readable as audio"),
        ("header.wav", b"RIFF\x24\0\0\0WAVEfmt ", "not readable as audio"),
        ("headerless.raw", bytes(5000), "not readable as audio"),
    ],
)
def test_files_that_are_no_audio(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    for reader in (audio_io.read, lambda p: audio_io.read_piece(p, 0, 100, RATE)):
        with pytest.raises(AudioError, match=reason):
            reader(path)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "no.wav", tmp_path, tmp_path / "no.wav/x.wav"):
        with pytest.raises(AudioError, match="not readable"):
            audio_io.read(path)


def test_damaged_files_give_a_reason_and_no_other_exception(tmp_path):
    """Every hundredth cut and some flipped bytes of every format: samples or an AudioError."""
    rng = np.random.default_rng(5)
    x = speechlike(rng, 0.3)
    outcomes = set()
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff"):
        whole = write_audio(tmp_path / f"whole.{suffix}", x).read_bytes()
        path = tmp_path / f"damaged.{suffix}"
        for cut in range(1, len(whole), len(whole) // 20):
            flipped = bytearray(whole)
            for place in rng.integers(len(whole), size=5):
                flipped[place] ^= 0xFF
            for content in (whole[:cut], bytes(flipped)):
                path.write_bytes(content)
                try:
                    audio_io.read(path)
                    outcomes.add("read")
                except AudioError as error:
                    assert str(error)
                    outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_names_that_are_not_unicode(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    shutil.copy(write_audio(tmp_path / "a.wav", tone(100, 0.3)), path)
    assert len(audio_io.read(path)[0]) == 4800


# ---------------------------------------------------------------- finding files


def test_audio_files_are_found_in_the_same_order_everywhere(tmp_path):
    names = ["b/2.wav", "b.wav", "B/1.FLAC", "a b/ü.Ogg", "b/10.mp3", "b/c/d/e.aif"]
    for name in [*names, "b/.hidden.wav", ".fetch-1/b.wav", "b/notes.txt", "wav", "b/x.wav.txt"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "folder.wav").mkdir()
    found = [p.as_posix() for p in audio_io.files(tmp_path)]
    assert found == sorted(names)


def test_links_to_folders_are_followed_once(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for path in (root / "a/x.wav", other / "b/y.wav", other / "z.wav"):
        write_audio(path, tone(100, 0.1))
    try:
        (root / "1 again").symlink_to(root / "a", target_is_directory=True)
        (root / "2 other").symlink_to(other, target_is_directory=True)
        (root / "3 part of other").symlink_to(other / "b", target_is_directory=True)
        (other / "back").symlink_to(root, target_is_directory=True)
        (root / "up").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    found = [p.as_posix() for p in audio_io.files(root)]
    assert found == ["2 other/b/y.wav", "2 other/z.wav", "a/x.wav"]


def test_a_folder_of_links_only(tmp_path):
    write_audio(tmp_path / "corpora/x/1.wav", tone(100, 0.1))
    (tmp_path / "clean").mkdir()
    try:
        (tmp_path / "clean/x").symlink_to(tmp_path / "corpora/x", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    assert audio_io.files(tmp_path / "clean") == [Path("x/1.wav")]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.sph", {"format": "NIST", "subtype": "PCM_16"}),
        ("a.nist", {"format": "NIST", "subtype": "ULAW"}),
        ("a.voc", {"format": "VOC", "subtype": "PCM_16"}),
        ("a.mp2", {"format": "MP3"}),
    ],
)
def test_formats_that_libsndfile_reads_under_rarer_names(name, options, tmp_path):
    write_audio(tmp_path / name, tone(100, 1), **options)
    assert audio_io.files(tmp_path) == [Path(name)]
    assert abs(len(audio_io.read(tmp_path / name)[0]) - RATE) < 2000


def test_loops_of_links(tmp_path):
    write_audio(tmp_path / "a/x.wav", tone(100, 0.1))
    try:
        (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
        (tmp_path / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
        (tmp_path / "linked.wav").symlink_to(tmp_path / "a/x.wav")
    except OSError:
        pytest.skip("no symbolic links here")
    found = [p.as_posix() for p in audio_io.files(tmp_path)]
    assert found == ["a/x.wav", "broken.wav", "linked.wav", "self.wav"]
    for bad in ("self.wav", "broken.wav"):
        with pytest.raises(AudioError, match="not readable"):
            audio_io.read(tmp_path / bad)
    assert len(audio_io.read(tmp_path / "linked.wav")[0]) == 1600


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_a_piece_takes_one_opening_of_its_file(tmp_path, monkeypatch, rate):
    path = write_audio(tmp_path / "x.ogg", tone(440, 2, rate), rate)
    opened = []
    original = sf.SoundFile
    monkeypatch.setattr(sf, "SoundFile", lambda name: opened.append(name) or original(name))
    audio_io.read_piece(path, 3000, 8000, RATE)
    assert len(opened) == 1


# ---------------------------------------------------------------- writing


@settings(max_examples=30)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300))
def test_sixteen_bits_come_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "exact.wav"
    samples = np.array(values, np.int16)
    audio_io.write_pcm16(path, samples, RATE)
    found, rate = sf.read(path, dtype="int16")
    assert_array_equal(found, samples)
    assert (rate, sf.info(path).subtype) == (RATE, "PCM_16")
    assert path.stat().st_size == 44 + 2 * len(values)


@pytest.mark.parametrize("shape", [(0,), (7,), (7, 1), (7, 2), (7, 3)])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_the_bytes_are_those_of_libsndfile(tmp_path, shape, rate):
    samples = np.random.default_rng(0).integers(-32768, 32768, shape).astype(np.int16)
    audio_io.write_pcm16(tmp_path / "ours.wav", samples, rate)
    sf.write(tmp_path / "theirs.wav", samples, rate, subtype="PCM_16", format="WAV")
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "theirs.wav").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_files_have_ordinary_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        audio_io.write_pcm16(tmp_path / "a.wav", np.zeros(5, np.int16), RATE)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o640


def test_list_of_what_was_set_aside(tmp_path):
    path = tmp_path / "new/some_rejected.csv"
    rows = [Rejected("a,b\n.wav", 'said "no"'), Rejected("ü.wav", "silent")]
    assert audio_io.write_rejected(path, rows) == path
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *([r.path, r.reason] for r in rows)]
    assert audio_io.write_rejected(path, []) is None
    assert not path.exists()
    assert audio_io.write_rejected(path, []) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_list_of_what_was_set_aside_with_names_that_are_not_unicode(tmp_path):
    path = tmp_path / "some_rejected.csv"
    audio_io.write_rejected(path, [Rejected(os.fsdecode(b"caf\xe9.wav"), "silent")])
    assert "silent" in path.read_text(encoding="utf-8", errors="replace")


def test_a_file_that_claims_more_than_fits_into_memory(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(100), 8000)

    def read(*args, **options):
        raise MemoryError

    monkeypatch.setattr(sf.SoundFile, "read", read)
    with pytest.raises(audio_io.AudioError, match=r"claims 0 h of sound, which do not fit"):
        audio_io.read(path)


def test_reasons_that_a_person_can_use(tmp_path, monkeypatch):
    """Formats that libsndfile does not read are named; what exists is not said to lack."""
    monkeypatch.setattr(media, "is_installed", lambda: False)
    (tmp_path / "memo.M4A").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(5000))
    (tmp_path / "text.mp3").write_bytes(b"this is not a sound" * 50)
    assert audio_io.files(tmp_path) == [
        Path("memo.M4A"),
        Path("text.mp3"),
    ]  # found, not passed over
    with pytest.raises(AudioError, match=r"\.M4A needs PyAV: pip install av, or convert"):
        audio_io.read(tmp_path / "memo.M4A")
    with pytest.raises(AudioError, match=r"no sound found in it$"):
        audio_io.read(tmp_path / "text.mp3")
    write_audio(tmp_path / "in.wav", np.full(100, 0.5), RATE)
    renamed = (tmp_path / "in.wav").rename(tmp_path / "renamed.m4a")  # its content decides
    assert audio_io.read(renamed)[1] == RATE
