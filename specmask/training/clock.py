"""Speed of a running training: examples per second, waiting for data, time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Times the steps of a training.

    Args:
        steps: number of steps left to train.
    """

    def __init__(self, steps: int):
        self.steps, self.done = steps, 0
        self.started = self.lapped = time.monotonic()
        self.reset()

    def reset(self) -> None:
        """Start a new interval for the rate and the waiting share."""
        self.interval_started, self.waited, self.examples = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting for data."""
        started = time.monotonic()
        yield
        self.waited += time.monotonic() - started

    def tick(self, examples: int) -> None:
        """Count a step and its examples."""
        self.examples, self.done = self.examples + examples, self.done + 1

    @property
    def examples_per_second(self) -> float:
        """Of the current interval."""
        return self.examples / max(1e-9, time.monotonic() - self.interval_started)

    @property
    def waiting_share(self) -> float:
        """Share of the current interval spent waiting for data, from 0 to 1."""
        return self.waited / max(1e-9, time.monotonic() - self.interval_started)

    @property
    def time_left(self) -> str:
        """Estimate of the time for the remaining steps, as hours:minutes:seconds."""
        per_step = (time.monotonic() - self.started) / max(1, self.done)
        minutes, seconds = divmod(round(per_step * (self.steps - self.done)), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    def lap(self) -> float:
        """Return the seconds since the start or the last lap."""
        now = time.monotonic()
        seconds, self.lapped = now - self.lapped, now
        return seconds
