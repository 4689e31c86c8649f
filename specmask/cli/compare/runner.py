"""A training that is a part of a comparison: settings, state, and its process."""

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
from specmask.cli import console
from specmask.cli.compare.recipes import OWN_DATA, SHARED_DATA, Budget, Recipe, check
from specmask.config import ini as configuration
from specmask.config.ini import value_text
from specmask.config.model import STFT
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data import prepare
from specmask.data.mixtures import manifest
from specmask.errors import UserError
from specmask.evaluation import pairing, provenance
from specmask.evaluation.metrics import table
from specmask.training import runs, state
from specmask.training.state import Progress

ROOT = Path(__file__).resolve().parents[3]
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
            return state.read(runs.newest_first(self.run)[0])
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
        if isinstance(stop, console.Terminated):  # Ctrl-C has reached it too
            process.terminate()
        process.wait()
        raise
    if process.returncode == console.EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode == console.EXIT_TERMINATED:
        raise console.Terminated
    return subprocess.CompletedProcess(command, process.returncode, out)


PLAN = "plan.json"
VALIDATIONS = (5, 8)  # in a training, least and most
TRANSFORM = ("window_type", "window_length", "hop_size", "n_fft")


@dataclass(frozen=True)
class TestSet:
    """The files that all are scored on; ``by`` tells their SNR and noise if no manifest does."""

    clean: Path
    noisy: Path
    by: Path | None = None

    def facts(self) -> dict[str, Any]:
        """Return where they lie, and a digest of their names and sizes.

        Raises:
            UserError: if they do not fit together.
        """
        tasks = pairing.tasks(self.clean, {}, self.noisy, by=self.by)
        sizes = [(t.name, t.clean.stat().st_size, t.enhanced.stat().st_size) for t in tasks]
        places = {k: v and str(v.resolve()) for k, v in vars(self).items()}
        return places | {"files": len(tasks), "digest": _digest(sizes)}


class Comparison:
    """A comparison in its folder; what is wrong with its settings is told before any work.

    Args:
        out: the folder.
        recipes: what is compared.
        seeds: number of trainings of each; the seeds are 0, 1, ...
        budget: of each training.
        options: ``section.key=value`` for the data and all recipes.
        data: INI files whose [data], [augment] and [audio] hold for all; none: the first recipe.
        test: the files to score on; None: the test set of the data.

    Attributes:
        parts: all trainings, once they are known.
        failed: those that did not come to their end.
        plan: what plan.json holds.
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
        check(options, for_all=True)
        self.out, self.recipes, self.seeds, self.budget = out.resolve(), recipes, seeds, budget
        self.options, self.data_inis = list(options), list(data) or [recipes[0].path]
        self.data_name = ", ".join(map(str, self.data_inis))
        no_test = ["data.total_testing_files=0"] if test else []
        self.shared = configuration.load(self.data_inis, [*self.options, *no_test])
        if not test and not self.shared.data.total_testing_files:
            raise UserError(
                f"{self.data_name}: [data] total_testing_files = 0, so there are no files to score "
                "on; raise it, or name some with --test CLEAN NOISY"
            )
        folder = self.shared.stft.folder
        taken = [r.label for r in recipes if r.label in pairing.BUILT_IN]
        if taken:
            raise UserError(f"{taken[0]}.ini: this name is taken in the tables; rename the recipe")
        self.test = test or TestSet(*(folder(k, "testing") for k in ("CleanSpeech", "NoisySpeech")))
        if test:
            test.facts()
        self.settings = {recipe: self._settings(recipe) for recipe in recipes}
        self.plan = _plan(self.out)
        self.parts: list[Part] = []
        self.failed: list[Part] = []

    # ------------------------------------------------------------ settings

    def _settings(self, recipe: Recipe) -> Config:
        """Return the configuration of a recipe on the data of all, before budget and seed."""
        own = configuration.load(recipe.path, [*self.options, *recipe.options])
        data = self._data_for(own)
        stft = {k: getattr(own.stft, k) for k in TRANSFORM}
        if data is not self.shared or stft != {k: getattr(data.stft, k) for k in TRANSFORM}:
            names = map(value_text, [*_rate_and_length(own), *stft.values()])
            folder = self.out / "stft" / "_".join(names)
            stft |= {f"{s}_stft_dir": folder / s for s in SPLITS}
        changes = {
            "data": data.data.model_copy(update={"total_testing_files": 0}),
            "augment": data.augment,
            "audio": data.audio,
            "stft": data.stft.model_copy(update=stft),
            "train": own.train.model_copy(
                update={
                    "patience": 0,
                    "checkpoint_path": self.out / "cp",
                    "log_path": self.out / "logs",
                }
            ),
        }
        return own.model_copy(update=changes)

    def _data_for(self, own: Config) -> Config:
        """Return the configuration of the data at a recipe's sampling rate and length."""
        if _rate_and_length(own) == _rate_and_length(self.shared):
            return self.shared
        folder = self.out / "data" / "_".join(map(value_text, _rate_and_length(own)))
        options = [f"data.{k}={v}" for k, v in zip(OWN_DATA, _rate_and_length(own), strict=True)]
        options += [f"data.data_path={folder}", "data.total_testing_files=0"]
        options += [f"stft.{k}=" for k in STFT.model_fields if k.endswith("_dir")]
        options += [f"stft.{k}={getattr(own.stft, k)}" for k in TRANSFORM]
        return configuration.load(self.data_inis, [*self.options, *options])

    def data_notes(self) -> list[str]:
        """Return a line for each recipe: the data, and what it would have had otherwise itself."""
        lines = []
        for recipe, used in self.settings.items():
            own = configuration.load(recipe.path, [*self.options, *recipe.options])
            found = runs.differences(own, used, SHARED_DATA)
            changed = [c.values for c in found if "total_testing" not in c.key]
            rate, seconds = _rate_and_length(used)
            line = f"{recipe.label}: data of {self.data_name} at {rate} Hz, {seconds:g} s a file"
            lines.append(line + (f"; its own: {'; '.join(changed)}" if changed else ""))
        return lines

    # ------------------------------------------------------------ the work

    def run(self) -> list[dict]:
        """Do what is not done yet and return the rows of scores; a system is a part.

        Raises:
            UserError: if settings have changed since the comparison was begun, or nothing could
                be trained.
        """
        print("\n".join(self.data_notes()), flush=True)
        with files.held(self.out):
            self._agree("budget", dataclasses.asdict(self.budget), "--budget")
            self._prepare()
            self._agree("test", self.test.facts(), "the test files")
            order = [(recipe, seed) for seed in range(self.seeds) for recipe in self.recipes]
            self.parts = [self._part(recipe, seed) for recipe, seed in order]
            for part in self.parts:
                part.settle()
            self._train()
            self._enhance()
            return self._score()

    def _agree(self, key: str, value: Any, what: str) -> None:
        """Note what all parts share, or see that it is what it was."""
        if self.plan.setdefault(key, value) != value:
            raise UserError(
                f"{self.out}: {what} changed since the comparison was begun (was "
                f"{json.dumps(self.plan[key])}, is {json.dumps(value)}); set it back, or name "
                "another folder with --out"
            )
        _write_json(self.out / PLAN, self.plan)

    def _prepare(self) -> None:
        """Make the data sets and the caches that are missing."""
        data = {self.shared.data.data_path: self.shared}
        caches = {}
        for config in self.settings.values():
            data.setdefault(config.data.data_path, config)
            caches[config.stft.training_stft_dir] = config
        for config in data.values():
            with parallel.engine(config.compute):
                prepare.make(config)
            path = manifest.path_of(config, "training")
            self._agree(str(path), files.digest(path), str(path))
        for config in caches.values():
            prepare.transform(config)

    def _part(self, recipe: Recipe, seed: int) -> Part:
        config, name = self.settings[recipe], f"{recipe.slug}_seed{seed}"
        steps = self.budget.steps or max(1, int(self.budget.seconds / self._pace(recipe)))
        counts = range(min(VALIDATIONS[0], steps), min(VALIDATIONS[1], steps) + 1)
        epochs = max(counts, key=lambda n: (steps // n * n, -n))  # as few steps over as possible
        own = {"epochs": epochs, "epoch_steps": steps // epochs, "seed": seed, "run_name": name}
        train = config.train.model_copy(update=own)
        config = config.model_copy(update={"train": train})
        return Part(recipe, config, self.out / "settings" / f"{name}.ini")

    def _pace(self, recipe: Recipe) -> float:
        """Return the seconds a step of a recipe, measured once and kept."""
        paces = self.plan.setdefault("seconds_a_step", {})
        if recipe.slug not in paces:
            ini = self.out / "settings" / f"{recipe.slug}.ini"
            runs.write_config(ini, self.settings[recipe])
            done = execute(train_command(ini, "--pace"), capture=True)
            if done.returncode:
                raise UserError(
                    f"{recipe.label}: train.py --pace failed; correct what it says "
                    "above, and run the same command again"
                )
            paces[recipe.slug] = float(re.search(r"(\S+) s a step", done.stdout)[1])
            print(f"{recipe.label}: {paces[recipe.slug]} s a step", flush=True)
            _write_json(self.out / PLAN, self.plan)
        return paces[recipe.slug]

    def _train(self) -> None:
        """Train what is not trained; a training that fails does not stop the others."""
        for number, part in enumerate(self.parts, 1):
            state = "trained already" if part.trained else "$ " + shlex.join(part.command)
            print(f"[{number}/{len(self.parts)}] {part.name}: {state}", flush=True)
            if part.trained:
                continue
            code = execute(part.command).returncode
            if not part.trained:
                self.failed.append(part)
                print(f"warning: {part.name}: train.py ended with code {code}; left out")
        if not self.done:
            raise UserError(
                f"{self.out}: none of the trainings came to its end; correct what "
                "they say above, and run the same command again"
            )

    @property
    def done(self) -> list[Part]:
        """The parts that came to their end."""
        return [part for part in self.parts if part not in self.failed]

    def _enhance(self) -> None:
        """Enhance the test files by each part, and note what its network costs."""
        todo = [part for part in self.done if not self._enhanced(part)]
        if not todo:
            return
        console.import_tensorflow()  # only now: a GPU was the trainings' own
        from specmask.enhancement import enhancer
        from specmask.enhancement.folder import enhance_folder, find_recordings
        from specmask.enhancement.postprocess import Knobs
        from specmask.models import complexity

        for part in todo:
            c, target = part.config.enhance, self.out / "enhanced" / part.name
            model = enhancer.load(
                part.run, c.channels, c.highband, Knobs.from_config(part.config), "tensorflow"
            )
            stale = provenance.checkpoint(target) not in (None, model.digest)
            recordings = find_recordings([self.test.noisy], target)
            done = enhance_folder(recordings, target, model, c.block_seconds, overwrite=stale)
            for rejected in done.rejected:
                print(f"warning: {part.name}: {rejected.path}: {rejected.reason}; set aside")
            network = model.runtime.network.model
            costs = {
                "weights": model.digest,
                "parameters": complexity.parameters(network),
                "multiply_adds_a_second": complexity.multiply_adds(network, part.config),
                "latency_ms": 1000 * model.latency_seconds,
                "causal": model.causal,
            }
            _write_json(self._costs(part), costs)
            print(f"{part.name}: {done.done} files enhanced -> {target}", flush=True)

    def _enhanced(self, part: Part) -> bool:
        weights = files.digest(part.run / "best.npz")
        return self._costs(part).is_file() and self.costs(part)["weights"] == weights

    def _costs(self, part: Part) -> Path:
        return self.out / "enhanced" / f"{part.name}.json"

    def costs(self, part: Part) -> Mapping[str, Any]:
        """Return what the network of an enhanced part costs."""
        return json.loads(self._costs(part).read_text(encoding="utf-8"))

    def _score(self) -> list[dict]:
        from specmask.evaluation import scoring

        dnsmos = table.DNSMOS if self.shared.evaluate.dnsmos else ()
        return scoring.evaluate(
            self.test.clean,
            {part.name: self.out / "enhanced" / part.name for part in self.done},
            self.test.noisy,
            by=self.test.by,
            workers=self.shared.compute.workers,
            names=[*table.METRICS, *dnsmos],
            folder=self.out,
        )


def _rate_and_length(config: Config) -> tuple[int, float]:
    return config.data.sample_rate, config.data.file_length


def _plan(out: Path) -> dict[str, Any]:
    """Return the plan of a folder, empty if it is new."""
    try:
        return json.loads((out / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()) and not (out / ".specmask").is_dir():
            raise UserError(
                f"{out}: holds files that are not of a comparison; name another folder with --out"
            ) from None
        return {}
    except ValueError as error:
        raise UserError(f"{out / PLAN}: damaged ({error}); name another folder by --out") from None


def _digest(value: object) -> str:
    text = repr(value).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
