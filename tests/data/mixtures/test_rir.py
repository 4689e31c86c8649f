"""Room impulse responses: cut at their direct path, and simulated against a slow image source."""

import itertools
import math
import sys

import numpy as np
import pytest
import scipy.signal
from helpers import RATE, error_db, hiss, write_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from specmask.audio import io as audio_io
from specmask.data.mixtures import rir
from specmask.errors import UserError

SIZE, MICROPHONE, SOURCE = [5.1, 4.2, 2.7], [1.3, 1.1, 1.2], [2.6, 2.9, 1.7]


def response(t60: float = 0.4, **changes) -> np.ndarray:
    """A simulated response."""
    values = {
        "size": SIZE, "t60": t60, "microphone": MICROPHONE, "source": SOURCE, "rate": RATE,
        "seed": 1, **changes,
    }  # fmt: skip
    return rir.simulate(**values)


# ---------------------------------------------------------------- measured ones


def test_a_response_begins_with_its_direct_path():
    h = np.zeros(1000)
    h[[298, 300, 1000 - 1]] = 0.1, -0.5, 0.25
    assert_allclose(rir.trimmed(h), [1, *[0] * 698, -0.5])


@pytest.mark.parametrize("h", [[], [0, 0], [1, np.nan], [np.inf, 1]])
def test_invalid_responses_are_refused(h):
    with pytest.raises(audio_io.AudioError, match="no impulse response"):
        rir.trimmed(np.array(h))


def test_early_reflections_are_those_of_50_ms():
    h = np.arange(1, 5001)
    assert_array_equal(rir.early(h, RATE), h[:801])


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_responses_of_any_rate_and_channel(tmp_path, rate):
    """A reflection stays at its time and keeps its level against the direct path."""
    h = np.zeros((rate, 2), np.float32)
    h[rate // 10, 1], h[rate // 10 + rate // 8, 1] = 0.4, -0.2
    h[0, 0] = 1
    write_audio(tmp_path / "h.wav", h, rate, subtype="FLOAT")
    found = rir.read(tmp_path / "h.wav", 1, RATE)
    assert found[0] == 1
    peak = int(np.argmax(np.abs(found[100:]))) + 100
    assert peak == RATE // 8
    assert found[peak] == pytest.approx(-0.5, abs=0.005)


def test_scan_sets_aside_what_is_no_response(tmp_path):
    rng = np.random.default_rng(0)
    write_audio(tmp_path / "hall/b.wav", np.stack([hiss(rng, 0.2)] * 3, 1), 44100)
    write_audio(tmp_path / "a.flac", hiss(rng, 0.01))
    write_audio(tmp_path / "silent.wav", np.zeros(100))
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    found, rejected = rir.scan(tmp_path)
    assert [(r.path, r.channels) for r in found] == [("a.flac", 1), ("hall/b.wav", 3)]
    assert {r.path.rpartition("/")[2] for r in rejected} == {"silent.wav", "broken.wav"}
    assert len({r.digest for r in found}) == 2


def test_folders_without_responses(tmp_path):
    with pytest.raises(UserError, match=r"rir_path = .*no such folder"):
        rir.scan(tmp_path / "none")
    write_audio(tmp_path / "silent.wav", np.zeros(100))
    with pytest.raises(UserError, match=r"rir_path = .*silent\.wav"):
        rir.scan(tmp_path)


# ---------------------------------------------------------------- simulated ones


def slow_images(size, absorption, microphone, source, rate: int, samples: int) -> np.ndarray:
    """The image sources of Allen and Berkley in loops, each a windowed sinc of 81 samples."""
    h = np.zeros(samples + 200)
    reach = samples * 343 / rate
    most = [math.ceil(reach / (2 * side)) + 1 for side in size]
    for cell in itertools.product(*(range(-m, m + 1) for m in most)):
        for mirrored in itertools.product((0, 1), repeat=3):
            image = [2 * n * side + (1 - 2 * u) * s for n, side, u, s in
                     zip(cell, size, mirrored, source, strict=True)]  # fmt: skip
            bounces = sum(abs(n - u) + abs(n) for n, u in zip(cell, mirrored, strict=True))
            distance = math.dist(image, microphone)
            delay = distance * rate / 343
            if delay >= samples + 40:
                continue
            around = np.arange(math.floor(delay) - 40, math.floor(delay) + 41)
            t = around - delay
            pulse = np.sinc(t) * (0.5 + 0.5 * np.cos(np.pi * t / 41))
            kept = around >= 0
            gain = (1 - absorption) ** (bounces / 2) / distance
            h[around[kept]] += gain * pulse[kept]
    return h[:samples]


def test_first_reflections_against_slow_images():
    h = response()
    line = np.subtract(SOURCE, MICROPHONE)
    delay = round(np.linalg.norm(line) / 343 * RATE)
    source = MICROPHONE + line / np.linalg.norm(line) * delay * 343 / RATE
    volume, surface = np.prod(SIZE), 2 * (5.1 * 4.2 + 4.2 * 2.7 + 2.7 * 5.1)
    absorption = 1 - math.exp(-24 * math.log(10) * volume / (343 * surface * 0.4))
    samples = round(0.05 * RATE)
    slow = slow_images(SIZE, absorption, MICROPHONE, source, RATE, delay + samples)[delay:]
    high_pass = scipy.signal.butter(2, 50, "high", fs=RATE, output="sos")
    slow = scipy.signal.sosfilt(high_pass, slow)
    assert error_db(h[:samples], slow / slow[0]) < -30


@pytest.mark.parametrize("t60", [0.35, 0.5, 0.9])
@pytest.mark.parametrize("size", [[3, 3.4, 2.5], [8, 7, 3]])
def test_decay_measured_back(t60, size):
    """Schroeder's backward integration, from -5 to -25 dB."""
    h = response(t60, size=size)
    decay_db = 10 * np.log10(np.cumsum(h[::-1] ** 2)[::-1] / np.sum(h**2))
    used = np.flatnonzero((decay_db < -5) & (decay_db > -25))
    slope = np.polyfit(used / RATE, decay_db[used], 1)[0]
    assert -60 / slope == pytest.approx(t60, rel=0.15)


def test_direct_path_of_a_simulated_room():
    """What is nearer to the microphone has stronger direct sound against its reflections."""
    h = [response(source=[1.3 + d, 1.1, 1.2]) for d in (0.1, 0.3, 1.0, 3.0)]
    assert all(x[0] == 1 for x in h)
    reflected = [np.sum(x[40:] ** 2) for x in h]
    assert reflected == sorted(reflected)
    # the direct path falls by 1/r, the reverberation hardly
    assert 10 * math.log10(reflected[1] / reflected[0]) == pytest.approx(9.5, abs=2)


def test_no_hum():
    """All images have one sign; their sum must not become a long push at 0 Hz."""
    spectrum = np.abs(np.fft.rfft(response(0.6), 1 << 15)) ** 2
    hertz = np.fft.rfftfreq(1 << 15, 1 / RATE)
    assert np.mean(spectrum[hertz < 20]) < np.mean(spectrum[(hertz > 200) & (hertz < 4000)])


def test_the_same_bytes_on_any_number_of_threads():
    first = response()
    rir.library().constants.set("num_threads", 4)
    rir.library().constants.set("rir_hpf_enable", True)
    assert_array_equal(response(), first)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.floats(2, 20), st.floats(2, 20), st.floats(2.4, 3.5)),
    near=st.floats(0.05, 3),
    t60=st.floats(0.05, 2),
)
def test_places_and_responses_of_any_room(seed, size, near, t60):
    rng = np.random.default_rng(seed)
    places = rir.draw_positions(rng, size, (near, near + 1))
    for where in places.values():
        assert all(
            0.3 - 1e-3 <= v <= side - 0.3 + 1e-3 for v, side in zip(where, size, strict=True)
        )
    assert math.dist(places["microphone"], places["source"]) <= near + 1.01
    h = rir.simulate(size, t60, places["microphone"], places["source"], 8000, seed)
    assert h[0] == 1 and np.isfinite(h).all() and len(h) >= 0.1 * 8000


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(UserError, match=r"room_probability.*\[rooms\].*rir_path"):
        response()
