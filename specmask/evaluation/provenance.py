"""Provenance of a summary: all that somebody else needs to reproduce it.

Conventions:
    Paths in a summary are relative to its folder where that is possible, so that a project can
    be moved. Digests are of the bytes of files, 24 hexadecimal digits.
"""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from specmask.config import ini
from specmask.config.schema import Config
from specmask.errors import UserError
from specmask.evaluation import oracles, pairing, scoring
from specmask.files import digest, parse_json, relative_to

LOG = "enhanced.json"  # written by enhance.py beside its files
PATH_KEYS = ("clean_dir", "noisy_dir", "by")
INPUTS = (*PATH_KEYS, "systems", "baseline_names", "names", "ideal")


def collect(settings: Config, inputs: Mapping, folder: Path) -> dict:
    """Return config, checkpoints, manifest, git revision, versions and inputs of an evaluation.

    Args:
        settings: the configuration in use.
        inputs: clean_dir, systems, noisy_dir, baseline_names, by, names and ideal: the arguments
            of :func:`specmask.evaluation.scoring.evaluate`.
        folder: of the summary.
    """
    source = inputs["noisy_dir"] or inputs["clean_dir"]
    manifest = inputs["by"] or (source and pairing.manifest_beside(source))
    return {
        "inputs": dict(inputs)
        | {key: inputs[key] and relative_to(folder, inputs[key]) for key in PATH_KEYS}
        | {"systems": {n: relative_to(folder, path) for n, path in inputs["systems"].items()}}
        | {"ideal": inputs["ideal"] and asdict(inputs["ideal"])},
        "config": ini.render(settings),
        "checkpoints": {name: checkpoint(path) for name, path in inputs["systems"].items()},
        "manifest": manifest and {"name": manifest.name, "digest": digest(manifest)},
        "git": git_revision(),
        "versions": {"python": platform.python_version()} | scoring.versions(),
    }


def read(summary: Path) -> tuple[dict, dict]:
    """Read a summary.

    Returns:
        its content, and the arguments of :func:`specmask.evaluation.scoring.evaluate` that made
        it, with resolved paths.

    Raises:
        UserError: if it is not a summary, or an older one without its inputs.
    """
    try:
        content = parse_json(summary.read_text(encoding="utf-8"))
        inputs = dict(content["inputs"])
        base = summary.resolve().parent
        for key in PATH_KEYS:
            inputs[key] = inputs[key] and (base / inputs[key]).resolve()
        inputs["systems"] = {n: (base / p).resolve() for n, p in inputs["systems"].items()}
        ideal = inputs.get("ideal")  # missing in summaries from before there were oracles
        inputs["ideal"] = ideal and oracles.Settings(**ideal)
        inputs = {key: inputs[key] for key in INPUTS}
    except FileNotFoundError:
        raise UserError(f"{summary}: no such file; name the summary.json of a report") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{summary}: not the summary of an evaluation ({type(error).__name__}: {error}); "
            "make one with evaluate.py"
        ) from None
    return content, inputs


def checkpoint(folder: Path) -> str | None:
    """Return the digest of the weights that made the files of a folder, if it was logged."""
    try:
        return parse_json((folder / LOG).read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError):
        return None


def pending(folder: Path) -> list[str]:
    """Return the files of a folder that enhance.py has yet to make again with its last settings."""
    try:
        names = parse_json((folder / LOG).read_text(encoding="utf-8"))["pending"]
        return [str(name) for name in names if (folder / str(name)).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def replaced(folder: Path, systems: Mapping[str, Path]) -> list[str]:
    """Return a line if a folder holds a report of other systems or weights."""
    try:
        old = parse_json((folder / "summary.json").read_text(encoding="utf-8"))
        before = dict(old["checkpoints"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    now = {name: checkpoint(path) for name, path in systems.items()}
    if before == now:
        return []
    names = ", ".join(f"{k} (weights {v or 'not known'})" for k, v in before.items()) or "oracles"
    return [f"note: {folder}: replaces a report of {names}; --out names another folder"]


def git_revision() -> str | None:
    """Return the commit of this source tree, with ``-dirty`` if it was changed, or None."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # fails if installed in another repository
        return git("describe", "--always", "--dirty", "--abbrev=40") or None
    except (OSError, subprocess.SubprocessError):
        return None


def differences(old: Mapping, new: Mapping, tolerance: float = 1e-6) -> list[str]:
    """Return a line per difference between two summaries of one evaluation.

    Means and intervals may differ by the tolerance, counts may not. Other packages, another
    revision or command are no difference as long as the figures are equal.
    """
    lines = []
    for key in ("manifest", "checkpoints", "systems", "comparisons"):
        lines += _differences(old.get(key), new.get(key), key, tolerance)
    return lines


def _differences(old: object, new: object, where: str, tolerance: float) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        found = [_differences(old.get(k), new.get(k), f"{where}/{k}", tolerance) for k in keys]
        return [line for lines in found for line in lines]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        found = [_differences(a, b, f"{where}/{i}", tolerance) for i, (a, b) in pairs]
        return [line for lines in found for line in lines]
    if isinstance(old, float) and isinstance(new, float) and abs(old - new) <= tolerance:
        return []
    return [] if old == new else [f"{where}: was {old}, is {new}"]
