"""Ctrl-C and SIGTERM during a training."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
