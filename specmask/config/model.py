"""Options of the transform and the network: [STFT] and [model]."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from specmask.config.types import TARGETS, FeatureList, IntegerList, Section


class STFT(Section):
    """The short-time Fourier transform and where its inputs and outputs lie."""

    window_type: Literal["hann", "hamming", "blackman", "cosine", "boxcar"] = Field(
        "hann", description="window, periodic; cosine is the square root of hann"
    )
    window_length: float = Field(0.025, gt=0, le=1, description="window length in seconds")
    hop_size: float = Field(0.01, gt=0, le=1, description="hop between frames in seconds")
    n_fft: int = Field(
        512, ge=2, le=65536, description="FFT length in samples; n_fft // 2 + 1 bins"
    )
    cleanspeech_training_dir: Path = Field("", description="clean training files")
    noise_training_dir: Path = Field("", description="noise of the training files")
    noisyspeech_training_dir: Path = Field("", description="noisy training files")
    cleanspeech_validation_dir: Path = Field("", description="clean validation files")
    noise_validation_dir: Path = Field("", description="noise of the validation files")
    noisyspeech_validation_dir: Path = Field("", description="noisy validation files")
    cleanspeech_testing_dir: Path = Field("", description="clean test files")
    noise_testing_dir: Path = Field("", description="noise of the test files")
    noisyspeech_testing_dir: Path = Field("", description="noisy test files")
    training_stft_dir: Path = Field("", description="STFT cache of the training files")
    validation_stft_dir: Path = Field("", description="STFT cache of the validation files")
    testing_stft_dir: Path = Field("", description="STFT cache of the test files")

    @model_validator(mode="after")
    def _check(self) -> "STFT":
        if self.hop_size > self.window_length:
            raise ValueError(
                f"hop_size = {self.hop_size:g} s is longer than window_length = "
                f"{self.window_length:g} s: samples between windows would be lost; lower hop_size"
            )
        return self

    def folder(self, kind: str, split: str) -> Path:
        """Return the folder of one kind of file (CleanSpeech, Noise, NoisySpeech) and split."""
        return getattr(self, f"{kind}_{split}_dir".lower())

    def cache(self, split: str) -> Path:
        """Return the folder of the STFT cache of a split."""
        return getattr(self, f"{split}_stft_dir")


class Model(Section):
    """The network and the mask that it estimates."""

    network: Literal["conv_lstm", "band_lstm", "crn", "unet", "autoencoder"] = Field(
        "conv_lstm",
        description="conv_lstm: Wilson et al. 2018; band_lstm: small, one LSTM shared by all bins; "
        "crn: the default model's, on bands; unet, autoencoder: not causal",
    )
    target: Literal[TARGETS] = Field(
        "complex", description="what the network estimates: a mask or the speech itself"
    )
    features: FeatureList = Field(
        ["magnitude", "real", "imaginary"],
        description="inputs, any of magnitude, real, imaginary (compressed), log_magnitude, mel, "
        "mfcc",
    )
    delta_phase: Literal["none", "time", "frequency", "both"] = Field(
        "none", description="also the steps of the phase along time, frequency or both as inputs"
    )
    mel_bands: int = Field(64, ge=2, le=1024, description="bands of the features mel and mfcc")
    mfcc_coefficients: int = Field(
        20, ge=1, le=1024, description="cepstral coefficients that the feature mfcc keeps"
    )
    compression: float = Field(
        0.3, gt=0, le=1, description="power of the compressed spectrum, for features and loss"
    )
    mask_bound: float = Field(
        2,
        gt=0,
        le=100,
        description="largest real and imaginary part of a complex mask, largest gain of magnitude",
    )
    binary_threshold_db: float = Field(
        0,
        ge=-60,
        le=60,
        description="binary: SNR of a bin in dB above which it counts as speech",
    )
    conv_channels: int = Field(
        8,
        ge=1,
        le=4096,
        description="channels of the seven convolutions (published: 32), or of the first level",
    )
    squeeze_channels: int = Field(
        4, ge=1, le=4096, description="channels after the 1x1 convolution (published: 8)"
    )
    normalisation: Literal["layer", "batch"] = Field(
        "layer",
        description="before the LSTM: layer (each frame by itself) or batch (running statistics)",
    )
    recurrent_layers: int = Field(1, ge=1, le=16, description="number of LSTM layers")
    recurrent_units: int = Field(
        256, ge=1, le=16384, description="units of an LSTM layer and direction (published: 1023)"
    )
    bidirectional: bool = Field(
        False, description="yes: BLSTM, not causal, cannot stream; no: causal LSTM"
    )
    lookahead_ms: float = Field(
        0,
        ge=0,
        le=200,
        description="future that a causal network waits for, in ms, rounded up to whole hops; "
        "streams are later by as much",
    )
    dense_units: int = Field(
        256,
        ge=1,
        le=16384,
        description="units of the dense layer before the mask (published: 873), or of the waist",
    )
    levels: int = Field(
        5, ge=1, le=10, description="unet, autoencoder: levels, each with twice the channels"
    )
    window_frames: int = Field(
        256, ge=1, le=4096, description="autoencoder: frames of a window, a multiple of 2^levels"
    )
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="autoencoder: activation")
    dropout: float = Field(
        0, ge=0, lt=1, description="unet, autoencoder: share of values dropped while training"
    )
    split_hz: float = Field(
        2000, ge=0, le=96000, description="crn: bins below are bands of their own, in Hz"
    )
    erb_bands: int = Field(
        64, ge=0, le=4096, description="crn: bands above, evenly on the ERB scale; 0: all bins"
    )
    band_channels: IntegerList = Field(
        [16, 24, 32], description="crn: channels of its levels, each with half as many bands"
    )
    attention_heads: int = Field(
        4, ge=1, le=64, description="crn: heads of the attention, a divisor of recurrent_units"
    )
