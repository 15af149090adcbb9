import json
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from torrust_py.config import BindAddress, Config
from torrust_py.config.schema import Net, Snapshot, UdpListener

Load = Callable[..., Config]
Complaint = Callable[..., str]

FULL = """
[core.announce_policy]
interval = 300
interval_min = 200
max_peers_per_announce = 50

[core.database]
driver = "mysql"
path = "mysql://db_user:hush@mysql:3306/torrust_tracker"

[core.net]
external_ip = "203.0.113.5"
on_reverse_proxy = true

[[udp_trackers]]
bind_address = "127.0.0.1:26969"

[[http_trackers]]
bind_address = "[::1]:27070"

[http_trackers.tsl_config]
ssl_cert_path = "./localhost.crt"
ssl_key_path = "./localhost.key"

[http_api]
bind_address = "127.0.0.1:21212"

[http_api.access_tokens]
admin = "hush"
other = "hush too"

[health_check_api]
bind_address = "127.0.0.1:21313"
"""

FULL_JSON = """{
  "metadata": {
    "app": "torrust-tracker",
    "purpose": "configuration",
    "schema_version": "2.0.0"
  },
  "logging": {
    "threshold": "info"
  },
  "core": {
    "announce_policy": {
      "interval": 300,
      "interval_min": 200,
      "max_peers_per_announce": 50
    },
    "blacklist_path": null,
    "database": {
      "driver": "mysql",
      "path": "mysql://db_user:***@mysql:3306/torrust_tracker"
    },
    "inactive_peer_cleanup_interval": 600,
    "limits": {
      "max_torrents": null,
      "max_peers": null,
      "max_peers_per_torrent": 0
    },
    "listed": false,
    "net": {
      "external_ip": "203.0.113.5",
      "on_reverse_proxy": true
    },
    "private": false,
    "private_mode": null,
    "snapshot": null,
    "tracker_policy": {
      "max_peer_timeout": 900,
      "persistent_torrent_completed_stat": false,
      "remove_peerless_torrents": true
    },
    "tracker_usage_statistics": true
  },
  "udp_trackers": [
    {
      "bind_address": "127.0.0.1:26969"
    }
  ],
  "http_trackers": [
    {
      "bind_address": "[::1]:27070",
      "tsl_config": {
        "ssl_cert_path": "./localhost.crt",
        "ssl_key_path": "./localhost.key"
      }
    }
  ],
  "http_api": {
    "bind_address": "127.0.0.1:21212",
    "tsl_config": null,
    "access_tokens": {
      "admin": "***",
      "other": "***"
    }
  },
  "health_check_api": {
    "bind_address": "127.0.0.1:21313"
  }
}"""


@pytest.mark.clause("1.5.4", "2.6.1")
def test_the_dump_has_torrusts_order_and_masks_secrets(load: Load) -> None:
    assert load(FULL).masked_json() == FULL_JSON


def test_a_repr_masks_secrets(load: Load) -> None:
    assert "hush" not in repr(load(FULL))
    assert "hush" not in str(load(FULL))


def test_a_model_takes_addresses_that_are_values_already() -> None:
    address = BindAddress("::1", 80)
    assert UdpListener(bind_address=address).bind_address == address
    assert Net(external_ip=IPv4Address("1.2.3.4")).external_ip == IPv4Address("1.2.3.4")
    assert Net(external_ip=None).external_ip is None


@pytest.mark.clause("2.3.8")
@pytest.mark.clause("12.5.9")
def test_absent_services_are_none(load: Load) -> None:
    config = load()
    assert (config.udp_trackers, config.http_trackers, config.http_api) == (None, None, None)
    assert config.health_check_api.bind_address == BindAddress("127.0.0.1", 1313)


@pytest.mark.clause("2.3.1", "2.3.2", "2.3.6")
def test_empty_services_have_default_addresses(load: Load) -> None:
    config = load("[[udp_trackers]]\n[[http_trackers]]\n[http_api]\n")
    assert config.udp_trackers is not None
    assert config.http_trackers is not None
    assert config.http_api is not None
    assert str(config.udp_trackers[0].bind_address) == "0.0.0.0:6969"
    assert str(config.http_trackers[0].bind_address) == "0.0.0.0:7070"
    assert str(config.http_api.bind_address) == "127.0.0.1:1212"


@pytest.mark.clause(
    "1.2.11", "2.2.1", "2.2.2", "2.2.4", "2.2.5", "2.2.6", "2.2.7", "2.2.8", "2.2.14", "2.2.15"
)
@pytest.mark.clause("12.5.9")
def test_the_core_has_torrusts_defaults(load: Load) -> None:
    core = json.loads(load().masked_json())["core"]
    assert core == {
        "announce_policy": {"interval": 120, "interval_min": 120, "max_peers_per_announce": 74},
        "blacklist_path": None,
        "database": {"driver": "sqlite3", "path": "./storage/tracker/lib/database/sqlite3.db"},
        "inactive_peer_cleanup_interval": 600,
        "limits": {"max_torrents": None, "max_peers": None, "max_peers_per_torrent": 0},
        "listed": False,
        "net": {"external_ip": None, "on_reverse_proxy": False},
        "private": False,
        "private_mode": None,
        "snapshot": None,
        "tracker_policy": {
            "max_peer_timeout": 900,
            "persistent_torrent_completed_stat": False,
            "remove_peerless_torrents": True,
        },
        "tracker_usage_statistics": True,
    }


@pytest.mark.clause("1.2.20")
def test_unknown_keys_and_tables_are_ignored(load: Load) -> None:
    unknown = '[tracker]\nurl = "udp://x"\n[auth]\nx = 1\n[core.unknown]\ny = 2\n[http_api]\nenabled = true\n'
    assert load(unknown) == load("[http_api]\n")


@pytest.mark.clause("2.4.2")
@pytest.mark.parametrize("spelling", ["tsl_config", "tls_config"])
def test_tls_is_spelled_either_way(load: Load, spelling: str) -> None:
    lines = f"[http_api.{spelling}]\nssl_cert_path = 'a'\nssl_key_path = 'b'\n"
    api = load(lines).http_api
    assert api is not None
    assert api.tsl_config is not None
    assert (api.tsl_config.ssl_cert_path, api.tsl_config.ssl_key_path) == ("a", "b")


@pytest.mark.clause("2.4.2")
def test_both_spellings_of_tls_are_refused(complaint: Complaint) -> None:
    assert complaint("[http_api.tsl_config]\n[http_api.tls_config]\n").startswith(
        "http_api: must not have both tsl_config and tls_config"
    )


@pytest.mark.clause("2.3.12")
@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ("", "ssl_cert_path"),
        ("ssl_cert_path = 'a'\n", "ssl_key_path"),
        ("ssl_key_path = 'a'\n", "ssl_cert_path"),
        ("ssl_cert_path = 'a'\nssl_key_path = ''\n", "ssl_key_path"),
    ],
)
def test_tls_without_both_paths_is_refused(complaint: Complaint, lines: str, option: str) -> None:
    assert complaint(f"[[http_trackers]]\n[http_trackers.tls_config]\n{lines}").startswith(
        f'http_trackers[0].tls_config.{option} = "": must be the path of a PEM file (in '
    )


def test_a_path_that_cannot_be_one_is_refused(complaint: Complaint) -> None:
    assert complaint('[http_api.tsl_config]\nssl_cert_path = "a\\u0000"\n').startswith(
        'http_api.tsl_config.ssl_cert_path = "a\\u0000": must be the path of a PEM file (in '
    )


def test_a_blacklist_is_read_if_its_file_is_named(load: Load) -> None:
    assert load().core.blacklist_path is None
    assert load(CORE__BLACKLIST_PATH="./blacklist.txt").core.blacklist_path == "./blacklist.txt"
    assert load(CORE__BLACKLIST_PATH="").core.blacklist_path is None


def test_a_snapshot_is_kept_if_there_is_its_table(load: Load) -> None:
    assert load().core.snapshot is None
    assert load("[core.snapshot]\n").core.snapshot == Snapshot(
        path="./storage/tracker/lib/database/swarms.snapshot", interval=300
    )


def test_the_environment_turns_the_snapshot_on_and_off(load: Load) -> None:
    snapshot = load(CORE__SNAPSHOT__PATH="1.snapshot").core.snapshot
    assert snapshot is not None
    assert snapshot.path == "1.snapshot"
    assert load("[core.snapshot]\n", CORE__SNAPSHOT="").core.snapshot is None


@pytest.mark.parametrize(
    ("database", "snapshot"),
    [
        ("swarms.db", "./swarms.db"),
        ("file:swarms.db", "./swarms.db"),
        ("file:swar%6ds.db", "./swarms.db"),
        ("swarms.db", "swarms.db-wal"),
        ("swarms.db", "swarms.db-journal"),
    ],
)
def test_the_snapshot_is_not_the_database(complaint: Complaint, database: str, snapshot: str) -> None:
    assert complaint(f"[core.database]\npath = '{database}'\n[core.snapshot]\npath = '{snapshot}'\n") == (
        "core.snapshot.path: must not be the file of the database, core.database.path "
        "(in environment variable TORRUST_TRACKER_CONFIG_TOML)"
    )


def test_the_snapshot_is_not_the_blacklist(complaint: Complaint) -> None:
    assert complaint('[core.snapshot]\npath = "list.txt"\n', CORE__BLACKLIST_PATH="./list.txt") == (
        "core.snapshot.path: must not be the file of the blacklist, core.blacklist_path "
        "(in environment variable TORRUST_TRACKER_CONFIG_TOML)"
    )


@pytest.mark.parametrize("path", ["a\\u0000b", "file:a%00b"])
def test_the_path_of_a_database_has_no_zero_byte(complaint: Complaint, path: str) -> None:
    document = f'[core.database]\npath = "{path}"\n[core.snapshot]\n'
    assert complaint(document).startswith("core.database.path: must be ")


@pytest.mark.clause("2.2.4", "2.4.4")
@pytest.mark.parametrize(
    ("text", "driver"),
    [("Sqlite3", "sqlite3"), ("MySQL", "mysql"), ("mysql", "mysql"), ("PostgreSQL", "postgresql")],
)
def test_the_case_of_a_driver_does_not_matter(load: Load, text: str, driver: str) -> None:
    path = "d" if driver == "sqlite3" else "x://h/d"
    config = load(f'[core.database]\ndriver = "{text}"\npath = "{path}"\n')
    assert config.core.database.driver == driver


@pytest.mark.clause("2.2.10")
def test_an_unspecified_external_ip_is_none(load: Load) -> None:
    assert load('[core.net]\nexternal_ip = "0.0.0.0"\n').core.net.external_ip is None


def test_an_external_ip_is_an_address(load: Load) -> None:
    assert load('[core.net]\nexternal_ip = "1.2.3.4"\n').core.net.external_ip == IPv4Address("1.2.3.4")


@pytest.mark.clause("1.4.4", "2.2.17")
@pytest.mark.parametrize(
    ("table", "option", "value", "must_be"),
    [
        ("core.announce_policy", "interval", "-1", "0 or more"),
        ("core.announce_policy", "interval", "4294967296", "4294967295 or less"),
        ("core.announce_policy", "interval_min", '"120"', "a whole number"),
        ("core.announce_policy", "interval_min", "1.0", "a whole number"),
        ("core.announce_policy", "interval_min", "true", "a whole number"),
        ("core.announce_policy", "max_peers_per_announce", "0", "1 or more"),
        ("core.announce_policy", "max_peers_per_announce", "1001", "1000 or less"),
        ("core.limits", "max_torrents", "-1", "0 or more"),
        ("core.limits", "max_peers", "18446744073709551616", "18446744073709551615 or less"),
        ("core.limits", "max_peers_per_torrent", '""', "a whole number"),
        ("core.snapshot", "interval", "0", "1 or more"),
        ("core.snapshot", "interval", "4294967296", "4294967295 or less"),
        ("core.snapshot", "path", '""', "the path of a file"),
        ("core.snapshot", "path", '"snapshots/"', "the path of a file"),
        ("core.tracker_policy", "max_peer_timeout", "4294967296", "4294967295 or less"),
        ("core.tracker_policy", "remove_peerless_torrents", "1", "true or false"),
        ("core.net", "on_reverse_proxy", '"true"', "true or false"),
        ("core.net", "external_ip", '"localhost"', "an IP address, such as 203.0.113.7"),
        ("core.database", "driver", '"oracle"', "one of sqlite3, mysql, postgresql"),
        (
            "health_check_api",
            "bind_address",
            '"localhost:1313"',
            "an IP address and a port, such as 0.0.0.0:6969 or [::]:6969",
        ),
        ("http_api", "bind_address", "1212", "an IP address and a port, such as 0.0.0.0:6969 or [::]:6969"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(
    complaint: Complaint, table: str, option: str, value: str, must_be: str
) -> None:
    assert complaint(f"[{table}]\n{option} = {value}\n") == (
        f"{table}.{option} = {value}: must be {must_be} (in environment variable TORRUST_TRACKER_CONFIG_TOML)"
    )


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('udp_trackers = "x"', "udp_trackers: must be an array of tables"),
        ("[udp_trackers]", "udp_trackers: must be an array of tables"),
        ("udp_trackers = [1]", "udp_trackers[0]: must be a table"),
        ('http_api = "hush"', "http_api: must be a table"),
        ('[http_api]\naccess_tokens = "hush"', "http_api.access_tokens: must be a table"),
        ("[core.database]\npath = 5", "core.database.path: must be a text in double quotes"),
        ('[core.database]\npath = ""', "core.database.path: must be the path of a SQLite file"),
        ("[http_api.access_tokens]\nx = 5", "http_api.access_tokens.x: must be a text in double quotes"),
        ('[http_api.access_tokens]\nx = ""', "http_api.access_tokens.x: must not be empty"),
        ("[core.net]\nexternal_ip = [1]", "core.net.external_ip = […]: must be an IP address"),
        ("[core.net]\nexternal_ip = {a = 1}", "core.net.external_ip = {…}: must be an IP address"),
        ("[core.net]\nexternal_ip = 1979-05-27", "core.net.external_ip = 1979-05-27: must be an IP address"),
        (
            f"[core.limits]\nmax_peers = 0x{'f' * 9000}",
            "core.limits.max_peers = …: must be 18446744073709551615",
        ),
    ],
)
def test_a_value_that_may_be_secret_or_long_is_not_shown(
    complaint: Complaint, lines: str, error: str
) -> None:
    assert complaint(lines).startswith(error)
