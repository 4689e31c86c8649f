"""Exports give what the Keras model gives, in runtimes without TensorFlow."""

import keras
import numpy as np
import pytest
from conftest import ROOT

from specmask import config, export, models, runtime
from specmask.errors import UserError

SMALL = ["model.conv_channels=3", "model.squeeze_channels=2", "model.recurrent_units=6"]
SMALL += [
    "model.dense_units=5",
    "model.attention_heads=2",
    "stft.n_fft=256",
    "data.sample_rate=8000",
]
TOLERANCE = 1e-4


def small(*options: str) -> config.Config:
    return config.load(ROOT / "config.ini", [*SMALL, *options])


def noisy(frames: int, bins: int = 129) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, frames, bins, 2)).astype(np.float32)


@pytest.fixture(scope="module", params=sorted(models.NETWORKS))
def exported(request, tmp_path_factory):
    """A network, and the folder of its exports."""
    pytest.importorskip("tf2onnx", reason="needs the extra export")
    folder = tmp_path_factory.mktemp(request.param)
    cfg = small(f"model.network={request.param}")
    keras.utils.set_random_seed(0)
    network = models.build(cfg)
    weights = [np.asarray(v) for v in network.model.variables]
    step = export.step_model(cfg, weights)
    description = export.describe(cfg, "of nothing")
    export.write_onnx(step, folder / "step.onnx", description)
    export.write_litert(step, folder / "step.tflite", description)
    return network, folder


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_steps_equal_the_network(exported, name):
    network, folder = exported
    x = noisy(70)  # more than the state of any layer reaches back
    wanted, _ = network(x, network.zero_state(2))
    step = runtime.load(folder / name)
    state, parts = step.zero_state(2), []
    for start, stop in ((0, 1), (1, 30), (30, 70)):
        part, state = step.mask(x[:, start:stop], state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=TOLERANCE)
    assert export.milliseconds(step, frames=2, repeats=1) > 0


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_exports_tell_what_a_runtime_must_know(exported, name):
    found = runtime.load(exported[1] / name).description
    assert (found.sample_rate, found.digest, found.causal) == (8000, "of nothing", True)
    assert (found.stft.window_length, found.stft.hop_length, found.stft.n_fft) == (200, 80, 256)
    assert found.states["level_state"] == [2]


def test_what_is_no_export_is_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    for name in ("a.onnx", "a.txt"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(UserError, match="a.onnx" if name == "a.onnx" else "expected"):
            runtime.load(tmp_path / name)
    with pytest.raises(UserError, match="expected"):
        runtime.load(tmp_path / "none.onnx")


def test_networks_that_are_not_causal_have_no_step():
    with pytest.raises(UserError, match="not causal"):
        export.step_model(small("model.bidirectional=yes"))
