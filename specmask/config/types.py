"""Names that options choose from, types of their values, and how both are spelt in the INI file."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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

BAND_LOW_HZ = 300  # highest lower edge of the bands that remix draws: that of telephones

# Names as the reference project writes them; keys are compared without case.
_SPELLING = {"snr_lower": "SNR_lower", "snr_upper": "SNR_upper", "stft": "STFT"} | {
    f"{kind}_{split}_dir".lower(): f"{kind}_{split}_dir" for kind in KINDS for split in SPLITS
}
_SPELLING |= {f"{split}_stft_dir": f"{split.capitalize()}_STFT_dir" for split in SPLITS}


def spelling(name: str) -> str:
    """Return a section's or key's name as it is written in the INI file."""
    return _SPELLING.get(name, name)


def nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {spelling(close[0])}?"
    return f"; known are {', '.join(spelling(k) for k in known)}"


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
    list[Literal[CODECS]],
    BeforeValidator(_split_list),
    AfterValidator(_no_repeats),
]


def probability(what: str) -> Any:
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
            raise ValueError(f"unknown loss {name}{nearest(name, LOSSES)}")
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


def ends_in_order(section: Any) -> Any:
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
