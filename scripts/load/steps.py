"""The progress bar: what is being done, of how much."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """Drawn between steps only: the machine's cores are busy with what is measured."""

    def __init__(self, console: Console) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._progress.add_task("starting", total=0)
        self._total = 0

    def __enter__(self) -> "Steps":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, steps: int) -> None:
        """So many more are to come."""
        self._total += steps
        self._progress.update(self._task, total=self._total, refresh=True)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._progress.update(self._task, description=what, refresh=True)
        yield
        self._progress.advance(self._task)
