"""A training that is a part of a comparison: settings, state, and its process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specmask import checkpoint, cli, progress, runs
from specmask import config as configuration
from specmask.config import Config
from specmask.errors import UserError
from specmask.progress import Progress
from specmask.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
COMPARED = ("data", "augment", "audio", "stft", "model", "train", "enhance")


@dataclass(frozen=True)
class Part:
    """A recipe trained with one seed, and the INI that train.py gets."""

    recipe: Recipe
    config: Config
    ini: Path

    @property
    def name(self) -> str:
        """Name of its run and of its folders."""
        return self.config.train.run_name

    @property
    def run(self) -> Path:
        """Folder of the training."""
        return self.config.train.checkpoint_path / self.name

    @property
    def command(self) -> list[str]:
        """What trains it, and goes on where it was."""
        return train_command(self.ini)

    @property
    def progress(self) -> Progress:
        """Where its training stands, as far as its newest checkpoint can be read."""
        try:
            return progress.read(checkpoint.newest_first(self.run)[0])
        except (IndexError, UserError):  # none, or damaged: the trainer goes back to another
            return Progress()

    @property
    def trained(self) -> bool:
        """Whether its training has come to its end."""
        p = self.progress
        best = self.run / "best.npz"
        return p.finished(self.config.train) and not p.pending and best.is_file()

    def settle(self) -> None:
        """Write the INI, unless the training was begun with other settings.

        Raises:
            UserError: if it was.
        """
        if self.ini.is_file():
            before = configuration.load(self.ini)
            changed = [c.values for c in runs.differences(before, self.config, COMPARED)]
            if changed:
                raise UserError(
                    f"{self.ini}: this training was begun with other settings "
                    f"({'; '.join(changed)}); set them back, or name another folder with --out"
                )
        runs.write_config(self.ini, self.config)


def train_command(ini: Path, *options: str) -> list[str]:
    """Return the command line of train.py."""
    return [sys.executable, "-m", "specmask", "train", "--config", str(ini), *options]


def execute(command: Sequence[str], capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; stopped, it may still save what it has.

    Raises:
        KeyboardInterrupt: if it, or this process, was stopped by Ctrl-C or SIGTERM.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]  # the package need not be installed
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    to = subprocess.PIPE if capture else None
    process = subprocess.Popen(command, stdout=to, text=True, env=env)
    try:
        out, _ = process.communicate()
    except KeyboardInterrupt as stop:
        if isinstance(stop, cli.Terminated):  # Ctrl-C has reached it too
            process.terminate()
        process.wait()
        raise
    if process.returncode == cli.EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode == cli.EXIT_TERMINATED:
        raise cli.Terminated
    return subprocess.CompletedProcess(command, process.returncode, out)
