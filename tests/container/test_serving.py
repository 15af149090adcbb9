"""A container as its users see it, from outside: what it serves, how it stops, what it keeps."""

import contextlib
import http.client
import json
import socket
import sys
import time
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tests.container.conftest import ETC, OUTSIDE, TOKEN, Container, Image, Run
from torrust_py.udp.packets import ConnectResponse, encode_connect_request, parse_response

pytestmark = pytest.mark.slow  # each starts a container

INFO_HASH = "9c38422213e30bff212b30c360d26f9a02136422"
ANOTHER = "3c38422213e30bff212b30c360d26f9a02136422"


def announce(container: Container, info_hash: str) -> tuple[int, bytes]:
    query = f"info_hash={quote_from_bytes(bytes.fromhex(info_hash))}&peer_id=-qB00000000000000001&port=17548"
    return container.get(7070, f"/announce?{query}&left=0&event=started")


def test_udp_is_answered_from_outside(served: Container) -> None:
    command = [
        sys.executable,
        "-m",
        "torrust_py.console.udp_client",
        "announce",
        f"{OUTSIDE}:6969",
        INFO_HASH,
    ]
    answer = json.loads(served.execute_outside(*command))
    assert answer["AnnounceIpv4"]["announce_interval"] == 300


def test_http_is_answered_from_outside(served: Container) -> None:
    status, body = announce(served, INFO_HASH)
    assert status == 200
    assert b"8:intervali300e" in body


def test_the_api_is_answered_from_outside_to_who_has_the_token(served: Container) -> None:
    status, body = served.get(1212, "/api/v1/stats?token=MyAccessToken")
    assert status == 200
    assert "torrents" in json.loads(body)
    assert served.get(1212, "/api/v1/stats?token=another")[0] != 200


def test_the_health_check_is_answered_inside(served: Container) -> None:
    status, body = served.get(1313, "/health_check", host="127.0.0.1")
    assert (status, json.loads(body)["status"]) == (200, "Ok")


def test_the_health_check_of_the_image_succeeds(served: Container, image: Image) -> None:
    shell, command = image.config["Healthcheck"]["Test"]
    assert shell == "CMD-SHELL"
    assert "STATUS: 200 OK" in served.execute("HEALTH_CHECK_API_PORT=1313", "sh", "-c", command)


def test_the_doctor_examines_it_inside(served: Container, image: Image) -> None:
    given = {**image.variables, TOKEN: "MyAccessToken"}  # `docker exec` gives a command what the tracker has
    variables = [f"{name}={value}" for name, value in given.items()]
    rows = json.loads(served.execute(*variables, "sh", "-c", "torrust-tracker doctor --json || test $? = 1"))
    of_doors = {(row["check"], row["result"]) for row in rows if row["at"]}
    assert {check for check, _ in of_doors} >= {"udp-announce", "http-peers", "api", "health-check"}
    assert {result for _, result in of_doors} == {"ok"}
    assert {row["result"] for row in rows if row["check"] == "known-token"} == {"warn"}


def test_it_runs_the_native_form(served: Container) -> None:
    served.wait_for_line("Data plane: native$")


def test_without_a_token_the_log_says_how_to_set_one(run: Run) -> None:
    container = run().wait_until_it_serves()
    assert TOKEN in container.output
    assert container.get(1212, "/api/v1/stats?token=")[0] != 200


def test_the_first_udp_answer_comes_within_5_seconds(run: Run) -> None:
    container = run(**{TOKEN: "MyAccessToken"})
    while container.process.poll() is None and time.monotonic() - container.started < 10:
        try:
            with container.socket(socket.SOCK_DGRAM, OUTSIDE, 6969) as client:
                client.settimeout(0.05)
                client.send(encode_connect_request(b"\0\0\0\1"))
                assert isinstance(parse_response(client.recv(2048)), ConnectResponse)
            break
        except OSError:  # not so far yet: no namespace, no address, no listener
            time.sleep(0.02)
    took = time.monotonic() - container.started
    print(f"first UDP answer after {took:.2f} s")
    assert took <= 5


@pytest.mark.clause("10.2.6")
@pytest.mark.parametrize("user", ["0:0", "1234:1234"])
def test_a_stop_is_clean(run: Run, user: str) -> None:
    container = run(user=user, **{TOKEN: "MyAccessToken"}).wait_until_it_serves()
    before = time.monotonic()
    assert container.stop() == 0
    assert time.monotonic() - before < 5
    assert "Traceback" not in container.output


def post(container: Container, path: str) -> int:
    """The status."""
    with contextlib.closing(http.client.HTTPConnection(OUTSIDE)) as connection:
        connection.sock = container.socket(socket.SOCK_STREAM, OUTSIDE, 1212)
        connection.request("POST", path)
        return connection.getresponse().status


def test_what_is_in_the_volumes_outlives_the_container(run: Run, volumes: dict[str, Path]) -> None:
    first = run(volumes=volumes, **{TOKEN: "MyAccessToken"}).wait_until_it_serves()
    assert post(first, f"/api/v1/whitelist/{INFO_HASH}?token=MyAccessToken") == 200
    assert first.stop() == 0
    document = volumes[ETC] / "tracker.toml"
    document.write_text(document.read_text().replace("\nlisted = false", "\nlisted = true"))
    second = run(volumes=volumes, **{TOKEN: "MyAccessToken"}).wait_until_it_serves()
    assert b"failure reason" not in announce(second, INFO_HASH)[1]
    assert b"failure reason" in announce(second, ANOTHER)[1]
