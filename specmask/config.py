"""The configuration: one typed model a section, the only home of a default.

``config.ini`` in the root of the project is what :func:`render` makes of the defaults, so the
file that users edit and the code cannot disagree (``python -m specmask.config > config.ini``).
"""

import configparser
import difflib
import math
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from specmask.errors import UserError

SPLITS = ("training", "validation", "testing")
KINDS = ("CleanSpeech", "Noise", "NoisySpeech")
FEATURES = ("magnitude", "real", "imaginary", "log_magnitude", "mel", "mfcc")
TARGETS = (
    "complex", "sigmoids", "magnitude", "ratio", "binary", "phase_sensitive",
    "magnitude_mapping", "complex_mapping", "real_mapping", "noise_db",
)  # fmt: skip
CODECS = ("mp3", "opus", "vorbis")
LOSSES = (
    "compressed", "si_sdr", "waveform_l1", "multi_resolution", "consistency",
    "mixture_consistency", "speech_noise", "mse", "huber", "huber_db", "mask_mse", "bce", "dice",
)  # fmt: skip
MASK_LOSSES = ("mask_mse", "bce", "dice")
MASK_TARGETS = ("ratio", "binary", "phase_sensitive")  # that they can be of


def _split_list(value: Any) -> Any:
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


def _no_repeats(value: list[str]) -> list[str]:
    if not value or len(set(value)) < len(value):
        raise ValueError("each name once, and at least one")
    return value


FeatureList = Annotated[
    list[Literal[FEATURES]],
    BeforeValidator(_split_list),
    AfterValidator(_no_repeats),
]

CodecList = Annotated[
    list[Literal["mp3", "opus", "vorbis"]],
    BeforeValidator(_split_list),
    AfterValidator(_no_repeats),
]


def _probability(what: str) -> Any:
    return Field(0, ge=0, le=1, description=f"probability {what}")


def _ordered(value: list[float]) -> list[float]:
    if value and (len(value) != 2 or value[0] > value[1]):
        raise ValueError("two numbers, the lower one first")
    return value


NumberRange = Annotated[list[float], BeforeValidator(_split_list), AfterValidator(_ordered)]


def _split_weights(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition(":")[::2] for part in _split_list(value)]
    names = [name.strip() for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("each loss once")
    return {name: weight or 1 for name, (_, weight) in zip(names, pairs, strict=True)}


def _known_losses(value: dict[str, float]) -> dict[str, float]:
    for name, weight in value.items():
        if name not in LOSSES:
            raise ValueError(f"unknown loss {name}{_nearest(name, LOSSES)}")
        if weight <= 0:
            raise ValueError(f"{name}: expected a weight above 0")
    if not value:
        raise ValueError("at least one loss")
    return value


LossWeights = Annotated[
    dict[str, float], BeforeValidator(_split_weights), AfterValidator(_known_losses)
]


IntegerList = Annotated[
    list[Annotated[int, Field(ge=1, le=4096)]], BeforeValidator(_split_list), Field(min_length=1)
]


def _each_once(value: list[str]) -> list[str]:
    if len(set(value)) < len(value):
        raise ValueError("each name once")
    return value


NameList = Annotated[list[str], BeforeValidator(_split_list), AfterValidator(_each_once)]


class Section(BaseModel):
    """A section of the INI file: unknown keys are errors, values are read strictly."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


class Data(Section):
    """What ``data_prep.py`` makes, and from what."""

    clean_train_path: Path = Field(
        "data/clean/clean_train",
        description="folder of clean speech for training (read recursively)",
    )
    noise_train_path: Path = Field(
        "data/noise/noise_train", description="folder of noise for training"
    )
    clean_test_path: Path = Field(
        "data/clean/clean_test",
        description="folder of clean speech for the test set: other speakers",
    )
    noise_test_path: Path = Field(
        "data/noise/noise_test", description="folder of noise for the test set: other recordings"
    )
    data_path: Path = Field(
        "data", description="folder that receives the generated data set and its manifests"
    )
    sample_rate: int = Field(16000, ge=4000, le=192000, description="working sampling rate in Hz")
    file_length: float = Field(3, ge=0.1, le=600, description="length of a mixture in seconds")
    total_training_files: int = Field(10000, ge=1, description="number of training mixtures")
    total_validation_files: int = Field(
        500,
        ge=0,
        description="number of validation mixtures, from training sources set apart for it; "
        "0: none, the training loss selects",
    )
    total_testing_files: int = Field(
        1000, ge=0, description="number of test mixtures; 0: no test set"
    )
    snr_lower: float = Field(-6, ge=-100, le=100, description="lowest SNR in dB")
    snr_upper: float = Field(9, ge=-100, le=100, description="highest SNR in dB")
    total_snrlevels: int = Field(
        16, ge=1, le=10000, description="number of SNRs from SNR_lower to SNR_upper, both included"
    )
    snr_mode: Literal["random", "all"] = Field(
        "random",
        description="random: each file has one SNR of the grid; all: each clip at every SNR",
    )
    snr_reference: Literal["whole", "active"] = Field(
        "whole",
        description="level of the speech in the SNR: over the whole clip, or over its active "
        "speech as in ITU-T P.56",
    )
    blend: Literal["snr", "level"] = Field(
        "snr",
        description="snr: noise at an SNR; level: recordings keep their level and the noise is "
        "multiplied by a factor from blend_lower to blend_upper",
    )
    blend_lower: float = Field(0.2, gt=0, le=10, description="blend = level: lowest factor")
    blend_upper: float = Field(0.8, gt=0, le=10, description="blend = level: highest factor")
    speech_level_db: float = Field(
        -25, ge=-70, le=-5, description="level of the speech in dBFS (RMS over active speech)"
    )
    silence_length: float = Field(
        0.2, ge=0, le=10, description="gap between joined short recordings in seconds"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=0.9, description="share of the training sources set apart for validation"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every draw of the data set")
    files_per_folder: int = Field(0, ge=0, description="mixtures a subfolder; 0: all in one folder")
    speech_layout: Literal[
        "auto", "pairs", "librispeech", "vctk", "ptdb", "dns", "columbia", "sisec", "folders"
    ] = Field("auto", description="how files tell their speaker, see docs/sources.md")
    noise_layout: Literal["auto", "esc", "dns", "sisec", "folders"] = Field(
        "auto", description="how files tell noise type and recording, see docs/sources.md"
    )
    speaker_folder: int = Field(
        0, ge=0, le=20, description="folder below the root that names the speaker; 0: found by rule"
    )
    noise_classes: NameList = Field(
        [], description="noise types taken, e.g. clock_tick, hand_saw; empty: all"
    )
    train_pairs: NameList = Field(
        [], description="ready-made pairs for training: patterns of noisy names; empty: all"
    )
    test_pairs: NameList = Field(
        [], description="ready-made pairs for testing: patterns of noisy names; empty: all"
    )
    set_aside: Path = Field(
        "", description="list of recordings to leave out, as data_prep.py --check writes it"
    )
    leaks: Literal["refuse", "warn"] = Field(
        "refuse", description="what to do when training and test have recordings in common"
    )

    @model_validator(mode="after")
    def _check(self) -> "Data":
        if self.total_snrlevels == 1 and self.snr_lower != self.snr_upper:
            raise ValueError(
                "total_snrlevels = 1 with two different ends: expected 2 or more levels, "
                "or SNR_lower equal to SNR_upper"
            )
        return _ordered(self)


class Augment(Section):
    """Realism, all off by default; what each option does to the files: docs/data.md."""

    testing: bool = Field(True, description="for the test set too, or only for the other two")
    level_lower_db: float = Field(
        0, ge=-60, le=30, description="lowest change of the speech level, in dB"
    )
    level_upper_db: float = Field(
        0, ge=-60, le=30, description="highest change of the speech level, in dB"
    )
    speed_probability: float = _probability("that the speech is played faster or slower")
    speed_lower: float = Field(0.9, ge=0.25, le=4, description="lowest speed; pitch goes with it")
    speed_upper: float = Field(1.1, ge=0.25, le=4, description="highest speed")
    pitch_probability: float = _probability("that the speech is higher or lower at the same speed")
    pitch_lower_semitones: float = Field(-2, ge=-12, le=12, description="lowest change of pitch")
    pitch_upper_semitones: float = Field(2, ge=-12, le=12, description="highest change of pitch")
    eq_speech_probability: float = _probability("of a random equaliser on the speech")
    eq_noise_probability: float = _probability("of another random equaliser on the noise")
    eq_gain_db: float = Field(
        6, ge=0, le=24, description="largest gain or loss of each of its four filters, in dB"
    )
    noises_lower: int = Field(1, ge=1, le=20, description="lowest number of noises in a mixture")
    noises_upper: int = Field(1, ge=1, le=20, description="highest number of noises in a mixture")
    noise_spread_db: float = Field(
        6, ge=0, le=60, description="by how much further noises may be softer than the first, dB"
    )
    coloured_probability: float = _probability("that the first noise is coloured noise")
    colour_lower: float = Field(
        -2, ge=-4, le=4, description="lowest exponent of its power spectrum: -2 brown, 0 white"
    )
    colour_upper: float = Field(2, ge=-4, le=4, description="highest exponent; 2: violet")
    babble_probability: float = _probability("that the first noise is made of other speakers")
    babble_voices_lower: int = Field(3, ge=1, le=100, description="lowest number of its voices")
    babble_voices_upper: int = Field(8, ge=1, le=100, description="highest number of its voices")
    clean_only_probability: float = _probability("of a file without noise")
    noise_only_probability: float = _probability("of a file without speech")
    room_probability: float = _probability("that the speech is heard in a room")
    rir_path: Path = Field(
        "", description="folder of room impulse responses; empty: simulated rooms (extra rooms)"
    )
    rir_target: Literal["dry", "early", "reverberant"] = Field(
        "reverberant",
        description="clean speech in a room: without it, with its first 50 ms, or with all of it",
    )
    rir_noise: bool = Field(False, description="noise is in the same room, at another place")
    room_length_lower_m: float = Field(
        3, ge=2, le=50, description="simulated rooms: shortest length and width, m"
    )
    room_length_upper_m: float = Field(
        8, ge=2, le=50, description="simulated rooms: largest length and width, m"
    )
    room_distance_lower_m: float = Field(
        0.3, ge=0.05, le=50, description="simulated rooms: shortest distance of the speaker, m"
    )
    room_distance_upper_m: float = Field(
        2.5, ge=0.05, le=50, description="simulated rooms: largest distance of the speaker, m"
    )
    t60_lower_seconds: float = Field(
        0.2, ge=0.05, le=10, description="simulated rooms: shortest reverberation time T60"
    )
    t60_upper_seconds: float = Field(
        0.6, ge=0.05, le=10, description="simulated rooms: longest reverberation time T60"
    )
    band_probability: float = _probability("that the mixture is limited to a band")
    band_target: Literal["limited", "full"] = Field(
        "limited", description="the clean speech: limited as the mixture is, or left as it was"
    )
    band_low_lower_hz: float = Field(50, ge=0, description="lowest lower edge of the band")
    band_low_upper_hz: float = Field(300, ge=0, description="highest lower edge of the band")
    band_high_lower_hz: float = Field(3400, gt=0, description="lowest upper edge of the band")
    band_high_upper_hz: float = Field(7000, gt=0, description="highest upper edge of the band")
    clip_probability: float = _probability("that the mixture is clipped")
    clip_share_lower: float = Field(
        0.001, gt=0, le=0.5, description="lowest share of samples that are clipped"
    )
    clip_share_upper: float = Field(
        0.02, gt=0, le=0.5, description="highest share of samples that are clipped"
    )
    codec_probability: float = _probability("that the mixture goes through a codec and back")
    codecs: CodecList = Field(list(CODECS), description="any of mp3, opus, vorbis")
    codec_quality_lower: float = Field(
        0.05, ge=0.01, le=1, description="lowest quality: 1 minus libsndfile's compression level"
    )
    codec_quality_upper: float = Field(0.5, ge=0.01, le=1, description="highest quality; 1: best")

    @model_validator(mode="after")
    def _check(self) -> "Augment":
        for one, other in (("clean_only", "noise_only"), ("coloured", "babble")):
            total = getattr(self, f"{one}_probability") + getattr(self, f"{other}_probability")
            if total > 1:
                raise ValueError(
                    f"{one}_probability and {other}_probability add up to {total:g}, "
                    "expected at most 1; lower one of them"
                )
        if self.band_low_upper_hz >= self.band_high_lower_hz:
            raise ValueError(
                f"band_low_upper_hz = {self.band_low_upper_hz:g} is not below band_high_lower_hz "
                f"= {self.band_high_lower_hz:g}: no band is left; lower it"
            )
        return _ordered(self)


def _ordered(section: Any) -> Any:
    """Refuse a section in which some lower end is above its upper end."""
    for lower in type(section).model_fields:
        upper = lower.replace("_lower", "_upper")
        ends = getattr(section, lower), getattr(section, upper)
        if lower != upper and ends[0] > ends[1]:
            raise ValueError(
                f"{spelling(lower)} = {ends[0]:g} is above {spelling(upper)} = {ends[1]:g}; "
                "swap them"
            )
    return section


class Audio(Section):
    """How audio files are read."""

    resampler: Literal["soxr", "resampy"] = Field(
        "soxr", description="soxr (HQ; fast, flat to 7 kHz at 16 kHz) or resampy (kaiser_best)"
    )


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


class Train(Section):
    """How the network is trained: see docs/training.md."""

    run_name: str = Field(
        "run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="name of the run, a folder in cp/ and logs/; --fresh appends -2, -3, ...",
    )
    checkpoint_path: Path = Field("cp", description="folder of the checkpoints, one folder a run")
    log_path: Path = Field("logs", description="folder of the TensorBoard logs, one folder a run")
    initial_weights: Path = Field(
        "", description="run folder or .npz whose weights a new run starts from; empty: random ones"
    )
    frozen_layers: NameList = Field(
        [], description="layers that are not trained: names or patterns such as conv*"
    )
    epochs: int = Field(20, ge=1, description="number of epochs; each ends with a validation")
    epoch_steps: int = Field(
        0, ge=0, description="steps of an epoch; 0: as many as take every training file once"
    )
    batch_size: int = Field(8, ge=1, le=65536, description="mixtures a step, over all replicas")
    accumulation: int = Field(
        1,
        ge=1,
        le=65536,
        description="parts of a batch that are computed one after the other, to save memory",
    )
    optimizer: Literal["adam", "adamw", "muon"] = Field(
        "adam",
        description="adam; adamw: with weight_decay; muon: matrices by orthogonal steps, the rest "
        "as adamw",
    )
    learning_rate: float = Field(2e-3, gt=0, le=10, description="(highest) learning rate")
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=1,
        description="of adamw and muon: share of a weight taken off a step, times the rate",
    )
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="after the warm-up: constant; cosine to 1 % at the end; plateau: lower it "
        "when the validation loss stays",
    )
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up")
    plateau_epochs: int = Field(
        3, ge=1, description="plateau: epochs without a better loss before the rate is lowered"
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="plateau: what the rate is multiplied by"
    )
    gradient_clip: float = Field(
        1.0, ge=0, description="largest global norm of the gradient; 0: no limit"
    )
    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="decay of the running mean of the weights, which is validated and exported; "
        "0: off",
    )
    patience: int = Field(
        0, ge=0, description="stop after so many epochs without a better loss; 0: never"
    )
    max_skipped: int = Field(
        10, ge=1, description="stop after so many steps in a row without a finite gradient"
    )
    loss: LossWeights = Field(
        {"compressed": 1.0}, description=f"parts and their weights, any of {', '.join(LOSSES)}"
    )
    complex_weight: float = Field(
        0.113, ge=0, description="weight of the complex part of the compressed loss (lambda)"
    )
    speech_weight: float = Field(
        0.5, ge=0, le=1, description="of speech_noise: weight of the speech; the rest: of the noise"
    )
    crop_seconds: float = Field(
        0, ge=0, le=600, description="train on random crops of this length; 0: whole files"
    )
    remix: bool = Field(
        False,
        description="yes: each step pairs its clean files with other noise at new SNRs and levels",
    )
    remix_noises: int = Field(
        1, ge=1, le=16, description="with remix: 1 to this many noises in a mixture"
    )
    remix_snr_db: NumberRange = Field(
        [], description="with remix: lowest and highest SNR, e.g. -6, 15; empty: those of [data]"
    )
    remix_gain_db: float = Field(
        10,
        ge=0,
        le=60,
        description="with remix: the level of a mixture varies by up to +- this, in dB",
    )
    remix_tilt_db: float = Field(
        0,
        ge=0,
        le=30,
        description="with remix: smooth random equaliser of speech and of noise, up to +- this, dB",
    )
    checkpoint_minutes: float = Field(
        5, gt=0, description="also save inside an epoch, every so many minutes"
    )
    keep_checkpoints: int = Field(3, ge=1, le=1000, description="number of last checkpoints kept")
    metric_files: int = Field(
        40, ge=1, description="validation files scored by SDR, STOI and PESQ after each epoch"
    )
    listen_files: int = Field(
        3, ge=0, le=100, description="of these: how many TensorBoard plays and shows"
    )
    log_steps: int = Field(
        10, ge=1, description="TensorBoard gets the training loss every so many steps"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="of the computation; weights are always float32"
    )
    jit_compile: bool = Field(False, description="compile the training step with XLA")
    deterministic: bool = Field(
        True, description="yes: the same bits on every run and after every resume; costs some time"
    )
    strategy: Literal["default", "mirrored", "multi_worker"] = Field(
        "default",
        description="default: one device; mirrored: all GPUs of this machine; multi_worker: the "
        "machines in the environment variable TF_CONFIG",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the weights, the order and the remix")

    @model_validator(mode="after")
    def _check(self) -> "Train":
        if self.jit_compile and self.strategy != "default":
            raise ValueError(
                f"jit_compile = yes does not go with strategy = {self.strategy}; set one of them "
                "to its default"
            )
        return self


class Enhance(Section):
    """How recordings are enhanced."""

    input_path: Path = Field(
        "", description="folder or file to enhance; empty: the noisy files of the test set"
    )
    output_path: Path = Field("enhanced", description="folder that receives the enhanced files")
    checkpoint: Path = Field(
        "",
        description="run in cp/ or file of export.py; empty: the newest run of [train] run_name",
    )
    runtime: Literal["tensorflow", "onnx"] = Field(
        "tensorflow",
        description="tensorflow, or onnx: what export.py wrote into the run's folder exports",
    )
    channels: Literal["linked", "separate", "mid"] = Field(
        "linked",
        description=(
            "linked: one mask for all channels keeps the stereo image; separate: one each; "
            "mid: one for all, from their mean, at the cost of one channel"
        ),
    )
    highband: Literal["keep", "drop"] = Field(
        "keep",
        description="what lies above the model's band: keep at the gain of the mask's top, or drop",
    )
    format: Literal["as input", "wav", "flac"] = Field(
        "as input", description="format of the enhanced files"
    )
    max_suppression_db: float = Field(
        200, ge=0, le=200, description="no bin of the spectrum is attenuated by more than this, dB"
    )
    mix: float = Field(
        1, ge=0, le=1, description="share of the enhanced sound; the rest is the input, in phase"
    )
    post_gain_db: float = Field(0, ge=-60, le=60, description="gain of the result in dB")
    block_seconds: float = Field(
        10, ge=0.1, le=600, description="audio held in memory at a time, in seconds"
    )


class Evaluate(Section):
    """How enhanced files are scored, and the bounds of ``evaluate.py --gate``."""

    report_path: Path = Field("report", description="folder that receives scores and report")
    dnsmos: bool = Field(
        False,
        description="yes: also predict ratings by DNSMOS P.835 (extra dnsmos; 0.5 s a file)",
    )
    page_files: int = Field(
        12, ge=0, le=1000, description="files on the listening page: worst, median, best"
    )
    music_path: Path = Field(
        "", description="folder of music for the do-no-harm check; empty: a chord that it makes"
    )
    harm_files: int = Field(
        20, ge=1, description="clean files, and pieces of 10 s of music, of the do-no-harm check"
    )
    gate_si_sdr_improvement: float = Field(
        0, ge=-100, le=100, description="gate: lowest mean SI-SDR improvement of the test set, dB"
    )
    gate_speech_si_sdr: float = Field(
        12, ge=-100, le=100, description="gate: lowest mean SI-SDR of clean speech to itself, dB"
    )
    gate_speech_level: float = Field(
        1.5, ge=0, le=100, description="gate: largest mean change up or down of its level, dB"
    )
    gate_speech_wer: float = Field(
        10,
        ge=-100,
        le=1000,
        description="gate: largest rise of its word error rate in points (with --transcripts)",
    )
    gate_silence_level: float = Field(
        -80, ge=-200, le=0, description="gate: highest level that comes out of silence, dBFS"
    )
    gate_music_gain: float = Field(
        1, ge=0, le=100, description="gate: highest gain of a piece of music, dB; a loss is allowed"
    )


class Compute(Section):
    """Where the work is done."""

    workers: int = Field(
        0, ge=0, le=1024, description="processes for data, cache and scores; 0: one a core"
    )
    engine: Literal["local", "dask", "ray"] = Field(
        "local",
        description="what makes the data set: processes of this machine, or a Dask or Ray cluster",
    )
    address: str = Field(
        "",
        description="where the cluster answers, e.g. tcp://host:8786; empty: start one here",
    )


class Config(Section):
    """The whole configuration; paths are absolute."""

    data: Data = Field(default_factory=Data)
    augment: Augment = Field(default_factory=Augment)
    audio: Audio = Field(default_factory=Audio)
    stft: STFT = Field(default_factory=STFT)
    model: Model = Field(default_factory=Model)
    train: Train = Field(default_factory=Train)
    enhance: Enhance = Field(default_factory=Enhance)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    compute: Compute = Field(default_factory=Compute)

    @property
    def work_path(self) -> Path:
        """Folder of what runs keep for themselves; safe to delete when none is going on."""
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
        if self.model.network == "crn" and self.model.recurrent_units % self.model.attention_heads:
            raise ValueError(
                f"[model] attention_heads = {self.model.attention_heads} does not divide "
                f"recurrent_units = {self.model.recurrent_units}; make it a divisor"
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
        if self.train.batch_size % self.train.accumulation:
            raise ValueError(
                f"[train] accumulation = {self.train.accumulation} does not divide batch_size = "
                f"{self.train.batch_size}; make it a divisor"
            )
        if self.stft.n_fft < self.window_length:
            raise ValueError(
                f"[STFT] n_fft = {self.stft.n_fft} is shorter than the window of "
                f"{self.window_length} samples; raise n_fft or shorten window_length"
            )
        return self


# Names as the reference project writes them; keys are compared without case.
_SPELLING = {"snr_lower": "SNR_lower", "snr_upper": "SNR_upper", "stft": "STFT"} | {
    f"{kind}_{split}_dir".lower(): f"{kind}_{split}_dir" for kind in KINDS for split in SPLITS
}
_SPELLING |= {f"{split}_stft_dir": f"{split.capitalize()}_STFT_dir" for split in SPLITS}


def spelling(name: str) -> str:
    """Return a section's or key's name as it is written in the INI file."""
    return _SPELLING.get(name, name)


def section_models() -> dict[str, type[Section]]:
    """Return the model of every section by its field name."""
    return {name: field.annotation for name, field in Config.model_fields.items()}


def load(path: Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read an INI file and overrides of the form ``section.key=value``.

    Paths in the file are relative to the file, paths in overrides to the working directory.

    Raises:
        UserError: for anything that is unknown, of the wrong type or out of range.
    """
    path = Path(path)
    values: dict[str, dict[str, Any]] = {}
    for section, key, text in _read(path):
        _put(values, section, key, text, base=path.resolve().parent, source=str(path))
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise UserError(f"--set {override}: expected SECTION.KEY=VALUE, e.g. train.epochs=5")
        _put(values, section, key, text.strip(), base=Path.cwd(), source="--set")
    return _build(values, str(path), path.resolve().parent)


def _read(path: Path) -> list[tuple[str, str, str]]:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none")
    try:
        with path.open(encoding="utf-8-sig") as file:
            parser.read_file(file, source=str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name an INI file with --config") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except configparser.Error as error:
        raise UserError(
            f"{' '.join(str(error).split())}; expected [section] and key = value"
        ) from None
    names = [s.strip().lower() for s in parser.sections()]
    for s, name in zip(parser.sections(), names, strict=True):
        if name not in section_models():
            raise UserError(f"{path}: unknown section [{s}]{_nearest(s, section_models())}")
        if names.count(name) > 1:
            raise UserError(f"{path}: section [{s}] stands there twice; join the two")
    return [(s, key, value) for s in parser.sections() for key, value in parser.items(s)]


def _put(values: dict, section: str, key: str, text: str, base: Path, source: str) -> None:
    models = section_models()
    model = models.get(section.strip().lower())
    if model is None:
        raise UserError(f"{source}: unknown section [{section}]{_nearest(section, models)}")
    key = key.strip().lower()
    field = model.model_fields.get(key)
    if field is None:
        raise UserError(
            f"{source}: [{section}] {key}: unknown option{_nearest(key, model.model_fields)}"
        )
    if "\0" in text:
        raise UserError(f"{source}: [{section}] {key}: holds a NUL character; remove it")
    if field.annotation is Path and text:
        text = _resolve(text, base)
    elif field.annotation is Path and field.default:
        raise UserError(f"{source}: [{spelling(section)}] {spelling(key)}: empty, expected a path")
    values.setdefault(section.strip().lower(), {})[key] = text


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {spelling(close[0])}?"
    return f"; known are {', '.join(spelling(k) for k in known)}"


def _resolve(text: str, base: Path) -> Path:
    if text.startswith((".\\", "..\\")):  # the reference project's INI was written on Windows
        text = PureWindowsPath(text).as_posix()
    return (base / Path(text).expanduser()).resolve()


def _build(values: dict, source: str, base: Path) -> Config:
    sections = {}
    for name, model in section_models().items():
        given = dict(values.get(name, {}))
        if name == "stft":
            data_path = sections["data"].data_path
            for key in model.model_fields:
                if key.endswith("_dir") and not given.get(key):
                    given[key] = data_path / spelling(key).removesuffix("_dir")
        if name == "enhance" and not given.get("input_path"):
            given["input_path"] = sections["stft"].folder("NoisySpeech", "testing")
        for key, field in model.model_fields.items():
            if field.annotation is Path and key not in given and field.default:
                given[key] = _resolve(field.default, base)
        try:
            sections[name] = model.model_validate(given)
        except ValidationError as error:
            raise UserError(f"{source}: {_explain(name, model, error)}") from None
    try:
        return Config(**sections)
    except ValidationError as error:
        raise UserError(
            f"{source}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None


def _explain(section: str, model: type[Section], error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"[{spelling(section)}] {message}"
    key = first["loc"][0]
    field = model.model_fields[key]
    return (
        f"[{spelling(section)}] {spelling(key)} = {first['input']}: "
        f"{message[0].lower()}{message[1:]} ({field.description}); correct the value"
    )


def render(config: Config | None = None) -> str:
    """Write a configuration as INI text; without one, the defaults with every option explained."""
    lines = []
    for name, model in section_models().items():
        if config is None:
            lines += [f"# {(model.__doc__ or '').strip()}"]
        lines += [f"[{spelling(name)}]"]
        for key, field in model.model_fields.items():
            if config is None:
                lines += [f"# {_describe(name, key, field)}"]
            value = field.default if config is None else getattr(getattr(config, name), key)
            lines += [f"{spelling(key)} = {value_text(value)}".rstrip()]
        lines += [""]
    header = (
        []
        if config
        else [
            "# Specmask: every option with its default. Paths are relative to this file.",
            "# Keys are compared without case; comments stand on lines of their own.",
            "",
        ]
    )
    return "\n".join(header + lines)


def _describe(section: str, key: str, field: Any) -> str:
    limits = {}
    for constraint in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(constraint, name, None) is not None:
                limits[name] = getattr(constraint, name)
    words = {"ge": "from {:g}", "gt": "above {:g}", "le": "to {:g}", "lt": "below {:g}"}
    bounds = " ".join(words[k].format(v) for k, v in limits.items() if abs(v) < 2**31 - 1)
    choices = get_args(field.annotation) if key not in ("features",) else ()
    if choices and all(isinstance(c, str) for c in choices):
        bounds = " | ".join(choices)
    elif field.annotation is bool:
        bounds = "yes | no"
    text = field.description
    if section == "stft" and key.endswith("_dir"):
        text += f"; empty: {spelling(key).removesuffix('_dir')} in data_path"
    return text + (f"  [{bounds}]" if bounds else "")


def value_text(value: Any) -> str:
    """Write a value as it stands in an INI file."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if math.isclose(value, float(f"{value:g}"), rel_tol=0) else repr(value)
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}:{value_text(v)}" for key, v in value.items())
    return "" if value == Path() else str(value)


if __name__ == "__main__":
    print(render(), end="")
