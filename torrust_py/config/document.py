"""Where the TOML document comes from, and reading it."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError

from torrust_py.config.errors import ConfigError, one_line
from torrust_py.config.overrides import Table, is_unicode

TOML_VARIABLE = "TORRUST_TRACKER_CONFIG_TOML"
PATH_VARIABLE = "TORRUST_TRACKER_CONFIG_TOML_PATH"
DEFAULT_PATH = "./share/default/config/tracker.development.sqlite3.toml"
LOCAL_PATH = "./tracker.toml"

_TUPLE = re.compile(r"\((?:'[^']*'(?:, )?)+,?\)")
_TWICE = re.compile('Key (".*") already exists', re.DOTALL)
_MEMBER = re.compile("'([^']*)'")


class Document(NamedTuple):
    """The base of the configuration, before overrides and defaults."""

    table: Table
    name: str | None
    """The file or the environment variable; None if there is none."""
    announcement: list[str]
    """Lines to print before logging starts."""


def read_document(environ: Mapping[str, str], directory: Path) -> Document:
    """The document of the environment, or else of a file, or else an empty one.

    A relative path is looked for in `directory` and all above it. Raises ConfigError.
    """
    text = environ.get(TOML_VARIABLE)
    path = environ.get(PATH_VARIABLE)
    if text is not None:
        name = f"environment variable {TOML_VARIABLE}"
        first = f"Loading extra configuration from environment variable: {TOML_VARIABLE}"
        if not is_unicode(text):
            raise ConfigError(f"{name}: must be UTF-8 text")
        return Document(_parse(text, name), name, [first, _announcement(path)])
    if path is not None:
        return _read_named(path, directory)
    return _read_unnamed(directory)


def _announcement(path: str | None) -> str:
    if path is None:
        return f"Loading extra configuration from default configuration file: `{DEFAULT_PATH}` ..."
    return f"Loading extra configuration from file: `{one_line(path)}` ..."


def _read_named(path: str, directory: Path) -> Document:
    if not path:
        raise ConfigError(f"{PATH_VARIABLE} is empty: set it to the path of a TOML file, or unset it")
    found = _find(path, directory) or directory / path
    name = path if found == directory / path else str(found)
    return Document(_read(found, name, variable=PATH_VARIABLE), name, [_announcement(path)])


def _read_unnamed(directory: Path) -> Document:
    if default := _find(DEFAULT_PATH, directory):
        name = DEFAULT_PATH if default == directory / DEFAULT_PATH else str(default)
        return Document(_read(default, name), name, [_announcement(None)])
    if os.path.lexists(local := directory / LOCAL_PATH):
        announcement = f"Loading configuration from config file {LOCAL_PATH}"
        return Document(_read(local, LOCAL_PATH), LOCAL_PATH, [announcement])
    return Document({}, None, [_announcement(None)])


def _find(path: str, directory: Path) -> Path | None:
    """The file at `path`, which if relative starts in `directory` or the nearest directory above."""
    candidates = (above / path for above in (directory, *directory.absolute().parents))
    return next(filter(os.path.isfile, candidates), None)


def _read(path: Path, name: str, *, variable: str | None = None) -> Table:
    origin = f" (in environment variable {variable})" if variable else ""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start + 1} is not UTF-8, save it as UTF-8{origin}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: there is no such file, correct the path or create it{origin}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{name}: cannot be read, {reason}{origin}") from error
    return _parse(text, name)


def _parse(text: str, name: str) -> Table:
    text = text.removeprefix("\ufeff")
    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise ConfigError(f"{name}: {_complaint(text, error)}") from error


def _complaint(text: str, error: TOMLKitError) -> str:
    """What is wrong, and where: tomlkit often knows the end of the table only, or no place at all."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as located:
        return _named(str(located), error)
    except (ValueError, RecursionError):
        pass  # a number or a nesting beyond what the standard library reads at all
    return str(error)


def _named(located: str, error: TOMLKitError) -> str:
    """The standard library names no key that is given twice, and a table by the tuple of its keys."""
    twice = _TWICE.match(str(error))
    if twice and not _TUPLE.search(located):
        place = located[located.rfind("(") :]
        return f"{twice[1]} is given twice {place}"
    return _TUPLE.sub(_dotted, located)


def _dotted(keys: re.Match[str]) -> str:
    return f"[{'.'.join(_MEMBER.findall(keys[0]))}]"
