"""The health check API: what it reports of services that answer, and of services that do not."""

import gzip
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.network import NoPrivateNetwork, private_network
from tests.skips import do_without

pytestmark = pytest.mark.slow

Start = Callable[..., Any]  # a Daemon; test modules cannot import conftest.py
Configure = Callable[..., str]
Report = dict[str, Any]  # JSON

GOLDEN = Path(__file__).parents[1] / "api/golden/api.txt"

# What a service is called in the report, by the table that configures it.
INFOS = {
    "udp": "checking the udp tracker health check at: {0}",
    "http": "checking http tracker health check at: http://{0}/health_check",
    "api": "checking api health check at: http://{0}/api/health_check",
}
TABLES = {
    "udp": '[[udp_trackers]]\nbind_address = "{0}:0"',
    "http": '[[http_trackers]]\nbind_address = "{0}:0"',
    "api": '[http_api]\nbind_address = "{0}:0"\naccess_tokens = {{ admin = "MyAccessToken" }}',
}
HEALTH = '[health_check_api]\nbind_address = "127.0.0.1:0"'


def services(*names: str, host: str = "127.0.0.1") -> str:
    """The tables of these services and of the health check API."""
    return "\n".join([*(TABLES[name].format(host) for name in names), HEALTH])


def authority(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def report(daemon: Any) -> tuple[int, Report]:
    answer = daemon.request("health", "/health_check")
    assert answer.headers["Content-Type"] == "application/json"
    parsed: Report = json.loads(answer.body)
    return answer.status, parsed


# --- services that answer


@pytest.mark.clause("8.1.2", "8.2.1", "8.2.2", "8.2.4", "8.3.1", "8.3.2", "8.4.1", "8.4.2")
def test_the_report_is_torrusts(public: Any) -> None:
    """Recorded from Torrust with the same services; its ports aside, and in another order."""
    recorded = GOLDEN.read_text().partition("## health check API\n")[2]
    expected = recorded.partition("<\n< ")[2].partition("\n")[0]
    for service, port in {"udp": 26969, "http": 27070, "api": 21212}.items():
        for host, ipv6 in [("127.0.0.1", False), ("[::1]", True)]:
            if f"{host}:{port}" in expected:
                actual = authority(public.address(service, ipv6=ipv6))
                expected = expected.replace(f"{host}:{port}", actual)
    answer = public.request("health", "/health_check")
    order = [detail["info"] for detail in json.loads(answer.body)["details"]]
    torrusts = json.loads(expected)
    torrusts["details"].sort(key=lambda detail: order.index(detail["info"]))
    assert answer.text == json.dumps(torrusts, separators=(",", ":"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("service", "heard"),
    [
        pytest.param("api", "200 OK", marks=pytest.mark.clause("12.4.2")),
        pytest.param("http", "200 OK", marks=pytest.mark.clause("12.4.4")),
        pytest.param("udp", "Connected", marks=pytest.mark.clause("12.4.6")),
    ],
)
def test_a_service_that_answers_is_well(start: Start, configure: Configure, service: str, heard: str) -> None:
    daemon = start(configure(services=services(service)))
    address = authority(daemon.address(service))
    detail = {"binding": address, "info": INFOS[service].format(address), "result": {"Ok": heard}}
    assert report(daemon) == (200, {"status": "Ok", "message": "", "details": [detail]})


@pytest.mark.clause("8.2.3", "12.4.1")
def test_without_services_there_is_nothing_to_report(start: Start, configure: Configure) -> None:
    daemon = start(configure(services=HEALTH))
    answer = daemon.request("health", "/health_check")
    assert (answer.status, answer.headers["Content-Type"], answer.text) == (
        200,
        "application/json",
        '{"status":"None","message":"","details":[]}',
    )


@pytest.mark.clause("8.3.5")
def test_a_service_at_a_wildcard_address_is_asked_there(start: Start, configure: Configure) -> None:
    daemon = start(configure(services=services("udp", "http", "api", host="0.0.0.0")))
    _, parsed = report(daemon)
    results = {detail["info"]: detail["result"] for detail in parsed["details"]}
    ports = {service: daemon.address(service)[1] for service in INFOS}
    assert results == {
        INFOS["udp"].format(f"0.0.0.0:{ports['udp']}"): {"Ok": "Connected"},
        INFOS["http"].format(f"0.0.0.0:{ports['http']}"): {"Ok": "200 OK"},
        INFOS["api"].format(f"0.0.0.0:{ports['api']}"): {"Ok": "200 OK"},
    }


@pytest.mark.clause("8.1.1")
def test_the_root_is_an_empty_object(public: Any) -> None:
    answer = public.request("health", "/")
    assert (answer.status, answer.headers["Content-Type"], answer.text) == (200, "application/json", "{}")


@pytest.mark.clause("8.1.4")
def test_every_answer_has_a_request_id(public: Any) -> None:
    made = public.request("health", "/health_check").headers["x-request-id"]
    taken_over = public.request("health", "/", headers={"x-request-id": "mine"}).headers["x-request-id"]
    assert (str(uuid.UUID(made)), taken_over) == (made, "mine")


@pytest.mark.clause("8.1.5")
def test_the_report_is_compressed_for_those_who_accept_it(public: Any) -> None:
    answer = public.request("health", "/health_check", headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "accept-encoding")
    assert json.loads(gzip.decompress(answer.body))["status"] == "Ok"


# --- services that do not answer: in a network where their address can be taken away

ADDRESS = "10.9.0.2"


@pytest.fixture
def network() -> Iterator[None]:
    try:
        with private_network(ADDRESS):
            yield
    except NoPrivateNetwork as reason:
        do_without(str(reason))


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def take_the_address_away() -> None:
    """From now on there is no way to it."""
    ip("address", "del", f"{ADDRESS}/32", "dev", "lo")


def lose_what_is_sent_to_the_address() -> None:
    """From now on nothing answers there, nor says that nobody is there."""
    take_the_address_away()
    ip("route", "add", f"{ADDRESS}/32", "dev", "lo")


@pytest.mark.parametrize(
    ("service", "error"),
    [
        pytest.param(
            "api",
            "error sending request for url (http://{0}/api/health_check)",
            marks=pytest.mark.clause("8.2.5", "8.3.4", "12.4.3"),
        ),
        pytest.param(
            "http",
            "error sending request for url (http://{0}/health_check)",
            marks=pytest.mark.clause("8.2.5", "8.3.4", "12.4.5"),
        ),
        pytest.param("udp", "Timed Out", marks=pytest.mark.clause("8.2.5", "8.4.4", "12.4.7")),
    ],
)
@pytest.mark.clause("B.2.3")
def test_a_service_that_no_longer_answers_is_an_error(
    network: None, start: Start, configure: Configure, service: str, error: str
) -> None:
    daemon = start(configure(services=services(service, host=ADDRESS)))
    assert report(daemon)[1]["status"] == "Ok"
    lose_what_is_sent_to_the_address()
    address = authority(daemon.address(service))
    detail = {
        "binding": address,
        "info": INFOS[service].format(address),
        "result": {"Err": error.format(address)},
    }
    expected = {"status": "Error", "message": "health check failed", "details": [detail]}
    assert report(daemon) == (503, expected)


@pytest.mark.clause("11.2.5")
@pytest.mark.clause("8.1.3", "8.2.5")
def test_one_service_that_cannot_be_reached_makes_the_whole_an_error(
    network: None, start: Start, configure: Configure
) -> None:
    tables = [TABLES["http"].format(ADDRESS), services("udp", "api")]
    daemon = start(configure(services="\n".join(tables)))
    take_the_address_away()
    status, parsed = report(daemon)
    assert (status, parsed["status"], parsed["message"]) == (503, "Error", "health check failed")
    gone = f"http://{authority(daemon.address('http'))}/health_check"
    results = sorted(str(detail["result"]) for detail in parsed["details"])
    assert results == [
        str({"Err": f"error sending request for url ({gone})"}),
        str({"Ok": "200 OK"}),
        str({"Ok": "Connected"}),
    ]


@pytest.mark.clause("8.1.3", "10.1.6")
def test_a_container_whose_tracker_does_not_answer_is_not_healthy(
    network: None, start: Start, configure: Configure
) -> None:
    """What its HEALTHCHECK runs then exits with 1."""
    daemon = start(configure(services=services("http", host=ADDRESS)))
    url = f"http://{authority(daemon.address('health'))}/health_check"
    program = [sys.executable, "-m", "torrust_py.console.health_check", url]
    assert subprocess.run(program, check=False).returncode == 0
    take_the_address_away()
    assert subprocess.run(program, check=False).returncode == 1


@pytest.mark.clause("8.4.6")
def test_a_udp_tracker_to_which_there_is_no_way_is_an_error(
    network: None, start: Start, configure: Configure
) -> None:
    daemon = start(configure(services=services("udp", host=ADDRESS)))
    take_the_address_away()
    status, parsed = report(daemon)
    assert (status, parsed["details"][0]["result"]) == (503, {"Err": "[Errno 101] Network is unreachable"})


@pytest.mark.clause("8.3.6", "8.3.7")
def test_silent_services_are_given_up_together_after_two_seconds(
    network: None, start: Start, configure: Configure
) -> None:
    daemon = start(configure(services=services("udp", "http", "api", host=ADDRESS)))
    lose_what_is_sent_to_the_address()
    before = time.monotonic()
    _, parsed = report(daemon)
    assert ["Err" in detail["result"] for detail in parsed["details"]] == [True] * 3
    assert 1.9 < time.monotonic() - before < 5.5  # one after the other takes six


@pytest.mark.clause("8.2.6")
def test_a_udp_and_an_http_tracker_at_one_port_are_both_asked(
    network: None, start: Start, configure: Configure
) -> None:
    daemon = start(configure(services=services("udp", "http").replace("127.0.0.1:0", "127.0.0.1:6969", 2)))
    _, parsed = report(daemon)
    assert sorted(detail["info"] for detail in parsed["details"]) == [
        INFOS["http"].format("127.0.0.1:6969"),
        INFOS["udp"].format("127.0.0.1:6969"),
    ]


@pytest.mark.clause("8.1.6")
def test_without_a_table_of_its_own_it_runs_at_port_1313(
    network: None, start: Start, configure: Configure
) -> None:
    daemon = start(configure(services=TABLES["udp"].format("127.0.0.1")))
    assert daemon.address("health") == ("127.0.0.1", 1313)
    assert report(daemon)[0] == 200
