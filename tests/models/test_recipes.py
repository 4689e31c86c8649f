"""Every recipe: its header has all parts, its options are known, its network has its size."""

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import ROOT

from specmask import models
from specmask.cli import recipes as command
from specmask.config import ini, schema
from specmask.errors import UserError
from specmask.models import complexity
from specmask.training.losses import Objective

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.ini"))
PARTS = "Source", "Data", "Command", "Expected"
SHARED = (ROOT.parent / "shared" / "data").resolve()

# Published, counted by hand in test_models.py, or what README and documents say.
PARAMETERS = {
    "default": 122_234,
    "voicebank_demand": 44_236,
    "demo": 21_394,
    "bench": 1_522_438,
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


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
def test_a_recipe_holds_no_folders(name):
    """Alone it takes the defaults in the working directory; over another file those of the file."""
    read = ini.read(ROOT / "recipes" / f"{name}.ini").values
    values = [value.text for section in read.values() for value in section.values()]
    assert not any(isinstance(value, Path) for value in values)
    assert load(name).train.run_name == name
    assert load(name).data.clean_train_path == Path.cwd() / "data/clean/clean_train"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_goes_over_the_folders_of_another_file(name):
    if name == "demo":
        found, folder = load(name), ROOT / "demo/out"
    else:
        below = "noizeus" if name.startswith("doyosae") else "folders"
        layers = [ROOT / "benchmarks" / f"{below}.ini", ROOT / "recipes" / f"{name}.ini"]
        found, folder = ini.load(layers), ROOT / "runs"
        assert found.data.clean_train_path.is_relative_to(SHARED)
        assert found.model == load(name).model
    for path in (found.data.data_path, found.train.checkpoint_path, found.enhance.output_path):
        assert path.is_relative_to(folder)


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
        if name.startswith("doyosae"):
            assert c.data.train_pairs == ["*_sn0", "*_sn5", "*_sn10"]
            assert c.data.test_pairs == ["*_sn15"]
    c = ini.load(ROOT / "benchmarks/folders.ini")
    assert {c.data.clean_train_path.name, c.data.noise_train_path.name} == {
        "clean_train", "noise_train",
    }  # fmt: skip


def test_recipes_are_listed_with_a_line_each(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(RECIPES)]] == RECIPES
    assert all(line.endswith(".") and len(line) > 40 for line in lines[: len(RECIPES)])


def test_recipes_are_found_from_any_folder_unless_it_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("recipes/default.ini")
    assert ini.load(path).model == load("default").model
    path.parent.mkdir()
    path.write_text("[model]\nnetwork = unet\n")
    assert ini.load(path).model.network == "unet"
    for other in ("default.ini", tmp_path / "work/recipes/default.ini", "work/recipes/default.ini"):
        with pytest.raises(UserError, match="no such file"):
            ini.load(Path(other))
