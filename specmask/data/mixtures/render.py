"""The data set: which file is made of what, and its rendering.

File i of a split depends on (seed, split, i) and the sorted list of sources alone, never on the
number of workers, the order of work, or an interruption; a larger total extends a smaller one.

Names (after MS-SNSD, see :mod:`specmask.data.names`), counting from 1:
    CleanSpeech_training/clnsp12.wav
    Noise_training/noisy12_SNRdb_-3.00.wav
    NoisySpeech_training/noisy12_SNRdb_-3.00_clnsp12.wav
    manifest_training.csv, one row a file; manifest_training.json, the settings of all
"""

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.schema import Config
from specmask.config.types import KINDS, SPLITS
from specmask.data.corpus import splits
from specmask.data.mixtures import augmentation, crops, imported, mixing
from specmask.data.mixtures.crops import Piece
from specmask.data.mixtures.plan import Plan
from specmask.data.names import mixture_files
from specmask.data.seeding import generator

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
    """Draw file ``index`` of a plan, write its three WAV files, and return its manifest row."""
    if plan.pairs:
        return _import(index, plan)
    data = plan.config.data
    grid = mixing.snr_grid(data.snr_lower, data.snr_upper, data.total_snrlevels)
    all_levels = data.snr_mode == "all" and data.blend == "snr"
    clip = index // len(grid) if all_levels else index
    rng = generator(data.seed, SPLITS.index(plan.split), clip)
    drawn = augmentation.draw(plan.config, plan.split, clip, plan.responses)
    speech, voice = plan.draw_speech(rng, augmentation.source_samples(plan.samples, drawn))
    looped, noise = plan.draw_noise(rng)
    level = index % len(grid) if all_levels else int(rng.integers(len(grid)))
    looped, noises = _noises(plan, clip, drawn, speech[0].source.group, looped, noise)
    mixture = augmentation.mixture(voice, noises, drawn, plan.config, grid[level])
    snr = grid[level]
    if data.blend == "level":
        snr = round(levels.snr_db(mixture.clean, mixture.noise), 2) + 0.0
    if "only" in drawn:
        snr = math.inf if drawn["only"] == "clean" else -math.inf
    if drawn.get("only") == "noise":
        speech = []
    if mixture.scale != 1:
        drawn["scale"] = mixture.scale
    names = mixture_files(index, snr, data.files_per_folder)
    _write(mixture, names, plan)
    return _facts(mixture, names, data.sample_rate) | {
        "index": index,
        "speaker": speech[0].source.label if speech else "",
        "noise_type": _noise_type(drawn, looped),
        "snr_db": f"{snr:.2f}",
        "seed": f"{data.seed}/{plan.split}/{clip}",
        "additive": "yes" if mixture.additive else "no",
        "augmentation": json.dumps(drawn, separators=(",", ":")) if drawn else "",
        "speech": crops.text(speech),
        "noise": crops.text(looped),
    }


def _import(index: int, plan: Plan) -> dict[str, Any]:
    """Write pair ``index`` of a plan as three WAV files, and return its manifest row."""
    config, pair = plan.config, plan.pairs[index]
    rate = config.data.sample_rate
    paths = pair.clean.path, pair.noisy.path
    mixture = imported.read(plan.speech_root, *paths, pair.length, rate, config.audio.resampler)
    measured = levels.snr_db(mixture.clean, mixture.noise)
    names = mixture_files(index, measured, config.data.files_per_folder)
    _write(mixture, names, plan)
    return _facts(mixture, names, rate) | {
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
        audio_io.write_pcm16(path, array, plan.config.data.sample_rate)


def _facts(mixture: mixing.Mixture, names: dict[str, str], rate: int) -> dict[str, Any]:
    """Return what can be measured back from the three files, as the manifest tells it."""
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
    """Tell whether a manifest row is of a ready-made pair."""
    return row["augmentation"] == json.dumps(IMPORTED)


def remake(row: dict[str, str], config: Config, split: str) -> mixing.Mixture:
    """Make the three arrays of a file again from its manifest row alone."""
    speech_root, noise_root = splits.roots(config, "test" if split == "testing" else "train")
    if is_imported(row):
        paths = (json.loads(row[kind])[0]["path"] for kind in ("speech", "noise"))
        samples, rate = int(row["samples"]), int(row["sample_rate"])
        gain = float(row["clean_gain"])
        return imported.read(speech_root, *paths, samples, rate, config.audio.resampler, gain)
    samples, drawn = int(row["samples"]), json.loads(row["augmentation"] or "{}")
    length = augmentation.source_samples(samples, drawn)
    speech = crops.read(json.loads(row["speech"]), speech_root, length, config)
    parts: dict[int, dict[int | None, list[dict]]] = {}  # of noise, by layer and voice
    for piece in json.loads(row["noise"]):
        layer = parts.setdefault(piece.get("layer", 0), {})
        layer.setdefault(piece.get("voice"), []).append(piece)
    first, rate = parts.pop(0, {}), config.data.sample_rate
    if drawn.get("only") == "clean":
        noises = [np.zeros(samples, np.float32)]
    elif "colour" in drawn:
        noises = [augmentation.coloured(samples, rate, drawn)]
    elif "babble" in drawn:
        voices = [crops.read(v, speech_root, samples, config) for v in first.values()]
        noises = [augmentation.babble(voices, rate)]
    else:
        noises = [crops.read(first[None], noise_root, samples, config)]
    noises += [crops.read(part[None], noise_root, samples, config) for part in parts.values()]
    gains = float(row["clean_gain"]), float(row["noise_gain"])
    return augmentation.mixture(speech, noises, drawn, config, gains=gains)


def _noises(
    plan: Plan,
    clip: int,
    drawn: dict[str, Any],
    speaker: str,
    pieces: list[Piece],
    noise: np.ndarray,
) -> tuple[list[Piece], list[np.ndarray]]:
    """Return the noises that were drawn for a clip, beginning with the recorded one or instead."""
    if drawn.get("only") == "clean":
        return [], [np.zeros(plan.samples, np.float32)]
    rate = plan.config.data.sample_rate
    if "colour" in drawn:
        pieces, noise = [], augmentation.coloured(plan.samples, rate, drawn)
    elif "babble" in drawn:
        rng = augmentation.dice(plan.config, plan.split, clip, "babble")
        found = [
            plan.draw_speech(rng, plan.samples, other)
            for other in _other_speakers(plan, rng, speaker, drawn["babble"])
        ]
        pieces = [replace(p, voice=v) for v, (voice, _) in enumerate(found) for p in voice]
        noise = augmentation.babble([voice for _, voice in found], rate)
    noises = [noise]
    for layer in range(1, 1 + len(drawn.get("noises_db", ()))):
        rng = augmentation.dice(plan.config, plan.split, clip, "layers", layer)
        further, noise = plan.draw_noise(rng)
        pieces = pieces + [replace(p, layer=layer) for p in further]
        noises.append(noise)
    return pieces, noises


def _other_speakers(plan: Plan, rng: np.random.Generator, speaker: str, voices: int) -> list[str]:
    """Choose speakers without the one who is heard, each once as long as there are enough."""
    others = [name for name in plan.speakers if name != speaker]
    chosen = rng.choice(len(others), voices, replace=voices > len(others))
    return [others[k] for k in chosen]


def _noise_type(drawn: dict[str, Any], pieces: list[Piece]) -> str:
    """Return the type of the first noise."""
    if drawn.get("only") == "clean":
        return "none"
    made = [name for key, name in (("colour", "coloured"), ("babble", "babble")) if key in drawn]
    return made[0] if made else pieces[0].source.label


def digest(array: np.ndarray) -> str:
    """Return the digest of an int16 array that stands in the manifest."""
    return hashlib.blake2b(array.astype("<i2").tobytes(), digest_size=8).hexdigest()
