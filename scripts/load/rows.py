"""Results as rows: judged, shown as tables, and written for docs/benchmarks.md."""

import datetime
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from servers import ROOT

TIMES = "\N{MULTIPLICATION SIGN}"

_WIDTH = 170  # where the output is no terminal


class Verdict(Enum):
    REACHED = "reached"
    MISSED = "missed"
    NOT_JUDGED = ""
    NOT_MEASURED = "not measured"


class Row(NamedTuple):
    """One result: a value for each round, of which the median counts."""

    what: str
    values: Sequence[float]
    unit: str = ""
    limit: float | None = None
    """The most that the median may be."""
    reason: str = ""
    """Why there are no values."""

    @property
    def verdict(self) -> Verdict:
        if not self.values:
            return Verdict.NOT_MEASURED
        if self.limit is None:
            return Verdict.NOT_JUDGED
        return Verdict.REACHED if statistics.median(self.values) <= self.limit else Verdict.MISSED

    @property
    def text(self) -> str:
        if not self.values:
            return f"not measured: {self.reason}"
        return f"{spread(self.values)} {self.unit}".rstrip()


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the most of several values."""
    median = number(statistics.median(values))
    return f"{median} [{number(min(values))}-{number(max(values))}]" if len(values) > 1 else median


def number(value: float) -> str:
    """With three digits or more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"


@dataclass(slots=True)
class Report:
    console: Console
    rows: list[Row] = field(default_factory=list)
    measured: list[Table] = field(default_factory=list)

    def add(self, what: str, values: Sequence[float], unit: str = "", limit: float | None = None) -> None:
        self.rows.append(Row(what, values, unit, limit))

    def add_missing(self, what: str, reason: str) -> None:
        self.rows.append(Row(what, (), reason=reason))

    @property
    def missed(self) -> bool:
        return any(row.verdict is Verdict.MISSED for row in self.rows)

    def show(self) -> None:
        for table in self.measured:
            self.console.print(table)
        table = Table(
            "What", "Median [least-most]", "At most", "Verdict", title="Results", title_justify="left"
        )
        for row in self.rows:
            limit = "" if row.limit is None else f"{number(row.limit)} {row.unit}"
            style = "red" if row.verdict is Verdict.MISSED else None
            table.add_row(row.what, row.text, limit, row.verdict.value, style=style)
        self.console.print(table)

    def write_markdown(self) -> None:
        """Rows of the table in docs/benchmarks.md, and the line about the machine below it."""
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        how = f"`{_command()}` at {_commit()}, {python()}"
        for row in self.rows:
            if row.values:
                print(f"| {date} | {row.what} | | {row.text} | {how}, {_rounds(len(row.values))} |")
        print(f"\nMachine: {machine()}.")


def terminal() -> Console:
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=_WIDTH)


def machine() -> str:
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return f"{os.cpu_count()} cores, {' + '.join(sorted(names))}, {platform.system()} {platform.release()}"


def python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _rounds(count: int) -> str:
    return "one run" if count == 1 else f"median [least-most] of {count} rounds"


def _command() -> str:
    return shlex.join(["scripts/benchmark", *sys.argv[1:]])


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "no commit"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode != 0
    return head.stdout.strip() + (" with changes" if changed else "")
