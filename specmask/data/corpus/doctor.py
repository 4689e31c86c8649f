"""Faults of the recordings, found before anything is mixed: data_prep.py --check.

The column plan of the list says what happens to each:
    stop        to be solved first: training and test share something
    set aside   the recording is not used; data_prep.py sets aside by itself what cannot be read,
                the rest when ``[data] set_aside`` names the list
    fix         data_prep.py does it (mix down, resample), or the text says what you can do
    keep        the recording can be used as it is
"""

import functools
from collections import Counter
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from specmask import files, parallel
from specmask.audio.io import AudioError
from specmask.audio.levels import OFFSET_SHARE
from specmask.config.schema import Config
from specmask.data.corpus import fingerprint, measurements, splits
from specmask.data.corpus.fingerprint import Fingerprint
from specmask.data.corpus.measurements import Measurements
from specmask.data.corpus.recordings import SET_ASIDE, Source

STOP, FIX, KEEP = "stop", "fix", "keep"
LARGEST_DC = 10 ** (-50 / 20)
FLAT_SAMPLES = 6  # that may be in runs of three or more equal ones at the peak
FULL_SHARE = 1e-3  # of samples at full scale, in lossy formats that leave no flat runs
CANCELS_DB = -10  # level of the mix-down relative to the channels


@dataclass(frozen=True)
class Finding:
    """One fault: a row of the list, whose columns are these fields.

    Attributes:
        folder: name of the option.
        path: relative to the folder.
        split: of the recording; empty if it is not used.
        problem, detail: the kind of fault, and its figures.
        plan: stop, set aside, fix or keep.
        other: the recording that it shares something with.
    """

    folder: str
    path: str
    split: str
    problem: str
    detail: str
    plan: str
    other: str = ""


@dataclass(frozen=True)
class Group:
    """The usable recordings of one folder and kind, with the split of each."""

    option: str
    kind: str  # speech, noise or noisy
    root: Path
    sources: list[Source]
    splits: dict[str, str]


@dataclass(frozen=True)
class Report:
    """All findings, and the groups that were checked."""

    findings: list[Finding]
    groups: list[Group]

    @property
    def stops(self) -> int:
        """Number of findings that are to be solved first."""
        return sum(f.plan == STOP for f in self.findings)


def check(config: Config) -> Report:
    """Check all recordings of the configuration; nothing is written.

    Raises:
        UserError: if a folder is missing or has nothing usable.
    """
    groups: list[Group] = []
    findings: list[Finding] = []
    for subset in ("train", "test") if config.data.total_testing_files else ("train",):
        scanned, rejected = _scan_subset(config, subset)
        groups += scanned
        findings += rejected
    fingerprints: dict[Path, Fingerprint] = {}
    for group in groups:
        paths = [group.root / s.path for s in group.sources]
        measure = functools.partial(_measure, with_fingerprint=group.kind != "noisy")
        measured = parallel.map_chunks(
            measure, paths, config.compute.workers, f"check {group.option}"
        )
        for source, path, found in zip(group.sources, paths, measured, strict=True):
            if isinstance(found, str):
                split, problem = group.splits[source.path], _problem(found)
                findings.append(
                    Finding(group.option, source.path, split, problem, found, SET_ASIDE)
                )
                fingerprints[path] = fingerprint.EMPTY
                continue
            fingerprints[path] = found.fingerprint
            findings += _file_findings(group, source, found, config.data.sample_rate)
    for kind in ("speech", "noise"):
        same_kind = [g for g in groups if g.kind == kind]
        findings += _same_content(same_kind, fingerprints, config)
        findings += _same_group(same_kind, config)
    return Report(findings, groups)


def _measure(path: Path, with_fingerprint: bool) -> Measurements | str:
    """Measure a file, or return the reason why not: its scan may be from the cache."""
    try:
        return measurements.measure(path, with_fingerprint)
    except AudioError as error:
        return str(error)


def _scan_subset(config: Config, subset: str) -> tuple[list[Group], list[Finding]]:
    """Scan the folders of one subset, and take validation from training as data_prep.py does."""
    found = splits.scan_subset(config, subset)
    if subset == "test":
        lists = found.speech, found.noise
        split_of = [dict.fromkeys((s.path for s in sources), "testing") for sources in lists]
    else:
        split_of = [
            {s.path: "validation" for s in d.validation} | {s.path: "training" for s in d.training}
            for d in splits.split_validation(config, found)
        ]
    option = f"clean_{subset}_path"
    other = (option, "noisy") if found.pairs else (f"noise_{subset}_path", "noise")
    groups = [
        Group(option, "speech", found.speech_root, found.speech, split_of[0]),
        Group(*other, found.noise_root, found.noise, split_of[1]),
    ]
    findings = [
        Finding(option, r.path, "", _problem(r.reason), r.reason, SET_ASIDE)
        for option, r in found.rejected
    ]
    return groups, findings


def _problem(reason: str) -> str:
    """Return the kind of problem of a reason of the scan."""
    kinds = {
        "same content": "duplicate", "too short": "too short", "silent": "silent",
        "set aside": "set aside", "truncated": "truncated", "damaged": "damaged",
        "holds NaN": "not finite", "holds no": "too short", "empty": "unreadable",
        "not readable": "unreadable", "the header": "truncated", "only": "damaged",
        "joined": "damaged", "holds samples": "too loud",
    }  # fmt: skip
    return next((name for start, name in kinds.items() if reason.startswith(start)), "pair")


# ---------------------------------------------------------------- one file


def _file_findings(group: Group, source: Source, facts: Measurements, rate: int) -> list[Finding]:
    found: list[Finding] = []
    speech = group.kind == "speech"

    def add(problem: str, detail: str, plan: str) -> None:
        split = group.splits[source.path]
        found.append(Finding(group.option, source.path, split, problem, detail, plan))

    if facts.flat_samples > FLAT_SAMPLES or facts.full_scale_share >= FULL_SHARE:
        detail = (
            f"{facts.flat_samples} samples in flat runs at the peak of {facts.peak:.3f}, "
            f"{100 * facts.full_scale_share:.2f} % at full scale"
        )
        add("clipped", detail, SET_ASIDE if speech else KEEP)
    if abs(facts.dc) > LARGEST_DC:
        detail = (
            f"mean {facts.dc:+.4f}; data_prep.py subtracts it where it is more than "
            f"{100 * OFFSET_SHARE:g} % of a piece's power, never in ready-made pairs"
        )
        add("DC", detail, FIX)
    if source.channels > 1:
        add("stereo", f"{source.channels} channels; data_prep.py mixes them down", FIX)
        if facts.mixdown_db < CANCELS_DB:
            detail = f"the mix-down is {-facts.mixdown_db:.1f} dB below the channels"
            add("channels cancel", detail, SET_ASIDE)
    if source.rate != rate:
        lost = f", nothing above {source.rate / 2:g} Hz" if source.rate < rate else ""
        add("rate", f"{source.rate} Hz{lost}; data_prep.py resamples", FIX)
    if 0 < facts.edge_hz < 0.9 * rate / 2:
        detail = f"nothing above {facts.edge_hz:g} Hz (drop of {facts.drop_db:.0f} dB)"
        add("upsampled", detail, SET_ASIDE if speech else KEEP)
    return found


# ---------------------------------------------------------------- between files


def _same_content(
    groups: list[Group], fingerprints: dict[Path, Fingerprint], config: Config
) -> list[Finding]:
    """Find copies and near copies, in one folder or in two."""
    members = [(g, s) for g in groups for s in g.sources]
    paths = [g.root / s.path for g, s in members]
    possible = fingerprint.candidates([fingerprints[p] for p in paths])
    comparisons = [(paths[a], paths[b], offset) for a, b, offset in possible]
    results = parallel.map_chunks(_correlate, comparisons, config.compute.workers, "compare")
    by_digest: dict[str, list[int]] = {}
    for k, (_, source) in enumerate(members):
        by_digest.setdefault(source.digest, []).append(k)
    same = {(k[0], other): "the same samples" for k in by_digest.values() for other in k[1:]}
    for (a, b, _), (value, offset) in zip(possible, results, strict=True):
        if value >= fingerprint.SAME:
            same.setdefault((a, b), f"correlation {value:.3f} at {offset:+.3f} s")
    findings = []
    for (a, b), detail in sorted(same.items()):
        (first, one), (second, other) = members[a], members[b]
        split = second.splits[other.path]
        crossing = first.option != second.option
        plan = (STOP if config.data.leaks == "refuse" else KEEP) if crossing else SET_ASIDE
        problem = "near duplicate" if first.splits[one.path] == split else "leak: same content"
        name = f"{first.option}: {one.path}"
        findings.append(Finding(second.option, other.path, split, problem, detail, plan, name))
    return findings


def _correlate(comparison: tuple[Path, Path, float]) -> tuple[float, float]:
    try:
        return fingerprint.correlation(*comparison)
    except AudioError:
        return 0.0, 0.0


def _same_group(groups: list[Group], config: Config) -> list[Finding]:
    """Find speakers and recordings that training and test share, by their names."""
    if len(groups) < 2:
        return []
    training, testing = groups[0], groups[1]
    first_training = {s.group: s.path for s in reversed(training.sources)}
    first_testing = {s.group: s.path for s in reversed(testing.sources)}
    found = Counter(s.group for s in testing.sources if s.group in first_training and _is_name(s))
    what = "speaker" if training.kind == "speech" else "noise recording"
    plan = STOP if config.data.leaks == "refuse" else KEEP
    return [
        Finding(testing.option, first_testing[group], "testing", f"leak: same {what}",
                f"{group}: {count} files for testing", plan,
                f"{training.option}: {first_training[group]}")
        for group, count in sorted(found.items())
    ]  # fmt: skip


def _is_name(source: Source) -> bool:
    """Return whether the group of a source is a name, and not made of its path."""
    return source.group != source.path and not source.group.startswith(("file:", "noisy:"))


# ---------------------------------------------------------------- the list


def summary(report: Report) -> list[str]:
    """Return lines for the screen: the recordings that were checked, and the number of findings."""
    lines = []
    for g in report.groups:
        counts = Counter(g.splits.values())
        parts = ", ".join(f"{n} for {split}" for split, n in sorted(counts.items()))
        lines.append(f"{g.option}: {len(g.sources)} usable {g.kind} files ({parts})")
    problems = Counter((f.plan, f.problem, f.folder) for f in report.findings)
    order = (STOP, SET_ASIDE, FIX, KEEP)
    for (plan, problem, folder), n in sorted(
        problems.items(), key=lambda item: (order.index(item[0][0]), item[0])
    ):
        lines.append(f"  {plan:9}  {n:6}  {problem}, {folder}")
    return lines


def write(path: Path, findings: list[Finding]) -> Path | None:
    """Write the list as CSV, or remove an old one when there are no findings."""
    return files.write_table(path, [f.name for f in fields(Finding)], [*map(astuple, findings)])
