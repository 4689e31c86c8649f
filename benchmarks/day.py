"""Memory while a recording of a day is enhanced: a curve, and what stays above the imports.

    python benchmarks/day.py [--hours 24] [--runtime onnx] [--plot day.png] [--bound-mb 100]

The recording is made on the way (hiss, 8 kHz, 16 bits) and removed afterwards, as the result.
The network is a tiny one with weights that nobody trained, so that a day takes minutes. Memory
is the largest resident set so far as the operating system counts the process, in MB (10^6
bytes): what grows shows. With --bound-mb the exit code is 1 if more stays above the imports, or a
sample is missing.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402
from memory import peak_mb  # noqa: E402

from specmask.cli import console  # noqa: E402

RATE = 8000
NETWORK = ["data.sample_rate=8000", "stft.n_fft=512", "stft.window_length=0.064"]
NETWORK += ["stft.hop_size=0.032", "model.conv_channels=1", "model.squeeze_channels=1"]
NETWORK += ["model.recurrent_units=4", "model.dense_units=4"]


def make_run(folder: Path, onnx: bool) -> None:
    """Write a run with random weights, in a process of its own: its memory does not count."""
    console.import_tensorflow()
    from specmask import models
    from specmask.config import ini
    from specmask.enhancement import enhancer, export, postprocess
    from specmask.training import checkpoint

    settings = ini.load(ROOT / "config.ini", NETWORK)
    (folder / "config.ini").write_text(ini.render(settings), encoding="utf-8")
    checkpoint.save(folder / "best.npz", {"model": models.build(settings).model.variables}, {})
    if onnx:
        (folder / enhancer.EXPORTS).mkdir()
        run = enhancer.load(folder).runtime
        export.export_run(
            run, settings, ["onnx"], folder / enhancer.EXPORTS, False, postprocess.Knobs()
        )


def measure(args) -> int:
    import subprocess

    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        command = [sys.executable, __file__, "--make", str(folder), "--runtime", args.runtime]
        subprocess.run(command, check=True, capture_output=True)
        minute = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
        with sf.SoundFile(folder / "day.wav", "w", RATE, 1) as file:
            for _ in range(round(60 * args.hours)):
                file.write(minute)
        if args.runtime == "tensorflow":
            console.import_tensorflow()
        from specmask.enhancement import enhancer
        from specmask.enhancement.file import enhance_file

        if args.runtime == "tensorflow":
            import specmask.trained  # noqa: F401
        imported = peak_mb()
        model = enhancer.load(folder, runtime=args.runtime)
        hours, curve = [0.0], [peak_mb()]

        def tell(share: float) -> None:
            hours.append(hours[-1] + share * args.hours)
            curve.append(peak_mb())

        started = time.perf_counter()
        enhance_file(folder / "day.wav", folder / "out.wav", model, 10, tell=tell)
        seconds = time.perf_counter() - started
        frames = sf.info(folder / "out.wav").frames
    tenth = curve[len(curve) // 10]
    print(
        f"runtime {args.runtime}\nhours {frames / RATE / 3600:g}\n"
        f"real_time_factor {seconds / args.hours / 3600:.5f}\nimported_mb {imported:.0f}\n"
        f"after_a_tenth_mb {tenth:.0f}\npeak_mb {curve[-1]:.0f}\n"
        f"above_imports_mb {curve[-1] - imported:.0f}"
    )
    if args.plot:
        from matplotlib.figure import Figure

        sheet = Figure(figsize=(8, 4), layout="constrained")
        axes = sheet.add_subplot()
        axes.plot(hours, curve, label=args.runtime)
        axes.axhline(imported, linestyle=":", label="with the imports")
        axes.set(xlabel="hours enhanced", ylabel="largest memory so far in MB", ylim=(0, None))
        axes.legend()
        sheet.savefig(args.plot, dpi=80)
    whole = frames == round(60 * args.hours) * 60 * RATE
    bounded = args.bound_mb is None or curve[-1] - imported <= args.bound_mb
    return console.EXIT_OK if whole and bounded else console.EXIT_BROKEN_BOUND


if __name__ == "__main__":
    parser = console.parser(__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--runtime", choices=["tensorflow", "onnx"], default="tensorflow")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--bound-mb", type=float, help="that may stay above the imports")
    parser.add_argument("--folder", type=Path, help="for two files of 1.4 GB")
    parser.add_argument("--make", type=Path, help="only write the network there")
    args = parser.parse_args()
    if args.make:
        make_run(args.make, args.runtime == "onnx")
    else:
        sys.exit(console.run(measure, args))
