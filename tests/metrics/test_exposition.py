"""What is not seen at the door of a daemon: times and failures at will, and what an answer costs the loop."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from torrust_py.core.database import DatabaseState
from torrust_py.core.statistics import Door, Outcome, PortableStatistics, Reason
from torrust_py.core.swarms import Limits, PortableSwarms
from torrust_py.metrics import Binding, Build, Exposition, HttpListener, LoopLag, Sources, UdpListener
from torrust_py.metrics.families import families


@dataclass
class Service:
    statistics: PortableStatistics = field(default_factory=PortableStatistics)
    unsent: int = 0
    kernel_drops: int = 0
    open_connections: int = 0


@dataclass
class Room:
    limit: int = 100
    refused: int = 0
    evicted: int = 0


@dataclass
class Completed:
    saved_at: float | None = None
    unsaved: int = 0


@dataclass
class File:
    written_ms: int = 9_000
    size: int = 321


@dataclass
class Snapshot:
    file: File | None = None
    failures: int = 0


def sources(udp: Sequence[UdpListener] = (), http: Sequence[HttpListener] = (), **others: Any) -> Sources:
    made = {
        "build": Build("1.2.3", "portable", "3.11", "asyncio"),
        "swarms": PortableSwarms(),
        "limits": Limits(),
        "udp_listeners": udp,
        "http_listeners": http,
        "room": Room(),
        "usage_statistics": True,
        "keys": [],
        "whitelist": [],
        "blacklist": [],
        "database": DatabaseState(),
        "completed": Completed(),
        "doubts": {"keys": lambda: False},
        "snapshot": None,
        "loop_lag": LoopLag(),
        "available_memory": lambda: 5,
        "unix_now": lambda: 10.0,
        "monotonic_now": lambda: 100.0,
    }
    return Sources(**(made | others))


async def shown(given: Sources) -> dict[str, float]:
    """Samples of one kind together."""
    text = (await Exposition(given).as_text("")).body.decode()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


async def test_what_there_is_not_is_not_shown() -> None:
    names = await shown(sources())
    for name in (
        "torrust_tracker_completed_unsaved",
        "torrust_tracker_snapshot_size_bytes",
        "torrust_tracker_limit",
    ):
        assert name not in names
    assert names["torrust_tracker_database_up"] == 1


async def test_a_database_that_is_away_and_what_it_leaves_unsaved_is_shown() -> None:
    state = DatabaseState()
    state.note(answered=True)
    state.note(answered=False)
    given = sources(
        database=state, completed=Completed(saved_at=40.0, unsaved=7), doubts={"keys": lambda: True}
    )
    names = await shown(given)
    assert names["torrust_tracker_database_up"] == 0
    assert names["torrust_tracker_database_calls_total"] == 2
    assert names["torrust_tracker_database_changes_in_doubt"] == 1
    assert names["torrust_tracker_completed_unsaved"] == 7
    assert names["torrust_tracker_completed_saved_age_seconds"] == 60


async def test_a_snapshot_has_an_age_and_a_size_once_it_is_written() -> None:
    names = await shown(sources(snapshot=Snapshot(failures=2)))
    assert names["torrust_tracker_snapshot_failures_total"] == 2
    assert "torrust_tracker_snapshot_age_seconds" not in names
    names = await shown(sources(snapshot=Snapshot(File())))
    assert names["torrust_tracker_snapshot_age_seconds"] == 1
    assert names["torrust_tracker_snapshot_size_bytes"] == 321


async def test_a_family_from_which_nobody_can_come_is_not_shown_until_somebody_does() -> None:
    service = Service()
    given = sources(http=[HttpListener(Binding("http", "127.0.0.1", 7070), service)])
    text = (await Exposition(given).as_text("")).body.decode()
    assert 'client_address_ip_family="inet6"' not in text
    service.statistics.count(Door.TCP6, Outcome.ANNOUNCE)  # behind a proxy
    text = (await Exposition(given).as_text("")).body.decode()
    assert 'client_address_ip_family="inet6"' in text


async def test_a_reason_that_a_protocol_cannot_have_is_not_shown_for_it() -> None:
    udp = [UdpListener(Binding("udp", "0.0.0.0", 6969), Service(), 1, 2)]
    http = [HttpListener(Binding("http", "0.0.0.0", 7070), Service())]
    metrics = json.loads((await Exposition(sources(udp, http)).as_json()).body)["metrics"]
    [unhandled] = [each for each in metrics if each["name"] == "torrust_tracker_requests_unhandled_total"]
    over: dict[str, set[str]] = {"udp": set(), "http": set()}
    for sample in unhandled["samples"]:
        labels = {label["name"]: label["value"] for label in sample["labels"]}
        over[labels["server_binding_protocol"]].add(labels["reason"])
    assert over["udp"] & over["http"] == {"not_whitelisted", "blacklisted", "no_memory", "internal_error"}
    assert over["udp"] | over["http"] == {reason.name.lower() for reason in Reason}


@pytest.mark.parametrize("format", ["text", "openmetrics", "json"])
async def test_the_loop_turns_while_an_answer_of_many_samples_is_written(format: str) -> None:
    listeners = [UdpListener(Binding("udp", "::", port), Service(), 1, 2) for port in range(8)]
    pages = [HttpListener(Binding("http", "::", port), Service()) for port in range(8)]
    given = sources(listeners, pages)
    samples = sum(len(family.samples) for family in families(given))
    assert samples > 1500
    exposition = Exposition(given)
    accept = "application/openmetrics-text; version=1.0.0" if format == "openmetrics" else ""
    answering = asyncio.ensure_future(
        exposition.as_json() if format == "json" else exposition.as_text(accept)
    )
    turns = 0
    while not answering.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > samples / 200
    if format == "json":
        metrics = json.loads((await answering).body)["metrics"]
        assert len(metrics) == len(families(given))
        return
    text = (await answering).body.decode()
    names = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    assert len(names) == len(set(names)) == len(families(given))  # none is begun twice
    parse = openmetrics if format == "openmetrics" else text_string_to_metric_families
    parsed = [sample for family in parse(text) for sample in family.samples]
    assert len(parsed) == samples
