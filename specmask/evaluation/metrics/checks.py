"""Checks and helpers that all metrics share: valid signals, silence, energies, other packages."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

CAP_DB = 100.0
SILENCE = 1e-8  # peak to peak: below the last bit of 24-bit audio


class MetricError(ValueError):
    """A metric that is not defined for these signals; the text is the reason, for a table."""


def checked(
    clean: np.ndarray, enhanced: np.ndarray, audible: bool = False, name: str = "enhanced"
) -> tuple[np.ndarray, np.ndarray]:
    """Return both signals as float64 [samples].

    Args:
        clean, enhanced: the signals.
        audible: the second signal must not be silent either.
        name: of the second signal, for the message.

    Raises:
        MetricError: if they are not two finite signals of one length, or clean is silent.
    """
    s, e = np.asarray(clean, np.float64), np.asarray(enhanced, np.float64)
    if s.ndim != 1 or s.shape != e.shape:
        raise MetricError(
            f"expected two signals [samples] of one length, found clean {list(s.shape)} and "
            f"{name} {list(e.shape)}"
        )
    if not s.size:
        raise MetricError("no samples")
    for x, what in ((s, "clean"), (e, name)):
        if not np.isfinite(x).all():
            raise MetricError(f"{what} holds NaN or infinite samples")
    if is_silent(s):
        raise MetricError("clean is silent")
    if audible and is_silent(e):
        raise MetricError(f"{name} is silent")
    return s, e


def long_enough(samples: int, rate: int, seconds: float, what: str) -> None:
    """Raise MetricError if so many samples at a rate in Hz are shorter than ``seconds``."""
    if samples < seconds * rate:
        raise MetricError(
            f"too short for {what}: {samples / rate:.2f} s, expected at least {seconds} s"
        )


def is_silent(x: np.ndarray) -> bool:
    """Return whether a signal is constant."""
    return bool(np.ptp(x) < SILENCE)


def energy(x: np.ndarray) -> float:
    """Σ x²."""
    return float(np.sum(np.square(x)))


def decibel(signal: float, error: float) -> float:
    """10 log10(signal / error) within ±CAP_DB, for energies that may be zero."""
    smallest = 10 ** (-CAP_DB / 10)
    if error <= signal * smallest:
        return CAP_DB
    if signal <= error * smallest:
        return -CAP_DB
    return 10 * math.log10(signal / error)


def by_package(package: str, compute: Callable[[], Any]) -> float:
    """Call another package; any failure in it becomes a MetricError."""
    try:
        value = float(compute())
    except MetricError:
        raise
    except ModuleNotFoundError:
        raise MetricError(f"package {package} is not installed") from None
    except Exception as error:  # one bad file must not end a run of thousands
        text = error.args[0] if error.args else ""
        text = text.decode() if isinstance(text, bytes) else text
        raise MetricError(f"package {package} failed: {type(error).__name__}: {text}") from error
    if not math.isfinite(value):
        raise MetricError(f"package {package} returned {value}")
    return value
