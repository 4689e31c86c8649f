"""Fixtures that several tests share; functions are in helpers.py."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import TOTALS, data_config, make_corpus, make_data, make_test_set, snapshot
from hypothesis import settings

# No deadlines on busy machines, and the same examples on every run.
settings.register_profile("specmask", deadline=None, derandomize=True)
settings.load_profile("specmask")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let slow tests make more or fewer attempts."""
    text = "share of the attempts of the slow tests (default 0.1)"
    parser.addoption("--attempts", type=float, default=0.1, help=text)


@pytest.fixture
def attempts(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """A function: attempts of a full trial -> those to make now, one at least."""
    share = request.config.getoption("--attempts")
    return lambda count: max(1, round(share * count))


@pytest.fixture
def rng() -> random.Random:
    """Random numbers, the same in every run."""
    return random.Random(0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of recordings for reading only."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a data set of TOTALS that one worker makes."""
    folder = tmp_path_factory.mktemp("expected")
    make_data(data_config(corpus, folder, **TOTALS))
    return snapshot(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A test set of three files with its manifest, an enhanced folder and an INI file."""
    return make_test_set(tmp_path)
