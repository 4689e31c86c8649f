"""Live enhancement on a fake audio device."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import error_db, make_run, white_noise

from specmask.enhancement import enhancer, live
from specmask.errors import UserError


class Device:
    """Hands blocks of a signal to the callback, and keeps what comes back."""

    x = white_noise(8000)

    def __init__(self, callback, blocksize, **options):
        self.callback, self.size, self.options = callback, blocksize, options

    def __enter__(self):
        heard = []
        for start in range(0, len(self.x) - self.size, self.size):
            block = self.x[start : start + self.size, None]
            y = np.full_like(block, np.nan)
            self.callback(block, y, self.size, None, None)
            heard.append(y[:, 0])
        Device.heard = np.concatenate(heard)

    def __exit__(self, *error):
        pass


class PortAudioError(Exception):
    """As in sounddevice: no OSError."""


@pytest.fixture
def device(monkeypatch):
    fake = SimpleNamespace(
        Stream=Device,
        query_devices=lambda *which: "0 Nothing at all",
        PortAudioError=PortAudioError,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_sound_comes_out_late_and_unchanged(identity, device):
    session, out = live.Live(identity), io.StringIO()
    session.run(["b\n", "\n", "b\n", "q\n", "b\n"], out)
    late = np.flatnonzero(Device.heard)[0]
    assert 0 < late <= 0.05 * 8000
    y = Device.heard[late:]
    shift = int(np.argmax([np.dot(y[:999], Device.x[k : k + 999]) for k in range(20)]))
    np.testing.assert_allclose(y, Device.x[shift : shift + len(y)], atol=1e-5)
    assert session.underruns == 0
    assert session.bypass  # switched three times
    assert session.latency_seconds < 0.06


def test_bypass_is_equally_late(tmp_path):
    session = live.Live(enhancer.load(make_run(tmp_path)))
    x = white_noise(4000)
    heard = []
    for start in range(0, 4000, 80):
        if start == 2000:
            session.toggle()
            assert "bypass" in session.meters()
        heard.append(session.process(x[start : start + 80]))
    y = np.concatenate(heard)
    late = session.delay
    np.testing.assert_allclose(y[2400:], x[2400 - late : 4000 - late], atol=1e-5)
    assert np.abs(y[1000:1900] - x[1000 - late : 1900 - late]).max() > 1e-3


def test_meters(identity):
    session = live.Live(identity)
    session.levels = (0.0, -np.inf)
    assert session.meters() == f"in {'#' * 20}  out {'.' * 20}  enhanced"
    session.levels = (-30.0, -60.0)
    assert session.meters().startswith(f"in {'#' * 10 + '.' * 10}  out {'.' * 20}")


@pytest.mark.parametrize(
    ("error", "advice"),
    [(ImportError("no such package"), "pip install sounddevice"), (OSError("PortAudio"), "apt")],
)
def test_missing_packages_are_reported(monkeypatch, error, advice):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise error

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(UserError, match=advice):
        live.devices()


def test_devices(device):
    assert live.devices() == "0 Nothing at all"


def test_without_devices_the_list_says_so(device):
    device.query_devices = lambda *which: ""
    assert live.devices() == "no audio devices"


@pytest.mark.parametrize(
    "error",
    [PortAudioError("Error querying device -1"), ValueError("No input device matching 'x'")],
)
def test_devices_that_cannot_be_opened_are_one_line(identity, device, error):
    def refuse(*arguments, **options):
        raise error

    device.Stream = device.query_devices = refuse
    with pytest.raises(UserError, match=rf"{error}; see python live\.py --devices"):
        live.Live(identity).run(["q\n"], io.StringIO(), ("x", None))


def test_a_device_of_another_rate_is_opened_at_its_own(identity, device):
    def only_12000(samplerate, **options):
        if samplerate != 12000:
            raise PortAudioError("Invalid sample rate")
        return Device(**options)

    device.Stream = only_12000
    device.query_devices = lambda *which: {"default_samplerate": 12000.0}
    session = live.Live(identity)
    session.run(["q\n"], io.StringIO())
    assert (session.rate, session.underruns) == (12000, 0)
    y, x = Device.heard[session.delay :], Device.x
    assert error_db(y[500:-500], x[500 : len(y) - 500]) < -100


@pytest.mark.parametrize("rate", [44100, 48000])
def test_resampled_sound_never_runs_dry(rate):
    session = live.Live(enhancer.load())
    session._start(rate)
    block = np.zeros(session.block, np.float32)
    for _ in range(3000):
        session.process(block)
    assert session.underruns == 0


def test_one_bad_sample_does_not_silence_the_rest(identity):
    session, x = live.Live(identity), white_noise(800)
    x[100] = np.nan
    y = np.concatenate([session.process(x[k : k + 80]) for k in range(0, 800, 80)])
    assert np.isfinite(y).all() and np.abs(y[600:]).max() > 0.01
    assert session.streamer.replaced == 1


def test_a_network_that_is_not_causal_is_refused(tmp_path):
    model = enhancer.load(make_run(tmp_path, "model.bidirectional=yes"))
    with pytest.raises(UserError, match="not causal"):
        live.Live(model)
