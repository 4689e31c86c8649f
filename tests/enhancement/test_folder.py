"""Files and folders: formats, metadata, names, refusals, skipped files."""

import functools
import json
import os
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import (
    assert_error_line,
    call_script,
    error_db,
    make_project,
    white_noise,
    write_audio,
)

from specmask import files
from specmask.audio import io as audio_io
from specmask.cli.enhance import report, summary
from specmask.enhancement import array, enhancer, folder, inputs, log
from specmask.enhancement import file as recording_file
from specmask.enhancement.file import AS_INPUT, Enhanced, enhance_file
from specmask.enhancement.inputs import find_recordings
from specmask.enhancement.metadata import TAGS, Metadata, read_metadata, write_metadata
from specmask.enhancement.postprocess import Knobs
from specmask.errors import UserError
from specmask.evaluation import provenance


def enhance_folder(source, target, model, block_seconds, glob="*", **options) -> folder.Summary:
    recordings = find_recordings([source], target, glob, options.get("format", AS_INPUT))
    return folder.enhance_folder(recordings, target, model, block_seconds, **options)


def same_but_for_rounding(source, target, step: float) -> None:
    a, b = sf.info(source), sf.info(target)
    assert (a.frames, a.samplerate, a.channels) == (b.frames, b.samplerate, b.channels)
    assert (a.format, a.subtype) == (b.format, b.subtype)
    np.testing.assert_allclose(audio_io.read(target)[0], audio_io.read(source)[0], atol=step)


def test_a_broken_link_does_not_stop_the_rest(identity, tmp_path):
    write_audio(tmp_path / "in" / "a.wav", white_noise(900), 8000)
    (tmp_path / "in" / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, 1)
    assert done.done == 1 and [r.path for r in done.rejected] == ["b.wav"]
    assert "No such file" in done.rejected[0].reason


def test_flac_files_that_are_cut_do_not_stop_the_rest(identity, tmp_path):
    source = tmp_path / "in" / "a.flac"
    source.parent.mkdir()
    with sf.SoundFile(source, "w", 8000, 1) as file:
        file.title = "Räuber"
        file.write(white_noise(900))
    for length in (42, 44, 50, 80, 500):  # after the first block of metadata, in the next one
        (tmp_path / "in" / f"b{length}.flac").write_bytes(source.read_bytes()[:length])
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, 1)
    assert (done.done, len(done.rejected)) == (1, 5)


# ---------------------------------------------------------------- formats

STEPS = {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-21, "PCM_32": 2**-21}
STEPS |= {"FLOAT": 2**-21, "DOUBLE": 2**-21, "ULAW": 2**-5}


@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "w64", "au", "caf", "rf64"])
@pytest.mark.parametrize("subtype", sorted(STEPS))
def test_files_keep_their_sample_format(identity, tmp_path, kind, subtype):
    if not sf.check_format(kind.upper(), subtype):
        pytest.skip("the format has no such samples")
    source = tmp_path / f"a.{kind}"
    sf.write(source, white_noise(3000).reshape(-1, 2), 11025, subtype=subtype, format=kind.upper())
    target = tmp_path / "b" / source.name
    done = enhance_file(source, target, identity, block_seconds=0.1)
    assert done == Enhanced(pytest.approx(1500 / 11025))
    same_but_for_rounding(source, target, 1.01 * STEPS[subtype])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "kind, subtype, rate",
    [
        ("mp3", "MPEG_LAYER_III", 44100),
        ("mp3", "MPEG_LAYER_III", 16000),
        ("ogg", "VORBIS", 22050),
        ("ogg", "OPUS", 48000),
        ("flac", "PCM_24", 96000),
    ],
)
def test_lossy_files_stay_aligned(identity, tmp_path, kind, subtype, rate, channels):
    t = np.arange(rate) / rate
    sweep = 0.3 * np.sin(2 * np.pi * (200 * t + 700 * t**2)).astype(np.float32)
    x = np.stack([sweep] * channels, axis=1)
    source, target = tmp_path / f"a.{kind}", tmp_path / "b" / f"a.{kind}"
    sf.write(source, x, rate, subtype=subtype, format="OGG" if kind == "ogg" else kind.upper())
    enhance_file(source, target, identity, 0.25)
    a, b = sf.info(source), sf.info(target)
    assert (a.frames, a.samplerate, a.channels) == (b.frames, b.samplerate, b.channels)
    assert (a.format, a.subtype) == (b.format, b.subtype)
    # What a second coding loses; a shift by one sample would lose 15 dB more at the sweep's end.
    assert error_db(audio_io.read(target)[0][:, 0], audio_io.read(source)[0][:, 0]) < -14


def test_mp3_read_in_blocks_is_what_it_is_in_one_piece(tmp_path):
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(44100))
    spectrum[6615:] = 0
    source = write_audio(tmp_path / "a.mp3", 0.1 * np.fft.irfft(spectrum, 44100), 44100)
    with audio_io.AudioFile(source) as file:
        blocks = np.concatenate(list(file.blocks(2345)))
    np.testing.assert_allclose(blocks, audio_io.read(source)[0], atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_number_of_channels(identity, tmp_path, rate, channels):
    source = write_audio(
        tmp_path / "a.wav", white_noise(channels * (rate // 10)).reshape(-1, channels), rate
    )
    enhance_file(source, tmp_path / "b.wav", identity, 0.03)
    same_but_for_rounding(source, tmp_path / "b.wav", 1.01 * 2**-15)


@pytest.mark.parametrize("samples", [1, 2, 7, 79, 80, 81, 1000])
def test_any_length(identity, tmp_path, samples):
    for rate in (8000, 44100):
        source = write_audio(tmp_path / "a.wav", white_noise(samples), rate)
        enhance_file(source, tmp_path / "b.wav", identity, 0.1)
        same_but_for_rounding(source, tmp_path / "b.wav", 1.01 * 2**-15)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff", "mp3"])
def test_tags_are_kept(identity, tmp_path, kind):
    source, target = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    with sf.SoundFile(source, "w", 8000, 1, format=kind.upper()) as file:
        file.title, file.artist, file.comment = "Räuber", "Anna", "third take"
        file.write(white_noise(2000))
    enhance_file(source, target, identity, 1.0)
    with sf.SoundFile(source) as a, sf.SoundFile(target) as b:
        kept = [getattr(a, tag) for tag in TAGS if tag != "software"]
        assert kept == [getattr(b, tag) for tag in TAGS if tag != "software"]
        assert "Räuber" in kept


@pytest.mark.parametrize(
    "source, subtype, format, wanted",
    [
        ("a.flac", "PCM_24", "wav", ("WAV", "PCM_24")),
        ("a.ogg", "VORBIS", "wav", ("WAV", "PCM_16")),
        ("a.wav", "FLOAT", "flac", ("FLAC", "PCM_24")),
        ("a.aiff", "PCM_16", "flac", ("FLAC", "PCM_16")),
        ("a.wav", "PCM_16", "wav", ("WAV", "PCM_16")),
    ],
)
def test_another_format(identity, tmp_path, source, subtype, format, wanted):
    write_audio(tmp_path / "in" / source, white_noise(900), 8000, subtype=subtype)
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, 10, format=format)
    assert done.done == 1
    found = sf.info(tmp_path / "out" / f"a.{format}")
    assert (found.format, found.subtype, found.frames) == (*wanted, 900)


def test_compressed_samples_become_uncompressed_in_another_container(identity, tmp_path):
    write_audio(tmp_path / "in" / "a.mp3", white_noise(9000), 16000)
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, 10, format="wav")
    assert (done.done, done.rejected) == (1, [])
    assert sf.info(tmp_path / "out" / "a.wav").subtype == "PCM_16"


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM"])
def test_codecs_of_whole_blocks_do_not_lengthen_a_recording(identity, tmp_path, subtype):
    source = write_audio(tmp_path / "a.wav", white_noise(16001), 8000, subtype=subtype)
    with audio_io.AudioFile(source) as file:
        frames = file.frames  # libsndfile's own IMA files state whole blocks
    enhance_file(source, tmp_path / "b.wav", identity, 1)
    written = sf.info(tmp_path / "b.wav")
    assert (written.frames, written.subtype) == (frames, "PCM_16")


def test_encodings_that_cannot_be_written_become_the_usual_ones(identity, tmp_path):
    """MP3 in WAV, as some recorders write it."""
    write_audio(tmp_path / "a.mp3", white_noise(9000), 16000)
    mp3 = (tmp_path / "a.mp3").read_bytes()
    form = struct.pack("<HHIIHH", 0x55, 1, 16000, 8000, 1, 0) + struct.pack(
        "<HHIHHH", 12, 1, 2, 288, 1, 0
    )
    chunks = b"".join(
        name + struct.pack("<I", len(x)) + x + b"\0" * (len(x) % 2)
        for name, x in ((b"fmt ", form), (b"fact", struct.pack("<I", 9000)), (b"data", mp3))
    )
    source = tmp_path / "b.wav"
    source.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
    assert sf.info(source).subtype == "MPEG_LAYER_III"
    done = enhance_file(source, tmp_path / "out.wav", identity, 1.0)
    assert done.lost == ("MPEG_LAYER_III (PCM_16 in WAV instead)",)
    assert sf.info(tmp_path / "out.wav").subtype == "PCM_16"


def add_chunks(path, speakers: int, **chunks: bytes) -> None:
    write_metadata(path, Metadata(speakers, tuple((n.encode(), x) for n, x in chunks.items())))


@pytest.mark.parametrize("format", [AS_INPUT, "wav"])
def test_speaker_mask_and_chunks_of_wav_files_are_kept(identity, tmp_path, format):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    sf.write(source, white_noise(900).reshape(-1, 3), 8000, format="WAVEX")
    add_chunks(source, 0b111, bext=b"x" * 603, **{"cue ": b"\1\0\0\0" + bytes(24)})
    kept = read_metadata(source)
    assert kept.names == ["speaker mask", "bext", "cue"]
    assert enhance_file(source, target, identity, 1.0, format).lost == ()
    assert read_metadata(target) == kept
    same_but_for_rounding(source, target, 1.01 * 2**-15)


def test_samples_behind_a_wrong_size_are_not_searched_for_metadata(tmp_path):
    source = write_audio(tmp_path / "a.wav", np.zeros(900), 8000)
    data = source.read_bytes()
    start = data.index(b"data") + 4
    bext = b"bext" + struct.pack("<I", 4) + b"abcd"
    source.write_bytes(data[:start] + bytes(4) + bytes(8) + bext)
    assert read_metadata(source) == Metadata()


def test_metadata_that_cannot_be_kept_is_reported(identity, tmp_path, capsys):
    source = tmp_path / "in" / "a.wav"
    write_audio(source, white_noise(900).reshape(-1, 3), 8000, format="WAVEX")
    add_chunks(source, 0b111, bext=b"x" * 602)
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, 1, format="flac")
    report(done, tmp_path / "out")
    assert "warning: not kept: speaker mask, bext (1 file: a.wav)\n" in capsys.readouterr().err


def test_flac_comments_that_are_lost_are_reported(identity, tmp_path):
    write_audio(tmp_path / "a.flac", white_noise(900), 8000)
    data = (tmp_path / "a.flac").read_bytes()
    comments = [b"DESCRIPTION=a b", b"TITLE=c"]
    block = struct.pack("<I", 0) + struct.pack("<I", len(comments))
    block += b"".join(struct.pack("<I", len(c)) + c for c in comments)
    info = b"\0" + data[5:42]  # the stream's figures, no longer the last block
    with (tmp_path / "b.flac").open("wb") as file:
        audio = data[data.index(b"\xff\xf8", 42) :]
        file.write(b"fLaC" + info + b"\x84" + len(block).to_bytes(3, "big") + block + audio)
    assert enhance_file(tmp_path / "b.flac", tmp_path / "c.flac", identity, 1.0).lost == (
        "DESCRIPTION",
    )
    with sf.SoundFile(tmp_path / "c.flac") as file:
        assert file.title == "c"


def test_files_beyond_4_gib_become_rf64(identity, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_file, "WAV_BYTES", 1000)
    source = write_audio(tmp_path / "a.wav", white_noise(900))
    enhance_file(source, tmp_path / "b.wav", identity, 1.0)
    assert sf.info(tmp_path / "b.wav").format == "RF64"
    assert sf.info(tmp_path / "b.wav").frames == 900


def test_samples_above_full_scale_are_counted(identity, tmp_path):
    loud = replace(identity, knobs=Knobs(post_gain_db=20))
    x = np.full(2000, 0.2, np.float32)
    for subtype, wanted in (("PCM_16", 2000), ("FLOAT", 0)):
        source = write_audio(tmp_path / "a.wav", x, 8000, subtype=subtype)
        assert enhance_file(source, tmp_path / "b.wav", loud, 1.0).limited == wanted
        assert audio_io.read(tmp_path / "b.wav")[0].min() > 0.99


def test_failed_file_leaves_nothing_behind(identity, tmp_path):
    source = tmp_path / "a.wav"
    source.write_bytes(b"RIFF....WAVE")
    with pytest.raises(audio_io.AudioError):
        enhance_file(source, tmp_path / "out" / "a.wav", identity, 1.0)
    x = white_noise(9000)
    x[8000] = np.nan
    write_audio(source, x, 8000, subtype="FLOAT")
    with pytest.raises(audio_io.AudioError, match="NaN"):
        enhance_file(source, tmp_path / "out" / "a.wav", identity, 0.1)
    assert not list(tmp_path.rglob("out/*"))


# ---------------------------------------------------------------- folders


def test_short_files_share_a_batch_and_long_ones_do_not(causal, tmp_path, monkeypatch):
    for number in range(11):
        write_audio(
            tmp_path / "in" / f"{number}.wav", white_noise(500 + 700 * number, number), 8000
        )
    (tmp_path / "in" / "3.wav").write_bytes(b"none")
    calls = []
    real = folder.streaming.enhance_together
    monkeypatch.setattr(
        folder.streaming,
        "enhance_together",
        lambda r, model: calls.append(len(r)) or real(r, model),
    )
    done = enhance_folder(tmp_path / "in", tmp_path / "out", causal, block_seconds=0.5)
    assert (done.done, done.up_to_date, len(done.rejected)) == (10, 0, 1)
    assert calls == [5]
    assert done.audio_seconds == pytest.approx(
        sum(500 + 700 * n for n in range(11) if n != 3) / 8000
    )
    for number in (0, 1, 2, 4, 10):
        alone = tmp_path / "alone.wav"
        enhance_file(tmp_path / "in" / f"{number}.wav", alone, causal, 0.1)
        a, b = audio_io.read(alone)[0], audio_io.read(tmp_path / "out" / f"{number}.wav")[0]
        np.testing.assert_allclose(a, b, atol=1.01 * 2**-15)


def test_an_unusable_recording_is_reported_with_its_reason(causal, tmp_path):
    memo = tmp_path / "memo.m4a"
    memo.write_bytes(bytes(999))
    with pytest.raises(UserError, match=r"memo\.m4a: not readable .*another recording$"):
        enhance_folder(memo, tmp_path / "out", causal, 10)


def test_summary_of_a_run_is_one_line():
    done = folder.Summary(done=9, up_to_date=3, audio_seconds=2430, seconds=265)
    done.rejected.append(audio_io.Rejected("a.m4a", "no"))
    assert summary(done, Path("out")) == (
        "Enhanced 9 files (40.5 min) in 4 min 25 s -> out; "
        "3 up to date (--overwrite makes them again); "
        f"1 skipped, see {Path('out', folder.REJECTED)}"
    )
    assert summary(folder.Summary(done=1), Path("out")) == "Enhanced 1 file -> out"


def test_done_files_are_skipped_unless_settings_have_changed(causal, tmp_path):
    for name in ("a.wav", "deep/b.wav", "deep/c.flac"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    run = lambda model=causal, **o: enhance_folder(  # noqa: E731
        tmp_path / "in", tmp_path / "out", model, 10, **o
    )
    assert run(glob="*.flac").done == 1
    assert run(glob="deep/*").done == 1
    done = run()
    assert (done.done, done.up_to_date) == (1, 2)
    with pytest.raises(UserError, match="other settings"):
        run(replace(causal, knobs=Knobs(mix=0.5)))
    assert run(replace(causal, knobs=Knobs(mix=0.5)), overwrite=True).done == 3
    with pytest.raises(UserError, match=r"match \*\.mp3"):
        run(glob="*.mp3")


def test_results_of_earlier_weights_of_the_same_run_are_made_again(causal, tmp_path):
    for name in ("a.wav", "deep/b.wav"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    run = functools.partial(enhance_folder, tmp_path / "in", tmp_path / "out", causal, 10)
    path = tmp_path / "out" / log.NAME

    def grow_old() -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "old"}))

    assert run(run=tmp_path / "cp").renewed == 0
    grow_old()
    with pytest.raises(UserError, match="another checkpoint"):
        run(run=tmp_path / "other")
    with pytest.raises(UserError, match="another checkpoint"):  # a.wav would stay as it is
        run(run=tmp_path / "cp", glob="deep/*")
    done = run(run=tmp_path / "cp")
    assert (done.renewed, done.done, done.up_to_date) == (2, 2, 0)
    done = run(run=tmp_path / "cp")
    assert (done.renewed, done.done, done.up_to_date) == (0, 0, 2)


@pytest.mark.parametrize("known", [True, False])
def test_results_of_recordings_that_have_changed_are_made_again(causal, tmp_path, known):
    """Another recording under the name; without its log entry (0.1.0) a newer one."""
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    run = functools.partial(enhance_folder, tmp_path / "in", tmp_path / "out", causal, 10)
    assert run().done == 3
    path = tmp_path / "out" / log.NAME
    if not known:
        content = json.loads(path.read_text())
        del content["sources"]
        path.write_text(json.dumps(content))
    done = run(glob="b.wav")
    assert (done.done, done.changed, done.up_to_date) == (0, 0, 1)
    other = write_audio(tmp_path / "in" / "a.wav", white_noise(600, seed=1))
    times = [p.stat().st_mtime for p in (tmp_path / "out" / "a.wav", tmp_path / "in" / "b.wav")]
    os.utime(other, (0, times[0] + 1 if not known else times[0] - 1))  # a move keeps an old time
    write_audio(tmp_path / "in" / "b.wav", white_noise(700))
    os.utime(tmp_path / "in" / "b.wav", (0, times[1]))  # known since the run on b.wav alone
    done = run()
    assert (done.done, done.changed, done.up_to_date) == (2, 2, 1)
    enhance_file(other, tmp_path / "alone.wav", causal, 10)
    assert (tmp_path / "out" / "a.wav").read_bytes() == (tmp_path / "alone.wav").read_bytes()
    assert sf.info(tmp_path / "out" / "b.wav").frames == 700
    assert "; 2 of them from recordings that had changed; 1 up" in summary(done, Path("out"))
    assert provenance.pending(tmp_path / "out") == []
    done = run()
    assert (done.done, done.up_to_date) == (0, 3)


@pytest.mark.parametrize("renewed", [True, False])
def test_a_stopped_run_that_makes_results_again_leaves_no_mixture(
    causal, tmp_path, monkeypatch, renewed
):
    """Stopped after one of three: the next run makes the other two, without being asked again."""
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    out = tmp_path / "out"
    run = functools.partial(enhance_folder, tmp_path / "in", out, causal, 10, run=tmp_path / "cp")
    run()
    if renewed:
        content = json.loads((out / log.NAME).read_text())
        (out / log.NAME).write_text(json.dumps(content | {"model": "old"}))
    before = {p.name: p.stat().st_mtime_ns for p in out.rglob("*.wav")}
    with monkeypatch.context() as patch:
        patch.setattr(folder, "TOGETHER", 1)
        patch.setattr(log, "WRITE_SECONDS", 0)
        logged = []
        write = log.Log.write
        patch.setattr(
            log.Log, "write", lambda self: (logged.append(len(self.pending)), write(self))
        )
        real = folder.write_file

        def stopping(y, layout, target, format):
            if target.name == "b.wav":
                raise KeyboardInterrupt
            return real(y, layout, target, format)

        patch.setattr(folder, "write_file", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(overwrite=not renewed)
    assert logged == [3, 2, 2]  # a kill that leaves no time for the last one loses a file
    after = {p.name: p.stat().st_mtime_ns for p in out.rglob("*.wav")}
    assert {name for name in after if after[name] != before[name]} == {"a.wav"}
    assert provenance.pending(out) == ["b.wav", "deep/c.wav"]
    done = run()
    assert (done.done, done.up_to_date) == (2, 1)
    assert provenance.pending(out) == []
    assert (run().done, run().up_to_date) == (0, 3)


def test_results_of_another_model_are_not_called_ones_of_this(causal, tmp_path):
    """New files beside those of other settings are refused; with overwrite these stay named."""
    for name in ("a.wav", "deep/b.wav"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    run = functools.partial(enhance_folder, tmp_path / "in", tmp_path / "out")
    half = replace(causal, knobs=Knobs(mix=0.5))
    run(causal, 10, glob="a.wav")
    with pytest.raises(UserError, match=r"other settings \(the first: a\.wav\); name another"):
        run(half, 10, glob="deep/*")
    assert [p.name for p in (tmp_path / "out").rglob("*.wav")] == ["a.wav"]
    assert run(half, 10, glob="deep/*", overwrite=True).done == 1
    assert provenance.pending(tmp_path / "out") == ["a.wav"]
    done = run(half, 10)
    assert (done.done, done.up_to_date) == (1, 1)


def test_two_files_never_have_one_name(causal, tmp_path):
    for name in ("a.wav", "a.flac", "b.ogg"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10, format="flac")
    assert {p.name for p in (tmp_path / "out").glob("*.flac")} == {
        "a.wav.flac", "a.flac.flac", "b.flac"
    }  # fmt: skip


def test_formats_that_cannot_be_written_become_wav():
    names = [Path(name) for name in ("a.wav", "a.m4a", "deep/b.WEBM", "c.aifc")]
    assert inputs._result_names(names, AS_INPUT) == [
        Path(name) for name in ("a.wav", "a.m4a.wav", "deep/b.wav", "c.aifc")
    ]


@pytest.mark.parametrize("block_seconds", [10, 0.05])
def test_files_that_became_wav_by_their_names_are_wav(identity, tmp_path, block_seconds):
    for name, kind in (("a.sph", "NIST"), ("b.voc", "VOC"), ("c.aiff", "AIFF")):
        write_audio(tmp_path / "in" / name, white_noise(4000), 8000, format=kind)
    done = enhance_folder(tmp_path / "in", tmp_path / "out", identity, block_seconds)
    assert (done.done, done.rejected) == (3, [])
    found = {name: sf.info(tmp_path / "out" / name) for name in ("a.wav", "b.wav", "c.aiff")}
    assert [(i.format, i.frames) for i in found.values()] == [
        ("WAV", 4000), ("WAV", 4000), ("AIFF", 4000)
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode")
def test_folders_whose_names_are_not_unicode(causal, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    try:
        (tmp_path / "in" / name).mkdir(parents=True)
    except OSError:
        pytest.skip("the file system has Unicode names only")
    made = write_audio(tmp_path / "in" / "a.wav", white_noise(900))
    made.rename(tmp_path / "in" / name / "a.wav")
    done = enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10)
    assert (done.done, done.rejected) == (1, [])
    assert (tmp_path / "out" / name / "a.wav").is_file()


def test_two_runs_do_not_share_a_folder(causal, tmp_path):
    write_audio(tmp_path / "in" / "a.wav", white_noise(900))
    out = tmp_path / "out"
    with files.held(out), pytest.raises(UserError, match="out: another run is at work here"):
        enhance_folder(tmp_path / "in", out, causal, 10)
    assert not out.exists()
    assert enhance_folder(tmp_path / "in", out, causal, 10).done == 1


def test_where_no_file_can_be_used_their_list_is_written(causal, tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"no sound")
    with pytest.raises(UserError, match=rf"none of 2 files .*see .*{folder.REJECTED}"):
        enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10)
    lines = (tmp_path / "out" / folder.REJECTED).read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["path", "a.wav", "b.wav"]


def test_inputs_are_never_written_over(causal, tmp_path):
    write_audio(tmp_path / "in" / "in" / "a.wav", white_noise(600))
    write_audio(tmp_path / "in" / "a.wav", white_noise(600))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.wav")}
    (tmp_path / "same").symlink_to(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "in").symlink_to(tmp_path / "in" / "in")
    cases = [("in", "in"), ("in", "same"), ("in", "out"), ("in/in", "in")]
    cases += [("in/a.wav", "in"), ("in/a.wav", "same")]
    for source, target in cases:
        with pytest.raises(UserError):
            enhance_folder(tmp_path / source, tmp_path / target, causal, 10, overwrite=True)
    assert before == {p: p.read_bytes() for p in before}


def test_nothing_is_written_outside_the_output_folder(causal, tmp_path):
    write_audio(tmp_path / "in" / "deep" / "a.wav", white_noise(600))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of"):
        enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10)
    assert not list((tmp_path / "elsewhere").iterdir())
    # A link in the place of a file is replaced, not followed.
    (tmp_path / "out" / "deep").unlink()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "deep").mkdir()
    (tmp_path / "out" / "deep" / "a.wav").symlink_to(tmp_path / "precious")
    enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10, overwrite=True)
    assert (tmp_path / "precious").read_text() == "mine"
    assert sf.info(tmp_path / "out" / "deep" / "a.wav").frames == 600


def test_results_inside_the_input_folder_are_no_input(causal, tmp_path):
    write_audio(tmp_path / "in" / "a.wav", white_noise(600))
    for _ in range(2):
        done = enhance_folder(tmp_path / "in", tmp_path / "in" / "out", causal, 10, overwrite=True)
        assert done.done == 1


def test_pictures(causal, tmp_path):
    pytest.importorskip("matplotlib")
    write_audio(tmp_path / "in" / "deep" / "a.flac", white_noise(9000))
    enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10, spectrograms=True)
    picture = (tmp_path / "out" / "deep" / "a.flac.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    (tmp_path / "out" / "deep" / "a.flac.png").unlink()
    done = enhance_folder(tmp_path / "in", tmp_path / "out", causal, 10, spectrograms=True)
    assert (done.done, done.up_to_date) == (0, 1)
    assert (tmp_path / "out" / "deep" / "a.flac.png").is_file()


def test_processes_enhance_as_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SPREAD_BYTES", 0)
    for number in range(3):
        write_audio(tmp_path / "in" / f"{number}.wav", white_noise(9000, number), 16000)
    model = enhancer.load(runtime="onnx")
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert enhance_folder(tmp_path / "in", out, model, 10, workers=workers).done == 3
    for number in range(3):
        a, b = (tmp_path / str(workers) / f"{number}.wav" for workers in (1, 2))
        assert a.read_bytes() == b.read_bytes()


# ---------------------------------------------------------------- several inputs


def test_several_files_and_folders_go_into_one_folder(causal, tmp_path):
    for name in ("a.wav", "b.flac", "deep/c.wav"):
        write_audio(tmp_path / "in" / name, white_noise(600))
    sources = [tmp_path / "in" / "a.wav", tmp_path / "in" / "b.flac", tmp_path / "in" / "deep"]
    recordings = find_recordings(sources, tmp_path / "out")
    assert folder.enhance_folder(recordings, tmp_path / "out", causal, 10).done == 3
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "a.wav", "b.flac", "c.wav", log.NAME, ".specmask"
    }  # fmt: skip


def test_inputs_of_one_name_are_refused(tmp_path):
    for name in ("x/a.wav", "y/a.wav"):
        write_audio(tmp_path / name, white_noise(600))
    with pytest.raises(UserError, match=r"both would become .*a\.wav"):
        find_recordings([tmp_path / "x", tmp_path / "y" / "a.wav"], tmp_path / "out")


def test_a_file_is_no_folder_for_several_inputs(tmp_path):
    for name in "abc":
        write_audio(tmp_path / f"{name}.wav", white_noise(600))
    with pytest.raises(UserError, match=r"c\.wav: is a file; name a folder"):
        find_recordings([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "c.wav")


def test_a_file_into_a_file(tmp_path):
    write_audio(tmp_path / "a.flac", white_noise(9000), 8000)
    options = ["--config", make_project(tmp_path), "--runtime", "onnx"]
    call = lambda *arguments: call_script(  # noqa: E731
        "enhance.py", *options, *arguments, cwd=tmp_path
    )
    done = call("a.flac", "new/b.wav")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("-> new/b.wav\n")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b.wav"]
    assert sf.info(tmp_path / "new" / "b.wav").frames == 9000
    assert_error_line(call("a.flac", "new/b.wav"), "new/b.wav: exists; --overwrite replaces it")
    assert call("a.flac", "new/b.wav", "--overwrite").returncode == 0
    assert_error_line(call("a.flac", "a.flac", "--overwrite"), "is the input itself")
    write_audio(tmp_path / "a.m4a", white_noise(900), format="WAV")
    for source in ("a.flac", "a.m4a"):
        assert_error_line(call(source, "b.m4a"), "b.m4a: no format of that suffix")


def test_a_file_that_vanishes_or_grows_does_not_stop_the_rest(causal, tmp_path):
    for name in "abc":
        write_audio(tmp_path / "in" / f"{name}.wav", white_noise(600))
    recordings = find_recordings([tmp_path / "in"], tmp_path / "out")
    (tmp_path / "in" / "a.wav").unlink()
    with (tmp_path / "in" / "b.wav").open("ab") as file:
        file.write(bytes(400))
    done = folder.enhance_folder(recordings, tmp_path / "out", causal, 10)
    assert [r.path for r in done.rejected] == ["a.wav"]
    assert done.done == 2 and sf.info(tmp_path / "out" / "c.wav").frames == 600


# ---------------------------------------------------------------- long files


def test_ten_minutes_in_blocks_are_as_in_one_piece_in_the_memory_of_one(causal, tmp_path):
    peaks = {}
    for minutes in (1, 10):
        x = np.tile(white_noise(30 * 8000), 2 * minutes)
        source = write_audio(tmp_path / f"{minutes}.wav", x, 8000, subtype="FLOAT")
        tracemalloc.start()
        enhance_file(source, tmp_path / "out.wav", causal, 5)
        peaks[minutes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[10] < 1.2 * peaks[1] < 100e6  # of NumPy; a recording of 10 minutes has 19 MB
    wanted = array.enhance(x, 8000, causal)
    np.testing.assert_allclose(audio_io.read(tmp_path / "out.wav")[0][:, 0], wanted, atol=1e-5)
