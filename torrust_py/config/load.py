"""From the environment and a file to a checked configuration: document, overrides, defaults, checks."""

import json
import os.path
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from torrust_py.config.document import LOCAL_PATH, PATH_VARIABLE, TOML_VARIABLE, read_document
from torrust_py.config.errors import ConfigError
from torrust_py.config.options import OptionPath, is_shown, option_name
from torrust_py.config.overrides import Override, Table, apply_overrides, read_overrides, variable_of
from torrust_py.config.schema import Config, Database

_SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
_MANDATORY = {
    ("metadata", "schema_version"): '"2.0.0"',
    ("logging", "threshold"): '"off", "error", "warn", "info", "debug" or "trace"',
    ("core", "private"): "true or false",
    ("core", "listed"): "true or false",
}
_OUTDATED = {
    "log_level": "logging.threshold",
    "mode": "core.listed and core.private",
    "db_driver": "core.database.driver",
    "db_path": "core.database.path",
    "announce_interval": "core.announce_policy.interval",
    "min_announce_interval": "core.announce_policy.interval_min",
    "max_peer_timeout": "core.tracker_policy.max_peer_timeout",
    "persistent_torrent_completed_stat": "core.tracker_policy.persistent_torrent_completed_stat",
    "remove_peerless_torrents": "core.tracker_policy.remove_peerless_torrents",
    "inactive_peer_cleanup_interval": "core.inactive_peer_cleanup_interval",
    "tracker_usage_statistics": "core.tracker_usage_statistics",
    "on_reverse_proxy": "core.net.on_reverse_proxy",
    "external_ip": "core.net.external_ip",
}
"""Keys of the flat documents that Torrust read before schema 2.0.0, and what they are called now."""

_PRIVATE_MODE = (  # word for word what Torrust says
    "Configuration error: Private mode section in configuration can only be included when the tracker is "
    "running in private mode."
)
_MUST_BE = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "string_type": "must be a text in double quotes",
    "string_unicode": "must be UTF-8 text",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be an array of tables",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


class LoadedConfig(NamedTuple):
    config: Config
    announcement: list[str]
    """Lines to print before logging starts: where the configuration comes from."""


class _Sources(NamedTuple):
    """Where options were set."""

    document: str | None
    overrides: list[Override]

    def of(self, path: OptionPath) -> str:
        """In which file or environment variable the option at `path` was set."""
        for override in reversed(self.overrides):
            if path[: len(override.path)] == override.path:
                return f"in environment variable {override.variable}"
        return f"in {self.document}" if self.document else "in the environment"


def load_config(environ: Mapping[str, str], directory: Path) -> LoadedConfig:
    """The configuration that `environ` gives, or that it names a file of; `directory` is where relative
    paths start.

    Raises ConfigError.
    """
    document = read_document(environ, directory)
    overrides = read_overrides(environ)
    apply_overrides(document.table, overrides)
    _check_mandatory(document.table, document.name)
    sources = _Sources(document.name, overrides)
    config = _validated(document.table, sources)
    _check_private_mode(config, sources)
    _check_database(config, sources)
    _check_snapshot(config, sources)
    return LoadedConfig(config, document.announcement)


def default_config() -> str:
    """The text of a configuration to start from, with every option explained."""
    shipped = files("torrust_py.config") / "shipped" / "tracker.development.sqlite3.toml"
    return shipped.read_text("utf-8")


def _check_mandatory(table: Table, document: str | None) -> None:
    for path, values in _MANDATORY.items():
        if not _is_set(table, path):
            raise ConfigError(_missing(table, path, values, document))


def _is_set(table: Table, path: tuple[str, str]) -> bool:
    section = table.get(path[0], {})
    # What is there in place of the table is refused for what it is, not for what it lacks.
    return not isinstance(section, dict) or path[1] in section


def _missing(table: Table, path: tuple[str, str], values: str, document: str | None) -> str:
    option = option_name(path)
    if document is None:
        return (
            f"no configuration found, so {option} is missing: neither {TOML_VARIABLE} nor {PATH_VARIABLE} is "
            f"set, and there is no {LOCAL_PATH}; get one with torrust-tracker --print-default-config "
            f"> {LOCAL_PATH}"
        )
    outdated = [f"{key} is now {_OUTDATED[key]}" for key in table if key in _OUTDATED]
    if outdated:
        return (
            f"{option} is missing: this is an old configuration, of before schema 2.0.0, in which "
            f"{', '.join(outdated)}; torrust-tracker --print-default-config shows a new one (in {document})"
        )
    return f"{option} is missing: set it to {values} (in {document}, or by {variable_of(path)})"


def _validated(table: Table, sources: _Sources) -> Config:
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_complaint(error, sources)) from error


def _complaint(error: ValidationError, sources: _Sources) -> str:
    first = error.errors(include_url=False)[0]
    path, context = first["loc"], first.get("ctx", {})
    if first["type"] == "literal_error":
        context = {"expected": _alternatives(context["expected"])}
    value = f" = {_shown(first['input'])}" if is_shown(path) else ""
    must_be = _MUST_BE[first["type"]].format(**context)
    return f"{option_name(path)}{value}: {must_be} ({sources.of(path)})"


def _alternatives(expected: str) -> str:
    """pydantic's `'a', 'b' or 'c'` as `one of a, b, c`, and `'a'` as `a`."""
    plain = expected.replace("'", "").replace(" or ", ", ")
    return f"one of {plain}" if "," in plain else plain


def _shown(value: object) -> str:
    """A value as a TOML document has it; of what can be long just what it is."""
    match value:
        case dict():
            return "{…}"
        case list():
            return "[…]"
        case bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int() if value.bit_length() > 128:
            return "…"
        case _:
            return str(value)


def _check_private_mode(config: Config, sources: _Sources) -> None:
    if config.core.private_mode is not None and not config.core.private:
        raise ConfigError(
            f"{_PRIVATE_MODE} Set core.private = true or remove core.private_mode "
            f"({sources.of(('core', 'private_mode'))})"
        )


def _check_database(config: Config, sources: _Sources) -> None:
    driver, path = config.core.database.driver, config.core.database.path.get_secret_value()
    if driver != "sqlite3" and "://" not in path:
        raise ConfigError(
            f"core.database.path: must be a URL such as {driver}://user:password@host/database when "
            f"core.database.driver is {driver} ({sources.of(('core', 'database', 'path'))})"
        )
    if driver == "sqlite3" and "://" in path:
        raise ConfigError(
            "core.database.path: must be the path of a file when core.database.driver is sqlite3; for the "
            f"URL of a server also set core.database.driver ({sources.of(('core', 'database', 'path'))})"
        )


def _check_snapshot(config: Config, sources: _Sources) -> None:
    """Its file is replaced as a whole, so it must be nobody else's."""
    if config.core.snapshot is None:
        return
    path = os.path.realpath(config.core.snapshot.path)
    for option, files_of_it in (
        ("the database, core.database.path", _files_of_database(config.core.database)),
        ("the blacklist, core.blacklist_path", [config.core.blacklist_path or ""]),
    ):
        if path in [os.path.realpath(file) for file in files_of_it if file]:
            raise ConfigError(
                f"core.snapshot.path: must not be the file of {option} "
                f"({sources.of(('core', 'snapshot', 'path'))})"
            )


def _files_of_database(database: Database) -> list[str]:
    """Those that SQLite makes and removes, too; none of a server."""
    if database.driver != "sqlite3":
        return []
    path = database.path.get_secret_value()
    if path.startswith("file:"):
        path = unquote(urlsplit(path).path)
    return [path, *(path + suffix for suffix in _SQLITE_SUFFIXES)] if path else []
