"""What every figure of a report is: its heading, digits, definition and sense."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """How a metric is shown.

    Attributes:
        label: heading.
        digits: behind the point.
        definition: what it is, without the package that computes it.
        package: distribution whose version is part of the figure, or empty.
        less_is_better: as with a distance.
    """

    label: str
    digits: int
    definition: str
    package: str = ""
    less_is_better: bool = False


COLUMNS = {
    "snr": Column("SNR dB", 2, "10 log10 of clean energy over energy of the difference"),
    "si_sdr": Column("SI-SDR dB", 2, "Le Roux et al. 2019, zero mean"),
    "si_sdr_improvement": Column("SI-SDRi dB", 2, "SI-SDR over that of the noisy file"),
    "sdr": Column("SDR dB", 2, "BSS-eval, filter of 512 taps", "fast_bss_eval"),
    "pesq_wb": Column("PESQ-WB", 3, "ITU-T P.862.2, in pieces of 16 s at most", "pesq"),
    "pesq_nb": Column("PESQ-NB", 3, "ITU-T P.862 with P.862.1, in pieces of 16 s at most", "pesq"),
    "stoi": Column("STOI", 4, "Taal et al. 2011", "pystoi"),
    "estoi": Column("ESTOI", 4, "Jensen and Taal 2016", "pystoi"),
    "snr_improvement": Column("SNRi dB", 2, "SNR over that of the noisy file; sees the level"),
    "segmental_snr": Column("segSNR dB", 2, "frames of 30 ms every 10 ms, within -10 and 35 dB"),
    "log_spectral_distance": Column(
        "LSD dB", 2, "log-spectral distance; less is better", less_is_better=True
    ),
    "spectrogram_rmse": Column(
        "RMSE", 5, "of magnitude spectra, full scale 1; less is better", less_is_better=True
    ),
    "csig": Column("CSIG", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "cbak": Column("CBAK", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "covl": Column("COVL", 3, "Hu and Loizou 2008, with the PESQ of this table", "pesq"),
    "dnsmos_sig": Column("DNSMOS-SIG", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_bak": Column("DNSMOS-BAK", 3, "DNSMOS P.835", "speechmos"),
    "dnsmos_ovrl": Column("DNSMOS-OVRL", 3, "DNSMOS P.835", "speechmos"),
}
