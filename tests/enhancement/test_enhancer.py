"""Finding and loading what has been trained."""

import numpy as np
import pytest
from helpers import make_run, white_noise

import specmask
from specmask.config import ini
from specmask.enhancement import enhancer, postprocess
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
def test_what_is_missing_is_named(tmp_path, runtime):
    with pytest.raises(UserError, match=r"train\.py"):
        enhancer.load(tmp_path / "none", runtime=runtime)


def test_without_an_export_onnx_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"export\.py --checkpoint"):
        enhancer.load(make_run(tmp_path), runtime="onnx")


def test_default_weights_are_used_until_a_run_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(enhancer, "PRETRAINED", tmp_path / "pretrained")
    run = make_run(tmp_path / "project")
    other = ini.load(run / "config.ini", [f"train.checkpoint_path={tmp_path / 'cp'}"])
    with pytest.raises(UserError, match="no trained run, and no default"):
        enhancer.find(other)
    (tmp_path / "pretrained").mkdir()
    for name, kept in (("best.npz", "default.npz"), ("config.ini", "default.ini")):
        (run / name).rename(tmp_path / "pretrained" / kept)
    model, path = enhancer.from_config(other)
    assert path == tmp_path / "pretrained" / "default.npz"
    assert model.rate == 8000
    (tmp_path / "pretrained" / "default.onnx").touch()
    onnx = other.model_copy(
        update={"enhance": other.enhance.model_copy(update={"runtime": "onnx"})}
    )
    assert enhancer.find(onnx).name == "default.onnx"
    assert not enhancer.needs_tensorflow(onnx)


def test_settings_come_from_the_configuration(tmp_path):
    run = make_run(tmp_path)
    options = ["channels=mid", "highband=drop", "max_suppression_db=20", "mix=0.5"]
    options = [f"enhance.{o}" for o in [*options, "post_gain_db=3", f"checkpoint={run}"]]
    model, path = enhancer.from_config(ini.load(run / "config.ini", options))
    assert path == run
    assert (model.channels, model.highband) == ("mid", "drop")
    assert model.knobs == postprocess.Knobs(20, 0.5, 3)
