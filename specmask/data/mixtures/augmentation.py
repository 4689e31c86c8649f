"""Sampling and applying augmentation.

The parameters of a file are a dict of plain numbers and names, the column ``augmentation`` of its
manifest row. It holds only what is applied: for a plain file it is empty. :func:`mix` depends on
nothing else, so the row is enough to make the file again.

Each kind of augmentation has its own random generator, so that switching one on leaves the others
as they were.

Keys of the parameters:
    level_db: change of the speech level.
    blend: factor of the noise where blend = level.
    speed, pitch: factor; semitones.
    eq_speech, eq_noise: filters, see :func:`specmask.data.mixtures.effects.equalise`.
    noises_db: level of each noise beyond the first, relative to it.
    colour: exponent and seed of coloured noise, which then is the first noise.
    babble: number of voices, which then are the first noise.
    impacts: seed of impacts, which then are the first noise.
    switched: seed of the times when the noise stops and starts.
    only: clean or noise, where the other is left out.
    room: a file and channel, or a simulated room with its positions; target is ``rir_target``.
    band: edges in Hz; target is ``band_target``.
    clip: share of samples.
    codec: name and quality.
    scale: last factor of all three files, see :class:`specmask.data.mixtures.mixing.Mixture`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from specmask.audio import levels
from specmask.audio.io import AudioError, fit
from specmask.config.data import Augment
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data.mixtures import effects, mixing, rir
from specmask.data.mixtures.mixing import Mixture
from specmask.data.mixtures.rir import Response
from specmask.data.seeding import generator
from specmask.errors import UserError

# Each has its own generator. New ones are added at the end: the numbers are a part of the seed.
KINDS = (
    "level", "blend", "speed", "pitch", "eq_speech", "eq_noise", "noises", "kind", "only", "room",
    "band", "clip", "codec", "babble", "layers", "switched",
)  # fmt: skip
MADE_LEVEL_DB = -25  # of synthetic noise and of each voice of babble, in dBFS
ROOM_HEIGHT_M = 2.4, 3.5

Parameters = dict[str, Any]
Generators = Callable[[str], np.random.Generator]  # by the name of the kind


def kind_generator(
    config: Config, split: str, clip: int, kind: str, number: int = 0
) -> np.random.Generator:
    """Return the random generator of one of :data:`KINDS` for a clip."""
    return generator(config.data.seed, SPLITS.index(split), clip, KINDS.index(kind), number)


# ---------------------------------------------------------------- sampling


def draw(config: Config, split: str, clip: int, responses: Sequence[Response] = ()) -> Parameters:
    """Draw the parameters of a clip at random.

    Args:
        config: its sections data and augment.
        split: training, validation or testing.
        clip: number of the clip; with snr_mode = all, several files are of one clip.
        responses: of rir_path; without them rooms are simulated.
    """
    a, data = config.augment, config.data
    generators = functools.partial(kind_generator, config, split, clip)
    drawn: Parameters = {}
    if data.blend == "level":
        drawn["blend"] = _uniform(generators("blend"), data.blend_lower, data.blend_upper, 4)
    if split == "testing" and not a.testing:
        return drawn
    if (a.level_lower_db, a.level_upper_db) != (0, 0):
        drawn["level_db"] = _uniform(generators("level"), a.level_lower_db, a.level_upper_db, 2)
    drawn |= _draw_voice(a, generators, data.sample_rate) | _draw_noises(a, generators)
    if rng := _chance(generators, "room", a.room_probability):
        drawn["room"] = _draw_room(a, rng, responses)
    return drawn | _draw_channel(a, generators)


def _draw_voice(a: Augment, generators: Generators, rate: int) -> Parameters:
    drawn: Parameters = {}
    if rng := _chance(generators, "speed", a.speed_probability):
        drawn["speed"] = _uniform(rng, a.speed_lower, a.speed_upper, 4)
    if rng := _chance(generators, "pitch", a.pitch_probability):
        drawn["pitch"] = _uniform(rng, a.pitch_lower_semitones, a.pitch_upper_semitones, 3)
    for name, probability in (
        ("eq_speech", a.eq_speech_probability),
        ("eq_noise", a.eq_noise_probability),
    ):
        if rng := _chance(generators, name, probability):
            drawn[name] = _draw_equaliser(rng, a.eq_gain_db, rate)
    return drawn


def _draw_equaliser(rng: np.random.Generator, gain_db: float, rate: int) -> list[list]:
    """Two shelves and two peaks over the range of speech."""
    bands = (("low", 60, 400), ("peak", 200, 1000), ("peak", 800, 3000), ("high", 1500, 3500))
    return [
        [
            kind,
            round(min(_log_uniform(rng, low, high), 0.4 * rate), 1),
            _uniform(rng, -gain_db, gain_db, 2),
            _uniform(rng, 0.5, 1.0, 2),
        ]
        for kind, low, high in bands
    ]


def _draw_noises(a: Augment, generators: Generators) -> Parameters:
    drawn: Parameters = {}
    if a.noises_upper > 1:
        rng = generators("noises")
        further = int(rng.integers(a.noises_lower, a.noises_upper + 1)) - 1
        if further:
            drawn["noises_db"] = [_uniform(rng, -a.noise_spread_db, 0, 2) for _ in range(further)]
    # One number, from both ends, so that colour and babble do not change each other's files.
    if a.coloured_probability or a.babble_probability or a.impact_probability:
        rng = generators("kind")
        number = rng.random()
        if number < a.coloured_probability:
            exponent = _uniform(rng, a.colour_lower, a.colour_upper, 3)
            drawn["colour"] = [exponent, int(rng.integers(2**32))]
        elif number < a.coloured_probability + a.impact_probability:
            drawn["impacts"] = int(rng.integers(2**32))
        elif number >= 1 - a.babble_probability:
            drawn["babble"] = int(rng.integers(a.babble_voices_lower, a.babble_voices_upper + 1))
    if switching := _chance(generators, "switched", a.switched_probability):
        drawn["switched"] = int(switching.integers(2**32))
    if a.clean_only_probability or a.noise_only_probability:
        number = generators("only").random()
        if number < a.clean_only_probability:
            drawn["only"] = "clean"
        elif number >= 1 - a.noise_only_probability:
            drawn["only"] = "noise"
    return drawn


def _draw_room(a: Augment, rng: np.random.Generator, responses: Sequence[Response]) -> Parameters:
    room: Parameters
    if responses and (a.rir_share == 1 or rng.random() < a.rir_share):
        speech, noise = (responses[k] for k in rng.integers(len(responses), size=2))
        room = {"path": speech.path, "channel": int(rng.integers(speech.channels))}
        of_noise = {"noise_path": noise.path, "noise_channel": int(rng.integers(noise.channels))}
    else:
        sides = a.room_length_lower_m, a.room_length_upper_m
        size = [_uniform(rng, *sides, 2), _uniform(rng, *sides, 2)]
        size.append(_uniform(rng, *ROOM_HEIGHT_M, 2))
        distances = a.room_distance_lower_m, a.room_distance_upper_m
        t60 = _uniform(rng, a.t60_lower_seconds, a.t60_upper_seconds, 3)
        room = {"size": size, "t60": t60, **rir.draw_positions(rng, size, distances)}
        room["seed"] = int(rng.integers(2**32))
        of_noise = {"noise": room.pop("noise")}
    return room | (of_noise if a.rir_noise else {}) | {"target": a.rir_target}


def _draw_channel(a: Augment, generators: Generators) -> Parameters:
    drawn: Parameters = {}
    if rng := _chance(generators, "band", a.band_probability):
        low_hz = _uniform(rng, a.band_low_lower_hz, a.band_low_upper_hz, 1)
        high_hz = round(_log_uniform(rng, a.band_high_lower_hz, a.band_high_upper_hz), 1)
        drawn["band"] = {"low_hz": low_hz, "high_hz": high_hz, "target": a.band_target}
    if rng := _chance(generators, "clip", a.clip_probability):
        drawn["clip"] = round(_log_uniform(rng, a.clip_share_lower, a.clip_share_upper), 6)
    if rng := _chance(generators, "codec", a.codec_probability):
        name = a.codecs[rng.integers(len(a.codecs))]
        quality = _uniform(rng, a.codec_quality_lower, a.codec_quality_upper, 3)
        drawn["codec"] = {"name": name, "quality": quality}
    return drawn


def _chance(generators: Generators, kind: str, probability: float) -> np.random.Generator | None:
    """Return the generator of a kind with a probability; one of 0 costs no time."""
    rng = generators(kind) if probability else None
    return rng if rng and rng.random() < probability else None


def _uniform(rng: np.random.Generator, lower: float, upper: float, digits: int) -> float:
    return round(float(rng.uniform(lower, upper)), digits)


def _log_uniform(rng: np.random.Generator, lower: float, upper: float) -> float:
    return math.exp(rng.uniform(math.log(lower), math.log(upper)))


# ---------------------------------------------------------------- applying


def source_samples(samples: int, parameters: Parameters) -> int:
    """Return the number of samples of recorded speech that a file of a length takes."""
    return math.ceil(samples * parameters["speed"]) + 1 if "speed" in parameters else samples


def babble(voices: Sequence[np.ndarray], rate: int) -> np.ndarray:
    """Return the sum of voices, each at the same level of active speech."""
    total = np.zeros(len(voices[0]))
    for voice in voices:
        gain_db = MADE_LEVEL_DB - levels.active_level_db(voice, rate)
        total += voice.astype(np.float64) * 10 ** (gain_db / 20)
    return total


def synthetic_noise(samples: int, rate: int, parameters: Parameters) -> np.ndarray | None:
    """Return the coloured noise or the impacts of the parameters; None if they name neither."""
    if "colour" in parameters:
        x = effects.coloured(samples, rate, *parameters["colour"])
    elif "impacts" in parameters:
        x = effects.impacts(samples, rate, parameters["impacts"])
    else:
        return None
    return 10 ** (MADE_LEVEL_DB / 20) * x


def mix(
    speech: np.ndarray,
    noises: Sequence[np.ndarray],
    parameters: Parameters,
    config: Config,
    snr: float = math.inf,
    gains: tuple[float, float] | None = None,
) -> Mixture:
    """Apply the augmentation and mix.

    Args:
        speech: [source samples] as recorded.
        noises: [samples] each, the first one first; one of zeros for clean speech only.
        parameters: as :func:`draw` returns them.
        config: for the rate, the levels, and the folder of room impulse responses.
        snr: in dB.
        gains: of speech and noise, where they are known; level and SNR have no effect then.
    """
    rate, samples = config.data.sample_rate, len(noises[0])
    speech = _augment_speech(speech, samples, rate, parameters)
    noise = noises[0]
    if parameters.get("only") != "clean":
        noise = _sum_noises(noises, rate, parameters)
    clean = speech
    if "room" in parameters:
        clean, speech, noise = _in_room(parameters["room"], speech, noise, config)
    band = parameters.get("band")
    if band and band["target"] == "limited":
        limit = functools.partial(
            effects.band_limit, rate=rate, low_hz=band["low_hz"], high_hz=band["high_hz"]
        )
        same = clean is speech
        speech, noise = limit(speech), limit(noise)
        clean = speech if same else limit(clean)
    if gains is None:
        gains = _gains(clean, speech, noise, parameters, config, snr)
        if parameters.get("only") == "noise":
            clean = speech = np.zeros(samples)
        gains = mixing.fitting_gains(clean, speech, noise, *gains)
    channel = _channel(parameters, rate)
    if clean is speech and not channel:
        return mixing.apply_gains(speech, noise, *gains)

    def through_channel(x: np.ndarray) -> np.ndarray:
        for effect in channel:
            x = effect(x)
        return x

    return mixing.apply_channel(clean, speech, noise, *gains, through_channel)


def _gains(
    clean: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    parameters: Parameters,
    config: Config,
    snr: float,
) -> tuple[float, float]:
    data, change_db = config.data, parameters.get("level_db", 0)
    if "blend" in parameters:
        clean_gain = 10 ** (change_db / 20)
        return clean_gain, clean_gain * parameters["blend"]
    level_db = data.speech_level_db + change_db
    return mixing.level_gains(
        clean, speech, noise, snr, level_db, data.sample_rate, data.snr_reference
    )


def _augment_speech(x: np.ndarray, samples: int, rate: int, parameters: Parameters) -> np.ndarray:
    if "speed" in parameters:
        x = fit(effects.speed(x, rate, parameters["speed"]), samples)
    if "pitch" in parameters:
        x = effects.pitch(x, rate, parameters["pitch"])
    if "eq_speech" in parameters:
        x = effects.equalise(x, rate, parameters["eq_speech"])
    return x


def _sum_noises(noises: Sequence[np.ndarray], rate: int, parameters: Parameters) -> np.ndarray:
    x = noises[0]
    power = levels.power(x)
    for other, level_db in zip(noises[1:], parameters.get("noises_db", ()), strict=True):
        gain = math.sqrt(power / levels.power(other)) * 10 ** (level_db / 20)
        x = x + gain * other.astype(np.float64)
    if "switched" in parameters:
        x = effects.switched(x, rate, parameters["switched"])
    return effects.equalise(x, rate, parameters["eq_noise"]) if "eq_noise" in parameters else x


def _in_room(
    room: Parameters, speech: np.ndarray, noise: np.ndarray, config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the clean file, the speech of the mixture and the noise of a room."""
    rate, samples = config.data.sample_rate, len(noise)

    def reverberate(x: np.ndarray, h: np.ndarray) -> np.ndarray:
        return effects.convolve(x, h)[:samples]

    h = _response(room, "source", "", config)
    reverberant = reverberate(speech, h)
    if room["target"] == "dry":
        clean = speech
    elif room["target"] == "early":
        clean = reverberate(speech, rir.early(h, rate))
    else:
        clean = reverberant
    if "noise" in room or "noise_path" in room:
        noise = reverberate(noise, _response(room, "noise", "noise_", config))
    return clean, reverberant, noise


def _response(room: Parameters, position: str, prefix: str, config: Config) -> np.ndarray:
    rate = config.data.sample_rate
    if "path" not in room:
        seed = room["seed"] + (position == "noise")
        return rir.simulate(
            room["size"], room["t60"], room["microphone"], room[position], rate, seed
        )
    path = config.augment.rir_path / room[f"{prefix}path"]
    try:
        return rir.read(path, room[f"{prefix}channel"], rate, config.audio.resampler)
    except AudioError as error:
        raise UserError(
            f"{path}: {error}; put the file back, or make the data set with --overwrite"
        ) from None


def _channel(parameters: Parameters, rate: int) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return the effects on the mixture alone."""
    channel: list[Callable[[np.ndarray], np.ndarray]] = []
    band = parameters.get("band")
    if band and band["target"] == "full":
        low_hz, high_hz = band["low_hz"], band["high_hz"]
        channel.append(lambda x: effects.band_limit(x, rate, low_hz, high_hz))
    if "clip" in parameters:
        channel.append(lambda x: effects.clip(x, parameters["clip"]))
    if "codec" in parameters:
        codec = parameters["codec"]
        channel.append(lambda x: effects.codec(x, rate, codec["name"], codec["quality"]))
    return channel
