"""What /api/v1/metrics says of what clients have done; with promtool, of Debian's package prometheus."""

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from torrust_py.core.statistics import Reason
from torrust_py.http.server import REQUEST_S
from torrust_py.metrics.catalogue import CATALOGUE
from torrust_py.udp.handler import MALFORMED_ANSWERS_PER_SECOND
from torrust_py.udp.packets import encode_connect_request

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Configure = Callable[..., str]
Labels = frozenset[tuple[str, str]]

NEVER_AT_THE_DOOR = {Reason.NO_MEMORY, Reason.INTERNAL_ERROR}
"""tests/udp, tests/http and tests/contract/test_host_faults.py see to these."""


def metrics(daemon: Any) -> dict[tuple[str, Labels], float]:
    answer = daemon.call("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def together(daemon: Any, name: str, **labels: str) -> float:
    """The sum over all samples of this name that have these labels."""
    found = [
        value
        for (one, its_labels), value in metrics(daemon).items()
        if one == name and its_labels >= frozenset(labels.items())
    ]
    assert found, f"there is no {name} with {labels}"
    return sum(found)


# --- the formats


def test_promtool_finds_nothing(public: Any) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install Debian's package prometheus"
    text = public.call("GET", "/metrics").body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_openmetrics_is_spoken_to_who_asks_for_it(public: Any) -> None:
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = public.call("GET", "/metrics", headers=headers)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")
    assert answer.text.count("# EOF") == 1


def test_a_bearer_token_admits_as_prometheus_sends_it(public: Any) -> None:
    headers = {"Authorization": "Bearer MyAccessToken"}
    assert public.call("GET", "/metrics", token=None, headers=headers).status == 200
    assert public.call("GET", "/metrics", token=None).text.endswith('{ reason: "unauthorized" }')


def test_every_metric_of_the_catalogue_is_there_and_no_other(
    start: Start, configure: Configure, tmp_path: Any
) -> None:
    kept = "[core.tracker_policy]\npersistent_torrent_completed_stat = true"
    core = f'{kept}\n[core.snapshot]\npath = "{tmp_path}/swarms"'
    daemon = start(configure(core))
    daemon.stop()
    daemon = start(configure(core))  # now it has a snapshot
    names = {name for name, _ in metrics(daemon) if not name.startswith(("process_", "python_"))}
    endings = {"histogram": ("_bucket", "_sum", "_count")}
    expected = {
        f"{metric.name}{ending}"
        for metric in CATALOGUE.values()
        for ending in endings.get(metric.kind, ("",))
    }
    # Within its first second it may not yet have looked whether all counters are saved.
    not_yet = {"torrust_tracker_completed_unsaved", "torrust_tracker_completed_saved_age_seconds"}
    assert names | not_yet == expected
    helps = {
        family.name: family.documentation
        for family in text_string_to_metric_families(daemon.call("GET", "/metrics").text)
    }
    for metric in CATALOGUE.values():
        shown = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        if metric.name not in not_yet:
            assert helps[shown] == metric.help


def test_json_and_text_say_the_same(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    with daemon.conversation() as client:
        client.announce(b"\1" * 20, 6881)
    answer = daemon.call("GET", "/metrics?format=json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    in_json: dict[tuple[str, Labels], float] = {}
    for metric in json.loads(answer.body)["metrics"]:
        assert metric.keys() == {"type", "name", "unit", "description", "samples"}
        for sample in metric["samples"]:
            labels = {label["name"]: label["value"] for label in sample["labels"]}
            if metric["type"] == "histogram":
                for ending in ("count", "sum"):
                    in_json[f"{metric['name']}_{ending}", frozenset(labels.items())] = sample[ending]
                for bucket in sample["buckets"]:
                    its_labels = frozenset((labels | {"le": bucket["le"]}).items())
                    in_json[f"{metric['name']}_bucket", its_labels] = bucket["value"]
            else:
                in_json[metric["name"], frozenset(labels.items())] = sample["value"]
    in_text = metrics(daemon)
    assert in_json.keys() == in_text.keys()
    moving = ("process_", "torrust_tracker_event_loop", "torrust_tracker_memory", "torrust_tracker_completed")
    differ = {name for name, labels in in_text if in_text[name, labels] != in_json[name, labels]}
    assert {name for name in differ if not name.startswith(moving)} == set()


# --- what clients do


def test_a_handled_request_is_seen_under_all_its_names(public: Any, info_hash: bytes) -> None:
    bound = {"server_binding_protocol": "udp", "server_binding_ip": "127.0.0.1", "server_binding_port": str(
        public.address("udp")[1]
    ), "client_address_ip_family": "inet"}  # fmt: skip
    names = (
        ("torrust_tracker_requests_total", {"outcome": "announce"}),
        ("udp_tracker_server_requests_received_total", {}),
        ("udp_tracker_server_requests_accepted_total", {"request_kind": "announce"}),
        ("udp_tracker_core_requests_received_total", {"request_kind": "announce"}),
        ("udp_tracker_server_responses_sent_total", {"result": "ok"}),
    )
    with public.conversation() as client:
        assert client.connection_id
        before = [together(public, name, **bound, **labels) for name, labels in names]
        client.announce(info_hash, 6881)
        after = [together(public, name, **bound, **labels) for name, labels in names]
    assert [now - was for now, was in zip(after, before, strict=True)] == [1] * len(names)


def test_listeners_are_told_apart(start: Start, configure: Configure, info_hash: bytes) -> None:
    daemon = start(configure(services=TWO_EACH))
    with daemon.conversation(number=1) as client:
        client.announce(info_hash, 6881)
    daemon.announce(info_hash)
    counted = {
        (dict(labels)["server_binding_protocol"], dict(labels)["server_binding_port"]): value
        for (name, labels), value in metrics(daemon).items()
        if name == "torrust_tracker_requests_total" and ("outcome", "announce") in labels
    }
    ports = {service: [daemon.address(service, number=number)[1] for number in (0, 1)]
             for service in ("udp", "http")}  # fmt: skip
    assert counted == {
        ("udp", str(ports["udp"][0])): 0,
        ("udp", str(ports["udp"][1])): 1,
        ("http", str(ports["http"][0])): 1,
        ("http", str(ports["http"][1])): 0,
    }
    stats = daemon.stats()
    assert (stats["udp4_announces_handled"], stats["tcp4_announces_handled"]) == (1, 1)


TWO_EACH = """
[[udp_trackers]]
bind_address = "127.0.0.1:0"
[[udp_trackers]]
bind_address = "127.0.0.1:0"
[[http_trackers]]
bind_address = "127.0.0.1:0"
[[http_trackers]]
bind_address = "127.0.0.1:0"
[http_api]
bind_address = "127.0.0.1:0"
[http_api.access_tokens]
admin = "MyAccessToken"
[health_check_api]
bind_address = "127.0.0.1:0"
"""


def test_without_usage_statistics_nothing_counts_requests(start: Start, configure: Configure) -> None:
    daemon = start(configure("tracker_usage_statistics = false"))
    names = {name for name, _ in metrics(daemon)}
    assert "swarm_coordination_registry_torrents" in names
    assert not [name for name in names if "request" in name or "responses_sent" in name]


def test_swarms_limits_and_connections_are_gauges(start: Start, configure: Configure) -> None:
    daemon = start(configure("[core.limits]\nmax_torrents = 4\nmax_peers = 0\nmax_peers_per_torrent = 1"))
    with daemon.conversation() as client:
        for number in range(2):
            client.announce(bytes([number]) * 20, 6881)
        client.announce(bytes(20), 6882, left=1)  # takes the place of the first
    assert together(daemon, "swarm_coordination_registry_torrents") == 2
    assert together(daemon, "swarm_coordination_registry_peer_connections", peer_role="seeder") == 1
    assert together(daemon, "swarm_coordination_registry_peer_connections", peer_role="leecher") == 1
    assert together(daemon, "torrust_tracker_limit", limit="max_torrents") == 4
    assert together(daemon, "torrust_tracker_limit_used_ratio", limit="max_torrents") == 0.5
    assert together(daemon, "torrust_tracker_limit_felt_total", effect="peer_replaced") == 1
    assert not [labels for name, labels in metrics(daemon) if ("limit", "max_peers") in labels]
    with socket.create_connection(daemon.address("http")):
        daemon.announce(b"\7" * 20)  # when it is answered, the other is accepted, too
        assert together(daemon, "torrust_tracker_http_connections") in (0, 1)  # native: once something came


def test_some_requests_are_timed_over_each_protocol(start: Start, configure: Configure) -> None:
    daemon = start(configure())
    name = "torrust_tracker_request_duration_seconds_count"
    with daemon.conversation() as client:
        for number in range(200):
            client.announce(b"\1" * 20, 1000 + number)
    for number in range(130):
        daemon.announce(b"\1" * 20, port=1000 + number)
    timed = {
        protocol: together(daemon, name, server_binding_protocol=protocol) for protocol in ("udp", "http")
    }
    assert timed["udp"] in (3, 6)  # one in 64 turns, or in 32: the portable, or the native form
    assert timed["http"] == 2


# --- reasons


class Case(NamedTuple):
    daemon: str
    """The fixture of that name."""
    provoke: Callable[[Any, bytes], None]
    protocol: str
    reason: Reason


def expired_key(daemon: Any) -> str:
    added = json.loads(daemon.call("POST", "/key/0").body)
    return str(added["key"])


def garbage(daemon: Any, info_hash: bytes) -> None:
    with daemon.udp() as client:
        client.send(b"hello")
        client.recv(2048)


def flood(daemon: Any, info_hash: bytes) -> None:
    """More in a second than are answered, also on a slow machine."""
    with daemon.udp() as client:
        for _ in range(20 * MALFORMED_ANSWERS_PER_SECOND):
            with contextlib.suppress(BlockingIOError):
                client.send(b"hello")
        client.settimeout(1)
        while True:  # until nothing of it waits any more; a full buffer may have no room for the question
            client.send(encode_connect_request(b"last"))
            with contextlib.suppress(TimeoutError):
                while client.recv(2048)[4:8] != b"last":
                    pass
                return


def udp_announce(daemon: Any, info_hash: bytes, **options: Any) -> None:
    with daemon.conversation() as client:
        client.announce(info_hash, 6881, **options)


def taken_down(daemon: Any, info_hash: bytes) -> Any:
    """The daemon, which refuses this torrent from now on."""
    assert daemon.api(f"blacklist/{info_hash.hex()}", method="POST")[0] == 200
    return daemon


def too_slow(daemon: Any, info_hash: bytes) -> None:
    with socket.create_connection(daemon.address("http"), timeout=3 * REQUEST_S) as client:
        client.sendall(b"GET /announce HTTP/1.1\r\n")
        assert client.recv(2048).startswith(b"HTTP/1.1 408 ")


CASES = [
    Case("public", lambda d, h: udp_announce(d, h, connection_id=bytes(8)), "udp", Reason.BAD_CONNECTION_ID),
    Case("listed", udp_announce, "udp", Reason.NOT_WHITELISTED),
    Case("public", garbage, "udp", Reason.BAD_PACKET),
    Case("public", flood, "udp", Reason.BUDGET_SPENT),
    Case("listed", lambda d, h: d.announce(h), "http", Reason.NOT_WHITELISTED),
    Case("public", lambda d, h: udp_announce(taken_down(d, h), h), "udp", Reason.BLACKLISTED),
    Case("public", lambda d, h: taken_down(d, h).announce(h), "http", Reason.BLACKLISTED),
    Case("private", lambda d, h: d.announce(h), "http", Reason.KEY_MISSING),
    Case("private", lambda d, h: d.announce(h, key="a" * 32), "http", Reason.KEY_UNKNOWN),
    Case("private", lambda d, h: d.announce(h, key=expired_key(d)), "http", Reason.KEY_EXPIRED),
    Case("proxied", lambda d, h: d.announce(h), "http", Reason.NO_FORWARDED_ADDRESS),
    Case("public", lambda d, h: d.get("http", "/nothing"), "http", Reason.NOT_FOUND),
    Case("public", lambda d, h: d.announce(h, method="POST"), "http", Reason.METHOD_NOT_ALLOWED),
    Case("public", lambda d, h: d.announce(h, port="x"), "http", Reason.BAD_PARAMETERS),
    Case("private", lambda d, h: d.announce(h, key="short"), "http", Reason.BAD_KEY),
    Case("public", lambda d, h: d.exchange("http", b"hello\r\n\r\n"), "http", Reason.NOT_HTTP),
    Case("public", lambda d, h: d.get("http", "/" + 9000 * "a"), "http", Reason.TOO_LARGE),
    Case("public", too_slow, "http", Reason.TOO_SLOW),
]


def test_each_reason_is_provoked_here_or_elsewhere() -> None:
    assert {case.reason for case in CASES} | NEVER_AT_THE_DOOR == set(Reason)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.reason.name.lower()} over {case.protocol}")
def test_a_request_that_is_not_handled_is_counted_by_its_reason(
    request: pytest.FixtureRequest, info_hash: bytes, case: Case
) -> None:
    daemon = request.getfixturevalue(case.daemon)
    before, by_fate = _reasons(daemon, case.protocol), _fates(daemon, case.protocol)
    case.provoke(daemon, info_hash)
    after = _reasons(daemon, case.protocol)
    moved = {reason for reason, count in after.items() if count != before[reason]}
    assert case.reason.name.lower() in moved
    if case.reason is not Reason.BUDGET_SPENT:
        assert {reason: after[reason] - before[reason] for reason in moved} == {case.reason.name.lower(): 1}
        fates = _fates(daemon, case.protocol)
        assert {fate: fates[fate] - by_fate[fate] for fate in fates if fates[fate] != by_fate[fate]} == {
            case.reason.fate.value: 1
        }


def test_the_reasons_of_a_listener_add_up_to_its_requests(public: Any, info_hash: bytes) -> None:
    garbage(public, info_hash)
    udp_announce(public, info_hash)
    seen = metrics(public)
    totals: dict[Labels, float] = {}
    for (name, labels), value in seen.items():
        if name == "torrust_tracker_requests_unhandled_total":
            rest = frozenset(label for label in labels if label[0] != "reason")
            totals[rest] = totals.get(rest, 0) + value
    assert totals
    assert totals == {labels: seen["torrust_tracker_requests_total", labels] for labels in totals}


def _reasons(daemon: Any, protocol: str) -> dict[str, float]:
    return _by(daemon, "torrust_tracker_requests_unhandled_total", protocol, "reason")


def _fates(daemon: Any, protocol: str) -> dict[str, float]:
    fates = _by(daemon, "torrust_tracker_requests_total", protocol, "outcome")
    return {fate: fates[fate] for fate in ("refused", "malformed", "dropped")}


def _by(daemon: Any, name: str, protocol: str, label: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for (one, labels), value in metrics(daemon).items():
        if one == name and ("server_binding_protocol", protocol) in labels:
            sums[dict(labels)[label]] = sums.get(dict(labels)[label], 0) + value
    return sums
