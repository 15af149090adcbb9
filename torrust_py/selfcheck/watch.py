"""What is looked at again and again while the tracker runs."""

from collections.abc import Callable
from typing import Protocol

from torrust_py.selfcheck import findings
from torrust_py.selfcheck.findings import Callers, Finding

REPEAT_S = 3600.0
"""A line for a cause that lasts, or comes again, is not repeated before."""


class ReadCallers(Protocol):
    """Who has announced over HTTP since the last call."""

    def __call__(self) -> Callers: ...


class Watch:
    """Tells what is wrong when it begins, and while it lasts once in REPEAT_S."""

    def __init__(
        self,
        *,
        read_conntrack: Callable[[], tuple[int | None, int | None]],
        read_kernel_drops: Callable[[], int],
        read_callers: ReadCallers,
        on_reverse_proxy: bool,
    ) -> None:
        self._read_conntrack = read_conntrack
        self._read_kernel_drops = read_kernel_drops
        self._read_callers = read_callers
        self._on_reverse_proxy = on_reverse_proxy
        self._drops = read_kernel_drops()
        self._told: dict[str, float] = {}

    def was_told(self, check: str, now: float) -> None:
        """It is in the log already, and need not be again so soon."""
        self._told[check] = now

    def news(self, now: float) -> list[Finding]:
        """What is to be told now; `now` is the monotonic clock in seconds."""
        news = [
            finding
            for finding in self._look()
            if finding.is_wrong and now - self._told.get(finding.check, -REPEAT_S) >= REPEAT_S
        ]
        for finding in news:
            self._told[finding.check] = now
        return news

    def _look(self) -> list[Finding]:
        callers = self._read_callers()
        drops = self._read_kernel_drops()
        since, self._drops = drops - self._drops, drops
        return [
            findings.connection_tracking(*self._read_conntrack()),
            findings.kernel_drops(since),
            findings.one_address(callers, on_reverse_proxy=self._on_reverse_proxy),
            findings.no_forwarded_address(callers),
        ]
