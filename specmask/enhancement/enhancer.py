"""Enhancers: a trained network in one of the runtimes, and the settings of its use.

TensorFlow is imported only for a run that needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specmask import files
from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.enhancement import runtimes, streaming
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.streaming import Runtime
from specmask.errors import UserError
from specmask.training import runs

EXPORTS = "exports"  # folder in a run's folder, where export.py writes
STEP = "step.onnx"
PACKAGE = Path(__file__).resolve().parents[1]
# Beside the package in a clone, inside of it where it is installed.
INSTALLED, CLONED = PACKAGE / "pretrained", PACKAGE.parent / "pretrained"
PRETRAINED = INSTALLED if INSTALLED.is_dir() else CLONED


@dataclass(frozen=True)
class Enhancer:
    """A trained network, ready to use.

    Args:
        runtime: runs the network.
        channels: linked (one mask for all), separate, or mid (one mask, from their mean).
        highband: keep or drop what lies above the model's band.
        knobs: settings of the sound.
    """

    runtime: Runtime
    channels: str = "linked"
    highband: str = "keep"
    knobs: Knobs = field(default_factory=Knobs)

    @property
    def rate(self) -> int:
        """Sampling rate that the network works at, in Hz."""
        return self.runtime.description.sample_rate

    @property
    def stft(self) -> Stft:
        """The transform around the network."""
        return self.runtime.description.stft

    @property
    def causal(self) -> bool:
        """Whether the network needs no later frames than its look-ahead."""
        return self.runtime.description.causal

    @property
    def lookahead_frames(self) -> int:
        """Later frames that the mask of a frame waits for, of a causal network."""
        return self.runtime.description.lookahead_frames

    @property
    def lookahead_seconds(self) -> float:
        """The look-ahead in seconds."""
        return self.lookahead_frames * self.stft.hop_length / self.rate

    @property
    def digest(self) -> str:
        """Digest of the weights."""
        return self.runtime.description.digest

    @property
    def latency_seconds(self) -> float:
        """How far the output of a stream at the model's rate lags behind its input."""
        frames = self.lookahead_frames if self.causal else streaming.FRAMES_A_CALL
        return (self.stft.window_length + frames * self.stft.hop_length) / self.rate


def load(
    path: Path | str,
    channels: str = "linked",
    highband: str = "keep",
    knobs: Knobs | None = None,
    engine: str = "tensorflow",
) -> Enhancer:
    """Load a trained run from its folder (its best weights), a .npz file, or a file of export.py.

    Args:
        path: of the folder or file; the network and its settings are read from the config.ini
            beside it, or the .ini of the same name; those of exports from the file itself.
        channels, highband, knobs: see :class:`Enhancer`.
        engine: tensorflow; or onnx, for what export.py has written into the run's folder.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    path = Path(path)
    if path.suffix in runtimes.KINDS:
        found: Runtime = runtimes.load(path)
    else:
        weights, ini = weights_and_config(path)
        if engine == "onnx":
            found = _exported(weights)
        else:
            from specmask.enhancement.keras_runtime import Trained  # imports TensorFlow

            found = Trained(weights, ini)
    return Enhancer(found, channels, highband, knobs or Knobs())


def weights_and_config(path: Path) -> tuple[Path, Path]:
    """Return the weights and the configuration of a run, by its folder or its .npz file.

    Raises:
        UserError: if one of the two is missing.
    """
    if path.is_dir():
        path = runs.best_weights(path) or path / "best.npz"
    ini = path.with_suffix(".ini")
    ini = ini if ini.is_file() else path.parent / "config.ini"
    if not path.is_file() or not ini.is_file():
        raise UserError(
            f"{path}: no trained weights with a config.ini beside them; name a run folder such as "
            "cp/run, its .npz file or an export, or train a network with train.py"
        )
    return path, ini


def _exported(weights: Path) -> Runtime:
    """Return the export of these weights: exports/step.onnx, or the .onnx of the same name."""
    path = weights.with_suffix(".onnx")
    path = path if path.is_file() else weights.parent / EXPORTS / STEP
    make = f"make it with python export.py --checkpoint {weights.parent}"
    if not path.is_file():
        raise UserError(f"{path}: no such file, [enhance] runtime = onnx needs it; {make}")
    found = runtimes.load(path)
    if found.description.digest != files.digest(weights):
        raise UserError(f"{path}: not made from {weights.name} as it is now; {make} --overwrite")
    return found


def find(config: Config) -> Path:
    """Return what a configuration asks for: [enhance] checkpoint, the newest run, or the default.

    The default are the files ``default.npz`` and ``default.ini``, or ``default.onnx``, in
    ``pretrained``.

    Raises:
        UserError: if there is nothing.
    """
    if config.enhance.checkpoint != Path():
        return config.enhance.checkpoint
    found = runs.run_folders(config.train.checkpoint_path, config.train.run_name)
    if found:
        return found[-1]
    suffixes = [".npz", ".onnx"] if config.enhance.runtime == "tensorflow" else [".onnx", ".npz"]
    for suffix in suffixes:
        path = PRETRAINED / f"default{suffix}"
        if path.is_file():
            return path
    raise UserError(
        f"{config.train.checkpoint_path / config.train.run_name}: no trained run, and no default "
        f"weights in {PRETRAINED}; train one with python train.py, or name one by "
        "[enhance] checkpoint"
    )


def from_config(config: Config) -> tuple[Enhancer, Path]:
    """Return the enhancer that a configuration asks for, and where its weights lie."""
    c, path = config.enhance, find(config)
    return load(path, c.channels, c.highband, Knobs.from_config(config), c.runtime), path


def needs_tensorflow(config: Config) -> bool:
    """Tell whether the enhancer of a configuration runs in TensorFlow."""
    return config.enhance.runtime == "tensorflow" and find(config).suffix not in runtimes.KINDS


def enhance(samples: np.ndarray, rate: int, model: Enhancer | Path | str) -> np.ndarray:
    """Enhance a recording.

    Args:
        samples: float [samples] or [samples, channels], full scale 1.
        rate: its sampling rate in Hz; resampled to the model's rate and back where they differ.
        model: what :func:`load` returns, or a path for it.

    Returns:
        float32 of the same shape, aligned to the sample.

    Raises:
        ValueError: if samples are not finite or not of one of these shapes.
    """
    model = model if isinstance(model, Enhancer) else load(model)
    x = np.asarray(samples, np.float32)
    if x.ndim not in (1, 2):
        raise ValueError(f"expected [samples] or [samples, channels], found {list(x.shape)}")
    if not np.isfinite(x).all():
        raise ValueError("expected finite samples, found NaN or infinite ones")
    if not x.size:
        return x
    return streaming.together([(x.reshape(len(x), -1), rate)], model)[0].reshape(x.shape)
