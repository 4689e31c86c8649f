"""The doctor: what is wrong with the recordings, and what to do, before anything is mixed.

Plans:
    stop        solve it first: training and test have something in common
    set aside   the recording is not used; what cannot be read, data_prep.py sets aside by itself,
                the rest when ``[data] set_aside`` names the list
    fix         data_prep.py does it (mix down, resample), or the text says what you can do
    keep        it can be used as it is; good to know
"""

import functools
from collections import Counter
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from specmask import files, parallel
from specmask.audio import io as audio_io
from specmask.config.schema import Config
from specmask.data.corpus import fingerprint, measurements
from specmask.data.corpus.recordings import SET_ASIDE, Source
from specmask.data.corpus.splits import carve, gather

STOP, FIX, KEEP = "stop", "fix", "keep"
LARGEST_DC = 10 ** (-50 / 20)
FLAT_SAMPLES = 6  # that may stand in runs of three or more equal ones at the peak
FULL_SHARE = 1e-3  # of samples at full scale, in lossy formats that leave no flat runs
CANCELS_DB = -10  # level of the mix-down relative to the channels
ENDS = ("train", "test")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list."""

    folder: str  # name of the option
    path: str
    split: str
    problem: str
    detail: str
    plan: str
    other: str = ""  # the recording that it has something in common with


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
    """All findings, and what was looked at."""

    findings: list[Finding]
    groups: list[Group]

    @property
    def stops(self) -> int:
        """Number of findings that must be solved first."""
        return sum(f.plan == STOP for f in self.findings)


def check(config: Config) -> Report:
    """Look at all recordings of the configuration and write nothing.

    Raises:
        UserError: if a folder is missing or holds nothing usable.
    """
    groups, findings = [], []
    for end in ENDS[: 2 if config.data.total_testing_files else 1]:
        some, bad = _survey(config, end)
        groups += some
        findings += bad
    prints = {}
    for group in groups:
        paths = [group.root / s.path for s in group.sources]
        look = functools.partial(_examined, fingerprints=group.kind != "noisy")
        facts = parallel.map_chunks(look, paths, config.compute.workers, f"check {group.option}")
        for source, found in zip(group.sources, facts, strict=True):
            if isinstance(found, str):
                split, problem = group.splits[source.path], _problem(found)
                findings.append(
                    Finding(group.option, source.path, split, problem, found, SET_ASIDE)
                )
                prints[group.root / source.path] = fingerprint.NOTHING
                continue
            prints[group.root / source.path] = found.pop("print")
            findings += _file_findings(group, source, found, config.data.sample_rate)
    for kind in ("speech", "noise"):
        some = [g for g in groups if g.kind == kind]
        findings += _same_content(some, prints, config)
        findings += _same_group(some, config)
    return Report(findings, groups)


def _examined(path: Path, fingerprints: bool) -> dict | str:
    """Measure a file, or say why that is not possible any more: it may be known from long ago."""
    try:
        return measurements.examine(path, fingerprints)
    except audio_io.AudioError as error:
        return str(error)


def _survey(config: Config, end: str) -> tuple[list[Group], list[Finding]]:
    """Scan the folders of one end, and carve validation out of training as data_prep.py does."""
    found = gather(config, end)
    if end == "test":
        lists = found.speech, found.noise
        known = [dict.fromkeys((s.path for s in some), "testing") for some in lists]
    else:
        known = [
            {s.path: "validation" for s in validation} | {s.path: "training" for s in training}
            for training, validation, _ in carve(config, found)
        ]
    option = f"clean_{end}_path"
    other = (option, "noisy") if found.pairs else (f"noise_{end}_path", "noise")
    groups = [
        Group(option, "speech", found.speech_root, found.speech, known[0]),
        Group(*other, found.noise_root, found.noise, known[1]),
    ]
    findings = [
        Finding(option, r.path, "", _problem(r.reason), r.reason, SET_ASIDE)
        for option, r in found.rejected
    ]
    return groups, findings


def _problem(reason: str) -> str:
    """Return the kind of problem that a reason of the scan tells of."""
    kinds = {
        "same content": "duplicate", "too short": "too short", "silent": "silent",
        "set aside": "set aside", "truncated": "truncated", "damaged": "damaged",
        "holds NaN": "not finite", "empty": "unreadable", "not readable": "unreadable",
    }  # fmt: skip
    return next((name for start, name in kinds.items() if reason.startswith(start)), "pair")


# ---------------------------------------------------------------- one file


def _file_findings(group: Group, source: Source, facts: dict, rate: int) -> list[Finding]:
    found = []
    speech = group.kind == "speech"

    def add(problem: str, detail: str, plan: str) -> None:
        split = group.splits[source.path]
        found.append(Finding(group.option, source.path, split, problem, detail, plan))

    if facts["flat"] > FLAT_SAMPLES or facts["full"] >= FULL_SHARE:
        detail = (
            f"{facts['flat']} samples in flat runs at the peak of {facts['peak']:.3f}, "
            f"{100 * facts['full']:.2f} % at full scale"
        )
        add("clipped", detail, SET_ASIDE if speech else KEEP)
    if abs(facts["dc"]) > LARGEST_DC:
        add("DC", f"mean {facts['dc']:+.4f}; subtract it, data_prep.py mixes it as it is", FIX)
    if source.channels > 1:
        add("stereo", f"{source.channels} channels; data_prep.py mixes them down", FIX)
        if facts["cancels_db"] < CANCELS_DB:
            detail = f"the mix-down is {-facts['cancels_db']:.1f} dB softer than the channels"
            add("channels cancel", detail, SET_ASIDE)
    if source.rate != rate:
        lost = f", nothing above {source.rate / 2:g} Hz" if source.rate < rate else ""
        add("rate", f"{source.rate} Hz{lost}; data_prep.py resamples", FIX)
    if 0 < facts["edge_hz"] < 0.9 * rate / 2:
        detail = f"nothing above {facts['edge_hz']:g} Hz (drop of {facts['drop_db']:.0f} dB)"
        add("upsampled", detail, SET_ASIDE if speech else KEEP)
    return found


# ---------------------------------------------------------------- between files


def _same_content(groups: list[Group], prints: dict, config: Config) -> list[Finding]:
    """Find copies and near copies, in one folder or in two."""
    members = [(g, s) for g in groups for s in g.sources]
    paths = [g.root / s.path for g, s in members]
    possible = fingerprint.candidates([prints[p] for p in paths])
    tasks = [(paths[a], paths[b], offset) for a, b, offset in possible]
    results = parallel.map_chunks(_correlate, tasks, config.compute.workers, "compare")
    known = {}
    for k, (_, source) in enumerate(members):
        known.setdefault(source.digest, []).append(k)
    same = {(k[0], other): "the same samples" for k in known.values() for other in k[1:]}
    for (a, b, _), (value, offset) in zip(possible, results, strict=True):
        if value >= fingerprint.SAME:
            same.setdefault((a, b), f"correlation {value:.3f} at {offset:+.3f} s")
    findings = []
    for (a, b), detail in sorted(same.items()):
        (first, one), (second, other) = members[a], members[b]
        splits = first.splits[one.path], second.splits[other.path]
        crossing = first.option != second.option
        plan = (STOP if config.data.leaks == "refuse" else KEEP) if crossing else SET_ASIDE
        problem = "leak: same content" if splits[0] != splits[1] else "near duplicate"
        name = f"{first.option}: {one.path}"
        findings.append(Finding(second.option, other.path, splits[1], problem, detail, plan, name))
    return findings


def _correlate(task: tuple[Path, Path, float]) -> tuple[float, float]:
    try:
        return fingerprint.correlation(*task)
    except audio_io.AudioError:
        return 0.0, 0.0


def _same_group(groups: list[Group], config: Config) -> list[Finding]:
    """Find speakers and recordings that training and test have in common, by their names."""
    if len(groups) < 2:
        return []
    training, testing = groups[0], groups[1]
    known = {}
    for source in training.sources:
        known.setdefault(source.group, source.path)
    found = Counter(s.group for s in testing.sources if s.group in known and _is_name(s))
    first = {}
    for source in testing.sources:
        first.setdefault(source.group, source.path)
    what = "speaker" if training.kind == "speech" else "noise recording"
    plan = STOP if config.data.leaks == "refuse" else KEEP
    return [
        Finding(testing.option, first[group], "testing", f"leak: same {what}",
                f"{group}: {count} files for testing", plan,
                f"{training.option}: {known[group]}")
        for group, count in sorted(found.items())
    ]  # fmt: skip


def _is_name(source: Source) -> bool:
    """Tell whether the group of a source names something, and is not made of its path."""
    return source.group != source.path and not source.group.startswith(("file:", "noisy:"))


# ---------------------------------------------------------------- the list


def summary(report: Report) -> list[str]:
    """Return lines for the screen: what was looked at, and how much was found."""
    lines = []
    for g in report.groups:
        counts = Counter(g.splits.values())
        parts = ", ".join(f"{n} for {split}" for split, n in sorted(counts.items()))
        lines.append(f"{g.option}: {len(g.sources)} usable files of {g.kind} ({parts})")
    counts = Counter((f.plan, f.problem, f.folder) for f in report.findings)
    order = {STOP: 0, SET_ASIDE: 1, FIX: 2, KEEP: 3}
    for (plan, problem, folder), n in sorted(counts.items(), key=lambda c: (order[c[0][0]], c[0])):
        lines.append(f"  {plan:9}  {n:6}  {problem}, {folder}")
    return lines


def write(path: Path, findings: list[Finding]) -> Path | None:
    """Write the list as CSV, or remove an old one when there is nothing to tell."""
    return files.write_table(path, [f.name for f in fields(Finding)], [*map(astuple, findings)])
