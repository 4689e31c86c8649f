"""Options of the data set: [data], [augment] and [audio]."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from specmask.config.types import CODECS, CodecList, NameList, Section, ends_in_order, probability


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
    validation_pairs: NameList = Field(
        [],
        description="pairs for training that are validation instead: patterns of noisy names; "
        "empty: validation_share of the speakers",
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
        return ends_in_order(self)


class Augment(Section):
    """Realism, all off by default; what each option does to the files: docs/data.md."""

    testing: bool = Field(True, description="for the test set too, or only for the other two")
    level_lower_db: float = Field(
        0, ge=-60, le=30, description="lowest change of the speech level, in dB"
    )
    level_upper_db: float = Field(
        0, ge=-60, le=30, description="highest change of the speech level, in dB"
    )
    speed_probability: float = probability("that the speech is played faster or slower")
    speed_lower: float = Field(0.9, ge=0.25, le=4, description="lowest speed; pitch goes with it")
    speed_upper: float = Field(1.1, ge=0.25, le=4, description="highest speed")
    pitch_probability: float = probability("that the speech is higher or lower at the same speed")
    pitch_lower_semitones: float = Field(-2, ge=-12, le=12, description="lowest change of pitch")
    pitch_upper_semitones: float = Field(2, ge=-12, le=12, description="highest change of pitch")
    eq_speech_probability: float = probability("of a random equaliser on the speech")
    eq_noise_probability: float = probability("of another random equaliser on the noise")
    eq_gain_db: float = Field(
        6, ge=0, le=24, description="largest gain or loss of each of its four filters, in dB"
    )
    noises_lower: int = Field(1, ge=1, le=20, description="lowest number of noises in a mixture")
    noises_upper: int = Field(1, ge=1, le=20, description="highest number of noises in a mixture")
    noise_spread_db: float = Field(
        6, ge=0, le=60, description="by how much further noises may be softer than the first, dB"
    )
    coloured_probability: float = probability("that the first noise is coloured noise")
    colour_lower: float = Field(
        -2, ge=-4, le=4, description="lowest exponent of its power spectrum: -2 brown, 0 white"
    )
    colour_upper: float = Field(2, ge=-4, le=4, description="highest exponent; 2: violet")
    babble_probability: float = probability("that the first noise is made of other speakers")
    babble_voices_lower: int = Field(3, ge=1, le=100, description="lowest number of its voices")
    babble_voices_upper: int = Field(8, ge=1, le=100, description="highest number of its voices")
    clean_only_probability: float = probability("of a file without noise")
    noise_only_probability: float = probability("of a file without speech")
    room_probability: float = probability("that the speech is heard in a room")
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
    band_probability: float = probability("that the mixture is limited to a band")
    band_target: Literal["limited", "full"] = Field(
        "limited", description="the clean speech: limited as the mixture is, or left as it was"
    )
    band_low_lower_hz: float = Field(50, ge=0, description="lowest lower edge of the band")
    band_low_upper_hz: float = Field(300, ge=0, description="highest lower edge of the band")
    band_high_lower_hz: float = Field(3400, gt=0, description="lowest upper edge of the band")
    band_high_upper_hz: float = Field(7000, gt=0, description="highest upper edge of the band")
    clip_probability: float = probability("that the mixture is clipped")
    clip_share_lower: float = Field(
        0.001, gt=0, le=0.5, description="lowest share of samples that are clipped"
    )
    clip_share_upper: float = Field(
        0.02, gt=0, le=0.5, description="highest share of samples that are clipped"
    )
    codec_probability: float = probability("that the mixture goes through a codec and back")
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
        return ends_in_order(self)


class Audio(Section):
    """How audio files are read."""

    resampler: Literal["soxr", "resampy"] = Field(
        "soxr", description="soxr (HQ; fast, flat to 7 kHz at 16 kHz) or resampy (kaiser_best)"
    )
