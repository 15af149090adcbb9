"""What the entry does before the command runs: users, volumes, defaults, messages."""

import os
import stat
from pathlib import Path

import pytest

from tests.container.conftest import DRIVER, ETC, LIB, TOKEN, Image, Run

pytestmark = pytest.mark.slow  # each starts a container

Volumes = dict[str, Path]


def owners(root: Path) -> set[tuple[int, int]]:
    """User and group of a directory and of all in it."""
    statuses = [path.lstat() for path in (root, *root.rglob("*"))]
    return {(status.st_uid, status.st_gid) for status in statuses}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.clause("10.3.1")
@pytest.mark.parametrize("user_id", [1000, 4321])
def test_the_volumes_belong_to_the_user_of_user_id(run: Run, volumes: Volumes, user_id: int) -> None:
    run(volumes=volumes, USER_ID=str(user_id)).wait_until_it_serves()
    for host in volumes.values():
        assert owners(host) == {(user_id, user_id)}
        assert mode(host) == 0o2770
    assert mode(volumes[LIB] / "database") == 0o2770
    assert mode(volumes[ETC] / "tracker.toml") == 0o640


@pytest.mark.clause("10.2.6")
def test_the_daemon_is_process_1_and_has_no_rights_of_root(run: Run) -> None:
    container = run(USER_ID="4321").wait_until_it_serves()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{container.pid}/status").read_text().splitlines()
    )
    assert status["NSpid"].split()[-1] == "1"
    assert status["Uid"].split() == status["Gid"].split() == ["4321"] * 4
    assert status["Groups"].split() == ["4321"]
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [0] * 4
    assert container.execute("id", "torrust") == "uid=4321(torrust) gid=4321(torrust) groups=4321(torrust)\n"


@pytest.mark.clause("10.3.3")
def test_what_was_root_s_and_what_others_could_read_is_the_user_s_alone(run: Run, volumes: Volumes) -> None:
    (volumes[LIB] / "tls").mkdir(mode=0o755)
    key = volumes[LIB] / "tls" / "localhost.key"
    key.touch(mode=0o644)
    outside = volumes[LIB].parent / "outside"
    outside.touch(mode=0o644)
    (volumes[LIB] / "link").symlink_to(outside)
    run(volumes=volumes).wait_until_it_serves()
    assert owners(volumes[LIB]) == {(1000, 1000)}
    assert (mode(key), mode(key.parent)) == (0o660, 0o2770)
    assert (outside.stat().st_uid, mode(outside)) == (0, 0o644)


@pytest.mark.clause("10.3.2")
@pytest.mark.parametrize("user_id", ["", "0", "999", "-1", "torrust", "1000 "])
def test_a_user_id_that_is_none_is_refused(run: Run, user_id: str) -> None:
    container = run(USER_ID=user_id)
    assert container.wait() == 1
    assert container.output == "ERROR: USER_ID is not set, or less than 1000\n"


@pytest.mark.clause("10.3.4")
@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("sqlite3", "sqlite3"),
        ("SQLite-3", "sqlite3"),
        ("mysql", "mysql"),
        ("My_SQL", "mysql"),
        ("postgresql", "postgresql"),
        ("PostgreSQL", "postgresql"),
    ],
)
def test_the_driver_chooses_what_is_copied(
    image: Image, run: Run, volumes: Volumes, driver: str, name: str
) -> None:
    assert run("true", volumes=volumes, **{DRIVER: driver}).wait() == 0
    default = image.root / f"usr/share/torrust/default/config/tracker.container.{name}.toml"
    assert (volumes[ETC] / "tracker.toml").read_text() == default.read_text()
    assert (volumes[LIB] / "database/sqlite3.db").exists() == (name == "sqlite3")


@pytest.mark.clause("10.3.4")
def test_what_is_there_is_not_copied_over(run: Run, volumes: Volumes) -> None:
    (volumes[ETC] / "tracker.toml").write_text("mine")
    (volumes[LIB] / "database").mkdir()
    (volumes[LIB] / "database/sqlite3.db").write_text("mine, too")
    assert run("true", volumes=volumes).wait() == 0
    assert (volumes[ETC] / "tracker.toml").read_text() == "mine"
    assert (volumes[LIB] / "database/sqlite3.db").read_text() == "mine, too"


@pytest.mark.clause("10.3.4")
@pytest.mark.parametrize(
    ("driver", "lines"),
    [
        (
            "oracle",
            'Error: Unsupported Database Type: "oracle".\n'
            'Please Note: Supported Database Types: "sqlite3", "mysql", "postgresql".\n',
        ),
        ("", 'Error: "$TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER" was not set!\n'),
    ],
)
def test_another_driver_or_none_ends_the_start(run: Run, volumes: Volumes, driver: str, lines: str) -> None:
    container = run(volumes=volumes, **{DRIVER: driver})
    assert container.wait() == 1
    assert container.output == lines
    assert not (volumes[ETC] / "tracker.toml").exists()


@pytest.mark.clause("10.3.5")
@pytest.mark.parametrize(
    ("runtime", "words"),
    [("runtime", "in runtime"), ("debug", "in debug mode"), ("release", "in release mode")],
)
def test_the_message_of_the_day_is_shown_by_a_login(run: Run, runtime: str, words: str) -> None:
    container = run("sh", "-l", "-c", "pwd; id -un; echo $HOME", RUNTIME=runtime, TERM="dumb")
    assert container.wait() == 0
    assert container.output.startswith(f"\n {words}\n")
    assert container.output.split()[-3:] == ["/home/torrust", "torrust", "/home/torrust"]


@pytest.mark.clause("10.3.5")
def test_a_runtime_that_is_unknown_ends_the_start(run: Run) -> None:
    container = run(RUNTIME="production")
    assert (container.wait(), container.output) == (1, 'ERROR: running in unknown mode: "production"\n')


def test_a_command_is_given_as_it_is(run: Run) -> None:
    container = run("printf", "<%s>", "a b", "*", "", "$HOME")
    assert (container.wait(), container.output) == (0, "<a b><*><><$HOME>")


def test_the_exit_status_of_the_command_is_that_of_the_container(run: Run) -> None:
    assert run("sh", "-c", "exit 7").wait() == 7


@pytest.mark.clause("10.3.6")
class TestWithoutRoot:
    """`docker run --user`."""

    def test_volumes_of_that_user_are_used(self, run: Run, volumes: Volumes) -> None:
        for host in volumes.values():
            os.chown(host, 1234, 1234)
        container = run(volumes=volumes, user="1234:1234", **{TOKEN: "MyAccessToken"}).wait_until_it_serves()
        assert "entry.sh:" not in container.output
        assert container.get(1212, "/api/v1/stats?token=MyAccessToken")[0] == 200
        for host in volumes.values():
            assert owners(host) == {(1234, 1234)}

    def test_volumes_of_another_are_named_with_the_remedy(self, run: Run, volumes: Volumes) -> None:
        container = run(volumes=volumes, user="1234:1234")
        assert container.wait() == 1
        for directory in (ETC, f"{LIB}/database"):
            assert (
                f"entry.sh: user 1234 cannot write in {directory}; mount there what belongs to that user, "
                "or start without --user\n"
            ) in container.output
        assert container.output.splitlines()[-1].startswith(f"torrust-tracker: {ETC}/tracker.toml")

    def test_the_user_id_is_of_no_matter(self, run: Run) -> None:
        container = run("id", "-u", user="1234:1234", USER_ID="1")
        assert (container.wait(), container.output) == (0, "1234\n")


@pytest.mark.clause("10.3.6")
class TestReadOnly:
    """`docker run --read-only`, and files that are mounted read-only."""

    @pytest.mark.parametrize("user", ["0:0", "1000:1000"])
    def test_only_the_volumes_need_to_be_writable(self, run: Run, volumes: Volumes, user: str) -> None:
        for host in volumes.values():
            os.chown(host, *map(int, user.split(":")))
        container = run(volumes=volumes, user=user, read_only=True).wait_until_it_serves()
        assert "entry.sh:" not in container.output
        assert {owner for host in volumes.values() for owner in owners(host)} == {(1000, 1000)}
        assert container.stop() == 0


def test_a_container_starts_again(run: Run) -> None:
    """As by `docker restart`: what the entry did the first time is there."""
    container = run(USER_ID="4321").wait_until_it_serves()
    variables = ("USER_ID=4321", "RUNTIME=debug", f"{DRIVER}=sqlite3")
    assert container.execute(*variables, "/usr/local/bin/entry.sh", "id", "-un") == "torrust\n"
    assert container.execute("cat", "/etc/motd").startswith("\n in debug mode\n")
