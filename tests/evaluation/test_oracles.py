"""The oracle of every target against the target's definition."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT, error_db, hiss, speechlike
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.config import ini, types
from specmask.evaluation import oracles
from specmask.evaluation.metrics import distortion
from specmask.evaluation.oracles import Settings

RATE = 16000
DEFAULT = Settings.from_config(ini.load(ROOT / "config.ini"))
WIDE = replace(DEFAULT, mask_bound=1e9)


def mask(target: str, clean: complex, noisy: complex, settings: Settings = DEFAULT) -> complex:
    """The mask of one bin."""
    s, y = (np.array([[x]], complex) for x in (clean, noisy))
    return oracles.mask(target, s, y, settings)[0, 0]


def sounds(rate: int = RATE, level: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    clean = speechlike(rng, 1, rate)
    return clean, clean + level * hiss(rng, 1, rate)


def run(target: str, noisy, clean, rate: int = RATE, settings: Settings = DEFAULT) -> np.ndarray:
    return oracles.apply(f"oracle_{target}", noisy, clean, rate, settings)


def test_every_target_has_an_oracle():
    assert tuple(f"oracle_{target}" for target in types.TARGETS) == oracles.ORACLES


def test_settings_are_those_of_the_config():
    options = ["stft.n_fft=400", "model.mask_bound=3", "model.binary_threshold_db=5"]
    found = Settings.from_config(ini.load(ROOT / "config.ini", options))
    assert found == Settings(16000, "hann", 400, 160, 400, 3, 5)
    stft = found.transform(16000)
    assert (stft.window_length, stft.hop_length, stft.n_fft) == (400, 160, 400)
    stft = found.transform(8000)
    assert (stft.window_length, stft.hop_length, stft.n_fft) == (200, 80, 200)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("complex", (3 - 4j) * 3 / 25),
        ("sigmoids", (3 + 0j) / (3 + 4j)),
        ("magnitude", 0.6),
        ("ratio", 0.6),
        ("binary", 0),
        ("phase_sensitive", 0.36),
        ("magnitude_mapping", 0.6),
        ("complex_mapping", (3 - 4j) * 3 / 25),
        ("real_mapping", 1),
        ("noise_db", 0.6),
    ],
)
def test_a_bin_by_hand(target, expected):
    """Speech 3 and noise 4j: half of what is there in amplitude, and 53 degrees apart."""
    assert_allclose(mask(target, 3, 3 + 4j), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("target", "clean", "noisy", "expected"),
    [
        ("complex", 1, -0.1j, 2j),  # 10j is too much
        ("sigmoids", -1 + 3j, 1 + 1j, 1j / (1 + 1j)),
        ("magnitude", 5, 1j, 2),
        ("ratio", 2, 1, np.sqrt(0.8)),
        ("phase_sensitive", -1, 1, 0),
        ("phase_sensitive", 5, 1, 1),
        ("magnitude_mapping", 5, 1j, 5),
        ("noise_db", 1e-9, 1, 10 ** (-88 / 20)),
        ("noise_db", 1e9, 1, 10 ** (76 / 20)),
    ],
)
def test_ranges(target, clean, noisy, expected):
    assert_allclose(mask(target, clean, noisy), expected, rtol=1e-6)


@pytest.mark.parametrize("target", types.TARGETS)
def test_silence(target):
    """Nothing comes out where the input is silent, and no division by zero on the way."""
    found = mask(target, 1, 0)
    assert np.isfinite(found) and found * 0 == 0
    assert mask(target, 0, 1) * 1 in (0, 10 ** (-88 / 20))
    clean, _ = sounds()
    assert not run(target, 0 * clean, clean).any()


@given(st.tuples(*[st.floats(-9, 9)] * 4), st.floats(-20, 20), st.sampled_from(["ratio", "binary"]))
def test_shares_of_speech_and_noise_add_up(parts, threshold_db, target):
    """The squared ratio masks of speech and noise have the sum 1, the binary ones themselves."""
    s, n = complex(*parts[:2]), complex(*parts[2:])
    if abs(s) < 1e-6 or abs(n) < 1e-6:
        return
    up, down = (replace(DEFAULT, binary_threshold_db=db) for db in (threshold_db, -threshold_db))
    if target == "ratio":
        assert_allclose(mask("ratio", s, s + n) ** 2 + mask("ratio", n, s + n) ** 2, 1, rtol=1e-9)
    elif abs(20 * np.log10(abs(s) / abs(n)) - threshold_db) > 1e-6:
        assert mask("binary", s, s + n, up) + mask("binary", n, s + n, down) == 1


def test_binary_threshold():
    at = [mask("binary", 2, 3, replace(DEFAULT, binary_threshold_db=db)) for db in (5.9, 6.1)]
    assert at == [1, 0]  # an SNR of 6.02 dB
    noisy = np.random.default_rng(0).standard_normal((5, 7)) + 1j
    assert_array_equal(np.unique(oracles.mask("binary", 0.5 * noisy, noisy, DEFAULT)), [0])
    assert_array_equal(np.unique(oracles.mask("binary", 0.6 * noisy, noisy, DEFAULT)), [1])


@pytest.mark.parametrize("target", ["complex", "complex_mapping"])
def test_without_a_bound_nothing_but_the_clean_speech_comes_out(target):
    clean, noisy = sounds()
    assert error_db(run(target, noisy, clean, settings=WIDE), clean) < -100


def test_magnitudes_are_right_where_the_target_tells_them():
    clean, noisy = (np.random.default_rng(k).standard_normal((2, 4, 9)) for k in range(2))
    clean, noisy = clean[0] + 1j * clean[1], noisy[0] + 1j * noisy[1]
    for target in ("magnitude_mapping", "magnitude", "noise_db"):
        found = oracles.mask(target, clean, noisy, WIDE)
        assert_allclose(np.abs(found * noisy), np.abs(clean), rtol=1e-9)
        assert_allclose(found.imag, 0)  # the phase stays
    found = oracles.mask("real_mapping", clean, noisy, WIDE) * noisy
    assert_allclose(found, clean.real + 1j * noisy.imag)


def test_noise_is_subtracted_in_db():
    noisy, attenuation_db = 2 - 1j, 17.5
    found = mask("noise_db", 10 ** (-attenuation_db / 20) * noisy * 1j, noisy)
    assert_allclose(-20 * np.log10(abs(found)), attenuation_db)


def test_targets_with_more_freedom_get_further():
    clean, noisy = sounds()
    score = {
        target: distortion.si_sdr(clean, run(target, noisy, clean)) for target in types.TARGETS
    }
    before = distortion.si_sdr(clean, noisy)
    assert all(value > before + 2 for value in score.values())
    assert score["binary"] < score["phase_sensitive"] < score["sigmoids"] < score["complex"]
    assert score["complex"] < score["complex_mapping"]
    assert min(score, key=score.get) == "real_mapping"  # the noise's imaginary part is left


@pytest.mark.parametrize("target", types.TARGETS)
@pytest.mark.parametrize("rate", [8000, 44100])
def test_oracles_leave_clean_speech_alone_at_any_rate(target, rate):
    clean, _ = sounds(rate)
    found = run(target, clean, clean, rate)
    assert found.shape == clean.shape and found.dtype == np.float32
    assert distortion.si_sdr(clean, found) > 80
