"""New mixtures of cached spectra: noise, SNR, level, equaliser and crop are random.

The transform is linear, so any clean spectrum plus any noise spectrum at any gain is the spectrum
of a mixture. Every draw is a function of (seed, epoch, place in the epoch) alone: replicas and
workers draw what one worker would, and a resumed run draws what it would have drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from specmask.config.schema import Config
from specmask.config.types import BAND_LOW_HZ
from specmask.data import seeding

CURVE_TERMS = 4  # cosines of the equaliser: its bumps are wider than an eighth of the band
BAND_STOP_DB = -80  # gain outside a band; resampling and codecs leave no more
RUMBLE_HZ = 50, 200  # where the rise of low tones begins to end
BAND_SLOPE_HZ = 200  # from the edge to full attenuation; a steeper product of spectra is no filter


@dataclass(frozen=True)
class Draws:
    """Examples: crops of clean files, crops of noises, and their gains.

    Files and first frames are int [rows] and [rows, noises], gains float32 [rows, gains] and
    [rows, noises, gains]; gains are 1, for all bins, or one per bin.
    """

    items: np.ndarray
    starts: np.ndarray
    noises: np.ndarray
    noise_starts: np.ndarray
    clean_gain: np.ndarray
    noise_gains: np.ndarray


class Remix:
    """Draws examples from the index of a cache.

    Each row has a random generator of its own. What is drawn from it in a row is drawn in one call
    and scaled for all rows at once, by the arithmetic of ``Generator.uniform``.

    Args:
        config: its [train] section; SNRs from [data] where it names none.
        index: of a cache, see :data:`specmask.data.stft_cache.INDEX`.
    """

    def __init__(self, config: Config, index: np.ndarray):
        train = config.train
        self.train, self.bins = train, config.bins
        self.bins_hz = np.linspace(0, config.data.sample_rate / 2, config.bins)
        band = np.linspace(0, np.pi, config.bins)
        self.cosines = np.cos(band[:, None] * np.arange(1, CURVE_TERMS + 1))  # [bins, terms]
        self.snr_db = train.remix_snr_db or [config.data.snr_lower, config.data.snr_upper]
        # Columns on their own: reading a field of one record takes several times as long.
        self.frames: list[int] = index["frames"].tolist()
        clean, noise = (index[f"{kind}_level_db"].copy() for kind in ("clean", "noise"))
        self.noise_level_db = noise
        self.lendable: list[int] = np.flatnonzero(index["additive"] & np.isfinite(noise)).tolist()
        spoken = clean[np.isfinite(clean)]
        # Where there is no speech, noise is as loud as if there were some of the usual level.
        usual = np.median(spoken) if len(spoken) else config.data.speech_level_db
        self.clean_level_db = np.where(np.isfinite(clean), clean, usual)
        # Pairs that are more than a sum, and speech that was asked to be without noise.
        self.keeps_its_noise = ~index["additive"] | ~np.isfinite(noise)

    def draw(self, items: np.ndarray, frames: int, epoch: int, places: Iterable[int]) -> Draws:
        """Draw the examples at places of an epoch, for clean items and a number of frames."""
        train = self.train
        rows, count = len(items), train.remix_noises
        curve = 1 + CURVE_TERMS if train.remix_tilt_db else 0  # numbers that one takes
        band = 3 if train.remix_band_probability else 0
        rumble = 3 if train.remix_rumble_probability else 0
        starts = np.empty(rows, int)
        noises, noise_starts = np.empty((2, rows, count), int)
        shares = np.zeros((rows, count))  # of the noise power
        first = np.empty((rows, 1 + curve))  # gain and curve of the speech
        second = np.zeros((rows, 1 + count * curve))  # SNR and curves of the noises
        third = np.empty((rows, band + rumble))
        kept = self.keeps_its_noise[items] | (not self.lendable)
        for row, (item, place) in enumerate(zip(items.tolist(), places, strict=True)):
            rng = seeding.generator(train.seed, epoch, place)
            starts[row] = start = self._start(rng, item, frames)
            rng.random(out=first[row])
            if kept[row]:
                noises[row], noise_starts[row] = item, start
                rng.random(out=third[row])
                continue
            some = [self.lendable[rng.integers(len(self.lendable))] for _ in range(count)]
            noises[row] = some
            noise_starts[row] = [self._start(rng, noise, frames) for noise in some]
            used = int(rng.integers(1, count + 1))
            # the bits of rng.dirichlet(np.ones(used)), which takes twice as long
            powers = rng.standard_exponential(used)
            shares[row, :used] = powers * (1 / powers.cumsum()[-1])
            rng.random(out=second[row])
            rng.random(out=third[row])

        gain_db = _between(first[:, 0], -train.remix_gain_db, train.remix_gain_db)
        clean_db = gain_db[:, None] + self._curves_db(first[:, None, 1:])[:, 0]
        clean_level_db = self.clean_level_db[items]
        gain_db, snr_db = (
            x.astype(clean_level_db.dtype) for x in (gain_db, _between(second[:, 0], *self.snr_db))
        )
        with np.errstate(divide="ignore", invalid="ignore"):  # noises that are not used, rows kept
            level_db = (gain_db + clean_level_db - snr_db)[:, None] - self.noise_level_db[noises]
            level_db = level_db + 10 * np.log10(shares)
        curves_db = self._curves_db(second[:, 1:].reshape(rows, count, curve))
        noise_db = level_db[..., None] + curves_db
        noise_db[kept, 0], noise_db[kept, 1:] = clean_db[kept], -np.inf
        if band:
            # of the whole mixture, as a microphone or codec limits it
            band_db = self._band_db(third[:, :band])
            clean_db, noise_db = clean_db + band_db, noise_db + band_db[:, None]
        if rumble:
            rumble_db = np.where(kept[:, None], 0, self._rumble_db(third[:, band:]))
            noise_db = noise_db + rumble_db[:, None]
        clean_gain, noise_gains = (
            (10 ** (db / 20)).astype(np.float32) for db in (clean_db, noise_db)
        )
        return Draws(items, starts, noises, noise_starts, clean_gain, noise_gains)

    def plain(self, items: np.ndarray, frames: int, epoch: int, places: Iterable[int]) -> Draws:
        """Return the items with their own noise at gain 1, cropped where there is a crop length."""
        starts = np.zeros(len(items), int)
        for row, (item, place) in enumerate(zip(items.tolist(), places, strict=True)):
            if frames < self.frames[item]:
                rng = seeding.generator(self.train.seed, epoch, place)
                starts[row] = self._start(rng, item, frames)
        ones = np.ones((len(items), 1), np.float32)
        return Draws(items, starts, items[:, None], starts[:, None], ones, ones[:, None])

    def _start(self, rng: np.random.Generator, item: int, frames: int) -> int:
        return int(rng.integers(max(1, self.frames[item] - frames + 1)))

    def _curves_db(self, numbers: np.ndarray) -> np.ndarray:
        """Return equalisers [rows, curves, gains]: a few cosines over the band, up to the limit.

        Args:
            numbers: from 0 to 1 [rows, curves, terms + 1]: heights of the cosines, largest value.
        """
        limit = self.train.remix_tilt_db
        if not limit:
            return np.zeros((*numbers.shape[:2], 1))
        # the first is the tilt
        heights = _between(numbers[..., :-1], -1, 1) / np.arange(1, CURVE_TERMS + 1)
        curves = np.matmul(self.cosines, heights[..., None])[..., 0]
        largest = np.abs(curves).max(axis=-1, keepdims=True)
        return curves * _between(numbers[..., -1:], 0, limit) / largest

    def _rumble_db(self, numbers: np.ndarray) -> np.ndarray:
        """Return rises of low tones of the noise [rows, bins], which end an octave above a corner.

        Args:
            numbers: from 0 to 1 [rows, 3]: whether there is one, its corner, its height.
        """
        raised = numbers[:, 0] < self.train.remix_rumble_probability
        corner = _octaves(numbers[:, 1], *RUMBLE_HZ)
        rise = raised * _between(numbers[:, 2], 0, self.train.remix_rumble_db)
        return rise[:, None] * np.clip(2 - self.bins_hz / corner[:, None], 0, 1)

    def _band_db(self, numbers: np.ndarray) -> np.ndarray:
        """Return the gain of every bin [rows, bins]: 0 dB for all, or only within a band.

        Args:
            numbers: from 0 to 1 [rows, 3]: whether there is a band, its lower and its upper edge.
        """
        limited = numbers[:, 0] < self.train.remix_band_probability
        low = _between(numbers[:, 1], 0, BAND_LOW_HZ)
        high = _octaves(numbers[:, 2], *self.train.remix_band_hz)
        outside = np.maximum(low[:, None] - self.bins_hz, self.bins_hz - high[:, None])
        return limited[:, None] * BAND_STOP_DB * np.clip(outside / BAND_SLOPE_HZ, 0, 1)


def _between(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return numbers from 0 to 1 between two limits, as Generator.uniform does."""
    return low + (high - low) * numbers


def _octaves(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return frequencies between two, all octaves alike, for numbers [rows] from 0 to 1."""
    # one by one: NumPy's power of an array may round otherwise
    return np.array([low * (high / low) ** x for x in numbers.tolist()])
