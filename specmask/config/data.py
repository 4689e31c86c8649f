"""Options of the data set: [data], [augment] and [audio]."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from specmask.config.types import (
    CODECS,
    NO_EFFECT,
    OTHER_DATA,
    OTHER_NETWORK,
    CodecList,
    NameList,
    Section,
    check_ranges,
    option,
    probability,
)


class Data(Section):
    """The data set that ``data_prep.py`` makes, and its sources."""

    ON_RESUME = OTHER_DATA

    clean_train_path: Path = option(
        "data/clean/clean_train", "folder of clean speech for training (read recursively)"
    )
    noise_train_path: Path = option("data/noise/noise_train", "folder of noise for training")
    clean_test_path: Path = option(
        "data/clean/clean_test", "folder of clean speech for the test set: other speakers"
    )
    noise_test_path: Path = option(
        "data/noise/noise_test", "folder of noise for the test set: other recordings"
    )
    data_path: Path = option(
        "data", "folder that receives the generated data set and its manifests"
    )
    sample_rate: int = option(
        16000, "working sampling rate in Hz", ge=4000, le=192000, on_resume=OTHER_NETWORK
    )
    file_length: float = option(3, "length of a mixture in seconds", ge=0.1, le=600)
    total_training_files: int = option(10000, "number of training mixtures", ge=1)
    total_validation_files: int = option(
        500,
        "number of validation mixtures, from training sources set apart for it; "
        "0: none, the training loss selects",
        ge=0,
    )
    total_testing_files: int = option(1000, "number of test mixtures; 0: no test set", ge=0)
    snr_lower: float = option(-6, "lowest SNR in dB", ge=-100, le=100)
    snr_upper: float = option(9, "highest SNR in dB", ge=-100, le=100)
    total_snrlevels: int = option(
        16, "number of SNRs from SNR_lower to SNR_upper, both included", ge=1, le=10000
    )
    snr_mode: Literal["random", "all"] = option(
        "random", "random: each file has one SNR of the grid; all: each clip at every SNR"
    )
    snr_reference: Literal["whole", "active"] = option(
        "whole",
        "level of the speech in the SNR: over the whole clip, or over its active "
        "speech as in ITU-T P.56",
    )
    blend: Literal["snr", "level"] = option(
        "snr",
        "snr: noise at an SNR; level: recordings keep their level and the noise is "
        "multiplied by a factor from blend_lower to blend_upper",
    )
    blend_lower: float = option(0.2, "blend = level: lowest factor", gt=0, le=10)
    blend_upper: float = option(0.8, "blend = level: highest factor", gt=0, le=10)
    speech_level_db: float = option(
        -25, "level of the speech in dBFS (RMS over active speech)", ge=-70, le=-5
    )
    silence_length: float = option(
        0.2, "gap between joined short recordings in seconds", ge=0, le=10
    )
    validation_share: float = option(
        0.1, "share of the training sources set apart for validation", gt=0, lt=0.9
    )
    seed: int = option(0, "seed of every draw of the data set", ge=0, lt=2**63)
    files_per_folder: int = option(0, "mixtures per subfolder; 0: all in one folder", ge=0)
    speech_layout: Literal[
        "auto", "pairs", "librispeech", "vctk", "ptdb", "dns", "columbia", "sisec", "folders"
    ] = option("auto", "how the speaker is read from file names, see docs/data.md")
    noise_layout: Literal["auto", "esc", "dns", "sisec", "folders"] = option(
        "auto", "how noise type and recording are read from file names, see docs/data.md"
    )
    speaker_folder: int = option(
        0, "folder below the root that names the speaker; 0: found by rule", ge=0, le=20
    )
    noise_classes: NameList = option(
        [], "noise types that are used, e.g. clock_tick, hand_saw; empty: all"
    )
    train_pairs: NameList = option(
        [], "ready-made pairs for training: patterns of noisy names; empty: all"
    )
    validation_pairs: NameList = option(
        [],
        "pairs for training that are validation instead: patterns of noisy names; "
        "empty: validation_share of the speakers",
    )
    test_pairs: NameList = option(
        [],
        "ready-made pairs for testing: patterns of noisy names; empty: all",
        on_resume=NO_EFFECT,
    )
    set_aside: Path = option(
        "", "list of recordings to leave out, in the format of data_prep.py --check"
    )
    leaks: Literal["refuse", "warn"] = option(
        "refuse", "when training and test have recordings in common", on_resume=NO_EFFECT
    )

    @model_validator(mode="after")
    def _check(self) -> "Data":
        if self.total_snrlevels == 1 and self.snr_lower != self.snr_upper:
            raise ValueError(
                "total_snrlevels = 1 with two different ends: expected 2 or more levels, "
                "or SNR_lower equal to SNR_upper"
            )
        return check_ranges(self)


class Augment(Section):
    """Augmentation, all off by default; effects of each option: docs/data.md."""

    testing: bool = option(True, "for the test set too, or only for the other two")
    level_lower_db: float = option(0, "lowest change of the speech level, in dB", ge=-60, le=30)
    level_upper_db: float = option(0, "highest change of the speech level, in dB", ge=-60, le=30)
    speed_probability: float = probability("that the speech is played faster or slower")
    speed_lower: float = option(0.9, "lowest speed; the pitch changes with it", ge=0.25, le=4)
    speed_upper: float = option(1.1, "highest speed", ge=0.25, le=4)
    pitch_probability: float = probability("that the speech is higher or lower at the same speed")
    pitch_lower_semitones: float = option(-2, "lowest change of pitch", ge=-12, le=12)
    pitch_upper_semitones: float = option(2, "highest change of pitch", ge=-12, le=12)
    eq_speech_probability: float = probability("of a random equaliser on the speech")
    eq_noise_probability: float = probability("of another random equaliser on the noise")
    eq_gain_db: float = option(
        6, "largest gain or loss of each of its four filters, in dB", ge=0, le=24
    )
    noises_lower: int = option(1, "lowest number of noises in a mixture", ge=1, le=20)
    noises_upper: int = option(1, "highest number of noises in a mixture", ge=1, le=20)
    noise_spread_db: float = option(
        6, "largest level difference of further noises below the first, in dB", ge=0, le=60
    )
    coloured_probability: float = probability("that the first noise is coloured noise")
    colour_lower: float = option(
        -2, "lowest exponent of its power spectrum: -2 brown, 0 white", ge=-4, le=4
    )
    colour_upper: float = option(2, "highest exponent; 2: violet", ge=-4, le=4)
    impact_probability: float = probability("that the first noise is impacts that decay, as doors")
    switched_probability: float = probability("that the noise stops and starts, as machines do")
    babble_probability: float = probability("that the first noise is made of other speakers")
    babble_voices_lower: int = option(3, "lowest number of its voices", ge=1, le=100)
    babble_voices_upper: int = option(8, "highest number of its voices", ge=1, le=100)
    clean_only_probability: float = probability("of a file without noise")
    noise_only_probability: float = probability("of a file without speech")
    room_probability: float = probability("that the speech is in a room")
    rir_path: Path = option(
        "", "folder of room impulse responses; empty: simulated rooms (extra rooms)"
    )
    rir_share: float = option(
        1, "share of rooms that are of rir_path; the rest is simulated", ge=0, le=1
    )
    rir_target: Literal["dry", "early", "reverberant"] = option(
        "reverberant",
        "clean speech in a room: dry, with the first 50 ms of the room, or with all of it",
    )
    rir_noise: bool = option(False, "noise is in the same room, at another place")
    room_length_lower_m: float = option(
        3, "simulated rooms: shortest length and width, in m", ge=2, le=50
    )
    room_length_upper_m: float = option(
        8, "simulated rooms: largest length and width, in m", ge=2, le=50
    )
    room_distance_lower_m: float = option(
        0.3, "simulated rooms: shortest distance of the speaker, in m", ge=0.05, le=50
    )
    room_distance_upper_m: float = option(
        2.5, "simulated rooms: largest distance of the speaker, in m", ge=0.05, le=50
    )
    t60_lower_seconds: float = option(
        0.2, "simulated rooms: shortest reverberation time T60, in s", ge=0.05, le=10
    )
    t60_upper_seconds: float = option(
        0.6, "simulated rooms: longest reverberation time T60, in s", ge=0.05, le=10
    )
    band_probability: float = probability("that the mixture is limited to a band")
    band_target: Literal["limited", "full"] = option(
        "limited", "the clean speech: limited as the mixture is, or full"
    )
    band_low_lower_hz: float = option(50, "lowest lower edge of the band, in Hz", ge=0)
    band_low_upper_hz: float = option(300, "highest lower edge of the band, in Hz", ge=0)
    band_high_lower_hz: float = option(3400, "lowest upper edge of the band, in Hz", gt=0)
    band_high_upper_hz: float = option(7000, "highest upper edge of the band, in Hz", gt=0)
    clip_probability: float = probability("that the mixture is clipped")
    clip_share_lower: float = option(
        0.001, "lowest share of samples that are clipped", gt=0, le=0.5
    )
    clip_share_upper: float = option(
        0.02, "highest share of samples that are clipped", gt=0, le=0.5
    )
    codec_probability: float = probability("that the mixture goes through a codec and back")
    codecs: CodecList = option(list(CODECS), "any of mp3, opus, vorbis")
    codec_quality_lower: float = option(
        0.05, "lowest quality: 1 minus libsndfile's compression level", ge=0.01, le=1
    )
    codec_quality_upper: float = option(0.5, "highest quality; 1: best", ge=0.01, le=1)

    @model_validator(mode="after")
    def _check(self) -> "Augment":
        for one, other in (("clean_only", "noise_only"), ("coloured", "babble")):
            total = getattr(self, f"{one}_probability") + getattr(self, f"{other}_probability")
            total += self.impact_probability if one == "coloured" else 0
            if total > 1:
                also = " with impact_probability" if self.impact_probability else ""
                raise ValueError(
                    f"{one}_probability and {other}_probability{also} add up to {total:g}, "
                    "expected at most 1; lower one of them"
                )
        if self.band_low_upper_hz >= self.band_high_lower_hz:
            raise ValueError(
                f"band_low_upper_hz = {self.band_low_upper_hz:g} is not below band_high_lower_hz "
                f"= {self.band_high_lower_hz:g}: no band is left; lower it"
            )
        return check_ranges(self)


class Audio(Section):
    """How audio files are read."""

    resampler: Literal["soxr", "resampy"] = option(
        "soxr", "soxr (HQ; fast, flat to 7 kHz at 16 kHz) or resampy (kaiser_best)"
    )
