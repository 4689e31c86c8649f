"""Enhancement of arrays, streams, files and folders; always block by block, in constant memory.

A whole file is a stream that is fed in large blocks, so the two cannot differ.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import tensorflow as tf
from tqdm import tqdm

from specmask import audio, cache, checkpoint, masks, models, spectral
from specmask import config as configuration
from specmask.audio import Rejected
from specmask.config import Config
from specmask.errors import UserError
from specmask.spectral import Stft

FRAMES_A_CALL = 1000  # frames that the network sees at a time: bounds the memory
OVERLAP_FRAMES = 100  # cross-fade between the windows of a network that is not causal
WRITE_FRAMES = 1 << 14  # libsndfile's Vorbis encoder overflows its stack on long writes
LOG = "enhanced.json"


@dataclass(frozen=True)
class Enhancer:
    """A trained network, ready to use."""

    config: Config
    stft: Stft
    network: models.Network
    digest: str
    step: Any  # tf.function (noisy, state) -> (enhanced, state)

    @property
    def rate(self) -> int:
        """Sampling rate that the network works at, in Hz."""
        return self.config.data.sample_rate

    @property
    def latency_seconds(self) -> float:
        """How far the output of a stream lags behind its input."""
        frames = 0 if self.network.causal else FRAMES_A_CALL
        return (self.stft.window_length + frames * self.stft.hop_length) / self.rate


def load(path: Path | str, channels: str = "linked") -> Enhancer:
    """Load a trained run from its folder (its best weights) or one of its .npz files.

    Args:
        path: of the folder or file; the network and its settings are read from its config.ini.
        channels: linked (one mask for all channels) or separate.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        best = path / "best.npz"
        path = next((p for p in (best, *checkpoint.newest_first(path)) if p.is_file()), best)
    if not path.is_file() or not (folder / "config.ini").is_file():
        raise UserError(f"{path}: no trained weights with a config.ini; train some with train.py")
    config = configuration.load(folder / "config.ini")
    network = models.build(config)
    checkpoint.load(path, {"model": network.model.variables})
    digest = hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
    step = _step(network, linked=channels == "linked")
    return Enhancer(config, Stft.from_config(config), network, digest, step)


def find(config: Config) -> Path:
    """Return the run that a configuration asks for: [enhance] checkpoint, or the newest one."""
    if config.enhance.checkpoint != Path():
        return config.enhance.checkpoint
    found = checkpoint.runs(config.train.checkpoint_path, config.train.run_name)
    if not found:
        raise UserError(
            f"{config.train.checkpoint_path / config.train.run_name}: no trained run; "
            "train one with python train.py, or name one by [enhance] checkpoint"
        )
    return found[-1]


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
    if x.ndim not in (1, 2) or not np.isfinite(x).all():
        raise ValueError(f"expected finite [samples] or [samples, channels], got {x.shape}")
    if not x.size:
        return x
    blocks = _through([x.reshape(len(x), -1)], rate, x.reshape(len(x), -1).shape[1], model)
    return audio.fit(np.concatenate(list(blocks)), len(x)).reshape(x.shape)


class Streamer:
    """Enhance a stream of blocks of any size at the model's rate.

    ``feed`` returns what is ready: ``model.latency_seconds`` behind the input. ``flush`` returns
    the rest; then as many samples have come out as went in, and a new stream may begin.

    Args:
        model: what :func:`load` returns.
        channels: number of channels.
    """

    def __init__(self, model: Enhancer, channels: int = 1):
        self.model, self.channels = model, channels
        self._reset()

    def _reset(self) -> None:
        pad = self.model.stft.pad
        self.queue = np.zeros((self.channels, pad), np.float32)  # starts with the zeros in front
        self.overlap = np.zeros((self.channels, pad), np.float32)
        self.to_drop = pad
        self.fed = self.given = 0
        causal = self.model.network.causal
        self.masker = _Carried(self) if causal else _Windows(self)

    def feed(self, block: np.ndarray) -> np.ndarray:
        """Take float32 [samples] or [samples, channels] and return enhanced samples, if any."""
        flat = block.ndim == 1
        x = np.asarray(block, np.float32).reshape(len(block), self.channels).T
        self.fed += x.shape[1]
        y = self._process(x)
        self.given += y.shape[1]
        return y[0] if flat else y.T

    def flush(self) -> np.ndarray:
        """End the stream and return what is still inside: [samples], or [samples, channels]."""
        stft = self.model.stft
        missing = self.fed - self.given
        zeros = stft.frames(self.fed) * stft.hop_length - self.fed if self.fed else 0
        y = self._process(np.zeros((self.channels, zeros), np.float32), last=True)
        self._reset()
        y = y[:, :missing]
        return y[0] if self.channels == 1 else y.T

    def _process(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        stft = self.model.stft
        self.queue = np.concatenate([self.queue, x], axis=1)
        frames = (self.queue.shape[1] - stft.pad) // stft.hop_length
        out = []
        for start in range(0, frames, FRAMES_A_CALL):
            count = min(FRAMES_A_CALL, frames - start)
            begin = start * stft.hop_length
            piece = self.queue[:, begin : begin + stft.pad + count * stft.hop_length]
            for enhanced in self.masker.feed(spectral.analyse(piece, stft)):
                out.append(self._add(enhanced))
        self.queue = self.queue[:, frames * stft.hop_length :]
        if last:
            out += [self._add(enhanced) for enhanced in self.masker.flush()]
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *out], axis=1)

    def _add(self, enhanced: np.ndarray) -> np.ndarray:
        """Overlap-add frames and return the samples that are complete."""
        stft = self.model.stft
        y = spectral.overlap_add(enhanced, stft)
        y[:, : stft.pad] += self.overlap
        ready = enhanced.shape[1] * stft.hop_length
        self.overlap = y[:, ready:]
        drop = min(self.to_drop, ready)
        self.to_drop -= drop
        return y[:, drop:ready]


class _Carried:
    """Frames through a causal network, its state carried from call to call."""

    def __init__(self, streamer: Streamer):
        self.step = streamer.model.step
        self.state = streamer.model.network.zero_state(streamer.channels)

    def feed(self, frames: np.ndarray) -> Iterator[np.ndarray]:
        enhanced, self.state = self.step(tf.constant(cache.to_pairs(frames)), self.state)
        yield cache.to_complex(enhanced.numpy())

    def flush(self) -> Iterator[np.ndarray]:
        return iter(())


class _Windows:
    """Frames through a network that is not causal, in windows with a cross-fade between them."""

    def __init__(self, streamer: Streamer):
        self.step = streamer.model.step
        self.buffer: np.ndarray | None = None
        self.tail: np.ndarray | None = None  # the last frames of the window before, enhanced
        self.fade = ((np.arange(OVERLAP_FRAMES) + 1) / (OVERLAP_FRAMES + 1)).astype(np.float32)

    def feed(self, frames: np.ndarray) -> Iterator[np.ndarray]:
        if self.buffer is not None:
            frames = np.concatenate([self.buffer, frames], axis=1)
        self.buffer = frames
        while self.buffer.shape[1] > FRAMES_A_CALL:
            enhanced = self._window(self.buffer[:, :FRAMES_A_CALL])
            cut = FRAMES_A_CALL - OVERLAP_FRAMES
            self.tail = enhanced[:, cut:]
            self.buffer = self.buffer[:, cut:]
            yield enhanced[:, :cut]

    def flush(self) -> Iterator[np.ndarray]:
        if self.buffer is not None and self.buffer.shape[1]:
            yield self._window(self.buffer)

    def _window(self, frames: np.ndarray) -> np.ndarray:
        enhanced, _ = self.step(tf.constant(cache.to_pairs(np.ascontiguousarray(frames))), [])
        enhanced = cache.to_complex(enhanced.numpy())
        if self.tail is not None:
            fade = self.fade[:, None]
            enhanced[:, :OVERLAP_FRAMES] *= fade
            enhanced[:, :OVERLAP_FRAMES] += self.tail * (1 - fade)
        return enhanced


def _step(network: models.Network, linked: bool) -> Any:
    """Return the compiled function (noisy, state) -> (enhanced, state), any number of frames.

    Channels are the batch. Linked, they share the mean of their masks: the image stays.
    """

    def step(noisy: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        mask, state = network(noisy, state)
        if linked:
            mask = tf.reduce_mean(mask, axis=0, keepdims=True)
        return masks.apply_complex(mask, noisy), state

    specs = [
        tf.TensorSpec((None, *x.shape[1:]), tf.float32, name=x.name) for x in network.model.inputs
    ]
    return tf.function(step, input_signature=(specs[0], specs[1:]))


# ---------------------------------------------------------------- files


def _through(blocks: Any, rate: int, channels: int, model: Enhancer) -> Iterator[np.ndarray]:
    """Pass blocks [samples, channels] at a rate through the model, resampled there and back."""
    streamer = Streamer(model, channels)
    same = rate == model.rate
    there = None if same else _resampler(rate, model.rate, channels)
    back = None if same else _resampler(model.rate, rate, channels)
    for block in blocks:
        x = block if same else there(block)
        y = streamer.feed(x)
        yield y if same else back(y)
    if not same:
        y = streamer.feed(there(np.zeros((0, channels), np.float32), last=True))
        yield back(y)
    y = streamer.flush().reshape(-1, channels)
    yield y if same else back(y, last=True)


def _resampler(rate_in: int, rate_out: int, channels: int) -> Any:
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")

    def resample(x: np.ndarray, last: bool = False) -> np.ndarray:
        y = stream.resample_chunk(np.ascontiguousarray(x.reshape(-1, channels)), last=last)
        return y.reshape(-1, channels)

    return resample


def enhance_file(source: Path, target: Path, model: Enhancer, block_seconds: float) -> float:
    """Enhance a file into another one of the same rate, length, channels and format.

    The target appears when it is complete.

    Returns:
        the file's length in seconds.

    Raises:
        AudioError: if the source cannot be used.
    """
    with audio.opened(source) as file:
        rate, channels, total = file.samplerate, file.channels, file.frames
        size = max(1, round(block_seconds * rate))
        blocks = _through(_checked_blocks(file, size), rate, channels, model)
        with audio.replacing(target) as temporary, _writer(temporary, file) as out:
            written = 0
            for block in blocks:
                written += _write(out, block[: total - written])
            _write(out, np.zeros((total - written, channels), np.float32))
    return total / rate


def _checked_blocks(file: sf.SoundFile, size: int) -> Iterator[np.ndarray]:
    done = 0
    while done < file.frames:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise audio.AudioError(
                f"damaged after {done / file.samplerate:.2f} s: {error}"
            ) from None
        if not len(block):
            raise audio.AudioError(f"truncated: {done} frames of {file.frames}")
        if not np.isfinite(block).all():
            raise audio.AudioError("holds NaN or infinite samples")
        done += len(block)
        yield block
    if not done:
        raise audio.AudioError("holds no samples")


def _writer(path: Path, like: sf.SoundFile) -> sf.SoundFile:
    if not sf.check_format(like.format, like.subtype):
        raise audio.AudioError(
            f"cannot write {like.format} {like.subtype}; convert it to wav or flac"
        )
    return sf.SoundFile(
        path, "w", like.samplerate, like.channels, like.subtype, like.endian, like.format
    )


def _write(out: sf.SoundFile, block: np.ndarray) -> int:
    for start in range(0, len(block), WRITE_FRAMES):
        out.write(block[start : start + WRITE_FRAMES])
    return len(block)


@dataclass
class Summary:
    """What a run over a folder did."""

    done: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0
    seconds: float = 0.0
    rejected: list[Rejected] | None = None


def enhance_folder(
    source: Path, target: Path, model: Enhancer, block_seconds: float, overwrite: bool = False
) -> Summary:
    """Enhance every audio file below a folder (or one file) into another folder.

    Names and subfolders are kept. What this model has already enhanced is skipped. A file that
    cannot be used is reported and does not stop the rest.

    Raises:
        UserError: if there is nothing to do, or the target holds files of another origin.
    """
    names = _inputs(source, target)
    root = source if source.is_dir() else source.parent
    target.mkdir(parents=True, exist_ok=True)
    _claim(target, names, model, overwrite)
    summary = Summary(rejected=[])
    started = time.monotonic()
    for name in tqdm(names, desc="enhance", unit="file", disable=None):
        if (target / name).is_file() and not overwrite:
            summary.skipped += 1
            continue
        try:
            summary.audio_seconds += enhance_file(root / name, target / name, model, block_seconds)
            summary.done += 1
        except audio.AudioError as error:
            summary.rejected.append(Rejected(name.as_posix(), str(error)))
    summary.seconds = time.monotonic() - started
    if not summary.done and not summary.skipped:
        first = summary.rejected[0]
        raise UserError(
            f"{source}: none of {len(names)} files can be used, the first: "
            f"{first.path}: {first.reason}; name a folder of recordings"
        )
    return summary


def _inputs(source: Path, target: Path) -> list[Path]:
    if source.is_file():
        names, root = [Path(source.name)], source.parent
    elif source.is_dir():
        names, root = audio.files(source), source
    else:
        raise UserError(f"{source}: no such file or folder; name what to enhance")
    if root.resolve() == target.resolve():
        raise UserError(f"{target}: is the input folder itself; name another folder for the output")
    inside = target.resolve()
    names = [n for n in names if inside not in (root / n).resolve().parents]
    if not names:
        raise UserError(
            f"{source}: no audio files; name a folder that holds some, or make the test set with "
            "python data/data_prep.py"
        )
    return names


def _claim(target: Path, names: list[Path], model: Enhancer, overwrite: bool) -> None:
    """Refuse to mix files of two models in one folder; then note whose files these are."""
    log = target / LOG
    existing = next((n for n in names if (target / n).exists()), None)
    if existing is not None and not overwrite:
        try:
            maker = json.loads(log.read_text(encoding="utf-8")).get("model")
        except (OSError, ValueError):
            maker = None
        if maker != model.digest:
            whom = "another checkpoint" if maker else "something else"
            raise UserError(
                f"{target}: holds files made by {whom} (the first: {existing}); "
                "--overwrite makes them again, or name another output folder"
            )
    with audio.replacing(log) as temporary:
        temporary.write_text(json.dumps({"model": model.digest}), encoding="utf-8")
