"""Room impulse responses: measured ones from a folder, and simulated shoebox rooms.

Conventions:
    A response begins with its direct path, which has the gain 1: it delays nothing, and only the
    reflections add to the level.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy  # loads scipy.signal (0.5 s) when it is used

from specmask.audio import io as audio_io
from specmask.audio.io import Rejected
from specmask.errors import UserError, import_failure

EARLY_SECONDS = 0.05  # reflections that belong to the target "early"
IMAGE_SECONDS = 0.1  # of a response from image sources; the tail is diffuse
SEAM_SECONDS = 0.03  # before the tail, in which its level is measured
MARGIN_M = 0.3  # between anything and the walls
SOUND_M_PER_S = 343.0
LOWEST_HZ = 50  # images all have the same sign and would add up to a hum


@dataclass(frozen=True)
class Response:
    """File of room impulse responses, its path relative to the folder."""

    path: str
    channels: int
    digest: str


def scan(folder: Path) -> tuple[list[Response], list[Rejected]]:
    """Find the usable responses of a folder.

    Raises:
        UserError: if the folder is missing or holds nothing usable.
    """
    if not folder.is_dir():
        raise UserError(
            f"[augment] rir_path = {folder}: no such folder; correct the path, or leave it empty "
            "for simulated rooms"
        )
    found, rejected = [], []
    for name in audio_io.files(folder):
        try:
            samples, rate = audio_io.read(folder / name)
            for channel in samples.T:
                trimmed(channel)
        except audio_io.AudioError as error:
            rejected.append(Rejected(f"{folder.name}/{name.as_posix()}", str(error)))
            continue
        digest = hashlib.blake2b(f"{rate}".encode() + samples.tobytes(), digest_size=12)
        found.append(Response(name.as_posix(), samples.shape[1], digest.hexdigest()))
    if not found:
        reason = f", the first: {rejected[0].path}: {rejected[0].reason}" if rejected else ""
        raise UserError(
            f"[augment] rir_path = {folder}: no usable room impulse response{reason}; add some, "
            "or leave it empty for simulated rooms"
        )
    return found, rejected


def read(path: Path, channel: int, rate: int, resampler: str = "soxr") -> np.ndarray:
    """Read one response at a rate in Hz, from its direct path on.

    Raises:
        AudioError: if it cannot be read.
    """
    samples, source_rate = audio_io.read(path)
    return trimmed(audio_io.resample(samples[:, channel], source_rate, rate, resampler))


def trimmed(h: np.ndarray) -> np.ndarray:
    """Cut a response before its direct path, taken to be its largest sample, and make that 1.

    Raises:
        AudioError: if it is empty or silent, or holds NaN or infinite samples.
    """
    if not len(h) or not np.isfinite(h).all() or not h.any():
        raise audio_io.AudioError("no impulse response: empty, silent, NaN or infinite samples")
    direct = int(np.argmax(np.abs(h)))
    return h[direct:].astype(np.float64) / float(h[direct])


def early(h: np.ndarray, rate: int) -> np.ndarray:
    """Return the direct path and the 50 ms after it."""
    return h[: 1 + round(EARLY_SECONDS * rate)]


def draw_positions(
    rng: np.random.Generator, size: Sequence[float], distances: tuple[float, float]
) -> dict:
    """Draw the positions of a microphone, a speaker and a noise in m.

    The speaker is within a range of distances of the microphone, or nearer where a wall is.
    """
    low, high = np.full(3, MARGIN_M), np.asarray(size) - MARGIN_M
    microphone, towards, noise = rng.uniform(low, high, (3, 3))
    direction = (towards - microphone) / math.dist(towards, microphone)
    with np.errstate(divide="ignore"):
        to_walls = np.where(direction > 0, high - microphone, low - microphone) / direction
    distance = min(rng.uniform(*distances), float(to_walls.min()))
    source = microphone + distance * direction
    places = {"microphone": microphone, "source": source, "noise": noise}
    return {name: [round(float(v), 3) for v in where] for name, where in places.items()}


def simulate(
    size: Sequence[float],
    t60: float,
    microphone: Sequence[float],
    source: Sequence[float],
    rate: int,
    seed: int,
) -> np.ndarray:
    """Simulate the response of a shoebox room: images for the first 0.1 s, then diffuse decay.

    The images are those of package pyroomacoustics (Allen and Berkley 1979, Image method for
    efficiently simulating small-room acoustics), with one absorption for all walls, after Eyring
    T60 = 24 ln 10 · V / (−c · S · ln(1 − α)). What follows is Gaussian noise that falls by 60 dB
    in T60 and begins at the level that the images have then: their number grows with the cube of
    the time, and single ones cannot be heard any more. The source is moved by less than sound
    travels in a sample, so that the direct path is at a whole sample.

    Args:
        size: length, width, height in m.
        t60: time in which the sound falls by 60 dB, in seconds.
        microphone, source: in m from one corner.
        rate: in Hz.
        seed: of the diffuse part.

    Raises:
        UserError: if pyroomacoustics is not installed.
    """
    volume = float(np.prod(size))
    surface = 2 * float(size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    absorption = 1 - math.exp(-24 * math.log(10) * volume / (SOUND_M_PER_S * surface * t60))
    distance = math.dist(source, microphone)
    delay = max(1, round(distance / SOUND_M_PER_S * rate))
    line = np.subtract(source, microphone)
    moved = microphone + line * (delay * SOUND_M_PER_S / rate / distance)
    seam = round(IMAGE_SECONDS * rate)
    h = _images(size, absorption, microphone, moved, rate, delay + seam)[delay:]
    h = scipy.signal.sosfilt(scipy.signal.butter(2, LOWEST_HZ, "high", fs=rate, output="sos"), h)
    last = np.arange(seam - round(SEAM_SECONDS * rate), seam)
    decay = 10 ** (-3 * np.arange(max(seam, round(t60 * rate))) / (t60 * rate))
    level = math.sqrt(np.sum(np.square(h[last])) / np.sum(np.square(decay[last])))
    rng = np.random.Generator(np.random.Philox(seed))
    tail = level * decay[seam:] * rng.standard_normal(len(decay) - seam)
    return np.concatenate([h[:seam], tail]) / h[0]


def _images(
    size: Sequence[float],
    absorption: float,
    microphone: Sequence[float],
    source: np.ndarray,
    rate: int,
    samples: int,
) -> np.ndarray:
    """Return the first samples of a response, all images that arrive within them."""
    pra = library()
    pra.constants.set("num_threads", 1)  # several add float32 numbers in another order
    pra.constants.set("rir_hpf_enable", False)  # it rings before the direct path
    # |n_x| + |n_y| + |n_z| of the images within a radius is at most radius · |(1/L_x, ...)|
    radius = samples / rate * SOUND_M_PER_S
    order = math.ceil(radius * math.sqrt(np.sum(1 / np.square(size)))) + 1
    room = pra.ShoeBox(
        np.asarray(size, np.float64), fs=rate, materials=pra.Material(absorption), max_order=order
    )
    room.set_sound_speed(SOUND_M_PER_S)
    room.add_microphone(np.asarray(microphone, float))
    room.add_source(source)
    room.compute_rir()
    lead = pra.constants.get("frac_delay_length") // 2
    return audio_io.fit(room.rir[0][0][lead:].astype(np.float64), samples)


def library() -> ModuleType:
    """Return pyroomacoustics.

    Raises:
        UserError: if it is not installed, or broken.
    """
    try:
        import pyroomacoustics
    except ImportError as error:
        raise UserError(
            "[augment] room_probability: the package pyroomacoustics, for simulated rooms, "
            f"{import_failure(error)}; "
            'pip install ".[rooms]" in the clone, or name a folder of responses with rir_path'
        ) from None
    return pyroomacoustics
