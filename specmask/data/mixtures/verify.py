"""Verification of a finished data set: every file is read and compared with its manifest row."""

import functools
import math
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from specmask import parallel
from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.schema import Config
from specmask.config.types import KINDS, SPLITS
from specmask.data.mixtures import build, manifest, mixing
from specmask.data.mixtures.render import FILES, digest, is_imported, remake
from specmask.errors import UserError
from specmask.files import write_table

SNR_TOLERANCE_DB = 0.05  # of the requested SNR: soft noise is rounded to 16 bits
PRINT_TOLERANCE = 5e-4  # numbers with three or four decimals may differ in the last one


@dataclass(frozen=True)
class Mismatch:
    """Difference between a file and the manifest: a row of the list, whose columns are these."""

    split: str
    index: str
    file: str
    mismatch: str


@dataclass(frozen=True)
class Verdict:
    """Result for one split: how much was read, and the differences."""

    split: str
    rows: int
    mismatches: list[Mismatch]


def verify(config: Config) -> list[Verdict]:
    """Compare all files of all finished splits with their manifests.

    Raises:
        UserError: if there is no data set, or one of other settings.
    """
    found = [s for s in SPLITS if manifest.path_of(config, s).is_file()]
    if not found:
        raise UserError(
            f"{config.data.data_path}: no finished data set (manifest_training.csv, ...); make it "
            "with python data/data_prep.py"
        )
    return [_verify_split(config, split) for split in found]


def _verify_split(config: Config, split: str) -> Verdict:
    rows = manifest.read(config, split)
    check = functools.partial(check_row, config=config, split=split)
    mismatches = []
    for row, texts in zip(
        rows,
        parallel.map_chunks(check, rows, config.compute.workers, f"verify {split}"),
        strict=True,
    ):
        mismatches += [Mismatch(split, row["index"], file, text) for file, text in texts]
    for position, row in enumerate(rows):
        if row["index"] != str(position):
            text = f"row {position} of the manifest has this index"
            mismatches.append(Mismatch(split, row["index"], "", text))
            break  # all that follow are shifted
    mismatches += _unknown_files(config, split, rows)
    return Verdict(split, len(rows), mismatches)


def _unknown_files(config: Config, split: str, rows: list[dict[str, str]]) -> list[Mismatch]:
    """Find audio in the folders that no row names, except files of an earlier, larger set."""
    found = []
    for kind, column in FILES.items():
        folder = config.stft.folder(kind, split)
        known = {row[column] for row in rows}
        existing = {p.as_posix() for p in audio_io.files(folder)} if folder.is_dir() else set()
        unknown = sorted(n for n in existing - known if not build.is_ours(Path(n).name))
        found += [Mismatch(split, "", f"{folder.name}/{n}", "not in the manifest") for n in unknown]
    return found


def check_row(row: dict[str, str], config: Config, split: str) -> list[tuple[str, str]]:
    """Return (file, mismatch) for every difference between a row and its files."""
    found: list[tuple[str, str]] = []
    arrays = {}
    for kind, column in FILES.items():
        try:
            arrays[kind] = _samples(config.stft.folder(kind, split) / row[column], row)
        except audio_io.AudioError as error:
            found.append((row[column], str(error)))
    if len(arrays) < len(KINDS):
        return found
    clean, noise, noisy = (arrays[kind] for kind in KINDS)
    wrong = np.flatnonzero(noisy.astype(int) != clean.astype(int) + noise)
    if len(wrong):
        text = f"not clean + noise in {len(wrong)} samples, the first: {wrong[0]}"
        found.append((row["noisy_file"], text))
    for column, name, array in (("clean", "clean_file", clean), ("noise", "noise_file", noise)):
        measured, expected = digest(array), row[f"{column}_digest"]
        if measured != expected:
            found.append((row[name], f"digest {measured}, expected {expected}"))
        x = array / levels.FULL_SCALE
        with_offset = levels.decibel(levels.mean_square(x))
        found += _differs(row, row[name], f"{column}_level_db", levels.level_db(x), with_offset)
    with_offset = _snr_with_offset_db(clean, noise)
    snr_db = levels.snr_db(clean, noise)
    found += _differs(row, row["noisy_file"], "measured_snr_db", snr_db, with_offset)
    peaks = [np.abs(x.astype(int)).max() / levels.FULL_SCALE for x in (clean, noise, noisy)]
    found += _differs(row, row["noisy_file"], "peak", peaks[2])
    imported = is_imported(row)
    if max(peaks) > mixing.HEADROOM + 1 / levels.FULL_SCALE and not imported:
        text = f"peak {max(peaks):.4f}, expected at most {mixing.HEADROOM}"
        found.append((row["noisy_file"], text))
    if not imported and row["additive"] == "yes":
        found += _snr_misses(row)
    return found


def _samples(path: Path, row: dict[str, str]) -> np.ndarray:
    with audio_io.AudioFile(path) as file:
        facts = (file.frames, file.channels, file.samplerate, file.subtype)
        expected = (int(row["samples"]), 1, int(row["sample_rate"]), "PCM_16")
        if facts != expected:
            words = "{} samples, {} channels, {} Hz, {}"
            raise audio_io.AudioError(f"{words.format(*facts)}, expected {words.format(*expected)}")
        return file.read(dtype="int16")[:, 0]


def _snr_with_offset_db(clean: np.ndarray, noise: np.ndarray) -> float:
    """Return the SNR as earlier versions measured it."""
    power = levels.mean_square(noise)
    return levels.decibel(levels.mean_square(clean) / power) if power else math.inf


def _differs(
    row: dict[str, str], file: str, column: str, *measured: float
) -> list[tuple[str, str]]:
    """Return a mismatch if a column has none of the measured values."""
    stated = float(row[column])
    if any(stated == value or abs(stated - value) <= PRINT_TOLERANCE for value in measured):
        return []
    return [(file, f"{column} {measured[0]:.4f}, expected {row[column]}")]


def _snr_misses(row: dict[str, str]) -> list[tuple[str, str]]:
    """Compare the requested SNR with the measured ones, of which one was its reference."""
    requested = float(row["snr_db"])
    measured = [float(row[c]) for c in row if c.startswith("measured_")]
    if not math.isfinite(requested) or any(
        abs(requested - m) <= SNR_TOLERANCE_DB for m in measured
    ):
        return []
    text = f"SNR {', '.join(map(str, measured))} dB, requested {requested} dB"
    return [(row["noisy_file"], text)]


def write(path: Path, verdicts: list[Verdict]) -> Path | None:
    """Write every mismatch to a CSV file, or remove an old one when there is none."""
    lines = [astuple(m) for v in verdicts for m in v.mismatches]
    return write_table(path, [f.name for f in fields(Mismatch)], lines)


# ---------------------------------------------------------------- one item again


def render(
    config: Config, split: str, index: int, output: Path, overwrite: bool = False
) -> tuple[list[Path], bool]:
    """Make one item again from its manifest row alone.

    Args:
        config: all of it.
        split: training, validation or testing.
        index: of the manifest, from 0.
        output: folder for clean, noise and noisy, under their names in the data set; or a .wav
            file for noisy alone.
        overwrite: replace files that are there.

    Returns:
        the files, and whether clean and noise have the digests of the row.

    Raises:
        UserError: if there is no such row, its sources cannot be read, or a file exists already.
    """
    rows = manifest.read(config, split)
    row = next((r for r in rows if r["index"] == str(index)), None)
    if row is None:
        raise UserError(
            f"--render {split} {index}: no such row; the manifest has 0 to {len(rows) - 1}"
        )
    try:
        mixture = remake(row, config, split)
    except audio_io.AudioError as error:
        raise UserError(
            f"--render {split} {index}: a source cannot be read ({error}); its paths are in "
            f"{manifest.path_of(config, split)}"
        ) from None
    except manifest.DAMAGED_ROW as error:
        raise UserError(
            f"{manifest.path_of(config, split)}: row {index} cannot be understood "
            f"({type(error).__name__}: {error}); make it again with data_prep.py --overwrite"
        ) from None
    arrays = dict(zip(KINDS, (mixture.clean, mixture.noise, mixture.noisy), strict=True))
    if output.suffix.lower() == ".wav":
        files = {output: mixture.noisy}
    else:
        files = {output / row[FILES[kind]]: arrays[kind] for kind in KINDS}
        outside = next((p for p in files if not p.resolve().is_relative_to(output.resolve())), None)
        if outside:
            raise UserError(
                f"--render {split} {index}: the path {outside} of the manifest is not in {output}; "
                "the manifest was changed: make the data set again"
            )
    existing = next((p for p in files if p.exists()), None)
    if existing and not overwrite:
        raise UserError(
            f"{existing}: exists already; name another --output, or replace it with --overwrite"
        )
    for path, array in files.items():
        audio_io.write_pcm16(path, array, int(row["sample_rate"]))
    same = all(
        digest(x) == row[f"{name}_digest"]
        for name, x in (("clean", mixture.clean), ("noise", mixture.noise))
    )
    return list(files), same
