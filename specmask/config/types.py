"""Building blocks of options: choices, value types, names in the INI file, effect on a resume."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Feature = Literal["magnitude", "real", "imaginary", "log_magnitude", "mel", "mfcc"]
Target = Literal[
    "complex", "sigmoids", "magnitude", "ratio", "binary", "phase_sensitive",
    "magnitude_mapping", "complex_mapping", "real_mapping", "noise_db",
]  # fmt: skip
Codec = Literal["mp3", "opus", "vorbis"]

SPLITS = ("training", "validation", "testing")
KINDS = ("CleanSpeech", "Noise", "NoisySpeech")
FEATURES: tuple[str, ...] = get_args(Feature)
TARGETS: tuple[str, ...] = get_args(Target)
CODECS: tuple[str, ...] = get_args(Codec)
LOSSES = (
    "compressed", "si_sdr", "waveform_l1", "multi_resolution", "consistency",
    "mixture_consistency", "speech_noise", "sdr", "lost_speech", "pesq", "mse", "huber",
    "huber_db", "mask_mse", "bce", "dice",
)  # fmt: skip
MASK_LOSSES = ("mask_mse", "bce", "dice")  # compare masks
PESQ_RATE_HZ = 16_000  # of wideband PESQ, as a metric and as a loss; below it PESQ is narrowband
MASK_TARGETS = ("ratio", "binary", "phase_sensitive")  # have an ideal mask to compare with

BAND_LOW_HZ = 300  # highest lower edge of the bands that remix draws: that of telephones


# ---------------------------------------------------------------- options and sections


@dataclass(frozen=True)
class OnResume:
    """Effect of another value of an option on a run that resumes."""

    text: str
    refused: bool = False  # the run cannot resume
    rescores: bool = False  # losses before and after cannot be compared
    restarts_epoch: bool = False


def refused(reason: str) -> OnResume:
    """Return the effect of an option that has to keep its value in a run."""
    return OnResume(reason, refused=True)


NEXT_STEP = OnResume("from the next step on")
NO_EFFECT = OnResume("no effect on training")
OTHER_NETWORK = refused("it would be another network")
OTHER_DATA = OnResume(
    "the running epoch starts again, the best weights are selected again",
    rescores=True, restarts_epoch=True,
)  # fmt: skip
OTHER_EXAMPLES = OnResume("other examples are drawn from the next step on")
OTHER_LOSS = OnResume(
    "losses before and after cannot be compared: the best weights are selected again", rescores=True
)
ROUNDING = OnResume("results may differ by rounding")


def option(
    default: Any, description: str, *, on_resume: OnResume | None = None, **constraints: Any
) -> Any:
    """Return the field of an option.

    Args:
        default: value where the INI file has none.
        description: meaning and unit, for config.ini and for error messages.
        on_resume: effect of another value on a run that resumes, if not that of the section.
        constraints: limits of the value, as pydantic names them (ge, gt, le, lt, pattern).
    """
    extra: Any = {"on_resume": on_resume}
    return Field(default, description=description, json_schema_extra=extra, **constraints)


def probability(event: str) -> Any:
    """Return the field of a probability, 0 by default."""
    return option(0, f"probability {event}", ge=0, le=1)


class Section(BaseModel):
    """A section of the INI file: unknown keys are errors, values are read strictly."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
    ON_RESUME: ClassVar[OnResume] = NEXT_STEP  # of options that name no other

    @classmethod
    def on_resume(cls, key: str) -> OnResume:
        """Return the effect of another value of an option on a run that resumes."""
        extra: Any = cls.model_fields[key].json_schema_extra
        return extra["on_resume"] or cls.ON_RESUME


AnySection = TypeVar("AnySection", bound=Section)


def check_ranges(section: AnySection) -> AnySection:
    """Return a section, or raise ValueError if a ``*_lower`` is above its ``*_upper``."""
    for lower in type(section).model_fields:
        upper = lower.replace("_lower", "_upper")
        ends = getattr(section, lower), getattr(section, upper)
        if lower != upper and ends[0] > ends[1]:
            raise ValueError(
                f"{ini_name(lower)} = {ends[0]:g} is above {ini_name(upper)} = {ends[1]:g}; "
                "swap them"
            )
    return section


# ---------------------------------------------------------------- names in the INI file

# Names as the reference project writes them; keys are compared without case.
_INI_NAMES = {"snr_lower": "SNR_lower", "snr_upper": "SNR_upper", "stft": "STFT"}
_INI_NAMES |= {
    f"{kind}_{split}_dir".lower(): f"{kind}_{split}_dir" for kind in KINDS for split in SPLITS
}
_INI_NAMES |= {f"{split}_stft_dir": f"{split.capitalize()}_STFT_dir" for split in SPLITS}


def ini_name(name: str) -> str:
    """Return the name of a section or key in the INI file.

    >>> ini_name("snr_lower"), ini_name("epochs")
    ('SNR_lower', 'epochs')
    """
    return _INI_NAMES.get(name, name)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the nearest known one, or all.

    >>> suggestion("epocs", ["epochs", "seed"])
    '; did you mean epochs?'
    >>> suggestion("x", ["epochs", "seed"])
    '; known are epochs, seed'
    """
    known = list(known)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {ini_name(close[0])}?"
    return f"; known are {', '.join(map(ini_name, known))}"


# ---------------------------------------------------------------- types of values


def _split_list(value: Any) -> Any:
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


def _unique(value: list[str]) -> list[str]:
    if len(set(value)) < len(value):
        raise ValueError("each name once")
    return value


def _nonempty(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("at least one name")
    return value


def _ordered(value: list[float]) -> list[float]:
    if value and (len(value) != 2 or value[0] > value[1]):
        raise ValueError("two numbers, the lower one first")
    return value


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
            raise ValueError(f"unknown loss {name}{suggestion(name, LOSSES)}")
        if weight <= 0:
            raise ValueError(f"{name}: expected a weight above 0")
    if not value:
        raise ValueError("at least one loss")
    return value


_SPLIT, _UNIQUE = BeforeValidator(_split_list), AfterValidator(_unique)

NameList = Annotated[list[str], _SPLIT, _UNIQUE]
FeatureList = Annotated[list[Feature], _SPLIT, _UNIQUE, AfterValidator(_nonempty)]
CodecList = Annotated[list[Codec], _SPLIT, _UNIQUE, AfterValidator(_nonempty)]
IntegerList = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], _SPLIT, Field(min_length=1)]
NumberRange = Annotated[list[float], _SPLIT, AfterValidator(_ordered)]
LossWeights = Annotated[
    dict[str, float], BeforeValidator(_split_weights), AfterValidator(_known_losses)
]
