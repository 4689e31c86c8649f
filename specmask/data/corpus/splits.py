"""The recordings of training, validation and testing, and how they are divided."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from specmask.audio.io import Rejected
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data.corpus import layouts, pairs, recordings
from specmask.data.corpus.pairs import Pair, scan
from specmask.data.corpus.recordings import Source
from specmask.data.seeding import generator
from specmask.errors import UserError


@dataclass(frozen=True)
class Material:
    """What was found for one end.

    Attributes:
        speech_root, noise_root: folders that paths are relative to; the same one for pairs.
        pairs: ready-made pairs; empty where speech and noise are to be mixed.
        speech: recordings of speech; of pairs the clean files.
        noise: recordings of noise; of pairs the noisy files.
        rejected: what was set aside, with the name of the option that its folder stands in.
        layout: lines that say how files were found to be named.
    """

    speech_root: Path
    noise_root: Path
    pairs: tuple[Pair, ...]
    speech: list[Source]
    noise: list[Source]
    rejected: list[tuple[str, Rejected]]
    layout: tuple[str, ...]

    def set_aside(self) -> list[Rejected]:
        """Return what was set aside, with paths that begin with the name of the folder."""
        return [
            Rejected(f"{self._root(option).name}/{r.path}", r.reason) for option, r in self.rejected
        ]

    def _root(self, option: str) -> Path:
        return self.noise_root if option.startswith("noise") else self.speech_root


def roots(config: Config, end: str) -> tuple[Path, Path]:
    """Return the folders of speech and noise for one end, train or test."""
    data = config.data
    if end == "train":
        return data.clean_train_path, data.noise_train_path
    return data.clean_test_path, data.noise_test_path


def gather(config: Config, end: str) -> Material:
    """Scan the folders of one end.

    Args:
        config: all of it.
        end: train or test.

    Raises:
        UserError: if a folder is missing or holds nothing usable.
    """
    speech_root, noise_root = roots(config, end)
    title = {"train": "training", "test": "testing"}[end]
    option = f"clean_{end}_path"
    kind, found, bad = scan(speech_root, config, end)
    rejected = [(option, r) for r in bad]
    if found:
        speech = list({p.clean.path: p.clean for p in found}.values())
        if len(speech) == 1 and end == "train":
            raise UserError(
                f"[data] {option} = {speech_root}: pairs of one clean file only, expected two or "
                "more to take training and validation from them; add recordings"
            )
        groups = len({s.group for s in speech})
        line = f"{title}: layout: {kind}, {groups} speakers or sentences, {len(found)} pairs"
        noisy = [p.noisy for p in found]
        return Material(speech_root, speech_root, tuple(found), speech, noisy, rejected, (line,))
    lists, lines = [], []
    for kind, root, name in (
        ("speech", speech_root, option),
        ("noise", noise_root, f"noise_{end}_path"),
    ):
        layout = layouts.of(root, kind, config)
        usable, bad = recordings.scan(root, layout.name_of, config, name)
        groups = len({s.group for s in usable})
        lines.append(
            f"{title} {kind}: " + layouts.describe(layout, [s.path for s in usable], groups)
        )
        lists.append(usable)
        rejected += [(name, r) for r in bad]
    return Material(speech_root, noise_root, (), *lists, rejected, tuple(lines))


def leaks(config: Config, training: Material, testing: Material) -> list[str]:
    """Refuse recordings that training and testing have in common, or return warnings of them.

    Raises:
        UserError: with ``[data] leaks = refuse``.
    """
    warnings = []
    for option, kind, known, found in (
        ("clean_test_path", "speech", training.speech, testing.speech),
        ("noise_test_path", "noise", training.noise, testing.noise),
    ):
        warnings += leak(config, known, found, f"[data] {option}: {kind}", "testing")
    return warnings


def leak(
    config: Config, training: list[Source], others: list[Source], what: str, end: str
) -> list[str]:
    """Refuse recordings that training and another end have in common, or return a warning.

    Raises:
        UserError: with ``[data] leaks = refuse``.
    """
    found = common_recordings(training, others, what, end)
    if found and config.data.leaks == "refuse":
        raise UserError(f"{found}, or set [data] leaks = warn")
    return [found] if found else []


GAP_SECONDS = 2.0  # between the training and the validation part of one long recording


def carve_sources(
    sources: list[Source], share: float, rate: int, rng: np.random.Generator
) -> tuple[list[Source], list[Source], list[str]]:
    """Split sources into training and validation, with no group in both.

    Whole groups go to validation in random order until they hold ``share`` of the time; one
    that would bring it beyond 1.5 times that is passed over. A single group is split by file,
    a single file by time with a gap of 2 s.

    Returns:
        training sources, validation sources, warnings.
    """
    warnings = []
    groups = {s.group for s in sources}
    if len(groups) == 1 and len(sources) > 1:
        sources = [replace(s, group=f"file:{s.path}") for s in sources]
        warnings.append(f"all {len(sources)} files are of one group; validation is split by file")
    if len(sources) == 1:
        return *_carve_time(sources[0], share, rate), [
            f"only one file ({sources[0].path}); validation is its last part"
        ]
    unknown = [s for s in sources if s.group == f"file:{s.path}" and not s.label]
    if unknown:
        warnings.append(
            f"{len(unknown)} files lie in no folder that names their speaker; "
            "for them validation is split by file"
        )
    lengths: dict[str, int] = {}
    for source in sources:
        lengths[source.group] = lengths.get(source.group, 0) + source.length
    names = sorted(lengths)
    target = share * sum(lengths.values())
    chosen, total = set(), 0
    for name in (names[i] for i in rng.permutation(len(names))):
        if (
            len(chosen) + 1 < len(names)
            and total < target
            and total + lengths[name] <= 1.5 * target
        ):
            chosen.add(name)
            total += lengths[name]
    if not chosen:  # every group is large: the smallest one
        chosen = {min(names, key=lambda n: (lengths[n], n))}
    training = [s for s in sources if s.group not in chosen]
    return training, [s for s in sources if s.group in chosen], warnings


def _carve_time(source: Source, share: float, rate: int) -> tuple[list[Source], list[Source]]:
    gap = round(GAP_SECONDS * rate)
    if source.length < 4 * gap:
        raise UserError(
            f"{source.path}: the only file, {source.length / rate:.1f} s; expected at least "
            f"{4 * GAP_SECONDS:g} s to take training and validation from it; add "
            "recordings, or set [data] total_validation_files = 0"
        )
    # either part has at least the length of the gap
    cut = source.stop - min(max(gap, round(share * source.length)), source.length - 2 * gap)
    return [replace(source, stop=cut - gap)], [replace(source, start=cut)]


def common_recordings(
    training: Iterable[Source], others: Iterable[Source], what: str, end: str = "testing"
) -> str:
    """Name a recording for another end that is also one for training; "" if there is none."""
    known = {s.digest: s.path for s in training}
    leaks = [(s.path, known[s.digest]) for s in others if s.digest in known]
    if not leaks:
        return ""
    other, train = leaks[0]
    return (
        f"{what} for {end} {other} is the same recording as {train} for training "
        f"({len(leaks)} such files); remove them from one of the folders"
    )


VALIDATION_KEY = len(SPLITS)  # spawn keys beyond the splits


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
        return [carve_sources(k, data.validation_share, data.sample_rate, rng) for k in kinds]
    if data.validation_pairs:
        return _carve_by_name(config, training)
    speech = carve_sources(training.speech, data.validation_share, data.sample_rate, rng)
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
    warnings = leak(config, *speech, "[data] validation_pairs: speech", "validation")
    return [(*speech, warnings), (*_divided(training.noise, apart), [])]


def _divided(found: list[Source], apart: set[str]) -> tuple[list[Source], list[Source]]:
    return [s for s in found if s.path not in apart], [s for s in found if s.path in apart]
