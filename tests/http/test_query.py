import contextlib
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torrust_py.http.query import BadQuery, decode_percent, first_values, parse_query, split_target

pieces = st.lists(st.sampled_from([b"info_hash", b"=", b"&", b"?", b"%", b"%41", b"a", b"\xff", b"\\"]))


def test_a_query_is_split_into_names_and_values() -> None:
    assert parse_query(b"port=1&left=&x=%41+") == [[b"port", b"1"], [b"left", b""], [b"x", b"%41+"]]


@pytest.mark.clause("3.3.3", "3.3.6")
@pytest.mark.parametrize("query", [b"a=1&", b"&a=1", b"&&a=1&&", b"?a=1", b"???a=1"])
def test_empty_pieces_and_leading_question_marks_are_skipped(query: bytes) -> None:
    assert parse_query(query) == [[b"a", b"1"]]


@pytest.mark.parametrize("query", [b"", b"&", b"?", b"?&&"])
def test_a_query_may_be_empty(query: bytes) -> None:
    assert parse_query(query) == []


@pytest.mark.clause("3.3.4", "3.3.7", "3.4.22", "3.10.5")
@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"a=b=c", "Cannot parse query params: invalid param a=b=c"),
        (b"port=1&x", "Cannot parse query params: invalid param x"),
        (b"x==", "Cannot parse query params: invalid param x=="),
        (b"port=1&\xc3\xa9&y", "Cannot parse query params: invalid param é"),
        (b"\xff", "Cannot parse query params: invalid param \\xff"),
    ],
)
def test_a_piece_has_exactly_one_equals_sign(query: bytes, text: str) -> None:
    for read in (parse_query, first_values):
        with pytest.raises(BadQuery) as refused:
            read(query)
        assert str(refused.value) == text


def test_of_a_name_that_comes_twice_the_first_value_counts() -> None:
    assert first_values(b"a=1&b=2&&a=3") == {b"a": b"1", b"b": b"2"}


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/announce", b"/announce", None),
        (b"/announce?", b"/announce", b""),
        (b"/announce?a=?b", b"/announce", b"a=?b"),
        (b"/announce??a=1", b"/announce", b"?a=1"),
        (b"/announce?a=1#b?c", b"/announce", b"a=1"),
        (b"/announce#b?c", b"/announce", None),
        (b"http://tracker.example:7070/announce?a=1", b"/announce", b"a=1"),
        (b"HTTP://tracker.example", b"", None),
        (b"http://tracker.example?a=/announce", b"", b"a=/announce"),
        (b"http://tracker.example#/announce", b"", None),
        (b"*", b"", None),
        (b"tracker.example:443", b"", None),
        (b"//tracker.example/announce", b"//tracker.example/announce", None),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, path: bytes, query: bytes | None) -> None:
    assert split_target(target) == (path, query)


@pytest.mark.clause("3.3.9")
@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (b"", b""),
        (b"abc", b"abc"),
        (b"%00%fF%Ff%25", b"\x00\xff\xff%"),
        (b"a+b", b"a+b"),
        (b"%zz%41", b"%zzA"),
        (b"%4", b"%4"),
        (b"%", b"%"),
        (b"\\x41%42", b"\\x41B"),
        (b"\\", b"\\"),
        (b"\xff%41", b"\xffA"),
    ],
)
def test_percent_decoding(value: bytes, decoded: bytes) -> None:
    assert decode_percent(value) == decoded


@given(st.binary())
def test_percent_decoding_undoes_percent_encoding(value: bytes) -> None:
    assert decode_percent(quote_from_bytes(value).encode()) == value


@given(pieces.map(b"".join) | st.binary())
@example(b"%\\41")
@example(b"%\n%41")
def test_percent_decoding_is_that_of_the_standard_library(value: bytes) -> None:
    assert decode_percent(value) == unquote_to_bytes(value)


@given(pieces.map(b"".join) | st.binary())
def test_any_query_is_read_or_refused(query: bytes) -> None:
    with contextlib.suppress(BadQuery):
        assert all(len(pair) == 2 for pair in parse_query(query))


@given(st.binary())
def test_any_target_has_a_path(target: bytes) -> None:
    path, _ = split_target(target)
    assert b"?" not in path
