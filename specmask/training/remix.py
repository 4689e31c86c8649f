"""New mixtures of cached spectra: noise, SNR, level, equalisers and crops drawn anew.

The transform is linear, so any clean spectrum plus any noise spectrum at any gain is the spectrum
of a mixture. Every draw is a function of (seed, epoch, place in the epoch) alone: replicas and
workers draw what one worker would, and a resumed run draws what it would have drawn.
"""

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
class Draw:
    """One example: a crop of a clean file, crops of noises, and their gains.

    Gains are float32 [gains] and [noises, gains]; gains are 1, for all bins, or one per bin.
    """

    item: int
    start: int
    noises: np.ndarray
    noise_starts: np.ndarray
    clean_gain: np.ndarray
    noise_gains: np.ndarray


class Remix:
    """Draws examples from the index of a cache.

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
        self.lendable = np.flatnonzero(index["additive"] & np.isfinite(noise))
        spoken = clean[np.isfinite(clean)]
        # Where there is no speech, noise is as loud as if there were some of the usual level.
        usual = np.median(spoken) if len(spoken) else config.data.speech_level_db
        self.clean_level_db = np.where(np.isfinite(clean), clean, usual)
        # Pairs that are more than a sum, and speech that was asked to be without noise.
        self.keeps_its_noise = ~index["additive"] | ~np.isfinite(noise)

    def draw(self, item: int, frames: int, epoch: int, place: int) -> Draw:
        """Draw the example at a place of an epoch, for a clean item and a number of frames."""
        rng = seeding.generator(self.train.seed, epoch, place)
        start = self._start(rng, item, frames)
        count = self.train.remix_noises
        gain_db = rng.uniform(-self.train.remix_gain_db, self.train.remix_gain_db)
        clean_db = gain_db + self._curve_db(rng)
        if self.keeps_its_noise[item] or not len(self.lendable):
            silent = np.full((count - 1, len(clean_db)), -np.inf)
            noises, starts = np.full(count, item), np.full(count, start)
            noise_db = np.concatenate([clean_db[None], silent])
        else:
            noises = self.lendable[rng.integers(len(self.lendable), size=count)]
            starts = np.array([self._start(rng, int(n), frames) for n in noises])
            shares_db = np.full(count, -np.inf)  # of the noise power
            used = int(rng.integers(1, count + 1))
            shares_db[:used] = 10 * np.log10(rng.dirichlet(np.ones(used)))
            level_db = (
                gain_db + self.clean_level_db[item] - rng.uniform(self.snr_db[0], self.snr_db[1])
            )
            level_db = level_db - self.noise_level_db[noises] + shares_db
            noise_db = level_db[:, None] + np.stack([self._curve_db(rng) for _ in noises])
        if self.train.remix_band_probability:
            band_db = self._band_db(rng)  # of the whole mixture, as a microphone or codec limits it
            clean_db, noise_db = clean_db + band_db, noise_db + band_db
        if self.train.remix_rumble_probability:
            noise_db = noise_db + self._rumble_db(rng)
        clean_gain, noise_gains = (
            (10 ** (db / 20)).astype(np.float32) for db in (clean_db, noise_db)
        )
        return Draw(item, start, noises, starts, clean_gain, noise_gains)

    def plain(self, item: int, frames: int, epoch: int, place: int) -> Draw:
        """Return the item with its own noise at gain 1, cropped where there is a crop length."""
        start = 0
        if frames < self.frames[item]:
            start = self._start(seeding.generator(self.train.seed, epoch, place), item, frames)
        one = np.ones(1, np.float32)
        return Draw(item, start, np.array([item]), np.array([start]), one, one[None])

    def _start(self, rng: np.random.Generator, item: int, frames: int) -> int:
        return int(rng.integers(max(1, self.frames[item] - frames + 1)))

    def _curve_db(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an equaliser: a few cosines over the band, its largest value up to the limit."""
        limit = self.train.remix_tilt_db
        if not limit:
            return np.zeros(1)
        # the first is the tilt
        heights = rng.uniform(-1, 1, CURVE_TERMS) / np.arange(1, CURVE_TERMS + 1)
        curve = self.cosines @ heights
        return curve * rng.uniform(0, limit) / np.abs(curve).max()

    def _rumble_db(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a rise of the low tones of the noise, which ends an octave above its corner."""
        raised = rng.random() < self.train.remix_rumble_probability
        lowest, highest = RUMBLE_HZ
        corner = lowest * (highest / lowest) ** rng.random()
        rise = rng.uniform(0, self.train.remix_rumble_db)
        return raised * rise * np.clip(2 - self.bins_hz / corner, 0, 1)

    def _band_db(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the gain of every bin: 0 dB for all, or only within a band."""
        limited = rng.random() < self.train.remix_band_probability
        low = rng.uniform(0, BAND_LOW_HZ)
        lowest, highest = self.train.remix_band_hz
        high = lowest * (highest / lowest) ** rng.random()  # all octaves alike
        outside = np.maximum(low - self.bins_hz, self.bins_hz - high)
        return limited * BAND_STOP_DB * np.clip(outside / BAND_SLOPE_HZ, 0, 1)
