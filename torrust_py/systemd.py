"""What a service manager hands to the daemon and is told by it: sd_listen_fds(3), sd_notify(3). Without one
nothing happens.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

from torrust_py.listeners import HeldSockets, StartError

_FIRST_FD = 3


def take_held_sockets(environment: MutableMapping[str, str]) -> HeldSockets:
    """The sockets that are passed to this process, in LISTEN_FDS; the variables are taken out. Raises
    StartError if one is no socket.
    """
    given = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"].isdigit():
        return HeldSockets([])
    return HeldSockets([_socket(_FIRST_FD + number) for number in range(int(given["LISTEN_FDS"]))])


def _socket(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        return socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(
            f"file descriptor {fd}, which LISTEN_FDS passes, is no socket: {error.strerror}; pass sockets "
            f"only (in a .socket unit: ListenStream= and ListenDatagram=)"
        ) from error


class ServiceManager:
    """Who started the daemon, if it wants to know how it is."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_interval = _watchdog_interval(environment)
        """Seconds between two signs of life, half of those after which it would end the daemon; None if it
        wants none.
        """

    def tell(self, state: str) -> None:
        """`READY=1`, `STOPPING=1` or `WATCHDOG=1`. A manager that is away misses it."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as told,
        ):
            told.sendto(state.encode(), address)


def _watchdog_interval(environment: MutableMapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    is_meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not is_meant or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / 2_000_000
