"""The checks of the start: a configuration, and the host that it is to run on."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from torrust_py.config import Config, HttpApi
from torrust_py.selfcheck import findings
from torrust_py.selfcheck.findings import KNOWN_TOKEN, Finding
from torrust_py.selfcheck.host import Host


def start_findings(
    config: Config, host: Host, *, receive_buffers: Sequence[tuple[str, int]], files: int
) -> Iterator[Finding]:
    """How each check went.

    `receive_buffers`: the bytes that each UDP socket was granted, by its address; `files`: how many this
    process may open.
    """
    core = config.core
    yield findings.receive_buffer(receive_buffers)
    if config.http_trackers:
        yield findings.file_limit(files)
    yield findings.connection_tracking(host.conntrack_count, host.conntrack_max)
    yield findings.ipv6(ipv6_listeners(config), has_ipv6=host.has_ipv6)
    yield findings.interval(core.announce_policy.interval, is_public=not (core.private or core.listed))
    if config.http_api is not None:
        yield _known_token(config.http_api)
    yield findings.clock(is_synchronised=host.is_clock_synchronised)


def ipv6_listeners(config: Config) -> list[str]:
    """Addresses of the services, by which clients come over IPv6."""
    udp = () if config.core.private else config.udp_trackers or ()
    addresses = [tracker.bind_address for tracker in udp]
    addresses += [tracker.bind_address for tracker in config.http_trackers or ()]
    if config.http_api is not None:
        addresses.append(config.http_api.bind_address)
    return [
        str(address)
        for address in dict.fromkeys(addresses)
        if ":" in address.host and not address.host.startswith("::ffff:")
    ]


def _known_token(api: HttpApi) -> Finding:
    labels = [label for label, token in api.access_tokens.items() if token.get_secret_value() == KNOWN_TOKEN]
    address = ip_address(api.bind_address.host)
    local = (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return findings.known_token(str(api.bind_address), labels, is_local=local)
