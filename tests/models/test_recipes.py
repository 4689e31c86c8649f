"""Every recipe: its header has all parts, its options are known, its network has its size."""

import keras
import numpy as np
import pytest
from helpers import ROOT

from specmask import models
from specmask.config import ini, schema
from specmask.models import complexity
from specmask.training.losses import Objective

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.ini"))
PARTS = "Source", "Data", "Command", "Expected"
SHARED = (ROOT.parent / "shared" / "data").resolve()

# Published, counted by hand in test_models.py, or what README and documents say.
PARAMETERS = {
    "default": 44_236,
    "voicebank_demand": 44_236,
    "demo": 6_866,
    "wilson2018_causal": 14_082_652,
    "wilson2018_blstm3": 77_828_851,
    "yunyangzeng": 27_579_091,
    "wilson2018_blstm": 27_579_091,
    "vbelz_unet_8k": 1_941_093,
    "kaushal_autoencoder_8k": 1_941_093,
    "doyosae_mapping": 81_801_217,
    "doyosae_ibm_mse": 81_801_217,
    "doyosae_ibm_bce": 81_801_217,
    "doyosae_irm": 81_801_217,
    "doyosae_unet_bce_dice": 7_760_069,
}


def load(name: str) -> schema.Config:
    return ini.load(ROOT / "recipes" / f"{name}.ini")


@pytest.mark.parametrize("name", RECIPES)
def test_header_has_its_parts(name):
    lines = (ROOT / "recipes" / f"{name}.ini").read_text(encoding="utf-8").splitlines()
    header = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert len(header[0]) > 20 and header[0].endswith(".") and ":" not in header[0][:12]
    found = [line[2:].partition(":")[0] for line in header[1:]]
    assert [part for part in found if part in PARTS] == list(PARTS)
    text = " ".join(header)
    assert f"recipes/{name}.ini" in text or "make demo" in text
    expected = text.partition("Expected:")[2]
    assert "SI-SDR" in expected or name == "realistic"
    assert "minutes" in expected or name == "realistic"
    # a stand-in for a published data set has to be called one
    outside = {"bench", "default", "demo", "realistic"}
    assert name in outside or "surrogate data" in text or "NOIZEUS" in text


@pytest.mark.parametrize("name", RECIPES)
def test_folders_are_its_own(name):
    c = load(name)
    assert c.train.run_name == name
    own = ROOT / ("demo/out" if name == "demo" else f"runs/{name}")
    assert c.data.data_path.is_relative_to(own)
    written = c.train.checkpoint_path, c.train.log_path, c.enhance.output_path
    for path in (*written, c.evaluate.report_path):
        assert path.is_relative_to(own)
    if name != "demo":
        for path in (c.data.clean_train_path, c.data.clean_test_path):
            assert path.is_relative_to(SHARED)


@pytest.mark.parametrize("name", RECIPES)
def test_network_has_the_published_size(name, monkeypatch):
    # values do not matter here, and drawing 82 million takes its time
    for kind in (keras.initializers.VarianceScaling, keras.initializers.Orthogonal):
        monkeypatch.setattr(kind, "__call__", lambda _, shape, dtype=None: np.zeros(shape, dtype))
    found = complexity.parameters(models.build(load(name)).model)
    assert found == PARAMETERS.get(name, found) and found > 1000
    assert Objective(load(name)).names


def test_nothing_is_trained_on_what_is_for_testing():
    """The exception: the Doyosae recipes train on three SNRs of NOIZEUS and say so."""
    for name in RECIPES:
        c = load(name)
        inputs = {c.data.clean_train_path.name, c.data.noise_train_path.name}
        if name.startswith("doyosae"):
            assert c.data.train_pairs == ["*_sn0", "*_sn5", "*_sn10"]
            assert c.data.test_pairs == ["*_sn15"]
        else:
            assert not inputs & {"clean_test", "noise_test", "bench", "noizeus_8k"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_told_in_the_readme(name):
    assert f"recipes/{name}.ini" in (ROOT / "README.md").read_text(encoding="utf-8")
