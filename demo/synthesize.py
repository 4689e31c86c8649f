"""Make speech and noise for the demo, so that it needs no recordings.

Writes 16-bit FLAC files that depend on the seed only:
  OUT_FOLDER/clean/clean_train/VOICE/*.flac  speech by eSpeak NG, mono, 22.05 kHz
  OUT_FOLDER/clean/clean_test/VOICE/*.flac  other voices, other sentences
  OUT_FOLDER/noise/noise_train/TYPE/*.flac  noise from equations, 16 or 44.1 kHz, half of it stereo
  OUT_FOLDER/noise/noise_test/TYPE/*.flac   the same types with other parameters
A folder that is complete is left as it is.

example:
  python demo/synthesize.py demo/out/audio --seed 0
"""

# Noise is float64 [samples], at any level until it becomes a clip. Everything random is drawn
# from generators of (seed, split, kind, index): no recording depends on another one.

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python has put this folder there, not the project's

import espeak  # noqa: E402

from specmask.audio import io as audio_io  # noqa: E402
from specmask.audio import levels  # noqa: E402
from specmask.cli import console  # noqa: E402
from specmask.errors import UserError  # noqa: E402
from specmask.files import replacing  # noqa: E402

VERSION = 2  # of what is made: raise it with any change that makes other files
MARKER = "demo_audio.json"
SPLITS = ("train", "test")
SPEECH, NOISE = 0, 1  # kinds of generator

CLIPS_PER_VOICE = {"train": 8, "test": 6}
NOISE_SECONDS = (10.0, 15.0)
NOISE_RATES_HZ = (16000, 44100)
SPEECH_LEVELS_DB = (-31, -21)
NOISE_LEVELS_DB = (-34, -22)
LARGEST_PEAK = 0.9


@dataclass(frozen=True)
class Clip:
    """A recording.

    Attributes:
        path: below the output folder, with forward slashes.
        samples: int16 [samples], or [samples, 2] in stereo.
        rate_hz: sample rate.
    """

    path: str
    samples: np.ndarray
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class Voice:
    """A speaker: a language with a variant of eSpeak NG, a speed and a pitch (0 to 99)."""

    name: str
    rate_wpm: int
    pitch: int

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return self.name.replace("+", "-").lower()

    @property
    def variant(self) -> str:
        """What makes the sound of the voice, whatever language it speaks."""
        return self.name.partition("+")[2]

    @property
    def language(self) -> str:
        """Two letters."""
        return self.name[:2]


def generator(seed: int, split: str, kind: int, index: int) -> np.random.Generator:
    """Return the random numbers of one voice or one noise file."""
    key = (SPLITS.index(split), kind, index)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


# --- speech -------------------------------------------------------------------------------------


VOICES = {
    "train": [
        Voice("en-us+m1", 140, 45),
        Voice("en-us+f1", 130, 50),
        Voice("en-us+Michael", 150, 52),
        Voice("en-us+Annie", 145, 40),
        Voice("en-us+klatt3", 125, 42),
        Voice("en-us+Nguyen", 135, 58),
        Voice("en-us-nyc+m3", 145, 60),
        Voice("en-us-nyc+f4", 140, 45),
        Voice("en+m6", 130, 50),
        Voice("en+f2", 135, 55),
        Voice("en+Denis", 125, 46),
        Voice("en+belinda", 140, 35),
        Voice("en-gb-x-rp+m7", 135, 40),
        Voice("en-gb-x-rp+Andrea", 120, 42),
        Voice("en-gb-scotland+Alex", 135, 56),
        Voice("en-gb-scotland+f5", 135, 38),
        Voice("en-029+grandpa", 130, 52),
        Voice("de+m4", 125, 48),
        Voice("de+linda", 135, 36),
        Voice("fr+Henrique", 130, 50),
        Voice("es+miguel", 135, 54),
        Voice("it+steph", 135, 48),
        Voice("nl+Mike", 130, 58),
        Voice("pt-br+anika", 115, 30),
        Voice("sv+Hugo", 125, 44),
    ],
    "test": [
        Voice("en-us+m8", 135, 55),
        Voice("en-us+f3", 140, 42),
        Voice("en+rob", 130, 47),
        Voice("en-us-nyc+max", 140, 38),
        Voice("en-gb-x-rp+aunty", 130, 52),
        Voice("en-gb-scotland+shelby", 135, 46),
        Voice("de+adam", 130, 52),
        Voice("fr+Lee", 125, 44),
    ],
}

CROWD = {  # the voices in the background; they lend nothing to the foreground
    "train": ["boris", "david", "robert", "victor", "grandma", "marcelo", "kaukovalta", "Diogo"],
    "test": ["m5", "Reed", "travis", "benjamin", "Alicia", "quincy"],
}


def speech(voice: Voice, split: str, index: int, seed: int) -> list[Clip]:
    """Return the recordings of a speaker: one sentence each, all with one colour and one gain."""
    rng = generator(seed, split, SPEECH, index)
    sentences = SENTENCES[split][voice.language]
    chosen = rng.permutation(len(sentences))[: CLIPS_PER_VOICE[split]]
    spoken, rate_hz = espeak.speak(
        [sentences[i] for i in chosen], voice.name, voice.rate_wpm, voice.pitch
    )
    taps = equalizer(rng, rate_hz)
    coloured_speech = [scipy.signal.oaconvolve(x, taps, mode="same") for x in spoken]
    gain = gain_to(np.concatenate(coloured_speech), rng.uniform(*SPEECH_LEVELS_DB))
    folder = f"clean/clean_{split}/{voice.folder}"
    return [
        Clip(f"{folder}/{number:02d}.flac", levels.to_int16(x * gain), rate_hz)
        for number, x in enumerate(coloured_speech, 1)
    ]


def equalizer(rng: np.random.Generator, rate_hz: int, range_db: float = 5.0) -> np.ndarray:
    """Return a filter with a mild random response: the microphone and the place of a speaker.

    Returns:
        float64 [taps], symmetric: it delays nothing under ``mode="same"``.
    """
    corners_hz = [0, 150, 400, 1000, 2500, 6000, rate_hz / 2]
    gains_db = rng.uniform(-range_db, range_db, len(corners_hz))
    return scipy.signal.firwin2(511, corners_hz, 10 ** (gains_db / 20), fs=rate_hz)


def gain_to(x: np.ndarray, level_db: float) -> float:
    """Return the gain to an RMS level in dBFS, or what keeps the peak below the limit."""
    return min(10 ** (level_db / 20) / rms(x), LARGEST_PEAK / float(np.abs(x).max()))


def rms(x: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(levels.mean_square(x)))


# --- noise: building blocks ---------------------------------------------------------------------


def shaped(
    rng: np.random.Generator,
    samples: int,
    rate_hz: int,
    gain_of: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return Gaussian noise with an amplitude spectrum ``gain_of(frequencies_hz)``, RMS 1."""
    length = scipy.fft.next_fast_len(samples, real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal(length))
    spectrum *= gain_of(scipy.fft.rfftfreq(length, 1 / rate_hz))
    x = scipy.fft.irfft(spectrum, length)[:samples]
    return x / rms(x)


def low_pass(frequencies_hz: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Amplitude of a second-order Butterworth low-pass."""
    return 1 / np.sqrt(1 + (frequencies_hz / cutoff_hz) ** 4)


def band_noise(
    rng: np.random.Generator, samples: int, rate_hz: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """Return noise between two frequencies, falling by 12 dB an octave outside, RMS 1."""
    return shaped(
        rng,
        samples,
        rate_hz,
        lambda f: low_pass(f, high_hz) * (1 - low_pass(f, low_hz) ** 2) ** 0.5,
    )


def slow(rng: np.random.Generator, samples: int, rate_hz: int, cutoff_hz: float) -> np.ndarray:
    """Return a slow random movement, RMS 1, for modulating something."""
    return shaped(rng, samples, rate_hz, lambda f: low_pass(f, cutoff_hz))


def harmonics(phase: np.ndarray, amplitudes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return Σ amplitude[k - 1] · sin(k · phase + offset[k - 1]); phase is [samples] in radians."""
    total = np.zeros(len(phase))
    for k, (amplitude, offset) in enumerate(zip(amplitudes, offsets, strict=True), 1):
        total += amplitude * np.sin(k * phase + offset)
    return total


def scatter(
    rng: np.random.Generator,
    samples: int,
    starts: np.ndarray,
    gains: np.ndarray,
    grains: list[np.ndarray],
) -> np.ndarray:
    """Return short sounds at given places, each one of the grains at random.

    Args:
        rng: random numbers.
        samples: length of the result.
        starts: int [events], where each begins.
        gains: float [events].
        grains: the sounds.
    """
    chosen = rng.integers(len(grains), size=len(starts))
    total = np.zeros(samples)
    for k, grain in enumerate(grains):
        mine = (chosen == k) & (starts < samples)
        impulses = np.bincount(starts[mine], weights=gains[mine], minlength=samples)
        total += scipy.signal.oaconvolve(impulses, grain)[:samples]
    return total


def strike(
    rng: np.random.Generator, rate_hz: int, decay_seconds: float, low_hz: float, high_hz: float
) -> np.ndarray:
    """Return a burst of band noise that dies away by a factor e every ``decay_seconds``."""
    samples = round(8 * decay_seconds * rate_hz)
    burst = band_noise(rng, samples, rate_hz, low_hz, high_hz)
    return burst * np.exp(-np.arange(samples) / (decay_seconds * rate_hz))


def with_floor(x: np.ndarray, background: np.ndarray, level_db: float) -> np.ndarray:
    """Add a background at a level relative to the sound: no recording is silent in between."""
    return x / rms(x) + 10 ** (level_db / 20) * background / rms(background)


# --- noise: the types ---------------------------------------------------------------------------


def coloured(rng: np.random.Generator, samples: int, rate_hz: int, slope_db: float) -> np.ndarray:
    """Stationary noise whose power density changes by ``slope_db`` an octave above 20 Hz.

    0 is white, -3 pink, -6 brown.
    """
    octave_db = 20 * np.log10(2)
    return shaped(rng, samples, rate_hz, lambda f: np.maximum(f, 20.0) ** (slope_db / octave_db))


def hum(
    rng: np.random.Generator,
    samples: int,
    rate_hz: int,
    mains_hz: float,
    falloff: float,
    hiss_db: float,
) -> np.ndarray:
    """Mains hum: harmonics of ``mains_hz`` that fall as 1 / k**falloff, over pink hiss."""
    orders = np.arange(1, 31)
    amplitudes = orders**-falloff * 10 ** (rng.uniform(-6, 6, len(orders)) / 20)
    phase = 2 * np.pi * mains_hz * np.arange(samples) / rate_hz
    tone = harmonics(phase, amplitudes, rng.uniform(0, 2 * np.pi, len(orders)))
    return with_floor(tone, coloured(rng, samples, rate_hz, -3), hiss_db)


def babble(
    rng: np.random.Generator, samples: int, rate_hz: int, variants: list[str], split: str
) -> np.ndarray:
    """Several people talking at once, each from another place of an endless talk."""
    sentences = SENTENCES[split]["en"]
    total = np.zeros(samples)
    for variant in variants:
        order = rng.permutation(len(sentences))[:6]
        spoken, spoken_hz = espeak.speak(
            [sentences[i] for i in order],
            f"en-us+{variant}",
            rate_wpm=int(rng.integers(120, 165)),
            pitch=int(rng.integers(35, 65)),
        )
        talk = audio_io.resample(np.concatenate(spoken), spoken_hz, rate_hz)
        talk = np.roll(np.resize(talk, samples), rng.integers(samples))
        total += talk / rms(talk) * 10 ** (rng.uniform(-4, 4) / 20)
    return with_floor(total, coloured(rng, samples, rate_hz, -4), -25)


def typing(
    rng: np.random.Generator, samples: int, rate_hz: int, strokes_hz: float, bright_hz: float
) -> np.ndarray:
    """A keyboard: irregular strokes, each a click and, weaker, the key that comes back."""
    count = round(2 * strokes_hz * samples / rate_hz)  # more than fit: the rest falls off the end
    pauses_seconds = rng.gamma(2.0, 1 / (2 * strokes_hz), count)
    down_seconds = np.cumsum(pauses_seconds)
    up_seconds = down_seconds + rng.uniform(0.06, 0.12, count)
    gains = 10 ** (rng.uniform(-8, 0, count) / 20)
    keys = [
        strike(rng, rate_hz, rng.uniform(0.004, 0.012), bright_hz / 4, bright_hz * 1.5**octave)
        for octave in rng.uniform(-1, 1, 8)
    ]
    starts = np.round(np.concatenate([down_seconds, up_seconds]) * rate_hz).astype(int)
    clicks = scatter(rng, samples, starts, np.concatenate([gains, 0.4 * gains]), keys)
    return with_floor(clicks, coloured(rng, samples, rate_hz, -4), -22)


def machinery(
    rng: np.random.Generator,
    samples: int,
    rate_hz: int,
    rotation_hz: float,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """An engine: band noise that swells with every turn, and the harmonics of its rotation."""
    speed_hz = rotation_hz * (1 + 0.01 * slow(rng, samples, rate_hz, 0.5))
    phase = 2 * np.pi * np.cumsum(speed_hz) / rate_hz
    orders = np.arange(1, 25)
    amplitudes = orders**-0.7 * rng.uniform(0.1, 1, len(orders))
    tone = harmonics(phase, amplitudes, rng.uniform(0, 2 * np.pi, len(orders)))
    swell = 1 + rng.uniform(0.4, 0.9) * np.sin(phase)
    return with_floor(tone, swell * band_noise(rng, samples, rate_hz, low_hz, high_hz), 3)


def wind(
    rng: np.random.Generator, samples: int, rate_hz: int, cutoff_hz: float, gust_hz: float
) -> np.ndarray:
    """Wind in a microphone: low noise in gusts, with a rustle that the strong ones add."""
    gust = np.exp(0.7 * slow(rng, samples, rate_hz, gust_hz))
    rumble = shaped(rng, samples, rate_hz, lambda f: low_pass(f, cutoff_hz) ** 1.5)
    rustle = band_noise(rng, samples, rate_hz, 4 * cutoff_hz, 16 * cutoff_hz)
    return gust * rumble + 0.08 * gust**2 * rustle


def rain(
    rng: np.random.Generator, samples: int, rate_hz: int, drops_hz: float, pitch_hz: float
) -> np.ndarray:
    """Rain: many drops of very different strength on one surface, over the hiss of far ones."""
    count = rng.poisson(drops_hz * samples / rate_hz)
    starts = np.sort(rng.integers(samples, size=count))
    gains = rng.lognormal(0.0, 0.6, count) * rng.choice([-1.0, 1.0], count)
    drops = [
        strike(rng, rate_hz, rng.uniform(0.001, 0.005), 0.7 * centre_hz, 1.4 * centre_hz)
        for centre_hz in pitch_hz * 2 ** rng.uniform(-1, 1, 12)
    ]
    hiss = shaped(rng, samples, rate_hz, lambda f: f / (f + 500) * low_pass(f, 6000))
    return with_floor(scatter(rng, samples, starts, gains, drops), hiss, -6)


def siren(
    rng: np.random.Generator,
    samples: int,
    rate_hz: int,
    shape: str,
    low_hz: float,
    high_hz: float,
    period_seconds: float,
) -> np.ndarray:
    """An alarm whose pitch moves between two frequencies, over the noise of a street.

    The shape of the movement is ``wail`` (a sine), ``yelp`` (a rising ramp), ``two-tone`` (steps)
    or ``beep`` (one pitch, switched on and off).
    """
    turn = (np.arange(samples) / rate_hz / period_seconds + rng.uniform()) % 1
    place = {
        "wail": 0.5 - 0.5 * np.cos(2 * np.pi * turn),
        "yelp": turn,
        "two-tone": (turn < 0.5).astype(float),
        "beep": np.ones(samples),
    }[shape]
    phase = 2 * np.pi * np.cumsum(low_hz * (high_hz / low_hz) ** place) / rate_hz
    amplitudes = rng.uniform(0.5, 1, 4) / np.arange(1, 5)
    sound = harmonics(phase, amplitudes, rng.uniform(0, 2 * np.pi, 4))
    if shape == "beep":
        edge = scipy.signal.windows.hann(round(0.01 * rate_hz))  # no clicks at the edges
        sound *= scipy.signal.oaconvolve((turn < 0.5).astype(float), edge / edge.sum(), "same")
    return with_floor(sound, coloured(rng, samples, rate_hz, -4), -15)


def rows(names: str, *values: tuple) -> list[dict]:
    """Return one dict of parameters for each tuple of values."""
    return [dict(zip(names.split(), row, strict=True)) for row in values]


@dataclass(frozen=True)
class NoiseType:
    """A kind of noise: what makes it, and the parameters of each file."""

    make: Callable[..., np.ndarray]
    train: list[dict]
    test: list[dict]


NOISES = {
    "coloured": NoiseType(
        coloured,
        train=rows("slope_db", (0.0,), (-3.0,), (-6.0,), (-4.5,)),
        test=rows("slope_db", (-2.0,), (-5.0,)),
    ),
    "hum": NoiseType(
        hum,
        train=rows(
            "mains_hz falloff hiss_db",
            *((50, 1.0, -20), (60, 0.7, -15), (50, 0.4, -25), (60, 1.3, -12)),
        ),
        test=rows("mains_hz falloff hiss_db", (60, 0.55, -18), (50, 0.85, -14)),
    ),
    "babble": NoiseType(
        babble,
        train=rows(
            "variants split",
            (CROWD["train"][:4], "train"),
            (CROWD["train"][4:], "train"),
            (CROWD["train"][1:7], "train"),
            (CROWD["train"], "train"),
        ),
        test=rows("variants split", (CROWD["test"][:4], "test"), (CROWD["test"], "test")),
    ),
    "typing": NoiseType(
        typing,
        train=rows("strokes_hz bright_hz", (4, 3000), (7, 4500), (5, 2000), (9, 3500)),
        test=rows("strokes_hz bright_hz", (6, 2500), (8, 4000)),
    ),
    "machinery": NoiseType(
        machinery,
        train=rows(
            "rotation_hz low_hz high_hz",
            *((24, 200, 1500), (41, 400, 3000), (87, 800, 5000), (13, 100, 800)),
        ),
        test=rows("rotation_hz low_hz high_hz", (31, 300, 2200), (63, 150, 4000)),
    ),
    "wind": NoiseType(
        wind,
        train=rows("cutoff_hz gust_hz", (120, 0.4), (250, 0.8), (400, 0.3), (180, 1.5)),
        test=rows("cutoff_hz gust_hz", (300, 0.6), (150, 1.0)),
    ),
    "rain": NoiseType(
        rain,
        train=rows("drops_hz pitch_hz", (300, 2500), (800, 1500), (2500, 3000), (120, 1000)),
        test=rows("drops_hz pitch_hz", (500, 2000), (1500, 3500)),
    ),
    "siren": NoiseType(
        siren,
        train=rows(
            "shape low_hz high_hz period_seconds",
            ("wail", 500, 1400, 4.0),
            ("yelp", 600, 1500, 0.4),
            ("two-tone", 440, 585, 1.2),
            ("beep", 990, 990, 0.5),
        ),
        test=rows(
            "shape low_hz high_hz period_seconds",
            ("wail", 650, 1200, 2.5),
            ("two-tone", 520, 700, 0.9),
        ),
    ),
}


def noise(kind: str, number: int, split: str, seed: int) -> list[Clip]:
    """Return a noise recording; rates and channels take turns, so that the demo meets them all."""
    rng = generator(seed, split, NOISE, 100 * list(NOISES).index(kind) + number)
    rate_hz = NOISE_RATES_HZ[number % 2]
    samples = round(rng.uniform(*NOISE_SECONDS) * rate_hz)
    parameters = getattr(NOISES[kind], split)[number]
    x = NOISES[kind].make(rng, samples, rate_hz, **parameters)
    if number in (1, 2):  # one of each rate
        x = two_microphones(rng, x, rate_hz)
    x = levels.to_int16(x * gain_to(x, rng.uniform(*NOISE_LEVELS_DB)))
    return [Clip(f"noise/noise_{split}/{kind}/{kind}_{number + 1}.flac", x, rate_hz)]


def two_microphones(rng: np.random.Generator, x: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return [samples, 2]: the second microphone hears it up to 0.3 ms later, and softer."""
    later = round(rng.uniform(0, 0.0003) * rate_hz)
    return np.stack([x, rng.uniform(0.5, 0.9) * np.roll(x, later)], axis=1)


# --- the sentences ------------------------------------------------------------------------------


SENTENCES = {
    "train": {
        "en": [
            "The baker opens his shop at six and sells out of rolls before nine.",
            "Could you leave the spare key under the blue flower pot tonight?",
            "My sister plays the cello, although she would rather play the drums.",
            "We missed the last bus, so we walked home through the quiet town.",
            "Please switch off the heater before you lock the garden shed.",
            "A young fox crossed the road and vanished behind the hedge.",
            "The judge asked both sides to speak slowly and without notes.",
            "Fresh thyme and a little lemon make this soup much better.",
            "They have moved the meeting to Thursday because the room was taken.",
            "Why does the washing machine always stop when I am in a hurry?",
            "Her grandfather built that wooden boat with nothing but hand tools.",
            "The museum is closed on Mondays, but the café next door is open.",
            "I think the orange jumper suits you better than the grey one.",
            "Heavy clouds are rolling in, and the wind has begun to turn.",
            "He counted the change twice and put it back into the jar.",
            "The children chased a yellow balloon across the whole playground.",
            "Nobody knew who had written the strange message on the board.",
            "Turn left at the chapel, then follow the river for half a mile.",
            "This chair is older than the house and still hardly creaks.",
            "You should measure the shelf again before you cut the next plank.",
            "The doctor said that a short rest would do him good.",
            "Our neighbours are growing beans and pumpkins on their balcony.",
            "What a pity that the concert was over so early!",
            "She folded the letter carefully and hid it inside the atlas.",
            "Eleven ships were waiting outside the port for the fog to lift.",
            "The teacher drew a huge triangle and asked us to find its area.",
            "I usually have porridge with honey and a few walnuts for breakfast.",
            "His voice was rough, as if he had been shouting all afternoon.",
            "They painted the kitchen ceiling white and the door dark green.",
            "If the shop has no fresh fish, bring some mushrooms instead.",
            "The old engine coughs a few times and then runs very smoothly.",
            "Do you remember the name of that film about the lighthouse?",
            "A thick rope was tied around the oak beside the barn.",
            "We ought to thank everyone who stayed behind to wash the dishes.",
            "The printer has been out of paper since yesterday morning.",
            "Five brave swimmers jumped into the freezing lake at dawn.",
            "Zebras and giraffes were drinking from the same shallow pool.",
            "I would gladly join you, but my train leaves in ten minutes.",
            "The choir rehearses every Wednesday evening in the town hall.",
            "Watch out for the broken step at the top of the stairs.",
            "He boils his eggs for exactly seven minutes, never longer.",
            "The sharp smell of paint was still hanging in the corridor.",
            "Both of my cousins are learning to drive this summer.",
            "There is enough room in the boot for all of our luggage.",
            "Without a map, we would have gone around in circles for hours.",
            "She chose a plain silver ring and had it wrapped as a gift.",
            "The puppy chewed through one shoe and buried the other.",
            "It costs less to repair the roof now than to wait for winter.",
            "A thousand small lights were shining along the harbour wall.",
            "How long will it take you to finish the second chapter?",
            "The farmer gathered his sheep just before the thunder reached us.",
            "Every drawer in this desk is full of string and old batteries.",
            "My uncle swears that he once saw a bear on that path.",
            "Let us share the large pizza and order two small salads.",
            "The pilot apologised for the delay and promised a smooth flight.",
            "You can borrow my umbrella as long as you bring it back.",
            "Few people realise how much work goes into a good puzzle.",
            "The vase slipped from her fingers and smashed on the stone floor.",
            "At noon the square fills with the noise of bells and pigeons.",
            "I have never understood why cats are so fond of cardboard boxes.",
        ],
        "de": [
            "Der Zug nach Hamburg fährt heute leider von einem anderen Gleis.",
            "Kannst du bitte noch Milch und ein halbes Brot mitbringen?",
            "Im Garten blühen schon die ersten gelben Tulpen.",
            "Meine Großmutter erzählt gern Geschichten aus ihrer Jugend.",
            "Wir haben gestern den ganzen Nachmittag am Fluss gesessen.",
            "Die Schlüssel liegen wahrscheinlich wieder unter der Zeitung.",
            "Am Wochenende möchte er endlich das alte Fahrrad reparieren.",
            "Zwischen den Häusern hing dichter, grauer Nebel.",
        ],
        "fr": [
            "Le marché ouvre à huit heures et ferme un peu avant midi.",
            "Pourriez-vous fermer la fenêtre, il commence à faire froid.",
            "Mon frère a oublié son parapluie dans le dernier autobus.",
            "Nous avons mangé une tarte aux pommes près de la rivière.",
            "Les enfants jouent dans la cour depuis le début du matin.",
            "Je cherche un livre sur les oiseaux de la région.",
            "Cette vieille horloge sonne encore toutes les demi-heures.",
            "Vous trouverez du pain frais dans le grand panier.",
        ],
        "es": [
            "La panadería de la esquina abre muy temprano los sábados.",
            "¿Puedes guardar las llaves en el cajón de la cocina?",
            "Mi abuelo plantó este naranjo hace más de treinta años.",
            "Ayer perdimos el tren y volvimos a casa caminando.",
            "Los niños corren por la plaza detrás de una pelota roja.",
            "Quiero arreglar la bicicleta antes de que empiece a llover.",
            "En verano cenamos casi siempre en el jardín.",
            "La lámpara del pasillo se enciende sola por la noche.",
        ],
        "it": [
            "Domani mattina andiamo al mercato a comprare la frutta fresca.",
            "Puoi chiudere la finestra prima di uscire di casa?",
            "Mia zia suona il pianoforte tutte le sere dopo cena.",
            "Il treno per Bologna parte fra dieci minuti dal terzo binario.",
            "I ragazzi hanno dipinto il cancello di un verde molto scuro.",
            "Abbiamo trovato un piccolo ristorante vicino al porto.",
            "Questa strada sale piano fino alla vecchia chiesa.",
            "Qualcuno ha lasciato un ombrello giallo sulla panchina.",
        ],
        "nl": [
            "De bakker op de hoek verkoopt het lekkerste brood van de stad.",
            "Wil jij straks de ramen in de keuken even dichtdoen?",
            "Mijn broer is zijn sleutels alweer in de trein vergeten.",
            "Wij fietsen elke zondag langs de rivier naar het dorp.",
            "De kinderen spelen buiten totdat het donker wordt.",
            "Het oude schip ligt al jaren stil in de haven.",
            "Morgen gaat het waarschijnlijk de hele dag regenen.",
            "Haar opa maakt elke winter een grote pan soep.",
        ],
        "pt": [
            "A padaria da esquina abre bem cedo todos os dias da semana.",
            "Você pode deixar a chave debaixo do vaso azul da varanda?",
            "Meu irmão perdeu o ônibus e voltou para casa a pé.",
            "As crianças brincam na praça até o começo da noite.",
            "Precisamos consertar o telhado antes da próxima chuva forte.",
            "Minha avó guarda as cartas antigas numa caixa de madeira.",
            "O barco pequeno atravessa o rio em menos de dez minutos.",
            "Hoje à tarde vamos plantar feijão atrás da casa.",
        ],
        "sv": [
            "Bageriet vid torget öppnar redan klockan sex på morgonen.",
            "Kan du stänga fönstret innan du går hem i kväll?",
            "Min syster glömde sin gröna väska på det sista tåget.",
            "Vi brukar cykla längs sjön när vädret är vackert.",
            "Barnen leker i trädgården tills det blir mörkt ute.",
            "Den gamla båten ligger fortfarande kvar i hamnen.",
            "På lördag ska han äntligen måla om köket.",
            "Någon har lagt en bukett blommor framför dörren.",
        ],
    },
    "test": {
        "en": [
            "The night porter gave us a torch and two extra blankets.",
            "Have you ever tasted cheese that was made from sheep's milk?",
            "A narrow bridge leads over the gorge to the ruined castle.",
            "She sings in the shower whenever she believes nobody can hear.",
            "The lift is broken again, so bring comfortable shoes.",
            "Our team lost by a single point in the very last second.",
            "Grab a towel, the tide is just right for a quick swim.",
            "He keeps a jar of buttons that belonged to his aunt.",
            "The village school has only nineteen pupils and one piano.",
            "I burnt the first pancake, as I do every single time.",
            "Snow had covered the signs, and we took the wrong turning.",
            "Would you rather have a window seat or one near the aisle?",
            "The plumber found a toy soldier stuck inside the pipe.",
            "They argued for an hour about the colour of the curtains.",
            "An owl was calling somewhere above the frozen orchard.",
            "My watch is four minutes fast, and I like it that way.",
            "The mayor cut the ribbon and forgot what he wanted to say.",
            "Just put the parcels on the bench beside the front door.",
            "Thirsty horses gathered round the trough behind the mill.",
            "We could hear the crowd cheering from the other side of the valley.",
        ],
        "de": [
            "Auf dem Dachboden fanden wir einen Koffer voller Briefe.",
            "Hast du schon gehört, dass die Brücke gesperrt ist?",
            "Der Hund unserer Nachbarn bellt nur, wenn es klingelt.",
            "Zum Frühstück gab es frische Brötchen und Kirschmarmelade.",
            "Nach dem Gewitter roch die Luft nach feuchter Erde.",
            "Sie übt jeden Abend eine Stunde lang Trompete.",
        ],
        "fr": [
            "Le facteur a laissé un gros paquet devant la porte verte.",
            "Est-ce que vous connaissez un bon plombier dans le quartier ?",
            "La neige a bloqué la route du village pendant deux jours.",
            "Ma voisine chante toujours quand elle arrose ses fleurs.",
            "Il faut tourner à gauche juste après le vieux moulin.",
            "Nous prendrons le prochain bateau si le vent se calme.",
        ],
    },
}


# --- the whole ----------------------------------------------------------------------------------


def jobs(seed: int) -> list[Callable[[], list[Clip]]]:
    """Return what is to be made: a call for each voice and each noise file."""
    speakers = [
        partial(speech, voice, split, index, seed)
        for split in SPLITS
        for index, voice in enumerate(VOICES[split])
    ]
    noises = [
        partial(noise, kind, number, split, seed)
        for split in SPLITS
        for kind, noise_type in NOISES.items()
        for number in range(len(getattr(noise_type, split)))
    ]
    return speakers + noises


def clips(seed: int) -> Iterator[Clip]:
    """Make all recordings, in a fixed order."""
    # Threads do: speech comes from other processes, and transforms let go of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for made in pool.map(lambda job: job(), jobs(seed)):
            yield from made


def read_marker(out: Path) -> dict:
    """Return what the marker says was made, or an empty dict."""
    try:
        return json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def is_complete(out: Path, seed: int) -> bool:
    """Return whether the folder holds all files of this version and seed."""
    marker = read_marker(out)
    return (marker.get("version"), marker.get("seed")) == (VERSION, seed) and all(
        (out / path).is_file() for path in marker["files"]
    )


def make(out: Path, seed: int) -> dict:
    """Write all files below a folder, after removing those of an earlier run with other settings.

    Returns:
        what the marker holds: version, seed, minutes by split and kind, and the files.
    """
    for path in read_marker(out).get("files", []):
        (out / path).unlink(missing_ok=True)
    (out / MARKER).unlink(missing_ok=True)
    seconds, files = {}, []
    for clip in clips(seed):
        with replacing(out / clip.path) as temporary:
            soundfile.write(temporary, clip.samples, clip.rate_hz, format="FLAC")
        files.append(clip.path)
        part = clip.path.split("/")[1]
        seconds[part] = seconds.get(part, 0) + clip.seconds
    minutes = {part: round(total / 60, 1) for part, total in seconds.items()}
    marker = {"version": VERSION, "seed": seed, "minutes": minutes, "files": files}
    with replacing(out / MARKER) as temporary:
        temporary.write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return marker


def synthesize(args: argparse.Namespace) -> None:
    """Make what is missing and say in one line what is there."""
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: expected a whole number from 0")
    done = is_complete(args.out_folder, args.seed)
    marker = read_marker(args.out_folder) if done else make(args.out_folder, args.seed)
    minutes = ", ".join(f"{part} {value:.1f} min" for part, value in marker["minutes"].items())
    state = "already complete" if done else "made"
    print(f"{state}: {len(marker['files'])} files, {minutes} -> {args.out_folder}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = console.parser(__doc__, ini=False)
    parser.add_argument("out_folder", type=Path, metavar="OUT_FOLDER", help="receives the files")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    return console.run(synthesize, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
