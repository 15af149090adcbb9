"""The daemon: builds the core from the configuration, starts the services over it, stops them in reverse.

The only place that knows every room.
"""

import asyncio
import gc
import logging
import os
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING, NamedTuple

from torrust_py import jobs
from torrust_py.blacklist_file import BlacklistFile
from torrust_py.clock import Clock
from torrust_py.config import Config
from torrust_py.core.blacklist import Blacklist
from torrust_py.core.changes import Changes
from torrust_py.core.completed import CompletedCounters
from torrust_py.core.database import Database
from torrust_py.core.errors import DatabaseError
from torrust_py.core.keys import Keys
from torrust_py.core.swarms import Limits, PortableSwarms, Retention
from torrust_py.core.tracker import Rules, Tracker
from torrust_py.core.types import Address, packed_address
from torrust_py.core.whitelist import ListedTorrents
from torrust_py.data_planes import DataPlane, HttpService, UdpService, choose_data_plane
from torrust_py.databases import open_database
from torrust_py.http import Connections, address_text
from torrust_py.listeners import Listener, StartError, buffers_of, raise_file_limit
from torrust_py.memory import Cost, available_memory, give_back_unused, what_fits
from torrust_py.metrics import Binding, Build, Exposition, HttpListener, LoopLag, Sources, UdpListener
from torrust_py.selfcheck import Callers, Finding, Watch, read_conntrack, read_host, start_findings
from torrust_py.services import (
    Services,
    WebAddress,
    import_web_services,
    max_connections,
    start_api,
    start_health_check_api,
    start_http_trackers,
    start_udp_trackers,
)
from torrust_py.signals import ReloadSignal, StopSignals
from torrust_py.snapshots import SnapshotKeeper
from torrust_py.systemd import ServiceManager, take_held_sockets
from torrust_py.udp import SECRET_SIZE

if TYPE_CHECKING:  # see services.py
    from aiohttp import web

_LAST_WRITE = 3.0  # seconds

_log = logging.getLogger("torrust_tracker")
_app_log = logging.getLogger("torrust_tracker::bootstrap::app")
_cleanup_log = logging.getLogger("torrust_tracker::bootstrap::jobs::torrent_cleanup")


async def run(config: Config, *, data_plane: str | None) -> None:
    """Run until SIGINT or SIGTERM. Services start in the order of `_run` and stop together.

    `data_plane` is the form that was asked for, if any. Raises StartError or DatabaseError if a part cannot
    start; then what had started is stopped.
    """
    signals, reload = StopSignals(), ReloadSignal()
    try:
        await _run(config, data_plane, signals, reload)
    except asyncio.CancelledError:
        if not signals.came:
            raise
    _log.info("Torrust successfully shutdown.")


async def _run(config: Config, data_plane: str | None, signals: StopSignals, reload: ReloadSignal) -> None:
    held, manager = take_held_sockets(os.environ), ServiceManager(os.environ)
    clock = Clock(max_peer_timeout=config.core.tracker_policy.max_peer_timeout)
    form = choose_data_plane(data_plane)
    async with AsyncExitStack() as stack:
        database_config = config.core.database
        database = await stack.enter_async_context(
            open_database(database_config.driver, database_config.path.get_secret_value())
        )
        _app_log.info("Configuration:\n%s", config.masked_json())
        if not (config.udp_trackers or config.http_trackers or config.http_api):
            _app_log.warning("No services enabled in configuration")
        limits = _limits(config, form.cost)
        plane = form(limits, _retention(config))
        core = await _load_core(config, database, plane)
        blacklist_file = await _load_blacklist_file(config, core.blacklist)
        snapshot = await _load_snapshot(config, plane, clock)
        await core.blacklist.drop_peers()
        stack.push_async_callback(_write_for_the_last_time, core, snapshot)
        services = await stack.enter_async_context(Services(held))
        watched = _Watched([], [], LoopLag())
        udp_trackers = await _start_udp_trackers(config, core, services, clock, database, watched)
        connections = Connections(max_connections())
        http_trackers = await _start_http_trackers(config, core, connections, services, clock, watched)
        await import_web_services()
        metrics = Exposition(_sources(config, core, watched, database, limits, connections, snapshot))
        apis = await _start_api(config, core, metrics, services, clock)
        warned_of = _warn_of_what_will_hurt(config, services)
        await start_health_check_api(
            config.health_check_api,
            services,
            udp_trackers=udp_trackers,
            http_trackers=http_trackers,
            apis=apis,
        )
        held.check_all_taken()
        if snapshot is not None:
            snapshot.is_outdated = True
        manager.tell("READY=1")
        signals.ready()
        give_back_unused()
        gc.freeze()  # what was made so far stays: the collector need not look at it again
        gc.enable()
        work: list[jobs.Job] = [
            *_jobs(config, core, clock, snapshot, udp_trackers, connections),
            partial(jobs.report_findings, _watch(config, udp_trackers, connections, warned_of).news),
            partial(jobs.refresh_files, services.certificates.refresh, blacklist_file, reload.wait),
            watched.loop_lag.watch,
        ]
        if (interval := manager.watchdog_interval) is not None:
            work.append(partial(jobs.show_life, partial(manager.tell, "WATCHDOG=1"), interval=interval))
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(jobs.keep_running(job)) for job in work]
            await signals.wait()
            manager.tell("STOPPING=1")
            if config.core.inactive_peer_cleanup_interval > 0:
                _cleanup_log.info("Stopping torrent cleanup job..")
            for task in running:
                task.cancel()
        _log.info("Torrust shutting down ...")


# --- the core


class _Core(NamedTuple):
    """The parts of the core, for those who build services over it."""

    tracker: Tracker
    plane: DataPlane
    keys: Keys
    listed: ListedTorrents
    blacklist: Blacklist
    completed: CompletedCounters


class _Watched(NamedTuple):
    """What is measured besides the core."""

    udp_listeners: list[UdpListener]
    http_listeners: list[HttpListener]
    loop_lag: LoopLag


async def _load_core(config: Config, database: Database, plane: DataPlane) -> _Core:
    """What the database keeps is in memory when this returns. Raises DatabaseError."""
    core = config.core
    keys = Keys(
        database, check_expiration=core.private_mode is None or core.private_mode.check_keys_expiration
    )
    listed = ListedTorrents(database, plane.whitelist)
    blacklist = Blacklist(database, plane.blacklist, plane.swarms)
    completed = CompletedCounters(database, plane.swarms)
    if core.private:
        await _loaded("keys", keys.load())
    if core.listed:
        await _loaded("whitelist", listed.load())
    await _loaded("blacklist", blacklist.load(time.time()))
    if blacklist.of_database:
        _app_log.info("Blacklist: %s torrents of the database", blacklist.of_database)
    if core.tracker_policy.persistent_torrent_completed_stat:
        await _loaded("completed counters", _load_completed(completed))
    tracker = Tracker(
        _rules(config), swarms=plane.swarms, whitelist=plane.whitelist, blacklist=blacklist, keys=keys
    )
    return _Core(tracker, plane, keys, listed, blacklist, completed)


async def _loaded(what: str, load: Awaitable[None]) -> None:
    """Raises StartError."""
    try:
        await load
    except DatabaseError as error:
        raise StartError(
            f"cannot load the {what} from the database (core.database.path): {error}; "
            f"repair its tables, or name another database"
        ) from error


async def _load_completed(completed: CompletedCounters) -> None:
    rows, restored = await completed.load()
    if restored < rows:
        _app_log.warning(
            "Only %s of the %s completed counters of the database found room, which is half of "
            "core.limits.max_torrents; raise it. The others stay in the database",
            restored,
            rows,
        )


async def _load_blacklist_file(config: Config, blacklist: Blacklist) -> BlacklistFile | None:
    """Raises StartError if it cannot be used."""
    if config.core.blacklist_path is None:
        return None
    file = BlacklistFile(config.core.blacklist_path, blacklist)
    await file.load()
    return file


async def _load_snapshot(config: Config, plane: DataPlane, clock: Clock) -> SnapshotKeeper | None:
    """Raises StartError if there cannot be a snapshot at its path."""
    if config.core.snapshot is None:
        return None
    path = config.core.snapshot.path
    _check_place(path)
    keeper = SnapshotKeeper(
        path,
        plane.swarms,
        unix_offset_ms=clock.unix_offset_ms,
        now_ms=clock.now_ms,
        unix_now_ms=lambda: time.time_ns() // 1_000_000,
    )
    await keeper.load()
    return keeper


def _check_place(path: str) -> None:
    """Raises StartError if there can be no snapshot at this path, ever."""
    directory = os.path.dirname(os.path.realpath(path))  # a link is written through
    if not os.path.isdir(directory):
        reason = f"there is no directory {directory}; make it, or change core.snapshot.path"
    elif os.path.exists(path) and not os.path.isfile(path):  # a device would be renamed, a pipe waited for
        reason = "that is no file; name one in core.snapshot.path"
    else:
        return
    raise StartError(f"cannot keep the snapshot {path}: {reason}")


def _rules(config: Config) -> Rules:
    core = config.core
    external = core.net.external_ip
    return Rules(
        interval=core.announce_policy.interval,
        interval_min=core.announce_policy.interval_min,
        max_peers=core.announce_policy.max_peers_per_announce,
        private=core.private,
        listed=core.listed,
        external_address=packed_address(str(external)) if external is not None else None,
    )


def _retention(config: Config) -> Retention:
    policy = config.core.tracker_policy
    return Retention(
        max_peer_timeout=policy.max_peer_timeout,
        remove_peerless=policy.remove_peerless_torrents,
        keep_completed=policy.persistent_torrent_completed_stat,
    )


def _limits(config: Config, cost: Cost) -> Limits:
    """The configured limits; in place of absent ones, what fits in half of the memory."""
    configured = config.core.limits
    torrents, peers = what_fits(available_memory(), cost)
    limits = Limits(
        max_torrents=torrents if configured.max_torrents is None else configured.max_torrents,
        max_peers=peers if configured.max_peers is None else configured.max_peers,
        max_peers_per_torrent=configured.max_peers_per_torrent,
    )
    listed = ", ".join(f"{name} {value}" for name, value in limits._asdict().items())
    _app_log.info("Limits (0 is none): %s", listed)
    return limits


async def _write_for_the_last_time(core: _Core, snapshot: SnapshotKeeper | None) -> None:
    """All at once, so that their times do not add up."""
    await asyncio.gather(
        _save_for_the_last_time(core.completed),
        _undo_for_the_last_time("keys", core.keys.changes),
        _undo_for_the_last_time("whitelist", core.listed.changes),
        _undo_for_the_last_time("blacklist", core.blacklist.changes),
        *([] if snapshot is None else [_save_snapshot(snapshot)]),
    )


async def _save_snapshot(snapshot: SnapshotKeeper) -> None:
    try:
        async with asyncio.timeout(_LAST_WRITE):
            if snapshot.is_outdated:
                await snapshot.save(in_haste=True)
    except TimeoutError:
        _app_log.error("The last snapshot is not written, an older one stays: it took over %s s", _LAST_WRITE)
    finally:
        snapshot.close()


async def _undo_for_the_last_time(collection: str, changes: Changes) -> None:
    if not changes.is_in_doubt:
        return
    try:
        async with asyncio.timeout(_LAST_WRITE):
            await changes.settle()
    except (DatabaseError, TimeoutError):
        _app_log.error(
            "A change of the %s that was refused may have been made, and could not be undone", collection
        )


async def _save_for_the_last_time(completed: CompletedCounters) -> None:
    try:
        async with asyncio.timeout(_LAST_WRITE):
            await completed.save()
    except (DatabaseError, TimeoutError) as error:
        _app_log.error(
            "The completed counters of %s torrents could not be saved: %s",
            completed.unsaved,
            str(error) or f"the database took over {_LAST_WRITE} s",
        )


async def _secret(database: Database) -> bytes:
    """The secret of the connection ids: the kept one, or one for this run only."""
    try:
        return await database.load_secret("udp_connection_ids", size=SECRET_SIZE)
    except DatabaseError as error:
        _app_log.warning(
            "The secret of the UDP connection ids is not kept; after a restart clients must connect anew: %s",
            error,
        )
        return secrets.token_bytes(SECRET_SIZE)


# --- the services


async def _start_udp_trackers(
    config: Config,
    core: _Core,
    services: Services,
    clock: Clock,
    database: Database,
    watched: _Watched,
) -> list[UdpService]:
    if not config.udp_trackers:
        _app_log.info("No UDP blocks in configuration")
        return []
    if config.core.private:
        for tracker in config.udp_trackers:
            _app_log.warning(
                "Could not start UDP tracker on: %s while in private mode. "
                "UDP is not safe for private trackers!",
                tracker.bind_address,
            )
        return []
    open_tracker = core.plane.udp(
        core.tracker, await _secret(database), unix_offset_ms=clock.unix_offset_ms, now_ms=clock.now_ms
    )

    def open_watched(listener: socket.socket) -> UdpService:
        service = open_tracker(listener)
        binding = Binding("udp", *Listener(*service.address))
        watched.udp_listeners.append(UdpListener(binding, service, *buffers_of(listener)))
        return service

    return await start_udp_trackers(config.udp_trackers, open_watched, services)


async def _start_http_trackers(
    config: Config,
    core: _Core,
    connections: Connections,
    services: Services,
    clock: Clock,
    watched: _Watched,
) -> list[WebAddress]:
    if not config.http_trackers:
        _app_log.info("No HTTP blocks in configuration")
        return []
    open_tracker = core.plane.http(
        core.tracker,
        connections,
        on_reverse_proxy=config.core.net.on_reverse_proxy,
        now_ms=clock.now_ms,
    )

    def open_watched(listener: socket.socket, tls: ssl.SSLContext | None) -> HttpService:
        service = open_tracker(listener, tls)
        binding = Binding("http" if tls is None else "https", *Listener(*service.address))
        watched.http_listeners.append(HttpListener(binding, service))
        return service

    return await start_http_trackers(config.http_trackers, open_watched, services)


async def _start_api(
    config: Config, core: _Core, metrics: Exposition, services: Services, clock: Clock
) -> list[WebAddress]:
    if config.http_api is None:
        _app_log.info("No API block in configuration")
        return []

    def application(tokens: Sequence[str]) -> "web.Application":
        from torrust_py.api import api_application  # late, see services.py

        return api_application(
            swarms=core.plane.swarms,
            statistics=core.plane.statistics,
            usage_statistics=config.core.tracker_usage_statistics,
            metrics=metrics,
            keys=core.keys,
            listed=core.listed,
            blacklist=core.blacklist,
            tokens=tokens,
            unix_offset_ms=clock.unix_offset_ms,
            unix_now_ns=time.time_ns,
        )

    return [await start_api(config.http_api, application, services)]


def _sources(
    config: Config,
    core: _Core,
    watched: _Watched,
    database: Database,
    limits: Limits,
    connections: Connections,
    snapshot: SnapshotKeeper | None,
) -> Sources:
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return Sources(
        build=Build(version("torrust_py"), core.plane.form, python_version(), loop),
        swarms=core.plane.swarms,
        limits=limits,
        udp_listeners=watched.udp_listeners,
        http_listeners=watched.http_listeners,
        room=connections,
        usage_statistics=config.core.tracker_usage_statistics,
        keys=core.keys,
        whitelist=core.plane.whitelist,
        blacklist=core.blacklist,
        database=database.state,
        completed=core.completed,
        doubts={
            "keys": lambda: core.keys.changes.is_in_doubt,
            "whitelist": lambda: core.listed.changes.is_in_doubt,
            "blacklist": lambda: core.blacklist.changes.is_in_doubt,
        },
        snapshot=snapshot,
        loop_lag=watched.loop_lag,
        available_memory=available_memory,
        unix_now=time.time,
        monotonic_now=time.monotonic,
    )


# --- the self-check


def _warn_of_what_will_hurt(config: Config, services: Services) -> list[Finding]:
    """One line for each; what they are."""
    checked = start_findings(
        config, read_host(), receive_buffers=services.receive_buffers, files=raise_file_limit()
    )
    wrong = [finding for finding in checked if finding.is_wrong]
    for finding in wrong:
        jobs.warn_of(finding)
    return wrong


def _watch(
    config: Config,
    udp_trackers: Sequence[UdpService],
    connections: Connections,
    warned_of: Sequence[Finding],
) -> Watch:
    watch = Watch(
        read_conntrack=read_conntrack,
        read_kernel_drops=lambda: sum(tracker.kernel_drops for tracker in udp_trackers),
        read_callers=lambda: _callers(connections),
        on_reverse_proxy=config.core.net.on_reverse_proxy,
    )
    for finding in warned_of:
        watch.was_told(finding.check, time.monotonic())
    return watch


def _callers(connections: Connections) -> Callers:
    seen, unforwarded = connections.callers.take()
    address = "" if seen.address is None else address_text(Address(seen.address))
    return Callers(seen.announces, address, seen.port is None, unforwarded)


# --- the jobs


def _jobs(
    config: Config,
    core: _Core,
    clock: Clock,
    snapshot: SnapshotKeeper | None,
    udp_trackers: Sequence[UdpService],
    connections: Connections,
) -> Iterator[jobs.Job]:
    interval = config.core.inactive_peer_cleanup_interval
    if interval > 0:
        yield partial(jobs.remove_inactive_peers, core.plane.swarms, clock.now_ms, interval=interval)
    if config.core.tracker_policy.persistent_torrent_completed_stat:
        yield partial(jobs.save_completed, core.completed)
    yield partial(jobs.end_blacklistings, core.blacklist, time.time)
    for collection in (core.keys, core.listed, core.blacklist):
        yield partial(jobs.undo_doubtful_changes, collection.changes)
    if snapshot is not None and config.core.snapshot is not None:
        yield partial(jobs.save_snapshots, snapshot.save, interval=config.core.snapshot.interval)
    if isinstance(swarms := core.plane.swarms, PortableSwarms):
        yield partial(jobs.spare_collections, lambda: swarms.made)
    look = partial(jobs.noteworthy, core.plane.statistics, core.plane.swarms, udp_trackers, connections)
    yield partial(jobs.report_refusals, look)
    yield partial(jobs.report_shortage, lambda: core.plane.swarms.pressure().is_short_of_memory)
