"""Enhancers: a trained network in one of the runtimes, and the settings of its use.

TensorFlow is imported only for a run that needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path

from specmask import files
from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.enhancement import runtimes
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.runtimes import Runtime
from specmask.errors import UserError
from specmask.training import runs

WINDOW_FRAMES = 1000  # that a network that is not causal sees at a time

EXPORTS = "exports"  # folder in a run's folder, where export.py writes
STEP = "step.onnx"
DEFAULT = "default"  # name of the model that comes with Specmask
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
        highband: keep or drop what is above the model's band.
        knobs: settings of the post-processing.
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
        """Delay from input to output of a stream at the model's rate."""
        frames = self.lookahead_frames if self.causal else WINDOW_FRAMES
        return (self.stft.window_length + frames * self.stft.hop_length) / self.rate


def load(
    path: Path | str = DEFAULT,
    channels: str = "linked",
    highband: str = "keep",
    knobs: Knobs | None = None,
    runtime: str = "tensorflow",
) -> Enhancer:
    """Load a trained run from its folder (its best weights), a .npz file, or a file of export.py.

    >>> load("default", runtime="onnx").latency_seconds
    0.025

    Args:
        path: of the folder or file, or "default" for the model that comes with Specmask; the
            network and its settings are read from the config.ini beside it, or the .ini of the
            same name; those of exports from the file itself.
        channels, highband, knobs: see :class:`Enhancer`.
        runtime: of a run: tensorflow, or onnx for what export.py has written into its folder.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    path = default_model(runtime) if path == DEFAULT else Path(path)
    return Enhancer(_runtime(path, runtime), channels, highband, knobs or Knobs())


def _runtime(path: Path, name: str) -> Runtime:
    if path.suffix in runtimes.EXPORTED:
        return runtimes.load(path)
    weights, ini = weights_and_config(path)
    if name == "onnx":
        return _exported(weights)
    from specmask.enhancement.keras_runtime import KerasRuntime  # imports TensorFlow

    return KerasRuntime(weights, ini)


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
    runtime = runtimes.load(path)
    if runtime.description.digest != files.digest(weights):
        raise UserError(f"{path}: not made from the present {weights.name}; {make} --overwrite")
    return runtime


def find(config: Config) -> Path:
    """Return the model of a configuration: [enhance] checkpoint, the newest run, or the default.

    Raises:
        UserError: if there is none.
    """
    if config.enhance.checkpoint != Path():
        return config.enhance.checkpoint
    folders = runs.run_folders(config.train.checkpoint_path, config.train.run_name)
    if folders:
        return folders[-1]
    return default_model(config.enhance.runtime)


def default_model(runtime: str = "tensorflow") -> Path:
    """Return the model that comes with Specmask: its weights, or its export for other runtimes.

    Raises:
        UserError: if there is none.
    """
    suffixes = [".npz", ".onnx"] if runtime == "tensorflow" else [".onnx", ".npz"]
    for suffix in suffixes:
        path = PRETRAINED / f"{DEFAULT}{suffix}"
        if path.is_file():
            return path
    raise UserError(
        f"no trained run, and no default weights in {PRETRAINED}; train one with python train.py, "
        "or name one by [enhance] checkpoint"
    )


def from_config(config: Config) -> tuple[Enhancer, Path]:
    """Return the enhancer of a configuration and the path of its weights."""
    c, path = config.enhance, find(config)
    return load(path, c.channels, c.highband, Knobs.from_config(config), c.runtime), path


def needs_tensorflow(config: Config) -> bool:
    """Return whether the enhancer of a configuration runs in TensorFlow."""
    return config.enhance.runtime == "tensorflow" and find(config).suffix not in runtimes.EXPORTED
