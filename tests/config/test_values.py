import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.config.values import (
    ApiToken,
    BindAddress,
    DatabasePath,
    masked_url,
    parse_bind_address,
    parse_external_ip,
)

SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=12).map(
    lambda text: f"hush{text}hush"
)


@pytest.mark.clause("2.3.11")
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:6969", "0.0.0.0", 6969),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("255.255.255.255:65535", "255.255.255.255", 65535),
        ("[::]:6969", "::", 6969),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80),
        ("[::ffff:1.2.3.4]:80", "::ffff:1.2.3.4", 80),
        ("[fe80::1%2]:80", "fe80::1%2", 80),
        ("[fe80::1%0]:80", "fe80::1", 80),
        ("1.2.3.4:00080", "1.2.3.4", 80),
    ],
)
def test_an_address_with_a_port_is_read(text: str, host: str, port: int) -> None:
    assert parse_bind_address(text) == BindAddress(host, port)


@pytest.mark.clause("2.3.11")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:6969",
        "6969",
        ":6969",
        "0.0.0.0",
        "0.0.0.0:",
        "0.0.0.0:65536",
        "0.0.0.0:99999999999999999999",
        "0.0.0.0:-1",
        "0.0.0.0:+1",
        "0.0.0.0:6969 ",
        " 0.0.0.0:6969",
        "0.0.0.0:6969\n",
        "1.2.3:80",
        "01.2.3.4:80",
        "256.1.1.1:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[1.2.3.4]:80",
        "[::1:80",
        "[:::]:80",
        "[fe80::1%eth0]:80",
        "[fe80::1%4294967296]:80",
        "٣.0.0.0:80",
        "0.0.0.0:٣",
        6969,
        None,
    ],
)
def test_what_is_not_an_address_with_a_port_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"must be an IP address and a port"):
        parse_bind_address(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_a_bind_address_is_written_as_it_is_read(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    parsed = parse_bind_address(text)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    assert parse_bind_address(str(parsed)) == parsed
    assert socket.inet_pton(family, parsed.host) == address.packed


@given(st.text())
def test_any_text_is_an_address_or_refused_in_our_words(text: str) -> None:
    complaints = []
    for parse in (parse_bind_address, parse_external_ip):
        try:
            parse(text)
        except ValueError as error:
            complaints.append(str(error))
    assert all(complaint.startswith("must be an IP address") for complaint in complaints)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "0:0::0", "::ffff:0.0.0.0"])
def test_an_unspecified_external_address_is_none(text: str) -> None:
    assert parse_external_ip(text) is None


@pytest.mark.parametrize("text", ["203.0.113.7", "::ffff:203.0.113.7"])
def test_a_mapped_external_address_is_ipv4(text: str) -> None:
    assert parse_external_ip(text) == ipaddress.IPv4Address("203.0.113.7")


@pytest.mark.parametrize("text", ["", "example.org", "203.0.113.7:80", "fe80::1%2", "1.2.3.04", 5, True])
def test_what_is_not_an_address_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be an IP address"):
        parse_external_ip(text)


def test_a_token_masks_itself() -> None:
    token = ApiToken("MyAccessToken")
    assert f"{token} {token!r}" == "*** ApiToken('***')"
    assert token.get_secret_value() == "MyAccessToken"


def test_a_database_path_masks_its_password() -> None:
    path = DatabasePath("mysql://user:hush@host/db")
    assert f"{path} {path!r}" == "mysql://user:***@host/db DatabasePath('mysql://user:***@host/db')"


@pytest.mark.clause("1.5.4")
@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("./storage/sqlite3.db", "./storage/sqlite3.db"),
        ("mysql://host/db", "mysql://host/db"),
        ("mysql://host:3306/db?charset=utf8", "mysql://host:3306/db?charset=utf8"),
        ("mysql://[::1]:3306/db", "mysql://[::1]:3306/db"),
        ("mysql://[::1]/db:x", "mysql://[::1]/db:x"),
        ("mysql://user@host/db", "mysql://user@host/db"),
        ("mysql://user:hush@host:3306/db?charset=utf8", "mysql://user:***@host:3306/db?charset=utf8"),
        ("mysql://user:hu%40s%2Fh@host/db", "mysql://user:***@host/db"),
        ("mysql://user:@host/db", "mysql://user:***@host/db"),
        ("mysql://user:hu@s:/?#h@host/db", "mysql://user:***@host/db"),
        ("mysql://user:hush", "mysql://user:***"),
        ("mysql://user:12hush/db", "mysql://user:***"),
        ("mysql://[::1]:hush", "mysql://[::1]:***"),
        ("user:hush@host/db", "user:***@host/db"),
        ("mysql:/user:hush@host/db", "mysql:***@host/db"),
        ("mysql://host/db?user=u&password=hush&ssl=1", "mysql://host/db?user=u&password=***&ssl=1"),
        ("mysql://u:hush@host/db?%70asswd=hush", "mysql://u:***@host/db?%70asswd=***"),
    ],
)
def test_only_the_password_of_a_url_is_masked(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@given(SECRET, st.sampled_from(["mysql://user:{}@host:3306/db", "//u:{}@h", "u:{}@h", "mysql://:{}@[::1]/"]))
def test_whatever_a_password_is_made_of_it_is_masked(secret: str, url: str) -> None:
    assert "hush" not in masked_url(url.format(secret))


@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    assert isinstance(masked_url(text), str)
