"""Ctrl-C and SIGTERM as requests to stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests(request_stop: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the signal's number in place of ending the process."""

    def handle(number: int, frame: FrameType | None) -> None:
        request_stop(number)

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
