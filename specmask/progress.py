"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

LINE_SECONDS = 20.0  # between two lines


def duration(seconds: float) -> str:
    """Return a time as text.

    >>> duration(4.2), duration(265), duration(7300)
    ('4 s', '4 min 25 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """The share of some work that is done, on stderr; a context manager.

    Args:
        total: amount of work, e.g. in bytes.
        label: text in front.
        unit: of the amount.
    """

    def __init__(self, total: float, label: str, unit: str = "B"):
        self.total, self.label, self.done = total, label, 0.0
        self.bar = tqdm(
            total=total, desc=label, unit=unit, unit_scale=unit == "B", disable=None, smoothing=0.05
        )
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def update(self, amount: float) -> None:
        """Add an amount of work that is done."""
        self.done += amount
        self.bar.update(amount)
        now = time.monotonic()
        if self.bar.disable and now - self.last_line >= LINE_SECONDS and 0 < self.done < self.total:
            self.last_line = now
            elapsed = now - self.started
            left = elapsed * (self.total - self.done) / self.done
            print(
                f"{self.label}: {self.done / self.total:.0%} in {duration(elapsed)}, "
                f"about {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )
