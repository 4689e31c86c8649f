"""Division of the recordings into training, validation and testing, without leaks between them.

The train folders make training and validation, other speakers and other recordings of noise in
each; the test folders make testing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specmask.audio.io import Rejected
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data.corpus import layouts, pairs, recordings
from specmask.data.corpus.pairs import Pair
from specmask.data.corpus.recordings import Source
from specmask.data.seeding import generator
from specmask.errors import UserError

LARGEST_EXCESS = 1.5  # of the time for validation over validation_share
GAP_SECONDS = 2.0  # between the training and the validation part of one long recording
VALIDATION_KEY = len(SPLITS)  # of the random generator: the splits have 0, 1, 2


# ---------------------------------------------------------------- the folders


@dataclass(frozen=True)
class SourceSet:
    """The recordings of one subset, train or test.

    Attributes:
        speech_root, noise_root: folders that paths are relative to; the same one for pairs.
        pairs: ready-made pairs; empty where speech and noise are to be mixed.
        speech: recordings of speech; of pairs the clean files.
        noise: recordings of noise; of pairs the noisy files.
        rejected: what was set aside, with the name of the option of its folder.
        layout: lines that describe the naming schemes that were found.
    """

    speech_root: Path
    noise_root: Path
    pairs: tuple[Pair, ...]
    speech: list[Source]
    noise: list[Source]
    rejected: list[tuple[str, Rejected]]
    layout: tuple[str, ...]

    def rejected_by_folder(self) -> list[Rejected]:
        """Return what was set aside, with paths that begin with the name of the folder."""
        return [Rejected(f"{self._root(opt).name}/{r.path}", r.reason) for opt, r in self.rejected]

    def _root(self, option: str) -> Path:
        return self.noise_root if option.startswith("noise") else self.speech_root


def roots(config: Config, subset: str) -> tuple[Path, Path]:
    """Return the folders of speech and noise for one subset, train or test."""
    data = config.data
    if subset == "train":
        return data.clean_train_path, data.noise_train_path
    return data.clean_test_path, data.noise_test_path


def scan_subset(config: Config, subset: str) -> SourceSet:
    """Scan the folders of one subset.

    Args:
        config: all of it.
        subset: train or test.

    Raises:
        UserError: if a folder is missing or has nothing usable.
    """
    speech_root, noise_root = roots(config, subset)
    speech_option, noise_option = f"clean_{subset}_path", f"noise_{subset}_path"
    title = {"train": "training", "test": "testing"}[subset]
    paths = recordings.list_folder(speech_root, speech_option)
    kind, found, rejected = pairs.scan(speech_root, paths, config, subset)
    if found:
        clean = list({p.clean.path: p.clean for p in found}.values())
        if len(clean) == 1 and subset == "train":
            raise UserError(
                f"[data] {speech_option} = {speech_root}: pairs of one clean file only, expected "
                "two or more to take training and validation from them; add recordings"
            )
        groups = len({s.group for s in clean})
        line = f"{title}: layout: {kind}, {groups} speakers or sentences, {len(found)} pairs"
        return SourceSet(
            speech_root, speech_root, tuple(found), clean, [p.noisy for p in found],
            [(speech_option, r) for r in rejected], (line,),
        )  # fmt: skip
    lists, lines, set_aside = [], [], []
    for kind, root, option in (
        ("speech", speech_root, speech_option),
        ("noise", noise_root, noise_option),
    ):
        if kind == "noise":
            paths = recordings.list_folder(root, option)
        layout = layouts.detect(root, paths, kind, config)
        usable, rejected = recordings.scan(root, paths, layout.name_of, config, option)
        groups = len({s.group for s in usable})
        description = layouts.describe(layout, [s.path for s in usable], groups)
        lines.append(f"{title} {kind}: {description}")
        lists.append(usable)
        set_aside += [(option, r) for r in rejected]
    speech, noise = lists
    return SourceSet(speech_root, noise_root, (), speech, noise, set_aside, tuple(lines))


# ---------------------------------------------------------------- validation


class Division(NamedTuple):
    """Sources divided between training and validation, with warnings on how that was done."""

    training: list[Source]
    validation: list[Source]
    warnings: list[str]


def split_validation(config: Config, found: SourceSet) -> tuple[Division, Division]:
    """Divide the train folders between training and validation.

    Returns:
        the divisions of the speech and of the noise; of pairs those of the clean and of the noisy
        files.

    Raises:
        UserError: where ``validation_pairs`` takes no pair or all of them; and with
            ``leaks = refuse`` if its sentences are in training too.
    """
    data, rng = config.data, generator(config.data.seed, VALIDATION_KEY)
    if not data.total_validation_files:
        return Division(found.speech, [], []), Division(found.noise, [], [])
    if found.pairs and data.validation_pairs:
        return _split_pairs_by_name(config, found)
    speech = split_sources(found.speech, data.validation_share, data.sample_rate, rng)
    if not found.pairs:
        return speech, split_sources(found.noise, data.validation_share, data.sample_rate, rng)
    clean = {s.path for s in speech.validation}
    return speech, _partition(
        found.noise, {p.noisy.path for p in found.pairs if p.clean.path in clean}
    )


def split_sources(
    sources: list[Source], share: float, rate: int, rng: np.random.Generator
) -> Division:
    """Take validation from the training sources, so that no group is in both.

    Groups are drawn until they have the wanted share of the time; one that would bring it beyond
    1.5 times that is skipped. A single group is split by file, a single file in time with a gap
    of 2 s.

    Args:
        sources: of training and validation together.
        share: of the time, for validation.
        rate: working rate in Hz.
        rng: draws the groups.
    """
    warnings = []
    if len(sources) == 1:
        first, last = _split_in_time(sources[0], share, rate)
        warning = f"only one file ({sources[0].path}); validation is its last part"
        return Division([first], [last], [warning])
    if len({s.group for s in sources}) == 1:
        sources = [replace(s, group=f"file:{s.path}") for s in sources]
        warnings.append(f"all {len(sources)} files are of one group; validation is split by file")
    unknown = [s for s in sources if s.group == f"file:{s.path}" and not s.label]
    if unknown:
        warnings.append(
            f"{len(unknown)} files are in no folder that names their speaker; "
            "for them validation is split by file"
        )
    lengths: dict[str, int] = {}
    for source in sources:
        lengths[source.group] = lengths.get(source.group, 0) + source.length
    groups = sorted(lengths)
    wanted = share * sum(lengths.values())
    chosen: set[str] = set()
    total = 0
    for group in (groups[i] for i in rng.permutation(len(groups))):
        one_is_left = len(chosen) + 1 < len(groups)
        if one_is_left and total < wanted and total + lengths[group] <= LARGEST_EXCESS * wanted:
            chosen.add(group)
            total += lengths[group]
    if not chosen:  # every group is large: the smallest one
        chosen = {min(groups, key=lambda g: (lengths[g], g))}
    taken = sum(lengths[g] for g in chosen) / sum(lengths.values())
    if taken > LARGEST_EXCESS * share:
        warnings.append(
            f"validation takes {len(chosen)} of {len(groups)} speakers or recordings, "
            f"{taken:.0%} of the time where validation_share = {share:g}; add recordings of "
            "others, or set [data] total_validation_files = 0 to train with all"
        )
    training = [s for s in sources if s.group not in chosen]
    return Division(training, [s for s in sources if s.group in chosen], warnings)


def _split_in_time(source: Source, share: float, rate: int) -> tuple[Source, Source]:
    gap = round(GAP_SECONDS * rate)
    if source.length < 4 * gap:
        raise UserError(
            f"{source.path}: the only file, {source.length / rate:.1f} s; expected at least "
            f"{4 * GAP_SECONDS:g} s to take training and validation from it; add "
            "recordings, or set [data] total_validation_files = 0"
        )
    # either part has at least the length of the gap
    cut = source.stop - min(max(gap, round(share * source.length)), source.length - 2 * gap)
    return replace(source, stop=cut - gap), replace(source, start=cut)


def _split_pairs_by_name(config: Config, found: SourceSet) -> tuple[Division, Division]:
    """Take the pairs whose noisy names are asked for; a clean file may then be in both."""
    patterns = config.data.validation_pairs
    noisy = {p.noisy.path for p in found.pairs if pairs.fits(p.noisy.path, patterns)}
    if len(noisy) in (0, len(found.pairs)):
        raise UserError(
            f"[data] validation_pairs = {', '.join(patterns)}: takes {len(noisy)} of the "
            f"{len(found.pairs)} pairs for training, expected some of them; correct the pattern, "
            "or leave it empty to choose speakers"
        )
    clean_validation = {p.clean.path for p in found.pairs if p.noisy.path in noisy}
    clean_training = {p.clean.path for p in found.pairs if p.noisy.path not in noisy}
    training = [s for s in found.speech if s.path in clean_training]
    validation = [s for s in found.speech if s.path in clean_validation]
    what = "[data] validation_pairs: speech"
    warnings = _refuse_shared(config, training, validation, what, "validation")
    return Division(training, validation, warnings), _partition(found.noise, noisy)


def _partition(sources: list[Source], validation: set[str]) -> Division:
    return Division(
        [s for s in sources if s.path not in validation],
        [s for s in sources if s.path in validation],
        [],
    )


# ---------------------------------------------------------------- leaks


def refuse_leaks(config: Config, training: SourceSet, testing: SourceSet) -> list[str]:
    """Refuse recordings that training and testing share, or return warnings of them.

    Raises:
        UserError: with ``[data] leaks = refuse``.
    """
    return [
        *_refuse_shared(
            config, training.speech, testing.speech, "[data] clean_test_path: speech", "testing"
        ),
        *_refuse_shared(
            config, training.noise, testing.noise, "[data] noise_test_path: noise", "testing"
        ),
    ]


def _refuse_shared(
    config: Config, training: list[Source], others: list[Source], what: str, split: str
) -> list[str]:
    paths = {s.digest: s.path for s in training}
    shared = [(s.path, paths[s.digest]) for s in others if s.digest in paths]
    if not shared:
        return []
    other, first = shared[0]
    found = (
        f"{what} for {split} {other} is the same recording as {first} for training "
        f"({len(shared)} such {'file' if len(shared) == 1 else 'files'}); remove them from one of "
        "the folders"
    )
    if config.data.leaks == "refuse":
        raise UserError(f"{found}, or set [data] leaks = warn")
    return [found]
