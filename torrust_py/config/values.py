"""What the texts of a configuration stand for: addresses and secrets."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import unquote

from pydantic import Secret

_SOCKET_IPV4 = re.compile(r"([0-9.]+):([0-9]+)", re.ASCII)
_SOCKET_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%([0-9]+))?\]:([0-9]+)", re.ASCII)
_NOT_AN_ADDRESS = "must be an IP address, such as 203.0.113.7"
_NOT_A_SOCKET = "must be an IP address and a port, such as 0.0.0.0:6969 or [::]:6969"


class BindAddress(NamedTuple):
    """Where a service listens."""

    host: str
    """An IPv4 or IPv6 address, the latter without brackets, maybe with a zone (`fe80::1%2`)."""
    port: int
    """0 to 65535; 0 is any free port."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind_address(text: object) -> BindAddress:
    """Read `ip:port` or `[ipv6]:port`; host names are not resolved. Raises ValueError."""
    if isinstance(text, BindAddress):
        return text
    if isinstance(text, str):
        if match := _SOCKET_IPV4.fullmatch(text):
            return BindAddress(_host_ipv4(match[1]), _port(match[2]))
        if match := _SOCKET_IPV6.fullmatch(text):
            return BindAddress(_host_ipv6(match[1], zone=match[2]), _port(match[3]))
    raise ValueError(_NOT_A_SOCKET)


def parse_external_ip(text: object) -> IPv4Address | IPv6Address | None:
    """Read an IP address; an unspecified one (`0.0.0.0`, `::`) is none, an IPv4-mapped one is IPv4.

    Raises ValueError.
    """
    if text is None or isinstance(text, IPv4Address | IPv6Address):
        return text
    if not isinstance(text, str) or "%" in text:
        raise ValueError(_NOT_AN_ADDRESS)
    try:
        address = _unmapped(IPv6Address(text)) if ":" in text else IPv4Address(text)
    except ValueError:
        raise ValueError(_NOT_AN_ADDRESS) from None
    return None if address.is_unspecified else address


def _unmapped(address: IPv6Address) -> IPv4Address | IPv6Address:
    return address.ipv4_mapped or address


def _host_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(_NOT_A_SOCKET) from None


def _host_ipv6(text: str, *, zone: str | None) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise ValueError(_NOT_A_SOCKET) from None
    mapped = address.ipv4_mapped
    host = str(address) if mapped is None else f"::ffff:{mapped}"
    if zone is None:
        return host
    index = _number(zone)
    if index > 0xFFFFFFFF:
        raise ValueError(_NOT_A_SOCKET)
    return f"{host}%{index}" if index else host


def _port(text: str) -> int:
    port = _number(text)
    if port > 0xFFFF:
        raise ValueError(_NOT_A_SOCKET)
    return port


def _number(digits: str) -> int:
    """Leading zeros are allowed; anything over 2^32 is as good as any other number too large."""
    significant = digits.lstrip("0")
    return int(significant[:11] or "0")


class ApiToken(Secret[str]):
    """Gives its holder everything the REST API can do. Dumps show `***`; `get_secret_value()` tells it."""

    def _display(self) -> str:
        return "***"


class DatabasePath(Secret[str]):
    """A file path or a URL. Dumps show it with `***` for the password; `get_secret_value()` tells all."""

    def _display(self) -> str:
        return masked_url(self.get_secret_value())


_SECRET_NAME = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
_PORT_AND_PATH = re.compile(r"[0-9]*(?:[/?#].*)?", re.ASCII | re.DOTALL)
_IPV6_HOST = re.compile(r"\[[0-9A-Fa-f:.]*\]")


def masked_url(url: str) -> str:
    """`url` with `***` for what is, or in an odd URL may be, a password.

    The password ends at the last `@`: one that holds `/`, `?` or `@` unescaped is masked whole.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, location = rest.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        masked = f"{user}{colon}{'***' if colon else ''}@{_masked_query(location)}"
    elif separator:
        masked = _masked_location(rest)
    else:
        masked = rest
    return scheme + separator + masked


def _masked_location(location: str) -> str:
    """Without an `@`, what stands where the port is expected may be a password."""
    ipv6 = _IPV6_HOST.match(location)
    start = ipv6.end() if ipv6 else 0
    host, colon, rest = location[start:].partition(":")
    if colon and "/" not in host and not _PORT_AND_PATH.fullmatch(rest):
        return f"{location[:start]}{host}:***"
    return _masked_query(location)


def _masked_query(location: str) -> str:
    path, mark, query = location.partition("?")
    return path + mark + "&".join(map(_masked_parameter, query.split("&")))


def _masked_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}=***" if equals and _SECRET_NAME.search(unquote(name)) else parameter
