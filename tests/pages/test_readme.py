"""README.md and docs/from-torrust.md, word by word, in fresh directories."""

import subprocess

import pytest

from tests.contract.doors import announce_request
from tests.pages.machine import HOME, PATH, Machine
from tests.pages.pages import ROOT, command
from torrust_py.udp.packets import encode_connect_request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

README = "README.md"
FROM_TORRUST = "docs/from-torrust.md"


def pip_cache() -> dict[str, str]:
    """What was downloaded before is not downloaded again."""
    asked = ["python3", "-m", "pip", "cache", "dir"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return {"PIP_CACHE_DIR": found.stdout.strip()} if found.returncode == 0 else {}


def announce(machine: Machine, port: int, *, left: int) -> None:
    with machine.udp_socket("127.0.0.1", 6969) as client:
        client.send(encode_connect_request(b"conn"))
        connection = client.recv(16)[8:]
        client.send(announce_request(connection, bytes(range(20)), port, left=left))
        assert client.recv(2048)[:4] == b"\0\0\0\1"


def test_the_tracker_of_a_fresh_clone(machine: Machine) -> None:
    clone = machine.clone("torrust_py")
    write = command(README, "scripts/run --print-default-config > tracker.toml")
    made = machine.run_online(write.text, directory=clone, variables=pip_cache())  # the first sets all up
    assert made.status == 0, made.output
    shipped = (ROOT / "config/tracker.development.sqlite3.toml").read_text()
    assert machine.path(f"{clone}/tracker.toml").read_text().strip() == shipped.strip()

    stats = command(README, "curl -s")
    with machine.serving(command(README, "scripts/run  ").text, directory=clone):
        announce(machine, 6881, left=0)
        announce(machine, 6882, left=1)
        assert machine.run(stats.text).output == stats.output.rstrip("\n")

    with machine.serving(command(README, "TORRUST_TRACKER_CONFIG_TOML_PATH=").text, directory=clone) as log:
        assert "Loading extra configuration from file: `tracker.toml`" in log.read_text()
        assert machine.run(stats.text).output.startswith('{"torrents":1,')  # kept in the snapshot
        doctor = command("docs/troubleshooting.md", "TORRUST_TRACKER_CONFIG_TOML_PATH=tracker.toml torrust")
        examined = machine.run(doctor.text, directory=clone, variables={"PATH": f"{clone}/.venv/bin:{PATH}"})
        assert "ok      udp-announce" in examined.output, examined.output

    token = command(README, "TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=")
    with machine.serving(token.text, directory=clone):
        mine = stats.text.replace("MyAccessToken", "a-secret-of-yours")
        assert machine.run(mine).output.startswith('{"torrents":')
        assert "token not valid" in machine.run(stats.text).output


def test_the_suite_of_a_fresh_clone(machine: Machine) -> None:
    """It is told to run one file: the suite is what runs here."""
    clone = machine.clone("torrust_py")
    one_file = {"PYTEST_ADDOPTS": "tests/test_scripts.py"}
    done = machine.run_online(
        command(README, "scripts/test").text, directory=clone, variables={**pip_cache(), **one_file}
    )
    assert done.status == 0, done.output
    assert " passed in " in done.output


def test_the_switch_from_torrust(machine: Machine) -> None:
    got = command(FROM_TORRUST, "git clone")
    machine.write(
        f"{HOME}/.gitconfig", '[url "/srv/checkout"]\n    insteadOf = https://example.org/torrust_py\n'
    )
    cloned = got.text.replace("<this repository>", "https://example.org/torrust_py")
    done = machine.run_online(cloned, variables=pip_cache())
    assert done.status == 0, done.output

    started = command(FROM_TORRUST, "TORRUST_TRACKER_CONFIG_TOML_PATH=")
    torrusts = f"{HOME}/torrust"
    machine.write(f"{torrusts}/tracker.toml", (ROOT / "config/tracker.development.sqlite3.toml").read_text())
    assert machine.run("mkdir -p storage/tracker/lib/database", directory=torrusts).status == 0
    with machine.serving(started.text.replace("/path/to", HOME), directory=torrusts):
        look = command(FROM_TORRUST, ".venv/bin/udp_tracker_client")
        assert '"AnnounceIpv4"' in machine.run(look.text, directory=f"{HOME}/torrust_py").output
        assert (
            '"torrents":1' in machine.run(command(FROM_TORRUST, 'curl -s "http://127.0.0.1:1212').text).output
        )
        health = machine.run(command(FROM_TORRUST, "curl -s http://127.0.0.1:1313").text)
        assert health.output.startswith('{"status":"Ok"')
