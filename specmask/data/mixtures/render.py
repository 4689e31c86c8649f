"""Rendering of mixtures: the three files of an item and its manifest row.

File i of a split depends on (seed, split, i) and the sorted list of sources alone, never on the
number of workers, the order of work, or an interruption; a larger total extends a smaller one.

Names (after MS-SNSD, see :mod:`specmask.data.names`), counting from 1:
    CleanSpeech_training/clnsp12.wav
    Noise_training/noisy12_SNRdb_-3.00.wav
    NoisySpeech_training/noisy12_SNRdb_-3.00_clnsp12.wav
    manifest_training.csv, one row per file; manifest_training.json, the settings of all
"""

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

from specmask.audio import levels
from specmask.audio.io import write_pcm16
from specmask.config.schema import Config
from specmask.config.types import KINDS, SPLITS
from specmask.data.corpus import splits
from specmask.data.mixtures import augmentation, crops, imported, mixing
from specmask.data.mixtures.crops import Piece
from specmask.data.mixtures.plan import Plan
from specmask.data.names import mixture_files
from specmask.data.seeding import generator
from specmask.files import parse_json

COLUMNS = (
    "index", "clean_file", "noise_file", "noisy_file", "speaker", "noise_type", "snr_db",
    "measured_snr_db", "measured_active_snr_db", "clean_level_db", "noise_level_db",
    "clean_gain", "noise_gain", "peak", "samples", "sample_rate",
    "seed", "additive", "augmentation", "speech", "noise", "clean_digest", "noise_digest",
)  # fmt: skip
# The column with the file of each kind.
FILES = dict(zip(KINDS, ("clean_file", "noise_file", "noisy_file"), strict=True))
IMPORTED = {"imported": "pair"}  # in the column augmentation


def render(index: int, plan: Plan) -> dict[str, Any]:
    """Make item ``index`` of a split, write its three WAV files, and return its manifest row."""
    if plan.pairs:
        return _import(index, plan)
    data = plan.config.data
    grid = mixing.snr_grid(data.snr_lower, data.snr_upper, data.total_snrlevels)
    all_levels = data.snr_mode == "all" and data.blend == "snr"
    clip = index // len(grid) if all_levels else index
    rng = generator(data.seed, SPLITS.index(plan.split), clip)
    parameters = augmentation.draw(plan.config, plan.split, clip, plan.responses)
    samples = augmentation.source_samples(plan.samples, parameters)
    speech_pieces, speech = plan.draw_speech(rng, samples)
    noise_pieces, noise = plan.draw_noise(rng)
    snr = grid[index % len(grid) if all_levels else int(rng.integers(len(grid)))]
    speaker = speech_pieces[0].source.group
    noise_pieces, noises = _noises(plan, clip, parameters, speaker, noise_pieces, noise)
    mixture = augmentation.mix(speech, noises, parameters, plan.config, snr)
    if data.blend == "level":
        snr = round(levels.snr_db(mixture.clean, mixture.noise), 2) + 0.0
    if "only" in parameters:
        snr = math.inf if parameters["only"] == "clean" else -math.inf
    if parameters.get("only") == "noise":
        speech_pieces = []
    if mixture.scale != 1:
        parameters["scale"] = mixture.scale
    names = mixture_files(index, snr, data.files_per_folder)
    _write(mixture, names, plan)
    return _measurements(mixture, names, data.sample_rate) | {
        "index": index,
        "speaker": speech_pieces[0].source.label if speech_pieces else "",
        "noise_type": _noise_type(parameters, noise_pieces),
        "snr_db": f"{snr:.2f}",
        "seed": f"{data.seed}/{plan.split}/{clip}",
        "additive": "yes" if mixture.additive else "no",
        "augmentation": json.dumps(parameters, separators=(",", ":")) if parameters else "",
        "speech": crops.text(speech_pieces),
        "noise": crops.text(noise_pieces),
    }


def _import(index: int, plan: Plan) -> dict[str, Any]:
    """Write pair ``index`` of a split as three WAV files, and return its manifest row."""
    config, pair = plan.config, plan.pairs[index]
    rate = config.data.sample_rate
    mixture = imported.read(
        plan.speech_root, pair.clean.path, pair.noisy.path, pair.length, rate,
        config.audio.resampler,
    )  # fmt: skip
    measured = levels.snr_db(mixture.clean, mixture.noise)
    names = mixture_files(index, measured, config.data.files_per_folder)
    _write(mixture, names, plan)
    return _measurements(mixture, names, rate) | {
        "index": index,
        "speaker": pair.clean.label,
        "noise_type": pair.noisy.label,
        "snr_db": f"{measured:.2f}",
        "seed": "",
        "additive": "yes" if imported.is_sum(mixture.clean, mixture.noise, rate) else "no",
        "augmentation": json.dumps(IMPORTED),
        "speech": crops.text([Piece(pair.clean, 0, pair.length, 0)]),
        "noise": crops.text([Piece(pair.noisy, 0, pair.length, 0)]),
    }


def _write(mixture: mixing.Mixture, names: dict[str, str], plan: Plan) -> None:
    for kind, array in zip(KINDS, (mixture.clean, mixture.noise, mixture.noisy), strict=True):
        path = plan.config.stft.folder(kind, plan.split) / names[kind]
        write_pcm16(path, array, plan.config.data.sample_rate)


def _measurements(mixture: mixing.Mixture, names: dict[str, str], rate: int) -> dict[str, Any]:
    """Return the columns that are measured in the three files."""
    clean, noise = mixture.clean, mixture.noise
    active = levels.active_snr_db(clean, noise, rate)
    return {
        "clean_file": names["CleanSpeech"],
        "noise_file": names["Noise"],
        "noisy_file": names["NoisySpeech"],
        "measured_snr_db": f"{levels.snr_db(clean, noise):.4f}",
        "measured_active_snr_db": f"{active:.4f}",
        "clean_level_db": f"{levels.level_db(clean / levels.FULL_SCALE):.3f}",
        "noise_level_db": f"{levels.level_db(noise / levels.FULL_SCALE):.3f}",
        "clean_gain": repr(mixture.clean_gain),
        "noise_gain": repr(mixture.noise_gain),
        "peak": f"{np.abs(mixture.noisy.astype(int)).max() / levels.FULL_SCALE:.4f}",
        "samples": len(clean),
        "sample_rate": rate,
        "clean_digest": digest(clean),
        "noise_digest": digest(noise),
    }


def is_imported(row: dict[str, str]) -> bool:
    """Return whether a manifest row is of a ready-made pair."""
    return row["augmentation"] == json.dumps(IMPORTED)


def remake(row: dict[str, str], config: Config, split: str) -> mixing.Mixture:
    """Make the three arrays of a file again from its manifest row alone."""
    speech_root, noise_root = splits.roots(config, "test" if split == "testing" else "train")
    if is_imported(row):
        clean, noisy = (parse_json(row[kind])[0]["path"] for kind in ("speech", "noise"))
        return imported.read(
            speech_root, clean, noisy, int(row["samples"]), int(row["sample_rate"]),
            config.audio.resampler, float(row["clean_gain"]),
        )  # fmt: skip
    samples, parameters = int(row["samples"]), parse_json(row["augmentation"] or "{}")
    length = augmentation.source_samples(samples, parameters)
    speech = crops.read(parse_json(row["speech"]), speech_root, length, config)
    parts: dict[int, dict[int | None, list[dict]]] = {}  # pieces of noise by layer and voice
    for piece in parse_json(row["noise"]):
        layer = parts.setdefault(piece.get("layer", 0), {})
        layer.setdefault(piece.get("voice"), []).append(piece)
    first, rate = parts.pop(0, {}), config.data.sample_rate
    if parameters.get("only") == "clean":
        noises = [np.zeros(samples, np.float32)]
    elif (noise := augmentation.synthetic_noise(samples, rate, parameters)) is not None:
        noises = [noise]
    elif "babble" in parameters:
        voices = [crops.read(v, speech_root, samples, config) for v in first.values()]
        noises = [augmentation.babble(voices, rate)]
    else:
        noises = [crops.read(first[None], noise_root, samples, config)]
    noises += [crops.read(part[None], noise_root, samples, config) for part in parts.values()]
    gains = float(row["clean_gain"]), float(row["noise_gain"])
    return augmentation.mix(speech, noises, parameters, config, gains=gains)


def _noises(
    plan: Plan,
    clip: int,
    parameters: augmentation.Parameters,
    speaker: str,
    pieces: list[Piece],
    noise: np.ndarray,
) -> tuple[list[Piece], list[np.ndarray]]:
    """Return the pieces and signals of all noises of a clip.

    The first one is the recorded noise, unless the parameters put another in its place.
    """
    if parameters.get("only") == "clean":
        return [], [np.zeros(plan.samples, np.float32)]
    rate = plan.config.data.sample_rate
    synthetic = augmentation.synthetic_noise(plan.samples, rate, parameters)
    if synthetic is not None:
        pieces, noise = [], synthetic
    elif "babble" in parameters:
        rng = augmentation.kind_generator(plan.config, plan.split, clip, "babble")
        voices = [
            plan.draw_speech(rng, plan.samples, other)
            for other in _other_speakers(plan, rng, speaker, parameters["babble"])
        ]
        pieces = [replace(p, voice=v) for v, (voice, _) in enumerate(voices) for p in voice]
        noise = augmentation.babble([signal for _, signal in voices], rate)
    noises = [noise]
    for layer in range(1, 1 + len(parameters.get("noises_db", ()))):
        rng = augmentation.kind_generator(plan.config, plan.split, clip, "layers", layer)
        further, noise = plan.draw_noise(rng)
        pieces = pieces + [replace(p, layer=layer) for p in further]
        noises.append(noise)
    return pieces, noises


def _other_speakers(plan: Plan, rng: np.random.Generator, speaker: str, voices: int) -> list[str]:
    """Choose speakers other than that of the clip, each once as long as there are enough."""
    others = [name for name in plan.speakers if name != speaker]
    chosen = rng.choice(len(others), voices, replace=voices > len(others))
    return [others[k] for k in chosen]


def _noise_type(parameters: augmentation.Parameters, pieces: list[Piece]) -> str:
    """Return the type of the first noise."""
    if parameters.get("only") == "clean":
        return "none"
    types = {"colour": "coloured", "impacts": "impacts", "babble": "babble"}
    of_parameters = [name for key, name in types.items() if key in parameters]
    return of_parameters[0] if of_parameters else pieces[0].source.label


def digest(array: np.ndarray) -> str:
    """Return the digest of an int16 array as it is in the manifest."""
    return hashlib.blake2b(array.astype("<i2").tobytes(), digest_size=8).hexdigest()
