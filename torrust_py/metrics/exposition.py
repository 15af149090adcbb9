"""The metrics as text for Prometheus, or as JSON.

prometheus-client is imported with the first answer: a tracker that nobody asks does without.
"""

import asyncio
import importlib
import json
import re
from collections.abc import Iterable, Iterator
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from torrust_py.metrics.catalogue import CATALOGUE
from torrust_py.metrics.sources import Sources

if TYPE_CHECKING:  # see above
    from prometheus_client.core import Metric as Family

_END = b"# EOF\n"
_HEAD = re.compile(rb"^# (?:HELP|TYPE|UNIT) .*\n", re.MULTILINE)
_SAMPLES_A_TURN = 150  # which is a millisecond


class Exposed(NamedTuple):
    body: bytes
    content_type: str


class Exposition:
    """Shows all metrics as of one moment, which it writes down while the loop turns."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def as_text(self, accept: str) -> Exposed:
        """In the text format; `accept`, the header of that name, may ask for OpenMetrics."""
        made = await self._families()
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        body = bytearray()
        end = b""
        for family in made:
            for part in _parts(family):
                encoded = encode(_Alone(part))
                end = _END if encoded.endswith(_END) else b""
                lines = encoded.removesuffix(_END)
                body += (
                    lines if part is family or part.samples[0] is family.samples[0] else _HEAD.sub(b"", lines)
                )
                await asyncio.sleep(0)
        return Exposed(bytes(body) + end, content_type)

    async def as_json(self) -> Exposed:
        made = await self._families()
        now = datetime.fromtimestamp(self._sources.unix_now(), UTC).isoformat()
        described = []
        for family in made:
            samples = []
            for part in _parts(family):
                samples += [json.dumps(sample, separators=(",", ":")) for sample in _samples(part, now)]
                await asyncio.sleep(0)
            head = json.dumps(_head(family), separators=(",", ":"))
            described.append(f'{head[:-1]},"samples":[{",".join(samples)}]}}')
        return Exposed(f'{{"metrics":[{",".join(described)}]}}'.encode(), "application/json")

    async def _families(self) -> "list[Family]":
        await asyncio.to_thread(importlib.import_module, "torrust_py.metrics.families")
        from torrust_py.metrics.families import families

        made = families(self._sources)
        await asyncio.sleep(0)
        return made


class _Alone:
    """One family, as the library wants to be given all."""

    def __init__(self, family: "Family") -> None:
        self._family = family

    def collect(self) -> "Iterable[Family]":
        return [self._family]


def _parts(family: "Family") -> "Iterator[Family]":
    """The same with a part of the samples each; those of one histogram stay together."""
    if len(family.samples) <= _SAMPLES_A_TURN:
        yield family
        return
    part, last = copy(family), None
    part.samples = []
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        if len(part.samples) >= _SAMPLES_A_TURN and labels != last:
            yield part
            part = copy(family)
            part.samples = []
        part.samples.append(sample)
        last = labels
    yield part


def _head(family: "Family") -> dict[str, Any]:  # Any: JSON
    """All but the samples, as Torrust's development version writes it, which has no histograms."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    if family.type == "info":
        name = f"{family.name}_info"
    unit = CATALOGUE[name].unit if name in CATALOGUE else _unit_by_name(name)
    return {
        "type": family.type if family.type in ("counter", "histogram") else "gauge",
        "name": name,
        "unit": unit or None,
        "description": family.documentation,
    }


def _samples(family: "Family", now: str) -> Iterator[dict[str, Any]]:
    samples = _histograms(family) if family.type == "histogram" else _numbers(family)
    for labels, values in samples:
        named = [{"name": label, "value": value} for label, value in labels]
        yield {**values, "recorded_at": now, "labels": named}


_Labels = tuple[tuple[str, str], ...]


def _numbers(family: "Family") -> Iterator[tuple[_Labels, dict[str, Any]]]:
    for sample in family.samples:
        yield tuple(sorted(sample.labels.items())), {"value": sample.value}


def _histograms(family: "Family") -> Iterator[tuple[_Labels, dict[str, Any]]]:
    made: dict[_Labels, dict[str, Any]] = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        values = made.setdefault(tuple(sorted(labels.items())), {"buckets": []})
        if bound is not None:
            values["buckets"].append({"le": bound, "value": sample.value})
        else:
            values[sample.name.rpartition("_")[2]] = sample.value  # count, sum
    yield from made.items()


def _unit_by_name(name: str) -> str:
    return next((unit for unit in ("seconds", "bytes") if unit in name), "count")
