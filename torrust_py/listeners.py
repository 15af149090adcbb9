"""Bound sockets. What cannot be had is a StartError: one line that says what, where and the remedy."""

import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

UDP_RECEIVE_BUFFER = 8 * 1024 * 1024
"""Bytes asked for; holds ten thousand announces while the process does something else."""

RESERVED_FILES = 512
"""For all but the connections of HTTP trackers."""

_SO_RCVBUFFORCE = 33  # Linux: as root, beyond net.core.rmem_max; the socket module does not have the name
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3  # Linux: ip(7)
_BACKLOG = 1024


class StartError(Exception):
    """The daemon cannot start; the text is one line for the operator."""


class Listener(NamedTuple):
    """Where a service listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HeldSockets:
    """Bound sockets that somebody holds for the daemon, so that nothing is lost while it starts anew. Each is
    for the service that is configured to listen there.
    """

    def __init__(self, held: Iterable[socket.socket]) -> None:
        self._held = list(held)

    def take(self, listener: Listener, kind: int) -> socket.socket | None:
        """The socket of this kind (SOCK_STREAM, SOCK_DGRAM) at this address, if there is one."""
        for one in self._held:
            if one.type == kind and _is_at(one, listener):
                self._held.remove(one)
                return one
        return None

    def check_all_taken(self) -> None:
        """Raises StartError, which names the first that no service has asked for."""
        for one in self._held:
            raise StartError(
                f"the {_described(one)}, which LISTEN_FDS passes, belongs to no service: configure one that "
                f"listens there, or take it out of the .socket unit"
            )


NOBODY_HOLDS = HeldSockets([])


def is_dual_stack(listener: Listener, all_of_protocol: list[Listener]) -> bool:
    """True if a service at `[::]` serves IPv4, too: unless another has the port for an IPv4 address.

    What listens at an IPv4-mapped address serves nothing else.
    """
    if listener.host.startswith("::ffff:"):
        return True
    return listener.host == "::" and not any(
        ":" not in other.host and other.port == listener.port != 0 for other in all_of_protocol
    )


def reached_at(listener: Listener) -> Listener:
    """Where this host reaches it: a dual-stack `[::]` serves IPv4 also where IPv6 is switched off."""
    if listener.host != "::":
        return listener
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return Listener("127.0.0.1", listener.port)
    return listener


def open_udp_socket(
    listener: Listener, *, dual_stack: bool, log: logging.Logger, held: HeldSockets = NOBODY_HOLDS
) -> socket.socket:
    """A bound socket; logs the receive buffer that the kernel granted. Raises StartError."""
    bound = _bind(listener, socket.SOCK_DGRAM, dual_stack=dual_stack, service="the UDP tracker", held=held)
    enlarge_receive_buffer(bound)
    log.info("Receive buffer of %s: %s KiB", listener, buffers_of(bound).receive // 1024)
    if sys.platform == "linux" and bound.family == socket.AF_INET:
        # Responses fit into any frame; without fragments the kernel need not number them.
        bound.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
    return bound


def open_tcp_socket(
    listener: Listener, *, dual_stack: bool, service: str, held: HeldSockets = NOBODY_HOLDS
) -> socket.socket:
    """A bound socket that listens. Raises StartError, which calls it `service`."""
    bound = _bind(listener, socket.SOCK_STREAM, dual_stack=dual_stack, service=service, held=held)
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _cannot_listen(listener, service, error) from error
    return bound


class Buffers(NamedTuple):
    """Bytes that the kernel granted a socket."""

    receive: int
    send: int


def buffers_of(bound: socket.socket) -> Buffers:
    doubled = 2 if sys.platform == "linux" else 1  # Linux doubles what it grants
    return Buffers(
        bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // doubled,
        bound.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // doubled,
    )


def raise_file_limit() -> int:
    """Raise the limit of open files as far as it goes; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        except (OSError, ValueError):
            ceiling = soft  # macOS refuses more than it has, whatever it says
    return ceiling if soft != resource.RLIM_INFINITY else 1_048_576


def _bind(
    listener: Listener, kind: int, *, dual_stack: bool, service: str, held: HeldSockets
) -> socket.socket:
    taken = held.take(listener, kind)
    if taken is not None:
        return _checked(taken, listener, dual_stack=dual_stack, service=service)
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        bound = socket.socket(family, kind)
    except OSError as error:
        raise _cannot_listen(listener, service, error) from error
    try:
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual_stack))
        bound.bind((listener.host, listener.port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(listener, service, error) from error
    return bound


def _checked(held: socket.socket, listener: Listener, *, dual_stack: bool, service: str) -> socket.socket:
    """Raises StartError if a held socket is not open to those whom the service is for."""
    if held.family == socket.AF_INET6:
        is_open = not held.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        if is_open != dual_stack:
            raise StartError(
                f"{service}: the socket at {listener}, which LISTEN_FDS passes, takes "
                f"{'IPv4, too' if is_open else 'IPv6 only'}; set BindIPv6Only="
                f"{'both' if dual_stack else 'ipv6-only'} in its .socket unit"
            )
    return held


def _is_at(bound: socket.socket, listener: Listener) -> bool:
    if bound.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host, port = bound.getsockname()[:2]
    return port == listener.port and ip_address(host) == ip_address(listener.host)


def _described(bound: socket.socket) -> str:
    kind = {socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP"}.get(bound.type, "other")
    if bound.family in (socket.AF_INET, socket.AF_INET6):
        return f"{kind} socket at {Listener(*bound.getsockname()[:2])}"
    return f"socket at {bound.getsockname()!r}"


def _cannot_listen(listener: Listener, service: str, error: OSError) -> StartError:
    remedies = {
        errno.EADDRINUSE: "another process, or service of this one, has this port: stop it, or configure "
        "another port",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE: configure another port",
        errno.EADDRNOTAVAIL: "no interface of this host has this address: configure one that it has",
        errno.EAFNOSUPPORT: "this host has no IPv6: configure an IPv4 address",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = remedies.get(error.errno or 0, "configure another address")
    return StartError(f"{service} cannot listen on {listener}: {reason}; {remedy}")


def enlarge_receive_buffer(bound: socket.socket) -> None:
    """Ask for UDP_RECEIVE_BUFFER, unless somebody with more rights has given it so much already."""
    if buffers_of(bound).receive >= UDP_RECEIVE_BUFFER:
        return
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF) if sys.platform == "linux" else (socket.SO_RCVBUF,):
        try:
            bound.setsockopt(socket.SOL_SOCKET, option, UDP_RECEIVE_BUFFER)
            break
        except OSError:
            continue  # not root: the ordinary option, up to the system's maximum
