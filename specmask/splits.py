"""The plan of a data set: which recordings each split is made of, and all that its files depend on.

Validation is taken from the training folders, other speakers and other recordings of noise; the
test folders make the test set alone.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask import crops, material, pairs, rooms, sources
from specmask.audio import Rejected
from specmask.config import Config
from specmask.crops import Piece
from specmask.errors import UserError
from specmask.material import Material
from specmask.options.values import SPLITS
from specmask.pairs import Pair
from specmask.scene import generator
from specmask.sources import Source

SETTINGS = (
    "sample_rate", "file_length", "snr_lower", "snr_upper", "total_snrlevels", "snr_mode",
    "snr_reference", "blend", "blend_lower", "blend_upper", "speech_level_db", "silence_length",
    "validation_share", "seed", "files_per_folder",
)  # fmt: skip
VALIDATION_KEY = len(SPLITS)  # spawn keys beyond the splits


@dataclass(frozen=True)
class Plan:
    """All that is needed to make any file of a split."""

    config: Config
    split: str
    speech_root: Path
    noise_root: Path
    speech: list[Source]
    noise: list[Source]
    responses: Sequence[rooms.Response] = ()
    pairs: tuple[Pair, ...] = ()  # ready-made; then all of them are imported, and nothing is mixed
    layout: tuple[str, ...] = ()  # lines that say how the sources are named

    @property
    def total(self) -> int:
        """Number of files."""
        if self.pairs:
            return len(self.pairs)
        return getattr(self.config.data, f"total_{self.split}_files")

    @property
    def samples(self) -> int:
        """Length of a file in samples."""
        return round(self.config.data.file_length * self.config.data.sample_rate)

    @property
    def hours(self) -> float:
        """Length of all files."""
        samples = sum(p.length for p in self.pairs) if self.pairs else self.total * self.samples
        return samples / self.config.data.sample_rate / 3600

    def settings(self) -> dict[str, Any]:
        """Return everything but the total that the files depend on."""
        return data_settings(self.config) | {
            "speech_sources": sources.digest(self.speech),
            "noise_sources": sources.digest(self.noise),
            "rir_path": sources.digest(self.responses),
        }

    @functools.cached_property
    def speakers(self) -> dict[str, list[Source]]:
        """The speech sources of each group."""
        groups: dict[str, list[Source]] = {}
        for source in self.speech:
            groups.setdefault(source.group, []).append(source)
        return groups

    def draw_speech(
        self, rng: np.random.Generator, samples: int, group: str | None = None
    ) -> tuple[list[Piece], np.ndarray]:
        """Draw speech of anyone, or of one group; see :func:`specmask.crops.draw`."""
        data = self.config.data
        choose = functools.partial(
            crops.of_speech,
            rng=rng,
            choice=self.speech if group is None else self.speakers[group],
            speakers=self.speakers,
            gap=round(data.silence_length * data.sample_rate),
        )
        return crops.draw(choose, samples, self.speech_root, self.config)

    def draw_noise(self, rng: np.random.Generator) -> tuple[list[Piece], np.ndarray]:
        """Draw recorded noise."""
        choose = functools.partial(crops.of_noise, rng=rng, choice=self.noise)
        return crops.draw(choose, self.samples, self.noise_root, self.config)


def data_settings(config: Config) -> dict[str, Any]:
    """Return the options that the audio of a data set depends on."""
    settings = {name: getattr(config.data, name) for name in SETTINGS}
    settings |= config.augment.model_dump(exclude={"rir_path"})  # its content counts: Plan.settings
    return settings | {"resampler": config.audio.resampler}


def plan(config: Config) -> tuple[list[Plan], list[str], dict[str, list[Rejected]]]:
    """Scan the sources and divide them over the splits.

    Returns:
        the plan of each split, warnings, and what was set aside for training and for testing.

    Raises:
        UserError: for missing or useless folders, and for recordings in two splits.
    """
    data = config.data
    training = material.gather(config, "train")
    rejected: dict[str, list[Rejected]] = {"training": training.set_aside(), "testing": []}
    parts = carve(config, training)
    warnings = [
        f"{what}: {warning}"
        for what, part in zip(("speech", "noise"), parts, strict=False)
        for warning in part[2]
    ]
    responses, bad = _responses(config)
    rejected["training"] += bad
    roots = training.speech_root, training.noise_root
    plans = []
    for k, split in enumerate(
        ("training", "validation")[: 2 if data.total_validation_files else 1]
    ):
        speech, noise = parts[0][k], parts[1][k]
        own = {s.path for s in noise}
        some = tuple(p for p in training.pairs if p.noisy.path in own)
        plans.append(Plan(config, split, *roots, speech, noise, responses, some, training.layout))
    if data.total_testing_files:
        test = material.gather(config, "test")
        rejected["testing"] = test.set_aside()
        warnings += material.leaks(config, training, test)
        roots, found = (test.speech_root, test.noise_root), (test.speech, test.noise)
        plans.append(Plan(config, "testing", *roots, *found, responses, test.pairs, test.layout))
    _refuse_single_speakers(plans)
    return plans, warnings, rejected


def carve(config: Config, training: Material) -> list[tuple[list[Source], list[Source], list[str]]]:
    """Divide what there is for training between training and validation.

    Returns:
        training sources, validation sources and warnings of the speech, and the same of the
        noise; of pairs of the clean and of the noisy files.

    Raises:
        UserError: where ``validation_pairs`` takes no pair or all of them; and with
            ``leaks = refuse`` if its sentences are in training too.
    """
    data, rng = config.data, generator(config.data.seed, VALIDATION_KEY)
    kinds = training.speech, training.noise
    if not data.total_validation_files:
        return [(found, [], []) for found in kinds]
    if not training.pairs:
        return [sources.carve(k, data.validation_share, data.sample_rate, rng) for k in kinds]
    if data.validation_pairs:
        return _carve_by_name(config, training)
    speech = sources.carve(training.speech, data.validation_share, data.sample_rate, rng)
    own = {s.path for s in speech[1]}
    apart = {p.noisy.path for p in training.pairs if p.clean.path in own}
    return [speech, (*_divided(training.noise, apart), [])]


def _carve_by_name(
    config: Config, training: Material
) -> list[tuple[list[Source], list[Source], list[str]]]:
    """Take the pairs whose noisy names are asked for; a clean file may then be in both."""
    patterns, found = config.data.validation_pairs, training.pairs
    apart = {p.noisy.path for p in found if pairs.fits(p.noisy.path, patterns)}
    if len(apart) in (0, len(found)):
        raise UserError(
            f"[data] validation_pairs = {', '.join(patterns)}: takes {len(apart)} of the "
            f"{len(found)} pairs for training, expected some of them; correct the pattern, or "
            "leave it empty to set speakers apart"
        )
    clean = [
        {p.clean.path for p in found if (p.noisy.path in apart) == held} for held in (False, True)
    ]
    speech = [[s for s in training.speech if s.path in own] for own in clean]
    warnings = material.leak(config, *speech, "[data] validation_pairs: speech", "validation")
    return [(*speech, warnings), (*_divided(training.noise, apart), [])]


def _divided(found: list[Source], apart: set[str]) -> tuple[list[Source], list[Source]]:
    return [s for s in found if s.path not in apart], [s for s in found if s.path in apart]


def _responses(config: Config) -> tuple[list[rooms.Response], list[Rejected]]:
    """Return the room impulse responses where there are any to be used."""
    if not config.augment.room_probability:
        return [], []
    if config.augment.rir_path == Path():
        rooms.library()  # says so at once if it is missing
        return [], []
    return rooms.scan(config.augment.rir_path)


def _refuse_single_speakers(plans: list[Plan]) -> None:
    for p in plans:
        augmented = p.split != "testing" or p.config.augment.testing
        wanted = p.config.augment.babble_probability and augmented and not p.pairs
        if wanted and len(p.speakers) < 2:
            raise UserError(
                f"[augment] babble_probability: {p.speech_root} holds one speaker for {p.split}, "
                "expected two or more to make babble of others; add speakers, or set it to 0"
            )
