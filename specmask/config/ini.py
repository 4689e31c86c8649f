"""The INI file: reading, layering, checking and writing.

``config.ini`` in the root of the project is what :func:`render` makes of the defaults, so the file
that users edit and the code cannot disagree (``python -m specmask config --out config.ini``).
"""

import codecs
import configparser
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from specmask.config.schema import Config, section_models
from specmask.config.types import Section, ini_name, suggestion
from specmask.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package where it is installed, beside it in a clone.
INSTALLED, CLONED = PACKAGE / "recipes", PACKAGE.parent / "recipes"
RECIPES = INSTALLED if INSTALLED.is_dir() else CLONED
COMMAND_LINE = "command line"  # source of overrides
_COMMENT = re.compile(r"\s(;|#(?!\d))")  # not in "take #1"


def recipe_path(path: Path) -> Path:
    """Return a path, or that of the recipe that comes with Specmask if it is only there.

    Only ``recipes/NAME.ini`` itself: in any other folder a file that is missing is an error.

    >>> recipe_path(Path("recipes/default.ini")).is_file()
    True
    """
    shipped = RECIPES / path.name
    missing = path.parent == Path("recipes") and not path.is_file()
    return shipped if missing and shipped.is_file() else path


@dataclass(frozen=True)
class Value:
    """An option as it was given, and where: the file or the command line."""

    text: Any
    source: str
    replaced: str = ""  # source of the value before it


@dataclass
class Layers:
    """Options as they were given in files and overrides, the last one of each."""

    base: Path  # folder that defaults are relative to
    sources: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Value]] = field(default_factory=dict)  # by section and key

    def add(self, section: str, key: str, text: str, base: Path, source: str) -> None:
        """Take an option, with a path relative to ``base``.

        Raises:
            UserError: if it is unknown or cannot be a value of it.
        """
        models = section_models()
        name, key = section.strip().lower(), key.strip().lower()
        if name not in models:
            raise UserError(f"{source}: unknown section [{section}]{suggestion(section, models)}")
        fields = models[name].model_fields
        if key not in fields:
            raise UserError(f"{source}: [{section}] {key}: unknown option{suggestion(key, fields)}")
        if "\0" in text:
            raise UserError(f"{source}: [{section}] {key}: holds a NUL character; remove it")
        value: Any = text
        if fields[key].annotation is Path:
            if text:
                try:
                    value = _resolve(text, base)
                except RuntimeError as error:  # unknown ~user, link loop
                    raise UserError(
                        f"{source}: [{ini_name(name)}] {ini_name(key)} = {text}: no such path can "
                        f"be found ({str(error).rstrip('.')}); write out the whole path"
                    ) from None
            elif fields[key].default:
                raise UserError(
                    f"{source}: [{ini_name(name)}] {ini_name(key)}: empty, expected a path"
                )
        values = self.values.setdefault(name, {})
        values[key] = Value(value, source, values[key].source if key in values else "")


def load(paths: Path | Sequence[Path] | None, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of INI files and overrides of the form ``section.key=value``.

    Paths in a file are relative to the file, paths in overrides to the working directory. Paths of
    the defaults are relative to the first file that is no recipe, else to the working directory.

    Args:
        paths: INI file, or several of which the later ones win; None: the defaults.
        overrides: win over all files, the last one of an option over the others.

    Raises:
        UserError: for anything that is unknown, of the wrong type or out of range.

    >>> load(None, ["train.epochs=3"]).train.epochs
    3
    """
    return build(read(paths, overrides))


def read(paths: Path | Sequence[Path] | None, overrides: Sequence[str] = ()) -> Layers:
    """Return what INI files and overrides say; arguments and errors as of :func:`load`."""
    files = [paths] if isinstance(paths, Path) else list(paths or ())
    files = [recipe_path(path) for path in files]
    folders = [path.resolve().parent for path in files]
    layers = Layers(next((folder for folder in folders if folder != RECIPES), Path.cwd()))
    layers.sources = list(map(str, files)) or ["defaults"]
    if overrides:
        layers.sources.append(COMMAND_LINE)
    for path, folder in zip(files, folders, strict=True):
        for section, key, text in _read_file(path):
            layers.add(section, key, text, folder, str(path))
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise UserError(f"--set {override}: expected SECTION.KEY=VALUE, e.g. train.epochs=5")
        layers.add(section, key, text.strip(), Path.cwd(), COMMAND_LINE)
    return layers


def _read_file(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and value of every option in a file."""
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none")
    try:
        content = path.read_bytes()
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Windows shells
        parser.read_string(content.decode("utf-16" if utf16 else "utf-8-sig"), source=str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name an INI file with --config") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except configparser.Error as error:
        raise UserError(
            f"{' '.join(str(error).split())}; expected [section] and key = value"
        ) from None
    names = [s.strip().lower() for s in parser.sections()]
    for section, name in zip(parser.sections(), names, strict=True):
        if name not in section_models():
            raise UserError(
                f"{path}: unknown section [{section}]{suggestion(section, section_models())}"
            )
        if names.count(name) > 1:
            raise UserError(f"{path}: section [{section}] is there twice; join the two")
    # Beside weights it was written by a training; its paths may be of another machine.
    is_of_run = any(path.parent.glob("*.npz"))
    for section in parser.sections():
        for key, text in parser.items(section):
            if not is_of_run and _has_comment(text, path.parent):
                raise UserError(
                    f"{path}: [{section}] {key} = {text}: a comment after the value; put it on a "
                    "line of its own"
                )
            yield section, key, text


def _has_comment(text: str, base: Path) -> bool:
    """Return whether a value ends in a comment, other than in a path that exists."""
    if not _COMMENT.search(text):
        return False
    path = base / text
    named = [p for p in (path, *path.parents) if _COMMENT.search(p.name)]
    return not any(os.path.exists(p) for p in named)  # noqa: PTH110 (raises on very long names)


def _resolve(text: str, base: Path) -> Path:
    if text.startswith((".\\", "..\\")):  # the reference project's INI was written on Windows
        text = PureWindowsPath(text).as_posix()
    return (base / Path(text).expanduser()).resolve()


def build(layers: Layers) -> Config:
    """Return the configuration that the layers make over the defaults.

    Raises:
        UserError: if a value is of the wrong type or out of range, or two do not go together.
    """
    everything = " and ".join(filter(None, [", ".join(layers.sources[:-1]), layers.sources[-1]]))
    sections: dict[str, Any] = {}
    for name, model in section_models().items():
        values = layers.values.get(name, {})
        given = {key: value.text for key, value in values.items()}
        if name == "stft":
            data_path = sections["data"].data_path
            for key in model.model_fields:
                if key.endswith("_dir") and not given.get(key):
                    given[key] = data_path / ini_name(key).removesuffix("_dir")
        if name == "enhance" and not given.get("input_path"):
            given["input_path"] = sections["stft"].folder("NoisySpeech", "testing")
        for key, info in model.model_fields.items():
            if info.annotation is Path and key not in given and info.default:
                given[key] = _resolve(info.default, layers.base)
        try:
            sections[name] = model.model_validate(given)
        except ValidationError as error:
            key, text = _explain(name, model, error)
            source = values[key].source if key in values else everything
            raise UserError(f"{source}: {text}") from None
    try:
        return Config(**sections)
    except ValidationError as error:
        raise UserError(f"{everything}: {message(error)}") from None


def message(error: ValidationError) -> str:
    """Return the text of a pydantic error without its prefix."""
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _explain(section: str, model: type[Section], error: ValidationError) -> tuple[str, str]:
    """Return the key that is wrong, empty if it is several together, and what is wrong."""
    first, text = error.errors()[0], message(error)
    if not first["loc"]:
        return "", f"[{ini_name(section)}] {text}"
    key = str(first["loc"][0])
    return key, (
        f"[{ini_name(section)}] {ini_name(key)} = {first['input']}: {text[0].lower()}"
        f"{text[1:]} ({model.model_fields[key].description}); correct the value"
    )


# ---------------------------------------------------------------- writing

HEADER = """\
# Specmask: every option with its default. Paths are relative to this file.
# Keys are compared without case; comments are on lines of their own.
"""


def render(config: Config | None = None, layers: Layers | None = None) -> str:
    """Return a configuration as INI text; without one, the defaults with every option explained.

    Args:
        config: its paths are absolute.
        layers: of the configuration; values that are not the default, or replace that of another
            layer, then have a comment with their source.

    >>> "epochs = 20" in render()
    True
    """
    if config is None:
        return explain(Layers(Path()), Path())

    def lines(section: str, key: str, info: FieldInfo) -> list[str]:
        line = _assignment(key, getattr(getattr(config, section), key))
        given = layers.values.get(section, {}).get(key) if layers else None
        if not layers or not given:
            return [line]
        if given.replaced:
            return [f"# from {given.source}, in place of {given.replaced}", line]
        if info.annotation is Path:
            is_default = given.text == (_resolve(info.default, layers.base) if info.default else "")
        else:
            is_default = line == _assignment(key, info.default)
        return [line] if is_default else [f"# from {given.source}", line]

    return _render(lines)


def explain(layers: Layers, folder: Path) -> str:
    """Return the options of layers over the defaults as INI text, with every option explained.

    Args:
        layers: of which every value is checked.
        folder: of the file; paths in it are relative.
    """

    def lines(section: str, key: str, info: FieldInfo) -> list[str]:
        given = layers.values.get(section, {}).get(key)
        value = given.text if given else info.default
        if isinstance(value, Path) and value.is_relative_to(folder.resolve()):
            value = value.relative_to(folder.resolve()).as_posix()
        return [f"# {_describe(section, key, info)}", _assignment(key, value)]

    return f"{HEADER}\n{_render(lines, explained=True)}"


def _render(lines: Callable[[str, str, FieldInfo], list[str]], explained: bool = False) -> str:
    text = []
    for name, model in section_models().items():
        if explained:
            text.append(f"# {(model.__doc__ or '').strip()}")
        text.append(f"[{ini_name(name)}]")
        for key, info in model.model_fields.items():
            text += lines(name, key, info)
        text.append("")
    return "\n".join(text)


def _assignment(key: str, value: Any) -> str:
    text = value_text(value).replace("\n", "\n    ")  # further lines of a value are indented
    return f"{ini_name(key)} = {text}".rstrip()


def _describe(section: str, key: str, info: FieldInfo) -> str:
    limits = {
        name: getattr(constraint, name)
        for constraint in info.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(constraint, name, None) is not None
    }
    words = {"ge": "from {:g}", "gt": "above {:g}", "le": "to {:g}", "lt": "below {:g}"}
    bounds = " ".join(words[k].format(v) for k, v in limits.items() if abs(v) < 2**31 - 1)
    choices = get_args(info.annotation)
    if choices and all(isinstance(c, str) for c in choices):
        bounds = " | ".join(choices)
    elif info.annotation is bool:
        bounds = "yes | no"
    text = info.description or ""
    if section == "stft" and key.endswith("_dir"):
        text += f"; empty: {ini_name(key).removesuffix('_dir')} in data_path"
    return text + (f"  [{bounds}]" if bounds else "")


def value_text(value: Any) -> str:
    """Return a value as the INI file has it.

    >>> value_text(True), value_text([16, 24]), value_text({"mse": 1.0})
    ('yes', '16, 24', 'mse:1')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if math.isclose(value, float(f"{value:g}"), rel_tol=0) else repr(value)
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}:{value_text(v)}" for key, v in value.items())
    return "" if value == Path() else str(value)
