"""Environment variables that override single options.

`TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN` is `http_api.access_tokens.admin`: what
follows the prefix in lower case, two underscores for a dot. A table merges with that of the document, all
else replaces it; nothing at all takes an optional value away.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from torrust_py.config.errors import ConfigError
from torrust_py.config.loose import parse_loose
from torrust_py.config.options import OptionPath, can_hold, may_be_absent, option_name

OVERRIDE_PREFIX = "TORRUST_TRACKER_CONFIG_OVERRIDE_"
_OVERRIDE = re.compile(f"{OVERRIDE_PREFIX}(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)

Table: TypeAlias = dict[str, object]


class Override(NamedTuple):
    """What one environment variable says."""

    path: tuple[str, ...]
    variable: str
    value: object
    """None takes the option away."""


def variable_of(path: OptionPath) -> str:
    """The environment variable that overrides an option."""
    return OVERRIDE_PREFIX + "__".join(map(str, path)).upper()


def read_overrides(environ: Mapping[str, str]) -> list[Override]:
    """The overrides, outer tables before what is in them."""
    found = ((name, _OVERRIDE.fullmatch(name)) for name in environ)
    return sorted(
        (_read(name, match[1], environ[name]) for name, match in found if match),
        key=lambda override: (override.path, override.variable),
    )


def apply_overrides(document: Table, overrides: Iterable[Override]) -> None:
    """Change `document` as the environment says."""
    for override in overrides:
        _apply(document, override)


def _read(variable: str, name: str, text: str) -> Override:
    path = tuple(name.lower().replace("__", ".").split("."))
    if not all(path):
        raise ConfigError(
            f"{variable}: must name an option after {OVERRIDE_PREFIX}, with two underscores between a table "
            f"and what is in it, as in {variable_of(('core', 'listed'))}"
        )
    if not is_unicode(text):
        raise ConfigError(f"{option_name(path)}: must be UTF-8 text (in environment variable {variable})")
    if not text.strip():
        return Override(path, variable, None if may_be_absent(path) else "")
    return Override(path, variable, parse_loose(text, path))


def is_unicode(text: str) -> bool:
    """Whether a variable's bytes were UTF-8: those that were not arrive as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _apply(document: Table, override: Override) -> None:
    *tables, last = override.path
    table = document
    for depth, name in enumerate(tables, start=1):
        if override.value is None and name not in table:
            return
        inner = table.setdefault(name, {})
        if not (isinstance(inner, dict) and can_hold(override.path[:depth])):
            raise ConfigError(
                f"{option_name(override.path)}: {option_name(override.path[:depth])} is not a table, so "
                f"nothing in it can be set (by environment variable {override.variable})"
            )
        table = inner
    if override.value is None:
        table.pop(last, None)
    else:
        _merge(table, last, override.value)


def _merge(table: Table, name: str, value: object) -> None:
    present = table.get(name)
    if isinstance(present, dict) and isinstance(value, dict):
        for key, member in value.items():
            _merge(present, key, member)
    else:
        table[name] = value
