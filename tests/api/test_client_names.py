import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.api.client_names import client_name
from torrust_py.core.types import PeerId


def peer_id(start: bytes, end: bytes = b"") -> PeerId:
    return PeerId(start + b"x" * (20 - len(start) - len(end)) + end)


TABLE = [
    line.split(" ", 2)
    for line in (Path(__file__).parent / "golden" / "client-names.txt").read_text().splitlines()
]
"""Torrust's tables: the kind of a row, what it looks for (`_` for a space), the name."""


@pytest.mark.clause("C.2.1")
@pytest.mark.parametrize(("tag", "name"), [row[1:] for row in TABLE if row[0] == "tag"])
def test_a_tag_in_dashes_has_its_name(tag: str, name: str) -> None:
    assert client_name(peer_id(f"-{tag}1234-".encode())) == name


@pytest.mark.clause("C.2.2")
@pytest.mark.parametrize(("letter", "name"), [row[1:] for row in TABLE if row[0] == "letter"])
def test_a_letter_has_its_name(letter: str, name: str) -> None:
    assert client_name(peer_id(f"{letter}12---".encode())) == name


@pytest.mark.clause("C.1.6", "C.2.3")
@pytest.mark.parametrize(
    ("offset", "text", "name"),
    [
        (int(kind.removeprefix("text@")), text.replace("_", " "), name)
        for kind, text, name in TABLE
        if kind.startswith("text@")
    ],
)
def test_a_text_has_its_name_unless_a_letter_has(offset: int, text: str, name: str) -> None:
    name = "BitTornado" if text == "T00---0" else name  # an earlier rule
    assert client_name(peer_id(b"." * offset + text.encode())) == name


def test_the_tables_are_whole() -> None:
    kinds = [kind.partition("@")[0] for kind, _, _ in TABLE]
    assert [kinds.count(kind) for kind in ("tag", "letter", "text")] == [99, 7, 52]


@pytest.mark.clause("C.1.2", "C.1.3", "C.1.4", "C.1.5", "C.1.6", "C.2.1")
@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"-qB4410-", "qBittorrent"),
        (b"-TR4040-", "Transmission"),
        (b"-UT355W-", "µTorrent"),
        (b"-SD0100-", "迅雷在线 (Xunlei)"),
        (b"-bk0100-", "BitKitten (libtorrent)"),
        (b"-7T0100-", "aTorrent"),
        (b"-S~0100-", "Shareaza alpha/beta"),
        (b"-BI2000-", "BiglyBT"),
        (b"-BI2000-A", "BiglyBT for Android"),
        (b"-FG0100x", "FlashGet"),
        (b"-SP0100x", "BitSpirit"),
        (b"A310--", "ABC"),
        (b"T03A--", "BitTornado"),
        (b"S58B-----", "Shad0w"),
        (b"R-----", "Tribler"),
        (b"M7-9-2--", "Mainline"),
        (b"Q1-10-0-", "Queen Bee"),
        (b"S3-1", "Amazon AWS S3"),
        (b"\0\0BS", "BitSpirit"),
        (b"exbc\0\x38LORD", "BitLord"),
        (b"exbc\0\x38", "BitComet"),
        (b"FUTB", "BitComet"),
        (b"xUTB..LORD", "BitLord"),
        (b"-UT170-", "µTorrent"),
        (b"Azureus", "Azureus"),
        (b"abcdeAzureus", "Azureus"),
        (b"-aria2-", "Aria"),
        (b"-BOW123-", "BitsOnWheels"),
        (b"-UM1234", "µTorrent Mac"),
        (b"-ML3.1.0", "MLdonkey"),
        (b"OP1234", "Opera"),
        (b"O", "Opera"),
        (b"TB100-", "Top-BT"),
        (b"TIX0193", "Tixati"),
        (b"0123456789BG", "BTGetit"),
        (b"..RS", "Rufus"),
    ],
)
def test_known_clients_are_named(start: bytes, name: str) -> None:
    assert client_name(peer_id(start)) == name


@pytest.mark.clause("C.1.2", "C.1.3", "C.1.4", "C.1.6", "C.2.1")
@pytest.mark.parametrize(
    "start",
    [
        b"-qB00000000000000000",  # no dash behind the version
        b"-qb4410-",  # tags are case-sensitive
        b"-ZZ0000-",
        b"x",
        b"A31-0-",  # letters and digits may not follow a dash
        b"A3100x",
        b"S3-x",
    ],
)
def test_other_clients_have_no_name(start: bytes) -> None:
    assert client_name(peer_id(start)) is None


@pytest.mark.clause("C.1.2")
def test_an_unknown_tag_in_dashes_ends_the_search() -> None:
    assert client_name(peer_id(b"-WS0000-")) is None
    assert client_name(peer_id(b"-WS0000x")) == "HTTPSeed"


@pytest.mark.clause("C.1.1")
@pytest.mark.parametrize("end", [b"UDP0", b"HTTPBT"])
@pytest.mark.parametrize(
    ("start", "name"),
    [(b"..BS", "BitSpirit"), (b"exbc", "BitComet"), (b"exbc..LORD", "BitLord"), (b"-qB4410-", "BitSpirit?")],
)
def test_the_marks_at_the_end_come_first(start: bytes, name: str, end: bytes) -> None:
    assert client_name(peer_id(start, end)) == name


STARTS = ["-qB4410-", "-BOW", "M7", "TB100-", "exbc", "S587Plus", "A310--", ""]


@given(st.sampled_from(STARTS), st.binary(min_size=20, max_size=20))
def test_any_peer_id_has_a_name_or_none(start: str, rest: bytes) -> None:
    name = client_name(PeerId((start.encode() + rest)[:20]))
    assert name is None or f'"{name}"' == json.dumps(name, ensure_ascii=False)
