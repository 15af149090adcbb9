"""The path of an option in the document, and what the schema says of it."""

import inspect
import json
import re
from types import UnionType
from typing import Annotated, TypeAlias, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Secret

from torrust_py.config.schema import TLS_SPELLINGS, Config

OptionPath: TypeAlias = tuple[str | int, ...]
"""The keys of the tables, and the positions in arrays, that lead to an option."""

_BARE_KEY = re.compile("[A-Za-z0-9_-]+")
_UNIONS = (Union, UnionType)


def option_name(path: OptionPath) -> str:
    """The dotted name: `core.listed`, `http_trackers[0].bind_address`."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            name += f".{key}" if name else key
    return name


def is_text(path: OptionPath) -> bool:
    """Whether the option is written as a string."""
    kind = _kind(_annotation(path))
    is_single = get_origin(kind) not in (dict, tuple) and not _is_model(kind)
    return is_single and kind not in (None, bool, int)


def can_hold(path: OptionPath) -> bool:
    """Whether there can be options in it: a table, or what the schema does not know."""
    kind = _kind(_annotation(path))
    return kind is None or get_origin(kind) is dict or _is_model(kind)


def is_secret(path: OptionPath) -> bool:
    kind = _kind(_annotation(path))
    return inspect.isclass(kind) and issubclass(kind, Secret)


def is_shown(path: OptionPath) -> bool:
    """Whether an error may tell the value: not that of a secret, nor what stands in place of a table."""
    kind = _kind(_annotation(path))
    return kind in (bool, int) or (is_text(path) and not is_secret(path))


def may_be_absent(path: OptionPath) -> bool:
    """Whether there is a meaning to the option having no value, other than its default's."""
    annotation = _annotation(path)
    is_label = get_origin(_kind(_annotation(path[:-1]))) is dict
    return is_label or type(None) in get_args(annotation)


def _annotation(path: OptionPath) -> object:
    """The type of an option; None if there is no such option."""
    annotation: object = Config
    for part in path:
        annotation = _member(_kind(annotation), part)
    return annotation


def _member(kind: object, part: str | int) -> object:
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    if _is_model(kind):
        field = kind.model_fields.get(TLS_SPELLINGS[0] if part in TLS_SPELLINGS else str(part))
        return None if field is None else field.annotation
    return None


def _kind(annotation: object) -> object:
    """The type without its constraints, and without None."""
    while get_origin(annotation) in (Annotated, *_UNIONS):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)
