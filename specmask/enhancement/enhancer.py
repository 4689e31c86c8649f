"""Enhancers: a trained network in one of the runtimes, and the settings of its use.

TensorFlow is imported only for a run that needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from specmask import files
from specmask.audio.stft import Stft
from specmask.config.schema import Config
from specmask.enhancement import runtimes
from specmask.enhancement.postprocess import Knobs
from specmask.enhancement.runtimes import Runtime
from specmask.errors import UserError
from specmask.silence import import_tensorflow
from specmask.training import runs

WINDOW_FRAMES = 1000  # that a network that is not causal sees at a time

CHOICES = {"channels": ("linked", "separate", "mid"), "highband": ("keep", "drop")}

# Runtimes without TensorFlow, the quickest first -> suffix of their files.
EXPORT_SUFFIXES = {"litert": ".tflite", "onnx": ".onnx"}
RUNTIMES = ("auto", "tensorflow", *EXPORT_SUFFIXES)
EXPORTS = "exports"  # folder in a run's folder, where export.py writes
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
        knobs: settings of the post-processing, or a dictionary of them.

    Raises:
        ValueError: if a setting has an unknown value.
    """

    runtime: Runtime
    channels: str = "linked"
    highband: str = "keep"
    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} = {value!r}: expected one of {', '.join(choices)}")
        object.__setattr__(self, "knobs", Knobs.of(self.knobs))  # the class is frozen

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
    knobs: Knobs | Mapping[str, float] | None = None,
    runtime: str = "auto",
    engine: str | None = None,
) -> Enhancer:
    """Load the default model, a trained run, a .npz file, or a file of export.py.

    >>> load().latency_seconds
    0.032
    >>> load("default", knobs={"mix": 0.9}).rate
    16000

    Args:
        path: of a run's folder (its best weights), a .npz, .onnx or .tflite file, or "default" for
            the model that comes with Specmask. The network and its settings are read from the
            config.ini beside the weights, or the .ini of the same name; those of exports from the
            file itself.
        channels, highband, knobs: see :class:`Enhancer`.
        runtime: auto, tensorflow, litert or onnx. auto runs a file in its own runtime, a run in
            LiteRT or ONNX Runtime where export.py has been called for its weights and in
            TensorFlow otherwise, and the default model in the first one that is installed.
        engine: earlier name of ``runtime``.

    Raises:
        UserError: if there is none, or it is damaged.
        ValueError: if one of the settings is unknown.
    """
    runtime = engine or runtime
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime = {runtime!r}: expected one of {', '.join(RUNTIMES)}")
    path = Path(path)
    if path == Path(DEFAULT) or (runtime != "auto" and path.parent == PRETRAINED):
        path = default_model(runtime)
    return Enhancer(_runtime(path, runtime), channels, highband, Knobs.of(knobs))


def _runtime(path: Path, name: str) -> Runtime:
    if path.suffix in runtimes.EXPORTED:
        return runtimes.load(path)
    weights, ini = weights_and_config(path)
    if name in EXPORT_SUFFIXES:
        return _exported(weights, name)
    if name == "auto" and path.is_dir():
        for export in filter(runtimes.is_installed, _exports(weights)):
            if runtime := opened_export(export, weights):
                return runtime
    import_tensorflow()
    from specmask.enhancement.keras_runtime import KerasRuntime

    return KerasRuntime(weights, ini)


def default_model(runtime: str = "auto") -> Path:
    """Return the path of the default model for a runtime, or for the first one that is installed.

    Raises:
        UserError: if it is missing.
    """
    paths = [PRETRAINED / f"{DEFAULT}{suffix}" for suffix in (*EXPORT_SUFFIXES.values(), ".npz")]
    if runtime == "tensorflow":
        paths = paths[-1:]
    elif runtime in EXPORT_SUFFIXES:
        paths = [PRETRAINED / f"{DEFAULT}{EXPORT_SUFFIXES[runtime]}"]
    existing = [path for path in paths if path.is_file()]
    if not existing:
        raise UserError(f"{PRETRAINED}: no default weights; install Specmask again")
    return next(filter(runtimes.is_installed, existing), existing[-1])


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


def _exports(weights: Path) -> list[Path]:
    """Return the exported steps of weights: in exports/, or of the same name."""
    paths = [
        path
        for suffix in EXPORT_SUFFIXES.values()
        for path in (weights.with_suffix(suffix), weights.parent / EXPORTS / f"step{suffix}")
    ]
    return [path for path in paths if path.is_file()]


def opened_export(path: Path, weights: Path) -> Runtime | None:
    """Return an exported step; None if it cannot be opened or is not of these weights."""
    try:
        step = runtimes.load(path)
    except UserError:
        return None
    return step if step.description.digest == files.digest(weights) else None


def _exported(weights: Path, runtime: str) -> Runtime:
    """Return the exported step of weights for a runtime."""
    make = f"make it with python export.py --checkpoint {weights.parent}"
    suffix = EXPORT_SUFFIXES[runtime]
    path = next((path for path in _exports(weights) if path.suffix == suffix), None)
    if path is None:
        path = weights.parent / EXPORTS / f"step{suffix}"
        raise UserError(f"{path}: no such file, [enhance] runtime = {runtime} needs it; {make}")
    step = runtimes.load(path)
    if step.description.digest != files.digest(weights):
        raise UserError(f"{path}: not made from the present {weights.name}; {make} --overwrite")
    return step


def find(config: Config) -> Path:
    """Return the model of a configuration: [enhance] checkpoint, the newest run, or the default.

    The newest run is that of [train] run_name, or where it has none, of any name.

    Raises:
        UserError: if there is none.
    """
    if config.enhance.checkpoint != Path():
        return config.enhance.checkpoint
    folder = runs.newest_run(config.train.checkpoint_path, config.train.run_name)
    return folder or default_model(config.enhance.runtime)


def from_config(config: Config) -> tuple[Enhancer, Path]:
    """Return the enhancer of a configuration and the path of its weights."""
    c, path = config.enhance, find(config)
    return load(path, c.channels, c.highband, Knobs.from_config(config), c.runtime), path
