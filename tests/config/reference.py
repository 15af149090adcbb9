"""`docs/configuration.md`: every option, made from the commented default configuration and from the schema.

Write the page anew with `python -m tests.config.reference`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from torrust_py.config import default_config
from torrust_py.config.schema import Config

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

HEAD = """# Configuration

The tracker reads one TOML document: the value of `TORRUST_TRACKER_CONFIG_TOML`, else the file that
`TORRUST_TRACKER_CONFIG_TOML_PATH` names, else `./tracker.toml`. `torrust-tracker --print-default-config`
prints one to start from, with the explanations that follow.

Any option can also be set by an environment variable, which wins over the document: its name is
`TORRUST_TRACKER_CONFIG_OVERRIDE_` and the option's path in capitals, with two underscores for each dot.
The values are written as in TOML; a text may leave its quotes out. Arrays of tables (`udp_trackers`,
`http_trackers`) can be set whole only:

```sh
TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__LISTED=true
TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=a-secret-of-yours
TORRUST_TRACKER_CONFIG_OVERRIDE_UDP_TRACKERS='[{ bind_address = "0.0.0.0:6969" }]'
```

An empty value takes an optional table or option away. A value that is wrong stops the start with one line:
which option, what its value is, what it may be. Names that the tracker does not know are ignored.

Not in the document: `TORRUST_TRACKER_DATA_PLANE=portable` or `native` forces a form of the data plane (see
[architecture.md](architecture.md)).

This page is made from the shipped default configuration and from the schema; `python -m
tests.config.reference` writes it, and a test keeps it in step.
"""

_TABLE = re.compile(r"(?:# )?\[+([a-z_.]+)\]+")
_OPTION = re.compile(r"(?:# )?([a-z_]+) = .+")


class Option(NamedTuple):
    table: str
    name: str
    text: str
    default: str


def options() -> Iterator[Option]:
    """In the order of the default configuration."""
    table, comments = "", list[str]()
    for line in default_config().splitlines():
        if not line:
            comments.clear()
        elif match := _TABLE.fullmatch(line):
            table = match[1]
            yield Option(table, "", _text(comments), "")
            comments.clear()
        elif match := _OPTION.fullmatch(line):
            yield Option(table, match[1], _text(comments), _default(table, match[1]))
            comments.clear()
        else:
            comments.append(line)


def _text(comments: list[str]) -> str:
    return " ".join(line.removeprefix("#").strip() for line in comments).replace("|", "\\|")


def _default(table: str, name: str) -> str:
    """As in the document; `required` without one."""
    model: type[BaseModel] = Config
    for part in table.split("."):
        inner = _model(model.model_fields[part].annotation)
        if inner is None:  # a table of the operator's own names
            return ""
        model = inner
    field = model.model_fields[name]
    return _shown(field)


def _model(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, or an array of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _shown(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default == "":
        return "required"
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int):
        return f"`{default}`"
    secret = getattr(default, "get_secret_value", None)
    return f"`{secret() if secret else default}`"


def option_paths(document: object, prefix: str = "") -> Iterator[str]:
    """The options of a document, with their tables; those of all tables of an array together."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from option_paths(value, f"{prefix}.{name}" if prefix else name)
    elif isinstance(document, list):
        for table in document:
            yield from option_paths(table, prefix)
    else:
        yield prefix


def page() -> str:
    lines = [HEAD.rstrip("\n")]
    for option in options():
        if not option.name:
            lines += [f"\n## `{option.table}`\n"]
            if option.text:
                lines += [f"{option.text}\n"]
            lines += ["| Option | Default | Meaning |", "|---|---|---|"]
        else:
            lines.append(f"| `{option.name}` | {option.default} | {option.text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
