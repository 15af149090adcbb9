"""Child processes that leave nothing behind, and that show their logs when a test fails."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_POLL = 0.05  # seconds
_SHOWN = 6_000  # characters at the end of a log


def wait_until(condition: Callable[[], bool], *, within: float, what: str) -> None:
    """Return once `condition` holds; AssertionError that says `what` if it does not `within` some seconds.

    It asks again and again, because the clients offer no event to wait for.
    """
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(_POLL)


class Program:
    """A child process whose output goes to the file `log`, its standard input being a pipe."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                # Not the environment of the tests: it may name a proxy.
                env={"PATH": os.environ["PATH"], "HOME": str(log.parent), **environment},
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, *, within: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        return self._process.wait(within)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextmanager
def running(
    command: list[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Start a program; kill it at the end if it still runs.

    It runs in the directory of its log. An error that passes takes the end of the log with it.
    """
    program = Program(command, log, environment or {})
    try:
        yield program
    except BaseException as error:
        state = "ended" if program.has_ended() else "running"
        error.add_note(f"--- {log.name} ({command[0]}, {state}):\n{program.log()[-_SHOWN:]}")
        raise
    finally:
        program.kill()


@contextmanager
def paused(*programs: Program) -> Iterator[None]:
    """Let programs stand still, so that they do not notice what happens meanwhile."""
    for program in programs:
        program.signal(signal.SIGSTOP)
    yield
    for program in programs:
        program.signal(signal.SIGCONT)
