from collections.abc import Callable

import pytest

from torrust_py.config import BindAddress, Config, ConfigError
from torrust_py.config.overrides import Table, apply_overrides, read_overrides, variable_of

PREFIX = "TORRUST_TRACKER_CONFIG_OVERRIDE_"

Load = Callable[..., Config]
Complaint = Callable[..., str]


def overridden(document: Table, **overrides: str) -> Table:
    apply_overrides(document, read_overrides({PREFIX + name: text for name, text in overrides.items()}))
    return document


def test_an_override_wins_over_the_document(load: Load) -> None:
    assert load(CORE__LISTED="true").core.listed


def test_a_number_is_overridden(load: Load) -> None:
    config = load("[core.announce_policy]\ninterval = 1\n", CORE__ANNOUNCE_POLICY__INTERVAL="600")
    assert config.core.announce_policy.interval == 600


def test_a_text_is_overridden(load: Load) -> None:
    assert load(LOGGING__THRESHOLD="debug").logging.threshold == "debug"


@pytest.mark.clause("1.2.9")
def test_an_array_is_replaced_whole(load: Load) -> None:
    config = load(
        '[[udp_trackers]]\nbind_address = "1.1.1.1:1"\n[[udp_trackers]]\n',
        UDP_TRACKERS='[{bind_address="0.0.0.0:6969"}]',
    )
    assert config.udp_trackers is not None
    assert [listener.bind_address for listener in config.udp_trackers] == [BindAddress("0.0.0.0", 6969)]


@pytest.mark.clause("A.1.7")
@pytest.mark.clause("1.2.18")
@pytest.mark.clause("12.5.10")
def test_a_token_of_the_environment_makes_the_api(load: Load) -> None:
    api = load(HTTP_API__ACCESS_TOKENS__ADMIN="x").http_api
    assert api is not None
    assert api.bind_address == BindAddress("127.0.0.1", 1212)
    assert api.access_tokens["admin"].get_secret_value() == "x"


@pytest.mark.clause("1.2.16")
@pytest.mark.parametrize(
    ("text", "token"), [("12345", "12345"), ('"12345"', "12345"), ("true", "true"), ("1.50", "1.50")]
)
def test_a_token_is_a_text_whatever_it_looks_like(load: Load, text: str, token: str) -> None:
    api = load(HTTP_API__ACCESS_TOKENS__ADMIN=text).http_api
    assert api is not None
    assert api.access_tokens["admin"].get_secret_value() == token


@pytest.mark.clause("10.1.3")
def test_a_token_joins_those_of_the_document(load: Load) -> None:
    api = load('[http_api.access_tokens]\nother = "a"\n', HTTP_API__ACCESS_TOKENS__ADMIN="b").http_api
    assert api is not None
    assert list(api.access_tokens) == ["other", "admin"]


@pytest.mark.clause("1.2.19")
def test_an_empty_override_of_an_optional_value_means_none(load: Load) -> None:
    document = (
        '[core.net]\nexternal_ip = "1.2.3.4"\n[core.limits]\nmax_peers = 5\n[http_api]\n[[udp_trackers]]\n'
    )
    config = load(
        document, CORE__NET__EXTERNAL_IP="", CORE__LIMITS__MAX_PEERS=" ", HTTP_API="", UDP_TRACKERS=""
    )
    assert config.core.net.external_ip is None
    assert config.core.limits.max_peers is None
    assert config.http_api is None
    assert config.udp_trackers is None


def test_an_empty_token_is_no_token_and_makes_no_api(load: Load) -> None:
    assert load(HTTP_API__ACCESS_TOKENS__ADMIN="").http_api is None


def test_an_empty_token_takes_that_of_the_document_away(load: Load) -> None:
    api = load('[http_api.access_tokens]\nadmin = "a"\n', HTTP_API__ACCESS_TOKENS__ADMIN="").http_api
    assert api is not None
    assert api.access_tokens == {}


def test_an_empty_override_of_another_value_is_refused(complaint: Complaint) -> None:
    assert complaint(CORE__LISTED="") == (
        'core.listed = "": must be true or false '
        "(in environment variable TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__LISTED)"
    )


@pytest.mark.clause("1.2.8")
def test_tables_merge_key_by_key() -> None:
    document: Table = {"a": {"b": {"x": 1, "y": 2}, "c": 3}}
    assert overridden(document, A="{b={y=4,z=5}}") == {"a": {"b": {"x": 1, "y": 4, "z": 5}, "c": 3}}


def test_a_table_gives_way_to_a_value_and_a_value_to_a_table() -> None:
    assert overridden({"a": {"b": 1}, "c": 2}, A="3", C="{d=4}") == {"a": 3, "c": {"d": 4}}


def test_an_outer_table_is_set_before_what_is_in_it() -> None:
    assert overridden({}, A__B__C="1", A="{b={c=2,d=3}}") == {"a": {"b": {"c": 1, "d": 3}}}


@pytest.mark.clause("1.2.14")
@pytest.mark.parametrize(
    "name",
    [
        "TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__LISTED",
        "torrust_tracker_config_override_core__listed",
        "Torrust_Tracker_Config_Override_Core__Listed",
        "TORRUST_TRACKER_CONFIG_OVERRIDE_CORE.LISTED",
    ],
)
def test_the_case_of_a_variable_does_not_matter(name: str) -> None:
    assert read_overrides({name: "true"}) == [(("core", "listed"), name, True)]


@pytest.mark.parametrize(
    "name", ["PATH", "TORRUST_TRACKER_CONFIG_TOML", "XTORRUST_TRACKER_CONFIG_OVERRIDE_A"]
)
def test_other_variables_are_not_overrides(name: str) -> None:
    assert read_overrides({name: "x"}) == []


def test_a_third_underscore_belongs_to_the_name() -> None:
    assert overridden({}, A___B="1") == {"a": {"_b": 1}}


def test_an_override_of_an_unknown_option_is_ignored(load: Load) -> None:
    assert load(NOTHING__KNOWN="1", CORE__NOTHING="2") == load()


@pytest.mark.parametrize("name", ["", "__", "CORE__", "__CORE", "CORE____LISTED"])
def test_a_malformed_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{PREFIX}{name}: must name an option"):
        read_overrides({PREFIX + name: "x"})


@pytest.mark.clause("1.2.17")
@pytest.mark.parametrize(
    ("name", "option"),
    [("CORE__LISTED__X", "core.listed"), ("UDP_TRACKERS__0__BIND_ADDRESS", "udp_trackers"), ("A__B", "a")],
)
def test_an_override_through_what_is_no_table_is_named(complaint: Complaint, name: str, option: str) -> None:
    with pytest.raises(ConfigError) as raised:
        overridden({"a": 1}, **{name: "x"})
    assert f"{option} is not a table" in str(raised.value)
    assert f"(by environment variable {PREFIX}{name})" in str(raised.value)


def test_an_override_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^core\.listed: must be UTF-8 text \(in environment variable "):
        read_overrides({PREFIX + "CORE__LISTED": "\udc80"})


def test_an_option_knows_its_variable() -> None:
    assert variable_of(("core", "net", "external_ip")) == f"{PREFIX}CORE__NET__EXTERNAL_IP"
