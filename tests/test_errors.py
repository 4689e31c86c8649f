"""Packages that cannot be imported: which, why, and what to do, in one line."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from specmask import parallel, silence
from specmask.audio import spectrogram
from specmask.config.inference import Compute
from specmask.data.mixtures import rir
from specmask.errors import UserError


def connect(engine: str) -> None:
    with parallel.engine(Compute(engine=engine)):
        pass


class Broken:
    """A finder of packages whose native library does not load."""

    def find_spec(self, name: str, *others: object) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == self.name else None

    def __init__(self, name: str):
        self.name = name

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fail as TensorFlow does, whose own text is a traceback."""
        try:
            raise ImportError("DLL load failed:\nno such procedure")
        except ImportError:
            raise ImportError("Traceback (most recent call last):\n  File") from None


@pytest.mark.parametrize(
    ("package", "function"),
    [
        ("tensorflow", silence.import_tensorflow),
        ("matplotlib", spectrogram.import_matplotlib),
        ("pyroomacoustics", rir.library),
        ("distributed", lambda: connect("dask")),
        ("ray", lambda: connect("ray")),
    ],
)
def test_packages_that_are_missing_or_broken(
    package: str, function: Callable, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=f"is not installed .*{package}.*; pip install"):
            function()
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(package), *sys.meta_path])
    with pytest.raises(UserError) as caught:
        function()
    assert "cannot be imported (DLL load failed: no such procedure); pip install" in str(
        caught.value
    )
