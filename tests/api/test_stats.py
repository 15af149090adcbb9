import json

import pytest

from torrust_py.core.statistics import Door, Outcome

KEYS = ["torrents", "seeders", "completed", "leechers"] + [
    f"{door}_{what}_handled"
    for door in ("tcp4", "tcp6", "udp4", "udp6")
    for what in ("connections", "announces", "scrapes")
]


def count_something_everywhere(api) -> None:
    for door in Door:
        for outcome in Outcome:
            if not (outcome is Outcome.CONNECT and door in (Door.TCP4, Door.TCP6)):
                for _ in range(10 * door + outcome + 1):
                    api.statistics.count(door, outcome)


@pytest.mark.clause("7.6.1")
async def test_the_sixteen_counters_come_in_order(api) -> None:
    answer = await api.get("/api/v1/stats")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.text == "{" + ",".join(f'"{key}":0' for key in KEYS) + "}"


async def test_totals_of_the_swarms_are_shown(api) -> None:
    api.announce(b"\1" * 20)
    api.announce(b"\1" * 20, endpoint=b"\1\2\3\4\5\6", left=5)
    api.announce(b"\2" * 20, left=5)
    stats = json.loads((await api.get("/api/v1/stats")).text)
    assert [stats[key] for key in KEYS[:4]] == [2, 1, 0, 2]


@pytest.mark.clause("7.6.1")
async def test_requests_that_were_handled_are_counted(api) -> None:
    count_something_everywhere(api)
    stats = json.loads((await api.get("/api/v1/stats")).text)
    assert [stats[key] for key in KEYS[4:]] == [5, 2, 3, 25, 12, 13, 21, 22, 23, 31, 32, 33]


async def test_without_usage_statistics_the_request_counters_stay_0(new_api) -> None:
    async with new_api(usage_statistics=False).served() as api:
        api.announce(b"\1" * 20)
        count_something_everywhere(api)
        stats = json.loads((await api.get("/api/v1/stats")).text)
    assert list(stats.values()) == [1, 1, 0, 0] + [0] * 12
