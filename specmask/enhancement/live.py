"""Microphone to loudspeaker through a model, with meters and a bypass (extra ``live``)."""

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TextIO

import numpy as np

from specmask.audio import levels
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.streaming import Streamer
from specmask.errors import UserError

METER_DB = 60  # range of a meter
METER_WIDTH = 20


def devices() -> str:
    """Return the audio devices of this machine as text, numbered."""
    return str(_sounddevice().query_devices())


class Live:
    """One channel from an input device to an output device.

    Args:
        model: what :func:`specmask.load` returns; causal. The devices run at its rate: a
            resampler would make the sound 0.1 to 0.2 s late.
        block_seconds: of the device's blocks.

    Raises:
        UserError: if the model is not causal.
    """

    def __init__(self, model: Enhancer, block_seconds: float = 0.01):
        if not model.causal:
            raise UserError(
                "the network is not causal: it needs the whole recording and cannot run live; "
                "name a causal run with --set enhance.checkpoint=cp/RUN"
            )
        self.model, self.rate = model, model.rate
        self.block = max(1, round(block_seconds * self.rate))
        self.streamer = Streamer(model)
        self.ready = np.zeros(0, np.float32)
        self.started = False
        self.levels = (-np.inf, -np.inf)  # dBFS of input and output
        self.underruns = 0  # blocks that were not ready in time
        self.slowest_seconds = 0.0

    @property
    def latency_seconds(self) -> float:
        """Delay from input to output, without that of the devices."""
        return (self.streamer.lag + len(self.ready)) / self.rate

    @property
    def bypass(self) -> bool:
        """Whether the input is passed on, equally late as the enhanced sound."""
        return self.streamer.knobs.mix == 0

    def toggle(self) -> None:
        """Switch between enhanced sound and bypass."""
        off = replace(self.model.knobs, mix=0.0, post_gain_db=0.0)
        self.streamer.knobs = self.model.knobs if self.bypass else off

    def process(self, x: np.ndarray) -> np.ndarray:
        """Take a block from the device and return one of the same length: float32 [samples]."""
        started = time.perf_counter()
        self.ready = np.concatenate([self.ready, self.streamer.feed(x)])
        if not self.started:  # one hop ahead, so that what the device asks for is always ready
            self.started = len(self.ready) >= len(x) + self.model.stft.hop_length
        count = len(x) if self.started else 0
        y, self.ready = self.ready[:count], self.ready[count:]
        if self.started and len(y) < len(x):
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
        """
        stop = threading.Event()

        def callback(x: np.ndarray, y: np.ndarray, frames: int, clock: Any, status: Any) -> None:
            y[:, 0] = self.process(x[:, 0].copy())

        def show() -> None:
            while not stop.wait(0.2):
                out.write(f"\r{self.meters()}")
                out.flush()

        stream = _sounddevice().Stream(
            samplerate=self.rate,
            blocksize=self.block,
            channels=1,
            dtype="float32",
            device=device,
            callback=callback,
        )
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


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(f"sounddevice: {error}; python -m pip install sounddevice") from None
    except OSError as error:  # PortAudio, which sounddevice bundles except on Linux
        raise UserError(f"sounddevice: {error}; apt install libportaudio2, or similar") from None
    return sounddevice
