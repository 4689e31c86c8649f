"""Plans of the splits: the recordings that each is made of, and all that its files depend on.

Validation is taken from the training folders, other speakers and other recordings of noise; the
test folders make the test set alone.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask.audio.io import Rejected
from specmask.config.schema import Config
from specmask.config.types import KINDS
from specmask.data.corpus import recordings, splits
from specmask.data.corpus.pairs import Pair
from specmask.data.corpus.recordings import Source
from specmask.data.mixtures import crops, rir
from specmask.data.mixtures.crops import Piece
from specmask.errors import UserError

SETTINGS = (
    "sample_rate", "file_length", "snr_lower", "snr_upper", "total_snrlevels", "snr_mode",
    "snr_reference", "blend", "blend_lower", "blend_upper", "speech_level_db", "silence_length",
    "validation_share", "seed", "files_per_folder",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Everything that is needed to make any file of a split."""

    config: Config
    split: str
    speech_root: Path
    noise_root: Path
    speech: list[Source]
    noise: list[Source]
    responses: Sequence[rir.Response] = ()
    pairs: tuple[Pair, ...] = ()  # ready-made: all of them are imported, and nothing is mixed
    layout: tuple[str, ...] = ()  # lines on how the sources are named

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
        """Length of all files together."""
        samples = sum(p.length for p in self.pairs) if self.pairs else self.total * self.samples
        return samples / self.config.data.sample_rate / 3600

    def settings(self) -> dict[str, Any]:
        """Return everything that the files depend on, except the total."""
        return data_settings(self.config) | {
            "speech_sources": recordings.digest(self.speech),
            "noise_sources": recordings.digest(self.noise),
            "rir_path": recordings.digest(self.responses),
        }

    @property
    def source_options(self) -> dict[str, str]:
        """The options of the folders whose digests are in the settings, by the names there."""
        subset = "test" if self.split == "testing" else "train"
        return {
            "speech_sources": f"clean_{subset}_path",
            "noise_sources": f"{'clean' if self.pairs else 'noise'}_{subset}_path",
            "rir_path": "rir_path",
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
        """Draw speech of all speakers or of one group, see :func:`.crops.draw`."""
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


def make_plans(config: Config) -> tuple[list[Plan], list[str], dict[str, list[Rejected]]]:
    """Scan the sources and divide them among the splits.

    Returns:
        the plan of each split, warnings, and the files set aside for training and for testing.

    Raises:
        UserError: for missing or useless folders, for recordings in two splits, and for recordings
            in the folders of the mixtures.
    """
    data = config.data
    if data.total_testing_files:  # before the training sources are scanned, which takes its time
        recordings.require_folder(data.clean_test_path, "clean_test_path")
    training = splits.scan_subset(config, "train")
    rejected: dict[str, list[Rejected]] = {"training": training.rejected_by_folder(), "testing": []}
    speech, noise = splits.split_validation(config, training)
    warnings = [f"speech: {warning}" for warning in speech.warnings]
    warnings += [f"noise: {warning}" for warning in noise.warnings]
    if data.snr_mode == "all" and data.blend == "level" and not training.pairs:
        warnings.append("[data] snr_mode = all has no effect with blend = level, which has no SNRs")
    responses, bad = _responses(config)
    rejected["training"] += bad
    roots = training.speech_root, training.noise_root
    divided = [("training", speech.training, noise.training)]
    if data.total_validation_files:
        divided.append(("validation", speech.validation, noise.validation))
    plans = []
    for split, voices, noises in divided:
        paths = {s.path for s in noises}
        pairs = tuple(p for p in training.pairs if p.noisy.path in paths)
        plans.append(Plan(config, split, *roots, voices, noises, responses, pairs, training.layout))
    if data.total_testing_files:
        test = splits.scan_subset(config, "test")
        rejected["testing"] = test.rejected_by_folder()
        warnings += splits.refuse_leaks(config, training, test)
        roots, found = (test.speech_root, test.noise_root), (test.speech, test.noise)
        plans.append(Plan(config, "testing", *roots, *found, responses, test.pairs, test.layout))
    _refuse_sources_in_output(plans)
    _refuse_single_speakers(plans)
    return plans, warnings, rejected


def _responses(config: Config) -> tuple[list[rir.Response], list[Rejected]]:
    """Return the room impulse responses that are used, and the files that cannot be."""
    if not config.augment.room_probability:
        return [], []
    if config.augment.rir_path == Path() or config.augment.rir_share < 1:
        rir.library()  # raises at once if it is not installed
    if config.augment.rir_path == Path():
        return [], []
    return rir.scan(config.augment.rir_path)


def _refuse_sources_in_output(plans: list[Plan]) -> None:
    """Refuse recordings in folders that mixtures are written to: --overwrite would remove them."""
    outputs = {
        p.config.stft.folder(kind, p.split).resolve(): f"{kind}_{p.split}_dir"
        for p in plans
        for kind in KINDS
    }
    places = [
        (p.source_options[name], root, sources)
        for p in plans
        for name, root, sources in (
            ("speech_sources", p.speech_root, p.speech),
            ("noise_sources", p.noise_root, p.noise),
        )
    ]
    for option, root, sources in places:
        for folder in sorted({(root / s.path).parent.resolve() for s in sources}):
            output = next((o for o in outputs if folder.is_relative_to(o)), None)
            if output:
                raise UserError(
                    f"[data] {option} = {root}: has recordings in {output}, where data_prep.py "
                    "writes mixtures; move the recordings, or choose another [data] data_path or "
                    f"[STFT] {outputs[output]}"
                )


def _refuse_single_speakers(plans: list[Plan]) -> None:
    for p in plans:
        augmented = p.split != "testing" or p.config.augment.testing
        wanted = p.config.augment.babble_probability and augmented and not p.pairs
        if wanted and len(p.speakers) < 2:
            raise UserError(
                f"[augment] babble_probability: {p.speech_root} holds one speaker for {p.split}, "
                "expected two or more to make babble of others; add speakers, or set it to 0"
            )
