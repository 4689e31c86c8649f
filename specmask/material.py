"""The recordings that are there for training, and those for testing: one folder of speech and one
of noise each, or ready-made pairs."""

from dataclasses import dataclass
from pathlib import Path

from specmask import layouts, pairs, sources
from specmask.audio import Rejected
from specmask.config import Config
from specmask.errors import UserError
from specmask.pairs import Pair
from specmask.sources import Source


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
    kind, found, bad = pairs.scan(speech_root, config, end)
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
        usable, bad = sources.scan(root, layout.name_of, config, name)
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
    found = sources.leak(training, others, what, end)
    if found and config.data.leaks == "refuse":
        raise UserError(f"{found}, or set [data] leaks = warn")
    return [found] if found else []
