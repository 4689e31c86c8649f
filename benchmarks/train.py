"""Training speed and memory: our loop, keras.Model.fit, and a loop as simple projects write it.

    python benchmarks/train.py [--network default|crn|conv_lstm|published] [--steps 10]
    python benchmarks/train.py --memory config.ini recipes/*.ini [--set train.batch_size=4]

All three train the same network with the same loss on the same batches, each in a process of its
own: `ours` is specmask.trainer with all it does (clipping, running mean of the weights, scalars for
TensorBoard); `fit` is a bare keras.Model.fit with Adam; `reference` is a loop in the manner of the
reference project: eager, float64, a second forward pass for the metrics, metrics in the loop.
Prints examples per second without the first step, by the clock and by processor time (which counts
on a machine that is busy with other things), peak memory in MB (10^6 bytes), and how long ours
waited for data. --memory compares the memory that train.py announces with the peak of two steps,
for every INI file at its own batch size; above --most-gb it prints only the former.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from specmask.cli import console  # noqa: E402

LOOPS = ("ours", "fit", "reference")
CONFIGS = {
    "default": ROOT / "config.ini",
    "crn": ROOT / "recipes" / "default.ini",
    "conv_lstm": ROOT / "recipes" / "bench.ini",
    "published": ROOT / "recipes" / "wilson2018_blstm.ini",
}


def peak_mb() -> float:
    """Return the largest resident set of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # the other figure begins with that of the parent process
        words = status.read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def batches_of(cfg, folder: Path, steps: int):
    """Return batches from a cache of random spectra on disk, as many as there are steps."""
    from specmask.audio.stft import Stft
    from specmask.data import stft_cache
    from specmask.training import batches

    count = cfg.train.batch_size * steps
    frames = Stft.from_config(cfg).frames(round(cfg.data.file_length * cfg.data.sample_rate))
    index = np.zeros(count, stft_cache.INDEX)
    index["frames"], index["offset"], index["additive"] = frames, frames * np.arange(count), True
    rng, maps = np.random.default_rng(0), []
    for kind in ("clean", "noise"):
        path = folder / f"{kind}.npy"
        made = np.lib.format.open_memmap(
            path, "w+", dtype=np.float16, shape=(count * frames, cfg.bins, 2)
        )
        for row in made.reshape(count, frames, cfg.bins, 2):
            row[:] = 0.3 * rng.standard_normal(row.shape, dtype=np.float32)
        made.flush()
        maps.append(np.load(path, mmap_mode="r"))
    return batches.Batches(cfg, stft_cache.Cache(index, [maps[0]], [maps[1]]))


def moment() -> tuple[float, float]:
    """Return now: by the clock and in processor seconds of this process."""
    return time.monotonic(), time.process_time()


def since(started: tuple[float, float]) -> dict:
    wall, used = (now - then for now, then in zip(moment(), started, strict=True))
    return {"seconds": wall, "processor_seconds": used}


def ours(cfg, drawn, folder: Path) -> dict:
    from specmask.training import trainer
    from specmask.training.clock import Clock
    from specmask.training.tensorboard import Board

    run = trainer.Trainer(cfg, folder, drawn, None)
    run.board = Board(folder / "logs", 0, 0)
    for number, batch in enumerate(stream := Waited(drawn.epoch(0))):
        if number == 1:
            started, stream.seconds = moment(), 0.0
        result = run.step(batch, rate=1e-4)
        run.progress.total_steps += 1
        run._show(result, 1e-4, Clock(drawn.steps))
    parameters = run.network.model.count_params()
    return since(started) | {"waited": stream.seconds, "parameters": parameters}


def needed(cfg, drawn, folder: Path, most_gb: float) -> dict:
    """Return the announced and the measured memory of two steps in MB."""
    from specmask.training import memory, trainer

    run = trainer.Trainer(cfg, folder, drawn, None)
    found = {"estimated_mb": memory.estimate(cfg, run.step, drawn) / 1e6}
    if found["estimated_mb"] < 1e3 * most_gb:
        for batch in drawn.epoch(0):
            run.step(batch, rate=1e-4)
        found["peak_mb"] = peak_mb()
    return found


class Waited:
    """An iterator that measures how long its user waits for it."""

    def __init__(self, source):
        self.source, self.seconds = source, 0.0

    def __iter__(self):
        return self

    def __next__(self):
        started = time.monotonic()
        value = next(self.source)
        self.seconds += time.monotonic() - started
        return value


def fit(cfg, drawn, folder: Path) -> dict:
    import keras
    import tensorflow as tf

    from specmask import models
    from specmask.training import batches, losses

    network = models.build(cfg)

    class Bare(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = network.model

        def call(self, noisy, training=None):
            return network.estimate(noisy, training=training)[0]

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                self.started = moment()

        def on_train_end(self, logs=None):
            self.found = since(self.started)

    def pairs():
        for batch in drawn.epoch(0):
            clean, noise = batches.mixture(*batch)
            yield clean + noise, clean

    shape = tf.TensorSpec((None, None, cfg.bins, 2))
    data = tf.data.Dataset.from_generator(pairs, output_signature=(shape, shape)).prefetch(2)
    model, watch = Bare(), Watch()
    model.compile(
        keras.optimizers.Adam(1e-4),
        loss=lambda clean, enhanced: losses.compressed(
            clean, enhanced, cfg.model.compression, cfg.train.complex_weight
        ),
        jit_compile=cfg.train.jit_compile,
    )
    model.fit(data, callbacks=[watch], verbose=0)
    return watch.found


def reference(cfg, drawn, folder: Path) -> dict:
    import keras
    import tensorflow as tf

    from specmask import models
    from specmask.audio.stft import Stft, inverse, to_complex
    from specmask.evaluation.metrics import table
    from specmask.models import targets
    from specmask.training import batches, losses

    keras.config.set_floatx("float64")
    network, optimizer = models.build(cfg), keras.optimizers.Adam(1e-4)
    variables = network.model.trainable_variables
    stft = Stft.from_config(cfg)

    def enhance(noisy, training):
        mask = network.mask(noisy, training)
        return targets.apply_complex(tf.cast(mask, tf.float64), noisy)

    for number, batch in enumerate(drawn.epoch(0)):
        if number == 1:
            started = moment()
        clean, noise = (tf.cast(x, tf.float64) for x in batches.mixture(*batch))
        noisy = clean + noise
        with tf.GradientTape() as tape:
            enhanced = enhance(noisy, training=True)
            loss = tf.reduce_mean(
                losses.compressed(clean, enhanced, cfg.model.compression, cfg.train.complex_weight)
            )
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        enhanced = enhance(noisy, training=False)
        samples = (clean.shape[1] - 1) * stft.hop_length
        waves = [
            inverse(to_complex(np.asarray(x, np.float32)), samples, stft)
            for x in (clean, noisy, enhanced)
        ]
        for job in zip(*waves, strict=True):
            table.score(*job, cfg.data.sample_rate, ("si_sdr", "snr_improvement", "stoi"))
    return since(started)


def start(cfg, ours: bool) -> None:
    """Import TensorFlow, with the threads and the determinism of our loop or its own."""
    console.import_tensorflow()
    import tensorflow as tf

    from specmask.training import distributed

    if ours:
        distributed.limit_threads(cfg.train)
    if cfg.train.deterministic and ours:
        tf.config.experimental.enable_op_determinism()


def measure_memory(path: Path, options: list[str], most_gb: float) -> dict:
    from specmask.config import ini

    cfg = ini.load(path, [*options, "train.epoch_steps=2"])
    start(cfg, ours=True)
    with tempfile.TemporaryDirectory() as folder:
        return needed(cfg, batches_of(cfg, Path(folder), 1), Path(folder), most_gb)


def compare_memory(paths: list[Path], options: list[str], most_gb: float) -> None:
    print(f"{'INI':32} estimated MB  peak MB  ratio")
    for path in paths:
        command = [sys.executable, __file__, "--memory", str(path), "--json"]
        command += ["--most-gb", str(most_gb)]
        command += [word for option in options for word in ("--set", option)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        peak = found.get("peak_mb", float("nan"))
        estimated = found["estimated_mb"]
        print(f"{path.name:32} {estimated:12.0f} {peak:8.0f} {estimated / peak:6.2f}", flush=True)


def measure(loop: str, network: str, steps: int, options: list[str]) -> dict:
    from specmask.config import ini

    common = ["train.remix=no", "train.loss=compressed:1", "train.epoch_steps=0"]
    cfg = ini.load(CONFIGS[network], [*common, *options])
    start(cfg, ours=loop == "ours")
    with tempfile.TemporaryDirectory() as folder:
        drawn = batches_of(cfg, Path(folder), steps)
        found = globals()[loop](cfg, drawn, Path(folder))
    return found | {"examples": cfg.train.batch_size * (steps - 1), "peak_mb": peak_mb()}


def compare(network: str, steps: int, options: list[str]) -> None:
    print(f"{network} network, {steps - 1} steps {' '.join(options)}")
    print(f"{'loop':10} examples/s  per processor s  peak MB  waiting")
    for loop in LOOPS:
        command = [sys.executable, __file__, "--network", network, "--steps", str(steps)]
        command += [word for option in options for word in ("--set", option)]
        done = subprocess.run([*command, "--loop", loop], stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        waiting = f"{100 * found['waited'] / found['seconds']:.2f} %" if loop == "ours" else ""
        print(
            f"{loop:10} {found['examples'] / found['seconds']:10.2f}  "
            f"{found['examples'] / found['processor_seconds']:15.2f}  {found['peak_mb']:7.0f}  "
            f"{waiting}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=CONFIGS, default="default")
    parser.add_argument("--steps", type=int, default=10, help="the first one is not counted")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--loop", choices=LOOPS, help="only this one; prints JSON")
    parser.add_argument("--memory", nargs="+", type=Path, metavar="INI", help="only the memory")
    parser.add_argument("--most-gb", type=float, default=8, help="largest measured, default 8")
    parser.add_argument("--json", action="store_true", help="the memory of one INI file as JSON")
    args = parser.parse_args()
    if args.memory and args.json:
        print(json.dumps(measure_memory(args.memory[0], args.set, args.most_gb)))
    elif args.memory:
        compare_memory(args.memory, args.set, args.most_gb)
    elif args.loop:
        print(json.dumps(measure(args.loop, args.network, args.steps, args.set)))
    else:
        compare(args.network, args.steps, args.set)
