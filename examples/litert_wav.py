"""Enhance a WAV with LiteRT and NumPy, without TensorFlow and without Specmask.

    pip install ai-edge-litert numpy soundfile
    python litert_wav.py cp/run/exports/step.tflite noisy.wav enhanced.wav

The description of the network (STFT, states, knobs) is in the .json beside the model.
The WAV is mono (else its first channel is taken) and has the model's rate.
"""

import json
import sys
from pathlib import Path

try:
    import numpy as np
    import soundfile as sf
    from ai_edge_litert.interpreter import Interpreter
except ImportError as error:
    sys.exit(f"error: {error}; install the packages named at the top of this file")


def load(path):
    """Return the step (noisy, state) -> (mask, state), and the description of the network."""
    run = Interpreter(path, num_threads=1).get_signature_runner()
    description = json.loads(Path(path).with_suffix(".json").read_text())

    def step(noisy, state):
        out = run(noisy=noisy, **state)
        return out["mask"], {name: out[name + "_next"] for name in state}

    return step, description


def enhance(x, step, description):
    """Enhance [samples] at the model's rate frame by frame; the length stays."""
    stft, knobs = description["stft"], description["knobs"]
    length, hop, n_fft = stft["window_length"], stft["hop_length"], stft["n_fft"]
    analysis, synthesis = np.array(description["window"]), np.array(description["synthesis_window"])
    pad, delay = length - hop, description.get("lookahead_frames", 0)  # of the masks, in frames
    frames, held = -(-(len(x) + pad) // hop) + delay, delay * [0]
    padded, out = np.zeros((2, (frames - 1) * hop + length))
    padded[pad : pad + len(x)] = x
    state = {k: np.zeros((1, *shape), np.float32) for k, shape in description["states"].items()}
    floor = 10 ** (-knobs["max_suppression_db"] / 20)
    for t in range(frames):
        at = slice(t * hop, t * hop + length)
        held.append(np.fft.rfft(padded[at] * analysis, n_fft))
        pairs = np.stack([held[-1].real, held[-1].imag], -1).astype(np.float32)[None, None]
        mask, state = step(pairs, state)
        mask = mask[0, 0, :, 0] + 1j * mask[0, 0, :, 1]
        mask *= np.maximum(1, floor / np.maximum(np.abs(mask), 1e-20))
        mask = 10 ** (knobs["post_gain_db"] / 20) * (knobs["mix"] * mask + 1 - knobs["mix"])
        out[at] += np.fft.irfft(mask * held.pop(0), n_fft)[:length] * synthesis
    return out[pad + delay * hop :][: len(x)]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, source, target = sys.argv[1:]
    try:
        step, description = load(model)
        x, rate = sf.read(source, always_2d=True)
        if rate != description["sample_rate"]:
            sys.exit(f"error: {source}: {rate} Hz, expected {description['sample_rate']} Hz")
        sf.write(target, enhance(x[:, 0], step, description), rate)
    except Exception as error:  # those of the runtime and of libsndfile have no common base
        sys.exit(f"error: {error}")
