"""What happens to speech and noise on the way into a mixture: drawn, written down, carried out.

What was drawn for a file is a dict of plain numbers and names, the column ``augmentation`` of
its manifest row. It holds only what was drawn: a plain file has an empty one. :func:`mixture`
looks at nothing else, so the row makes the file again.

Every kind of draw has a generator of its own, so that switching one on leaves the others as they
were.

Keys of what was drawn:
    level_db: change of the speech level.
    blend: factor of the noise where blend = level.
    speed, pitch: factor; semitones.
    eq_speech, eq_noise: filters as :func:`specmask.data.mixtures.effects.equalise` takes them.
    noises_db: level of each noise beyond the first, relative to it.
    colour: exponent and seed of coloured noise, the first noise then.
    babble: number of voices of the first noise.
    only: clean or noise, where the other is left out.
    room: a file and channel, or a simulated room with its places; target as ``rir_target``.
    band: edges in Hz, and target as ``band_target``.
    clip: share of samples.
    codec: name and quality.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from specmask.audio import io as audio_io
from specmask.audio import levels
from specmask.config.data import Augment
from specmask.config.schema import Config
from specmask.config.types import SPLITS
from specmask.data.mixtures import effects, mixing, rir
from specmask.data.mixtures.mixing import Mixture
from specmask.data.mixtures.rir import Response
from specmask.data.seeding import generator
from specmask.errors import UserError

# Each has its own generator. New ones are added at the end: the numbers are a part of the seed.
DRAWS = (
    "level", "blend", "speed", "pitch", "eq_speech", "eq_noise", "noises", "kind", "only", "room",
    "band", "clip", "codec", "babble", "layers",
)  # fmt: skip
MADE_LEVEL_DB = -25  # of coloured noise and of each voice of babble, in dBFS
ROOM_HEIGHT_M = 2.4, 3.5


def dice(config: Config, split: str, clip: int, name: str, number: int = 0) -> np.random.Generator:
    """Return the generator of one kind of draw of a clip; see :data:`DRAWS`."""
    return generator(config.data.seed, SPLITS.index(split), clip, DRAWS.index(name), number)


# ---------------------------------------------------------------- drawing


def draw(
    config: Config, split: str, clip: int, responses: Sequence[Response] = ()
) -> dict[str, Any]:
    """Draw what happens to a clip.

    Args:
        config: its sections data and augment count.
        split: training, validation or testing.
        clip: number of the clip; in snr_mode = all, several files are of one clip.
        responses: of rir_path; without them rooms are simulated.
    """
    a, data, drawn = config.augment, config.data, {}
    roll = functools.partial(dice, config, split, clip)
    if data.blend == "level":
        drawn["blend"] = _uniform(roll("blend"), data.blend_lower, data.blend_upper, 4)
    if split == "testing" and not a.testing:
        return drawn
    if (a.level_lower_db, a.level_upper_db) != (0, 0):
        drawn["level_db"] = _uniform(roll("level"), a.level_lower_db, a.level_upper_db, 2)
    drawn |= _draw_voice(a, roll, data.sample_rate) | _draw_noises(a, roll)
    if rng := _hit(roll, "room", a.room_probability):
        drawn["room"] = _draw_room(a, rng, responses)
    return drawn | _draw_channel(a, roll)


def _draw_voice(a: Augment, roll: Callable, rate: int) -> dict[str, Any]:
    drawn = {}
    if rng := _hit(roll, "speed", a.speed_probability):
        drawn["speed"] = _uniform(rng, a.speed_lower, a.speed_upper, 4)
    if rng := _hit(roll, "pitch", a.pitch_probability):
        drawn["pitch"] = _uniform(rng, a.pitch_lower_semitones, a.pitch_upper_semitones, 3)
    for name, chance in (
        ("eq_speech", a.eq_speech_probability),
        ("eq_noise", a.eq_noise_probability),
    ):
        if rng := _hit(roll, name, chance):
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


def _draw_noises(a: Augment, roll: Callable) -> dict[str, Any]:
    drawn = {}
    if a.noises_upper > 1:
        rng = roll("noises")
        further = int(rng.integers(a.noises_lower, a.noises_upper + 1)) - 1
        if further:
            drawn["noises_db"] = [_uniform(rng, -a.noise_spread_db, 0, 2) for _ in range(further)]
    # The two ends of one draw, so that neither probability moves the other's files.
    if a.coloured_probability or a.babble_probability:
        rng = roll("kind")
        place = rng.random()
        if place < a.coloured_probability:
            exponent = _uniform(rng, a.colour_lower, a.colour_upper, 3)
            drawn["colour"] = [exponent, int(rng.integers(2**32))]
        elif place >= 1 - a.babble_probability:
            drawn["babble"] = int(rng.integers(a.babble_voices_lower, a.babble_voices_upper + 1))
    if a.clean_only_probability or a.noise_only_probability:
        place = roll("only").random()
        if place < a.clean_only_probability:
            drawn["only"] = "clean"
        elif place >= 1 - a.noise_only_probability:
            drawn["only"] = "noise"
    return drawn


def _draw_room(
    a: Augment, rng: np.random.Generator, responses: Sequence[Response]
) -> dict[str, Any]:
    if responses:
        speech, noise = (responses[k] for k in rng.integers(len(responses), size=2))
        room = {"path": speech.path, "channel": int(rng.integers(speech.channels))}
        other = {"noise_path": noise.path, "noise_channel": int(rng.integers(noise.channels))}
    else:
        sides = a.room_length_lower_m, a.room_length_upper_m
        size = [_uniform(rng, *sides, 2), _uniform(rng, *sides, 2)]
        size.append(_uniform(rng, *ROOM_HEIGHT_M, 2))
        distances = a.room_distance_lower_m, a.room_distance_upper_m
        t60 = _uniform(rng, a.t60_lower_seconds, a.t60_upper_seconds, 3)
        room = {"size": size, "t60": t60, **rir.place(rng, size, distances)}
        room["seed"] = int(rng.integers(2**32))
        other = {"noise": room.pop("noise")}
    return room | (other if a.rir_noise else {}) | {"target": a.rir_target}


def _draw_channel(a: Augment, roll: Callable) -> dict[str, Any]:
    drawn = {}
    if rng := _hit(roll, "band", a.band_probability):
        low = _uniform(rng, a.band_low_lower_hz, a.band_low_upper_hz, 1)
        high = round(_log_uniform(rng, a.band_high_lower_hz, a.band_high_upper_hz), 1)
        drawn["band"] = {"low_hz": low, "high_hz": high, "target": a.band_target}
    if rng := _hit(roll, "clip", a.clip_probability):
        drawn["clip"] = round(_log_uniform(rng, a.clip_share_lower, a.clip_share_upper), 6)
    if rng := _hit(roll, "codec", a.codec_probability):
        name = a.codecs[rng.integers(len(a.codecs))]
        quality = _uniform(rng, a.codec_quality_lower, a.codec_quality_upper, 3)
        drawn["codec"] = {"name": name, "quality": quality}
    return drawn


def _hit(roll: Callable, name: str, probability: float) -> np.random.Generator | None:
    """Return the generator of a kind of draw if it happens; what is switched off costs no time."""
    rng = roll(name) if probability else None
    return rng if rng and rng.random() < probability else None


def _uniform(rng: np.random.Generator, lower: float, upper: float, digits: int) -> float:
    return round(float(rng.uniform(lower, upper)), digits)


def _log_uniform(rng: np.random.Generator, lower: float, upper: float) -> float:
    return math.exp(rng.uniform(math.log(lower), math.log(upper)))


# ---------------------------------------------------------------- carrying out


def source_samples(samples: int, drawn: dict[str, Any]) -> int:
    """Number of samples of recorded speech that a file of a length takes."""
    return math.ceil(samples * drawn["speed"]) + 1 if "speed" in drawn else samples


def babble(voices: Sequence[np.ndarray], rate: int) -> np.ndarray:
    """Add up voices, each at the same level of active speech."""
    gains = [10 ** ((MADE_LEVEL_DB - levels.active_level_db(v, rate)) / 20) for v in voices]
    return sum(v.astype(np.float64) * gain for v, gain in zip(voices, gains, strict=True))


def coloured(samples: int, rate: int, drawn: dict[str, Any]) -> np.ndarray:
    """Make the coloured noise that was drawn."""
    exponent, seed = drawn["colour"]
    return 10 ** (MADE_LEVEL_DB / 20) * effects.coloured(samples, rate, exponent, seed)


def mixture(
    speech: np.ndarray,
    noises: Sequence[np.ndarray],
    drawn: dict[str, Any],
    config: Config,
    snr: float = math.inf,
    gains: tuple[float, float] | None = None,
) -> Mixture:
    """Carry out what was drawn and mix.

    Args:
        speech: [source samples] as it lies in the recordings.
        noises: [samples] each, the first one first; one of zeros for clean speech only.
        drawn: as :func:`draw` returns it.
        config: for the rate, the levels, and where room impulse responses lie.
        snr: in dB.
        gains: of speech and noise, where they are known; level and SNR have no effect then.
    """
    data = config.data
    rate, samples = data.sample_rate, len(noises[0])
    speech = _voice(speech, samples, rate, drawn)
    noise = noises[0] if drawn.get("only") == "clean" else _noise(noises, rate, drawn)
    target = speech
    if "room" in drawn:
        target, speech, noise = _in_room(drawn["room"], speech, noise, config)
    channel = _channel(drawn, rate)
    band = drawn.get("band")
    if band and band["target"] == "limited":
        limit = functools.partial(
            effects.band_limit, rate=rate, low_hz=band["low_hz"], high_hz=band["high_hz"]
        )
        dry = target is not speech
        speech, noise = limit(speech), limit(noise)
        target = limit(target) if dry else speech
    if gains is None:
        gains = _gains(target, speech, noise, drawn, config, snr)
        if drawn.get("only") == "noise":
            target = speech = np.zeros(samples)
        gains = mixing.fitting_gains(target, speech, noise, *gains)
    if target is speech and not channel:
        return mixing.apply_gains(speech, noise, *gains)

    def through(x: np.ndarray) -> np.ndarray:
        for step in channel:
            x = step(x)
        return x

    return mixing.apply_channel(target, speech, noise, *gains, through)


def _gains(
    target: np.ndarray,
    speech: np.ndarray,
    noise: np.ndarray,
    drawn: dict[str, Any],
    config: Config,
    snr: float,
) -> tuple[float, float]:
    data, change = config.data, drawn.get("level_db", 0)
    if "blend" in drawn:
        clean_gain = 10 ** (change / 20)
        return clean_gain, clean_gain * drawn["blend"]
    level = data.speech_level_db + change
    return mixing.level_gains(
        target, speech, noise, snr, level, data.sample_rate, data.snr_reference
    )


def _voice(x: np.ndarray, samples: int, rate: int, drawn: dict[str, Any]) -> np.ndarray:
    if "speed" in drawn:
        x = audio_io.fit(effects.speed(x, rate, drawn["speed"]), samples)
    if "pitch" in drawn:
        x = effects.pitch(x, rate, drawn["pitch"])
    if "eq_speech" in drawn:
        x = effects.equalise(x, rate, drawn["eq_speech"])
    return x


def _noise(noises: Sequence[np.ndarray], rate: int, drawn: dict[str, Any]) -> np.ndarray:
    x = noises[0]
    power = levels.power(x)
    for other, level_db in zip(noises[1:], drawn.get("noises_db", ()), strict=True):
        gain = math.sqrt(power / levels.power(other)) * 10 ** (level_db / 20)
        x = x + gain * other.astype(np.float64)
    return effects.equalise(x, rate, drawn["eq_noise"]) if "eq_noise" in drawn else x


def _in_room(
    room: dict[str, Any], speech: np.ndarray, noise: np.ndarray, config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return target, speech and noise as they are heard in a room."""
    rate, samples = config.data.sample_rate, len(noise)

    def heard(x: np.ndarray, h: np.ndarray) -> np.ndarray:
        return effects.convolve(x, h)[:samples]

    h = _response(room, "source", "", config)
    reverberant = heard(speech, h)
    target = {
        "dry": lambda: speech,
        "early": lambda: heard(speech, rir.early(h, rate)),
        "reverberant": lambda: reverberant,
    }[room["target"]]()
    if "noise" in room or "noise_path" in room:
        noise = heard(noise, _response(room, "noise", "noise_", config))
    return target, reverberant, noise


def _response(room: dict[str, Any], place: str, prefix: str, config: Config) -> np.ndarray:
    rate = config.data.sample_rate
    if "path" not in room:
        seed = room["seed"] + (place == "noise")
        return rir.simulate(room["size"], room["t60"], room["microphone"], room[place], rate, seed)
    path = config.augment.rir_path / room[f"{prefix}path"]
    try:
        return rir.read(path, room[f"{prefix}channel"], rate, config.audio.resampler)
    except audio_io.AudioError as error:
        raise UserError(
            f"{path}: {error}; put the file back, or make the data set with --overwrite"
        ) from None


def _channel(drawn: dict[str, Any], rate: int) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return what only the mixture goes through."""
    steps = []
    band = drawn.get("band")
    if band and band["target"] == "full":
        low, high = band["low_hz"], band["high_hz"]
        steps.append(lambda x: effects.band_limit(x, rate, low, high))
    if "clip" in drawn:
        steps.append(lambda x: effects.clip(x, drawn["clip"]))
    if "codec" in drawn:
        codec = drawn["codec"]
        steps.append(lambda x: effects.codec(x, rate, codec["name"], codec["quality"]))
    return steps
