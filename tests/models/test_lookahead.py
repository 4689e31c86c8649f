"""Look-ahead of every causal network, in streams, exports and commands."""

import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile as sf
from helpers import (
    ROOT,
    assert_error_line,
    call_script,
    causal_networks,
    error_db,
    make_project,
    make_run,
    white_noise,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import specmask
from specmask import models
from specmask.audio import stft
from specmask.config import ini as configuration
from specmask.enhancement import enhancer, live, pipe, runtimes, streaming
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.postprocess import Knobs
from specmask.errors import UserError
from specmask.export import formats
from specmask.models import targets

FRAMES = [0, 1, 4]  # of look-ahead; a hop is 10 ms
OPTIONS = ["model.attention_heads=2", "model.delta_phase=time"]


@pytest.fixture(
    scope="module", params=[(name, late) for name in causal_networks() for late in FRAMES]
)
def model(request, tmp_path_factory) -> Enhancer:
    """A run of every causal network with every look-ahead, at 8 kHz."""
    name, late = request.param
    found = enhancer.load(make(tmp_path_factory.mktemp("run"), name, late))
    assert found.lookahead_frames == late
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run that looks four frames ahead."""
    return make(tmp_path_factory.mktemp("ahead"), "band_lstm", 4)


@pytest.fixture(scope="module")
def ahead(run) -> Enhancer:
    return enhancer.load(run)


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Enhancer:
    """Four frames ahead, and the mask is one everywhere."""
    folder = tmp_path_factory.mktemp("identity")
    return enhancer.load(make(folder, "conv_lstm", 4, identity=True))


def make(folder: Path, name: str, late: int, **options: bool) -> Path:
    return make_run(
        folder, f"model.network={name}", f"model.lookahead_ms={10 * late}", *OPTIONS, **options
    )


def build(*options: str) -> models.Network:
    keras.utils.set_random_seed(1)
    return models.build(
        configuration.load(ROOT / "config.ini", ["model.conv_channels=3", *options])
    )


def spectra(frames: int, bins: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, frames, bins, 2)).astype(np.float32)


def by_hand(model: Enhancer, x: np.ndarray) -> np.ndarray:
    """The slow reference: one spectrum, then zeros; the masks moved by hand; one inverse."""
    noisy, late = stft.forward(x[None], model.stft), model.lookahead_frames
    network = model.runtime.network
    longer = np.concatenate([noisy, np.zeros((1, late, model.stft.bins), np.complex64)], axis=1)
    mask, _ = network(stft.to_pairs(longer), network.zero_state(1))
    moved = stft.to_complex(mask.numpy())[:, late:]
    return stft.inverse(moved * noisy, len(x), model.stft)[0]


# ---------------------------------------------------------------- the network


def test_a_frame_changes_nothing_before_the_look_ahead(model):
    network, late = model.runtime.network, model.lookahead_frames
    x = spectra(30, model.stft.bins)
    other = x.copy()
    other[:, 20] += 3
    difference = np.abs(network.mask(x) - network.mask(other)).max(axis=(0, 2, 3))
    assert difference.shape == (30,)
    assert (difference[: 20 - late] == 0).all()
    assert (difference[20 - late :] > 0).all()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_mask_is_made_of_the_frame_that_it_is_for(name):
    """With the same output at every frame, look-ahead can change nothing."""
    found = []
    for late in (0, 40):
        network = build(
            "model.network=band_lstm", f"model.target={name}", f"model.lookahead_ms={late}"
        )
        *_, kernel, bias = network.model.trainable_variables
        kernel.assign(np.zeros(kernel.shape))
        bias.assign(np.linspace(0.3, 0.7, *bias.shape))
        found.append(network.mask(spectra(12, 257)))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_gradient_reaches_every_weight(ahead):
    import tensorflow as tf

    network = ahead.runtime.network
    with tf.GradientTape() as tape:
        enhanced, _ = network.estimate(spectra(20, ahead.stft.bins), True)
        loss = tf.reduce_sum(tf.square(enhanced))
    weights = network.model.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize(
    "options",
    [
        ["model.network=unet"],
        ["model.network=autoencoder"],
        ["model.network=conv_lstm", "model.bidirectional=yes"],
    ],
)
def test_networks_that_are_not_causal_refuse_it(options):
    with pytest.raises(UserError, match=r"lookahead_ms = 1 .*not causal.* 0") as caught:
        build(*options, "model.lookahead_ms=1")
    assert "\n" not in str(caught.value)


@given(st.floats(0, 200), st.floats(0.001, 0.025), st.sampled_from([8000, 11025, 44100]))
def test_look_ahead_is_rounded_up_to_whole_hops(ms, hop, rate):
    options = [f"model.lookahead_ms={ms}", f"STFT.hop_size={hop}", f"data.sample_rate={rate}"]
    frames = configuration.load(ROOT / "config.ini", [*options, "STFT.n_fft=2048"]).lookahead_frames
    assert ms / 1000 <= (frames + 1e-5) * hop
    assert frames == 0 or (frames - 1) * hop < ms / 1000


@pytest.mark.parametrize("hop_ms", [1.2, 5, 8, 10, 16])
def test_whole_hops_of_look_ahead_stay_as_they_are(hop_ms):
    """8.4 / (1000 * 0.0012) is a little more than 7."""
    for frames in (0, 1, 7, 12):
        options = [f"model.lookahead_ms={frames * hop_ms:g}", f"STFT.hop_size={hop_ms / 1000:g}"]
        assert configuration.load(ROOT / "config.ini", options).lookahead_frames == frames


# ---------------------------------------------------------------- streams


@given(st.lists(st.integers(0, 700), min_size=1, max_size=20), st.integers(0, 99))
@settings(max_examples=4)
def test_stream_of_any_blocks_equals_the_whole(model, sizes, seed):
    x = white_noise(sum(sizes), seed)
    streamer, parts, at = specmask.Streamer(model), [], 0
    for size in sizes:
        parts.append(streamer.feed(x[at : at + size]))
        at += size
    y = np.concatenate([*parts, streamer.flush()])
    assert y.shape == x.shape
    if len(x):
        np.testing.assert_allclose(y, by_hand(model, x), atol=1e-5)


def test_stream_is_later_by_the_look_ahead(model):
    streamer, hop = specmask.Streamer(model), 80
    for _ in range(50):
        streamer.feed(white_noise(hop))
    assert streamer.lag == 200 - hop + model.lookahead_frames * hop
    assert model.latency_seconds == pytest.approx(0.025 + 0.01 * model.lookahead_frames)


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
@pytest.mark.parametrize("samples", [1, 79, 4001])
def test_identity_mask_gives_the_input_back(identity, rate, samples):
    x = white_noise(2 * samples).reshape(-1, 2)
    assert error_db(specmask.enhance(x, rate, identity), x) < -120


def test_recordings_in_company_are_enhanced_as_if_alone(ahead):
    sizes = ((2000, 1, 8000), (900, 2, 8000), (2500, 1, 16000), (1, 1, 8000))
    found = [(white_noise(n * c, n).reshape(n, c), rate) for n, c, rate in sizes]
    for (x, rate), y in zip(found, streaming.enhance_together(found, ahead), strict=True):
        np.testing.assert_allclose(y, specmask.enhance(x, rate, ahead), atol=1e-6)


def test_linked_channels_weigh_the_frame_that_the_mask_is_for(ahead):
    """The two channels take turns: the power of another frame would weigh the other one."""
    x = white_noise(8000).reshape(2, -1)
    turns = np.arange(x.shape[1]) // 240 % 2
    x *= np.stack([0.02 + turns, 1.02 - turns]).astype(np.float32)
    noisy = stft.forward(x, ahead.stft)
    mask = stft.to_complex(ahead.runtime.network.mask(stft.to_pairs(noisy)).numpy())
    power = (np.abs(noisy) ** 2).sum(axis=2, keepdims=True) + 1e-12
    wanted = (mask * power).sum(axis=0) / power.sum(axis=0) * noisy
    wanted = stft.inverse(wanted.astype(np.complex64), x.shape[1], ahead.stft)
    np.testing.assert_allclose(specmask.enhance(x.T, 8000, ahead).T, wanted, atol=1e-5)


def test_bypass_of_live_sound_is_equally_late(ahead):
    session = live.Live(ahead)
    session.toggle()
    x = white_noise(4000)
    y = np.concatenate([session.process(x[k : k + 80]) for k in range(0, 4000, 80)])
    late = session.delay
    assert late >= 4 * 80 + 120
    np.testing.assert_allclose(y[late:], x[: 4000 - late], atol=1e-5)
    assert not y[:late].any()
    assert session.underruns == 0


# ---------------------------------------------------------------- exports


@pytest.fixture(scope="module")
def exported(ahead, tmp_path_factory) -> Path:
    """The folder of the steps of the run that looks ahead."""
    pytest.importorskip("onnx", reason="needs the extra export")
    folder = tmp_path_factory.mktemp("exported")
    formats.export_run(ahead.runtime, ["onnx", "litert"], folder, False, Knobs(mix=0.8))
    return folder


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite", "whole.onnx"])
def test_exports_equal_the_network(ahead, exported, name):
    x = white_noise(3000)
    wanted = specmask.enhance(x, 8000, replace(ahead, knobs=Knobs(mix=0.8)))
    if name == "whole.onnx":
        found = runtimes.session(exported / name).run(None, {"noisy": x[None]})[0][0]
    else:
        step = enhancer.load(exported / name, knobs=Knobs(mix=0.8))
        assert step.latency_seconds == ahead.latency_seconds
        found = specmask.enhance(x, 8000, step)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("program, name", [("onnx", "step.onnx"), ("litert", "step.tflite")])
def test_examples_apply_the_look_ahead(ahead, exported, program, name):
    spec = importlib.util.spec_from_file_location("example", ROOT / f"examples/{program}_wav.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    x = white_noise(3000)
    wanted = specmask.enhance(x, 8000, replace(ahead, knobs=Knobs(mix=0.8)))
    found = example.enhance(x, *example.load(str(exported / name)))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_older_descriptions_have_none(ahead):
    values = json.loads(ahead.runtime.description.to_json())
    assert values.pop("lookahead_frames") == 4
    assert runtimes.Description.from_json(json.dumps(values)).lookahead_frames == 0


# ---------------------------------------------------------------- pipes and scripts


def test_pipes_are_later_by_it(ahead):
    x, sink = (white_noise(8000) * 32768).astype("<i2"), io.BytesIO()
    done = pipe.enhance_pipe(io.BytesIO(x.tobytes()), sink, ahead, "s16le", 8000, 1)
    wanted = specmask.enhance(x.astype(np.float32) / 32768, 8000, ahead) * 32768
    np.testing.assert_allclose(np.frombuffer(sink.getvalue(), "<i2"), wanted, atol=1.01)
    assert 0.064999 <= done.latency_seconds <= 0.065001


def test_commands_report_the_look_ahead(tmp_path):
    ini = make_project(tmp_path)
    options = ["--config", ini, "--set", "model.lookahead_ms=25", "--set", "train.epochs=1"]
    for script in ("data_prep.py", "stft.py"):
        assert call_script(script, *options, cwd=tmp_path).returncode == 0
    both = [*options, "--set", "model.bidirectional=yes"]
    assert_error_line(call_script("train.py", *both, cwd=tmp_path), "lookahead_ms", "not causal")
    trained = call_script("train.py", *options, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "per second of audio, 30 ms of look-ahead, " in trained.stdout
    done = call_script("enhance.py", *options, cwd=tmp_path)
    assert "(causal, 30 ms of look-ahead)\n" in done.stdout, done.stderr
    for path in (tmp_path / "data" / "NoisySpeech_testing").iterdir():
        assert sf.info(tmp_path / "enhanced" / path.name).frames == sf.info(path).frames
