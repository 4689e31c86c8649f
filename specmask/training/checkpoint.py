"""Checkpoints: one file each, complete or not there, readable without TensorFlow.

A checkpoint is an ``.npz`` of plain arrays (never pickled): ``model/...`` the weights,
``optimizer/...``, ``average/...`` (their running mean), ``seeds/...`` and ``scale/...`` what else a
step depends on, and ``state`` a JSON text with the counters. A run's folder is ``cp/<run>/``:
    config.ini      the configuration it was last trained with, resolved
    ckpt-*.npz      the last few, by step
    best.npz        the (mean) weights with the lowest validation loss so far
    history.csv     one row an epoch
"""

import io
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files
from specmask.errors import UserError

# What zipfile, NumPy and json raise on files that somebody has damaged or forged.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError, RuntimeError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
DAMAGED = "{path}: damaged checkpoint ({error}); remove it to use an older one"


def save(path: Path, groups: dict[str, Iterable[Any]], state: dict[str, Any]) -> None:
    """Write variables by group and a JSON state, atomically."""
    arrays = {
        f"{group}/{number:04d}": np.asarray(v)
        for group, variables in groups.items()
        for number, v in enumerate(variables)
    }
    with files.replacing(path) as temporary:
        np.savez(temporary, state=np.array(json.dumps(state)), **arrays)


def load(path: Path, groups: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """Assign a checkpoint's arrays to variables and return its state.

    Nothing is assigned unless everything fits.

    Raises:
        UserError: if the file is damaged or belongs to another network.
    """
    arrays, state = read(path)
    pairs = []
    for group, variables in groups.items():
        stored = sum(name.startswith(f"{group}/") for name in arrays)
        if stored != len(variables):
            raise UserError(
                f"{path}: found {stored} arrays of the {group}, expected {len(variables)}; the "
                "checkpoint is of another network: use the run's own config.ini or --fresh"
            )
        for number, variable in enumerate(variables):
            array = arrays.get(f"{group}/{number:04d}")
            name = getattr(variable, "path", f"{group}/{number}")
            if array is None or array.shape != tuple(variable.shape):
                found = "nothing" if array is None else f"shape {array.shape}"
                raise UserError(
                    f"{path}: {name}: found {found}, expected shape {tuple(variable.shape)}; the "
                    "checkpoint is of another network: use the run's own config.ini or --fresh"
                )
            pairs.append((variable, array))
    for variable, array in pairs:
        variable.assign(array)
    return state


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the state of a checkpoint.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with _opened(path) as file:
            names = [name.removesuffix(".npy") for name in file.namelist()]
            arrays = {name: _array(file, name) for name in names}
        return arrays, _counters(arrays.pop("state"))
    except DAMAGE as error:
        raise UserError(DAMAGED.format(path=path, error=error)) from None


def state(path: Path) -> dict[str, Any]:
    """Return the state of a checkpoint alone, without reading its arrays.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with _opened(path) as file:
            return _counters(_array(file, "state"))
    except DAMAGE as error:
        raise UserError(DAMAGED.format(path=path, error=error)) from None


def _opened(path: Path) -> zipfile.ZipFile:
    """Open a checkpoint whose parts together are no longer than the file: none is compressed."""
    file = zipfile.ZipFile(path)
    if sum(part.file_size for part in file.infolist()) > path.stat().st_size:
        file.close()
        raise ValueError("its parts claim to be longer than the file")
    return file


def _array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array, never a pickle, after its shape was seen to be that of the bytes there.

    np.load would first allocate whatever a shape asks for.
    """
    content = io.BytesIO(file.read(f"{name}.npy"))
    version = np.lib.format.read_magic(content)
    if version != (1, 0):
        raise ValueError(f"{name}: version {version} of its format, expected (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(content)
    claimed, there = math.prod(shape) * dtype.itemsize, len(content.getbuffer()) - content.tell()
    if claimed != there:
        raise ValueError(f"{name}: claims {claimed} bytes and has {there}")
    content.seek(0)
    return np.lib.format.read_array(content, allow_pickle=False)


def _counters(text: np.ndarray) -> dict[str, Any]:
    found = json.loads(str(text))
    if not isinstance(found, dict):
        raise ValueError("its state holds no counters")
    return found
