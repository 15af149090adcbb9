"""`torrust-tracker doctor`: what hurts, or will hurt, the tracker of this configuration."""

import asyncio
import json
import os
import shutil
import socket
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import click

from torrust_py.config import Config, ConfigError, load_config
from torrust_py.listeners import buffers_of, enlarge_receive_buffer, raise_file_limit
from torrust_py.selfcheck import Finding, open_file_limit, read_host, start_findings, udp_receive_buffers

_NOT_RUNNING = "nobody listens at the addresses of this configuration: only the host was checked"
_COLUMNS = ("Result", "Check", "At", "Detail", "Remedy")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}
_GAP = 2  # between columns
_NARROWEST = 24
_WIDTH = 140
"""Of a table that is not printed on a terminal."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
def doctor(*, as_json: bool) -> None:
    """Check configuration, host and the tracker that runs, with the remedy of each fault.

    It reads the configuration as the daemon does (see torrust-tracker --help), makes the checks of the start,
    and, if the tracker runs, asks each of its services as a client from outside would: over UDP and HTTP,
    IPv4 and IPv6, by the rules of lists of public trackers (newTrackon). Run it on the tracker's host or
    in its container, as root or as the tracker's user.

    The exit status is 0 if nothing is wrong, 1 if anything is `warn` or `fail`, 2 for a wrong argument.
    `unknown` is what cannot be found out from here; it is not wrong.
    """
    try:
        config = load_config(os.environ, Path.cwd()).config
    except ConfigError as error:
        print(f"torrust-tracker: {error}", file=sys.stderr)
        sys.exit(1)
    findings = _examine(config)
    if as_json:
        print(json.dumps([_row(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        _print_table(findings)
    sys.exit(1 if any(finding.is_wrong for finding in findings) else 0)


def _examine(config: Config) -> list[Finding]:
    from torrust_py.console.doors import check_doors, runs  # late: --help does without

    host = read_host()
    findings = list(
        start_findings(config, host, receive_buffers=_receive_buffers(config), files=_file_limit(config))
    )
    if not runs(config, has_ipv6=host.has_ipv6):
        return [*findings, Finding("tracker", "unknown", _NOT_RUNNING)]
    return findings + asyncio.run(check_doors(config, has_ipv6=host.has_ipv6))


def _receive_buffers(config: Config) -> list[tuple[str, int]]:
    """What each UDP socket was granted; without one that can be looked at, what this user would be."""
    if config.core.private or not config.udp_trackers:
        return []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        enlarge_receive_buffer(tried)
        granted = buffers_of(tried).receive
    running = udp_receive_buffers()
    addresses = [tracker.bind_address for tracker in config.udp_trackers]
    return [(str(address), running.get(address.port, granted)) for address in addresses]


def _file_limit(config: Config) -> int:
    """That of the tracker that runs; without one that can be looked at, this user's."""
    running = open_file_limit(config.health_check_api.bind_address.port)
    return raise_file_limit() if running is None else running


def _row(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "at": finding.at,
        "result": finding.result,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


def _print_table(findings: Sequence[Finding]) -> None:
    for line in table_lines(findings, shutil.get_terminal_size((_WIDTH, 0)).columns):
        click.echo(line)
    wrong = sum(finding.is_wrong for finding in findings)
    click.echo(
        f"\n{wrong} of {len(findings)} checks found something wrong." if wrong else "\nNothing is wrong."
    )


def table_lines(findings: Sequence[Finding], width: int) -> Iterator[str]:
    """A line for each row, or several where detail and remedy need them; the result is coloured."""
    rows = [
        (finding.result, finding.check, finding.at, finding.detail, finding.remedy) for finding in findings
    ]
    fixed = [max(map(len, column)) for column in list(zip(_COLUMNS, *rows, strict=True))[:3]]
    rest = max(_NARROWEST, (width - sum(fixed) - _GAP * (len(_COLUMNS) - 1)) // 2)
    widths = [*fixed, rest, rest]
    yield _joined(_COLUMNS, widths)
    yield "─" * (sum(widths) + _GAP * (len(_COLUMNS) - 1))
    for row in rows:
        cells = [_wrapped(text, size) for text, size in zip(row, widths, strict=True)]
        first, *others = zip_longest(*cells, fillvalue="")
        result = row[0]
        yield click.style(result, fg=_COLOURS[result]) + _joined(first, widths)[len(result) :]
        yield from (_joined(other, widths) for other in others)


def _wrapped(text: str, width: int) -> list[str]:
    """Names of options stay whole, so that they can be copied."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return (" " * _GAP).join(padded).rstrip()
