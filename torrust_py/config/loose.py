"""The values of environment variables: TOML's inline values, in which a string needs no quotes.

    true  false          a boolean          "text"         a string, escapes as in TOML
    12  -3  1.5          a number           [a, b]  {k=a}  an array, a table
    anything else        a string

A string without quotes ends at `,` `[` `]` `{` or `}` inside an array or a table. What does not fit to the
end is a string as a whole. Where a string is expected, `true` and numbers are strings too.
"""

import re
from typing import NamedTuple

from torrust_py.config.options import OptionPath, is_text

_BARE = re.compile(r"[^,{}\[\]]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_INTEGER = re.compile(r"\+?[0-9]{1,20}|-[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.ASCII | re.DOTALL)
_ESCAPED = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_DEPTH = 100


class _NotLoose(Exception):
    """The text does not fit the grammar."""


class _Bare(NamedTuple):
    """A value without quotes: what it is depends on what is expected."""

    text: str


def parse_loose(text: str, path: OptionPath) -> object:
    """The value that `text` has for the option at `path`."""
    text = text.strip()
    if is_text(path):
        return _quoted_whole(text)
    reader = _Reader(text)
    try:
        value = reader.value()
        reader.expect_end()
    except _NotLoose:
        return text
    return _typed(value, path)


def _quoted_whole(text: str) -> str:
    match = _QUOTED.fullmatch(text)
    try:
        return _unescaped(match[1]) if match else text
    except _NotLoose:
        return text


def _typed(value: object, path: OptionPath) -> object:
    if isinstance(value, _Bare):
        return value.text if is_text(path) else _scalar(value.text)
    if isinstance(value, list):
        return [_typed(member, (*path, position)) for position, member in enumerate(value)]
    if isinstance(value, dict):
        return {key: _typed(member, (*path, key)) for key, member in value.items()}
    return value


def _scalar(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    """Reads one text from its start to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def value(self) -> object:
        match self._next():
            case '"':
                value: object = self._string()
            case "[":
                value = self._array()
            case "{":
                value = self._table()
            case _:
                value = _Bare(self._take(_BARE).strip())
        self._skip_space()
        return value

    def expect_end(self) -> None:
        if self._at < len(self._text):
            raise _NotLoose

    def _array(self) -> list[object]:
        members: list[object] = []
        self._open("[")
        while self._next() != "]":
            members.append(self.value())
            if not self._skip(","):
                break
        self._close("]")
        return members

    def _table(self) -> dict[str, object]:
        members: dict[str, object] = {}
        self._open("{")
        while self._next() != "}":
            key = self._string() if self._next() == '"' else self._take(_KEY)
            self._skip_space()
            self._expect("=")
            self._skip_space()
            members[key] = self.value()
            if not self._skip(","):
                break
        self._close("}")
        return members

    def _string(self) -> str:
        match = _QUOTED.match(self._text, self._at)
        if match is None:
            raise _NotLoose
        self._at = match.end()
        return _unescaped(match[1])

    def _open(self, bracket: str) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NotLoose
        self._expect(bracket)
        self._skip_space()

    def _close(self, bracket: str) -> None:
        self._depth -= 1
        self._expect(bracket)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, character: str) -> bool:
        """Whether `character` stood there; if so, the white space behind it is skipped too."""
        if self._next() != character:
            return False
        self._at += 1
        self._skip_space()
        return True

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise _NotLoose
        self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "the pattern matches the empty text"
        self._at = match.end()
        return match[0]

    def _skip_space(self) -> None:
        while self._next().isspace():
            self._at += 1


def _unescaped(text: str) -> str:
    if any((character < " " and character != "\t") or character == "\x7f" for character in text):
        raise _NotLoose
    return _ESCAPE.sub(_unescaped_one, text)


def _unescaped_one(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        code = int(escape[1:], 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise _NotLoose
        return chr(code)
    if escape not in _ESCAPED:
        raise _NotLoose
    return _ESCAPED[escape]
