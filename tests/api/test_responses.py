import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.api.responses import (
    BadInfoHash,
    Failure,
    debug_escaped,
    failing,
    parse_info_hash,
    parse_unsigned,
)
from torrust_py.core.database import Completed
from torrust_py.core.errors import DatabaseError
from torrust_py.core.types import InfoHash

INVALID = "invalid digit found in string"
TOO_LARGE = "number too large to fit in target type"


@pytest.mark.clause("7.5.7", "7.5.28")
@pytest.mark.parametrize(
    ("text", "bits", "number"),
    [
        ("0", 32, 0),
        ("+5", 32, 5),
        ("0005", 32, 5),
        ("4294967295", 32, 2**32 - 1),
        ("18446744073709551615", 64, 2**64 - 1),
        ("0" * 5000 + "1", 64, 1),
    ],
)
def test_numbers_are_read_as_rust_reads_them(text: str, bits: int, number: int) -> None:
    assert parse_unsigned(text, bits) == number


@pytest.mark.clause("7.5.7", "7.5.8")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", INVALID),
        ("+", INVALID),
        ("-1", INVALID),
        ("1.1", INVALID),
        (" 7", INVALID),
        ("1_0", INVALID),
        ("٣", INVALID),
        ("1\n", INVALID),
        ("++1", INVALID),
        ("4294967296", TOO_LARGE),
        ("4294967296x", TOO_LARGE),  # it gets no further than the digit that is too much
        ("9" * 5000, TOO_LARGE),
    ],
)
def test_other_texts_are_refused_with_rusts_words(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        parse_unsigned(text, bits=32)


@given(st.integers(0, 2**70), st.sampled_from([32, 64]))
def test_a_number_is_read_if_and_only_if_it_fits(number: int, bits: int) -> None:
    if number < 1 << bits:
        assert parse_unsigned(str(number), bits) == number
    else:
        with pytest.raises(ValueError, match=TOO_LARGE):
            parse_unsigned(str(number), bits)


@pytest.mark.clause("7.4.3")
@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é µ 迅", "plain é µ 迅"),
        ('a"b\\c', 'a\\"b\\\\c'),
        ("\n\r\t\0", "\\n\\r\\t\\0"),
        ("\x1b\x7f\u200b", "\\u{1b}\\u{7f}\\u{200b}"),
        ("it's", "it's"),
    ],
)
def test_texts_are_escaped_as_rust_debugs_them(text: str, escaped: str) -> None:
    assert debug_escaped(text) == escaped


@given(st.text())
def test_an_escaped_text_is_one_printable_line(text: str) -> None:
    assert debug_escaped(text).isprintable()


def test_info_hashes_have_either_case() -> None:
    assert parse_info_hash("aB" * 20) == b"\xab" * 20


@pytest.mark.parametrize(
    "value", ["", "0", "ab" * 19 + "a", "ab" * 20 + "a", "ab" * 19 + "a&", " " * 40, "٣" * 40]
)
def test_other_info_hashes_are_refused(value: str) -> None:
    with pytest.raises(BadInfoHash) as refused:
        parse_info_hash(value)
    assert str(refused.value) == (
        f'Invalid URL: invalid infohash param: string "{value}", expected a 40 character long string'
    )


def test_a_failure_of_the_database_says_what_failed() -> None:
    with pytest.raises(Failure) as failed, failing("count sheep"):
        raise DatabaseError('no "sheep"')
    assert failed.value.status == 500
    assert str(failed.value) == (
        'Unhandled rejection: Err { reason: "failed to count sheep: no \\"sheep\\"" }'
    )


# --- bodies that are sent while they are made


def fill(api, torrents: int) -> None:
    api.swarms.restore(Completed(InfoHash(number.to_bytes(20, "big")), 1) for number in range(torrents))


@pytest.mark.parametrize(("torrents", "chunked"), [(600, False), (2000, True)])
async def test_a_short_body_carries_its_length_and_a_long_one_is_streamed(api, torrents, chunked) -> None:
    fill(api, torrents)
    answer = await api.ask("GET", "/api/v1/torrents", headers={"Accept-Encoding": "identity"})
    assert ("Content-Length" not in answer.headers) is chunked
    assert (answer.headers.get("Transfer-Encoding") == "chunked") is chunked
    assert (answer.content_type, answer.headers["Vary"]) == ("application/json", "accept-encoding")
    assert len(json.loads(answer.text)) == torrents


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_long_body_is_compressed(api, coding: str) -> None:
    fill(api, 2000)
    answer = await api.ask("GET", "/api/v1/torrents", headers={"Accept-Encoding": coding})
    assert answer.headers["Content-Encoding"] == coding
    assert len(json.loads(answer.text)) == 2000


async def test_head_of_a_long_body_has_none(api) -> None:
    fill(api, 2000)
    assert (await api.ask("HEAD", "/api/v1/torrents")).text == ""
    assert (await api.ask("HEAD", "/api/v1/torrents")).status == 200


async def raw(api, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*api.address)
    writer.write(request)
    return reader, writer


async def test_a_client_of_http_1_0_reads_a_long_body_to_the_end_of_the_connection(api) -> None:
    fill(api, 2000)
    reader, writer = await raw(api, b"GET /api/v1/torrents?token=MyAccessToken HTTP/1.0\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"chunked" not in head
    assert len(json.loads(body)) == 2000


async def test_a_client_that_leaves_in_the_middle_is_no_fault(api, caplog) -> None:
    fill(api, 30_000)
    target = b"/api/v1/torrents?limit=30000&token=MyAccessToken"
    reader, writer = await raw(api, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(1000)
    writer.transport.abort()
    assert (await api.get("/api/v1/torrents?limit=30000")).status == 200
    assert not [record for record in caplog.records if record.name != "asyncio"]
