"""TensorBoard files: what they hold, and that a resume leaves neither gaps nor doubles."""

import io
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import tensorflow as tf
from helpers import PROJECT_INI, PROJECT_RATE, voice
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event

from specmask.audio import spectrogram
from specmask.config import ini as configuration
from specmask.evaluation.metrics import table
from specmask.training import tensorboard, validation_metrics


def events(folder) -> list[tuple[int, str, object]]:
    """(step, tag, tensor) of all events of a folder, in the order of the files."""
    return [
        (event.step, value.tag, value.tensor)
        for path in sorted(folder.glob("events*"))
        for record in tf.data.TFRecordDataset(str(path))
        for event in [Event.FromString(record.numpy())]
        for value in event.summary.value
    ]


@pytest.fixture
def example() -> validation_metrics.Example:
    rng = np.random.default_rng(0)
    clean = voice(rng, 1.0)
    noisy = clean + 0.05 * rng.standard_normal(len(clean)).astype(np.float32)
    waves = {"clean": clean, "noisy": noisy, "enhanced": 0.5 * (clean + noisy)}
    mask = np.ones((101, 129, 2), np.float32) * [2, -2]
    return validation_metrics.Example("1, 5 dB", 5.0, waves, mask, PROJECT_RATE, 2.0)


def preview(example: validation_metrics.Example) -> validation_metrics.Preview:
    return validation_metrics._score_one(example)[1]


def test_what_was_lost_is_cut_off_and_nothing_else(tmp_path, example):
    first = tensorboard.Board(tmp_path, 0, 0)
    for step in (2, 4, 6, 8):
        first.training({"loss": step / 10}, step)
    for epoch, step in ((1, 3), (2, 6)):
        row = {"epoch": epoch, "step": step, "validation_loss": 0.5, "validation_mse": 0.1}
        first.validation(row, {5.0: {"pesq": 2.0}}, [preview(example)])
    first.flush()
    # Killed; the checkpoint was made at step 6, before the scores of the second epoch came.
    second = tensorboard.Board(tmp_path, 6, 3)
    second.training({"loss": 0.8}, 8)
    second.validation({"epoch": 2, "step": 6, "validation_loss": 0.5}, {}, [preview(example)])
    second.flush()
    assert [(s, t) for s, t, _ in events(tmp_path / "training")] == [
        (k, "loss") for k in (2, 4, 6, 8)
    ]
    tags = [(s, t) for s, t, _ in events(tmp_path / "validation")]
    assert [s for s, t in tags if t == "loss"] == [3, 6]
    assert (3, "loss_parts/mse") in tags and (3, "pesq_by_snr/5 dB") in tags
    # Noisy and clean sound never change: once.
    assert [s for s, t in tags if t == "1, 5 dB/enhanced"] == [3, 6]
    assert [s for s, t in tags if t == "1, 5 dB/noisy"] == [3]


def test_a_record_that_was_cut_short_is_removed(tmp_path):
    first = tensorboard.Board(tmp_path, 0, 0)
    for step in (1, 2):
        first.training({"loss": 1.0}, step)
        first.flush()
    path = next((tmp_path / "training").glob("events*"))
    path.write_bytes(path.read_bytes()[:-3])
    tensorboard.Board(tmp_path, 2, 0)
    assert [s for s, _, _ in events(tmp_path / "training")] == [1]


def test_pictures(tmp_path, example):
    """The mask is 2 - 2j everywhere: its real part all red, its imaginary part all blue."""
    written = tensorboard.Board(tmp_path, 0, 0)
    written.validation({"epoch": 1, "step": 3}, {}, [preview(example)])
    held = {t: v.string_val for _, t, v in events(tmp_path / "validation") if v.string_val}
    width, height, png = held["1, 5 dB/mask"]
    image = np.array(Image.open(io.BytesIO(png)).convert("RGB"))
    assert image.shape == (int(height), int(width), 3) == (2 * 129 + 3, 101, 3)
    assert (image[:129] == spectrogram.SIGNED[-1]).all() and (
        image[-129:] == spectrogram.SIGNED[0]
    ).all()
    spectrograms = np.array(Image.open(io.BytesIO(held["1, 5 dB/spectrograms"][2])))
    assert spectrograms.shape[0] == 3 * 129 + 2 * 3


def test_hparams_are_written_once(tmp_path):
    ini = tmp_path / "config.ini"
    ini.write_text(PROJECT_INI, encoding="utf-8")
    for _ in range(2):
        tensorboard.Board(tmp_path / "logs", 0, 0).describe(configuration.load(ini))
    files = list((tmp_path / "logs").glob("events*"))
    assert len(files) == 1
    content = files[0].read_bytes()
    for word in (b"train/learning_rate", b"model/network", b"compressed:1, si_sdr:0.001"):
        assert word in content


def test_scores_are_made_here_when_a_worker_was_killed(example):
    lost, fine = Future(), Future()
    lost.set_exception(BrokenProcessPool())
    fine.set_result(validation_metrics._score([example]))
    scores = validation_metrics.PendingScores([([example], lost), ([example], fine)])
    assert scores.ready()
    means, by_snr, files = scores.collect()
    waves = (example.waves[name] for name in ("clean", "noisy", "enhanced"))
    wanted = table.score(*waves, example.rate, validation_metrics.METRICS)[0]
    assert means == pytest.approx(wanted) and by_snr == {5.0: pytest.approx(wanted)}
    assert len(files) == 2
