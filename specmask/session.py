"""What surrounds the steps of a training: time, signals, and a trace for the profiler."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

TRACED = (5, 15)  # steps that --profile traces: the first ones compile


class Clock:
    """Examples a second, the share of time spent waiting for data, and the time that is left.

    Args:
        steps: how many there are to do.
    """

    def __init__(self, steps: int):
        self.steps, self.done = steps, 0
        self.begun = self.lapped = time.monotonic()
        self.reset()

    def reset(self) -> None:
        """Begin another stretch for the rate and the share."""
        self.since, self.waited, self.examples = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        started = time.monotonic()
        yield
        self.waited += time.monotonic() - started

    def tick(self, examples: int) -> None:
        """Count a step."""
        self.examples, self.done = self.examples + examples, self.done + 1

    @property
    def examples_a_second(self) -> float:
        """Of the running stretch."""
        return self.examples / max(1e-9, time.monotonic() - self.since)

    @property
    def waiting_share(self) -> float:
        """Of the running stretch, from 0 to 1."""
        return self.waited / max(1e-9, time.monotonic() - self.since)

    @property
    def left(self) -> str:
        """Hours, minutes and seconds that the steps to do will take."""
        seconds = (time.monotonic() - self.begun) / max(1, self.done) * (self.steps - self.done)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    def lap(self) -> float:
        """Return the seconds since the start or the last lap."""
        now = time.monotonic()
        seconds, self.lapped = now - self.lapped, now
        return seconds


@contextmanager
def signals(ask: Callable[[int], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM only ask for a stop, with their number."""

    def handle(number: int, frame: Any) -> None:
        ask(number)

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Profiler:
    """Traces a few steps for TensorBoard's profiler; without a folder it does nothing."""

    def __init__(self, folder: Path | None):
        self.folder, self.steps, self.running = folder, 0, False

    def step(self) -> None:
        """Count a step that is about to begin."""
        if self.folder is None:
            return
        self.steps += 1
        if self.steps == TRACED[0]:
            tf.profiler.experimental.start(str(self.folder))
            self.running = True
        elif self.steps == TRACED[1]:
            self.stop()

    def stop(self) -> None:
        """Write the trace, if one is running."""
        if self.running:
            tf.profiler.experimental.stop()
            self.running = False
            print(f"trace of steps {TRACED[0]} to {TRACED[1]} -> {self.folder}")
