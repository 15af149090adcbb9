import asyncio
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.api.blacklistings import MOST_ENTRIES, parse_blacklisting, parse_blacklistings
from torrust_py.core.database import BlacklistEntry
from torrust_py.core.types import InfoHash
from torrust_py.web import CallError

NOW = 1_600_000_000
INFO_HASH = InfoHash(b"\5" * 20)
HASH = INFO_HASH.hex()


def many(body: bytes) -> list[BlacklistEntry]:
    return asyncio.run(parse_blacklistings(body, NOW))


@pytest.mark.parametrize(
    ("body", "reason", "valid_until"),
    [
        (b"", None, None),
        (b" {} ", None, None),
        (b'{"reason":null,"seconds_valid":null}', None, None),
        (b'{"reason":""}', None, None),
        (b'{"reason":"caf\\u00e9","seconds_valid":1}', "café", NOW + 1),
        (b'{"seconds_valid":3153600000}', None, NOW + 3_153_600_000),
    ],
)
def test_all_may_be_left_out(body: bytes, reason: str | None, valid_until: int | None) -> None:
    assert parse_blacklisting(body, INFO_HASH, NOW) == (INFO_HASH, reason, valid_until)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"null", "it must be a JSON object"),
        (b'{"reason":[]}', "reason must be a text or null"),
        (b'{"seconds_valid":-1}', "seconds_valid must be a whole number from 1 to 3153600000, or null"),
        (b'{"seconds_valid":' + b"9" * 5000 + b"}", "it is no JSON from character 1 on"),
        (b"[" * 100_000, "it is no JSON from character 1 on"),
        (b'{"a":{"b":1,"b":2}}', "it has a member twice"),
    ],
)
def test_what_is_wrong_is_told(body: bytes, why: str) -> None:
    with pytest.raises(CallError, match=f"^Invalid body: {why}$"):
        parse_blacklisting(body, INFO_HASH, NOW)


def test_a_list_may_have_white_space_and_twice_the_same() -> None:
    entry = f'{{"info_hash":"{HASH}","reason":"x"}}'
    assert many(f"\n [ {entry} ,\t{entry} ] \r\n".encode()) == [BlacklistEntry(INFO_HASH, "x")]
    assert many(b" [ ] ") == []


def test_so_many_and_no_more_fit_into_a_list() -> None:
    entries = [{"info_hash": f"{number:040x}"} for number in range(MOST_ENTRIES + 1)]
    assert len(many(json.dumps(entries[:-1]).encode())) == MOST_ENTRIES
    with pytest.raises(CallError, match=f"more than {MOST_ENTRIES} entries"):
        many(json.dumps(entries).encode())


@given(st.binary(max_size=60) | st.text('[]{},:" 0infohashreason', max_size=40).map(str.encode))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(CallError):
        parse_blacklisting(body, INFO_HASH, NOW)
    with contextlib.suppress(CallError):
        many(body)
