"""Microphone to loudspeaker through a model, with meters and a bypass (extra ``live``)."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TextIO

import numpy as np

from specmask.audio import levels
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer
from specmask.errors import UserError

BLOCK_SECONDS = 0.01  # of the device's blocks
METER_DB = 60  # range of a meter
METER_WIDTH = 20
TRIAL_SECONDS = 5.0  # of silence, to measure the largest lag of a stream


def devices() -> str:
    """Return the audio devices of this machine as text, numbered."""
    return str(_sounddevice().query_devices()) or "no audio devices"


class Live:
    """One channel from an input device to an output device.

    Args:
        model: what :func:`specmask.load` returns; causal.

    Raises:
        UserError: if the model is not causal.
    """

    def __init__(self, model: Enhancer):
        if not model.causal:
            raise UserError(
                "the network is not causal: it needs the whole recording and cannot run live; "
                "name a causal run with --set enhance.checkpoint=cp/RUN"
            )
        self.model = model
        self.levels = (-np.inf, -np.inf)  # dBFS of input and output
        self.underruns = 0  # blocks that were not ready in time
        self.slowest_seconds = 0.0
        self._start(model.rate)

    def _start(self, rate: int) -> None:
        """Start a stream at the device's rate in Hz.

        Another one than the model's is later by 0.07 to 0.2 s, since resamplers work in blocks.
        """
        self.rate, self.block = rate, max(1, round(BLOCK_SECONDS * rate))
        # Delayed by the largest lag of the stream, there is always a block ready.
        self.delay, silence = 0, np.zeros(self.block, np.float32)
        stream = Streamer(self.model, rate=rate)
        for _ in range(round(TRIAL_SECONDS / BLOCK_SECONDS)):
            stream.feed(silence)
            self.delay = max(self.delay, stream.lag)
        if rate != self.model.rate:  # the lag of a resampler goes up and down, at times by more
            self.delay += self.block
        self.streamer = Streamer(self.model, rate=rate)
        self.ready = np.zeros(self.delay, np.float32)

    @property
    def latency_seconds(self) -> float:
        """Delay from input to output, that of recording a block too, without the devices'."""
        return (self.delay + self.block) / self.rate

    @property
    def bypass(self) -> bool:
        """Whether the input is passed on, with the delay of the enhanced sound."""
        return self.streamer.knobs.mix == 0

    def toggle(self) -> None:
        """Switch between enhanced sound and bypass."""
        off = replace(self.model.knobs, mix=0.0, post_gain_db=0.0)
        self.streamer.knobs = self.model.knobs if self.bypass else off

    def process(self, x: np.ndarray) -> np.ndarray:
        """Take a block from the device and return one of the same length: float32 [samples]."""
        started = time.perf_counter()
        self.ready = np.concatenate([self.ready, self.streamer.feed(x)])
        y, self.ready = self.ready[: len(x)], self.ready[len(x) :]
        if len(y) < len(x):
            self.underruns += 1
            y = np.concatenate([np.zeros(len(x) - len(y), np.float32), y])
        self.levels = levels.level_db(x), levels.level_db(y)
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - started)
        return y

    def meters(self) -> str:
        """Return levels of input and output as a line of text."""
        bars = []
        for level in self.levels:
            filled = round(METER_WIDTH * min(1, max(0, 1 + level / METER_DB)))
            bars.append("#" * filled + "." * (METER_WIDTH - filled))
        state = "bypass  " if self.bypass else "enhanced"
        return f"in {bars[0]}  out {bars[1]}  {state}"

    def run(self, keys: Iterable[str], out: TextIO, device: Any = None) -> None:
        """Run until a line of ``keys`` is q; an empty line or b switches the bypass.

        Args:
            keys: lines, e.g. ``sys.stdin``.
            out: receives the meters.
            device: number or name, or a pair for input and output, as sounddevice takes them.

        Raises:
            UserError: if there is no such device, or it cannot be opened.
        """
        stop = threading.Event()

        def callback(x: np.ndarray, y: np.ndarray, frames: int, clock: Any, status: Any) -> None:
            y[:, 0] = self.process(x[:, 0].copy())

        def show() -> None:
            while not stop.wait(0.2):
                out.write(f"\r{self.meters()}")
                out.flush()

        stream = self._open(callback, device)
        meter = threading.Thread(target=show, daemon=True)
        with stream:
            meter.start()
            try:
                for line in keys:
                    key = line.strip().lower()
                    if key == "q":
                        break
                    if key in ("", "b"):
                        self.toggle()
            finally:
                stop.set()
                meter.join()
        out.write("\n")

    def _open(self, callback: Callable[..., None], device: Any) -> Any:
        """Open the devices at the model's rate, else at the input device's own."""
        sounddevice = _sounddevice()

        def at(rate: int) -> Any:
            if rate != self.rate:
                self._start(rate)
            return sounddevice.Stream(
                samplerate=rate,
                blocksize=self.block,
                channels=1,
                dtype="float32",
                device=device,
                callback=callback,
            )

        try:
            try:
                return at(self.model.rate)
            except sounddevice.PortAudioError:
                source = device[0] if isinstance(device, tuple) else device
                return at(int(sounddevice.query_devices(source, "input")["default_samplerate"]))
        except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such name
            raise UserError(
                f"audio devices: {error}; see python live.py --devices, and choose with --input "
                "and --output"
            ) from None


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(f"sounddevice: {error}; python -m pip install sounddevice") from None
    except OSError as error:  # PortAudio, which sounddevice bundles except on Linux
        raise UserError(f"sounddevice: {error}; apt install libportaudio2, or similar") from None
    return sounddevice
