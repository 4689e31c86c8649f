"""The configuration: one typed model per section, the only home of a default."""

import math
from pathlib import Path
from typing import cast

from pydantic import model_validator

from specmask.config.data import Audio, Augment, Data
from specmask.config.inference import Compute, Enhance, Evaluate
from specmask.config.model import STFT, Model
from specmask.config.training import Train
from specmask.config.types import MASK_LOSSES, MASK_TARGETS, PESQ_RATE_HZ, Section


class Config(Section):
    """The whole configuration; paths are absolute."""

    data: Data = Data()
    augment: Augment = Augment()
    audio: Audio = Audio()
    stft: STFT = STFT()
    model: Model = Model()
    train: Train = Train()
    enhance: Enhance = Enhance()
    evaluate: Evaluate = Evaluate()
    compute: Compute = Compute()

    @property
    def work_path(self) -> Path:
        """Working files of runs; safe to delete while no run is active."""
        return self.data.data_path / ".specmask"

    @property
    def window_length(self) -> int:
        """Window length in samples."""
        return round(self.stft.window_length * self.data.sample_rate)

    @property
    def hop_length(self) -> int:
        """Hop in samples."""
        return round(self.stft.hop_size * self.data.sample_rate)

    @property
    def bins(self) -> int:
        """Number of frequency bins of a frame."""
        return self.stft.n_fft // 2 + 1

    @property
    def unseen_bins(self) -> int:
        """Number of bins below ``[model] low_hz``."""
        return math.ceil(self.model.low_hz * self.stft.n_fft / self.data.sample_rate - 1e-6)

    @property
    def lookahead_frames(self) -> int:
        """Look-ahead in frames: rounded up, but for what float arithmetic adds."""
        return math.ceil(self.model.lookahead_ms / (1000 * self.stft.hop_size) - 1e-6)

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.hop_length < 1 or self.window_length < 2:
            raise ValueError(
                f"[STFT] window_length and hop_size are {self.window_length} and {self.hop_length} "
                f"samples at {self.data.sample_rate} Hz, expected 2 and 1 or more; make them longer"
            )
        if (
            self.augment.band_probability
            and self.augment.band_low_upper_hz > 0.4 * self.data.sample_rate
        ):
            raise ValueError(
                f"[augment] band_low_upper_hz = {self.augment.band_low_upper_hz:g} leaves no band "
                f"at {self.data.sample_rate} Hz; expected at most {0.4 * self.data.sample_rate:g}"
            )
        if self.unseen_bins >= self.bins:
            raise ValueError(
                f"[model] low_hz = {self.model.low_hz:g} leaves no bin at "
                f"{self.data.sample_rate} Hz; lower it"
            )
        if self.model.bidirectional and self.model.network in ("crn", "band_lstm"):
            raise ValueError(
                f"[model] bidirectional = yes with network = {self.model.network}, which is always "
                "causal; set network = conv_lstm, or bidirectional = no"
            )
        if self.model.network == "autoencoder" and self.model.window_frames % 2**self.model.levels:
            raise ValueError(
                f"[model] window_frames = {self.model.window_frames} is no multiple of "
                f"{2**self.model.levels} = 2^levels; make it one"
            )
        of_masks = [name for name in self.train.loss if name in MASK_LOSSES]
        if of_masks and self.model.target not in MASK_TARGETS:
            raise ValueError(
                f"[train] loss = {of_masks[0]} compares masks, which [model] target = "
                f"{self.model.target} does not have; expected {', '.join(MASK_TARGETS)}, or "
                "another loss"
            )
        if "pesq" in self.train.loss and self.data.sample_rate != PESQ_RATE_HZ:
            raise ValueError(
                f"[train] loss = pesq with [data] sample_rate = {self.data.sample_rate}: wideband "
                f"PESQ needs {PESQ_RATE_HZ} Hz; use another loss, or that rate"
            )
        if self.model.target.endswith("_mapping") and self.model.compression < 0.1:
            raise ValueError(
                f"[model] compression = {self.model.compression:g} with target = "
                f"{self.model.target}, which takes its inverse power of what the network says; "
                "expected 0.1 or more"
            )
        if self.train.batch_size % (self.train.accumulation * max(1, self.train.parts)):
            also = f" times parts = {self.train.parts}" if self.train.parts > 1 else ""
            raise ValueError(
                f"[train] accumulation = {self.train.accumulation}{also} does not divide "
                f"batch_size = {self.train.batch_size}; make it a divisor"
            )
        if self.stft.n_fft < self.window_length:
            raise ValueError(
                f"[STFT] n_fft = {self.stft.n_fft} is shorter than the window of "
                f"{self.window_length} samples; raise n_fft or shorten window_length"
            )
        return self


def section_models() -> dict[str, type[Section]]:
    """Return the model of every section by its field name."""
    return {name: cast("type[Section]", f.annotation) for name, f in Config.model_fields.items()}
