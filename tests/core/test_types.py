import pytest

from torrust_py.core.types import (
    Address,
    Endpoint,
    endpoint_of,
    endpoint_text,
    is_ipv4,
    is_loopback,
    packed_address,
    unmapped,
)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("203.0.113.5", "cb007105"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        ("::ffff:203.0.113.5", "cb007105"),
        ("::203.0.113.5", "000000000000000000000000cb007105"),
    ],
)
def test_an_address_is_packed_and_a_mapped_one_is_ipv4(text: str, packed: str) -> None:
    assert packed_address(text).hex() == packed


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::1::", "[::1]"])
def test_a_text_that_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        packed_address(text)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("00000000000000000000ffffcb007105", "cb007105"),
        ("00000000000000000000fffecb007105", "00000000000000000000fffecb007105"),
        ("cb007105", "cb007105"),
    ],
)
def test_a_mapped_address_is_unmapped(packed: str, expected: str) -> None:
    assert unmapped(bytes.fromhex(packed)).hex() == expected


def test_an_address_of_four_bytes_is_ipv4() -> None:
    assert (is_ipv4(Address(bytes(4))), is_ipv4(Address(bytes(16)))) == (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("126.255.255.255", False),
        ("128.0.0.0", False),
        ("::1", True),
        ("::2", False),
        ("7f00::1", False),
    ],
)
def test_loopback_is_all_of_127_and_one_ipv6_address(text: str, expected: bool) -> None:
    assert is_loopback(packed_address(text)) is expected


def test_an_endpoint_is_an_address_and_a_port_in_wire_order() -> None:
    assert endpoint_of(packed_address("203.0.113.5"), 17550) == bytes.fromhex("cb007105448e")


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("cb0071051ae1", "203.0.113.5:6881"),
        ("20010db80000000000000000000000011ae1", "[2001:db8::1]:6881"),
    ],
)
def test_the_text_of_an_endpoint_brackets_ipv6(endpoint: str, text: str) -> None:
    assert endpoint_text(Endpoint(bytes.fromhex(endpoint))) == text
