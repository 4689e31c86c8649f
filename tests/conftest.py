"""Fixtures that several tests share; functions are in helpers.py."""

from pathlib import Path

import pytest
from helpers import make_corpus, make_test_set
from hypothesis import settings

# No deadlines on busy machines, and the same examples on every run.
settings.register_profile("specmask", deadline=None, derandomize=True)
settings.load_profile("specmask")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of recordings for reading only."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A test set of three files with its manifest, an enhanced folder and an INI file."""
    return make_test_set(tmp_path)
