"""Recipes trained with several seeds on the same data at the same budget, scored on the same files.

Layout of the output folder:
    plan.json       what all parts share: budget, data, test files; and the speed of each recipe
    settings/       an INI for each part, as train.py gets it
    data/, stft/    data sets and caches that the INI of the data does not name itself
    cp/, logs/      the trainings, as train.py leaves them
    enhanced/       the test files, a folder a part, and what the network of each part costs
    and what :mod:`specmask.overview` writes.
A part is a recipe trained with one seed. What is finished is found there and not done again.
"""

import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specmask import (
    audio,
    checkpoint,
    cli,
    lock,
    manifest,
    metrics,
    pairing,
    parallel,
    preparation,
    provenance,
    runs,
)
from specmask import config as configuration
from specmask.config import Config
from specmask.errors import UserError
from specmask.options.values import SPLITS
from specmask.part import Part, execute, train_command
from specmask.recipe import OWN_DATA, SHARED_DATA, Budget, Recipe, check

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
        data: INI whose [data], [augment] and [audio] hold for all; None: that of the first recipe.
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
        data: Path | None = None,
        test: TestSet | None = None,
    ):
        if seeds < 1:
            raise UserError(f"--seeds {seeds}: expected 1 or more")
        check(options, for_all=True)
        self.out, self.recipes, self.seeds, self.budget = out.resolve(), recipes, seeds, budget
        self.options, self.data_ini = list(options), data or recipes[0].path
        no_test = ["data.total_testing_files=0"] if test else []
        self.shared = configuration.load(self.data_ini, [*self.options, *no_test])
        if not test and not self.shared.data.total_testing_files:
            raise UserError(
                f"{self.data_ini}: [data] total_testing_files = 0, so there are no files to score "
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
            names = map(configuration.value_text, [*_rate_and_length(own), *stft.values()])
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
        folder = self.out / "data" / "_".join(map(configuration.value_text, _rate_and_length(own)))
        options = [f"data.{k}={v}" for k, v in zip(OWN_DATA, _rate_and_length(own), strict=True)]
        options += [f"data.data_path={folder}", "data.total_testing_files=0"]
        options += [f"stft.{k}=" for k in configuration.STFT.model_fields if k.endswith("_dir")]
        options += [f"stft.{k}={getattr(own.stft, k)}" for k in TRANSFORM]
        return configuration.load(self.data_ini, [*self.options, *options])

    def data_notes(self) -> list[str]:
        """Return a line for each recipe: the data, and what it would have had otherwise itself."""
        lines = []
        for recipe, used in self.settings.items():
            own = configuration.load(recipe.path, [*self.options, *recipe.options])
            found = runs.differences(own, used, SHARED_DATA)
            changed = [c.values for c in found if "total_testing" not in c.name]
            rate, seconds = _rate_and_length(used)
            line = f"{recipe.label}: data of {self.data_ini} at {rate} Hz, {seconds:g} s a file"
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
        with lock.held(self.out):
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
                preparation.make(config)
            path = manifest.path_of(config, "training")
            self._agree(str(path), checkpoint.digest(path), str(path))
        for config in caches.values():
            preparation.transform(config)

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
        cli.import_tensorflow()  # only now: a GPU was the trainings' own
        from specmask import enhancer, folder
        from specmask.knobs import Knobs
        from specmask.models import cost

        for part in todo:
            c, target = part.config.enhance, self.out / "enhanced" / part.name
            model = enhancer.load(part.run, c.channels, c.highband, Knobs.from_config(part.config))
            stale = provenance.checkpoint(target) not in (None, model.digest)
            done = folder.enhance_folder(
                self.test.noisy, target, model, c.block_seconds, overwrite=stale
            )
            for rejected in done.rejected:
                print(f"warning: {part.name}: {rejected.path}: {rejected.reason}; set aside")
            network = model.runtime.network.model
            costs = {
                "weights": model.digest,
                "parameters": cost.parameters(network),
                "multiply_adds_a_second": cost.multiply_adds(network, part.config),
                "latency_ms": 1000 * model.latency_seconds,
                "causal": model.causal,
            }
            _write_json(self._costs(part), costs)
            print(f"{part.name}: {done.done} files enhanced -> {target}", flush=True)

    def _enhanced(self, part: Part) -> bool:
        weights = checkpoint.digest(part.run / "best.npz")
        return self._costs(part).is_file() and self.costs(part)["weights"] == weights

    def _costs(self, part: Part) -> Path:
        return self.out / "enhanced" / f"{part.name}.json"

    def costs(self, part: Part) -> Mapping[str, Any]:
        """Return what the network of an enhanced part costs."""
        return json.loads(self._costs(part).read_text(encoding="utf-8"))

    def _score(self) -> list[dict]:
        from specmask import evaluation

        dnsmos = metrics.DNSMOS if self.shared.evaluate.dnsmos else ()
        return evaluation.evaluate(
            self.test.clean,
            {part.name: self.out / "enhanced" / part.name for part in self.done},
            self.test.noisy,
            by=self.test.by,
            workers=self.shared.compute.workers,
            names=[*metrics.METRICS, *dnsmos],
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
    with audio.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
