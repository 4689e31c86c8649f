"""The data set: which file is made of what, its rendering, and its manifest.

File i of a split depends on (seed, split, i) and the sorted list of sources alone, never on the
number of workers, the order of work, or an interruption; a larger total extends a smaller one.

Names (after MS-SNSD), n counting from 1:
    CleanSpeech_training/clnsp12.wav
    Noise_training/noisy12_SNRdb_-3.00.wav
    NoisySpeech_training/noisy12_SNRdb_-3.00_clnsp12.wav
    manifest_training.csv, one row a file; manifest_training.json, the settings of all
"""

import csv
import functools
import hashlib
import io
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask import audio, material, mixing, pairs, parallel, sources
from specmask.audio import Rejected
from specmask.config import KINDS, SPLITS, Config, spelling
from specmask.errors import UserError
from specmask.pairs import Pair
from specmask.sources import Source

COLUMNS = (
    "index", "clean_file", "noise_file", "noisy_file", "speaker", "noise_type", "snr_db",
    "measured_snr_db", "clean_level_db", "noise_level_db", "clean_gain", "noise_gain", "peak",
    "samples", "sample_rate", "seed", "additive", "augmentation", "speech", "noise",
    "clean_digest", "noise_digest",
)  # fmt: skip
SETTINGS = (
    "sample_rate", "file_length", "snr_lower", "snr_upper", "total_snrlevels", "snr_mode",
    "speech_level_db", "silence_length", "validation_share", "seed",
)  # fmt: skip
DRAWS = 200  # before a set of sources is given up as silent
QUIET_DB = -30  # a crop this far below its recording's level counts as silent
VALIDATION_KEY = len(SPLITS)  # spawn keys beyond the splits
IMPORTED = {"imported": "pair"}  # in the column augmentation
STALE_SECONDS = 600  # a temporary file this old belongs to a run that was killed
_OURS = re.compile(r"^(clnsp\d+|noisy\d+_SNRdb_-?[\d.inf]+(_clnsp\d+)?)\.wav$")


@dataclass(frozen=True)
class Plan:
    """All that is needed to make any file of a split."""

    config: Config
    split: str
    speech_root: Path
    noise_root: Path
    speech: list[Source]
    noise: list[Source]
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
        }

    @functools.cached_property
    def speakers(self) -> dict[str, list[Source]]:
        """The speech sources of each group."""
        groups: dict[str, list[Source]] = {}
        for source in self.speech:
            groups.setdefault(source.group, []).append(source)
        return groups


@dataclass(frozen=True)
class Piece:
    """A part of a recording and where it stands in the file; all in samples at the working rate.

    ``turn`` is the first sample of the recording's loop: a short noise goes round.
    """

    source: Source
    offset: int
    length: int
    at: int


def data_settings(config: Config) -> dict[str, Any]:
    """Return the options that the audio of a data set depends on."""
    settings = {name: getattr(config.data, name) for name in SETTINGS}
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
    rng = generator(data.seed, VALIDATION_KEY)
    parts = [sources.carve(training.speech, data.validation_share, data.sample_rate, rng)]
    if not training.pairs:  # the noise of a pair goes with its speech
        parts.append(sources.carve(training.noise, data.validation_share, data.sample_rate, rng))
    warnings = [
        f"{what}: {warning}"
        for what, part in zip(("speech", "noise"), parts, strict=False)
        for warning in part[2]
    ]
    roots = training.speech_root, training.noise_root
    plans = []
    for k, split in enumerate(("training", "validation")):
        speech, some = parts[0][k], ()
        if training.pairs:
            own = {s.path for s in speech}
            some = tuple(p for p in training.pairs if p.clean.path in own)
        noise = [p.noisy for p in some] if some else parts[1][k]
        plans.append(Plan(config, split, *roots, speech, noise, some, training.layout))
    if data.total_testing_files:
        test = material.gather(config, "test")
        rejected["testing"] = test.set_aside()
        warnings += material.leaks(config, training, test)
        roots = test.speech_root, test.noise_root
        plans.append(
            Plan(config, "testing", *roots, test.speech, test.noise, test.pairs, test.layout)
        )
    return plans, warnings, rejected


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the counter-based random generator of (seed, key)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


# ---------------------------------------------------------------- one file


def render(index: int, plan: Plan) -> dict[str, Any]:
    """Draw file ``index`` of a plan, write its three WAV files, and return its manifest row."""
    if plan.pairs:
        return _import(index, plan)
    data = plan.config.data
    grid = mixing.snr_grid(data.snr_lower, data.snr_upper, data.total_snrlevels)
    clip = index if data.snr_mode == "random" else index // len(grid)
    rng = generator(data.seed, SPLITS.index(plan.split), clip)
    speech, clean = _draw(plan, rng, _draw_speech, plan.speech_root)
    looped, noise = _draw(plan, rng, _draw_noise, plan.noise_root)
    level = int(rng.integers(len(grid))) if data.snr_mode == "random" else index % len(grid)
    mixture = mixing.mix(clean, noise, grid[level], data.speech_level_db, data.sample_rate)
    names = file_names(index, grid[level])
    for kind, array in zip(KINDS, (mixture.clean, mixture.noise, mixture.noisy), strict=True):
        path = plan.config.stft.folder(kind, plan.split) / names[kind]
        audio.write_pcm16(path, array, data.sample_rate)
    return {
        "index": index,
        "clean_file": names["CleanSpeech"],
        "noise_file": names["Noise"],
        "noisy_file": names["NoisySpeech"],
        "speaker": speech[0].source.label,
        "noise_type": looped[0].source.label,
        "snr_db": f"{grid[level]:.2f}",
        "measured_snr_db": f"{mixing.snr_db(mixture.clean, mixture.noise):.4f}",
        "clean_level_db": f"{mixing.level_db(mixture.clean / mixing.FULL_SCALE):.3f}",
        "noise_level_db": f"{mixing.level_db(mixture.noise / mixing.FULL_SCALE):.3f}",
        "clean_gain": repr(mixture.clean_gain),
        "noise_gain": repr(mixture.noise_gain),
        "peak": f"{np.abs(mixture.noisy.astype(int)).max() / mixing.FULL_SCALE:.4f}",
        "samples": plan.samples,
        "sample_rate": data.sample_rate,
        "seed": f"{data.seed}/{plan.split}/{clip}",
        "additive": "yes",
        "augmentation": "",
        "speech": _pieces_text(speech),
        "noise": _pieces_text(looped),
        "clean_digest": digest(mixture.clean),
        "noise_digest": digest(mixture.noise),
    }


def _import(index: int, plan: Plan) -> dict[str, Any]:
    """Write pair ``index`` of a plan as three WAV files, and return its manifest row."""
    config, pair = plan.config, plan.pairs[index]
    rate = config.data.sample_rate
    paths = pair.clean.path, pair.noisy.path
    mixture = pairs.read(plan.speech_root, *paths, pair.length, rate, config.audio.resampler)
    measured = mixing.snr_db(mixture.clean, mixture.noise)
    names = file_names(index, measured)
    for kind, array in zip(KINDS, (mixture.clean, mixture.noise, mixture.noisy), strict=True):
        audio.write_pcm16(config.stft.folder(kind, plan.split) / names[kind], array, rate)
    return dict.fromkeys(COLUMNS, "") | {
        "index": index,
        "clean_file": names["CleanSpeech"],
        "noise_file": names["Noise"],
        "noisy_file": names["NoisySpeech"],
        "speaker": pair.clean.label,
        "noise_type": pair.noisy.label,
        "snr_db": f"{measured:.2f}",
        "measured_snr_db": f"{measured:.4f}",
        "clean_level_db": f"{mixing.level_db(mixture.clean / mixing.FULL_SCALE):.3f}",
        "noise_level_db": f"{mixing.level_db(mixture.noise / mixing.FULL_SCALE):.3f}",
        "clean_gain": repr(mixture.clean_gain),
        "noise_gain": repr(mixture.noise_gain),
        "peak": f"{np.abs(mixture.noisy.astype(int)).max() / mixing.FULL_SCALE:.4f}",
        "samples": pair.length,
        "sample_rate": rate,
        "seed": "",
        "additive": "yes" if pairs.is_sum(mixture.clean, mixture.noise, rate) else "no",
        "augmentation": json.dumps(IMPORTED),
        "speech": _pieces_text([Piece(pair.clean, 0, pair.length, 0)]),
        "noise": _pieces_text([Piece(pair.noisy, 0, pair.length, 0)]),
        "clean_digest": digest(mixture.clean),
        "noise_digest": digest(mixture.noise),
    }


def is_imported(row: dict[str, str]) -> bool:
    """Tell whether a manifest row is of a ready-made pair."""
    return json.loads(row["augmentation"] or "{}") == IMPORTED


def remake(row: dict[str, str], config: Config, split: str) -> mixing.Mixture:
    """Make the three arrays of a file again from its manifest row alone."""
    roots = material.roots(config, "test" if split == "testing" else "train")
    if is_imported(row):
        paths = (json.loads(row[kind])[0]["path"] for kind in ("speech", "noise"))
        samples, rate = int(row["samples"]), int(row["sample_rate"])
        gain = float(row["clean_gain"])
        return pairs.read(roots[0], *paths, samples, rate, config.audio.resampler, gain)
    arrays = []
    for root, text in zip(roots, (row["speech"], row["noise"]), strict=True):
        out = np.zeros(int(row["samples"]), np.float32)
        for piece in json.loads(text):
            _place(
                out, root / piece["path"], piece["offset"], piece["length"], piece["at"],
                int(row["sample_rate"]), config.audio.resampler,
            )  # fmt: skip
        arrays.append(out)
    return mixing.apply_gains(*arrays, float(row["clean_gain"]), float(row["noise_gain"]))


def file_names(index: int, snr: float) -> dict[str, str]:
    """Return the names of the three files of an item, by kind; they count from 1."""
    n = index + 1
    stem = f"noisy{n}_SNRdb_{snr:.2f}"
    return {
        "CleanSpeech": f"clnsp{n}.wav",
        "Noise": f"{stem}.wav",
        "NoisySpeech": f"{stem}_clnsp{n}.wav",
    }


def _draw(
    plan: Plan, rng: np.random.Generator, draw: Any, root: Path
) -> tuple[list[Piece], np.ndarray]:
    """Draw pieces until they are not silent; a file that has gone bad since the scan is skipped."""
    reason = "only silent crops were found"
    for _ in range(DRAWS):
        pieces = draw(plan, rng)
        out = np.zeros(plan.samples, np.float32)
        try:
            for p in pieces:
                _place(
                    out, root / p.source.path, p.offset, p.length, p.at,
                    plan.config.data.sample_rate, plan.config.audio.resampler,
                )  # fmt: skip
        except audio.AudioError as error:
            reason = f"{pieces[0].source.path}: {error}"
            continue
        loudest = max(p.source.level_db for p in pieces)
        if mixing.level_db(out) > max(loudest + QUIET_DB, sources.SILENCE_DBFS):
            return pieces, out
    raise UserError(f"{root}: no usable piece in {DRAWS} draws ({reason}); add recordings")


def _draw_speech(plan: Plan, rng: np.random.Generator) -> list[Piece]:
    """Choose a crop of a long recording, or short ones of one speaker with gaps between them."""
    samples = plan.samples
    gap = round(plan.config.data.silence_length * plan.config.data.sample_rate)
    source = plan.speech[rng.integers(len(plan.speech))]
    if source.length >= samples:
        start = source.start + int(rng.integers(source.length - samples + 1))
        return [Piece(source, start, samples, 0)]
    pieces, at = [], 0
    others = plan.speakers[source.group]
    while at < samples:
        length = min(source.length, samples - at)
        pieces.append(Piece(source, source.start, length, at))
        at += length + gap
        source = others[rng.integers(len(others))]
    return pieces


def _draw_noise(plan: Plan, rng: np.random.Generator) -> list[Piece]:
    """Choose a crop of a long recording, or a short one that goes round from a random offset."""
    samples = plan.samples
    source = plan.noise[rng.integers(len(plan.noise))]
    if source.length >= samples:
        start = source.start + int(rng.integers(source.length - samples + 1))
        return [Piece(source, start, samples, 0)]
    pieces, at = [], 0
    offset = int(rng.integers(source.length))
    while at < samples:
        length = min(source.length - offset, samples - at)
        pieces.append(Piece(source, source.start + offset, length, at))
        at, offset = at + length, 0
    return pieces


def _place(
    out: np.ndarray, path: Path, offset: int, length: int, at: int, rate: int, resampler: str
) -> None:
    out[at : at + length] = audio.read_piece(path, offset, length, rate, resampler)


def _pieces_text(pieces: list[Piece]) -> str:
    return json.dumps(
        [
            {
                "path": p.source.path,
                "offset": p.offset,
                "length": p.length,
                "at": p.at,
                "rate": p.source.rate,
                "channels": p.source.channels,
                "digest": p.source.digest,
            }
            for p in pieces
        ]
    )


def digest(array: np.ndarray) -> str:
    """Return the digest of an int16 array that stands in the manifest."""
    return hashlib.blake2b(array.astype("<i2").tobytes(), digest_size=8).hexdigest()


# ---------------------------------------------------------------- a whole split


@dataclass(frozen=True)
class Made:
    """What a run did for one split: files in all, new ones, and ones beyond the total."""

    split: str
    total: int
    new: int
    surplus: int
    manifest: Path


def make(plan: Plan, overwrite: bool = False) -> Made:
    """Render every file of a plan that is not there yet, and write the manifest.

    Raises:
        UserError: if the folders hold files of other settings or of another origin.
    """
    manifest = manifest_path(plan.config, plan.split)
    sidecar, progress = manifest.with_suffix(".json"), manifest.with_suffix(".csv.partial")
    folders = [plan.config.stft.folder(kind, plan.split) for kind in KINDS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _clear(folders, [manifest, progress, sidecar])
    else:
        _refuse_foreign(sidecar, folders, plan.settings())
    _sweep(folders)
    _write_text(sidecar, json.dumps(plan.settings(), indent=1))

    rows = {int(r["index"]): r for r in _complete_rows(manifest) + _complete_rows(progress)}
    surplus = sum(i >= plan.total for i in rows)
    rows = {i: r for i, r in rows.items() if i < plan.total and _is_written(r, plan)}
    missing = [i for i in range(plan.total) if i not in rows]
    if not missing and len(_complete_rows(manifest)) == plan.total:
        return Made(plan.split, plan.total, 0, surplus, manifest)
    _write_rows(progress, rows.values())
    with progress.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        render_one = functools.partial(render, plan=plan)
        for row in parallel.map_chunks(
            render_one, missing, plan.config.compute.workers, f"mix {plan.split}"
        ):
            writer.writerow(row)
            file.flush()
            rows[row["index"]] = row
    _write_rows(manifest, (rows[i] for i in range(plan.total)))
    progress.unlink()
    return Made(plan.split, plan.total, len(missing), surplus, manifest)


def manifest_path(config: Config, split: str) -> Path:
    """Return where the manifest of a split lies."""
    return config.data.data_path / f"manifest_{split}.csv"


def read_manifest(config: Config, split: str) -> list[dict[str, str]]:
    """Return the rows of a finished split.

    Raises:
        UserError: if it is missing, or was made with other settings than the configuration's.
    """
    path = manifest_path(config, split)
    if not path.is_file():
        raise UserError(f"{path}: no such data set; make it with python data/data_prep.py")
    changed = changed_settings(_read_json(path.with_suffix(".json")), data_settings(config))
    if changed:
        raise UserError(
            f"{path}: made with other settings ({changed}); "
            "make it again with python data/data_prep.py --overwrite"
        )
    rows = _complete_rows(path)
    if not rows:
        raise UserError(f"{path}: holds no rows; run python data/data_prep.py --overwrite")
    return rows


def changed_settings(old: dict, new: dict) -> str:
    """Say in words which of the new settings differ from the old ones; empty if none does."""
    return ", ".join(
        f"{spelling(key)} was {old.get(key)}, is {value}"
        for key, value in new.items()
        if old.get(key) != value
    )


def _refuse_foreign(sidecar: Path, folders: list[Path], settings: dict) -> None:
    if sidecar.is_file():
        changed = changed_settings(_read_json(sidecar), settings)
        if changed:
            raise UserError(
                f"{sidecar.parent}: the {sidecar.stem.removeprefix('manifest_')} files were made "
                f"with other settings ({changed}); --overwrite makes them again, or choose "
                "another data_path"
            )
        return
    for folder in folders:
        found = next((p for p in folder.iterdir() if p.suffix.lower() in audio.SUFFIXES), None)
        if found:
            raise UserError(
                f"{folder}: holds audio that data_prep.py did not make (the first: {found.name}); "
                "move them away, choose another data_path, or use --overwrite to replace those "
                "that bear the names of a data set"
            )


def _clear(folders: list[Path], files: list[Path]) -> None:
    """Remove what an earlier run made, and nothing else."""
    for path in files:
        path.unlink(missing_ok=True)
    for folder in folders:
        for path in folder.iterdir():
            if is_ours(path.name):
                path.unlink()


def is_ours(name: str) -> bool:
    """Tell whether a file bears a name that data sets give."""
    return _OURS.match(name) is not None


def _sweep(folders: list[Path]) -> None:
    """Remove temporary files that a killed run left behind."""
    for folder in folders:
        for path in folder.glob(".specmask-*"):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink(missing_ok=True)


def _is_written(row: dict[str, str], plan: Plan) -> bool:
    size = 44 + 2 * int(row["samples"])  # a WAV header and 16-bit samples
    for kind, column in zip(KINDS, ("clean_file", "noise_file", "noisy_file"), strict=True):
        path = plan.config.stft.folder(kind, plan.split) / row[column]
        if not path.is_file() or path.stat().st_size != size:
            return False
    return True


def _complete_rows(path: Path) -> list[dict[str, str]]:
    """Read rows, leaving out a last line that was cut off while it was written."""
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    found = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return [r for r in found if set(r) == set(COLUMNS) and None not in r.values()]


def _write_rows(path: Path, rows: Iterable[dict]) -> None:
    with (
        audio.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as f,
    ):
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_text(path: Path, text: str) -> None:
    with audio.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
