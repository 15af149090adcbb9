"""The metrics as text for Prometheus, or as JSON.

prometheus-client is imported with the first answer: a tracker that nobody asks does without.
"""

import asyncio
import importlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from torrust_py.metrics.catalogue import CATALOGUE
from torrust_py.metrics.sources import Sources

if TYPE_CHECKING:  # see above
    from prometheus_client.core import Metric as Family

_END = b"# EOF\n"


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
        pieces = []
        for family in made:
            pieces.append(encode(_Alone(family)))
            await asyncio.sleep(0)
        has_end = pieces[-1].endswith(_END)
        body = b"".join(piece.removesuffix(_END) for piece in pieces)
        return Exposed(body + _END if has_end else body, content_type)

    async def as_json(self) -> Exposed:
        made = await self._families()
        now = datetime.fromtimestamp(self._sources.unix_now(), UTC).isoformat()
        described = []
        for family in made:
            described.append(_described(family, now))
            await asyncio.sleep(0)
        body = json.dumps({"metrics": described}, separators=(",", ":")).encode()
        return Exposed(body, "application/json")

    async def _families(self) -> "list[Family]":
        await asyncio.to_thread(importlib.import_module, "torrust_py.metrics.families")
        from torrust_py.metrics.families import families

        return families(self._sources)


class _Alone:
    """One family, as the library wants to be given all."""

    def __init__(self, family: "Family") -> None:
        self._family = family

    def collect(self) -> "Iterable[Family]":
        return [self._family]


def _described(family: "Family", now: str) -> dict[str, Any]:  # Any: JSON
    """As Torrust's development version writes it, which has no histograms."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    if family.type == "info":
        name = f"{family.name}_info"
    unit = CATALOGUE[name].unit if name in CATALOGUE else _unit_by_name(name)
    samples = _histograms(family) if family.type == "histogram" else _numbers(family)
    return {
        "type": family.type if family.type in ("counter", "histogram") else "gauge",
        "name": name,
        "unit": unit or None,
        "description": family.documentation,
        "samples": [
            {
                **values,
                "recorded_at": now,
                "labels": [{"name": label, "value": value} for label, value in labels],
            }
            for labels, values in samples
        ],
    }


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
