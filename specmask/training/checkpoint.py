"""Checkpoints: one file each, complete or absent, readable without TensorFlow.

A checkpoint is an ``.npz`` of plain arrays (never pickled), named by group and variable:
    model/...       the weights, and the seeds of dropout: model/conv1/kernel
    optimizer/...   its moments and counters
    average/...     the running mean of the weights
    scale/...       the loss scale of float16
    state           a JSON text with the counters of the run
Older files number their arrays (model/0000, model/0001, ...) in the order of the variables.

A run's folder is ``cp/<run>/``:
    config.ini      the configuration it was last trained with, resolved
    ckpt-*.npz      the last few, by step
    best.npz        the (mean) weights with the lowest validation loss so far
    history.csv     one row per epoch
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files
from specmask.errors import UserError
from specmask.files import parse_json

DAMAGED = "{path}: damaged checkpoint ({error}); remove it to use an older one"
OTHER = "the checkpoint is of another network: use the run's own config.ini or --fresh"

# By group and name: arrays, or variables that can be assigned.
Groups = Mapping[str, Mapping[str, Any]]


def save(path: Path, groups: Groups, state: Mapping[str, Any]) -> None:
    """Write variables by group and name, and a JSON state, atomically.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "best.npz"
    ...     save(path, {"model": {"mask/bias": np.zeros(3)}}, {"epoch": 2})
    ...     arrays, state_of_run = read(path)
    >>> sorted(arrays), state_of_run
    (['model/mask/bias'], {'epoch': 2})
    """
    arrays: dict[str, Any] = {
        f"{group}/{name}": np.asarray(variable)
        for group, variables in groups.items()
        for name, variable in variables.items()
    }
    with files.replacing(path) as temporary:
        np.savez(temporary, state=np.array(json.dumps(dict(state))), **arrays)


def load(path: Path, groups: Groups) -> dict[str, Any]:
    """Assign a checkpoint's arrays to variables and return its state.

    Nothing is assigned unless everything fits. Groups of the file that are not asked for are
    ignored.

    Raises:
        UserError: if the file is damaged or belongs to another network.
    """
    arrays, state = read(path)
    pairs = []
    for group, variables in groups.items():
        stored = {
            name.removeprefix(f"{group}/"): array
            for name, array in arrays.items()
            if name.startswith(f"{group}/")
        }
        if len(stored) != len(variables):
            raise UserError(
                f"{path}: found {len(stored)} arrays of the {group}, expected {len(variables)}; "
                f"{OTHER}"
            )
        if all(name.isdecimal() for name in stored):
            stored = dict(zip(variables, (stored[k] for k in sorted(stored)), strict=True))
        for name, variable in variables.items():
            array, shape = stored.get(name), tuple(variable.shape)
            if array is None:
                unknown = ", ".join(sorted(stored.keys() - variables.keys())[:3])
                raise UserError(f"{path}: found no {group}/{name}, but {unknown}; {OTHER}")
            if array.shape != shape:
                raise UserError(
                    f"{path}: {group}/{name}: found shape {array.shape}, expected {shape}; {OTHER}"
                )
            pairs.append((variable, array))
    for variable, array in pairs:
        variable.assign(array)
    return state


def read(path: Path, arrays: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the state of a checkpoint, or the state and no arrays, sooner.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = parse_json(str(file["state"]))
            if not isinstance(found, dict):
                raise ValueError("its state holds no counters")
            names = [name for name in file.files if arrays and name != "state"]
            return {name: file[name] for name in names}, found
    except Exception as error:  # NumPy, zipfile and json raise a dozen kinds on damaged files
        raise UserError(DAMAGED.format(path=path, error=error)) from None
