"""Exports compared with the Keras model on recordings: numbers, quality, size and speed.

Conventions:
    Differences are of the enhanced signals, full scale 1, before a gain above 0 dB. Changes of
    SI-SDR and PESQ are export less Keras model, against the clean recording. Times are of one
    thread.
"""

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from specmask.audio import io as audio_io
from specmask.enhancement import array, runtimes
from specmask.enhancement.enhancer import Enhancer
from specmask.errors import UserError
from specmask.evaluation import pairing
from specmask.evaluation.metrics.table import score
from specmask.export import c_source, web_page
from specmask.export.formats import INT8

TOLERANCE = 1e-3  # largest difference of a float export
SECONDS = 10  # of a recording that are compared


@dataclass(frozen=True)
class Row:
    """The figures of one export; the fields are the keys of parity.json."""

    name: str
    megabytes: float
    difference: float | None  # largest of all samples; None where it could not be run
    si_sdr_change: float | None  # dB, mean over the recordings; None without clean ones
    pesq_change: float | None
    ms_a_frame: float | None  # of a step
    real_time_factor: float | None


def compare(
    paths: Sequence[Path],
    model: Enhancer,
    noisy: Sequence[Path],
    clean: Sequence[Path | None],
) -> list[Row]:
    """Compare exports with the Keras model that they were made from.

    Args:
        paths: of :func:`specmask.export.formats.export_run`.
        model: in TensorFlow, with the knobs of the exports.
        noisy: recordings at any rate; the first channel of their first seconds is taken.
        clean: of the same length each, or None.
    """
    # The plugin's host takes 16 bits, and resampling leaves peaks above full scale.
    recordings = [np.clip(read_beginning(path, model.rate), -1, 1) for path in noisy]
    references = [None if path is None else read_beginning(path, model.rate) for path in clean]
    expected = [array.enhance(x, model.rate, model) for x in recordings]
    expected_scores = _scores(references, expected, model.rate)
    rows = []
    for path in paths:
        try:
            enhance, ms = _open(path, model)
            enhance(recordings[0][: model.rate // 2])
            started = time.perf_counter()
            found = [enhance(x) for x in recordings]
            seconds = time.perf_counter() - started
        except c_source.NotBuiltError as error:
            name = f"{path.name} (not compared: {error})"
            rows.append(Row(name, _size(path) / 1e6, None, None, None, None, None))
            continue
        scores = _scores(references, found, model.rate)
        differences = [np.abs(a - b).max() for a, b in zip(expected, found, strict=True)]
        si_sdr_change, pesq_change = map(_change, expected_scores, scores)
        rows.append(
            Row(
                path.name,
                _size(path) / 1e6,
                float(np.max(differences)) / max(1, model.knobs.gain),
                si_sdr_change,
                pesq_change,
                ms,
                seconds * model.rate / sum(map(len, recordings)),
            )
        )
    return rows


def find_pairs(noisy: Path, clean: Path | None, count: int) -> list[tuple[Path, Path | None]]:
    """Return some recordings of a folder, evenly chosen, with their clean ones where they exist.

    Files that are not audio are left out.

    Raises:
        UserError: if there are none.
    """
    found: list[tuple[Path, Path | None]]
    if clean and clean.is_dir() and noisy.is_dir():
        found = [(pair.enhanced, pair.clean) for pair in pairing.pair(clean, noisy)]
    else:
        found = [(noisy / name, None) for name in audio_io.files(noisy)]
    found = [pair for pair in found if all(path is None or _opens(path) for path in pair)]
    if not found:
        raise UserError(f"{noisy}: no recordings to compare on; name a folder by --noisy")
    return found[:: max(1, len(found) // count)][:count]


def _opens(path: Path) -> bool:
    try:
        with audio_io.AudioFile(path) as file:
            return file.frames > 0
    except audio_io.AudioError:
        return False


def read_beginning(path: Path, rate: int) -> np.ndarray:
    """Return the first channel of a recording's first seconds at a rate: [samples].

    Raises:
        UserError: if it is damaged, or holds samples that are not finite.
    """
    try:
        with audio_io.AudioFile(path) as file:
            source_rate = file.samplerate
            samples = file.read(SECONDS * source_rate)
        if not np.isfinite(samples).all():
            raise audio_io.AudioError("holds NaN or infinite samples")
    except audio_io.AudioError as error:
        raise UserError(
            f"{path}: {error}; remove it, or name other recordings by --noisy"
        ) from None
    return audio_io.resample(samples[:, 0], source_rate, rate)


def _open(path: Path, model: Enhancer) -> tuple[Callable, float | None]:
    """Return an export as a function of samples, and for a step the ms per frame."""
    if path.suffix in runtimes.EXPORTED and path.stem.startswith("step"):
        step = runtimes.load(path)
        with_knobs = Enhancer(step, knobs=model.knobs)
        return lambda x: array.enhance(x, model.rate, with_knobs), ms_per_frame(step)
    if path.name in c_source.FORMATS:
        description = replace(model.runtime.description, knobs=model.knobs)
        return c_source.build(path, description), None
    if path.name == web_page.FORMAT:
        if not shutil.which("node"):
            raise c_source.NotBuiltError("no node")
        return lambda x: _in_node(path, x, model.rate), None
    if path.suffix == ".onnx":
        session = runtimes.session(path)
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x[None]})[0][0], None
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda x: loaded.enhance(x[None]).numpy()[0], None


def _in_node(folder: Path, x: np.ndarray, rate: int) -> np.ndarray:
    """Enhance samples with a web page's engine; what Node says is reduced to one line."""
    try:
        return web_page.enhance_in_node(folder, x[:, None], rate)[:, 0]
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
        line = next((line for line in lines if "Error" in line), lines[0])
        raise c_source.NotBuiltError(f"node: {line.strip()}") from None
    except subprocess.TimeoutExpired as error:
        raise c_source.NotBuiltError(f"node: not done after {error.timeout:g} seconds") from None


def ms_per_frame(
    step: runtimes.Onnx | runtimes.LiteRt, frames: int = 300, repeats: int = 5
) -> float:
    """Measure the time of an exported step.

    Of the repeats the quickest counts: other work on the machine only adds to the others.
    """
    rng = np.random.default_rng(0)
    shape = (1, frames, step.description.stft.bins, 2)
    noisy = rng.standard_normal(shape).astype(np.float32)
    state = step.zero_state(1)
    step.mask(noisy[:, :20], state)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step.mask(noisy, state)
        times.append(time.perf_counter() - started)
    return min(times) / frames * 1000


def _scores(
    clean: Sequence[np.ndarray | None], enhanced: Sequence[np.ndarray], rate: int
) -> tuple[float | None, float | None]:
    """Return the means of SI-SDR in dB and PESQ over the recordings with a clean one."""
    names = ["si_sdr", "pesq"]
    rows = [
        score(reference, None, y, rate, names)[0]
        for reference, y in zip(clean, enhanced, strict=True)
        if reference is not None
    ]
    means = []
    for name in names:
        values = [value for row in rows if (value := row.get(name)) is not None]
        means.append(float(np.mean(values)) if values and np.isfinite(values).all() else None)
    return means[0], means[1]


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files if p.is_file())


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| export | MB | max difference | SI-SDR change dB | PESQ change | ms per frame | RTF |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.name,
            f"{row.megabytes:.2f}",
            "-" if row.difference is None else f"{row.difference:.1e}",
            *("-" if v is None else f"{v:+.4f}" for v in (row.si_sdr_change, row.pesq_change)),
            "-" if row.ms_a_frame is None else f"{row.ms_a_frame:.3f}",
            "-" if row.real_time_factor is None else f"{row.real_time_factor:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def differing(rows: Sequence[Row]) -> list[str]:
    """Return a line per float export that differs from the Keras model, or any that gives NaN."""
    return [
        f"{row.name}: differs by {row.difference:.1e}, expected at most {TOLERANCE:g}"
        for row in rows
        if row.difference is not None
        and (math.isnan(row.difference) or (INT8 not in row.name and row.difference > TOLERANCE))
    ]
