import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.core.types import Address, packed_address
from torrust_py.http.client_ip import address_text, peer_address, right_most_address


@pytest.mark.clause("3.6.2", "3.6.3", "3.6.4", "3.6.6")
@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([b"203.0.113.9"], "203.0.113.9"),
        ([b"203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ([b"203.0.113.9,198.51.100.7 \t"], "198.51.100.7"),
        ([b"198.51.100.7, garbage,, "], "198.51.100.7"),
        ([b"1.1.1.1", b"2.2.2.2", b"3.3.3.3"], "3.3.3.3"),
        ([b"1.1.1.1", b"", b"x"], "1.1.1.1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"::ffff:203.0.113.9"], "203.0.113.9"),
        ([b"1.1.1.1, 2.2.2.2:80"], "1.1.1.1"),
        ([b"1.1.1.1, [2001:db8::1]"], "1.1.1.1"),
        ([b"1.1.1.1, fe80::1%eth0"], "1.1.1.1"),
        ([b"1.1.1.1, 01.2.3.4"], "1.1.1.1"),
        ([b"1.1.1.1, 1.2.3"], "1.1.1.1"),
        ([b"1.1.1.1, \xd9\xa3.2.3.4"], "1.1.1.1"),
        ([b"1.1.1.1, 2.2.2.2\x00"], "1.1.1.1"),
    ],
)
def test_the_right_most_address_is_the_client(values: list[bytes], address: str) -> None:
    assert right_most_address(values) == packed_address(address)


@pytest.mark.parametrize("values", [[], [b""], [b"x"], [b"unknown, ,"], [b"\xff", b"%"]])
def test_without_an_address_the_client_is_unknown(values: list[bytes]) -> None:
    assert right_most_address(values) is None


@given(st.lists(st.binary() | st.text("0123456789abcdef:., %").map(str.encode)))
def test_any_values_are_looked_through(values: list[bytes]) -> None:
    address = right_most_address(values)
    assert address is None or len(address) in (4, 16)


@given(st.ip_addresses().map(lambda address: packed_address(str(address))))
def test_the_text_of_an_address_is_read_as_it(address: Address) -> None:
    assert peer_address(address_text(address)) == address
    assert right_most_address([address_text(address).encode()]) == address


@pytest.mark.clause("3.6.6")
@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:127.0.0.1", "127.0.0.1"), ("fe80::1%2", "fe80::1")],
)
def test_the_peer_of_a_socket(host: str, address: str) -> None:
    assert peer_address(host) == packed_address(address)
