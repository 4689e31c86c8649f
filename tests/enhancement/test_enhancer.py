"""Loading models: the default one, runs, exports; the runtime of each."""

import numpy as np
import pytest
from helpers import make_run, white_noise

import specmask
from specmask.config import ini
from specmask.enhancement import enhancer, postprocess, runtimes
from specmask.errors import UserError


def test_load_takes_a_folder_or_a_file(tmp_path):
    run = make_run(tmp_path)
    from_folder, from_file = enhancer.load(run), enhancer.load(str(run / "best.npz"))
    assert from_folder.digest == from_file.digest
    assert (from_folder.rate, from_folder.causal) == (8000, True)
    x = white_noise(1000)
    np.testing.assert_array_equal(
        specmask.enhance(x, 8000, run), specmask.enhance(x, 8000, from_file)
    )


@pytest.mark.parametrize("runtime", ["tensorflow", "onnx"])
def test_missing_weights_are_named(tmp_path, runtime):
    with pytest.raises(UserError, match=r"train\.py"):
        enhancer.load(tmp_path / "none", runtime=runtime)


def test_without_an_export_onnx_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"export\.py --checkpoint"):
        enhancer.load(make_run(tmp_path), runtime="onnx")


def test_default_model_is_used_until_there_is_a_run(tmp_path):
    run = make_run(tmp_path / "project")
    other = ini.load(run / "config.ini", [f"train.checkpoint_path={tmp_path / 'cp'}"])
    model, path = enhancer.from_config(other)
    assert path.parent == enhancer.PRETRAINED and model.rate == 16000
    onnx = ini.load(
        run / "config.ini", [f"train.checkpoint_path={tmp_path}", "enhance.runtime=onnx"]
    )
    assert enhancer.find(onnx).name == "default.onnx"


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [("auto", "LiteRt"), ("litert", "LiteRt"), ("onnx", "Onnx"), ("tensorflow", "KerasRuntime")],
)
def test_default_model_in_every_runtime(runtime, kind):
    model = specmask.load(runtime=runtime)
    assert type(model.runtime).__name__ == kind
    x = white_noise(8000)
    wanted = specmask.enhance(x, 16000, enhancer.PRETRAINED / "default.npz")
    np.testing.assert_allclose(specmask.enhance(x, 16000, model), wanted, atol=1e-4)


def test_default_model_runs_in_what_is_installed(monkeypatch):
    for missing, name in ((".tflite", "default.onnx"), (".onnx", "default.npz")):
        monkeypatch.setitem(runtimes.PACKAGES, missing, "not_installed_at_all")
        assert enhancer.default_model().name == name


def test_missing_default_model_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(enhancer, "PRETRAINED", tmp_path)
    with pytest.raises(UserError, match="no default weights"):
        specmask.load("default")


def test_unknown_runtimes_are_refused():
    with pytest.raises(ValueError, match="expected one of auto, tensorflow, litert, onnx"):
        specmask.load(runtime="torch")


def test_settings_come_from_the_configuration(tmp_path):
    run = make_run(tmp_path)
    options = ["channels=mid", "highband=drop", "max_suppression_db=20", "mix=0.5"]
    options = [f"enhance.{o}" for o in [*options, "post_gain_db=3", f"checkpoint={run}"]]
    model, path = enhancer.from_config(ini.load(run / "config.ini", options))
    assert path == run
    assert (model.channels, model.highband) == ("mid", "drop")
    assert model.knobs == postprocess.Knobs(20, 0.5, 3)
