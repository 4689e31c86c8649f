"""TensorBoard: curves, sound and pictures of a run, without gaps or repeats after a resume.

Layout of ``logs/<run>/``:
    training/       every few steps: loss and its parts, learning rate, gradient norm, examples per
                    second, share of the time spent waiting for data
    validation/     every epoch: loss and its parts, metrics over all files and by SNR, sound,
                    spectrograms, masks
    the folder itself: the configuration (HParams), and traces of --profile
The step of an event is the number of training steps done.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.image import metadata as image_metadata

from specmask.config import ini, types
from specmask.config.schema import Config
from specmask.errors import UserError
from specmask.training.validation_metrics import Preview

TRACED = (5, 15)  # steps that --profile traces: the first ones compile
SECTIONS = ("data", "stft", "model", "train")  # what HParams shows
TARGETS = ("loss", "si_sdr_improvement", "pesq", "stoi")
EVENTS = "events.out.tfevents.*"
COUNTERS = ("epoch", "step", "learning_rate")  # columns of a row that are no curves


def check_logs(folder: Path) -> None:
    """Check that a new run's log folder holds no events.

    They would be from a run of the same name elsewhere, or one that was deleted; :class:`Board`
    would truncate them.

    Raises:
        UserError: if it does.
    """
    if any(folder.glob(f"*/{EVENTS}")):
        raise UserError(
            f"{folder}: holds the logs of another run of this name; choose another [train] "
            "run_name or log_path, or remove that folder if the run is gone"
        )


class Board:
    """Writes the events of a run that starts or resumes.

    Events of later steps are cut off first: they come from work that was lost in a kill and
    will be done again.

    Args:
        folder: of the run's logs.
        step: steps done so far.
        validated: steps done at the last epoch whose scores are known.
    """

    def __init__(self, folder: Path, step: int, validated: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        for part, last in (("training", step), ("validation", validated)):
            for path in sorted((folder / part).glob(EVENTS)):
                _cut(path, last)
        self._training = tf.summary.create_file_writer(str(folder / "training"))
        self._validation = tf.summary.create_file_writer(str(folder / "validation"))

    def describe(self, config: Config) -> None:
        """Write the configuration for the HParams page, once a run."""
        if any(self.folder.glob(EVENTS)):
            return
        values = {
            f"{types.ini_name(section)}/{key}": _plain(getattr(options, key))
            for section, options in ((s, getattr(config, s)) for s in SECTIONS)
            for key, field in type(options).model_fields.items()
            if field.annotation is not Path
        }
        with tf.summary.create_file_writer(str(self.folder)).as_default():
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in values],
                metrics=[hparams.Metric(t, group="validation") for t in TARGETS],
            )
            hparams.hparams(values, trial_id=self.folder.name)

    def training(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars of a training step."""
        with self._training.as_default(step=step):
            _scalars(values)

    def validation(
        self,
        row: Mapping[str, float],
        by_snr: Mapping[float, Mapping[str, float]],
        previews: list[Preview],
    ) -> None:
        """Write the results of an epoch: its row, means by SNR in dB, sound and pictures.

        Their noisy and clean sound, always the same, is written in the first epoch only.
        """
        first = row["epoch"] == 1
        with self._validation.as_default(step=row["step"]):
            _scalars({_tag(name): v for name, v in row.items() if name not in COUNTERS})
            for snr_db, means in by_snr.items():
                _scalars({f"{name}_by_snr/{snr_db:g} dB": v for name, v in means.items()})
            for item in previews:
                for kind, wave in item.waves.items():
                    if kind != "enhanced" and not first:
                        continue
                    tf.summary.audio(f"{item.name}/{kind}", wave[None, :, None], item.rate)
                for kind, png in item.pictures.items():
                    _image(f"{item.name}/{kind}", png)
        self._validation.flush()

    def flush(self) -> None:
        """Write all events to the disk: what a checkpoint counts as done must be there."""
        self._training.flush()
        self._validation.flush()


def _tag(name: str) -> str:
    """Return the tag of a column of the history, the same as that of the training's curve."""
    if name == "validation_loss":
        return "loss"
    part = name.removeprefix("validation_")
    return f"loss_parts/{part}" if part != name else name


def _plain(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else ini.value_text(value)


def _scalars(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        tf.summary.scalar(name, value)


def _image(tag: str, png: bytes) -> None:
    """Write a PNG file."""
    width, height = Image.open(io.BytesIO(png)).size
    content = np.array([str(width).encode(), str(height).encode(), png], dtype=object)
    metadata = image_metadata.create_summary_metadata(
        display_name=None, description="", converted_to_tensor=True
    )
    tf.summary.write(tag, tf.constant(content), metadata=metadata)


def _cut(path: Path, step: int) -> None:
    """Remove the events after a step, and a record that a kill cut off."""
    kept, dropped = [], 0
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            if event.step > step:
                dropped += 1
            else:
                kept.append(record.numpy())
    except tf.errors.DataLossError:  # the last record was cut off by a kill
        dropped += 1
    if not dropped:
        return
    temporary = path.with_name(".specmask-cut")  # no name that TensorBoard reads
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in kept:
            writer.write(record)
    os.replace(temporary, path)


class Profiler:
    """Traces a few steps for TensorBoard's profiler; without a folder it does nothing."""

    def __init__(self, folder: Path | None):
        self.folder, self.steps, self.running = folder, 0, False

    def step(self) -> None:
        """Count a step before it begins."""
        if self.folder is None:
            return
        self.steps += 1
        if self.steps == TRACED[0]:
            tf.profiler.experimental.start(str(self.folder))
            self.running = True
        elif self.steps == TRACED[1]:
            self.stop()

    def stop(self) -> None:
        """Write the trace, if one is running."""
        if self.running:
            tf.profiler.experimental.stop()
            self.running = False
            print(f"trace -> {self.folder}")
