"""The metrics as they are now, in the form of prometheus-client."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family

from torrust_py.core.statistics import (
    LATENCY_BOUNDS,
    Door,
    DoorCounts,
    Fate,
    Latencies,
    Outcome,
    Reason,
    Statistics,
)
from torrust_py.metrics import catalogue, loop_lag
from torrust_py.metrics.catalogue import CATALOGUE, Metric
from torrust_py.metrics.sources import Binding, Sources

_Labels = Sequence[str]
_Samples = Iterable[tuple[_Labels, float]]

_UDP_DOORS = {Door.UDP4: "inet", Door.UDP6: "inet6"}
_TCP_DOORS = {Door.TCP4: "inet", Door.TCP6: "inet6"}
# A reason that a protocol cannot have is not shown for it.
UDP_ONLY = frozenset((Reason.BAD_CONNECTION_ID, Reason.BAD_PACKET, Reason.BUDGET_SPENT))
HTTP_ONLY = frozenset(
    (
        Reason.KEY_MISSING,
        Reason.KEY_UNKNOWN,
        Reason.KEY_EXPIRED,
        Reason.NO_FORWARDED_ADDRESS,
        Reason.NOT_FOUND,
        Reason.METHOD_NOT_ALLOWED,
        Reason.BAD_PARAMETERS,
        Reason.BAD_KEY,
        Reason.NOT_HTTP,
        Reason.TOO_LARGE,
        Reason.TOO_SLOW,
    )
)


def families(sources: Sources) -> list[Family]:
    """All of them, as of one moment."""
    parts = [_swarms(sources), _sockets(sources), _loop(sources), _database(sources), _process(sources)]
    if sources.usage_statistics:
        parts.insert(0, _requests(sources))
    order = {name: number for number, name in enumerate(CATALOGUE)}
    made = sorted(chain.from_iterable(parts), key=lambda pair: order[pair[0].name])
    return [family for _, family in made] + list(ProcessCollector(registry=None).collect())


_Made = Iterator[tuple[Metric, Family]]


def _numbers(metric: Metric, samples: _Samples) -> tuple[Metric, Family]:
    """A counter or a gauge."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return metric, family


def _number(metric: Metric, value: float) -> tuple[Metric, Family]:
    return _numbers(metric, [((), value)])


def _histogram(
    metric: Metric, bounds: Sequence[float], samples: Iterable[tuple[_Labels, Sequence[int], float]]
) -> tuple[Metric, Family]:
    """Each sample has the counts of its buckets, and the sum of what was measured."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    names = [*map(str, bounds), "+Inf"]
    for labels, counts, total in samples:
        family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
    return metric, family


# --- requests


class _Seen(NamedTuple):
    """What one listener has counted of clients of one family, and the labels for that."""

    labels: tuple[str, ...]
    counts: DoorCounts
    reasons: dict[Reason, int]

    @property
    def handled(self) -> dict[str, int]:
        kinds = {"announce": self.counts.announces, "scrape": self.counts.scrapes}
        return kinds if self.labels[0] != "udp" else {"connect": self.counts.connects, **kinds}


def _requests(sources: Sources) -> _Made:
    udp = [(one.binding, one.service.statistics) for one in sources.udp_listeners]
    http = [(one.binding, one.service.statistics) for one in sources.http_listeners]
    seen_udp = list(_seen(udp, _UDP_DOORS, left_out=HTTP_ONLY))
    seen_http = list(_seen(http, _TCP_DOORS, left_out=UDP_ONLY))
    yield _numbers(catalogue.REQUESTS, _by_outcome(seen_udp + seen_http))
    yield _numbers(catalogue.UNHANDLED, _by_reason(seen_udp + seen_http))
    yield _histogram(catalogue.DURATION, LATENCY_BOUNDS, _durations(udp + http))
    yield _numbers(catalogue.UDP_RECEIVED, [(one.labels, one.counts.received) for one in seen_udp])
    yield _numbers(catalogue.UDP_ACCEPTED, _by_kind(seen_udp))
    yield _numbers(catalogue.UDP_RESPONSES, _responses(seen_udp))
    yield _numbers(catalogue.UDP_ERRORS, [(one.labels, _errors(one)) for one in seen_udp])
    yield _numbers(
        catalogue.UDP_CONNECTION_ID_ERRORS,
        [(one.labels, one.reasons[Reason.BAD_CONNECTION_ID]) for one in seen_udp],
    )
    yield _numbers(
        catalogue.UDP_ABORTED, [(one.labels, one.counts.received - _answered(one)) for one in seen_udp]
    )
    yield _numbers(catalogue.UDP_CORE, _by_kind(seen_udp))
    yield _numbers(catalogue.HTTP_CORE, _by_kind(seen_http))


def _seen(
    listeners: Iterable[tuple[Binding, Statistics]], doors: Mapping[Door, str], *, left_out: frozenset[Reason]
) -> Iterator[_Seen]:
    """Without the family from which nobody can come, or has."""
    for binding, statistics in listeners:
        for door, family in doors.items():
            counts = statistics.door(door)
            if counts.received or family == binding.family or binding.ip == "::":
                reasons = statistics.reasons(door)
                shown = {reason: count for reason, count in reasons.items() if reason not in left_out}
                yield _Seen((*_labels(binding), family), counts, shown)


def _labels(binding: Binding) -> tuple[str, ...]:
    return binding.protocol, binding.ip, str(binding.port), binding.family


def _by_outcome(seen: Iterable[_Seen]) -> _Samples:
    for one in seen:
        fates = {fate.value: getattr(one.counts, fate.value) for fate in Fate}
        for outcome, count in (one.handled | fates).items():
            yield (*one.labels, outcome), count


def _by_reason(seen: Iterable[_Seen]) -> _Samples:
    for one in seen:
        for reason, count in one.reasons.items():
            yield (*one.labels, reason.fate.value, reason.name.lower()), count


def _by_kind(seen: Iterable[_Seen]) -> _Samples:
    for one in seen:
        for kind, count in one.handled.items():
            yield (*one.labels, kind), count


def _responses(seen: Iterable[_Seen]) -> _Samples:
    for one in seen:
        yield (*one.labels, "ok"), one.counts.handled
        yield (*one.labels, "error"), _errors(one)


def _errors(one: _Seen) -> int:
    """What was answered with an error message."""
    return one.counts.refused + one.counts.malformed + one.reasons[Reason.INTERNAL_ERROR]


def _answered(one: _Seen) -> int:
    return one.counts.handled + _errors(one)


def _durations(
    listeners: Iterable[tuple[Binding, Statistics]],
) -> Iterator[tuple[_Labels, Sequence[int], float]]:
    for binding, statistics in listeners:
        for outcome in Outcome if binding.protocol == "udp" else (Outcome.ANNOUNCE, Outcome.SCRAPE):
            latencies: Latencies = statistics.latencies(outcome)
            yield (*_labels(binding), outcome.name.lower()), latencies.buckets, latencies.total


# --- all else


def _sockets(sources: Sources) -> _Made:
    udp, http, room = sources.udp_listeners, sources.http_listeners, sources.room
    yield _numbers(catalogue.KERNEL_DROPS, [(_labels(one.binding), one.service.kernel_drops) for one in udp])
    yield _numbers(catalogue.UNSENT, [(_labels(one.binding), one.service.unsent) for one in udp])
    buffers = [
        ((*_labels(one.binding), direction), size)
        for one in udp
        for direction, size in (("receive", one.receive_buffer), ("send", one.send_buffer))
    ]
    yield _numbers(catalogue.BUFFER, buffers)
    yield _numbers(
        catalogue.CONNECTIONS, [(_labels(one.binding), one.service.open_connections) for one in http]
    )
    yield _number(catalogue.CONNECTIONS_LIMIT, room.limit)
    yield _number(catalogue.CONNECTIONS_REFUSED, room.refused)
    yield _number(catalogue.CONNECTIONS_EVICTED, room.evicted)


def _swarms(sources: Sources) -> _Made:
    totals, pressure, limits = sources.swarms.totals(), sources.swarms.pressure(), sources.limits
    yield _number(catalogue.TORRENTS, totals.torrents)
    yield _numbers(catalogue.PEERS, [(("seeder",), totals.seeders), (("leecher",), totals.leechers)])
    yield _number(catalogue.DOWNLOADS, totals.completed)
    set_limits = {name: value for name, value in limits._asdict().items() if value}
    yield _numbers(catalogue.LIMIT, [((name,), value) for name, value in set_limits.items()])
    used = {"max_torrents": totals.torrents, "max_peers": totals.seeders + totals.leechers}
    yield _numbers(
        catalogue.LIMIT_USED,
        [((name,), count / set_limits[name]) for name, count in used.items() if name in set_limits],
    )
    felt = {
        "peer_replaced": pressure.replaced_peers,
        "torrent_evicted": pressure.evicted_torrents,
        "torrent_not_stored": pressure.unstored,
    }
    yield _numbers(catalogue.LIMIT_FELT, [((effect,), count) for effect, count in felt.items()])
    yield _number(catalogue.MEMORY, sources.available_memory())
    yield _number(catalogue.MEMORY_SHORT, int(pressure.is_short_of_memory))


def _loop(sources: Sources) -> _Made:
    lag = sources.loop_lag
    yield _histogram(catalogue.LOOP_LAG, loop_lag.BOUNDS, [((), lag.buckets, lag.total)])
    yield _number(catalogue.LOOP_LAG_LONGEST, lag.longest)


def _database(sources: Sources) -> _Made:
    state, completed, snapshot = sources.database, sources.completed, sources.snapshot
    yield _number(catalogue.DATABASE_UP, int(state.answers))
    yield _numbers(catalogue.DATABASE_CALLS, [(("ok",), state.done), (("error",), state.failed)])
    doubts = [((name,), int(is_in_doubt())) for name, is_in_doubt in sources.doubts.items()]
    yield _numbers(catalogue.IN_DOUBT, doubts)
    if completed.saved_at is not None:
        yield _number(catalogue.UNSAVED, completed.unsaved)
        yield _number(catalogue.SAVED_AGE, max(0.0, sources.monotonic_now() - completed.saved_at))
    yield _number(catalogue.KEYS, len(sources.keys))
    yield _number(catalogue.WHITELIST, len(sources.whitelist))
    yield _number(catalogue.BLACKLIST, len(sources.blacklist))
    if snapshot is None:
        return
    if snapshot.file is not None:
        age = sources.unix_now() - snapshot.file.written_ms / 1000
        yield _number(catalogue.SNAPSHOT_AGE, max(0.0, age))
        yield _number(catalogue.SNAPSHOT_SIZE, snapshot.file.size)
    yield _number(catalogue.SNAPSHOT_FAILURES, snapshot.failures)


def _process(sources: Sources) -> _Made:
    info = InfoMetricFamily(catalogue.BUILD.name.removesuffix("_info"), catalogue.BUILD.help)
    info.add_metric((), sources.build._asdict())
    yield catalogue.BUILD, info
