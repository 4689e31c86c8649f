"""The table of metrics: how each is computed, what it needs, and how it is shown.

A new metric is one line in :data:`METRICS`; it becomes a default by its name in :data:`DEFAULT`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np

from specmask.config.types import PESQ_RATE_HZ
from specmask.evaluation.metrics import composite, distortion, perceptual
from specmask.evaluation.metrics.checks import MetricError
from specmask.evaluation.metrics.loudness import loudness


@dataclass(frozen=True)
class Metric:
    """A metric as the program and the reader need it.

    Attributes:
        label: heading of its column, with the unit.
        digits: behind the decimal point.
        definition: one line for the reader, without the package that computes it.
        function: computes the value.
        needs: attributes of :class:`Signals` that the function takes, in order.
        package: distribution whose version is part of the figure, or empty.
        less_is_better: as for a distance.
        note: for readers who compare with figures of others.
        revision: number of times that its figures have changed; such rows are scored again.
    """

    label: str
    digits: int
    definition: str
    function: Callable[..., float]
    needs: tuple[str, ...]
    package: str = ""
    less_is_better: bool = False
    note: str = ""
    revision: int = 0


class Signals:
    """One channel of the signals of a file, and the figures that several metrics share.

    Args:
        clean: [samples], or None.
        noisy: [samples], or None.
        enhanced: [samples].
        rate: in Hz.
    """

    def __init__(
        self, clean: np.ndarray | None, noisy: np.ndarray | None, enhanced: np.ndarray, rate: int
    ):
        self._clean, self._noisy, self.enhanced, self.rate = clean, noisy, enhanced, rate

    @property
    def clean(self) -> np.ndarray:
        return _given(self._clean, "clean")

    @property
    def noisy(self) -> np.ndarray:
        return _given(self._noisy, "noisy")

    @cached_property
    def pesq_wb(self) -> float:
        return perceptual.pesq(self.clean, self.enhanced, self.rate, "wb")

    @cached_property
    def pesq_nb(self) -> float:
        return perceptual.pesq(self.clean, self.enhanced, self.rate, "nb")

    @cached_property
    def composite(self) -> dict[str, float]:
        pesq = self.pesq_wb if self.rate >= PESQ_RATE_HZ else self.pesq_nb
        return composite.composite(self.clean, self.enhanced, self.rate, pesq)

    @cached_property
    def dnsmos(self) -> dict[str, float]:
        return perceptual.dnsmos(self.enhanced, self.rate)


def _given(signal: np.ndarray | None, name: str) -> np.ndarray:
    if signal is None:
        raise MetricError(f"no {name} signal to compare with")
    return signal


PAIR = ("clean", "enhanced")
PAIR_AT_RATE = (*PAIR, "rate")
TRIPLE = ("clean", "noisy", "enhanced")

_HU_LOIZOU = "Hu and Loizou 2008, with the PESQ of this table"
_PIECES = "in pieces of 16 s at most"
_NO_CORRIGENDUM = "without Corrigendum 2 of 2018, which raises wideband scores"

# Processor time per minute of audio, as a multiple of PESQ's: DNSMOS P.835 59, Distill-MOS 16,
# ViSQOL 2.9, DNSMOS P.808 2.6, the composite ratings 0.7, ESTOI 0.65, STOI 0.4, SDR 0.25, all
# others below 0.1.
# Names are those of the columns of scores.csv, in their order. "pesq" stands for one of the two
# PESQ columns, see :func:`column`.
METRICS = {
    "snr": Metric(
        "SNR dB", 2, "10 log10 of clean energy over energy of the difference", distortion.snr, PAIR
    ),
    "si_sdr": Metric("SI-SDR dB", 2, "Le Roux et al. 2019, zero mean", distortion.si_sdr, PAIR),
    "si_sdr_improvement": Metric(
        "SI-SDRi dB", 2, "SI-SDR over that of the noisy file", distortion.si_sdr_improvement, TRIPLE
    ),
    "sdr": Metric(
        "SDR dB", 2, "BSS-eval, filter of 512 taps", distortion.sdr, PAIR, "fast_bss_eval"
    ),
    "pesq_wb": Metric(
        "PESQ-WB",
        3,
        f"ITU-T P.862.2, {_PIECES}",
        float,
        ("pesq_wb",),
        "pesq",
        note=_NO_CORRIGENDUM,
        revision=1,
    ),
    "pesq_nb": Metric(
        "PESQ-NB",
        3,
        f"ITU-T P.862 with P.862.1, {_PIECES}",
        float,
        ("pesq_nb",),
        "pesq",
        revision=1,
    ),
    "stoi": Metric("STOI", 4, "Taal et al. 2011", perceptual.stoi, PAIR_AT_RATE, "pystoi"),
    "estoi": Metric("ESTOI", 4, "Jensen and Taal 2016", perceptual.estoi, PAIR_AT_RATE, "pystoi"),
    "snr_improvement": Metric(
        "SNRi dB",
        2,
        "SNR over that of the noisy file; sees the level",
        distortion.snr_improvement,
        TRIPLE,
    ),
    "segmental_snr": Metric(
        "segSNR dB",
        2,
        "frames of 30 ms every 10 ms, within -10 and 35 dB",
        composite.segmental_snr,
        PAIR_AT_RATE,
    ),
    "log_spectral_distance": Metric(
        "LSD dB",
        2,
        "log-spectral distance; less is better",
        composite.log_spectral_distance,
        PAIR_AT_RATE,
        less_is_better=True,
    ),
    "spectrogram_rmse": Metric(
        "RMSE",
        5,
        "of magnitude spectra, full scale 1; less is better",
        composite.spectrogram_rmse,
        PAIR_AT_RATE,
        less_is_better=True,
    ),
    "csig": Metric("CSIG", 3, _HU_LOIZOU, itemgetter("csig"), ("composite",), "pesq"),
    "cbak": Metric("CBAK", 3, _HU_LOIZOU, itemgetter("cbak"), ("composite",), "pesq"),
    "covl": Metric("COVL", 3, _HU_LOIZOU, itemgetter("covl"), ("composite",), "pesq"),
    "dnsmos_sig": Metric(
        "DNSMOS-SIG", 3, "DNSMOS P.835", itemgetter("sig"), ("dnsmos",), "speechmos", revision=1
    ),
    "dnsmos_bak": Metric(
        "DNSMOS-BAK", 3, "DNSMOS P.835", itemgetter("bak"), ("dnsmos",), "speechmos", revision=1
    ),
    "dnsmos_ovrl": Metric(
        "DNSMOS-OVRL", 3, "DNSMOS P.835", itemgetter("ovrl"), ("dnsmos",), "speechmos", revision=1
    ),
    "dnsmos_p808": Metric(
        "DNSMOS-P808", 3, "DNSMOS P.808", perceptual.dnsmos_p808, ("enhanced", "rate"), "speechmos"
    ),
    "visqol": Metric(
        "ViSQOL",
        3,
        "ViSQOL v3 in speech mode, exponential mapping",
        perceptual.visqol,
        PAIR_AT_RATE,
        "visqol-python",
    ),
    "distill_mos": Metric(
        "Distill-MOS",
        3,
        "predicted rating, Stahl and Gamper 2025",
        perceptual.distill_mos,
        ("enhanced", "rate"),
        "distillmos",
    ),
    "loudness": Metric(
        "LUFS", 1, "gated loudness, ITU-R BS.1770; no rating", loudness, ("enhanced", "rate")
    ),
}
DEFAULT = (
    *("si_sdr", "si_sdr_improvement", "sdr", "pesq", "stoi", "estoi", "snr_improvement"),
    *("segmental_snr", "log_spectral_distance", "spectrogram_rmse", "csig", "cbak", "covl"),
)
WITHOUT_REFERENCE = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "loudness")
DNSMOS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")  # slow: on demand
NEED_CLEAN = frozenset(
    name for name, m in METRICS.items() if {"clean", "pesq_wb", "pesq_nb", "composite"} & {*m.needs}
) | {"pesq"}
NEED_NOISY = frozenset(name for name, metric in METRICS.items() if "noisy" in metric.needs)


def column(name: str, rate: int) -> str:
    """Return the column of a metric; PESQ of different bandwidths must not share a mean.

    >>> column("pesq", 16000), column("pesq", 8000), column("stoi", 8000)
    ('pesq_wb', 'pesq_nb', 'stoi')
    """
    if name != "pesq":
        return name
    return "pesq_wb" if rate >= PESQ_RATE_HZ else "pesq_nb"


def score(
    clean: np.ndarray | None,
    noisy: np.ndarray | None,
    enhanced: np.ndarray,
    rate: int,
    names: Sequence[str] = DEFAULT,
) -> tuple[dict[str, float], dict[str, str]]:
    """Compute several metrics of one channel; a metric that fails does not raise.

    Args:
        clean: [samples], or None: metrics that need it are not computed.
        noisy: [samples], or None: the improvements are not computed.
        enhanced: [samples].
        rate: in Hz.
        names: of :data:`METRICS`, or ``pesq`` for the one that fits the rate.

    Returns:
        value by name, NaN for what could not be computed; and the reason by name for those.

    Raises:
        ValueError: for an unknown name, which is a mistake in the program.

    >>> clean, enhanced = np.array([1.0, -1, 1, -1]), np.array([0.9, -0.9, 0.9, -0.9])
    >>> values, reasons = score(clean, None, enhanced, 16000, ["snr", "snr_improvement"])
    >>> round(values["snr"], 6), reasons
    (20.0, {'snr_improvement': 'no noisy signal to compare with'})
    """
    signals = Signals(clean, noisy, enhanced, rate)
    values, reasons = {}, {}
    for name in names:
        metric = METRICS.get(column(name, rate))
        if metric is None:
            raise ValueError(f"unknown metric {name!r}; known are {', '.join(METRICS)}")
        try:
            values[name] = metric.function(*(getattr(signals, need) for need in metric.needs))
        except MetricError as error:
            values[name], reasons[name] = math.nan, str(error)
    return values, reasons
