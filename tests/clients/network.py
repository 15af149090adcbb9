"""A network of the test's own, so that clients meet nobody but the tracker (Linux, as root).

Addresses on the loopback device of a fresh network namespace are accepted by every client, which 127.0.0.1
is not, no port can be taken by another program, and no packet gets out. The namespace ends with its last
process.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000  # linux/sched.h; os.unshare and os.setns exist from Python 3.12 on


class NoPrivateNetwork(Exception):
    """This system, or this user, cannot make one; the text is the reason."""


@contextmanager
def private_network(*addresses: str) -> Iterator[None]:
    """Put the calling thread, and the processes that it starts, into a network that has these addresses.

    Raises NoPrivateNetwork.
    """
    if sys.platform != "linux":
        raise NoPrivateNetwork("network namespaces exist on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as outside:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise NoPrivateNetwork(f"a network namespace cannot be made: {os.strerror(ctypes.get_errno())}")
        try:
            _set_up(addresses)
            yield
        finally:
            if libc.setns(outside.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the private network cannot be left")


def _set_up(addresses: tuple[str, ...]) -> None:
    _ip("link", "set", "lo", "up")
    for address in addresses:
        if ":" in address:
            _ip("address", "add", f"{address}/128", "dev", "lo", "nodad")
        else:
            _ip("address", "add", f"{address}/32", "dev", "lo")


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoPrivateNetwork("the program ip is missing (Debian: iproute2)") from error
    except subprocess.CalledProcessError as error:
        raise NoPrivateNetwork(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
