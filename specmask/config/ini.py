"""The configuration: one typed model a section, the only home of a default.

The sections are in :mod:`specmask.config`. ``config.ini`` in the root of the project is what
:func:`render` makes of the defaults, so the file that users edit and the code cannot disagree
(``python -m specmask.config > config.ini``).
"""

import configparser
import math
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, get_args

from pydantic import ValidationError

from specmask.config.schema import Config, section_models
from specmask.config.types import Section, nearest, spelling
from specmask.errors import UserError


@dataclass(frozen=True)
class Value:
    """An option as it was given, and where: the file or --set."""

    text: Any
    source: str


def load(path: Path | None, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read an INI file and overrides of the form ``section.key=value``.

    Paths in the file are relative to the file, paths in overrides to the working directory; and
    so are those of the defaults where there is no file.

    Raises:
        UserError: for anything that is unknown, of the wrong type or out of range.
    """
    values: dict[str, dict[str, Value]] = {}
    base, source = (Path(path).resolve().parent, str(path)) if path else (Path.cwd(), "defaults")
    for section, key, text in _read(Path(path)) if path else ():
        _put(values, section, key, text, base, source)
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise UserError(f"--set {override}: expected SECTION.KEY=VALUE, e.g. train.epochs=5")
        _put(values, section, key, text.strip(), base=Path.cwd(), source="--set")
    return _build(values, f"{source} and --set" if overrides else source, base)


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
            raise UserError(f"{path}: unknown section [{s}]{nearest(s, section_models())}")
        if names.count(name) > 1:
            raise UserError(f"{path}: section [{s}] stands there twice; join the two")
    return [(s, key, value) for s in parser.sections() for key, value in parser.items(s)]


def _put(values: dict, section: str, key: str, text: str, base: Path, source: str) -> None:
    models = section_models()
    model = models.get(section.strip().lower())
    if model is None:
        raise UserError(f"{source}: unknown section [{section}]{nearest(section, models)}")
    key = key.strip().lower()
    field = model.model_fields.get(key)
    if field is None:
        raise UserError(
            f"{source}: [{section}] {key}: unknown option{nearest(key, model.model_fields)}"
        )
    if "\0" in text:
        raise UserError(f"{source}: [{section}] {key}: holds a NUL character; remove it")
    if field.annotation is Path and text:
        text = _resolve(text, base)
    elif field.annotation is Path and field.default:
        raise UserError(f"{source}: [{spelling(section)}] {spelling(key)}: empty, expected a path")
    values.setdefault(section.strip().lower(), {})[key] = Value(text, source)


def _resolve(text: str, base: Path) -> Path:
    if text.startswith((".\\", "..\\")):  # the reference project's INI was written on Windows
        text = PureWindowsPath(text).as_posix()
    return (base / Path(text).expanduser()).resolve()


def _build(values: dict, source: str, base: Path) -> Config:
    sections = {}
    for name, model in section_models().items():
        read = values.get(name, {})
        given = {key: value.text for key, value in read.items()}
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
            where, text = _explain(name, model, error)
            raise UserError(f"{read[where].source if where in read else source}: {text}") from None
    try:
        return Config(**sections)
    except ValidationError as error:
        raise UserError(
            f"{source}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None


def _explain(section: str, model: type[Section], error: ValidationError) -> tuple[str, str]:
    """Return the key that is wrong, empty if it is several together, and what is wrong."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return "", f"[{spelling(section)}] {message}"
    key = first["loc"][0]
    field = model.model_fields[key]
    return key, (
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
    choices = get_args(field.annotation)
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
