import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torrust_py.api.new_key import NewKey, parse_new_key
from torrust_py.web import CallError

SYNTAX = "Failed to parse the request body as JSON: "
TYPE = "seconds_valid: invalid type: "
DATA = "Failed to deserialize the JSON body into the target type: "


def refusal(body: bytes) -> tuple[int, str]:
    with pytest.raises(CallError) as refused:
        parse_new_key(body)
    return refused.value.status, str(refused.value)


@pytest.mark.clause("7.9.2")
@pytest.mark.parametrize(
    ("body", "new_key"),
    [
        (b'{"key":null,"seconds_valid":null}', NewKey(None, None)),
        (b'{"key":"abc","seconds_valid":0}', NewKey("abc", 0)),
        (b' {\n "seconds_valid" : 7200 ,\t"key" : "x" }\r\n', NewKey("x", 7200)),
        (b'{"key":null,"seconds_valid":18446744073709551615}', NewKey(None, 2**64 - 1)),
        (b'{"other":[{"a":1.5e3}],"key":null,"other":true,"seconds_valid":1}', NewKey(None, 1)),
        ('{"key":"é\\u00e9","seconds_valid":1}'.encode(), NewKey("éé", 1)),
        (b'{"key":null,"seconds_valid":1} x', NewKey(None, 1)),
        (b'{"key":null,"seconds_valid":1}}', NewKey(None, 1)),
    ],
)
def test_both_members_are_read_in_any_order_and_others_skipped(body: bytes, new_key: NewKey) -> None:
    assert parse_new_key(body) == new_key


@pytest.mark.clause("7.5.21", "7.5.22", "7.5.23")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"key":null,"seconds_valid":"x"}', 'seconds_valid: invalid type: string "x", expected u64|31'),
        (b'{"key":null,"seconds_valid":"-1"}', 'seconds_valid: invalid type: string "-1", expected u64|32'),
        (b'{"key":null,"seconds_valid":"\\""}', 'seconds_valid: invalid type: string "\\"", expected u64|32'),
        (b'{"key":null,"seconds_valid":-1}', "seconds_valid: invalid value: integer `-1`, expected u64|30"),
        (b'{"key":null,"seconds_valid":1.5}', f"{TYPE}floating point `1.5`, expected u64|31"),
        (b'{"key":null,"seconds_valid":true}', f"{TYPE}boolean `true`, expected u64|32"),
        (b'{"key":null,"seconds_valid":[1]}', "seconds_valid: invalid type: sequence, expected u64|28"),
        (b'{"key":null,"seconds_valid":{}}', "seconds_valid: invalid type: map, expected u64|28"),
        (
            b'{"key":null,"seconds_valid":18446744073709551616}',
            "seconds_valid: invalid type: floating point `1.8446744073709552e19`, expected u64|48",
        ),
        (b'{"key":1,"seconds_valid":1}', "key: invalid type: integer `1`, expected a string|8"),
        (b'{"seconds_valid":60}', "missing field `key`|20"),
        (b'{"key":null}', "missing field `seconds_valid`|12"),
        (b"{}", "missing field `key`|2"),
        (b'{"key":null,"key":null}', "duplicate field `key`|17"),
        (b"5", "invalid type: integer `5`, expected struct AddKeyForm|1"),
        (b"null", "invalid type: null, expected struct AddKeyForm|4"),
        ('{"é":1,"key":2}'.encode(), "key: invalid type: integer `2`, expected a string|15"),
    ],
)  # fmt: skip
def test_json_of_another_shape_is_status_422_with_its_place(body: bytes, text: str) -> None:
    what, column = text.rsplit("|", 1)
    assert refusal(body) == (422, f"{DATA}{what} at line 1 column {column}")


@pytest.mark.clause("7.5.24")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF while parsing a value|0"),
        (b"{", "EOF while parsing an object|1"),
        (b'{"key"', "EOF while parsing an object|6"),
        (b'{"key":', "key: EOF while parsing a value|7"),
        (b'{"key":null', "EOF while parsing an object|11"),
        (b'{"key":null,', "EOF while parsing a value|12"),
        (b'{"key":"abc', "key: EOF while parsing a string|11"),
        (b'{"key":null,}', "trailing comma|13"),
        (b'{"key":null "seconds_valid":1}', "expected `,` or `}`|13"),
        (b'{"key" null}', "expected `:`|8"),
        (b"{key:null}", "key must be a string|2"),
        (b'{"key":nul}', "key: expected ident|8"),
        (b'{"key":?}', "key: expected value|8"),
        (b'{"key":NaN}', "key: expected value|8"),
        (b'{"key":1e999}', "key: number out of range|8"),
        (b'{"key":"\n"}', "key: control character (\\u0000-\\u001F) found while parsing a string|0"),
        (b'{"key":"\\ud800"}', "key: lone leading surrogate in hex escape|16"),
        (b'{"key":"\xff"}', "invalid unicode code point|8"),
        (b"?", "expected value|1"),
    ],
)
def test_what_is_no_json_is_status_400_with_its_place(body: bytes, text: str) -> None:
    what, column = text.rsplit("|", 1)
    line = 2 if b"\n" in body else 1
    assert refusal(body) == (400, f"{SYNTAX}{what} at line {line} column {column}")


def test_lines_are_counted() -> None:
    assert refusal(b'{\n"key":null,\n"seconds_valid":"x"}')[1].endswith("at line 3 column 19")


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"key":['])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert refusal((opening * 10_000).encode()[:65_536])[0] == 400


@pytest.mark.parametrize("digits", ["9" * 60_000, "-" + "9" * 60_000, "0." + "9" * 60_000])
def test_long_numbers_are_refused(digits: str) -> None:
    assert refusal(f'{{"key":null,"seconds_valid":{digits}}}'.encode())[0] in (400, 422)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
OBJECTS = st.dictionaries(st.sampled_from(["key", "seconds_valid", "other"]), VALUES).map(json.dumps)
TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"key"',
    '"seconds_valid"',
    "null",
    "1",
    "-",
    "e",
    '"',
    "\\",
    "\n",
    "é",
]
SNIPPETS = st.lists(st.sampled_from(TOKENS)).map("".join)


@given(st.binary() | (OBJECTS | SNIPPETS).map(lambda text: text.encode("utf-8", "replace")))
@example(b'{"key":null,"seconds_valid":01}')
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        new_key = parse_new_key(body)
    except CallError as error:
        str(error).encode()
    else:
        assert new_key.seconds_valid is None or 0 <= new_key.seconds_valid < 2**64


@given(key=st.none() | st.text(), seconds_valid=st.none() | st.integers(0, 2**64 - 1))
def test_what_json_writes_is_read(key: str | None, seconds_valid: int | None) -> None:
    body = json.dumps({"key": key, "seconds_valid": seconds_valid}, ensure_ascii=False)
    assert parse_new_key(body.encode()) == NewKey(key, seconds_valid)
