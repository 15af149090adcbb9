import contextlib
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.core.types import LEFT_UNKNOWN, AnnounceEvent, InfoHash, PeerId
from torrust_py.http.query import BadQuery
from torrust_py.http.requests import AnnounceRequest, parse_announce, parse_scrape

INFO_HASH = InfoHash(b"\x01" * 20)
PEER_ID = PeerId(b"-qB00000000000000001")
MINIMAL = b"info_hash=" + b"%01" * 20 + b"&peer_id=-qB00000000000000001&port=17548"
BAD = "Cannot parse query params for announce request: "
BAD_SCRAPE = "Cannot parse query params for scrape request: "

ids = st.binary(min_size=20, max_size=20)
numbers = st.integers(0, 2**63 - 1)
hostile_queries = st.lists(
    st.tuples(
        st.sampled_from(
            ["info_hash", "peer_id", "port", "left", "uploaded", "downloaded", "event", "compact", "numwant"]
        ),
        st.sampled_from(["", "+", "-", "-1", "+1", "0", "1", "٣", "1_0", " 7", "9" * 5000, "0" * 5000, "%"])
        | st.sampled_from(["started", "paused", "%01" * 20, "a" * 20, str(2**63), str(2**64)]),
    ).map("=".join)
).map(lambda pieces: "&".join(pieces).encode())


def announce_text(query: bytes | None) -> str:
    with pytest.raises(BadQuery) as refused:
        parse_announce(query)
    return str(refused.value)


def scrape_text(query: bytes | None) -> str:
    with pytest.raises(BadQuery) as refused:
        parse_scrape(query)
    return str(refused.value)


@pytest.mark.clause("3.4.5", "3.4.6", "3.4.8", "3.4.11", "3.4.12")
def test_what_an_announce_does_not_say() -> None:
    assert parse_announce(MINIMAL) == AnnounceRequest(
        INFO_HASH,
        PEER_ID,
        17548,
        downloaded=0,
        uploaded=0,
        left=0,
        event=AnnounceEvent.NONE,
        compact=False,
        num_want=None,
    )


def test_what_an_announce_says() -> None:
    query = MINIMAL + b"&uploaded=1&downloaded=2&left=3&event=started&compact=1&numwant=50"
    assert parse_announce(query) == AnnounceRequest(
        INFO_HASH,
        PEER_ID,
        17548,
        downloaded=2,
        uploaded=1,
        left=3,
        event=AnnounceEvent.STARTED,
        compact=True,
        num_want=50,
    )


@pytest.mark.clause("3.3.10")
def test_parameters_of_other_names_are_ignored() -> None:
    query = MINIMAL + b"&ip=x&ipv6=&key=0&peer_addr=INVALID&supportcrypto=1&no_peer_id=1&trackerid="
    assert parse_announce(query) == parse_announce(MINIMAL)


@pytest.mark.clause("3.3.11")
def test_of_a_parameter_that_comes_twice_the_first_counts() -> None:
    assert parse_announce(MINIMAL + b"&port=1&left=5&left=x").left == 5
    assert parse_announce(MINIMAL + b"&port=1").port == 17548


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_every_port_is_read(port: int) -> None:
    query = MINIMAL.replace(b"17548", str(port).encode())
    assert parse_announce(query).port == port


@pytest.mark.clause("3.4.8", "3.4.9", "3.4.10")
@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("", AnnounceEvent.NONE),
        ("started", AnnounceEvent.STARTED),
        ("stopped", AnnounceEvent.STOPPED),
        ("completed", AnnounceEvent.COMPLETED),
        ("paused", AnnounceEvent.NONE),
    ],
)
def test_events(text: str, event: AnnounceEvent) -> None:
    assert parse_announce(MINIMAL + f"&event={text}".encode()).event is event


@pytest.mark.clause("3.4.11")
@pytest.mark.parametrize(("text", "compact"), [("", False), ("0", False), ("1", True)])
def test_compact(text: str, compact: bool) -> None:
    assert parse_announce(MINIMAL + f"&compact={text}".encode()).compact is compact


@pytest.mark.clause("3.4.7", "3.4.13")
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0", 0),
        ("+7", 7),
        ("007", 7),
        ("0" * 5000 + "7", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), LEFT_UNKNOWN),
        (str(2**64), LEFT_UNKNOWN),
        ("9" * 5000, LEFT_UNKNOWN),
        ("-1", LEFT_UNKNOWN),
        ("", LEFT_UNKNOWN),
    ],
)
def test_left(text: str, left: int) -> None:
    assert parse_announce(MINIMAL + f"&left={text}".encode()).left == left


@pytest.mark.clause("3.4.12", "3.4.13")
@pytest.mark.parametrize(("text", "num_want"), [("0", 0), ("+50", 50), (str(2**32 - 1), 2**32 - 1)])
def test_num_want(text: str, num_want: int) -> None:
    assert parse_announce(MINIMAL + f"&numwant={text}".encode()).num_want == num_want


@pytest.mark.clause("3.4.16")
def test_an_announce_without_a_query() -> None:
    assert announce_text(None) == BAD + "missing query params for announce request"


@pytest.mark.clause("3.3.5")
@pytest.mark.parametrize("query", [b"", b"&", b"?"])
def test_an_empty_query_lacks_the_info_hash(query: bytes) -> None:
    assert announce_text(query) == BAD + "missing param info_hash"


@pytest.mark.clause("3.4.1", "3.4.17")
@pytest.mark.parametrize("name", ["info_hash", "peer_id", "port"])
def test_parameters_that_every_announce_has(name: str) -> None:
    query = b"&".join(piece for piece in MINIMAL.split(b"&") if not piece.startswith(name.encode()))
    assert announce_text(query) == f"{BAD}missing param {name}"


@pytest.mark.clause("3.4.2", "3.4.20", "3.4.23", "3.10.4")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("%01", "not enough bytes for infohash: got 1 bytes, expected 20"),
        ("%zz", "not enough bytes for infohash: got 3 bytes, expected 20"),
        ("", "not enough bytes for infohash: got 0 bytes, expected 20"),
        ("%01" * 21, "too many bytes for infohash: got 21 bytes, expected 20"),
    ],
)
def test_an_info_hash_has_20_bytes(value: str, reason: str) -> None:
    text = f"invalid param value {value} for info_hash in {reason}"
    assert announce_text(f"info_hash={value}&peer_id=x".encode()) == BAD + text
    assert scrape_text(f"info_hash={value}".encode()) == BAD_SCRAPE + text


@pytest.mark.clause("3.4.3", "3.4.21", "3.4.23")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("abc", "not enough bytes for peer id: got 3 bytes, expected 20"),
        ("%00" * 21, "too many bytes for peer id: got 21 bytes, expected 20"),
    ],
)
def test_a_peer_id_has_20_bytes(value: str, reason: str) -> None:
    query = MINIMAL.replace(b"-qB00000000000000001", value.encode())
    assert announce_text(query) == f"{BAD}invalid param value {value} for peer_id in {reason}"


NO_NUMBERS = ["", "x", "-1", "1.1", "1_0", " 7", "7 ", "++1", "+", "%31", "٣", "0x1"]


@pytest.mark.clause("3.4.4", "3.4.14", "3.4.18", "3.4.23")
@pytest.mark.parametrize("value", [*NO_NUMBERS, "65536", "9" * 5000])
def test_what_is_no_port(value: str) -> None:
    query = MINIMAL.replace(b"17548", value.encode())
    assert announce_text(query) == f"{BAD}invalid param value {value} for port"


@pytest.mark.clause("3.4.5", "3.4.14", "3.4.18")
@pytest.mark.parametrize("name", ["downloaded", "uploaded"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, str(2**64), "9" * 5000])
def test_what_is_no_number_of_bytes(name: str, value: str) -> None:
    query = MINIMAL + f"&{name}={value}".encode()
    assert announce_text(query) == f"{BAD}invalid param value {value} for {name}"


@pytest.mark.clause("3.4.5", "3.4.19")
@pytest.mark.parametrize("name", ["downloaded", "uploaded"])
@pytest.mark.parametrize("value", [str(2**63), str(2**64 - 1), "+" + str(2**63)])
def test_a_number_of_bytes_beyond_63_bits(name: str, value: str) -> None:
    query = MINIMAL + f"&{name}={value}".encode()
    assert announce_text(query) == f"{BAD}param value overflow {value} for {name}"


@pytest.mark.clause("3.4.14", "3.4.18")
@pytest.mark.parametrize("value", ["x", "1.1", "1_0", "-", "--1", "-x", "+", "٣", "-٣", " "])
def test_what_is_no_left(value: str) -> None:
    assert announce_text(MINIMAL + f"&left={value}".encode()) == f"{BAD}invalid param value {value} for left"


@pytest.mark.clause("3.3.8", "3.4.8", "3.4.18")
@pytest.mark.parametrize("value", ["0", "-1", "a", "Started", "Stopped", "Completed", "%73tarted", "empty"])
def test_what_is_no_event(value: str) -> None:
    query = MINIMAL + f"&event={value}".encode()
    assert announce_text(query) == f"{BAD}invalid param value {value} for event"


@pytest.mark.clause("3.4.11", "3.4.18")
@pytest.mark.parametrize("value", ["2", "-1", "1.1", "a", "01", "+1"])
def test_what_is_no_compact(value: str) -> None:
    query = MINIMAL + f"&compact={value}".encode()
    assert announce_text(query) == f"{BAD}invalid param value {value} for compact"


@pytest.mark.clause("3.4.12", "3.4.14", "3.4.18")
@pytest.mark.parametrize("value", [*NO_NUMBERS, str(2**32), "9" * 5000])
def test_what_is_no_num_want(value: str) -> None:
    query = MINIMAL + f"&numwant={value}".encode()
    assert announce_text(query) == f"{BAD}invalid param value {value} for numwant"


@pytest.mark.clause("3.4.15")
def test_the_first_problem_is_told_in_the_order_of_the_parameters() -> None:
    parts = [
        ("info_hash", "%01" * 20),
        ("peer_id", "a" * 20),
        ("port", "1"),
        ("downloaded", "0"),
        ("uploaded", "0"),
        ("left", "0"),
        ("event", "started"),
        ("compact", "1"),
        ("numwant", "1"),
    ]
    told = []
    for good in range(len(parts)):
        pieces = [f"{name}={value}" for name, value in parts[:good]]
        pieces += [f"{name}=x" for name, _ in parts[good:]]
        told.append(announce_text("&".join(reversed(pieces)).encode()).split(" for ")[2].split(" ")[0])
    assert told == [name for name, _ in parts]


@pytest.mark.clause("3.3.12", "3.10.1")
def test_a_scrape_asks_for_every_info_hash() -> None:
    query = b"info_hash=" + b"%02" * 20 + b"&left=x&info_hash=" + b"%01" * 20 + b"&info_hash=" + b"%02" * 20
    assert parse_scrape(query).info_hashes == [b"\x02" * 20, b"\x01" * 20, b"\x02" * 20]


@pytest.mark.clause("3.10.2")
def test_a_scrape_without_a_query() -> None:
    assert scrape_text(None) == BAD_SCRAPE + "missing query params for scrape request"


@pytest.mark.clause("3.10.3")
@pytest.mark.parametrize("query", [b"", b"left=1"])
def test_a_scrape_without_an_info_hash(query: bytes) -> None:
    assert scrape_text(query) == BAD_SCRAPE + "missing param info_hash"


@pytest.mark.clause("3.10.4")
def test_of_the_bad_info_hashes_of_a_scrape_the_first_is_told() -> None:
    query = b"info_hash=" + b"%01" * 20 + b"&info_hash=abc&info_hash=x"
    assert scrape_text(query).startswith(BAD_SCRAPE + "invalid param value abc for info_hash in not enough")


@given(st.binary() | hostile_queries)
def test_any_query_is_an_announce_or_refused(query: bytes) -> None:
    with contextlib.suppress(BadQuery):
        parse_announce(query)


@given(hostile_queries)
def test_what_comes_after_the_required_parameters_is_read_or_refused(query: bytes) -> None:
    with contextlib.suppress(BadQuery):
        parse_announce(MINIMAL + b"&" + query)


@given(st.binary() | hostile_queries)
def test_any_query_is_a_scrape_or_refused(query: bytes) -> None:
    with contextlib.suppress(BadQuery):
        parse_scrape(query)


@given(
    st.builds(
        AnnounceRequest,
        info_hash=ids,
        peer_id=ids,
        port=st.integers(0, 65535),
        downloaded=numbers,
        uploaded=numbers,
        left=numbers | st.just(LEFT_UNKNOWN),
        event=st.sampled_from(AnnounceEvent),
        compact=st.booleans(),
        num_want=st.none() | st.integers(0, 2**32 - 1),
    )
)
def test_every_announce_can_be_asked_for(request: AnnounceRequest) -> None:
    query = (
        f"info_hash={quote_from_bytes(request.info_hash)}&peer_id={quote_from_bytes(request.peer_id)}"
        f"&port={request.port}&downloaded={request.downloaded}&uploaded={request.uploaded}"
        f"&left={request.left}&compact={request.compact:d}"
    )
    if request.event is not AnnounceEvent.NONE:
        query += f"&event={request.event.name.lower()}"
    if request.num_want is not None:
        query += f"&numwant={request.num_want}"
    assert parse_announce(query.encode()) == request
