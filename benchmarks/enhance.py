"""Speed of one model on one core: Keras on the whole file and as a stream, exports, int8.

    python benchmarks/enhance.py cp/run [--noisy FOLDER] [--seconds 10]
        [--dtln model_1.tflite model_2.tflite] [--gtcrn gtcrn.onnx]

Prints the real-time factor (time / duration, the quickest of three), and for what works frame by
frame the ms per frame; a stream is fed one hop at a time. The exports are made in a temporary
folder. DTLN (Westhausen and Meyer 2020; blocks of 512 samples every 128) and GTCRN (Rong et al.
2024; one frame of 257 bins and three caches) are run if their files are given: only the networks,
on random input of their own shapes, without their transforms; 16 kHz.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from specmask.cli import console  # noqa: E402
from specmask.config import ini  # noqa: E402
from specmask.enhancement import (  # noqa: E402
    array,
    enhancer,
    postprocess,
    runtimes,
    streaming,
)
from specmask.export import check, formats  # noqa: E402


def seconds_of(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest time of a call, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def hop_by_hop(model: enhancer.Enhancer, x: np.ndarray) -> None:
    """Feed a stream one hop at a time."""
    streamer = streaming.Streamer(model)
    for start in range(0, len(x), model.stft.hop_length):
        streamer.feed(x[start : start + model.stft.hop_length])
    streamer.flush()


def line(name: str, factor: float, ms: float | None = None, megabytes: float | None = None) -> None:
    """Print one row."""
    cells = ["" if v is None else f"{v:.3f}" for v in (ms, megabytes)]
    print(f"{name:28s}{factor:8.4f}{cells[0]:>12s}{cells[1]:>10s}", flush=True)


def own(run: Path, x: np.ndarray) -> None:
    """Measure a run of this project."""
    model = enhancer.load(run, runtime="tensorflow")  # not the exports that a run may have
    duration, hop = len(x) / model.rate, model.stft.hop_length / model.rate
    line("keras, whole file", seconds_of(lambda: array.enhance(x, model.rate, model)) / duration)
    short = x[: 2 * model.rate]
    taken = seconds_of(lambda: hop_by_hop(model, short))
    factor = taken * model.rate / len(short)
    line("keras, stream", factor, 1000 * factor * hop)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with console.quiet():
            paths = formats.export_run(
                model.runtime, ["onnx", "litert"], folder, True, postprocess.Knobs()
            )
        for path in paths:
            if not path.stem.startswith("step"):
                continue
            exported = enhancer.load(path)
            whole = seconds_of(lambda m=exported: array.enhance(x, m.rate, m)) / duration
            ms = check.ms_per_frame(exported.runtime)
            line(f"{path.name} with STFT", whole, None, path.stat().st_size / 1e6)
            line(f"{path.name} network alone", ms / 1000 / hop, ms)


def foreign(name: str, call: Callable[[], object], hop_seconds: float) -> None:
    """Measure a frame of another system's network."""
    taken = seconds_of(lambda: [call() for _ in range(200)]) / 200
    line(name, taken / hop_seconds, 1000 * taken)


def dtln(paths: list[Path]) -> None:
    """Run the two networks of DTLN on blocks."""
    from ai_edge_litert.interpreter import Interpreter

    parts = [Interpreter(str(path), num_threads=1) for path in paths]
    for part in parts:
        part.allocate_tensors()
        for detail in part.get_input_details():
            shape = detail["shape"]
            part.set_tensor(detail["index"], np.zeros(shape, np.float32))
    foreign("DTLN network alone", lambda: [part.invoke() for part in parts], 128 / 16000)


def gtcrn(path: Path) -> None:
    """Run a GTCRN with explicit caches on frames."""
    session = runtimes.session(path)
    feed = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
    foreign("GTCRN network alone", lambda: session.run(None, feed), 256 / 16000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--noisy", type=Path, help="the first recording is used (default: hiss)")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--dtln", type=Path, nargs=2)
    parser.add_argument("--gtcrn", type=Path)
    args = parser.parse_args()
    console.import_tensorflow()
    rate = ini.load(enhancer.weights_and_config(args.checkpoint)[1]).data.sample_rate
    count = round(args.seconds * rate)
    x = 0.05 * np.random.default_rng(0).standard_normal(count).astype(np.float32)
    if args.noisy:
        recording = check.find_pairs(args.noisy, Path("none"), 1)[0][0]
        x = np.resize(check.read_beginning(recording, rate), count)
    print(f"{'one core':28s}{'RTF':>8s}{'ms per frame':>12s}{'MB':>10s}")
    own(args.checkpoint, x)
    if args.dtln:
        dtln(args.dtln)
    if args.gtcrn:
        gtcrn(args.gtcrn)


if __name__ == "__main__":
    main()
