"""docs/troubleshooting.md names every check, and what it quotes is what the tracker says."""

import ast
import re
from pathlib import Path

import pytest

from torrust_py.selfcheck import Callers, Finding, findings
from torrust_py.selfcheck.findings import NEARLY_FULL

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
PACKAGE = ROOT / "torrust_py"
EXAMPLES = [
    findings.receive_buffer([("0.0.0.0:6969", 208 * 1024)]),
    findings.kernel_drops(1234),
    findings.file_limit(1024),
    findings.connection_tracking(255_000, 262_144),
    findings.ipv6(["[::]:6969"], has_ipv6=False),
    findings.interval(120, is_public=True),
    findings.known_token("0.0.0.0:1212", ["admin"], is_local=False),
    findings.clock(is_synchronised=False),
    findings.one_address(Callers(412, "127.0.0.1", True, 0), on_reverse_proxy=False),
    findings.one_address(Callers(412, "10.0.0.7", True, 0), on_reverse_proxy=True),
    findings.no_forwarded_address(Callers(0, "", False, 37)),
]

# What the page quotes, and the module that says it.
QUOTED = {
    "no configuration found, so ": "config/load.py",
    "cannot listen on ": "listeners.py",
    "another process, or service of this one, has this port": "listeners.py",
    "ports below 1024 need root or CAP_NET_BIND_SERVICE": "listeners.py",
    "no interface of this host has this address": "listeners.py",
    "this host has no IPv6: configure an IPv4 address": "listeners.py",
    "cannot open the database": "databases/sqlite.py",
    "Waiting for the database server": "databases/server.py",
    "cannot read the TLS ": "certificates.py",
    "cannot keep the snapshot": "app.py",
    "No access token is configured, so every request will be refused": "services.py",
    "unauthorized": "api/app.py",
    "token not valid": "api/app.py",
    "is not whitelisted": "core/errors.py",
    "Missing authentication key param for private tracker.": "core/errors.py",
    "Failed to read key": "core/errors.py",
    "Key has expired": "core/errors.py",
    "UDP is not safe for private trackers!": "app.py",
    "connection id could not be verified": "core/errors.py",
    "The secret of the UDP connection ids is not kept": "app.py",
    "is not written, an older one stays": "snapshots/keeper.py",
    "it is set aside as": "snapshots/keeper.py",
    "are not saved yet, next try in": "jobs.py",
    "A changed certificate is not taken up, the old one stays": "certificates.py",
    "lines were dropped, since nobody read them": "logs.py",
    "missing or invalid the right most X-Forwarded-For IP": "http/client_ip.py",
    "In the last minute: ": "jobs.py",
}


def checks() -> set[str]:
    """The names in the sources: of findings, with `udp` and `http` for the protocol."""
    names = set()
    for module in ("selfcheck/findings.py", "console/doors.py", "console/doctor.py"):
        source = (PACKAGE / module).read_text()
        names |= set(re.findall(r'\bname(?:, [a-z]+)? = f?"([^"]+)"', source))
        names |= set(re.findall(r'\bannounced, begun = f"([^"]+)"', source))
        names |= set(re.findall(r'(?:Finding|_failed)\(\s*f?"([^"]+)"', source))
    return {name.replace("{probe.name}", protocol) for name in names for protocol in ("udp", "http")} - {""}


def test_the_checks_are_found_in_the_sources() -> None:
    assert checks() >= {
        "receive-buffer",
        "clock",
        "udp-peers",
        "http-scrape",
        "certificate",
        "tracker",
        "api",
    }
    assert {example.check for example in EXAMPLES} <= checks()


@pytest.mark.parametrize("check", sorted(checks()))
def test_every_check_is_on_the_page(check: str) -> None:
    assert f"`{check}`" in PAGE


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.check)
def test_the_page_shows_the_line_of_each_cause(example: Finding) -> None:
    assert example.is_wrong
    assert f"\n```\n{example}\n```\n" in PAGE


def words(source: str) -> str:
    """All texts of a module, those in pieces joined, formats left out."""
    texts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(part.value for part in node.values if isinstance(part, ast.Constant)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize(("text", "module"), QUOTED.items())
def test_what_the_page_quotes_is_said(text: str, module: str) -> None:
    assert text in f"{' '.join(PAGE.split())} "
    assert text in words((PACKAGE / module).read_text())


def test_the_numbers_of_the_page_are_those_of_the_checks() -> None:
    assert f"from {NEARLY_FULL:.0%} on".replace("%", " %") in PAGE
    assert "below 10,512 files" in PAGE
    assert findings.file_limit(10_511).is_wrong
    assert not findings.file_limit(10_512).is_wrong
    assert f"from {findings.CROWD} announces in a minute" in PAGE
