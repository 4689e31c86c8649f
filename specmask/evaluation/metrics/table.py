"""All metrics by name."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from specmask.evaluation.metrics import composite
from specmask.evaluation.metrics.checks import MetricError
from specmask.evaluation.metrics.distortion import (
    sdr,
    si_sdr,
    si_sdr_improvement,
    snr,
    snr_improvement,
)
from specmask.evaluation.metrics.perceptual import dnsmos, estoi, pesq, stoi

METRICS = (
    "si_sdr",
    "si_sdr_improvement",
    "sdr",
    "pesq",
    "stoi",
    "estoi",
    "snr_improvement",
    "segmental_snr",
    "log_spectral_distance",
    "spectrogram_rmse",
    "csig",
    "cbak",
    "covl",
)
DNSMOS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")  # half a second a file: on demand
NEED_NOISY = frozenset({"si_sdr_improvement", "snr_improvement"})


def score(
    clean: np.ndarray,
    noisy: np.ndarray | None,
    enhanced: np.ndarray,
    rate: int,
    metrics: Sequence[str] = METRICS,
) -> tuple[dict[str, float], dict[str, str]]:
    """Measure several figures of one signal; none of them can end a run.

    Args:
        clean: [samples].
        noisy: [samples], or None: the improvements are not measured then.
        enhanced: [samples].
        rate: in Hz.
        metrics: names, any of snr, :data:`METRICS` and :data:`DNSMOS`.

    Returns:
        value by name, NaN for what could not be measured; and the reason by name for those.

    Raises:
        ValueError: for the name of an unknown metric, which is a mistake in the program.
    """

    @functools.cache  # csig, cbak, covl share their parts, and PESQ with the figure of that name
    def several(name: str) -> dict[str, float]:
        match name:
            case "pesq":
                return {"pesq": pesq(clean, enhanced, rate)}
            case "composite":
                return composite.composite(clean, enhanced, rate, several("pesq")["pesq"])
            case "dnsmos":
                return {f"dnsmos_{k}": v for k, v in dnsmos(enhanced, rate).items()}

    def measure(name: str) -> float:
        match name:
            case "snr" | "si_sdr" | "sdr":
                return {"snr": snr, "si_sdr": si_sdr, "sdr": sdr}[name](clean, enhanced)
            case "stoi" | "estoi":
                return {"stoi": stoi, "estoi": estoi}[name](clean, enhanced, rate)
            case "segmental_snr" | "log_spectral_distance" | "spectrogram_rmse":
                return getattr(composite, name)(clean, enhanced, rate)
            case "snr_improvement" | "si_sdr_improvement":
                if noisy is None:
                    raise MetricError("no noisy signal to compare with")
                improvement = snr_improvement if name == "snr_improvement" else si_sdr_improvement
                return improvement(clean, noisy, enhanced)
            case "pesq":
                return several("pesq")[name]
            case "csig" | "cbak" | "covl":
                return several("composite")[name]
            case "dnsmos_sig" | "dnsmos_bak" | "dnsmos_ovrl":
                return several("dnsmos")[name]
        known = ", ".join(("snr", *METRICS, *DNSMOS))
        raise ValueError(f"unknown metric {name!r}; known are {known}")

    values, reasons = {}, {}
    for name in metrics:
        try:
            values[name] = measure(name)
        except MetricError as error:
            values[name], reasons[name] = math.nan, str(error)
    return values, reasons
