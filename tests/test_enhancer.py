"""Enhancement: aligned, exact in length, the same in blocks and in one piece."""

import keras
import numpy as np
import project
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specmask
from specmask import audio, cache, checkpoint, config, enhancer, models, spectral


def make_run(folder, *options: str, identity: bool = False):
    """Write a run with random weights, or with weights whose mask is one everywhere."""
    ini = project.make(folder)
    cfg = config.load(ini, list(options))
    keras.utils.set_random_seed(0)
    network = models.build(cfg)
    if identity:
        # raw + 1 = r with bound · tanh(r / bound) = 1
        bound = cfg.model.mask_bound
        *_, kernel, bias = network.model.trainable_variables
        kernel.assign(np.zeros(kernel.shape))
        real = np.full(cfg.bins, bound * np.arctanh(1 / bound) - 1)
        bias.assign(np.concatenate([real, np.zeros(cfg.bins)]))
    run = folder / "cp" / "run"
    run.mkdir(parents=True)
    (run / "config.ini").write_text(config.render(cfg), encoding="utf-8")
    checkpoint.save(run / "best.npz", {"model": network.model.variables}, {})
    return run


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    return enhancer.load(make_run(tmp_path_factory.mktemp("causal")))


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("windowed"), "model.bidirectional=yes")
    return enhancer.load(run)


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return enhancer.load(make_run(tmp_path_factory.mktemp("identity"), identity=True))


def whole(model, x: np.ndarray) -> np.ndarray:
    """The slow reference: one spectrum, one call, one inverse."""
    noisy = cache.to_pairs(spectral.forward(x[None], model.stft))
    enhanced = model.network.enhance(noisy).numpy()
    return spectral.inverse(cache.to_complex(enhanced), len(x), model.stft)[0]


def signal(samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@given(st.lists(st.integers(0, 700), min_size=1, max_size=30), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_stream_of_any_blocks_equals_the_whole(causal, sizes, seed):
    x = signal(sum(sizes), seed)
    stream, parts, at = enhancer.Streamer(causal), [], 0
    for size in sizes:
        parts.append(stream.feed(x[at : at + size]))
        at += size
    y = np.concatenate([*parts, stream.flush()])
    assert y.shape == x.shape
    if len(x):
        np.testing.assert_allclose(y, whole(causal, x), atol=1e-5)


def test_stream_lags_by_its_latency(causal):
    stream = enhancer.Streamer(causal)
    fed = given_back = 0
    for _ in range(50):
        fed += 80
        given_back += len(stream.feed(signal(80)))
    assert causal.latency_seconds == pytest.approx(0.025)
    assert fed - given_back < round(causal.latency_seconds * causal.rate)


def test_a_streamer_may_be_used_again(causal):
    stream = enhancer.Streamer(causal)
    x = signal(1000)
    first = np.concatenate([stream.feed(x), stream.flush()])
    again = np.concatenate([stream.feed(x), stream.flush()])
    np.testing.assert_array_equal(first, again)


def test_calls_of_many_frames_are_split(causal, monkeypatch):
    x = signal(9000)
    wanted = specmask.enhance(x, 8000, causal)
    monkeypatch.setattr(enhancer, "FRAMES_A_CALL", 7)
    np.testing.assert_allclose(specmask.enhance(x, 8000, causal), wanted, atol=1e-6)


@given(st.integers(1, 20000))
@settings(max_examples=20, deadline=None)
def test_identity_mask_gives_the_input_back(identity, samples):
    x = signal(samples)
    y = specmask.enhance(x, 8000, identity)
    assert y.shape == x.shape
    assert np.sum((y - x) ** 2) < 1e-12 * np.sum(x**2)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 11025, 4000])
@pytest.mark.parametrize("channels", [None, 1, 2, 5])
def test_length_alignment_and_level_at_every_rate(identity, rate, channels):
    rng = np.random.default_rng(0)
    shape = (rate // 2,) if channels is None else (rate // 2, channels)
    t = np.arange(rate // 2) / rate
    tone = np.sin(2 * np.pi * 440 * t) * np.hanning(len(t))
    x = (tone if channels is None else tone[:, None] * rng.uniform(0.1, 1, channels)).astype("f")
    y = specmask.enhance(x, rate, identity)
    assert y.shape == shape
    np.testing.assert_allclose(y, x, atol=2e-3)


def test_linked_channels_keep_the_image_and_separate_do_not(tmp_path):
    run = make_run(tmp_path)
    x = np.stack([signal(4000, 1), 0.3 * signal(4000, 1)], axis=1)
    y = specmask.enhance(x, 8000, enhancer.load(run))
    np.testing.assert_allclose(y[:, 1], 0.3 * y[:, 0], atol=1e-5)
    z = np.stack([signal(4000, 1), signal(4000, 2)], axis=1)
    apart = specmask.enhance(z, 8000, enhancer.load(run, channels="separate"))
    np.testing.assert_allclose(apart[:, 0], whole(enhancer.load(run), z[:, 0]), atol=1e-5)


def test_silence_stays_silent(causal):
    assert not specmask.enhance(np.zeros(5000, np.float32), 8000, causal).any()


def test_arrays_that_are_not_finite_are_refused(causal):
    with pytest.raises(ValueError, match="finite"):
        specmask.enhance(np.array([0.0, np.nan]), 8000, causal)


def test_short_files_are_one_window(windowed):
    x = signal(8000)
    np.testing.assert_allclose(specmask.enhance(x, 8000, windowed), whole(windowed, x), atol=1e-5)


def test_long_files_are_windows_with_a_cross_fade(windowed, monkeypatch):
    monkeypatch.setattr(enhancer, "FRAMES_A_CALL", 60)
    monkeypatch.setattr(enhancer, "OVERLAP_FRAMES", 20)
    x = signal(8000 * 3)
    y = specmask.enhance(x, 8000, windowed)
    assert y.shape == x.shape
    reference = whole(windowed, x)
    assert np.sum((y - reference) ** 2) < 0.02 * np.sum(reference**2)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_files_keep_their_format(identity, tmp_path, subtype):
    import soundfile as sf

    x = signal(3000)
    source, target = tmp_path / "a.wav", tmp_path / "b" / "a.wav"
    sf.write(source, x, 8000, subtype=subtype)
    seconds = enhancer.enhance_file(source, target, identity, block_seconds=0.1)
    assert seconds == pytest.approx(3000 / 8000)
    assert sf.info(target).subtype == subtype
    np.testing.assert_allclose(audio.read(target)[0], audio.read(source)[0], atol=1e-4)


def test_failed_file_leaves_nothing_behind(identity, tmp_path):
    source = tmp_path / "a.wav"
    source.write_bytes(b"RIFF....WAVE")
    with pytest.raises(audio.AudioError):
        enhancer.enhance_file(source, tmp_path / "out" / "a.wav", identity, 1.0)
    assert not list(tmp_path.rglob("out/*"))
