"""The trainings of a comparison: settings, plan, processes, and scores of their enhanced files."""

import dataclasses
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specmask import files, parallel
from specmask.audio import io as audio_io
from specmask.audio.io import AudioError
from specmask.cli import console
from specmask.cli.compare.recipes import (
    OWN_DATA,
    SHARED_DATA,
    Budget,
    Recipe,
    check_options,
)
from specmask.config import ini
from specmask.config.initial import with_initial_network
from specmask.config.model import STFT
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data import prepare
from specmask.data.mixtures import manifest
from specmask.errors import UserError
from specmask.evaluation import pairing, provenance, scoring
from specmask.evaluation.metrics import table
from specmask.files import parse_json
from specmask.training import runs, state
from specmask.training.state import Progress

ROOT = Path(__file__).resolve().parents[3]
COMPARED = ("data", "augment", "audio", "stft", "model", "train", "enhance")
PLAN = "plan.json"
VALIDATIONS = (5, 8)  # fewest and most of a training
TRANSFORM = ("window_type", "window_length", "hop_size", "n_fft")


@dataclass(frozen=True)
class Training:
    """A recipe trained with one seed, and the INI of its train.py."""

    recipe: Recipe
    config: Config
    ini: Path

    @property
    def name(self) -> str:
        """Name of its run and of its folders."""
        return self.config.train.run_name

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.config.train.checkpoint_path / self.name

    @property
    def command(self) -> list[str]:
        """Command that starts or resumes it."""
        return train_command(self.ini)

    @property
    def progress(self) -> Progress:
        """Progress in its newest checkpoint, as far as that can be read."""
        try:
            return state.read(runs.newest_first(self.run)[0])
        except (IndexError, UserError):  # none, or damaged: the trainer uses an older one
            return Progress()

    @property
    def finished(self) -> bool:
        """Whether the training is complete."""
        p = self.progress
        best = self.run / "best.npz"
        return p.finished(self.config.train) and not p.pending and best.is_file()


def train_command(path: Path, *options: str) -> list[str]:
    """Return the command line of train.py with an INI."""
    return [sys.executable, "-m", "specmask", "train", "--config", str(path), *options]


def execute(command: Sequence[str], capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in its own process; when stopped, wait until it has saved its state.

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
        if isinstance(stop, console.Terminated):  # Ctrl-C has reached it too
            process.terminate()
        process.wait()
        raise
    if process.returncode == console.EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode == console.EXIT_TERMINATED:
        raise console.Terminated
    return subprocess.CompletedProcess(command, process.returncode, out)


@dataclass(frozen=True)
class TestSet:
    """Folders of the files that all are scored on; ``by`` is a manifest, if none is beside them."""

    clean: Path
    noisy: Path
    by: Path | None = None

    def describe(self) -> dict[str, Any]:
        """Return paths, number of files, and a digest of their names and sizes.

        Raises:
            UserError: if clean and noisy files cannot be paired, or one cannot be read.
        """
        items = pairing.items(self.clean, {}, self.noisy, by=self.by)
        for path in (p for i in items for p in (i.clean, i.enhanced) if p is not None):
            try:
                with audio_io.AudioFile(path) as file:
                    if not file.frames:
                        raise AudioError("holds no samples")
            except AudioError as error:  # without its result, no training could be scored
                raise UserError(
                    f"{path}: {error}; replace it, or remove it with its counterpart"
                ) from None
        sizes = [
            (i.name, *(p.stat().st_size for p in (i.clean, i.enhanced) if p is not None))
            for i in items
        ]
        paths = {k: v and str(v.resolve()) for k, v in vars(self).items()}
        text = repr(sizes).encode(errors="surrogateescape")
        digest = hashlib.blake2b(text, digest_size=12).hexdigest()
        return paths | {"files": len(items), "digest": digest}


class Comparison:
    """A comparison in its folder; wrong settings are reported before any work.

    Args:
        out: the folder.
        recipes: recipes to compare.
        seeds: number of trainings of each; the seeds are 0, 1, ...
        budget: of each training.
        options: ``section.key=value`` for the data and all recipes.
        data: INI files whose [data], [augment] and [audio] hold for all; none: the first recipe.
        test: files to score on; None: the test set of the data.

    Attributes:
        trainings: all trainings, once they are known.
        failed: those that are not complete.
        plan: content of plan.json.
    """

    def __init__(
        self,
        out: Path,
        recipes: Sequence[Recipe],
        seeds: int,
        budget: Budget,
        options: Sequence[str] = (),
        data: Sequence[Path] = (),
        test: TestSet | None = None,
    ):
        if seeds < 1:
            raise UserError(f"--seeds {seeds}: expected 1 or more")
        check_options(options, for_all=True)
        for recipe in recipes:
            if recipe.label in pairing.BUILT_IN:
                raise UserError(
                    f"{recipe.label}.ini: the tables use this name already; rename the recipe"
                )
        self.out, self.recipes, self.seeds, self.budget = out.resolve(), recipes, seeds, budget
        self.options, self.data_inis = list(options), list(data) or [recipes[0].path]
        self.data_name = ", ".join(map(str, self.data_inis))
        no_test = ["data.total_testing_files=0"] if test else []
        self.shared = ini.load(self.data_inis, [*self.options, *no_test])
        if test:
            test.describe()
        elif not self.shared.data.total_testing_files:
            raise UserError(
                f"{self.data_name}: [data] total_testing_files = 0, so there are no files to score "
                "on; raise it, or name some with --test CLEAN NOISY"
            )
        folder = self.shared.stft.folder
        self.test = test or TestSet(*(folder(k, "testing") for k in ("CleanSpeech", "NoisySpeech")))
        self.settings = {recipe: self._settings(recipe) for recipe in recipes}
        self.plan = _read_plan(self.out)
        self.trainings: list[Training] = []
        self.failed: list[Training] = []

    # ------------------------------------------------------------ settings

    def _own(self, recipe: Recipe) -> Config:
        return with_initial_network(ini.load(recipe.path, [*self.options, *recipe.options]))[0]

    def _settings(self, recipe: Recipe) -> Config:
        """Return the configuration of a recipe on the shared data, before budget and seed."""
        own = self._own(recipe)
        data = self._data_for(own)
        stft = {k: getattr(own.stft, k) for k in TRANSFORM}
        if data is not self.shared or stft != {k: getattr(data.stft, k) for k in TRANSFORM}:
            names = map(ini.value_text, [*_rate_and_length(own), *stft.values()])
            folder = self.out / "stft" / "_".join(names)
            stft |= {f"{s}_stft_dir": folder / s for s in SPLITS}
        paths = {"checkpoint_path": self.out / "cp", "log_path": self.out / "logs"}
        changes = {
            "data": data.data.model_copy(update={"total_testing_files": 0}),
            "augment": data.augment,
            "audio": data.audio,
            "stft": data.stft.model_copy(update=stft),
            "train": own.train.model_copy(update={"patience": 0, **paths}),
        }
        return own.model_copy(update=changes)

    def _data_for(self, own: Config) -> Config:
        """Return the configuration of the data at a recipe's sampling rate and length."""
        if _rate_and_length(own) == _rate_and_length(self.shared):
            return self.shared
        folder = self.out / "data" / "_".join(map(ini.value_text, _rate_and_length(own)))
        options = [f"data.{k}={v}" for k, v in zip(OWN_DATA, _rate_and_length(own), strict=True)]
        options += [f"data.data_path={folder}", "data.total_testing_files=0"]
        options += [f"stft.{k}=" for k in STFT.model_fields if k.endswith("_dir")]
        options += [f"stft.{k}={getattr(own.stft, k)}" for k in TRANSFORM]
        return ini.load(self.data_inis, [*self.options, *options])

    def data_notes(self) -> list[str]:
        """Return a line per recipe: the shared data, and the recipe's own settings it replaces."""
        lines = []
        for recipe, used in self.settings.items():
            found = runs.differences(self._own(recipe), used, SHARED_DATA)
            changed = [c.values for c in found if c.key != "total_testing_files"]
            rate, seconds = _rate_and_length(used)
            line = f"{recipe.label}: data of {self.data_name} at {rate} Hz, {seconds:g} s per file"
            lines.append(line + (f"; its own: {'; '.join(changed)}" if changed else ""))
        return lines

    # ------------------------------------------------------------ the work

    def run(self) -> list[dict]:
        """Train, enhance and score what is missing; return the rows, with trainings as systems.

        Raises:
            UserError: if settings have changed since the comparison was started, or no training
                is complete.
        """
        print("\n".join(self.data_notes()), flush=True)
        with files.held(self.out):
            self._keep("budget", dataclasses.asdict(self.budget), "--budget")
            self._make_data()
            self._keep("test", self.test.describe(), "the test files")
            order = [(recipe, seed) for seed in range(self.seeds) for recipe in self.recipes]
            self.trainings = [self._training(recipe, seed) for recipe, seed in order]
            for training in self.trainings:
                _write_ini(training)
            self.failed = [t for n, t in enumerate(self.trainings, 1) if not self._train(n, t)]
            if not self.complete:
                raise UserError(
                    f"{self.out}: no training is complete; correct the errors above, and run the "
                    "same command again"
                )
            for training in self.complete:
                self._enhance(training)
            dnsmos = table.DNSMOS if self.shared.evaluate.dnsmos else ()
            return scoring.evaluate(
                self.test.clean,
                {t.name: self.out / "enhanced" / t.name for t in self.complete},
                self.test.noisy,
                by=self.test.by,
                workers=self.shared.compute.workers,
                names=[*table.DEFAULT, *dnsmos],
                folder=self.out,
            )

    @property
    def complete(self) -> list[Training]:
        """The complete trainings."""
        return [t for t in self.trainings if t not in self.failed]

    def _keep(self, key: str, value: Any, what: str) -> None:
        """Store a setting that all trainings share in the plan, or check that it is unchanged."""
        if self.plan.setdefault(key, value) != value:
            raise UserError(
                f"{self.out}: {what} changed since the comparison was started (was "
                f"{json.dumps(self.plan[key])}, is {json.dumps(value)}); set it back, or name "
                "another folder with --out"
            )
        _write_json(self.out / PLAN, self.plan)

    def _make_data(self) -> None:
        """Make the missing data sets and caches."""
        data = {self.shared.data.data_path: self.shared}
        caches = {}
        for config in self.settings.values():
            data.setdefault(config.data.data_path, config)
            caches[config.stft.training_stft_dir] = config
        for config in data.values():
            with parallel.engine(config.compute):
                prepare.make(config)
            path = manifest.path_of(config, "training")
            self._keep(str(path), files.digest(path), str(path))
        for config in caches.values():
            prepare.transform(config)

    def _training(self, recipe: Recipe, seed: int) -> Training:
        config, name = self.settings[recipe], f"{recipe.slug}_seed{seed}"
        steps = self.budget.steps or max(1, int(self.budget.seconds / self._step_seconds(recipe)))
        counts = range(min(VALIDATIONS[0], steps), min(VALIDATIONS[1], steps) + 1)
        epochs = max(counts, key=lambda n: (steps // n * n, -n))  # fewest steps left over
        own = {"epochs": epochs, "epoch_steps": steps // epochs, "seed": seed, "run_name": name}
        train = config.train.model_copy(update=own)
        config = config.model_copy(update={"train": train})
        return Training(recipe, config, self.out / "settings" / f"{name}.ini")

    def _step_seconds(self, recipe: Recipe) -> float:
        """Return the seconds per step of a recipe, measured once."""
        measured = self.plan.setdefault("seconds_a_step", {})
        if recipe.slug not in measured:
            path = self.out / "settings" / f"{recipe.slug}.ini"
            runs.write_config(path, self.settings[recipe])
            done = execute(train_command(path, "--pace"), capture=True)
            found = re.search(r"(\S+) s per step", done.stdout or "")
            if done.returncode or not found:
                raise UserError(
                    f"{recipe.label}: train.py --pace failed; correct the error above, and run the "
                    "same command again"
                )
            measured[recipe.slug] = float(found[1])
            print(f"{recipe.label}: {found[1]} s per step", flush=True)
            _write_json(self.out / PLAN, self.plan)
        return measured[recipe.slug]

    def _train(self, number: int, training: Training) -> bool:
        """Start or resume a training; return whether it is complete."""
        finished = training.finished
        what = "trained already" if finished else "$ " + shlex.join(training.command)
        print(f"[{number}/{len(self.trainings)}] {training.name}: {what}", flush=True)
        if finished:
            return True
        code = execute(training.command).returncode
        if not training.finished:
            print(f"warning: {training.name}: train.py ended with code {code}; left out")
        return training.finished

    def _enhance(self, training: Training) -> None:
        """Enhance the test files with a training, and store the costs of its network."""
        path = self._costs_path(training)
        if path.is_file() and self.costs(training)["weights"] == files.digest(
            training.run / "best.npz"
        ):
            return
        console.import_tensorflow()  # only now: until here a GPU belonged to the trainings
        from specmask import models
        from specmask.enhancement import enhancer
        from specmask.enhancement.folder import enhance_folder
        from specmask.enhancement.inputs import find_recordings
        from specmask.enhancement.postprocess import Knobs
        from specmask.models import complexity

        config, target = training.config, path.with_suffix("")
        c = config.enhance
        knobs = Knobs.from_config(config)
        model = enhancer.load(training.run, c.channels, c.highband, knobs, "tensorflow")
        stale = provenance.checkpoint(target) not in (None, model.digest)
        recordings = find_recordings([self.test.noisy], target)
        done = enhance_folder(recordings, target, model, c.block_seconds, overwrite=stale)
        for rejected in done.rejected:
            print(f"warning: {training.name}: {rejected.path}: {rejected.reason}; left out")
        network = models.build(config).model
        costs = {
            "weights": model.digest,
            "parameters": complexity.parameters(network),
            "multiply_adds_a_second": complexity.multiply_adds(network, config),
            "latency_ms": 1000 * model.latency_seconds,
            "causal": model.causal,
        }
        _write_json(path, costs)
        print(f"{training.name}: {done.done} files enhanced -> {target}", flush=True)

    def _costs_path(self, training: Training) -> Path:
        return self.out / "enhanced" / f"{training.name}.json"

    def costs(self, training: Training) -> Mapping[str, Any]:
        """Return the costs of the network of a training whose files are enhanced."""
        return parse_json(self._costs_path(training).read_text(encoding="utf-8"))


def _write_ini(training: Training) -> None:
    """Write the INI of a training, unless it was started with other settings."""
    if training.ini.is_file():
        before = ini.load(training.ini)
        found = runs.differences(before, training.config, COMPARED)
        # _enhance runs TensorFlow whatever [enhance] runtime says
        changed = [c.values for c in found if (c.section, c.key) != ("enhance", "runtime")]
        if changed:
            raise UserError(
                f"{training.ini}: this training was started with other settings "
                f"({'; '.join(changed)}); set them back, or name another folder with --out"
            )
    runs.write_config(training.ini, training.config)


def _rate_and_length(config: Config) -> tuple[int, float]:
    return config.data.sample_rate, config.data.file_length


def _read_plan(out: Path) -> dict[str, Any]:
    """Return the plan of a folder, empty if it is new."""
    try:
        return parse_json((out / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()) and not (out / ".specmask").is_dir():
            raise UserError(
                f"{out}: holds files that are not of a comparison; name another folder with --out"
            ) from None
        return {}
    except ValueError as error:
        raise UserError(f"{out / PLAN}: damaged ({error}); name another folder by --out") from None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
