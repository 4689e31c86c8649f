"""Effects on signals: speed, pitch, equaliser, band limit, clipping, codecs; synthetic noise.

Conventions:
    Pure functions of (signal, rate, parameters). Signals are ``[samples]``, rates in Hz. The
    result has the length of the input unless said otherwise and is not delayed against it.
    The same input gives the same bytes on any number of threads: convolutions go by scipy.fft,
    never by BLAS.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
import scipy  # loads scipy.signal (0.5 s) when it is used
import soundfile as sf
import soxr

from specmask.audio.io import fit, resample

WSOLA_SECONDS = 0.03  # length of a window
WSOLA_SEARCH_SECONDS = 0.008  # half a period of the lowest voices, either way
FIR_SECONDS = 0.03  # half the length of the band filter: edges of about 100 Hz
LOWEST_HZ = 20  # below it the spectrum of coloured noise is flat
IMPACTS_PER_SECOND = 0.3, 3.0  # of doors, steps, dishes
IMPACT_T60_SECONDS = 0.05, 1.5
IMPACT_COLOURS = -4.0, 0.5  # exponents of the power spectrum, see coloured
SWITCH_SECONDS = 0.3, 2.0  # that a machine runs or rests
SWITCH_RAMP_SECONDS = 0.003, 0.15
BLOCK_SECONDS = 1.0  # of a block for an encoder

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# Container, subtype and the rates that the format knows (none: any).
CODECS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "mp3": ("MP3", "MPEG_LAYER_III", MP3_RATES),
    "opus": ("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "vorbis": ("OGG", "VORBIS", ()),
}
MP3_DELAY = 528 + 1 + 576  # of decoder and encoder, where the file does not name it


# ---------------------------------------------------------------- speed and pitch


def speed(x: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """Play a signal faster: y(t) = x(factor · t), which raises the pitch too.

    Returns:
        float32 of about len(x) / factor samples.

    >>> len(speed(np.zeros(16000, np.float32), 16000, 1.25))
    12800
    """
    if factor == 1 or not len(x):
        return x
    return soxr.resample(x.astype(np.float32, copy=False), factor * rate, rate, quality="HQ")


def pitch(x: np.ndarray, rate: int, semitones: float) -> np.ndarray:
    """Raise the pitch by 2^(semitones / 12) at the same speed: stretch, then play faster."""
    factor = 2 ** (semitones / 12)
    if factor == 1:
        return x
    stretched = stretch(x, rate, math.ceil(len(x) * factor))
    return fit(speed(stretched, rate, factor), len(x))


def stretch(x: np.ndarray, rate: int, length: int) -> np.ndarray:
    """Change the duration of a signal and not its pitch, by WSOLA.

    Windows are added at even steps. Each is taken near its nominal position, where it is most
    similar to the continuation of the window before: Verhelst and Roelands 1993, An overlap-add
    technique based on waveform similarity (WSOLA) for high quality time-scale modification of
    speech.

    Differs from the paper: the similarity is the plain cross-correlation by FFT.

    Returns:
        float32 [length].
    """
    half = max(2, round(WSOLA_SECONDS * rate / 2))
    search = max(1, round(WSOLA_SEARCH_SECONDS * rate))
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * half) / half)  # adds up to 1 at steps of half
    count = -(-length // half) + 1
    step = len(x) / max(1, length)  # input samples per output sample
    padded = np.zeros(len(x) + 6 * half + 2 * search)
    start = half + search  # of x in padded
    padded[start : start + len(x)] = x
    out = np.zeros((count + 1) * half)
    size = scipy.fft.next_fast_len(2 * half + 2 * search, real=True)
    position = start - half
    for k in range(count):
        nominal = start - half + round(k * half * step)
        nominal = min(nominal, len(padded) - 2 * half - search)
        if k:
            continuation = padded[position + half : position + 3 * half]
            nearby = padded[nominal - search : nominal + search + 2 * half]
            spectrum = scipy.fft.rfft(nearby, size) * np.conj(scipy.fft.rfft(continuation, size))
            similarity = scipy.fft.irfft(spectrum, size)[: 2 * search + 1]
            position = nominal - search + int(np.argmax(similarity))
        position = min(position, len(padded) - 3 * half)
        out[k * half : (k + 2) * half] += window * padded[position : position + 2 * half]
    return out[half : half + length].astype(np.float32)


# ---------------------------------------------------------------- linear filters


def equalise(x: np.ndarray, rate: int, filters: Sequence[Sequence]) -> np.ndarray:
    """Apply biquads one after the other.

    Args:
        x: [samples].
        rate: in Hz.
        filters: (kind, frequency in Hz, gain in dB, q), kind any of low, peak, high: a low shelf,
            a peak, a high shelf of R. Bristow-Johnson, Cookbook formulae for audio EQ biquad
            filter coefficients.
    """
    sections = [biquad(kind, hertz, gain_db, q, rate) for kind, hertz, gain_db, q in filters]
    return scipy.signal.sosfilt(np.array(sections), x.astype(np.float64))


def biquad(kind: str, hertz: float, gain_db: float, q: float, rate: int) -> list[float]:
    """Return b0, b1, b2, 1, a1, a2 of a filter; see :func:`equalise`."""
    a = 10 ** (gain_db / 40)
    omega = 2 * math.pi * hertz / rate
    cosine, alpha = math.cos(omega), math.sin(omega) / (2 * q)
    if kind == "peak":
        b = 1 + alpha * a, -2 * cosine, 1 - alpha * a
        d = 1 + alpha / a, -2 * cosine, 1 - alpha / a
    else:
        c = cosine if kind == "low" else -cosine
        sign = 1 if kind == "low" else -1
        root = 2 * math.sqrt(a) * alpha
        b = (
            a * (a + 1 - (a - 1) * c + root),
            sign * 2 * a * (a - 1 - (a + 1) * c),
            a * (a + 1 - (a - 1) * c - root),
        )
        d = (
            a + 1 + (a - 1) * c + root,
            sign * -2 * (a - 1 + (a + 1) * c),
            a + 1 + (a - 1) * c - root,
        )
    return [v / d[0] for v in (*b, *d)]


def band_limit(x: np.ndarray, rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Keep a band only: a symmetric FIR filter (Hamming), its delay removed.

    An edge below 20 Hz, or one within 2 % of half the rate, has no effect.
    """
    low = low_hz if low_hz >= LOWEST_HZ else None
    high = high_hz if high_hz < 0.98 * rate / 2 else None
    if low is None and high is None:
        return x
    edges = [v for v in (low, high) if v is not None]
    half = math.ceil(FIR_SECONDS * rate)
    taps = scipy.signal.firwin(2 * half + 1, edges, pass_zero=low is None, fs=rate)
    return convolve(x, taps)[half : half + len(x)]


def convolve(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Return the convolution in float64, all of its len(x) + len(h) - 1 samples."""
    return scipy.signal.oaconvolve(x.astype(np.float64), h.astype(np.float64))


# ---------------------------------------------------------------- beyond linear filters


def clip(x: np.ndarray, share: float) -> np.ndarray:
    """Clip this share of the samples of a signal, 0 < share <= 1.

    >>> clip(np.array([0.1, -0.5, 0.3, 0.9]), 0.5).tolist()
    [0.1, -0.5, 0.3, 0.5]
    """
    count = max(1, round(share * len(x)))
    limit = np.partition(np.abs(x), len(x) - count)[len(x) - count]
    return np.clip(x, -limit, limit) if limit > 0 else x


def codec(x: np.ndarray, rate: int, name: str, quality: float) -> np.ndarray:
    """Encode and decode a signal by libsndfile, without the codec's delay.

    Where the format does not know the rate, the signal is resampled to the next higher one that
    it knows, and back.

    Args:
        x: [samples], full scale 1.
        rate: in Hz.
        name: any of :data:`CODECS`.
        quality: 1 minus libsndfile's compression level, 0.01 to 1.
    """
    container, subtype, rates = CODECS[name]
    coded_rate = min((r for r in rates if r >= rate), default=max(rates, default=rate))
    encoded = resample(x.astype(np.float32), rate, coded_rate)
    options = {"bitrate_mode": "CONSTANT"} if name == "mp3" else {}
    memory = io.BytesIO()
    with sf.SoundFile(
        memory, "w", coded_rate, 1, subtype, format=container,
        compression_level=1 - quality, **options,
    ) as file:  # fmt: skip
        block = round(BLOCK_SECONDS * coded_rate)  # libsndfile's Vorbis cannot take much at once
        for start in range(0, len(encoded), block):
            file.write(encoded[start : start + block])
    memory.seek(0)
    decoded, _ = sf.read(memory, dtype="float32")
    if name == "mp3" and len(decoded) > len(encoded):  # frames too small to hold the delay
        decoded = decoded[MP3_DELAY:]
    decoded = fit(decoded, len(encoded))
    return fit(resample(decoded, coded_rate, rate), len(x))


# ---------------------------------------------------------------- synthetic sounds


def coloured(samples: int, rate: int, exponent: float, seed: int) -> np.ndarray:
    """Gaussian noise with a power spectrum ∝ f^exponent: -2 brown, -1 pink, 0 white, 2 violet.

    That is 3.01 dB · exponent per octave; below 20 Hz it is flat.

    Returns:
        float64 [samples] of power 1.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    spectrum = scipy.fft.rfft(rng.standard_normal(samples))
    hertz = np.maximum(scipy.fft.rfftfreq(samples, 1 / rate), LOWEST_HZ)
    x = scipy.fft.irfft(spectrum * (hertz / LOWEST_HZ) ** (exponent / 2), samples)
    return x / np.sqrt(np.sum(np.square(x)) / samples)


def impacts(samples: int, rate: int, seed: int) -> np.ndarray:
    """Impacts at random times: coloured noise that sets in at once and decays, as slams and steps.

    Each has its own level, colour and decay; the first one begins in the first half.

    Returns:
        float64 [samples] of power about 1.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    count = 1 + rng.poisson(rng.uniform(*IMPACTS_PER_SECOND) * samples / rate)
    starts = rng.integers(samples, size=count)
    starts[0] = rng.integers(max(1, samples // 2))
    x = np.zeros(samples)
    for start in starts:
        t60 = math.exp(rng.uniform(*np.log(IMPACT_T60_SECONDS)))
        length = min(samples - start, max(2, math.ceil(t60 * rate)))
        impact = coloured(length, rate, rng.uniform(*IMPACT_COLOURS), int(rng.integers(2**32)))
        decay = 10 ** (-3 * np.arange(length) / (t60 * rate))
        x[start : start + length] += 10 ** (rng.uniform(-12, 0) / 20) * decay * impact
    return x / np.sqrt(np.sum(np.square(x)) / samples)


def switched(x: np.ndarray, rate: int, seed: int) -> np.ndarray:
    """A sound that stops and starts again at random times, as machines do; it runs at first or not.

    Between, it is silent.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    times, on = [0.0], bool(rng.integers(2))
    while times[-1] < len(x):
        times.append(times[-1] + rate * rng.uniform(*SWITCH_SECONDS))
    times[1] = min(times[1], len(x) / 2)  # it is heard at some time
    ramp = rate * math.exp(rng.uniform(*np.log(SWITCH_RAMP_SECONDS)))
    at: list[float] = []
    values: list[float] = []
    for k, time in enumerate(times):
        level = float(on == (k % 2 == 0))
        at += [time, max(time + min(ramp, 0.2 * rate), time + 1)]
        values += [values[-1] if values else level, level]
    return x * np.interp(np.arange(len(x)), at, values)
