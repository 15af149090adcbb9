import pytest

from torrust_py.config.options import (
    OptionPath,
    can_hold,
    is_secret,
    is_shown,
    is_text,
    may_be_absent,
    option_name,
)

TEXTS: list[OptionPath] = [
    ("metadata", "app"),
    ("metadata", "purpose"),
    ("metadata", "schema_version"),
    ("logging", "threshold"),
    ("core", "database", "driver"),
    ("core", "net", "external_ip"),
    ("udp_trackers", 0, "bind_address"),
    ("http_trackers", 3, "bind_address"),
    ("http_trackers", 0, "tsl_config", "ssl_cert_path"),
    ("http_trackers", 0, "tls_config", "ssl_key_path"),
    ("http_api", "bind_address"),
    ("http_api", "tls_config", "ssl_key_path"),
    ("health_check_api", "bind_address"),
]
SECRETS: list[OptionPath] = [("core", "database", "path"), ("http_api", "access_tokens", "any")]
NUMBERS: list[OptionPath] = [("core", "limits", "max_peers"), ("core", "announce_policy", "interval")]
FLAGS: list[OptionPath] = [("core", "listed"), ("core", "private_mode", "check_keys_expiration")]
TABLES: list[OptionPath] = [(), ("core",), ("http_api",), ("http_api", "access_tokens"), ("udp_trackers", 0)]
ARRAYS: list[OptionPath] = [("udp_trackers",), ("http_trackers",)]
UNKNOWN: list[OptionPath] = [("nothing",), ("core", "nothing"), ("core", "net", "x", "y"), ("core", 0)]


@pytest.mark.parametrize("path", TEXTS + SECRETS)
def test_texts_are_known(path: OptionPath) -> None:
    assert is_text(path)


@pytest.mark.parametrize("path", NUMBERS + FLAGS + TABLES + ARRAYS + UNKNOWN)
def test_what_is_not_a_text_is_known(path: OptionPath) -> None:
    assert not is_text(path)


def test_secrets_are_known() -> None:
    assert all(map(is_secret, SECRETS))
    assert not any(map(is_secret, TEXTS + NUMBERS + FLAGS + TABLES + ARRAYS + UNKNOWN))


def test_neither_a_secret_nor_what_stands_in_place_of_a_table_is_shown() -> None:
    assert all(map(is_shown, TEXTS + NUMBERS + FLAGS))
    assert not any(map(is_shown, SECRETS + TABLES + ARRAYS + UNKNOWN))


def test_options_stand_in_tables_and_in_what_is_not_known() -> None:
    assert all(map(can_hold, TABLES + UNKNOWN))
    assert not any(map(can_hold, SECRETS + TEXTS + NUMBERS + FLAGS + ARRAYS))


@pytest.mark.parametrize(
    "path",
    [
        ("core", "net", "external_ip"),
        ("core", "private_mode"),
        ("core", "limits", "max_peers"),
        ("http_api",),
        ("udp_trackers",),
        ("http_api", "tls_config"),
        ("http_api", "access_tokens", "admin"),
    ],
)
def test_optional_values_may_be_absent(path: OptionPath) -> None:
    assert may_be_absent(path)


@pytest.mark.parametrize(
    "path", [("core",), ("core", "listed"), ("core", "database", "path"), ("core", "limits"), ("x",)]
)
def test_other_values_may_not_be_absent(path: OptionPath) -> None:
    assert not may_be_absent(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("core", "listed"), "core.listed"),
        (("http_trackers", 0, "bind_address"), "http_trackers[0].bind_address"),
        (("http_api", "access_tokens", "my label"), 'http_api.access_tokens."my label"'),
        ((), ""),
    ],
)
def test_an_option_has_a_dotted_name(path: OptionPath, name: str) -> None:
    assert option_name(path) == name
