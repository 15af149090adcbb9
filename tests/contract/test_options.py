"""Each option does what it says, seen at the doors of a running tracker."""

import json
import re
import socket
import sqlite3
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import bencodepy
import pytest

from tests.ports import free_port
from torrust_py.udp.packets import AnnounceResponse, encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]

HEALTH = '[health_check_api]\nbind_address = "127.0.0.1:0"'
PASS = r"INFO torrust_tracker::bootstrap::jobs::torrent_cleanup: Cleaned up torrents in: \d+ms$"
EXTERNAL = '[core.net]\nexternal_ip = "203.0.113.7"'
KEEP_ALL = "[core.tracker_policy]\nremove_peerless_torrents = false"


def target(info_hash: bytes, port: int, *, numwant: int | None = None, key: str = "") -> str:
    wanted = "" if numwant is None else f"&numwant={numwant}"
    return (
        f"/announce{key}?info_hash={quote_from_bytes(info_hash)}&peer_id=-qB00000000000000001"
        f"&port={port}&left=0&compact=1{wanted}"
    )


def announce(
    daemon: Any, info_hash: bytes, port: int, *, headers: dict[str, str] | None = None, **others: Any
) -> dict[bytes, Any]:
    """What the HTTP tracker answers to an announce."""
    answer = daemon.request("http", target(info_hash, port, **others), headers=headers)
    return dict(bencodepy.decode(answer.body))


def announce_over_udp(daemon: Any, info_hash: bytes, port: int, **others: Any) -> AnnounceResponse:
    with daemon.conversation() as client:
        response = client.announce(info_hash, port, **others)
    assert isinstance(response, AnnounceResponse)
    return response


def fill(daemon: Any, info_hash: bytes, peers: int) -> None:
    """Let so many peers announce."""
    with daemon.conversation() as client:
        for port in range(1, peers + 1):
            client.announce(info_hash, port, num_want=0)


def endpoint(address: str, port: int) -> bytes:
    return socket.inet_aton(address) + port.to_bytes(2)


def levels(lines: list[str]) -> set[str]:
    return {match[1] for line in lines if (match := re.match(r"\S+Z +([A-Z]+) ", line))}


# --- logging


@pytest.mark.clause("1.6.1", "2.1.4")
@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ("off", set()),
        ("error", {"ERROR"}),
        ("warn", {"ERROR", "WARN"}),
        ("info", {"ERROR", "WARN", "INFO"}),
        ("debug", {"ERROR", "WARN", "INFO", "DEBUG"}),
        ("trace", {"ERROR", "WARN", "INFO", "DEBUG"}),
    ],
)
def test_the_threshold_decides_which_lines_are_printed(
    launch: Start, configure: Configure, threshold: str, expected: set[str]
) -> None:
    address = "127.0.0.1", free_port()
    services = f'[http_api]\nbind_address = "127.0.0.1:{address[1]}"\n{HEALTH}'
    daemon = launch(configure(services=services).replace('"info"', f'"{threshold}"'))
    assert b" 500 " in answer_of(daemon, address, b"GET /api/v1/stats HTTP/1.0\r\n\r\n")
    assert b" 200 " in answer_of(daemon, address, b"GET /api/health_check HTTP/1.0\r\n\r\n")
    assert daemon.stop() == 0
    assert levels(daemon.lines) == expected
    assert len(daemon.lines) == 2 or threshold != "off"


def answer_of(daemon: Any, address: tuple[str, int], request: bytes) -> bytes:
    """What comes back once something listens there: without a log no line tells when."""
    while daemon.process.poll() is None:
        try:
            with socket.create_connection(address, 10) as client:
                client.sendall(request)
                return client.recv(10_000)
        except ConnectionRefusedError:
            continue
    raise AssertionError(daemon.errors())


# --- what clients are told


@pytest.mark.clause("2.2.1", "2.2.2")
def test_clients_are_told_the_intervals(start: Start, configure: Configure, info_hash: bytes) -> None:
    daemon = start(configure("[core.announce_policy]\ninterval = 1111\ninterval_min = 2222"))
    answer = announce(daemon, info_hash, 1)
    assert (answer[b"interval"], answer[b"min interval"]) == (1111, 2222)
    assert announce_over_udp(daemon, info_hash, 2).interval == 1111


@pytest.mark.clause("2.2.1", "2.2.2")
def test_clients_are_told_120_seconds_unless_configured(public: Any, info_hash: bytes) -> None:
    answer = announce(public, info_hash, 1)
    assert (answer[b"interval"], answer[b"min interval"]) == (120, 120)
    assert announce_over_udp(public, info_hash, 2).interval == 120


@pytest.mark.clause("2.2.3")
def test_a_client_that_comes_before_the_interval_is_served(public: Any, info_hash: bytes) -> None:
    first, second = announce(public, info_hash, 1), announce(public, info_hash, 1)
    assert first == second
    assert second[b"complete"] == 1


@pytest.mark.clause("2.5.1")
def test_an_answer_has_at_most_the_configured_number_of_peers(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    daemon = start(configure("[core.announce_policy]\nmax_peers_per_announce = 3"))
    fill(daemon, info_hash, 10)
    assert len(announce(daemon, info_hash, 11, numwant=50)[b"peers"]) == 3 * 6
    assert len(announce_over_udp(daemon, info_hash, 12, left=1, num_want=50).peers) == 3 * 6


@pytest.mark.clause("2.5.1")
def test_an_answer_has_at_most_74_peers_unless_configured(public: Any, info_hash: bytes) -> None:
    fill(public, info_hash, 80)
    assert len(announce(public, info_hash, 81, numwant=200)[b"peers"]) == 74 * 6
    assert len(announce_over_udp(public, info_hash, 82, left=1, num_want=200).peers) == 74 * 6


# --- the database


@pytest.mark.clause("2.2.4", "2.2.5", "1.5.3")
@pytest.mark.parametrize(
    ("option", "place"),
    [
        ('path = "./kept/tracker.db"', "kept/tracker.db"),
        ('driver = "sqlite3"\npath = "./kept/tracker.db"', "kept/tracker.db"),
        ("", "storage/tracker/lib/database/sqlite3.db"),
    ],
)
def test_the_database_is_the_file_at_its_path(
    start: Start, configure: Configure, tmp_path: Path, option: str, place: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    daemon = start(configure(listed=True).replace('path = "sqlite3.db"', option))
    assert daemon.api(f"whitelist/{'07' * 20}", method="POST")[0] == 200
    with sqlite3.connect(tmp_path / place) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert database.execute("SELECT info_hash FROM whitelist").fetchall() == [("07" * 20,)]
    database.close()
    assert tables >= {"keys", "torrents", "whitelist"}


# --- what is forgotten


@pytest.mark.clause("2.2.6", "1.5.12")
def test_a_cleanup_interval_of_zero_is_no_cleanup(
    start: Start, configure: Configure, tmp_path: Path, info_hash: bytes
) -> None:
    policy = "[core.tracker_policy]\nmax_peer_timeout = 0"
    other = configure(f"inactive_peer_cleanup_interval = 1\n{policy}").replace("sqlite3.db", "other.db")
    never = start(configure(f"inactive_peer_cleanup_interval = 0\n{policy}"))
    each_second = start(other)
    for daemon in (never, each_second):
        announce(daemon, info_hash, 1)
    each_second.wait_for_line(PASS, times=len(passes(each_second)) + 3)
    assert each_second.stats()["seeders"] == 0
    assert never.stats()["seeders"] == 1
    assert passes(never) == []
    assert never.stop() == 0
    assert not [line for line in never.lines if "torrent cleanup job" in line]


@pytest.mark.clause("2.2.6", "2.2.7", "1.6.15")
def test_a_peer_goes_when_its_timeout_has_passed(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    core = "inactive_peer_cleanup_interval = 1\n[core.tracker_policy]\nmax_peer_timeout = 2"
    daemon = start(configure(core))
    announce(daemon, info_hash, 1)
    done = len(passes(daemon))
    for count in range(done + 1, done + 10):
        daemon.wait_for_line(PASS, times=count)
        if daemon.stats()["seeders"] == 0:
            break
    assert daemon.torrent(info_hash) == "torrent not known"
    assert count - done > 2  # the passes of the time in which it had to stay


@pytest.mark.clause("2.2.7")
def test_a_peer_stays_until_its_timeout_has_passed(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    daemon = start(configure("inactive_peer_cleanup_interval = 1"))
    announce(daemon, info_hash, 1)
    daemon.wait_for_line(PASS, times=len(passes(daemon)) + 2)
    assert daemon.torrent(info_hash)["seeders"] == 1


@pytest.mark.clause("2.2.8")
@pytest.mark.parametrize(("option", "torrents"), [("true", 0), ("false", 1)])
def test_a_torrent_without_peers_goes_or_stays(
    start: Start, configure: Configure, info_hash: bytes, option: str, torrents: int
) -> None:
    core = (
        "inactive_peer_cleanup_interval = 1\n[core.tracker_policy]\nmax_peer_timeout = 0\n"
        f"remove_peerless_torrents = {option}"
    )
    daemon = start(configure(core))
    announce(daemon, info_hash, 1)
    daemon.wait_for_line(PASS, times=len(passes(daemon)) + 3)
    stats = daemon.stats()
    assert (stats["torrents"], stats["seeders"]) == (torrents, 0)


def passes(daemon: Any) -> list[str]:
    return [line for line in daemon.lines if re.search(PASS, line)]


# --- limits


@pytest.mark.clause("2.5.2")
def test_no_more_torrents_are_remembered_than_allowed(start: Start, configure: Configure) -> None:
    daemon = start(configure("[core.limits]\nmax_torrents = 5"))
    daemon.wait_for_line(r"Limits \(0 is none\): max_torrents 5, max_peers [1-9]\d+, max_peers_per_torrent 0")
    for number in range(20):
        fill(daemon, number.to_bytes(20), 1)
    assert daemon.stats()["torrents"] == 5


@pytest.mark.clause("2.5.2")
@pytest.mark.parametrize("option", ["max_peers", "max_peers_per_torrent"])
def test_no_more_peers_are_remembered_than_allowed(
    start: Start, configure: Configure, info_hash: bytes, option: str
) -> None:
    daemon = start(configure(f"[core.limits]\n{option} = 5"))
    fill(daemon, info_hash, 20)
    assert daemon.torrent(info_hash)["seeders"] == 5


@pytest.mark.clause("2.5.2")
def test_a_limit_of_peers_per_torrent_is_each_torrents_own(start: Start, configure: Configure) -> None:
    daemon = start(configure("[core.limits]\nmax_peers_per_torrent = 5"))
    for number in range(2):
        fill(daemon, number.to_bytes(20), 20)
    assert daemon.stats()["seeders"] == 10


# --- whose address a peer has


@pytest.mark.clause("2.2.10")
def test_peers_on_the_trackers_host_get_its_external_address(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    daemon = start(configure(EXTERNAL))
    announce(daemon, info_hash, 1)
    assert announce(daemon, info_hash, 2)[b"peers"] == endpoint("203.0.113.7", 1)
    assert announce_over_udp(daemon, info_hash, 1, left=1).peers == endpoint("203.0.113.7", 2)


@pytest.mark.clause("2.2.10")
@pytest.mark.parametrize("option", ["", '[core.net]\nexternal_ip = "0.0.0.0"'])
def test_without_an_external_address_peers_keep_theirs(
    start: Start, configure: Configure, info_hash: bytes, option: str
) -> None:
    daemon = start(configure(option))
    announce(daemon, info_hash, 1)
    assert announce(daemon, info_hash, 2)[b"peers"] == endpoint("127.0.0.1", 1)


@pytest.mark.clause("2.2.11")
def test_behind_a_proxy_a_client_is_known_by_its_header(proxied: Any, info_hash: bytes) -> None:
    assert b"failure reason" in announce(proxied, info_hash, 1)
    announce(proxied, info_hash, 1, headers={"X-Forwarded-For": "198.51.100.7"})
    answer = announce(proxied, info_hash, 2, headers={"X-Forwarded-For": "198.51.100.8"})
    assert answer[b"peers"] == endpoint("198.51.100.7", 1)


@pytest.mark.clause("2.2.11")
def test_without_a_proxy_the_header_is_ignored(public: Any, info_hash: bytes) -> None:
    announce(public, info_hash, 1, headers={"X-Forwarded-For": "198.51.100.7"})
    answer = announce(public, info_hash, 2, headers={"X-Forwarded-For": "198.51.100.8"})
    assert answer[b"peers"] == endpoint("127.0.0.1", 1)


@pytest.mark.clause("2.2.11")
def test_the_proxy_option_does_not_change_udp(proxied: Any, info_hash: bytes) -> None:
    announce_over_udp(proxied, info_hash, 1)
    assert announce_over_udp(proxied, info_hash, 2, left=1).peers == endpoint("127.0.0.1", 1)


# --- who may announce, and what


@pytest.mark.clause("2.2.9")
def test_a_listed_tracker_serves_the_whitelist_only(listed: Any, info_hash: bytes) -> None:
    assert b"not whitelisted" in announce(listed, info_hash, 1)[b"failure reason"]
    assert listed.api(f"whitelist/{info_hash.hex()}", method="POST")[0] == 200
    assert announce(listed, info_hash, 1)[b"complete"] == 1


@pytest.mark.clause("2.2.12")
def test_a_private_tracker_serves_who_has_a_key_only(private: Any, info_hash: bytes) -> None:
    assert b"failure reason" in announce(private, info_hash, 1)
    key = json.loads(private.api("keys", method="POST", body={"key": None, "seconds_valid": 3600})[1])["key"]
    assert announce(private, info_hash, 1, key=f"/{key}")[b"complete"] == 1
    assert not [line for line in private.lines if "UDP TRACKER: Start" in line]


@pytest.mark.clause("2.2.9", "2.2.12")
def test_a_public_tracker_serves_everybody(public: Any, info_hash: bytes) -> None:
    assert announce(public, info_hash, 1)[b"complete"] == 1


@pytest.mark.clause("2.2.13")
@pytest.mark.parametrize(
    ("option", "is_served"),
    [
        ("", False),
        ("[core.private_mode]", False),
        ("[core.private_mode]\ncheck_keys_expiration = true", False),
        ("[core.private_mode]\ncheck_keys_expiration = false", True),
    ],
)
def test_an_expired_key_counts_only_where_it_is_not_checked(
    start: Start, configure: Configure, tmp_path: Path, info_hash: bytes, option: str, *, is_served: bool
) -> None:
    key = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
    with sqlite3.connect(tmp_path / "sqlite3.db") as database:
        database.execute(
            "CREATE TABLE keys (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, "
            "valid_until INTEGER)"
        )
        database.execute("INSERT INTO keys (key, valid_until) VALUES (?, 1000000000)", (key,))
    database.close()
    daemon = start(configure(option, private=True))
    assert (b"failure reason" not in announce(daemon, info_hash, 1, key=f"/{key}")) == is_served
    assert b"failure reason" in announce(daemon, info_hash, 1, key=f"/{key[::-1]}")


# --- services


@pytest.mark.clause("2.3.1", "2.3.2", "2.3.3", "2.3.6", "2.3.8")
def test_each_service_listens_at_its_address_and_nowhere_else(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    services = f"""
        [[udp_trackers]]
        bind_address = "127.0.0.2:{free_port()}"
        [[udp_trackers]]
        bind_address = "127.0.0.3:{free_port()}"
        [[http_trackers]]
        bind_address = "127.0.0.4:{free_port()}"
        [[http_trackers]]
        bind_address = "127.0.0.5:{free_port()}"
        [http_api]
        bind_address = "127.0.0.6:{free_port()}"
        access_tokens = {{ admin = "MyAccessToken" }}
        [health_check_api]
        bind_address = "127.0.0.7:{free_port()}"
    """
    daemon = start(configure(services=services))
    hosts = [daemon.address(service, number=number) for service, number in PLACES]
    assert [host for host, _ in hosts] == [f"127.0.0.{last}" for last in range(2, 8)]
    for number in (0, 1):
        with daemon.conversation(number=number) as client:
            assert isinstance(client.announce(info_hash, number + 1), AnnounceResponse)
    for number in (0, 1):
        assert b"8:completei2e" in get(daemon.address("http", number=number), target(info_hash, 1))
    assert daemon.stats()["torrents"] == 1
    assert daemon.get("health", "/health_check")[0] == 200
    for _, port in hosts[2:]:
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


@pytest.mark.clause("2.3.11")
def test_an_ipv4_mapped_address_serves_ipv4(start: Start, configure: Configure, info_hash: bytes) -> None:
    services = f"""
        [[udp_trackers]]
        bind_address = "[::ffff:127.0.0.1]:0"
        [[http_trackers]]
        bind_address = "[::ffff:127.0.0.1]:0"
        {HEALTH}
    """
    daemon = start(configure(services=services))
    ports = {service: daemon.address(service, ipv6=True)[1] for service in ("udp", "http")}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", ports["udp"]))
        client.send(encode_connect_request(b"abcd"))
        assert len(client.recv(100)) == 16
    get(("127.0.0.1", ports["http"]), target(info_hash, 1))
    assert endpoint("127.0.0.1", 1) in get(("127.0.0.1", ports["http"]), target(info_hash, 2))
    assert daemon.get("health", "/health_check")[0] == 200


PLACES = [("udp", 0), ("udp", 1), ("http", 0), ("http", 1), ("api", 0), ("health", 0)]


def get(address: tuple[str, int], path: str) -> bytes:
    with socket.create_connection(address, 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(10_000), b""))


@pytest.mark.clause("2.3.4", "2.4.2")
@pytest.mark.parametrize("spelling", ["tsl_config", "tls_config"])
def test_tls_is_spoken_where_its_table_stands(
    start: Start,
    configure: Configure,
    certificate: tuple[Path, Path],
    client_tls: ssl.SSLContext,
    spelling: str,
) -> None:
    services = f"""
        [[http_trackers]]
        bind_address = "127.0.0.1:0"
        [[http_trackers]]
        bind_address = "127.0.0.1:0"
        [http_trackers.{spelling}]
        ssl_cert_path = "{certificate[0]}"
        ssl_key_path = "{certificate[1]}"
        [http_api]
        bind_address = "127.0.0.1:0"
        {HEALTH}
    """
    daemon = start(configure(services=services))
    assert daemon.get("http", "/health_check") == (200, b'{"status":"Ok"}')
    assert daemon.get("api", "/api/health_check")[0] == 200
    host, port = daemon.address("http", number=1)
    daemon.wait_for_line(f"HTTP TRACKER: Started on: https://{host}:{port}$")
    with (
        socket.create_connection((host, port), 10) as plain,
        client_tls.wrap_socket(plain, server_hostname=host) as client,
    ):
        client.sendall(b"GET /health_check HTTP/1.0\r\n\r\n")
        assert client.recv(10_000).endswith(b'{"status":"Ok"}')


@pytest.mark.clause("2.3.7")
def test_every_token_opens_the_api_and_no_label_does(start: Start, configure: Configure) -> None:
    services = f"""
        [http_api]
        bind_address = "127.0.0.1:0"
        [http_api.access_tokens]
        admin = "MyAccessToken"
        other = "AnotherToken"
        {HEALTH}
    """
    daemon = start(configure(services=services))
    statuses = {
        token: daemon.get("api", f"/api/v1/whitelist/reload?token={token}")[0]
        for token in ("MyAccessToken", "AnotherToken", "admin", "other", "")
    }
    assert statuses == {"MyAccessToken": 200, "AnotherToken": 200, "admin": 500, "other": 500, "": 500}


@pytest.mark.clause("2.3.7")
@pytest.mark.parametrize("table", ["", "[http_api.access_tokens]"])
def test_without_a_token_the_api_refuses_everything(start: Start, configure: Configure, table: str) -> None:
    services = f'[http_api]\nbind_address = "127.0.0.1:0"\n{table}\n{HEALTH}'
    daemon = start(configure(services=services))
    for query in ("", "?token=", "?token=MyAccessToken"):
        assert daemon.get("api", f"/api/v1/stats{query}")[0] == 500
    daemon.wait_for_line("WARN API: .*TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN")


@pytest.mark.clause("2.3.5", "2.3.9")
def test_services_without_a_table_are_not_started(start: Start, configure: Configure) -> None:
    daemon = start(configure(services=HEALTH))
    started = [line for line in daemon.lines if "Started on" in line]
    assert len(started) == 1
    assert "HEALTH CHECK API: Started on: http://127.0.0.1:" in started[0]


# --- what is not there


@pytest.mark.clause("1.2.20", "2.4.1", "2.4.3")
def test_unknown_options_and_variables_change_nothing(
    start: Start, configure: Configure, info_hash: bytes
) -> None:
    foreign = """
        [tracker]
        api_url = "http://tracker:1212"
        [auth]
        user_claim_token_pepper = "MaxVerstappenWC2021"
    """
    document = configure("unknown = 5\n[core.more]\nunknown = 5") + foreign
    flat = (
        'log_level = "off"\nmode = "private"\ndb_driver = "MySQL"\nannounce_interval = 77\n'
        'external_ip = "203.0.113.7"\non_reverse_proxy = true\ntracker_usage_statistics = false\n'
    )
    daemon = start(
        flat + document.replace("127.0.0.1:0", '127.0.0.1:0"\nenabled = false\nssl_enabled = true\nx = "', 3),
        TORRUST_TRACKER_CONFIG="x",
        TORRUST_TRACKER_PATH_CONFIG="./x.toml",
        TORRUST_TRACKER_DATABASE="mysql",
        TORRUST_TRACKER_API_ADMIN_TOKEN="AnotherToken",
    )
    announce(daemon, info_hash, 1)
    answer = announce(daemon, info_hash, 2)
    assert (answer[b"interval"], answer[b"peers"]) == (120, endpoint("127.0.0.1", 1))
    assert daemon.stats()["tcp4_announces_handled"] == 2
    assert daemon.get("api", "/api/v1/stats?token=AnotherToken")[0] == 500
