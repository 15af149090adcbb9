"""Faults of a host, made for one process: how it has to be started to see them."""

import shlex
import shutil
import subprocess
from pathlib import Path

from tests.skips import do_without

_NET = Path("/proc/sys/net")
_COPIED = ("core/rmem_max", "core/somaxconn", "ipv6/conf/all/disable_ipv6")


class ConnectionTracking:
    """A table of connection tracking, as full as the test says, in the place of the kernel's."""

    def __init__(self, directory: Path, *, count: int, most: int) -> None:
        """`directory` must be the test's own."""
        self._net = directory / "net"
        for name in _COPIED:
            if (_NET / name).exists():
                self._write(name, (_NET / name).read_text())
        self._write("netfilter/nf_conntrack_max", f"{most}\n")
        self.holds(count)
        if shutil.which("unshare") is None:
            do_without("unshare is missing (Debian: util-linux)")
        script = f'mount --bind {shlex.quote(str(self._net))} {_NET} && exec "$@"'
        self.prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
        """The program, and its arguments, that become a process which sees it. Needs root."""
        tried = subprocess.run([*self.prefix, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            do_without(f"another table cannot be shown to a process: {tried.stderr.strip()}")

    def holds(self, count: int) -> None:
        self._write("netfilter/nf_conntrack_count", f"{count}\n")

    def _write(self, name: str, content: str) -> None:
        file = self._net / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def library_of_clock(directory: Path, state: int) -> Path:
    """What adjtimex(2) says to a process that LD_PRELOADs it."""
    return _library(directory / "clock.c", f"int adjtimex(void *asked) {{ (void)asked; return {state}; }}\n")


def library_of_small_buffers(directory: Path, most: int) -> Path:
    """With it a process is granted receive buffers of `most` bytes, as if net.core.rmem_max said so."""
    return _library(
        directory / "buffers.c",
        f"""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <unistd.h>

        int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {{
            const int most = {most};
            if (level == SOL_SOCKET && name == SO_RCVBUFFORCE) {{
                errno = EPERM;
                return -1;
            }}
            if (level == SOL_SOCKET && name == SO_RCVBUF && *(const int *)value > most)
                value = &most;
            return syscall(SYS_setsockopt, fd, level, name, value, size);
        }}
        """,
    )


def _library(source: Path, code: str) -> Path:
    if shutil.which("gcc") is None:
        do_without("gcc is missing")
    source.write_text(code)
    library = source.with_suffix(".so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library
