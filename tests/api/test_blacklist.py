import json
from typing import Any

import pytest

from torrust_py.core.types import InfoHash

HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
OTHER = "0102030405060708090a0b0c0d0e0f1011121314"
INFO_HASH = InfoHash(bytes.fromhex(HASH))
TEXT = "text/plain; charset=utf-8"
OK = (200, "application/json", '{"status":"ok"}')
UNIX_NOW = 1_679_334_274


async def post(api: Any, path: str, body: object) -> Any:
    sent = json.dumps(body).encode()
    return await api.ask("POST", path, body=sent, headers={"Content-Type": "application/json"})


def row(answer: Any) -> tuple[int, str | None, str]:
    return answer.status, answer.content_type, answer.text


async def test_a_torrent_is_refused_without_a_body(api) -> None:
    assert row(await api.ask("POST", f"/api/v1/blacklist/{HASH.upper()}")) == OK
    assert INFO_HASH in api.blacklist
    assert api.tables.blacklist[INFO_HASH] == (INFO_HASH, None, None)


async def test_a_reason_and_an_end_are_kept(api) -> None:
    answer = await post(api, f"/api/v1/blacklist/{HASH}", {"reason": "é", "seconds_valid": 60})
    assert row(answer) == OK
    assert api.tables.blacklist[INFO_HASH] == (INFO_HASH, "é", UNIX_NOW + 60)
    shown = f'[{{"info_hash":"{HASH}","reason":"é","valid_until":{UNIX_NOW + 60},"sources":["database"]}}]'
    assert row(await api.get("/api/v1/blacklist")) == (200, "application/json", shown)


async def test_a_torrent_is_no_longer_refused(api) -> None:
    await api.ask("POST", f"/api/v1/blacklist/{HASH}")
    assert row(await api.ask("DELETE", f"/api/v1/blacklist/{HASH}")) == OK
    assert row(await api.ask("DELETE", f"/api/v1/blacklist/{HASH}")) == OK
    assert (await api.get("/api/v1/blacklist")).text == "[]"


async def test_what_the_file_alone_has_stays(api) -> None:
    of_file = api.blacklist.new_file()
    of_file.add(INFO_HASH)
    await api.blacklist.take_file(of_file)
    answer = await api.ask("DELETE", f"/api/v1/blacklist/{HASH}")
    assert (answer.status, answer.content_type) == (409, TEXT)
    assert "the file of core.blacklist_path alone" in answer.text
    assert '"sources":["file"]' in (await api.get("/api/v1/blacklist")).text


async def test_many_are_refused_in_one_call(api) -> None:
    answer = await post(api, "/api/v1/blacklist", [{"info_hash": HASH}, {"info_hash": OTHER, "reason": "x"}])
    assert row(answer) == OK
    shown = json.loads((await api.get("/api/v1/blacklist?limit=1")).text)
    assert [entry["info_hash"] for entry in shown] == [OTHER]
    assert len(json.loads((await api.get("/api/v1/blacklist?offset=1")).text)) == 1


async def test_of_a_wrong_list_nothing_is_refused(api) -> None:
    answer = await post(api, "/api/v1/blacklist", [{"info_hash": HASH}, {"info_hash": "x"}])
    assert row(answer) == (400, TEXT, 'Invalid body: entry 2: info_hash is "x", not 40 hexadecimal digits')
    assert len(api.blacklist) == 0


async def test_none_at_all_may_be_refused(api) -> None:
    api.tables.failure = "it is away"  # and not asked
    assert row(await post(api, "/api/v1/blacklist", [])) == OK


@pytest.mark.parametrize(
    ("method", "path", "body", "to"),
    [
        ("POST", f"/{HASH}", None, "blacklist torrent"),
        ("POST", "", [{"info_hash": HASH}], "blacklist torrents"),
        ("DELETE", f"/{OTHER}", None, "remove torrent from blacklist"),
    ],
)
async def test_a_database_that_fails_changes_nothing(
    api, method: str, path: str, body: object, to: str
) -> None:
    await api.ask("POST", f"/api/v1/blacklist/{OTHER}")
    api.tables.failure = "it is away"
    sent = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if sent else {}
    answer = await api.ask(method, f"/api/v1/blacklist{path}", body=sent, headers=headers)
    reason = f'Unhandled rejection: Err {{ reason: "failed to {to}: it is away" }}'
    assert row(answer) == (500, TEXT, reason)
    assert [json.loads((await api.get("/api/v1/blacklist")).text)[0]["info_hash"]] == [OTHER]


@pytest.mark.parametrize("path", ["", f"/{HASH}"])
async def test_a_body_is_announced_as_json(api, path: str) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await api.ask("POST", f"/api/v1/blacklist{path}", body=b"[]", headers=headers)
    assert row(answer) == (415, TEXT, "Expected request with `Content-Type: application/json`")


async def test_the_whitelist_is_shown(api) -> None:
    for info_hash in (HASH, OTHER):
        await api.ask("POST", f"/api/v1/whitelist/{info_hash}")
    assert row(await api.get("/api/v1/whitelist")) == (
        200, "application/json", f'[{{"info_hash":"{OTHER}"}},{{"info_hash":"{HASH}"}}]',
    )  # fmt: skip
    assert (await api.get("/api/v1/whitelist?offset=1&limit=7")).text == f'[{{"info_hash":"{HASH}"}}]'


async def test_keys_are_shown(api) -> None:
    for key, seconds in (("b" * 32, 60), ("a" * 32, None)):
        await api.post_key(json.dumps({"key": key, "seconds_valid": seconds}))
    assert json.loads((await api.get("/api/v1/keys")).text) == [
        {"key": "a" * 32, "valid_until": None, "expiry_time": None},
        {"key": "b" * 32, "valid_until": UNIX_NOW + 60, "expiry_time": "2023-03-20 17:45:34 UTC"},
    ]
    assert [one["key"] for one in json.loads((await api.get("/api/v1/keys?limit=1")).text)] == ["a" * 32]
