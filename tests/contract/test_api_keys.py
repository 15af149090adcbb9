"""The keys as the REST API changes them, seen by those who announce with them."""

import json
import re
import secrets
import sqlite3
import string
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TEXT = "text/plain; charset=utf-8"
NEW = "application/json; charset=utf-8"
OK = (200, "application/json", '{"status":"ok"}')
JSON = {"Content-Type": "application/json"}
NOT_JSON = "Failed to parse the request body as JSON: "
NOT_OF_THE_TYPE = "Failed to deserialize the JSON body into the target type: "
LENGTH = "Invalid key length. Key must be have 32 chars"
CHARACTERS = "Invalid chars for key. Key can only alphanumeric chars (0-9, a-z, A-Z)"


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def post(daemon: Any, body: object) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return daemon.call("POST", "/keys", body=text, headers=JSON)


def admits(daemon: Any, key: str) -> bool:
    return b"failure reason" not in daemon.announce(bytes(20), key=key).body


def check_new_key(answer: Any, *, seconds_valid: int) -> str:
    """The key in an answer that has one which expires in so many seconds from now."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, NEW)
    match = re.fullmatch(
        r'{"key":"([0-9A-Za-z]{32})","valid_until":(\d+),"expiry_time":"([^"]+)( UTC)"}', answer.text
    )
    assert match
    valid_until = int(match[2])
    assert abs(valid_until - seconds_valid - time.time()) < 10
    whole, _, fraction = match[3].partition(".")
    assert whole == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(valid_until))
    assert re.fullmatch(r"|\d{3}|\d{6}|\d{9}", fraction)
    return match[1]


# --- adding


@pytest.mark.clause("7.3.8", "7.5.18", "7.9.3", "7.9.4", "7.9.5", "7.9.6", "12.3.34")
def test_a_random_key_admits(private: Any) -> None:
    key = check_new_key(post(private, {"key": None, "seconds_valid": 60}), seconds_valid=60)
    assert admits(private, key)
    another = check_new_key(post(private, {"key": None, "seconds_valid": 60}), seconds_valid=60)
    assert another != key


@pytest.mark.clause("7.3.8", "7.5.18", "7.9.4", "12.3.35")
def test_a_given_key_admits(private: Any, key: str) -> None:
    assert not admits(private, key)
    assert check_new_key(post(private, {"key": key, "seconds_valid": 60}), seconds_valid=60) == key
    assert admits(private, key)


@pytest.mark.clause("7.9.3", "7.9.5", "7.9.6")
def test_a_key_without_a_duration_is_permanent(private: Any, key: str) -> None:
    answer = post(private, {"key": key, "seconds_valid": None})
    assert answer.row == (200, NEW, f'{{"key":"{key}","valid_until":null,"expiry_time":null}}')
    assert admits(private, key)


@pytest.mark.clause("7.9.3")
def test_a_key_of_0_seconds_expires_at_once(private: Any, key: str) -> None:
    check_new_key(post(private, {"key": key, "seconds_valid": 0}), seconds_valid=0)
    deadline = time.monotonic() + 5
    while admits(private, key):  # until the second has passed
        assert time.monotonic() < deadline


@pytest.mark.clause("7.9.2")
def test_other_members_are_ignored(private: Any, key: str) -> None:
    answer = post(private, {"label": ["x"], "seconds_valid": 60, "key": key, "valid_until": 1})
    assert check_new_key(answer, seconds_valid=60) == key


@pytest.mark.clause("7.9.1")
@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/vnd.api+json"]
)
def test_json_may_be_named_in_several_ways(private: Any, content_type: str) -> None:
    body = '{"key":null,"seconds_valid":60}'
    answer = private.call("POST", "/keys", body=body, headers={"Content-Type": content_type})
    assert answer.status == 200


@pytest.mark.clause("7.3.9", "7.5.28", "7.9.4", "12.3.47")
def test_the_deprecated_call_makes_a_key_that_admits(private: Any) -> None:
    assert admits(private, check_new_key(private.call("POST", "/key/60"), seconds_valid=60))


@pytest.mark.clause("7.5.19", "12.3.39")
@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("-1", LENGTH), ("invalid", LENGTH), ("GQEs2ZNcCm9cwEV9dBpcPB5OwNFWFiR", LENGTH),
        ("GQEs2ZNcCm9cwEV9dBpcPB5OwNFWFiRRx", LENGTH), ("", LENGTH),
        ("%QEs2ZNcCm9cwEV9dBpcPB5OwNFWFiRR", CHARACTERS),
    ],
)  # fmt: skip
def test_what_cannot_be_a_key_is_not_added(private: Any, key: str, problem: str) -> None:
    answer = post(private, {"key": key, "seconds_valid": 60})
    assert answer.row == (400, TEXT, f'Invalid URL: invalid auth key: string "{key}", {problem}')


@pytest.mark.clause("7.5.20")
@pytest.mark.parametrize("seconds", [2**64 - 1, 9 * 10**12])
@pytest.mark.parametrize("is_given", [True, False])
def test_a_duration_beyond_the_calendar_is_refused(
    private: Any, key: str, seconds: int, is_given: bool
) -> None:
    answer = post(private, {"key": key if is_given else None, "seconds_valid": seconds})
    assert answer.row == (400, TEXT, f'Invalid URL: invalid auth key duration: "{seconds}"')
    assert not admits(private, key)


@pytest.mark.clause("7.5.20")
def test_a_duration_beyond_the_calendar_in_the_path_is_refused(private: Any) -> None:
    answer = private.call("POST", f"/key/{2**64 - 1}")
    assert answer.row == (400, TEXT, f'Invalid URL: invalid auth key duration: "{2**64 - 1}"')


@pytest.mark.parametrize(
    ("seconds_valid", "problem"),
    [
        pytest.param(
            '"-1"', 'seconds_valid: invalid type: string "-1", expected u64 at line 1 column 32',
            marks=pytest.mark.clause("7.5.21", "12.3.40"),
        ),
        pytest.param(
            '"text"', 'seconds_valid: invalid type: string "text", expected u64 at line 1 column 34',
            marks=pytest.mark.clause("7.5.21", "12.3.40"),
        ),
        pytest.param(
            "true", "seconds_valid: invalid type: boolean `true`, expected u64 at line 1 column 32",
            marks=pytest.mark.clause("7.5.21"),
        ),
        pytest.param(
            "1.5", "seconds_valid: invalid type: floating point `1.5`, expected u64 at line 1 column 31",
            marks=pytest.mark.clause("7.5.21"),
        ),
        pytest.param(
            "-1", "seconds_valid: invalid value: integer `-1`, expected u64 at line 1 column 30",
            marks=pytest.mark.clause("7.5.23"),
        ),
    ],
)  # fmt: skip
def test_a_duration_of_another_type_is_refused(private: Any, seconds_valid: str, problem: str) -> None:
    answer = post(private, f'{{"key":null,"seconds_valid":{seconds_valid}}}')
    assert answer.row == (422, TEXT, NOT_OF_THE_TYPE + problem)


@pytest.mark.clause("7.5.21")
def test_a_key_of_another_type_is_refused(private: Any) -> None:
    answer = post(private, '{"key":1,"seconds_valid":60}')
    problem = "key: invalid type: integer `1`, expected a string at line 1 column 8"
    assert answer.row == (422, TEXT, NOT_OF_THE_TYPE + problem)


@pytest.mark.clause("7.5.22", "7.9.2")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"seconds_valid":60}', "missing field `key` at line 1 column 20"),
        ('{"key":null}', "missing field `seconds_valid` at line 1 column 12"),
        ("{\n}", "missing field `key` at line 2 column 1"),
    ],
)
def test_both_members_must_be_there(private: Any, body: str, problem: str) -> None:
    assert post(private, body).row == (422, TEXT, NOT_OF_THE_TYPE + problem)


@pytest.mark.clause("7.5.24")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{key:null}", "key must be a string at line 1 column 2"),
        ('{"key":null,}', "trailing comma at line 1 column 13"),
    ],
)
def test_a_body_that_is_no_json_is_refused(private: Any, body: str, problem: str) -> None:
    assert post(private, body).row == (400, TEXT, NOT_JSON + problem)


@pytest.mark.clause("7.5.25")
@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_said_to_be_json_is_refused(private: Any, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = '{"key":null,"seconds_valid":60}'
    answer = private.call("POST", "/keys", body=body, headers=headers)
    assert answer.row == (415, TEXT, "Expected request with `Content-Type: application/json`")


@pytest.mark.clause("7.4.2", "7.5.26", "7.9.7")
def test_a_key_that_exists_stays_as_it_was(private: Any, key: str) -> None:
    post(private, {"key": key, "seconds_valid": None})
    reason = "failed to generate key: The Sqlite3 query was malformed: UNIQUE constraint failed: keys.key"
    answer = post(private, {"key": key, "seconds_valid": 60})
    assert answer.row == (500, TEXT, f'Unhandled rejection: Err {{ reason: "{reason}" }}')
    assert stored(private)[key] is None
    assert admits(private, key)


@pytest.mark.clause("7.4.3")
def test_what_the_database_says_is_escaped(private: Any, key: str) -> None:
    with closing(sqlite3.connect(private.database)) as database, database:
        database.execute(
            f"CREATE TRIGGER picky BEFORE INSERT ON keys WHEN NEW.key = '{key}' "
            "BEGIN SELECT RAISE(ABORT, 'not \"this\" \\ one'); END"
        )
    answer = post(private, {"key": key, "seconds_valid": 60})
    reason = r"failed to generate key: The Sqlite3 query was malformed: not \"this\" \\ one"
    assert answer.row == (500, TEXT, f'Unhandled rejection: Err {{ reason: "{reason}" }}')


@pytest.mark.clause("7.5.29", "12.3.49", "B.1.4")
@pytest.mark.parametrize("value", ["-1", "text", "1.1", "18446744073709551616"])
def test_a_duration_in_the_path_that_is_no_number_is_refused(private: Any, value: str) -> None:
    answer = private.call("POST", f"/key/{value}")
    assert answer.row == (400, TEXT, f'Invalid URL: Cannot parse `"{value}"` to a `u64`')


# --- deleting, reloading


def stored(daemon: Any) -> dict[str, int | None]:
    with closing(sqlite3.connect(daemon.database)) as database:
        return dict(database.execute("SELECT key, valid_until FROM keys"))


@pytest.mark.clause("7.3.10", "7.4.1", "7.5.31", "12.3.38")
def test_a_deleted_key_admits_nobody(private: Any, key: str) -> None:
    post(private, {"key": key, "seconds_valid": 60})
    assert admits(private, key)
    assert private.call("DELETE", f"/key/{key}").row == OK
    assert not admits(private, key)
    assert key not in stored(private)


@pytest.mark.clause("7.5.33")
def test_an_unknown_key_cannot_be_deleted(private: Any, key: str) -> None:
    reason = "failed to delete key: Failed to remove record from Sqlite3 database, error-code: 0"
    answer = private.call("DELETE", f"/key/{key}")
    assert answer.row == (500, TEXT, f'Unhandled rejection: Err {{ reason: "{reason}" }}')


@pytest.mark.clause("7.5.32", "12.3.41", "B.1.4")
@pytest.mark.parametrize(
    "value", ["0", "-1", "INVALID%20AUTH%20KEY%20ID", "G" * 31, "G" * 33, "%25" + "G" * 31, "%22"]
)
def test_what_cannot_be_a_key_cannot_be_deleted(private: Any, value: str) -> None:
    shown = value.replace("%20", " ").replace("%25", "%").replace("%22", '"')
    answer = private.call("DELETE", f"/key/{value}")
    assert answer.row == (400, TEXT, f'Invalid auth key id param "{shown}"')


@pytest.mark.clause("7.3.11", "7.5.35", "12.3.44")
def test_a_reload_makes_the_keys_what_the_database_holds(private: Any, key: str) -> None:
    gone = key[::-1]
    post(private, {"key": gone, "seconds_valid": 60})
    with closing(sqlite3.connect(private.database)) as database, database:
        database.execute("INSERT INTO keys (key, valid_until) VALUES (?, NULL)", (key,))
        database.execute("DELETE FROM keys WHERE key = ?", (gone,))
    assert (admits(private, key), admits(private, gone)) == (False, True)
    assert private.call("GET", "/keys/reload").row == OK
    assert (admits(private, key), admits(private, gone)) == (True, False)


# --- without their table

KNOWN = "Xc1L4PbQJSFGlrgSRZl8wxSFAuMa21z5"


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory,
    configure: Callable[..., str],
    share: Callable[[Path, str], AbstractContextManager[Any]],
) -> Iterator[Any]:
    """A tracker with one key, whose table has been dropped since."""
    with share(tmp_path_factory.mktemp("broken"), configure(private=True)) as daemon:
        post(daemon, {"key": KNOWN, "seconds_valid": None})
        with closing(sqlite3.connect(daemon.database)) as database, database:
            database.execute("DROP TABLE keys")
        yield daemon


@pytest.mark.parametrize(
    ("method", "path", "body", "operation"),
    [
        pytest.param(
            "POST", "/keys", '{"key":"YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ","seconds_valid":60}', "generate key",
            marks=pytest.mark.clause("7.4.2", "7.5.27", "12.3.37"),
        ),
        pytest.param(
            "POST", "/key/60", None, "generate key", marks=pytest.mark.clause("7.4.2", "7.5.30", "12.3.50")
        ),
        pytest.param(
            "DELETE", f"/key/{KNOWN}", None, "delete key",
            marks=pytest.mark.clause("7.4.2", "7.5.34", "12.3.42"),
        ),
        pytest.param(
            "GET", "/keys/reload", None, "reload keys",
            marks=pytest.mark.clause("7.4.2", "7.5.36", "12.3.45"),
        ),
    ],
)  # fmt: skip
def test_a_database_that_fails_is_told_and_changes_nothing(
    broken: Any, method: str, path: str, body: str | None, operation: str
) -> None:
    reason = f"failed to {operation}: The Sqlite3 query was malformed: no such table: keys"
    answer = broken.call(method, path, body=body, headers=JSON if body else {})
    assert answer.row == (500, TEXT, f'Unhandled rejection: Err {{ reason: "{reason}" }}')
    assert admits(broken, KNOWN)
    assert not admits(broken, "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ")
