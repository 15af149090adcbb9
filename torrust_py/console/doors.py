"""Asks a tracker through its own doors, as a client from outside would, by the rules of lists of trackers.

newTrackon announces a random info hash, waits 10 seconds for a valid answer, and rejects a tracker that
counts or hands out more than 10 peers of a torrent that nobody has. The peers that are announced here stop in
the end, so they leave nothing behind.
"""

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from torrust_py.config import BindAddress, Config
from torrust_py.console.probes import (
    HttpProbe,
    NotAnswered,
    Probe,
    Refused,
    Swarm,
    UdpProbe,
    ask_http,
    authority,
    days_left,
    open_udp_probe,
)
from torrust_py.core.types import AnnounceEvent, is_loopback, packed_address
from torrust_py.listeners import Listener, is_dual_stack
from torrust_py.selfcheck import Finding

MOST_PEERS = 10
"""That newTrackon believes of a torrent that nobody has."""

CERTIFICATE_DAYS = 14
"""Fewer are worth a warning: by then a renewal has failed."""

FORWARDED_FOR = "192.0.2.1"
"""Who asks, where the tracker is told by its proxy: an address of nobody (RFC 5737)."""

_FIRST_PORT, _SECOND_PORT = 6881, 6882
_CONNECT_PATIENCE = 3.0
_NOBODY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_LOOK_AT_LOG = "look at the tracker's log"
_CONFIGURED_ANEW = "restart the tracker if its configuration has changed since its start"


class Promise(NamedTuple):
    """What the configuration says of answers."""

    interval: int
    external_ip: str | None
    listed: bool
    private: bool
    on_reverse_proxy: bool


async def check_doors(config: Config, *, has_ipv6: bool | None) -> list[Finding]:
    """How each door of a tracker that runs with this configuration answers."""
    promise = _promise(config)
    checks: list[Awaitable[list[Finding]]] = []
    udp = [tracker.bind_address for tracker in config.udp_trackers or ()]
    if not promise.private:
        for host, port in _asked(udp, has_ipv6=has_ipv6):
            checks.append(_check_udp_tracker(host, port, promise))
    trackers = config.http_trackers or ()
    http = [tracker.bind_address for tracker in trackers]
    for tracker in trackers:
        for host, port in _asked([tracker.bind_address], of=http, has_ipv6=has_ipv6):
            is_tls = tracker.tsl_config is not None
            checks.append(_check_http_tracker(host, port, promise, is_tls=is_tls))
    if config.http_api is not None:
        for host, port in _asked([config.http_api.bind_address], has_ipv6=has_ipv6):
            checks.append(_check_api(host, port, is_tls=config.http_api.tsl_config is not None))
    for host, port in _asked([config.health_check_api.bind_address], has_ipv6=has_ipv6):
        checks.append(_check_health(host, port))
    found = await asyncio.gather(*checks)
    return [finding for findings in found for finding in findings]


def runs(config: Config, *, has_ipv6: bool | None) -> bool:
    """Whether somebody listens at a TCP address of the configuration; True if it names no port."""
    addresses = [config.health_check_api.bind_address]
    addresses += [tracker.bind_address for tracker in config.http_trackers or ()]
    if config.http_api is not None:
        addresses.append(config.http_api.bind_address)
    asked = _asked(addresses, has_ipv6=has_ipv6)
    return not asked or any(_is_listening(host, port) for host, port in asked)


def _is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_PATIENCE).close()
    except OSError:
        return False
    return True


def _promise(config: Config) -> Promise:
    core = config.core
    return Promise(
        core.announce_policy.interval,
        None if core.net.external_ip is None else str(core.net.external_ip),
        core.listed,
        core.private,
        core.net.on_reverse_proxy,
    )


# --- addresses


def _asked(
    addresses: Sequence[BindAddress], *, of: Sequence[BindAddress] | None = None, has_ipv6: bool | None
) -> list[tuple[str, int]]:
    """Where services at these addresses are reached from this host. `of`: all of their protocol, if more."""
    listeners = [Listener(*address) for address in of or addresses]
    asked = [
        (host, address.port)
        for address in addresses
        if address.port
        for host in _hosts(Listener(*address), listeners)
        if has_ipv6 is not False or ":" not in host
    ]
    return list(dict.fromkeys(asked))


def _hosts(listener: Listener, all_of_protocol: list[Listener]) -> list[str]:
    """A wildcard is asked at the loopback address and at the address of this host."""
    host = listener.host.removeprefix("::ffff:") if "." in listener.host else listener.host
    if host not in ("0.0.0.0", "::"):
        return [host]
    hosts = [] if host == "0.0.0.0" else ["::1", own_address(socket.AF_INET6)]
    if host == "0.0.0.0" or is_dual_stack(listener, all_of_protocol):
        hosts = ["127.0.0.1", own_address(socket.AF_INET), *hosts]
    return [one for one in hosts if one is not None]


def own_address(family: socket.AddressFamily) -> str | None:
    """From which this host speaks to the world; None if it does not."""
    with contextlib.suppress(OSError):
        return _source_towards(_NOBODY[family], 9)
    return None


def _source_towards(host: str, port: int) -> str:
    """Nothing is sent. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connected:
        connected.connect((host, port))
        source: str = connected.getsockname()[0]
        return source


def _peer_address(host: str, port: int, external_ip: str | None) -> str:
    """As which the tracker hands out who asks it there."""
    try:
        source = _source_towards(host, port)
    except OSError:
        return host
    if external_ip is not None and is_loopback(packed_address(source.partition("%")[0])):
        return external_ip
    return source


# --- trackers


async def _check_udp_tracker(host: str, port: int, promise: Promise) -> list[Finding]:
    try:
        async with open_udp_probe(host, port) as probe:
            address = _peer_address(host, port, promise.external_ip)
            findings = await _check_tracker(probe, address, promise)
            return [*findings, await _check_connection_id(probe)]
    except NotAnswered as error:
        return [
            _failed("udp-announce", f"udp://{authority(host, port)}", str(error), _reachable(port, "udp"))
        ]


async def _check_http_tracker(host: str, port: int, promise: Promise, *, is_tls: bool) -> list[Finding]:
    base = f"{'https' if is_tls else 'http'}://{authority(host, port)}"
    findings = [await _check_certificate(host, port, base)] if is_tls else []
    address = _peer_address(host, port, promise.external_ip)
    forwarded_for = None
    if promise.on_reverse_proxy:
        findings.append(await _check_forwarding(HttpProbe(base, forwarded_for=None)))
        forwarded_for = address = FORWARDED_FOR
    try:
        findings += await _check_tracker(HttpProbe(base, forwarded_for=forwarded_for), address, promise)
    except NotAnswered as error:
        findings.append(_failed("http-announce", base, str(error), _reachable(port, "tcp")))
    return findings


async def _check_tracker(probe: Probe, address: str, promise: Promise) -> list[Finding]:
    """`address`: as which the tracker hands out the probe's peers.

    Raises NotAnswered if there is no first answer.
    """
    announced, begun = f"{probe.name}-announce", time.monotonic()
    try:
        first = await probe.announce(_FIRST_PORT, AnnounceEvent.STARTED)
    except Refused as error:
        rule = _refusing_rule(str(error), promise)
        if rule is not None:
            return [Finding(announced, "ok", f"refused after {_since(begun)}, as {rule} asks", at=probe.at)]
        return [_failed(announced, probe.at, f"refused: {error}", _CONFIGURED_ANEW)]
    findings = [
        Finding(announced, "ok", f"answered after {_since(begun)}", at=probe.at),
        _interval_finding(probe, first.interval, promise.interval),
    ]
    try:
        second = await probe.announce(_SECOND_PORT, AnnounceEvent.STARTED)
        findings.append(_peers_finding(probe, [first, second], address))
        findings.append(await _check_scrape(probe))
        for port in (_FIRST_PORT, _SECOND_PORT):
            await probe.announce(port, AnnounceEvent.STOPPED)
    except (Refused, NotAnswered) as error:
        findings.append(_failed(announced, probe.at, f"after a first answer: {error}", _LOOK_AT_LOG))
    return findings


def _refusing_rule(text: str, promise: Promise) -> str | None:
    """The option that asks for this refusal."""
    if promise.private and "Missing authentication key" in text:
        return "core.private"
    return "core.listed" if promise.listed and "is not whitelisted" in text else None


def _interval_finding(probe: Probe, told: int, configured: int) -> Finding:
    name = f"{probe.name}-interval"
    if told == configured:
        return Finding(name, "ok", f"{told} s", at=probe.at)
    detail = f"clients are told {told} s, and core.announce_policy.interval is {configured} s"
    return _failed(name, probe.at, detail, _CONFIGURED_ANEW)


def _peers_finding(probe: Probe, answers: Sequence[Swarm], address: str) -> Finding:
    """A second peer is told of the first, and of nobody else."""
    name, known = f"{probe.name}-peers", authority(address, _FIRST_PORT)
    strangers = [peer for swarm in answers for peer in swarm.peers if peer != known]
    most = max(len(swarm.peers) + swarm.counted for swarm in answers)
    if strangers:
        detail = f"{', '.join(strangers)} of a torrent that {known} alone has announced"
        return _failed(name, probe.at, f"the tracker hands out {detail}", _LOOK_AT_LOG)
    if most > MOST_PEERS:
        detail = f"the tracker tells of {most} peers of a torrent that two have announced"
        return _failed(name, probe.at, detail, _LOOK_AT_LOG)
    if not answers[-1].peers and not _is_of_other_family(probe, address):
        return _failed(name, probe.at, f"a second peer is not told of the first, {known}", _LOOK_AT_LOG)
    return Finding(name, "ok", f"a second peer is told of the first alone, {known}", at=probe.at)


def _is_of_other_family(probe: Probe, address: str) -> bool:
    """Over UDP a client gets peers of its own family only."""
    return probe.name == "udp" and (":" in address) != ("[" in probe.at)


async def _check_scrape(probe: Probe) -> Finding:
    name, begun = f"{probe.name}-scrape", time.monotonic()
    leechers = await probe.scrape()
    if leechers != 2:
        return _failed(name, probe.at, f"{leechers} leechers, where two have announced", _LOOK_AT_LOG)
    return Finding(name, "ok", f"answered after {_since(begun)}", at=probe.at)


async def _check_connection_id(probe: UdpProbe) -> Finding:
    """One that the tracker has not given is refused (BEP 15), or anybody could announce as anybody."""
    name = "udp-connection-id"
    probe.connection_id = secrets.token_bytes(8)
    try:
        await probe.announce(_FIRST_PORT, AnnounceEvent.STARTED)
    except Refused as error:
        return Finding(name, "ok", f"a wrong one is refused: {error}", at=probe.at)
    except NotAnswered as error:
        return _failed(name, probe.at, f"a wrong one: {error}", _LOOK_AT_LOG)
    return _failed(name, probe.at, "a wrong one is taken", "another program listens there: stop it")


async def _check_forwarding(probe: HttpProbe) -> Finding:
    """Who does not come through the proxy is refused."""
    name = "http-forwarded"
    try:
        await probe.announce(_FIRST_PORT, AnnounceEvent.STARTED)
    except Refused:
        return Finding(name, "ok", "an announce without X-Forwarded-For is refused", at=probe.at)
    except NotAnswered as error:
        return _failed(name, probe.at, str(error), _LOOK_AT_LOG)
    return _failed(name, probe.at, "an announce without X-Forwarded-For is answered", _CONFIGURED_ANEW)


# --- other services


async def _check_certificate(host: str, port: int, at: str) -> Finding:
    name, remedy = "certificate", "renew it; the tracker takes it up by itself (docs/tls.md)"
    try:
        days = await asyncio.to_thread(days_left, host, port)
    except Refused as error:
        return _failed(name, at, str(error), remedy)
    except NotAnswered as error:
        return _failed(name, at, str(error), "see ssl_cert_path and ssl_key_path of tsl_config (docs/tls.md)")
    if days < CERTIFICATE_DAYS:
        return Finding(name, "warn", f"it ends in {days:.0f} days", remedy, at)
    return Finding(name, "ok", f"it ends in {days:.0f} days", at=at)


async def _check_api(host: str, port: int, *, is_tls: bool) -> list[Finding]:
    base = f"{'https' if is_tls else 'http'}://{authority(host, port)}"
    findings = [await _check_certificate(host, port, base)] if is_tls else []
    begun = time.monotonic()
    try:
        answer = await ask_http(f"{base}/api/health_check")
    except NotAnswered as error:
        return [*findings, _failed("api", base, str(error), _LOOK_AT_LOG)]
    if not answer.is_success:
        return [*findings, _failed("api", base, f"status {answer.status}", _LOOK_AT_LOG)]
    return [*findings, Finding("api", "ok", f"answered after {_since(begun)}", at=base)]


async def _check_health(host: str, port: int) -> list[Finding]:
    url = f"http://{authority(host, port)}/health_check"
    begun = time.monotonic()
    try:
        answer = await ask_http(url)
        report = json.loads(answer.body)
        silent = [detail["binding"] for detail in report["details"] if "Err" in detail["result"]]
    except NotAnswered as error:
        return [_failed("health-check", url, str(error), _LOOK_AT_LOG)]
    except (ValueError, KeyError, TypeError):
        return [
            _failed("health-check", url, "no report of a tracker", "another program listens there: stop it")
        ]
    if silent:
        detail = f"these do not answer: {', '.join(map(str, silent))}"
        return [_failed("health-check", url, detail, _LOOK_AT_LOG)]
    return [Finding("health-check", "ok", f"answered after {_since(begun)}: {report['status']}", at=url)]


def _failed(check: str, at: str, detail: str, remedy: str) -> Finding:
    return Finding(check, "fail", detail, remedy, at)


def _reachable(port: int, protocol: str) -> str:
    return f"see that the tracker runs with this configuration, and that no firewall drops {port}/{protocol}"


def _since(begun: float) -> str:
    return f"{(time.monotonic() - begun) * 1000:.1f} ms"
