"""A trained model as a web page: one HTML file, for a browser without a network.

Its parts are in ``web/``: a template, styles, and scripts that are joined without a build tool.
The network and its weights are a program of :mod:`specmask.export.program` for the WebAssembly
modules of ``native/``, both as base64 in the page: pages that are opened from a disk can read no
other files.
"""

import base64
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np

from specmask import files
from specmask.enhancement.runtimes import Description

HERE = Path(__file__).resolve().parent
SOUND = ("wav.js", "resample.js", "spectrogram.js", "engine.js")  # of page, worker and worklet
PAGE = ("dom.js", "player.js", "pictures.js", "recording.js", "live.js", "page.js")
FORMAT = "web"
TITLE = "Speech without the noise"
NODE_SECONDS = 600  # of a call at most


def write(program: bytes, description: Description, folder: Path) -> Path:
    """Write the folder ``web`` with index.html, which is all of the page, and return it.

    Args:
        program: of :func:`specmask.export.program.make`.
        description: of the step; its knobs are the ones that the page begins with.
        folder: receives the folder.
    """
    import jinja2  # slow, and only needed here

    loader = jinja2.FileSystemLoader(HERE / "web")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    modules = {"simd": "specmask.wasm", "scalar": "specmask_scalar.wasm"}
    parts = {"program": program}
    parts |= {key: (HERE / "native" / file).read_bytes() for key, file in modules.items()}
    model = {key: base64.b64encode(part).decode("ascii") for key, part in parts.items()}
    text = environment.get_template("index.html").render(
        title=TITLE,
        sound=SOUND,
        scripts=PAGE,
        model=model | {"knobs": asdict(description.knobs)},
        facts=_facts(program, description),
    )
    target = folder / FORMAT
    target.mkdir(parents=True, exist_ok=True)
    with files.replacing(target / "index.html") as path:
        path.write_text(text, encoding="utf-8")
    return target


def _facts(program: bytes, description: Description) -> dict[str, str]:
    """Return what the page says about the model."""
    stft = description.stft
    latency = stft.window_length + description.lookahead_frames * stft.hop_length
    return {
        "Model": description.digest,
        "Size": f"{len(program) / 1000:.0f} kB",
        "Rate inside": f"{description.sample_rate / 1000:g} kHz",
        "Latency": f"{1000 * latency / description.sample_rate:.0f} ms",
    }


def enhance_in_node(folder: Path, x: np.ndarray, rate: int, kind: str = "simd") -> np.ndarray:
    """Enhance a recording with the engine of a page under Node: float32 [samples, channels].

    Args:
        folder: of :func:`write`.
        x: float32 [samples, channels].
        rate: of the recording in Hz.
        kind: simd or scalar.

    Raises:
        FileNotFoundError: if Node is not installed.
        RuntimeError: if the engine fails.
    """
    node = shutil.which("node")
    if node is None:
        raise FileNotFoundError("node is not on the path")
    command = [
        node,
        str(HERE / "web" / "node.js"),
        str(folder / "index.html"),
        str(rate),
        str(x.shape[1]),
        kind,
    ]
    samples = np.ascontiguousarray(x, np.float32).tobytes()
    done = subprocess.run(
        command, input=samples, capture_output=True, check=False, timeout=NODE_SECONDS
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return np.frombuffer(done.stdout, np.float32).reshape(x.shape)
