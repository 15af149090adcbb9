"""`torrust-tracker doctor` beside a daemon of the same configuration, in a network of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.network import NoPrivateNetwork, private_network
from tests.hosts import ConnectionTracking, library_of_clock
from tests.skips import do_without

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]
Row = dict[str, str]

WELL = "[core.announce_policy]\ninterval = 300"
HOST = {
    "receive-buffer",
    "file-limit",
    "connection-tracking",
    "ipv6-off",
    "interval",
    "known-token",
    "clock",
}
"""Checks of the host and the configuration."""
PER_UDP_TRACKER = ["udp-announce", "udp-interval", "udp-peers", "udp-scrape", "udp-connection-id"]
PER_HTTP_TRACKER = ["http-announce", "http-interval", "http-peers", "http-scrape"]


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """Ports are free in it, whatever else this host runs."""
    try:
        with private_network("203.0.113.5", "2001:db8::5"):
            yield
    except NoPrivateNetwork as error:
        do_without(str(error))


def services(
    udp: str = "0.0.0.0:6969", http: str = "0.0.0.0:7070", tls: tuple[Path, Path] | None = None
) -> str:
    files = ""
    if tls is not None:
        files = f'tsl_config = {{ ssl_cert_path = "{tls[0]}", ssl_key_path = "{tls[1]}" }}'
    return f"""
        [[udp_trackers]]
        bind_address = "{udp}"
        [[http_trackers]]
        bind_address = "{http}"
        {files}
        [http_api]
        bind_address = "127.0.0.1:1212"
        access_tokens = {{ admin = "MyAccessToken" }}
        [health_check_api]
        bind_address = "127.0.0.1:1313"
    """


def doctor(
    config: str | None, directory: Path, *arguments: str, prefix: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TORRUST")}
    given = {} if config is None else {"TORRUST_TRACKER_CONFIG_TOML": config}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "torrust_py", "doctor", *arguments],
        cwd=directory, env={**inherited, **given, **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def examine(config: str, directory: Path) -> list[Row]:
    """The rows of all but the host, of whose state this test knows nothing."""
    done = doctor(config, directory, "--json")
    assert done.stderr == ""
    rows: list[Row] = json.loads(done.stdout)
    assert all(row.keys() == {"check", "at", "result", "detail", "remedy"} for row in rows)
    wrong = [row for row in rows if row["result"] in ("warn", "fail")]
    assert all(row["remedy"] for row in wrong)
    assert done.returncode == bool(wrong)
    return [row for row in rows if row["check"] not in HOST]


def at(rows: list[Row], address: str) -> dict[str, Row]:
    return {row["check"]: row for row in rows if row["at"] == address}


def test_a_tracker_that_is_well_is_asked_everything_at_each_door(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    config = configure(WELL, services(udp="[::]:6969", http="[::]:7070"))
    daemon = start(config)
    rows = examine(config, tmp_path)
    assert [row for row in rows if row["result"] != "ok"] == []
    for host in ("127.0.0.1", "[::1]"):
        assert list(at(rows, f"udp://{host}:6969")) == PER_UDP_TRACKER
        assert list(at(rows, f"http://{host}:7070")) == PER_HTTP_TRACKER
        assert at(rows, f"udp://{host}:6969")["udp-peers"]["detail"].endswith(f" alone, {host}:6881")
    assert list(at(rows, "http://127.0.0.1:1212")) == ["api"]
    assert list(at(rows, "http://127.0.0.1:1313/health_check")) == ["health-check"]
    stats = daemon.stats()
    assert (stats["seeders"], stats["leechers"]) == (0, 0)  # nobody is left behind
    assert (stats["udp4_scrapes_handled"], stats["tcp6_scrapes_handled"]) == (1, 1)


def test_an_address_of_the_host_is_asked_there(start: Start, configure: Configure, tmp_path: Path) -> None:
    config = configure(
        f"{WELL}\n[core.net]\nexternal_ip = '198.51.100.1'",
        services("203.0.113.5:6969", "[2001:db8::5]:7070"),
    )
    start(config)
    rows = examine(config, tmp_path)
    assert {row["result"] for row in rows} == {"ok"}
    assert list(at(rows, "udp://203.0.113.5:6969")) == PER_UDP_TRACKER
    assert list(at(rows, "http://[2001:db8::5]:7070")) == PER_HTTP_TRACKER


def test_peers_on_loopback_are_handed_out_at_the_external_address(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    config = configure(
        f"{WELL}\n[core.net]\nexternal_ip = '198.51.100.1'", services("[::]:6969", "[::]:7070")
    )
    start(config)
    rows = examine(config, tmp_path)
    assert {row["result"] for row in rows} == {"ok"}
    assert "198.51.100.1:6881" in at(rows, "http://[::1]:7070")["http-peers"]["detail"]


def test_refusals_that_the_configuration_asks_for_are_well(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    for core in ({"listed": True}, {"private": True}):
        config = configure(WELL, services(), **core)
        daemon = start(config)
        rows = examine(config, tmp_path)
        assert {row["result"] for row in rows} == {"ok"}
        announce = at(rows, "http://127.0.0.1:7070")["http-announce"]
        assert announce["detail"].endswith(f", as core.{next(iter(core))} asks")
        assert ("udp://127.0.0.1:6969" in {row["at"] for row in rows}) == ("listed" in core)
        assert daemon.stop() == 0


def test_behind_a_proxy_it_asks_as_the_proxy_does(start: Start, configure: Configure, tmp_path: Path) -> None:
    config = configure(f"{WELL}\n[core.net]\non_reverse_proxy = true", services())
    start(config)
    rows = examine(config, tmp_path)
    assert {row["result"] for row in rows} == {"ok"}
    assert list(at(rows, "http://127.0.0.1:7070")) == ["http-forwarded", *PER_HTTP_TRACKER]


def test_a_certificate_that_ends_soon_is_told(
    start: Start, configure: Configure, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    config = configure(WELL, services(tls=certificate))
    start(config)
    of_tls = at(examine(config, tmp_path), "https://127.0.0.1:7070")
    assert list(of_tls) == ["certificate", *PER_HTTP_TRACKER]
    assert (of_tls["certificate"]["result"], of_tls["certificate"]["detail"]) == ("warn", "it ends in 1 days")
    assert [of_tls[name]["result"] for name in PER_HTTP_TRACKER] == ["ok"] * 4


def test_a_tracker_that_does_not_run_is_said_and_no_fault(configure: Configure, tmp_path: Path) -> None:
    [row] = examine(configure(WELL, services()), tmp_path)
    assert (row["check"], row["result"]) == ("tracker", "unknown")
    assert row["detail"].endswith("only the host was checked")


def test_a_door_at_which_nobody_answers_is_a_fault(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    start(configure(WELL, services()))
    rows = examine(configure(WELL, services("127.0.0.1:6970", "127.0.0.1:7071")), tmp_path)
    assert at(rows, "udp://127.0.0.1:6970")["udp-announce"] == {
        "check": "udp-announce",
        "at": "udp://127.0.0.1:6970",
        "result": "fail",
        "detail": "Connection refused",
        "remedy": "see that the tracker runs with this configuration, and that no firewall drops 6970/udp",
    }
    assert at(rows, "http://127.0.0.1:7071")["http-announce"]["detail"] == "Connection refused"


def test_a_tracker_of_another_configuration_is_a_fault(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    start(configure(WELL, services(), listed=True))
    rows = examine(configure(WELL, services()), tmp_path)
    announce = at(rows, "udp://127.0.0.1:6969")["udp-announce"]
    assert announce["result"] == "fail"
    assert "is not whitelisted" in announce["detail"]
    assert announce["remedy"].startswith("restart the tracker")


def test_an_interval_of_another_configuration_is_a_fault(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    start(configure("[core.announce_policy]\ninterval = 400", services()))
    rows = examine(configure(WELL, services()), tmp_path)
    assert at(rows, "http://127.0.0.1:7070")["http-interval"]["detail"] == (
        "clients are told 400 s, and core.announce_policy.interval is 300 s"
    )


def test_the_host_is_checked(configure: Configure, tmp_path: Path) -> None:
    config = configure(services=services().replace("127.0.0.1:1212", "0.0.0.0:1212"))
    done = doctor(config, tmp_path, "--json")
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert HOST | {"tracker"} == set(rows)
    assert {rows[name]["result"] for name in ("interval", "known-token")} == {"warn"}
    assert done.returncode == 1
    assert "MyAccessToken" not in done.stdout


def test_a_host_that_is_not_well_is_told(configure: Configure, tmp_path: Path) -> None:
    """Its clock is not kept, its table of connection tracking is full, and no process may open many files."""
    table = ConnectionTracking(tmp_path, count=1000, most=1000)
    clock = library_of_clock(tmp_path, state=5)  # TIME_ERROR, adjtimex(2)
    prefix = (*table.prefix, "prlimit", "--nofile=1024:1024")
    done = doctor(configure(WELL, services()), tmp_path, "--json", prefix=prefix, LD_PRELOAD=str(clock))
    wrong = {row["check"]: row["detail"] for row in json.loads(done.stdout) if row["result"] == "warn"}
    assert wrong["clock"].startswith("the clock of this host is not synchronised")
    assert wrong["connection-tracking"].startswith("1000 of 1000 entries of the kernel's table are taken")
    assert wrong["file-limit"].startswith("at most 1024 files may be open")
    assert done.returncode == 1


def test_a_table_is_printed(configure: Configure, tmp_path: Path) -> None:
    done = doctor(configure(services=services()), tmp_path)
    assert "core.announce_policy.interval" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("found something wrong.")


def test_without_a_configuration_it_says_what_the_daemon_does(tmp_path: Path) -> None:
    done = doctor(None, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("torrust-tracker: no configuration found, so ")


def test_another_argument_is_an_error(tmp_path: Path) -> None:
    assert doctor(None, tmp_path, "--jsn").returncode == 2


def test_what_the_tracker_was_granted_is_told_and_not_what_this_user_would_be(
    start: Start, configure: Configure, tmp_path: Path
) -> None:
    config = configure(WELL, services())
    limited = (
        "prlimit",
        "--nofile=1000:1000",
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
    )
    daemon = start(config, prefix=limited)
    rows = {row["check"]: row for row in json.loads(doctor(config, tmp_path, "--json").stdout)}
    assert "at most 1000 files may be open" in rows["file-limit"]["detail"]
    granted = daemon.wait_for_line(r"Receive buffer of 0\.0\.0\.0:6969: (\d+) KiB").split()[-2]
    assert f"{granted} KiB" in rows["receive-buffer"]["detail"]
