"""Folders of runs: the one to resume, what has changed since, and the list of all."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specmask import files
from specmask.config import ini
from specmask.config.initial import config_of_weights
from specmask.config.schema import Config, section_models
from specmask.config.types import OnResume, ini_name
from specmask.errors import UserError
from specmask.training import checkpoint, state
from specmask.training.state import Progress

# Options whose default is another one than it was when older runs were started.
CHANGED_DEFAULTS = {
    "model": ("network", "recurrent_layers", "recurrent_units"),
    "train": ("optimizer", "learning_rate"),
}


@dataclass(frozen=True)
class Change:
    """An option that a run resumes with at another value."""

    section: str
    key: str
    old: Any
    new: Any

    @property
    def values(self) -> str:
        """Both values."""
        section, key = ini_name(self.section), ini_name(self.key)
        old, new = (ini.value_text(v) or "empty" for v in (self.old, self.new))
        return f"[{section}] {key} was {old}, is {new}"

    @property
    def effect(self) -> OnResume:
        """Effect of the change on the run."""
        return section_models()[self.section].on_resume(self.key)

    @property
    def text(self) -> str:
        """Both values and the effect."""
        return f"{self.values}: {self.effect.text}"


def choose(
    config: Config, fresh: bool, broadcast: Callable[[float], float]
) -> tuple[Path, list[Change] | None]:
    """Return the folder of the run to train, and its changed options, or None if it is new.

    Args:
        config: the configuration.
        fresh: start a new run beside the others.
        broadcast: returns the first worker's value on all workers.

    Raises:
        UserError: if the run cannot resume with these settings.
    """
    root, name = config.train.checkpoint_path, config.train.run_name
    existing = run_folders(root, name)
    if broadcast(len(existing)) != len(existing):
        raise UserError(
            f"[train] checkpoint_path = {root}: the workers see different runs; it has to be a "
            "folder that all of them share"
        )
    if fresh or not existing:
        return fresh_folder(root, name, existing), None
    return existing[-1], changes(existing[-1], config)


def keep_defaults(config: Config, resumed: Path | None) -> Config:
    """Return the configuration for a run to resume, with the defaults of its start.

    Options whose default has changed keep the run's value where they are not set; a run from before
    ``parts`` has 1.
    """
    if resumed is None:
        return config
    run, sections = _config_of(resumed), {}
    for name, keys in CHANGED_DEFAULTS.items():
        section, of_run = getattr(config, name), getattr(run, name)
        kept = {key: getattr(of_run, key) for key in keys if key not in section.model_fields_set}
        if name == "train" and not config.train.parts and not _has_parts(resumed):
            kept["parts"] = run.train.parts
        sections[name] = section.model_copy(update=kept)
    return config.model_copy(update=sections)


def _config_of(folder: Path) -> Config:
    """Return the configuration of a run; before ``parts``, all threads shared the whole batch."""
    earlier = () if _has_parts(folder) else ["train.parts=1"]
    return ini.load(folder / "config.ini", earlier)


def _has_parts(folder: Path) -> bool:
    """Return whether the configuration of a run names the option ``parts``."""
    return _written(folder, "parts") is not None


def _written(folder: Path, key: str) -> str | None:
    """Return the text of an option in the config.ini of a run, None where it is not named."""
    text = (folder / "config.ini").read_text(encoding="utf-8")
    match = re.search(rf"(?m)^{key}[ \t]*=[ \t]*(.*?)[ \t]*$", text)
    return match[1] if match else None


def write_config(path: Path, config: Config) -> None:
    """Write a configuration as an INI file, complete or not at all."""
    with files.replacing(path) as temporary:
        temporary.write_text(ini.render(config), encoding="utf-8")


def differences(old: Config, new: Config, sections: Sequence[str]) -> list[Change]:
    """Return the options that differ, other than paths."""
    found = []
    for section in sections:
        before, now = getattr(old, section), getattr(new, section)
        for key, field in type(now).model_fields.items():
            a, b = getattr(before, key), getattr(now, key)
            if a != b and (field.annotation is not Path or key == "initial_weights"):
                found.append(Change(section, key, a, b))
    return found


def changes(folder: Path, config: Config) -> list[Change]:
    """Return the options that differ from those that a run was last trained with.

    Raises:
        UserError: if the run cannot resume with them.
    """
    found = differences(_config_of(folder), config, ("model", "data", "stft", "train"))
    found = [c for c in found if "testing" not in c.key]
    refused = [c.text for c in found if c.effect.refused]
    if refused:
        raise UserError(
            f"{folder}: this run was started with other settings ({'; '.join(refused)}); "
            "set them back, start a new run beside it with --fresh, or change [train] run_name"
        )
    return found


def load_initial_weights(path: Path, variables: Mapping[str, Any]) -> Path:
    """Assign the weights of a run folder or an .npz file to the variables of a new network.

    Returns:
        the file of the weights.

    Raises:
        UserError: if there is none, or it is of another network.
    """
    file = best_weights(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise UserError(
            f"[train] initial_weights = {path}: found no weights there; name a run folder in cp/ "
            "or an .npz file"
        )
    if file.suffix != ".npz":
        raise UserError(
            f"[train] initial_weights = {path}: expected a run folder or an .npz file; exports "
            "cannot be trained: name the weights that they were made from"
        )
    try:
        checkpoint.load(file, {"model": variables})
    except UserError as error:
        text = str(error).removesuffix(checkpoint.OTHER)
        if text != str(error) and config_of_weights(path) is None:
            text += "[model] and [STFT] have to be those of the weights: put their INI file beside "
            text += f"them, as {path.with_suffix('.ini').name}"
        raise UserError(f"[train] initial_weights: {text}") from None
    return file


def table(root: Path) -> list[str]:
    """Return lines with the runs in a folder: epochs, best scores, settings that differ."""
    lines, rows = [], []
    for path in sorted(p.parent for p in root.glob("*/config.ini")):
        try:
            config = ini.load(path / "config.ini")
            newest = newest_first(path)
            progress = state.read(newest[0]) if newest else Progress()
        except UserError as error:
            lines.append(f"{path.name}: {error}")
            continue
        rows.append((path.name, _best_scores(progress, config.train.epochs), _settings(config)))
    if not rows and not lines:
        return [f"{root}: no runs yet; python train.py starts one"]
    width = max([4, *(len(name) for name, *_ in rows)])
    lines.append(f"{'run':{width}}  epochs  best loss  at  SI-SDRi dB   PESQ  settings that differ")
    names = dict.fromkeys(name for *_, settings in rows for name in settings)
    differing = [n for n in names if len({settings.get(n) for *_, settings in rows}) > 1]
    for name, scores, settings in rows:
        values = ", ".join(f"{n}={settings[n]}" for n in differing)
        lines.append(f"{name:{width}}  {scores}  {values}".rstrip())
    return lines


def _settings(config: Config) -> dict[str, str]:
    """Return the options of a run as texts, without its name and folders."""
    return {
        f"{section}.{key}": ini.value_text(getattr(getattr(config, section), key))
        for section in ("model", "data", "stft", "train")
        for key, field in type(getattr(config, section)).model_fields.items()
        if key != "run_name" and (field.annotation is not Path or key == "initial_weights")
    }


def _best_scores(p: Progress, epochs: int) -> str:
    scores = p.best_row
    return (
        f"{p.epoch:>2}/{epochs:<3}  {p.best_loss:9.5f}  {p.best_epoch:>2}"
        f"  {scores.get('si_sdr_improvement', float('nan')):10.2f}"
        f"  {scores.get('pesq', float('nan')):5.3f}"
    )


_NUMBER = re.compile(r"^ckpt-(\d+)\.npz$")


def best_weights(folder: Path) -> Path | None:
    """Return the best weights of a run, else its newest checkpoint, if there are any."""
    candidates = (folder / "best.npz", *newest_first(folder))
    return next((path for path in candidates if path.is_file()), None)


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the latest first."""
    found = [(int(m[1]), p) for p in folder.glob("ckpt-*.npz") if (m := _NUMBER.match(p.name))]
    return [p for _, p in sorted(found, reverse=True)]


def newest_run(root: Path, name: str) -> Path | None:
    """Return the newest run of a name, else the newest one of any name that has weights."""
    if existing := run_folders(root, name):
        return existing[-1]
    weights = [best_weights(p.parent) for p in root.glob("*/config.ini")]
    found = [path for path in weights if path]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step."""
    return folder / f"ckpt-{step:08d}.npz"


def prune(folder: Path, keep: int) -> None:
    """Remove all but the last ``keep`` checkpoints."""
    for path in newest_first(folder)[keep:]:
        path.unlink()


def remove_temporary_files(folder: Path) -> None:
    """Remove incomplete files that a killed run left behind."""
    for path in folder.glob(f"{files.TEMPORARY}*"):
        path.unlink(missing_ok=True)


def run_folders(root: Path, name: str) -> list[Path]:
    """Return the folders of a run and its fresh starts (name, name-2, name-3, ...), in order.

    A run that was itself named name-2 is none of them.
    """
    found = [(_start_number(p.name, name), p) for p in root.glob(f"{name}*")]
    found = [(k, p) for k, p in found if k and (p / "config.ini").is_file()]
    return [p for k, p in sorted(found) if k == 1 or _written(p, "run_name") == name]


def fresh_folder(root: Path, name: str, existing: list[Path]) -> Path:
    """Return the folder for a new run beside those that :func:`run_folders` found.

    Raises:
        UserError: if it holds checkpoints of a run that has lost its config.ini.
    """
    folder = root / name
    numbers = itertools.count(_start_number(existing[-1].name, name) + 1 if existing else 2)
    while (folder / "config.ini").is_file():
        folder = root / f"{name}-{next(numbers)}"
    if newest_first(folder):
        raise UserError(
            f"{folder}: holds checkpoints, but not the config.ini of their run; put it back, or "
            "choose another [train] run_name"
        )
    return folder


def _start_number(folder: str, name: str) -> int:
    """Return 1 for the name itself, k for name-k, 0 for any other folder."""
    match = re.fullmatch(re.escape(name) + r"(?:-(\d+))?", folder)
    return int(match[1] or 1) if match else 0
