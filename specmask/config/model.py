"""Options of the transform and the network: [STFT] and [model]."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from specmask.config.types import OTHER_NETWORK, FeatureList, IntegerList, Section, Target, option


class STFT(Section):
    """The short-time Fourier transform and the folders of its inputs and outputs."""

    window_type: Literal["hann", "hamming", "blackman", "cosine", "boxcar"] = option(
        "hann", "window, periodic; cosine is the square root of hann", on_resume=OTHER_NETWORK
    )
    window_length: float = option(
        0.025, "window length in seconds", gt=0, le=1, on_resume=OTHER_NETWORK
    )
    hop_size: float = option(
        0.01, "hop between frames in seconds", gt=0, le=1, on_resume=OTHER_NETWORK
    )
    n_fft: int = option(
        512, "FFT length in samples; n_fft // 2 + 1 bins", ge=2, le=65536, on_resume=OTHER_NETWORK
    )
    cleanspeech_training_dir: Path = option("", "clean training files")
    noise_training_dir: Path = option("", "noise of the training files")
    noisyspeech_training_dir: Path = option("", "noisy training files")
    cleanspeech_validation_dir: Path = option("", "clean validation files")
    noise_validation_dir: Path = option("", "noise of the validation files")
    noisyspeech_validation_dir: Path = option("", "noisy validation files")
    cleanspeech_testing_dir: Path = option("", "clean test files")
    noise_testing_dir: Path = option("", "noise of the test files")
    noisyspeech_testing_dir: Path = option("", "noisy test files")
    training_stft_dir: Path = option("", "STFT cache of the training files")
    validation_stft_dir: Path = option("", "STFT cache of the validation files")
    testing_stft_dir: Path = option("", "STFT cache of the test files")

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

    ON_RESUME = OTHER_NETWORK

    network: Literal["crn", "conv_lstm", "band_lstm", "unet", "autoencoder"] = option(
        "crn",
        "crn: the default model's, on bands; conv_lstm: Wilson et al. 2018; band_lstm: small, one "
        "LSTM shared by all bins; unet, autoencoder: not causal",
    )
    target: Target = option("complex", "what the network estimates: a mask or the speech itself")
    features: FeatureList = option(
        ["magnitude", "real", "imaginary"],
        "inputs, any of magnitude, real, imaginary (compressed), log_magnitude, mel, mfcc",
    )
    delta_phase: Literal["none", "time", "frequency", "both"] = option(
        "none", "phase differences along time, frequency or both as further inputs"
    )
    low_hz: float = option(
        0,
        "frequency in Hz below which bins are neither an input nor a part of the running level; "
        "above the first bin, a DC offset changes nothing and is removed",
        ge=0,
        le=1000,
    )
    level_exponent: float = option(
        1,
        "exponent of the frames' power in the running level; below 1, one loud sound changes it "
        "less",
        gt=0,
        le=1,
    )
    mel_bands: int = option(64, "bands of the features mel and mfcc", ge=2, le=1024)
    mfcc_coefficients: int = option(
        20, "cepstral coefficients that the feature mfcc keeps", ge=1, le=1024
    )
    compression: float = option(
        0.3, "power of the compressed spectrum, for features and loss", gt=0, le=1
    )
    mask_bound: float = option(
        2,
        "largest real and imaginary part of a complex mask, largest gain of magnitude",
        gt=0,
        le=100,
    )
    binary_threshold_db: float = option(
        0, "binary: SNR in dB above which a bin counts as speech", ge=-60, le=60
    )
    conv_channels: int = option(
        8,
        "channels of the seven convolutions (published: 32), or of the first level",
        ge=1,
        le=4096,
    )
    squeeze_channels: int = option(
        4, "channels after the 1x1 convolution (published: 8)", ge=1, le=4096
    )
    normalisation: Literal["layer", "batch"] = option(
        "layer", "before the LSTM: layer (each frame by itself) or batch (running statistics)"
    )
    recurrent_layers: int = option(
        2, "crn: number of blocks of attention and GRU; else of LSTM layers", ge=1, le=16
    )
    recurrent_units: int = option(
        32,
        "crn: units of the attention and of the GRU of each block; else of an LSTM layer and "
        "direction (recipes/bench.ini: 256, published: 1023)",
        ge=1,
        le=16384,
    )
    bidirectional: bool = option(
        False, "conv_lstm: yes: BLSTM, not causal, cannot stream; no: causal LSTM"
    )
    lookahead_ms: float = option(
        0,
        "future that a causal network waits for, in ms, rounded up to whole hops; "
        "adds to the latency of streams",
        ge=0,
        le=200,
    )
    dense_units: int = option(
        256,
        "units of the dense layer before the mask (published: 873), or of the bottleneck",
        ge=1,
        le=16384,
    )
    levels: int = option(5, "unet, autoencoder: levels, each with twice the channels", ge=1, le=10)
    window_frames: int = option(
        256, "autoencoder: frames of a window, a multiple of 2^levels", ge=1, le=4096
    )
    activation: Literal["relu", "leaky_relu"] = option("relu", "autoencoder: activation")
    dropout: float = option(0, "unet, autoencoder: dropout rate", ge=0, lt=1)
    split_hz: float = option(
        2000, "crn: frequency in Hz below which every bin is a band", ge=0, le=96000
    )
    erb_bands: int = option(
        64, "crn: bands above split_hz, evenly on the ERB scale; 0: all bins", ge=0, le=4096
    )
    band_channels: IntegerList = option(
        [16, 24, 32], "crn: channels of its levels, each with half as many bands"
    )
    band_kernel: int = option(5, "crn: bands of the convolutions' kernels", ge=1, le=31)
    frame_units: int = option(
        0,
        "crn: units of the GRU of each block that sees all bands of a frame at once: many weights, "
        "few multiplications; 0: none",
        ge=0,
        le=4096,
    )
    attention_heads: int = option(
        4,
        "crn: most heads of the attention; used is the largest divisor of recurrent_units up to it",
        ge=1,
        le=64,
    )
