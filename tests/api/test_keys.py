import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.api.keys import expiry_text

KEY = "Xc1L4PbQJSFGlrgSRZl8wxSFAuMa21z5"
FAILED = 'Unhandled rejection: Err {{ reason: "{}" }}'


@pytest.mark.clause("7.9.6")
@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (1_679_334_334_712_077_008, "2023-03-20 17:45:34.712077008 UTC"),
        (1_679_334_334_712_077_000, "2023-03-20 17:45:34.712077 UTC"),
        (1_679_334_334_712_000_000, "2023-03-20 17:45:34.712 UTC"),
        (1_679_334_334_000_000_000, "2023-03-20 17:45:34 UTC"),
        (1_679_334_334_000_000_001, "2023-03-20 17:45:34.000000001 UTC"),
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_400 * 10**9, "2000-02-29 00:00:00 UTC"),
        (253_402_300_799 * 10**9, "9999-12-31 23:59:59 UTC"),
        (253_402_300_800 * 10**9, "+10000-01-01 00:00:00 UTC"),
        (8_210_266_876_799 * 10**9, "+262142-12-31 23:59:59 UTC"),
    ],
)
def test_the_time_of_expiry_has_as_many_digits_as_it_needs(unix_ns: int, text: str) -> None:
    assert expiry_text(unix_ns) == text


@pytest.mark.clause("7.9.6")
@given(st.integers(0, 8_210_266_876_799 * 10**9))
def test_the_fraction_has_whole_groups_of_digits(unix_ns: int) -> None:
    _, _, fraction = expiry_text(unix_ns).removesuffix(" UTC").partition(".")
    assert len(fraction) in (0, 3, 6, 9)
    assert int(fraction.ljust(9, "0")) == unix_ns % 10**9


async def test_a_random_key_is_made_that_admits_until_it_expires(api) -> None:
    answer = await api.post_key('{"key":null,"seconds_valid":60}')
    key = json.loads(answer.text)["key"]
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8")
    assert answer.text == (
        f'{{"key":"{key}","valid_until":1679334334,"expiry_time":"2023-03-20 17:45:34.712077008 UTC"}}'
    )
    api.keys.check(key, 1_679_334_334)


async def test_a_given_key_is_kept(api) -> None:
    answer = await api.post_key(f'{{"key":"{KEY}","seconds_valid":60}}')
    assert answer.text == (
        f'{{"key":"{KEY}","valid_until":1679334334,"expiry_time":"2023-03-20 17:45:34.712077008 UTC"}}'
    )
    assert api.tables.keys[KEY].valid_until == 1679334334


async def test_a_key_may_be_permanent(api) -> None:
    answer = await api.post_key(f'{{"key":"{KEY}","seconds_valid":null}}')
    assert answer.text == f'{{"key":"{KEY}","valid_until":null,"expiry_time":null}}'
    api.keys.check(KEY, 1e15)


async def test_a_key_may_expire_at_once(api) -> None:
    answer = await api.post_key('{"key":null,"seconds_valid":0}')
    assert json.loads(answer.text)["valid_until"] == 1679334274


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"]
)
async def test_json_may_be_named_in_many_ways(api, content_type: str) -> None:
    answer = await api.post_key('{"key":null,"seconds_valid":1}', content_type=content_type)
    assert answer.status == 200


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/jsonp", "json", "text/json"])
async def test_a_body_of_another_type_is_status_415(api, content_type: str | None) -> None:
    answer = await api.post_key('{"key":null,"seconds_valid":1}', content_type=content_type)
    assert (answer.status, answer.content_type) == (415, "text/plain; charset=utf-8")
    assert answer.text == "Expected request with `Content-Type: application/json`"


@pytest.mark.parametrize("key", ["-1", "invalid", "I" * 31, "G" * 33])
async def test_a_given_key_of_another_length_is_refused(api, key: str) -> None:
    answer = await api.post_key(json.dumps({"key": key, "seconds_valid": 60}))
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == (
        f'Invalid URL: invalid auth key: string "{key}", Invalid key length. Key must be have 32 chars'
    )


async def test_a_given_key_of_other_characters_is_refused(api) -> None:
    key = "%" + "A" * 31
    answer = await api.post_key(json.dumps({"key": key, "seconds_valid": 60}))
    assert (answer.status, answer.text) == (
        400,
        f'Invalid URL: invalid auth key: string "{key}", '
        "Invalid chars for key. Key can only alphanumeric chars (0-9, a-z, A-Z)",
    )


@pytest.mark.clause("7.5.20")
@pytest.mark.parametrize("seconds", [2**64 - 1, 8_210_266_876_799])
@pytest.mark.parametrize("key", [KEY, None])
async def test_a_duration_beyond_the_calendar_is_refused(api, key: str | None, seconds: int) -> None:
    answer = await api.post_key(json.dumps({"key": key, "seconds_valid": seconds}))
    assert (answer.status, answer.text) == (400, f'Invalid URL: invalid auth key duration: "{seconds}"')
    assert not api.tables.keys


async def test_a_duration_in_the_path_beyond_the_calendar_is_refused(api) -> None:
    answer = await api.ask("POST", f"/api/v1/key/{2**64 - 1}")
    assert (answer.status, answer.text) == (
        400,
        f'Invalid URL: invalid auth key duration: "{2**64 - 1}"',
    )


@pytest.mark.parametrize("seconds_valid", ['"-1"', '"text"'])
async def test_a_duration_of_the_wrong_type_is_status_422(api, seconds_valid: str) -> None:
    answer = await api.post_key(f'{{"key":null,"seconds_valid":{seconds_valid}}}')
    assert (answer.status, answer.content_type) == (422, "text/plain; charset=utf-8")
    assert answer.text.startswith(
        "Failed to deserialize the JSON body into the target type: seconds_valid: invalid type"
    )


async def test_a_body_over_64_kib_is_status_413(api) -> None:
    padding = " " * 65_536
    answer = await api.post_key(f'{{"key":null,"seconds_valid":1}}{padding}')
    assert answer.status == 413
    assert not api.tables.keys


async def test_a_body_of_64_kib_is_read(api) -> None:
    body = '{"key":null,"seconds_valid":1}'
    answer = await api.post_key(body + " " * (65_536 - len(body)))
    assert answer.status == 200


async def test_a_key_that_exists_cannot_be_added(api) -> None:
    await api.post_key(f'{{"key":"{KEY}","seconds_valid":null}}')
    answer = await api.post_key(f'{{"key":"{KEY}","seconds_valid":60}}')
    assert (answer.status, answer.content_type) == (500, "text/plain; charset=utf-8")
    assert answer.text == FAILED.format("failed to generate key: UNIQUE constraint failed: keys.key")


async def test_the_deprecated_path_makes_a_random_key(api) -> None:
    answer = await api.ask("POST", "/api/v1/key/60")
    key = json.loads(answer.text)["key"]
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8")
    assert answer.text == (
        f'{{"key":"{key}","valid_until":1679334334,"expiry_time":"2023-03-20 17:45:34.712077008 UTC"}}'
    )
    api.keys.check(key, 1_679_334_334)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("-1", "-1"),
        ("text", "text"),
        ("1.5", "1.5"),
        ("18446744073709551616", "18446744073709551616"),
        ("%22%0a", '\\"\\n'),
    ],
)
async def test_a_duration_in_the_path_that_is_no_number_is_refused(api, sent: str, shown: str) -> None:
    answer = await api.ask("POST", f"/api/v1/key/{sent}")
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == f'Invalid URL: Cannot parse `"{shown}"` to a `u64`'


async def test_a_key_can_be_deleted(api) -> None:
    await api.post_key(f'{{"key":"{KEY}","seconds_valid":null}}')
    answer = await api.ask("DELETE", f"/api/v1/key/{KEY}")
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", '{"status":"ok"}')
    assert len(api.keys) == 0


async def test_an_unknown_key_cannot_be_deleted(api) -> None:
    answer = await api.ask("DELETE", f"/api/v1/key/{KEY}")
    assert (answer.status, answer.text) == (
        500,
        FAILED.format("failed to delete key: Failed to remove record from Sqlite3 database, error-code: 0"),
    )


@pytest.mark.parametrize("key", ["0", "-1", "INVALID%20AUTH%20KEY%20ID", "I" * 31, "G" * 33, "%22"])
async def test_what_cannot_be_a_key_cannot_be_deleted(api, key: str) -> None:
    answer = await api.ask("DELETE", f"/api/v1/key/{key}")
    shown = key.replace("%20", " ").replace("%22", '"')
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.text == f'Invalid auth key id param "{shown}"'


async def test_keys_are_reloaded_from_the_database(api) -> None:
    await api.post_key(f'{{"key":"{KEY}","seconds_valid":null}}')
    api.tables.keys.clear()
    answer = await api.get("/api/v1/keys/reload")
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", '{"status":"ok"}')
    assert len(api.keys) == 0


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/api/v1/key/60", "generate key"),
        ("DELETE", f"/api/v1/key/{KEY}", "delete key"),
        ("GET", "/api/v1/keys/reload", "reload keys"),
    ],
)
async def test_a_database_that_fails_is_told(api, method: str, path: str, operation: str) -> None:
    api.tables.failure = 'no such table: "keys"'
    answer = await api.ask(method, path)
    assert (answer.status, answer.content_type) == (500, "text/plain; charset=utf-8")
    assert answer.text == FAILED.format(f'failed to {operation}: no such table: \\"keys\\"')


async def test_a_key_is_not_made_when_the_database_fails(api) -> None:
    api.tables.failure = "gone"
    answer = await api.post_key('{"key":null,"seconds_valid":60}')
    assert (answer.status, answer.text) == (500, FAILED.format("failed to generate key: gone"))
    assert len(api.keys) == 0
