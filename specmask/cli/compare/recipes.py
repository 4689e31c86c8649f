"""Recipes, options over them, and the budget of a training."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specmask.config import ini
from specmask.errors import UserError

SHARED_DATA = ("data", "augment", "audio")  # sections that are the same for all recipes,
OWN_DATA = ("sample_rate", "file_length")  # but for these options of [data]
SET_HERE = ("epochs", "epoch_steps", "patience", "seed", "run_name", "checkpoint_path", "log_path")
UNITS = {"step": 0, "s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
SLUG_LENGTH = 80  # paths are limited
OPTION = r"@(?=\w+\.\w+=)"  # begins an option in the name of a recipe


@dataclass(frozen=True)
class Budget:
    """Limit of a training: a number of steps, or seconds of them."""

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read "1500 steps", "20 minutes", "90 s", "1 hour".

        Raises:
            UserError: if it is something else.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
        unit = UNITS.get(match[2], UNITS.get(match[2].removesuffix("s"))) if match else None
        amount = float(match[1]) if match else 0.0
        if unit is None or not amount or (unit == 0 and amount % 1):
            raise UserError(
                f"--budget {text}: expected a number of steps or a time, for instance "
                '"1500 steps", "20 minutes", "90 s" or "1 hour"'
            )
        return cls(seconds=amount * unit) if unit else cls(steps=int(amount))


@dataclass(frozen=True)
class Recipe:
    """An INI file and options over it, ``section.key=value``."""

    path: Path
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name in tables: that of the file, and the options without their sections."""
        return " ".join([self.path.stem, *(o.partition(".")[2] for o in self.options)])

    @property
    def slug(self) -> str:
        """The label in a form for folder names."""
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", self.label).strip("-.")
        if len(slug) > SLUG_LENGTH:  # many options may differ only in the last ones
            digest = hashlib.blake2b(slug.encode(), digest_size=4).hexdigest()
            slug = f"{slug[: SLUG_LENGTH - 9]}-{digest}"
        return slug


def parse(texts: Sequence[str], varied: Sequence[str] = ()) -> list[Recipe]:
    """Return the recipes of a command line, each with every combination of the varied options.

    Args:
        texts: ``FILE`` or ``FILE@section.key=value@section.key=value``.
        varied: ``section.key=value,value``; values that contain commas are separated by semicolons.

    Raises:
        UserError: if one does not exist or is wrong, or two have the same name.
    """
    found = [
        Recipe(ini.recipe_path(Path(path)), (*options, *more))
        for path, *options in (re.split(OPTION, text) for text in texts)
        for more in itertools.product(*map(_values, varied))
    ]
    seen: dict[str, Recipe] = {}
    for recipe in found:
        if not recipe.path.is_file():
            raise UserError(
                f"{recipe.path}: no such recipe; expected an INI file, with options as "
                "FILE@section.key=value"
            )
        if not recipe.slug:
            raise UserError(f"{recipe.path}: expected a letter or digit in its name; rename it")
        if seen.setdefault(recipe.slug, recipe) is not recipe:
            raise UserError(
                f"{recipe.label}: named twice, or like another one; rename it, or leave it out"
            )
        check_options(recipe.options)
    return found


def _values(text: str) -> list[str]:
    name, _, values = text.partition("=")
    found = [v.strip() for v in values.split(";" if ";" in values else ",")]
    if "." not in name or not all(found):
        raise UserError(f"--vary {text}: expected SECTION.KEY=VALUE,VALUE,...")
    return [f"{name}={value}" for value in found]


def check_options(options: Sequence[str], for_all: bool = False) -> None:
    """Check that no option is set by the comparison itself, or must be the same for all.

    Raises:
        UserError: if one is.
    """
    for option in options:
        section, _, key = option.partition("=")[0].strip().lower().partition(".")
        if section == "train" and key in SET_HERE:
            raise UserError(f"{option}: is set by the comparison itself; see --budget and --seeds")
        if section in SHARED_DATA and key not in OWN_DATA and not for_all:
            raise UserError(f"{option}: the data are the same for all; use --set")
