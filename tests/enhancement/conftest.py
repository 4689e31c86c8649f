"""Models that several tests of this folder share."""

import pytest
from helpers import make_run

from specmask.enhancement import enhancer
from specmask.enhancement.enhancer import Enhancer


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    """A causal network whose mask is one everywhere."""
    return enhancer.load(make_run(tmp_path_factory.mktemp("identity"), identity=True))


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    """A causal network with random weights."""
    return enhancer.load(make_run(tmp_path_factory.mktemp("causal")))
