"""The STFT against the definition of the DFT and loops, and its inverse against the signal."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from helpers import ROOT, error_db
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.audio.stft import Stft, forward, inverse, overlap_add
from specmask.config import ini
from specmask.errors import UserError

WINDOWS = ("hann", "hamming", "blackman", "cosine", "boxcar")
DEFAULT = Stft("hann", 400, 160, 512)


def slow_window(name: str, length: int) -> np.ndarray:
    """The periodic windows by their textbook formulas, float64."""
    phase = 2 * np.pi * np.arange(length) / length
    if name == "hann":
        return 0.5 - 0.5 * np.cos(phase)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(phase)
    if name == "blackman":
        return 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)
    return np.ones(length) if name == "boxcar" else np.sqrt(0.5 - 0.5 * np.cos(phase))


def slow_forward(x: np.ndarray, stft: Stft) -> np.ndarray:
    """The transform as the module describes it, frame by frame with the DFT's definition."""
    length, hop, n_fft = stft.window_length, stft.hop_length, stft.n_fft
    pad = length - hop
    window = slow_window(stft.window_type, length)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft)
    padded = np.concatenate([np.zeros(pad), x, np.zeros(pad + hop)])
    out, start = [], 0
    while start < pad + len(x):  # every frame that holds a sample
        frame = np.zeros(n_fft)
        piece = padded[start : start + length]
        frame[: len(piece)] = piece * window[: len(piece)]
        out.append(dft @ frame)
        start += hop
    return np.array(out)


def slow_overlap_add(spectrum: np.ndarray, stft: Stft) -> np.ndarray:
    """Weighted overlap-add, sample by sample: Σ w·frame / Σ w²."""
    length, hop, n_fft = stft.window_length, stft.hop_length, stft.n_fft
    window = slow_window(stft.window_type, length)
    total = (len(spectrum) - 1) * hop + length
    above, below = np.zeros(total), np.zeros(total)
    for t, row in enumerate(spectrum):
        mirrored = row[1 : (n_fft + 1) // 2][::-1].conj()
        whole = np.concatenate([row, mirrored])
        frame = np.fft.ifft(whole).real
        for k in range(length):
            above[t * hop + k] += window[k] * frame[k]
            below[t * hop + k] += window[k] ** 2
    return above / np.maximum(below, 1e-12)


@st.composite
def transforms(draw: st.DrawFn, longest: int = 600) -> Stft:
    """Draw a transform that can be inverted, as the configuration would accept it."""
    length = draw(st.integers(2, longest))
    hop = draw(st.integers(1, length))
    n_fft = draw(st.integers(length, 2 * length))
    kind = draw(st.sampled_from(WINDOWS))
    while not Stft(kind, length, hop, n_fft).is_invertible():
        hop -= 1
    return Stft(kind, length, hop, n_fft)


@st.composite
def signals(draw: st.DrawFn, longest: int = 3000) -> np.ndarray:
    """Draw a signal of at least one sample: noise, single samples, loud or quiet ends."""
    samples = draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    x = rng.standard_normal(samples)
    kind = draw(st.sampled_from(("noise", "first", "last", "one", "constant", "fading")))
    if kind in ("first", "last", "one"):
        place = {"first": 0, "last": samples - 1, "one": int(rng.integers(samples))}[kind]
        x = np.zeros(samples)
        x[place] = 1
    elif kind == "constant":
        x = np.ones(samples)
    elif kind == "fading":
        x = x * np.logspace(0, -3, samples)
    return (x * 10 ** draw(st.floats(-4, 4))).astype(np.float32)


# ---------------------------------------------------------------- against slow references


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_those_of_scipy_and_of_the_textbook(window):
    for length in (2, 63, 64, 400, 512, 1200):
        found = Stft(window, length, 1, length).window
        assert_allclose(found, slow_window(window, length), atol=1e-6)
        if window == "cosine":  # scipy's window of this name is another one
            scipys = np.sqrt(scipy.signal.get_window("hann", length))
        else:
            scipys = scipy.signal.get_window(window, length)
        assert_array_equal(found, scipys.astype(np.float32))


@settings(max_examples=30)
@given(stft=transforms(longest=48), x=signals(longest=150))
def test_forward_is_the_dft_of_windowed_frames(stft, x):
    found = forward(x, stft)
    expected = slow_forward(x.astype(np.float64), stft)
    assert found.dtype == np.complex64
    assert found.shape == expected.shape == (stft.frames(len(x)), stft.bins)
    error = np.abs(found - expected).max()
    assert error < 2e-6 * max(np.abs(expected).max(), np.abs(x).max())


def test_forward_of_the_default_transform():
    x = np.random.default_rng(0).standard_normal(1234).astype(np.float32)
    found, expected = forward(x, DEFAULT), slow_forward(x, DEFAULT)
    pairs = [np.stack([s.real, s.imag]) for s in (found, expected)]
    assert error_db(*pairs) < -120


@settings(max_examples=25)
@given(stft=transforms(longest=40), frames=st.integers(1, 8), seed=st.integers(0, 99))
def test_overlap_add_is_the_loop(stft, frames, seed):
    rng = np.random.default_rng(seed)
    shape = (frames, stft.bins)
    spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    spectrum[:, 0] = spectrum[:, 0].real
    if stft.n_fft % 2 == 0:
        spectrum[:, -1] = spectrum[:, -1].real
    found = overlap_add(spectrum.astype(np.complex64), stft)
    expected = slow_overlap_add(spectrum, stft)
    assert found.shape == expected.shape and found.dtype == np.float32
    inside = slice(stft.pad, len(found) - stft.pad)  # all windows have met there
    assert_allclose(found[inside], expected[inside], atol=2e-5 * np.abs(expected).max() + 1e-6)


# ---------------------------------------------------------------- round trip


@settings(max_examples=150)
@given(stft=transforms(), x=signals(longest=1500))
@example(DEFAULT, np.ones(1, np.float32))
@example(Stft("boxcar", 400, 400, 512), np.ones(1, np.float32))
@example(Stft("blackman", 2, 1, 2), np.ones(1, np.float32))
@example(Stft("boxcar", 612, 1, 847), np.ones(1, np.float32))
@example(Stft("hann", 4096, 1000, 65536), np.linspace(-1, 1, 5000).astype(np.float32))
def test_inverse_of_forward_is_the_signal(stft, x):
    y = inverse(forward(x, stft), len(x), stft)
    assert y.shape == x.shape and y.dtype == np.float32
    assert error_db(y, x) < -120


@pytest.mark.parametrize("window", WINDOWS)
def test_every_sample_comes_back_at_the_largest_hop(window):
    """At the limit of what is accepted, single samples anywhere come back as well as noise."""
    hop = next(h for h in range(400, 0, -1) if Stft(window, 400, h, 512).is_invertible())
    stft = Stft(window, 400, hop, 512)
    x = np.random.default_rng(0).uniform(0.5, 1, 3000).astype(np.float32)
    y = inverse(forward(x, stft), len(x), stft)
    assert np.abs(y - x).max() < 1e-5
    single = np.eye(3 * hop, dtype=np.float32)
    assert_allclose(inverse(forward(single, stft), 3 * hop, stft), single,
                    atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("shape", [(3000,), (2, 3000), (2, 3, 500), (4, 1)])
def test_leading_axes(shape):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    spectrum = forward(x, DEFAULT)
    assert spectrum.shape == (*shape[:-1], DEFAULT.frames(shape[-1]), 257)
    assert_allclose(inverse(spectrum, shape[-1], DEFAULT), x, atol=1e-5)
    for place in np.ndindex(shape[:-1]):
        alone = forward(x[place], DEFAULT)
        assert_allclose(spectrum[place], alone, atol=1e-5)


@settings(max_examples=50)
@given(stft=transforms(), samples=st.integers(1, 2000))
def test_frames_need_no_later_audio_than_they_say(stft, samples):
    """Frame t ends with sample (t + 1)·hop - 1, and there are no more frames than needed."""
    rng = np.random.default_rng(samples)
    x = rng.standard_normal(samples).astype(np.float32)
    whole = forward(x, stft)
    frame = int(rng.integers(len(whole)))
    end = (frame + 1) * stft.hop_length
    changed = x.copy()
    changed[end:] = 7
    assert_array_equal(forward(changed, stft)[: frame + 1], whole[: frame + 1])
    assert (stft.frames(samples) - 1) * stft.hop_length < samples + stft.pad
    assert stft.frames(samples) * stft.hop_length >= samples + stft.pad


def test_the_transform_is_linear():
    """The cache counts on it: the noisy spectrum is that of clean plus that of noise."""
    rng = np.random.default_rng(2)
    clean, noise = rng.uniform(-0.5, 0.5, (2, 16000)).astype(np.float32)
    total = forward(clean, DEFAULT) + forward(noise, DEFAULT)
    assert np.abs(total - forward(clean + noise, DEFAULT)).max() < 1e-4


def test_tone_and_constant():
    """A sine in the middle of a bin has half the window's sum there; a constant the whole one."""
    t = np.arange(8000)
    stft = Stft("hann", 512, 128, 512)
    spectrum = np.abs(forward(np.sin(2 * np.pi * 32 * t / 512).astype(np.float32), stft))
    middle = spectrum[len(spectrum) // 2]
    assert np.argmax(middle) == 32
    assert middle[32] == pytest.approx(512 / 4, rel=1e-4)
    assert middle[31] == pytest.approx(512 / 8, rel=1e-3)
    assert middle[40] < 1e-3
    constant = np.abs(forward(np.ones(8000, np.float32), stft))
    assert constant[len(constant) // 2, 0] == pytest.approx(256, rel=1e-5)


# ---------------------------------------------------------------- what is refused


def configured(window: str, length: int, hop: int, rate: int, path: Path = ROOT / "config.ini"):
    """Return the transform of a configuration given in samples."""
    return Stft.from_config(
        ini.load(
            path,
            [
                f"STFT.window_type={window}",
                f"STFT.window_length={length / rate!r}",
                f"STFT.hop_size={hop / rate!r}",
                f"STFT.n_fft={max(length, 512)}",
                f"data.sample_rate={rate}",
            ],
        )
    )


@settings(max_examples=50)
@given(
    window=st.sampled_from(WINDOWS),
    rate=st.sampled_from((8000, 16000, 44100, 192000)),
    length=st.integers(2, 1200),
    part=st.floats(0.01, 1),
)
@example("hann", 16000, 400, 1.0)
@example("blackman", 16000, 400, 0.7)
@example("hann", 192000, 6000, 1.0)
def test_pairs_without_an_inverse_are_refused_with_the_largest_hop(window, rate, length, part):
    hop = max(1, round(part * length))
    squared = slow_window(window, length) ** 2
    overlap = [squared[k::hop].sum() for k in range(hop)]
    ratio = min(overlap) / max(overlap)
    if abs(ratio - 0.01) < 1e-4:
        return  # too close to the limit for this reference
    if ratio > 0.01:
        assert configured(window, length, hop, rate).hop_length == hop
        return
    with pytest.raises(UserError, match="cannot be inverted") as caught:
        configured(window, length, hop, rate)
    message = str(caught.value)
    largest = int(message.partition("works is ")[2].split()[0])
    advised = float(message.rpartition("hop_size = ")[2])
    assert 1 <= largest < hop
    assert round(advised * rate) == largest
    assert configured(window, length, largest, rate).hop_length == largest
    with pytest.raises(UserError):
        configured(window, length, largest + 1, rate)


def test_default_configuration():
    assert Stft.from_config(ini.load(ROOT / "config.ini")) == DEFAULT
    assert (DEFAULT.bins, DEFAULT.pad, DEFAULT.frames(48000)) == (257, 240, 302)
