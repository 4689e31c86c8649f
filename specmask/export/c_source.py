"""A step as source in C with its model, and as a LADSPA plugin, built where there is a compiler.

The runtime, the example and the plugin are in the folder ``native``; what is written here is
their copy with the model as an array.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from specmask import files
from specmask.audio import io as audio_io
from specmask.enhancement.runtimes import Description

SOURCES = Path(__file__).parent / "native"
RUNTIME = {name: name for name in ("specmask.h", "specmask.c", "model.h")}
# Format, also the name of its folder -> files in it and where they come from.
FORMATS = {
    "c": RUNTIME | {"main.c": "main.c", "README.md": "README_c.md"},
    "ladspa": RUNTIME
    | {"plugin.c": "plugin.c", "Makefile": "plugin.mk", "README.md": "README_ladspa.md"},
}
RESAMPLER_SAMPLES = 2 * 49 + 1  # latency that the plugin's resampling adds, about, at model rate
SECONDS_TO_RUN = 600
HEADROOM_DB = 6  # of the plugin's output below full scale, where applyplugin wraps around


class NotBuiltError(Exception):
    """Why sources cannot be built and run here."""


def write(format: str, program: bytes, description: Description, folder: Path) -> Path:
    """Write the sources of a format into a folder of its name, and return that.

    Args:
        format: c or ladspa.
        program: of :func:`specmask.export.program.make`.
        description: of the step.
        folder: receives the folder.
    """
    stft, rate = description.stft, description.sample_rate
    latency = stft.pad + description.lookahead_frames * stft.hop_length
    whole, knobs = plugin_latency(description), description.knobs
    values = {
        "rate": rate,
        "band": rate // 2,
        "hop": stft.hop_length,
        "digest": description.digest,
        "kilobytes": round(len(program) / 1000),
        "memory": round(memory(program, description) / 1000),
        "latency": latency,
        "latency_ms": f"{1000 * (latency if format == 'c' else whole) / rate:.0f}",
        "resampled_ms": f"{1000 * (whole + RESAMPLER_SAMPLES) / rate:.0f}",
        "mix": f"{knobs.mix:g}",
        "max_suppression_db": f"{knobs.max_suppression_db:g}",
        "gain_db": f"{knobs.post_gain_db:g}",
    }
    target = folder / format
    target.mkdir(parents=True, exist_ok=True)
    for name, source in FORMATS[format].items():
        text = (SOURCES / source).read_text(encoding="utf-8")
        if name == "README.md":
            for key, value in values.items():
                text = text.replace(f"{{{key}}}", str(value))
        with files.replacing(target / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with files.replacing(target / "model.c") as temporary:
        temporary.write_text(array(program, description), encoding="utf-8")
    return target


def array(program: bytes, description: Description) -> str:
    """Return a program as C source."""
    words = np.frombuffer(program, "<u4").tolist()
    lines = [
        "  " + ", ".join(f"0x{word:08x}u" for word in words[i : i + 8]) + ","
        for i in range(0, len(words), 8)
    ]
    knobs = description.knobs
    return "\n".join(
        [
            f"/* Model {description.digest}, {description.sample_rate} Hz; mix {knobs.mix:g}, "
            f"suppression up to {knobs.max_suppression_db:g} dB, gain {knobs.post_gain_db:g} dB */",
            '\n#include "model.h"\n',
            "const uint32_t specmask_program[] = {",
            *lines,
            "};",
            "const size_t specmask_program_bytes = sizeof specmask_program;\n",
        ]
    )


def memory(program: bytes, description: Description) -> int:
    """Return the bytes of a handle, but for its few hundred bytes of settings and alignment."""
    stft, arena = description.stft, int(np.frombuffer(program, "<i4")[12])
    values = 2 * stft.bins * (description.lookahead_frames + 2)
    return 4 * (arena + values + 3 * stft.window_length + 3 * stft.n_fft)


def plugin_latency(description: Description) -> int:
    """Return the latency of the plugin in samples where the host's rate is the model's."""
    stft = description.stft
    return stft.pad + (description.lookahead_frames + 1) * stft.hop_length - 1


def build(folder: Path, description: Description) -> Callable[[np.ndarray], np.ndarray]:
    """Build what :func:`write` has written, in a temporary folder, and return it as a function.

    Args:
        folder: of the format c or ladspa.
        description: of the step.

    Returns:
        a function of samples at the model's rate, with the knobs of the export. The plugin is run
        by applyplugin, in 16 bits: with less gain, so that nothing passes full scale.

    Raises:
        NotBuiltError: if there is no compiler, or no host for plugins; the function also, if it
            fails.
    """
    room = tempfile.TemporaryDirectory(prefix="specmask-")
    place = Path(room.name) / "source"
    shutil.copytree(folder, place)
    compiler = os.environ.get("CC") or "cc"
    is_plugin = (folder / "plugin.c").exists()
    tools = [compiler, "make", "applyplugin"] if is_plugin else [compiler]
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise NotBuiltError(f"no {missing[0]}")
    if is_plugin:
        _run(["make", f"CC={compiler}"], place)
    else:
        sources = ["main.c", "specmask.c", "model.c"]
        _run([compiler, "-O2", "-o", "specmask", *sources], place)

    knobs, rate = description.knobs, description.sample_rate

    def enhance(x: np.ndarray) -> np.ndarray:
        noisy, enhanced = Path(room.name) / "noisy.wav", Path(room.name) / "enhanced.wav"
        sf.write(noisy, x, rate, subtype="PCM_16" if is_plugin else "FLOAT")
        if not is_plugin:
            _run([str(place / "specmask"), str(noisy), str(enhanced)], place)
            return sf.read(enhanced, dtype="float32")[0]
        gain_db = max(-60, min(knobs.post_gain_db, 0) - HEADROOM_DB)
        controls = [knobs.mix, knobs.max_suppression_db, gain_db, 0]
        plugin = [str(place / "specmask.so"), "specmask", *map(str, controls)]
        _run(["applyplugin", "-s", "1", str(noisy), str(enhanced), *plugin], place)
        y = sf.read(enhanced, dtype="float32")[0]
        y *= np.float32(10 ** ((knobs.post_gain_db - gain_db) / 20))
        return audio_io.fit(y[plugin_latency(description) :], len(x))

    return enhance


def _run(command: list[str], folder: Path) -> None:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS_TO_RUN, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotBuiltError(f"{name}: not done after {SECONDS_TO_RUN} seconds") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise NotBuiltError(f"{name}: {lines[0]}")
