"""The tables of `docs/metrics.md`: every metric and every reason, made from the catalogue.

Write them anew with `python -m tests.metrics.reference`.
"""

import re
from pathlib import Path

from torrust_py.core.statistics import Reason
from torrust_py.metrics.catalogue import BINDING, FAMILY, GROUPS, Metric
from torrust_py.metrics.families import HTTP_ONLY, UDP_ONLY

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

REASONS = {
    Reason.BAD_CONNECTION_ID: "the client was not issued this connection id, or 5 to 10 minutes ago",
    Reason.NOT_WHITELISTED: "the tracker is listed, and does not list this torrent",
    Reason.BLACKLISTED: "the operator has taken the torrent down",
    Reason.KEY_MISSING: "the tracker is private, and the path holds no key",
    Reason.KEY_UNKNOWN: "there is no such key",
    Reason.KEY_EXPIRED: "the key has expired",
    Reason.NO_FORWARDED_ADDRESS: "`core.net.on_reverse_proxy` is on, and there is no `X-Forwarded-For`",
    Reason.NOT_FOUND: "there is nothing at this path",
    Reason.METHOD_NOT_ALLOWED: "neither GET nor HEAD",
    Reason.BAD_PACKET: "no packet of BEP 15",
    Reason.BAD_PARAMETERS: "a query that lacks what it needs, or has what cannot be",
    Reason.BAD_KEY: "a text that cannot be a key",
    Reason.NOT_HTTP: "no HTTP/1.0 or 1.1",
    Reason.TOO_LARGE: "a head of over 8 KiB, a body of over 64 KiB",
    Reason.TOO_SLOW: "a request that was not complete within 10 seconds",
    Reason.BUDGET_SPENT: "over 1,000 malformed datagrams in one second",
    Reason.NO_MEMORY: "there was no memory for it",
    Reason.INTERNAL_ERROR: "the tracker failed; the log has the traceback",
}


def _over(reason: Reason) -> str:
    if reason in UDP_ONLY:
        return "UDP"
    return "HTTP" if reason in HTTP_ONLY else "both"


def _row(metric: Metric) -> str:
    labels = [label for label in metric.labels if label not in (*BINDING, FAMILY)]
    if FAMILY in metric.labels:
        labels.insert(0, "listener, family")
    elif BINDING[0] in metric.labels:
        labels.insert(0, "listener")
    shown = ", ".join(label if "listener" in label else f"`{label}`" for label in labels)
    return f"| `{metric.name}` | {metric.kind} | {shown} | {metric.help} | {metric.watch} |"


def _table(name: str) -> list[str]:
    if name in GROUPS:
        head = ["| Metric | Kind | Labels | Meaning | Alert on |", "|---|---|---|---|---|"]
        return [*head, *map(_row, GROUPS[name])]
    assert name == "Reasons", name
    rows = [
        f"| `{reason.name.lower()}` | `{reason.fate.value}` | {_over(reason)} | {REASONS[reason]} |"
        for reason in Reason
    ]
    return ["| Reason | Outcome | Over | Meaning |", "|---|---|---|---|", *rows]


_TABLE = re.compile(r"(<!-- made by tests/metrics/reference\.py: (.+?) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def with_tables(page: str) -> str:
    """The page with its tables made anew; what stands around them is left as it is."""
    return _TABLE.sub(
        lambda match: "".join((match[1], *(f"{line}\n" for line in _table(match[2])), match[3])), page
    )


def tables(page: str) -> list[str]:
    """The names of the tables that the page has."""
    return [name for _, name, _ in _TABLE.findall(page)]


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
