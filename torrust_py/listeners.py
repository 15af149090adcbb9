"""Bound sockets. What cannot be had is a StartError: one line that says what, where and the remedy."""

import errno
import logging
import os
import resource
import socket
import sys
from typing import NamedTuple

UDP_RECEIVE_BUFFER = 8 * 1024 * 1024
"""Bytes asked for; holds ten thousand announces while the process does something else."""

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


def is_dual_stack(listener: Listener, all_of_protocol: list[Listener]) -> bool:
    """True if a service at `[::]` serves IPv4, too: unless another has the port for an IPv4 address.

    What listens at an IPv4-mapped address serves nothing else.
    """
    if listener.host.startswith("::ffff:"):
        return True
    return listener.host == "::" and not any(
        ":" not in other.host and other.port == listener.port != 0 for other in all_of_protocol
    )


def open_udp_socket(listener: Listener, *, dual_stack: bool, log: logging.Logger) -> socket.socket:
    """A bound socket; logs the receive buffer that the kernel granted. Raises StartError."""
    bound = _bind(listener, socket.SOCK_DGRAM, dual_stack=dual_stack, service="the UDP tracker")
    granted = _enlarge_receive_buffer(bound)
    if granted < UDP_RECEIVE_BUFFER:
        log.warning(
            "Receive buffer of %s: granted %s KiB of the %s KiB asked for; bursts beyond it are lost. "
            "Remedy: sysctl -w net.core.rmem_max=%s",
            listener,
            granted // 1024,
            UDP_RECEIVE_BUFFER // 1024,
            UDP_RECEIVE_BUFFER,
        )
    else:
        log.info("Receive buffer of %s: %s KiB", listener, granted // 1024)
    if sys.platform == "linux" and bound.family == socket.AF_INET:
        # Responses fit into any frame; without fragments the kernel need not number them.
        bound.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
    return bound


def open_tcp_socket(listener: Listener, *, dual_stack: bool, service: str) -> socket.socket:
    """A bound socket that listens. Raises StartError, which calls it `service`."""
    bound = _bind(listener, socket.SOCK_STREAM, dual_stack=dual_stack, service=service)
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _cannot_listen(listener, service, error) from error
    return bound


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


def _bind(listener: Listener, kind: int, *, dual_stack: bool, service: str) -> socket.socket:
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


def _enlarge_receive_buffer(bound: socket.socket) -> int:
    """Ask for UDP_RECEIVE_BUFFER; the bytes that were granted."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF) if sys.platform == "linux" else (socket.SO_RCVBUF,):
        try:
            bound.setsockopt(socket.SOL_SOCKET, option, UDP_RECEIVE_BUFFER)
            break
        except OSError:
            continue  # not root: the ordinary option, up to the system's maximum
    granted = bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return granted // 2 if sys.platform == "linux" else granted  # Linux doubles what it grants
