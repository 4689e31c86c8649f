"""Raw samples through a pipe."""

import io
import subprocess

import numpy as np
import pytest
import soundfile as sf
from helpers import assert_error_line, call_script, make_run, script_command, white_noise

import specmask
from specmask.enhancement import enhancer, pipe
from specmask.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("piped"))


class Trickle(io.RawIOBase):
    """A source that gives odd numbers of bytes, as pipes do."""

    def __init__(self, data: bytes):
        self.inner, self.sizes = io.BytesIO(data), iter([1, 3, 500, 7, 2] * 10_000)

    def read1(self, size: int) -> bytes:
        return self.inner.read(min(size, next(self.sizes)))


@pytest.mark.parametrize("encoding, scale, step", [("s16le", 32768, 1), ("f32le", 1, 1e-5)])
@pytest.mark.parametrize("channels, rate", [(1, 8000), (2, 11025)])
def test_pipe_equals_the_array(run, encoding, scale, step, channels, rate):
    model = enhancer.load(run)
    x = (white_noise(3000) * scale).astype(pipe.ENCODINGS[encoding]).reshape(-1, channels)
    sink = io.BytesIO()
    done = pipe.enhance_pipe(Trickle(x.tobytes() + b"\1"), sink, model, encoding, rate, channels)
    y = np.frombuffer(sink.getvalue(), x.dtype).reshape(-1, channels)
    wanted = specmask.enhance(x.astype(np.float32) / scale, rate, model) * scale
    assert y.shape == x.shape and done.samples == len(x)
    assert (done.left_over_bytes, done.clipped) == (1, 0)
    np.testing.assert_allclose(y, wanted, atol=1.01 * step)
    assert 0.025 <= done.latency_seconds < (0.03 if rate == 8000 else 0.3)  # soxr works in blocks


def test_a_wav_file_is_not_taken_for_samples(run):
    file = io.BytesIO()
    sf.write(file, white_noise(900), 8000, format="WAV")
    with pytest.raises(UserError, match="found a WAV file, expected raw samples"):
        pipe.enhance_pipe(
            Trickle(file.getvalue()), io.BytesIO(), enhancer.load(run), "s16le", 8000, 1
        )


def test_clipped_samples_are_counted(run):
    x, sink = (white_noise(4000) * 32767).astype("<i2"), io.BytesIO()
    model = enhancer.load(run, knobs={"post_gain_db": 40})
    done = pipe.enhance_pipe(io.BytesIO(x.tobytes()), sink, model, "s16le", 8000, 1)
    loud = np.abs(specmask.enhance(x / np.float32(32768), 8000, model)) > 1
    assert 0 < done.clipped == loud.sum() < 4000


def test_single_samples_that_are_not_finite_are_counted(run):
    x, sink = white_noise(4000), io.BytesIO()
    x[2000:2003] = np.nan
    done = pipe.enhance_pipe(io.BytesIO(x.tobytes()), sink, enhancer.load(run), "f32le", 8000, 1)
    assert done.replaced == 3 and done.samples == 4000
    assert np.isfinite(np.frombuffer(sink.getvalue(), "<f4")).all()


def test_samples_of_another_encoding_are_refused(run):
    data = np.array([0, np.nan], "<f4").tobytes()
    with pytest.raises(UserError, match="NaN"):
        pipe.enhance_pipe(io.BytesIO(data), io.BytesIO(), enhancer.load(run), "f32le", 8000, 1)


def test_script_writes_nothing_but_samples(run):
    x = (white_noise(4000) * 32768).astype("<i2")
    command = script_command("enhance.py", "--stdin", "--stdout", "--config", run / "config.ini")
    command += ["--set", f"enhance.checkpoint={run}"]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    y = np.frombuffer(done.stdout, "<i2")
    wanted = specmask.enhance(x.astype(np.float32) / 32768, 8000, run) * 32768
    np.testing.assert_allclose(y, wanted, atol=1.01)
    assert b"latency" in done.stderr


def test_only_one_end_of_a_pipe(run, tmp_path):
    assert_error_line(call_script("enhance.py", "--stdin", cwd=tmp_path), "--stdout")
    assert_error_line(call_script("enhance.py", "in.wav", cwd=tmp_path), "in.wav: no OUT")
