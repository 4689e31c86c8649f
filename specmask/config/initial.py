"""Network and transform of the initial weights of a training."""

from pathlib import Path

from pydantic import ValidationError

from specmask.config import ini
from specmask.config.schema import Config
from specmask.config.types import ini_name
from specmask.errors import UserError

TRANSFORM = ("window_type", "window_length", "hop_size", "n_fft")  # options of [STFT]


def config_of_weights(path: Path) -> Path | None:
    """Return the INI file of a run folder or of an .npz file, if there is one."""
    paths = [path / "config.ini", path.with_suffix(".ini"), path.parent / "config.ini"]
    return next((p for p in (paths[:1] if path.is_dir() else paths[1:]) if p.is_file()), None)


def with_initial_network(config: Config, run: Path | None = None) -> tuple[Config, list[str]]:
    """Return a configuration with the network of its initial weights, and the options changed.

    All of [model] and the transform in [STFT] are those of the INI file beside the weights, or of
    the run that has begun with them; without initial weights, or without that file, nothing
    changes.

    Args:
        config: the configuration.
        run: the folder of the run, if it exists already.

    Raises:
        UserError: if the weights are of another sampling rate, or the two do not go together.
    """
    path = config.train.initial_weights
    found = config_of_weights(run or path) if path != Path() else None
    if found is None:
        return config, []
    weights = ini.load(found)
    if weights.data.sample_rate != config.data.sample_rate:
        raise UserError(
            f"[train] initial_weights = {path}: they are for {weights.data.sample_rate} Hz, "
            f"[data] sample_rate = {config.data.sample_rate}; set it to {weights.data.sample_rate} "
            "and make the data set again"
        )
    transform = {key: getattr(weights.stft, key) for key in TRANSFORM}
    changes = [
        f"[{ini_name(section)}] {ini_name(key)} = {ini.value_text(new)}"
        for section, keys in (("stft", TRANSFORM), ("model", type(weights.model).model_fields))
        for key in keys
        if (new := getattr(getattr(weights, section), key))
        != getattr(getattr(config, section), key)
    ]
    sections = {name: getattr(config, name) for name in Config.model_fields}
    sections |= {"model": weights.model, "stft": config.stft.model_copy(update=transform)}
    try:
        return Config(**sections), changes
    except ValidationError as error:
        raise UserError(f"[train] initial_weights = {path}: {ini.message(error)}") from None
