"""The body of `POST /keys`: `{"key": <text or null>, "seconds_valid": <number or null>}`.

What is wrong with it is told in the words and with the positions of Torrust's JSON reader (serde_json), which
reads the members one after the other and stops at the first that does not fit. The values themselves are read
by Python's reader; where that stops inside one, its reason is put into the nearest of those words.
"""

import json
import math
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple

from torrust_py.api.responses import debug_escaped
from torrust_py.web import CallError

MAX_U64 = (1 << 64) - 1
MIN_I64 = -(1 << 63)
_MEMBERS = {"key": "a string", "seconds_valid": "u64"}
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REASONS = {  # of Python's reader, by how they begin: at the end of the text, elsewhere
    "Unterminated string": ("EOF while parsing a string", "EOF while parsing a string"),
    "Invalid control": (
        "EOF while parsing a string",
        "control character (\\u0000-\\u001F) found while parsing a string",
    ),
    "Invalid \\": ("EOF while parsing a string", "invalid escape"),
    "Expecting property": ("EOF while parsing an object", "key must be a string"),
    "Expecting ':'": ("EOF while parsing an object", "expected `:`"),
    "Expecting ','": ("EOF while parsing a list", "expected `,` or `]`"),
    "Illegal trailing": ("trailing comma", "trailing comma"),
}


class NewKey(NamedTuple):
    key: str | None
    """None asks for a random one."""
    seconds_valid: int | None
    """64 bits, unsigned; None is for ever."""


def parse_new_key(body: bytes) -> NewKey:
    """Both members must be there, others are skipped, as is what follows the object. Raises CallError."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        readable = body[: error.start].decode()
        raise _syntax("invalid unicode code point", readable, len(readable)) from error
    reader = _Reader(text)
    members: dict[str, object] = {}
    for name in reader.names():
        if name in members:
            raise reader.data_error(f"duplicate field `{name}`")
        value = reader.value_of(name)
        if name in _MEMBERS:
            reader.check(value, expected=_MEMBERS[name])
            members[name] = value
    for name in _MEMBERS:
        if name not in members:
            raise reader.data_error(f"missing field `{name}`")
    key, seconds_valid = members["key"], members["seconds_valid"]
    assert key is None or isinstance(key, str), "checked"
    assert seconds_valid is None or isinstance(seconds_valid, int), "checked"
    return NewKey(key, seconds_valid)


class _Reader:
    """Goes through a JSON object member by member and knows where it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._start = 0  # of the last value
        self._name = ""  # of the member whose value is being read

    def names(self) -> Iterator[str]:
        """The names of the members; the value of each must be read before the next is asked for."""
        if self._peek() != "{":
            value = self._value()
            what = "null" if value is None else _described(value)
            raise self.data_error(f"invalid type: {what}, expected struct AddKeyForm")
        self._at += 1
        following = self._peek()
        if following == "}":
            self._at += 1
        while following != "}":
            yield self._member_name(following)
            self._name = ""
            following = self._expect(",}", "expected `,` or `}`")
            if following == ",":
                following = self._peek()
                if following == "}":
                    raise self._syntax_error("trailing comma")
                if not following:
                    raise self._syntax_error("EOF while parsing a value")

    def value_of(self, name: str) -> object:
        self._expect(":", "expected `:`")
        self._peek()
        self._name = name
        return self._value()

    def check(self, value: object, *, expected: str) -> None:
        """Raises CallError if the value just read is neither null nor what is expected."""
        if value is None or (expected == "a string" and isinstance(value, str)):
            return
        if expected == "u64" and type(value) is int:
            if value >= 0:
                return
            raise self.data_error(f"invalid value: {_described(value)}, expected u64")
        if isinstance(value, list | dict):
            self._at = self._start  # nothing of it was read
        raise self.data_error(f"invalid type: {_described(value)}, expected {expected}")

    def data_error(self, what: str) -> CallError:
        text = f"{self._path()}{what}{_position(self._text, self._at)}"
        return CallError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"Failed to deserialize the JSON body into the target type: {text}",
        )

    def _member_name(self, following: str) -> str:
        if not following:
            raise self._syntax_error("EOF while parsing an object")
        if following != '"':
            raise self._syntax_error("key must be a string")
        name = self._value()
        assert isinstance(name, str), "it begins with a quotation mark"
        return name

    def _expect(self, characters: str, otherwise: str) -> str:
        following = self._peek()
        if not following or following not in characters:
            raise self._syntax_error(otherwise if following else "EOF while parsing an object")
        self._at += 1
        return following

    def _peek(self) -> str:
        """The next character that is not white space, empty at the end."""
        match = _WHITESPACE.match(self._text, self._at)
        assert match is not None, "it matches nothing, too"
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _value(self) -> object:
        self._start = self._at
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = error.pos
            raise self._syntax_error(self._reason(error)) from error
        except _BadNumber as error:
            raise self._syntax_error(str(error)) from error
        except RecursionError as error:
            raise self._syntax_error("recursion limit exceeded") from error
        if isinstance(value, str) and _SURROGATE.search(value):
            raise self._syntax_error("lone leading surrogate in hex escape")
        return value

    def _reason(self, error: json.JSONDecodeError) -> str:
        for start, (at_the_end, elsewhere) in _REASONS.items():
            if error.msg.startswith(start):
                if start == "Unterminated string":
                    self._at = len(self._text)
                return at_the_end if self._at >= len(self._text) else elsewhere
        if self._at >= len(self._text):
            return "EOF while parsing a value"
        return "expected ident" if self._text[self._at] in "tfn" else "expected value"

    def _syntax_error(self, what: str) -> CallError:
        return _syntax(f"{self._path()}{what}", self._text, self._at + 1)

    def _path(self) -> str:
        return f"{self._name}: " if self._name else ""


class _BadNumber(ValueError):
    """A number that Rust does not read."""


def _described(value: object) -> str:
    if isinstance(value, str):
        return f'string "{debug_escaped(value)}"'
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`".replace("e+", "e")
    return "sequence" if isinstance(value, list) else "map"


def _syntax(what: str, text: str, at: int) -> CallError:
    return CallError(
        HTTPStatus.BAD_REQUEST,
        f"Failed to parse the request body as JSON: {what}{_position(text, at)}",
    )


def _position(text: str, at: int) -> str:
    """Of `at` characters; columns are counted in bytes."""
    lines = text[:at].split("\n")
    return f" at line {len(lines)} column {len(lines[-1].encode())}"


def _integer(digits: str) -> int | float:
    """As serde_json: what does not fit into 64 bits is a floating point number."""
    if len(digits) <= len(str(MIN_I64)) and MIN_I64 <= int(digits) <= MAX_U64:
        return int(digits)
    return _float(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _BadNumber("number out of range")
    return value


def _no_constant(name: str) -> object:
    raise _BadNumber("expected value")  # Python reads NaN and Infinity, JSON has neither


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_no_constant)
