"""What each check says. Pure functions: they are given what was seen, and judge it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torrust_py.listeners import RESERVED_FILES, UDP_RECEIVE_BUFFER

Result = Literal["ok", "warn", "fail", "unknown"]

LEAST_INTERVAL, MOST_INTERVAL = 300, 10_800
"""Seconds, as newTrackon accepts them."""

FEW_CONNECTIONS = 10_000
"""Below so many the limit of open files is worth a line."""

NEARLY_FULL = 0.8
"""Of the table of connection tracking."""

CROWD = 100
"""So many announces in a minute come from several clients, if they name several ports."""

KNOWN_TOKEN = "MyAccessToken"
"""What the shipped configurations for development have: everybody knows it."""


class Finding(NamedTuple):
    """How a check went."""

    check: str
    """Its name, which stays the same: logs are searched for it."""
    result: Result
    """`unknown`: it could not be found out, or does not matter here."""
    detail: str
    """What was seen, without a full stop."""
    remedy: str = ""
    """Of what is wrong."""
    at: str = ""
    """Which address, of a check that is made at several."""

    @property
    def is_wrong(self) -> bool:
        return self.result in ("warn", "fail")

    def __str__(self) -> str:
        """The line of the log."""
        return f"{self.check}: {self.detail}. Remedy: {self.remedy}"


# --- at the start


def receive_buffer(granted: Sequence[tuple[str, int]]) -> Finding:
    """`granted`: bytes, of each UDP socket by its address."""
    name, wanted = "receive-buffer", UDP_RECEIVE_BUFFER // 1024
    if not granted:
        return Finding(name, "ok", "no UDP tracker is configured")
    small = [(address, size) for address, size in granted if size < UDP_RECEIVE_BUFFER]
    if not small:
        return Finding(name, "ok", f"{wanted} KiB for each UDP socket")
    sockets = ", ".join(address for address, _ in small)
    return Finding(
        name,
        "warn",
        f"the kernel grants {min(size for _, size in small) // 1024} KiB of the {wanted} KiB that were asked "
        f"for {sockets} (net.core.rmem_max); bursts beyond it are lost",
        f"sysctl -w net.core.rmem_max={UDP_RECEIVE_BUFFER}, and the same in /etc/sysctl.d (docs/kernel.md)",
    )


def file_limit(files: int) -> Finding:
    """`files`: how many this process may open."""
    connections = max(1, files - RESERVED_FILES)
    if connections >= FEW_CONNECTIONS:
        return Finding("file-limit", "ok", f"at most {files} open files")
    return Finding(
        "file-limit",
        "warn",
        f"at most {files} files may be open, so the HTTP trackers take at most {connections} connections",
        "LimitNOFILE=65536 in the unit of systemd, --ulimit nofile=65536 for docker run (docs/kernel.md)",
    )


def connection_tracking(count: int | None, most: int | None) -> Finding:
    """Entries of the table, and for how many it has room; None where there is none."""
    name = "connection-tracking"
    if count is None or not most:
        return Finding(name, "ok", "off, or not to be seen from here")
    if count < NEARLY_FULL * most:
        return Finding(name, "ok", f"{count} of {most} entries are taken")
    return Finding(
        name,
        "warn",
        f"{count} of {most} entries of the kernel's table are taken; when it is full, datagrams of new "
        f"clients are dropped",
        "do not track the tracker's ports (notrack, docs/kernel.md), or raise net.netfilter.nf_conntrack_max",
    )


def ipv6(listeners: Sequence[str], *, has_ipv6: bool | None) -> Finding:
    """`listeners`: the IPv6 addresses that are configured."""
    name = "ipv6-off"
    if not listeners:
        return Finding(name, "ok", "no IPv6 address is configured")
    if has_ipv6 is None:
        return Finding(name, "unknown", "whether this host has IPv6 is not to be seen from here")
    if has_ipv6:
        return Finding(name, "ok", "IPv6 is on")
    return Finding(
        name,
        "warn",
        f"IPv6 is switched off on this host (net.ipv6.conf.all.disable_ipv6), so nobody reaches "
        f"{', '.join(listeners)} over it",
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0 (a container needs a network with IPv6), or listen at "
        "0.0.0.0",
    )


def interval(seconds: int, *, is_public: bool) -> Finding:
    """`is_public`: everybody may announce everything, so the tracker may be on a list."""
    if not is_public:
        return Finding("interval", "ok", f"{seconds} s; a tracker that is not public is on no list")
    if LEAST_INTERVAL <= seconds <= MOST_INTERVAL:
        return Finding("interval", "ok", f"{seconds} s")
    return Finding(
        "interval",
        "warn",
        f"core.announce_policy.interval is {seconds} s, and lists of public trackers (newTrackon) accept "
        f"{LEAST_INTERVAL} to {MOST_INTERVAL} s",
        f"core.announce_policy.interval = {LEAST_INTERVAL}; a tracker that is on no list may leave it",
    )


def known_token(address: str, labels: Sequence[str], *, is_local: bool) -> Finding:
    """`labels`: of the API's tokens that everybody knows. `is_local`: only this host reaches `address`."""
    name = "known-token"
    if not labels:
        return Finding(name, "ok", "no token of the API is one that everybody knows")
    if is_local:
        return Finding(name, "ok", f"only this host reaches the API at {address}")
    option = f"http_api.access_tokens.{labels[0]}"
    variable = f"TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__{labels[0].upper()}"
    return Finding(
        name,
        "warn",
        f"the API listens at {address}, and {option} is the token of the development configuration, which "
        f"everybody knows: whoever reaches it may change keys and whitelist",
        f"a secret of your own ({variable}=<secret>), or http_api.bind_address = 127.0.0.1:1212",
    )


def clock(*, is_synchronised: bool | None) -> Finding:
    if is_synchronised is None:
        return Finding("clock", "unknown", "whether the clock is kept right is not to be seen from here")
    if is_synchronised:
        return Finding("clock", "ok", "the kernel says that it is synchronised")
    return Finding(
        "clock",
        "warn",
        "the clock of this host is not synchronised; when it drifts, keys and certificates end too early or "
        "too late",
        "run a time service (apt-get install chrony, or timedatectl set-ntp true); a virtual machine whose "
        "host sets the clock may leave it",
    )


# --- while it runs


def kernel_drops(count: int) -> Finding:
    """`count`: requests of the last minute for which the kernel found no room."""
    if count <= 0:
        return Finding("kernel-drops", "ok", "none")
    return Finding(
        "kernel-drops",
        "warn",
        f"the kernel dropped {count} UDP requests in the last minute, since the receive buffer was full",
        f"sysctl -w net.core.rmem_max={UDP_RECEIVE_BUFFER} and a restart; where that is granted already, the "
        f"processor is the limit (docs/kernel.md)",
    )


class Callers(NamedTuple):
    """Who has announced over HTTP since the last look."""

    announces: int
    address: str
    """The one address that all came from; empty if there were several."""
    has_several_ports: bool
    """They were announced for, so there is more than one client."""
    unforwarded: int
    """Requests, beside those announces, that had no usable X-Forwarded-For and needed one."""


def one_address(callers: Callers, *, on_reverse_proxy: bool) -> Finding:
    name = "one-address"
    if callers.announces < CROWD or not callers.address or not callers.has_several_ports:
        return Finding(name, "ok", f"{callers.announces} announces over HTTP")
    seen = (
        f"all {callers.announces} announces over HTTP of the last minute came from {callers.address}, for "
        f"several ports"
    )
    if on_reverse_proxy:
        return Finding(
            name,
            "warn",
            f"{seen}: X-Forwarded-For ends in the address of another proxy, and peers are handed out with it",
            "let the proxy next to the tracker write the client's own address there (set_real_ip_from of "
            "nginx, docs/reverse-proxy.md)",
        )
    return Finding(
        name,
        "warn",
        f"{seen}: a proxy stands in front, and peers are handed out with its address",
        "core.net.on_reverse_proxy = true, and a proxy that sends X-Forwarded-For (docs/reverse-proxy.md); "
        "where Docker forwards the port, --network host (docs/deployment.md)",
    )


def no_forwarded_address(callers: Callers) -> Finding:
    """More requests came without X-Forwarded-For than announces with it."""
    name = "no-forwarded-address"
    if callers.unforwarded <= callers.announces:
        return Finding(name, "ok", f"{callers.unforwarded} requests without X-Forwarded-For")
    return Finding(
        name,
        "warn",
        f"{callers.unforwarded} requests of the last minute had no usable X-Forwarded-For and were refused, "
        f"{callers.announces} announces had one: clients come directly, or the proxy does not send it",
        "core.net.on_reverse_proxy = false if there is no proxy; else let it send X-Forwarded-For, and let "
        "only it reach the port (docs/reverse-proxy.md)",
    )
