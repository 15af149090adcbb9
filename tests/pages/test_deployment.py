"""docs/deployment.md and compose.yaml, word by word: in containers, and as a service of systemd."""

import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.machine import Ended, Machine, wait_for
from tests.pages.pages import ROOT, Command, blocks, command
from tests.pages.test_readme import pip_cache

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = "docs/deployment.md"
KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"
COMPOSE_STATS = "curl -s 'http://127.0.0.1:1212/api/v1/stats?token={}'"

TORRUSTS_COMPOSE = """
name: torrust
services:
  tracker:
    image: torrust-tracker:release
    tty: true
    environment:
      - USER_ID=${USER_ID:-1000}
      - TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER=${TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER:-mysql}
      - TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=${TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN:-MyAccessToken}
    networks: [server_side]
    ports: ["6969:6969/udp", "7070:7070", "1212:1212"]
    volumes:
      - ./storage/tracker/lib:/var/lib/torrust/tracker:Z
      - ./storage/tracker/log:/var/log/torrust/tracker:Z
      - ./storage/tracker/etc:/etc/torrust/tracker:Z
    depends_on: [mysql]
  mysql:
    image: mariadb:11.4
    environment:
      - MYSQL_ROOT_HOST=%
      - MYSQL_ROOT_PASSWORD=root_secret_password
      - MYSQL_DATABASE=torrust_tracker
      - MYSQL_USER=db_user
      - MYSQL_PASSWORD=db_user_secret_password
    networks: [server_side]
    ports: ["3306:3306"]
    volumes: ["mysql_data:/var/lib/mysql"]
networks:
  server_side: {}
volumes:
  mysql_data: {}
"""  # noqa: E501  a line of YAML is one value
"""What Torrust's own says, but for the database's image (MySQL 8.0 there)."""


def follow(machine: Machine, shown: Command, directory: str, **variables: str) -> str:
    """What it prints; it must succeed, and print what the page shows of it."""
    done = machine.run(shown.text, directory=directory, variables=variables)
    assert done.status == 0, done.output + machine.run("journalctl --no-pager --lines 30").output
    expected = re.escape(shown.output.strip().replace("-888840697", "NUMBER")).replace(r",\ \.\.\.", ",")
    assert re.search(expected.replace("NUMBER", r"-?\d+"), done.output), done.output
    return done.output


def wait_for_health(machine: Machine, container: str) -> None:
    """What its image asks says that it is well."""
    wait_for(
        lambda: machine.run(f"docker healthcheck run {container}").status == 0,
        60,
        lambda: machine.run(f"docker logs {container}").output,
    )


# --- containers


def test_a_container(host_of_containers: Machine) -> None:
    machine, clone = host_of_containers, host_of_containers.clone("torrust_py")
    follow(machine, command(PAGE, "docker build --tag"), clone)
    follow(machine, command(PAGE, "docker run --detach --name tracker"), clone)
    wait_for_health(machine, "tracker")
    follow(machine, command(PAGE, "docker exec tracker udp_tracker_client"), clone)
    follow(machine, command(PAGE, "curl -s "), clone)
    follow(machine, command(PAGE, "docker exec tracker http_health_check"), clone)
    doctor = command("docs/troubleshooting.md", "docker exec tracker torrust-tracker doctor")
    assert "ok      udp-announce" in machine.run(doctor.text, directory=clone).output
    assert machine.run("docker stop tracker").status == 0
    assert machine.run("docker inspect --format '{{.State.ExitCode}}' tracker").output == "0\n"


def test_the_container_of_the_readme(host_of_containers: Machine) -> None:
    machine, clone = host_of_containers, host_of_containers.clone("torrust_py")
    follow(machine, command("README.md", "docker build --tag"), clone)
    with machine.serving(command("README.md", "docker run --publish").text, directory=clone):
        assert machine.run(command(PAGE, "curl -s ").text).output.startswith('{"torrents":0,')
    without = command("README.md", "docker run --publish").text.replace("ACCESS_TOKENS__ADMIN=", "X=")
    warning = blocks(PAGE)[0].strip().removeprefix("WARN ")
    with machine.serving(without, directory=clone) as log:
        assert warning in log.read_text()


def test_a_container_without_root(host_of_containers: Machine) -> None:
    machine, clone = host_of_containers, host_of_containers.clone("torrust_py")
    machine.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n')
    run = command(PAGE, "docker run --user 1234:1234")
    machine.run("mkdir -p storage/lib storage/etc", directory=clone)
    refused = machine.run(run.text, directory=clone)
    assert refused.status != 0
    shown = blocks(PAGE)[1].splitlines()
    assert len(shown) == 3
    assert [line for line in shown if line not in refused.output] == []
    follow(machine, command(PAGE, "mkdir -p storage/lib"), clone)
    with machine.serving(run.text, directory=clone):
        assert machine.path(f"{clone}/storage/etc/tracker.toml").stat().st_uid == 1234


@contextlib.contextmanager
def composed(machine: Machine, directory: str, up: Command) -> Iterator[None]:
    follow(machine, up, directory)
    wait_for_health(machine, "torrust_tracker_1")
    yield
    assert machine.run("docker compose down", directory=directory).status == 0


def api(machine: Machine, method: str, path: str, token: str) -> Ended:
    return machine.run(f"curl -s -X {method} 'http://127.0.0.1:1212/api/v1/{path}?token={token}'")


def check_composed(machine: Machine, directory: str, up: Command, token: str) -> None:
    """Each service answers where it is published, and a key outlives all containers."""
    with composed(machine, directory, up):
        announced = machine.run(
            "docker exec torrust_tracker_1 udp_tracker_client announce 127.0.0.1:6969 " + "9c" * 20
        )
        assert json.loads(announced.output)["AnnounceIpv4"]["seeders"] == 1
        with machine.udp_socket("127.0.0.1", 6969) as client:
            client.send(bytes.fromhex("00000417271019800000000061626364"))
            assert client.recv(16)[:8] == b"\0\0\0\0abcd"
        assert machine.run("curl -s http://127.0.0.1:7070/health_check").output == '{"status":"Ok"}'
        assert json.loads(api(machine, "GET", "stats", token).output)["torrents"] == 1
        body = f'{{"key": "{KEY}", "seconds_valid": null}}'
        added = machine.run(
            f"curl -s -H 'Content-Type: application/json' -d '{body}' "
            f"'http://127.0.0.1:1212/api/v1/keys?token={token}'"
        )
        assert KEY in added.output
    with composed(machine, directory, up):
        assert api(machine, "DELETE", f"key/{KEY}", token).output == '{"status":"ok"}'  # it is there
        assert api(machine, "DELETE", f"key/{KEY}", token).output != '{"status":"ok"}'


def test_compose(host_of_containers: Machine) -> None:
    machine, clone = host_of_containers, host_of_containers.clone("torrust_py")
    up = command(
        PAGE, "TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=a-secret-of-yours docker"
    )
    check_composed(machine, clone, up, "a-secret-of-yours")
    tracker = Path(f"{clone}/storage/tracker/etc/tracker.toml")
    assert "@mysql:3306/torrust_tracker" in machine.path(str(tracker)).read_text()


@pytest.mark.clause("10.4.4")
def test_torrusts_own_compose_file(host_of_containers: Machine) -> None:
    machine = host_of_containers
    machine.write("/home/operator/torrust/compose.yaml", TORRUSTS_COMPOSE)
    check_composed(machine, "/home/operator/torrust", Command("docker compose up --detach"), "MyAccessToken")


# --- systemd


def test_a_service_of_systemd(machine: Machine) -> None:
    clone = machine.clone("torrust_py")
    for beginning in (
        "apt-get install --no-install-recommends gcc",
        "python3 -m venv",
        "/opt/torrust-tracker/bin/pip install '.[",
    ):
        done = machine.run_online(command(PAGE, beginning).text, directory=clone, variables=pip_cache())
        assert done.status == 0, done.output
    for beginning in (
        "useradd --system",
        "install -d -o torrust",
        "install -d -g torrust",
        "sed 's/0.0.0.0:1212",
        "install -m 0644",
        "systemctl daemon-reload",
        "systemctl enable --now torrust-tracker.service",
    ):
        follow(machine, command(PAGE, beginning), clone)
    log = command(PAGE, "journalctl --unit torrust-tracker.service")
    assert "HEALTH CHECK API: Started on" in follow(machine, log, clone)  # READY=1 was waited for
    assert "Data plane: native" in machine.run(log.text).output

    page = (ROOT / PAGE).read_text()
    drop_in = re.findall(r"# (\[Service\]|Environment=.*)$", page, re.M)
    edit = command(PAGE, "systemctl edit torrust-tracker.service")
    machine.write(
        "/usr/local/bin/editor-of-the-page",
        "#!/bin/sh\ncat >\"$1\" <<'END'\n" + "\n".join(drop_in) + "\nEND\n",
    )
    on_a_terminal = Command(f"script --quiet --return --command {shlex.quote(edit.text)} /dev/null")
    follow(machine, on_a_terminal, clone, SYSTEMD_EDITOR="/usr/local/bin/editor-of-the-page")
    follow(machine, command(PAGE, "systemctl restart torrust-tracker.service"), clone)
    stats = command(PAGE, "curl -s ")
    assert machine.run(stats.text).output.startswith('{"torrents":0,')
    assert machine.run("systemctl reload torrust-tracker.service").status == 0

    for beginning in (
        "systemctl stop torrust-tracker.service",
        "systemctl enable --now torrust-tracker.socket",
        "systemctl start torrust-tracker.service",
    ):
        follow(machine, command(PAGE, beginning), clone)
    assert_held_sockets_lose_nothing(machine)
    doctor = command("docs/troubleshooting.md", "runuser -u torrust")
    assert "ok      udp-announce" in machine.run(doctor.text).output

    machine.run("mkdir -p /var/backups")
    follow(machine, command(PAGE, "sqlite3 "), clone)
    assert machine.path("/var/backups/tracker.sqlite3.db").stat().st_size > 0
    machine.write("/home/operator/.gitconfig", "[safe]\n    directory = *\n")
    follow(machine, command(PAGE, "git pull"), clone)
    upgrade = command(PAGE, "/opt/torrust-tracker/bin/pip install --upgrade")
    done = machine.run_online(upgrade.text, directory=clone, variables=pip_cache())
    assert done.status == 0, done.output
    follow(machine, command(PAGE, "systemctl restart torrust-tracker.service"), clone)
    assert '"udp4_connections_handled":0,' in machine.run(stats.text).output  # the doctor's are gone
    assert machine.run("systemctl stop torrust-tracker.service torrust-tracker.socket").status == 0
    assert machine.run("systemctl show -pResult torrust-tracker.service").output == "Result=success\n"


def assert_held_sockets_lose_nothing(machine: Machine) -> None:
    """Who asks while the service is stopped is answered when it is there again."""
    with machine.udp_socket("127.0.0.1", 6969) as client:
        connect = bytes.fromhex("00000417271019800000000061626364")
        client.send(connect)
        assert client.recv(16)[4:8] == b"abcd"
        assert machine.run("systemctl kill --signal=KILL torrust-tracker.service").status == 0
        client.send(connect[:12] + b"efgh")  # systemd starts it anew: it failed, or somebody asks
        assert client.recv(16)[4:8] == b"efgh"
    is_active = "systemctl is-active torrust-tracker.service"
    wait_for(lambda: machine.run(is_active).status == 0, 10, lambda: machine.run(is_active).output)
