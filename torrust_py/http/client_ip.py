"""Which client a request comes from, when reverse proxies stand between it and the tracker.

Each proxy appends to X-Forwarded-For the address that it was asked by; the tracker's own proxy is the last to
do so, hence only the right-most address was not written by the client.
"""

import socket
from collections.abc import Sequence

from torrust_py.core.errors import TrackerError
from torrust_py.core.statistics import Reason
from torrust_py.core.types import Address, is_ipv4, unmapped


class NoForwardedAddress(TrackerError):
    reason = Reason.NO_FORWARDED_ADDRESS

    def __init__(self) -> None:
        super().__init__(
            "missing or invalid the right most X-Forwarded-For IP "
            "(mandatory on reverse proxy tracker configuration)"
        )


def right_most_address(forwarded_for: Sequence[bytes]) -> Address | None:
    """The last address in the values of all X-Forwarded-For fields; what is no bare address is skipped."""
    for value in reversed(forwarded_for):
        for item in reversed(value.split(b",")):
            address = _address(item.strip())
            if address is not None:
                return address
    return None


def peer_address(host: str) -> Address:
    """The packed form of a socket's peer; its scope (RFC 4007) is dropped."""
    if ":" not in host:
        return Address(socket.inet_pton(socket.AF_INET, host))
    return unmapped(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]))


def address_text(address: Address) -> str:
    return socket.inet_ntop(socket.AF_INET if is_ipv4(address) else socket.AF_INET6, address)


def _address(text: bytes) -> Address | None:
    if b"%" in text:
        return None
    try:
        return peer_address(text.decode("ascii"))
    except (OSError, ValueError):
        return None
