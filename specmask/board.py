"""TensorBoard: scalars of a run, without gaps or doubles after a resume."""

import os
from pathlib import Path


def open_writer(folder: Path, step: int):
    """Return a tf.summary writer for a run that goes on after ``step``.

    Events of later steps are cut off first: they come from work that was lost in a kill and
    will be done again.
    """
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        _cut(path, step)
    return tf.summary.create_file_writer(str(folder))


def _cut(path: Path, step: int) -> None:
    import tensorflow as tf
    from tensorboard.compat.proto.event_pb2 import Event

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
    temporary = path.with_name(f".{path.name}.part")
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in kept:
            writer.write(record)
    os.replace(temporary, path)


def write_scalars(writer, values: dict[str, float], step: int) -> None:
    """Write scalars of one step and flush them to the disk."""
    import tensorflow as tf

    with writer.as_default(step=step):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    writer.flush()
