"""The services: each is bound, started and announced in the log, and all stop together.

aiohttp is imported in a thread once the trackers have started, since it takes a third of the time of the
start; meanwhile they answer.
"""

import asyncio
import importlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from torrust_py.certificates import Certificate, Certificates
from torrust_py.config import BindAddress, HealthCheckApi, HttpApi, HttpListener, TlsConfig, UdpListener
from torrust_py.data_planes import OpenHttpTracker, OpenUdpTracker, UdpService
from torrust_py.listeners import (
    RESERVED_FILES,
    HeldSockets,
    Listener,
    buffers_of,
    is_dual_stack,
    open_tcp_socket,
    open_udp_socket,
    raise_file_limit,
    reached_at,
)
from torrust_py.logs import API, HEALTH_CHECK_API, HTTP_TRACKER, UDP_TRACKER
from torrust_py.udp import BadPacket, open_udp_client

if TYPE_CHECKING:  # see above
    from aiohttp import web

MAX_CONNECTIONS = 20_000
"""Of all HTTP trackers together; fewer where the limit of open files leaves fewer."""

MAX_WEB_CONNECTIONS = 10_000
"""Of the API, and of the health check API; likewise."""

_KEPT_FILES = RESERVED_FILES // 2
_LEAST_WEB_CONNECTIONS = 16

_GRACE = 1.5  # seconds that running requests have at the stop
_UDP_PATIENCE = 2.0  # seconds
_UDP_SENDS = 8  # a tracker that is flooded loses datagrams, and lives

_log = logging.getLogger("torrust_tracker::bootstrap::app")
_signal_log = logging.getLogger("torrust_tracker::servers::signals")

NowMs = Callable[[], int]


async def import_web_services() -> None:
    """What the API and the health check need; imports of it elsewhere then take no time."""
    for module in ("torrust_py.api", "torrust_py.health"):
        await asyncio.to_thread(importlib.import_module, module)


class Services:
    """Services that run together, and stop together, so that their times of grace do not add up."""

    def __init__(self, held: HeldSockets) -> None:
        self.held = held
        self._running: list[tuple[str, AbstractAsyncContextManager[object]]] = []
        self.certificates = Certificates()
        self.receive_buffers: list[tuple[str, int]] = []
        """Bytes that each UDP socket was granted, by its address."""

    async def start(self, service: AbstractAsyncContextManager[object], *, halting: str) -> None:
        """Enter `service`; `halting` is logged when it stops."""
        await service.__aenter__()
        self._running.append((halting, service))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for halting, _ in self._running:
            _signal_log.info(halting)
        leaving = (service.__aexit__(None, None, None) for _, service in reversed(self._running))
        await asyncio.gather(*leaving)


class WebAddress(NamedTuple):
    """Where a service that speaks HTTP is reached."""

    scheme: str
    listener: Listener

    def __str__(self) -> str:
        return f"{self.scheme}://{self.listener}"


async def start_udp_trackers(
    trackers: Sequence[UdpListener], open_tracker: OpenUdpTracker, services: Services
) -> list[UdpService]:
    log = logging.getLogger(UDP_TRACKER)
    listeners = [Listener(*tracker.bind_address) for tracker in trackers]
    started = []
    for listener in listeners:
        log.info("Starting on: %s", listener)
        bound = open_udp_socket(
            listener, dual_stack=is_dual_stack(listener, listeners), log=log, held=services.held
        )
        services.receive_buffers.append((str(listener), buffers_of(bound).receive))
        service = open_tracker(bound)
        address = Listener(*service.address)
        await services.start(service, halting=f"Halting UDP Service Bound to Socket: {address}")
        log.info("Started on: udp://%s", address)
        started.append(service)
    return started


async def start_http_trackers(
    trackers: Sequence[HttpListener], open_tracker: OpenHttpTracker, services: Services
) -> list[WebAddress]:
    log = logging.getLogger(HTTP_TRACKER)
    listeners = [Listener(*tracker.bind_address) for tracker in trackers]
    started = []
    for tracker, listener in zip(trackers, listeners, strict=True):
        tls = _tls(services, tracker.tsl_config, service="the HTTP tracker")
        log.info("Starting on: %s", _web_address(tls, listener))
        bound = open_tcp_socket(
            listener,
            dual_stack=is_dual_stack(listener, listeners),
            service="the HTTP tracker",
            held=services.held,
        )
        service = open_tracker(bound, tls)
        address = Listener(*service.address)
        await services.start(service, halting=f"Shutting down HTTP server on socket address: {address}")
        started.append(_web_address(tls, address))
        log.info("Started on: %s", started[-1])
    return started


async def start_api(
    api: HttpApi, make_application: "Callable[[Sequence[str]], web.Application]", services: Services
) -> WebAddress:
    """`make_application` is given the access tokens."""
    from torrust_py.web import serve

    log = logging.getLogger(API)
    tls = _tls(services, api.tsl_config, service="the API")
    configured = _web_address(tls, Listener(*api.bind_address))
    log.info("Starting Torrust APIs server on: %s", configured)
    log.info("Starting on %s", configured)
    tokens = [token.get_secret_value() for token in api.access_tokens.values()]
    if not tokens:
        log.warning(
            "No access token is configured, so every request will be refused. "
            "Set one: TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=<a secret of your own>"
        )
    bound = _open_alone(services, api.bind_address, service="the API")
    address = Listener(*bound.getsockname()[:2])
    await services.start(
        serve(
            make_application(tokens),
            bound,
            log=log,
            tls=tls,
            grace=_GRACE,
            most_connections=_max_web_connections(),
        ),
        halting=f"Shutting down tracker API server on socket address: {address}",
    )
    started = _web_address(tls, address)
    log.info("Started on %s", started)
    return started


async def start_health_check_api(
    api: HealthCheckApi,
    services: Services,
    *,
    udp_trackers: Sequence[UdpService],
    http_trackers: Sequence[WebAddress],
    apis: Sequence[WebAddress],
) -> None:
    """Its report is about the services that are given."""
    from torrust_py.health import HealthError, ServiceCheck, health_application, http_check
    from torrust_py.web import serve

    async def connect_over_udp(address: Listener) -> str:
        try:
            async with open_udp_client(*address, patience=_UDP_PATIENCE, sends=_UDP_SENDS) as client:
                await client.connect()
        except BadPacket as error:
            raise HealthError("Did not Connect") from error
        except (TimeoutError, ConnectionRefusedError) as error:
            raise HealthError("Timed Out") from error
        return "Connected"

    def of_udp(tracker: UdpService) -> ServiceCheck:
        address = Listener(*tracker.address)
        info = f"checking the udp tracker health check at: {address}"
        return ServiceCheck(str(address), info, partial(connect_over_udp, reached_at(address)))

    def of_web(service: str, address: WebAddress, path: str) -> ServiceCheck:
        url = f"{address}{path}"
        info = f"checking {service} health check at: {url}"
        asked = address._replace(listener=reached_at(address.listener))
        return ServiceCheck(str(address.listener), info, partial(http_check, f"{asked}{path}"))

    checks = [
        *map(of_udp, udp_trackers),
        *(of_web("http tracker", address, "/health_check") for address in http_trackers),
        *(of_web("api", address, "/api/health_check") for address in apis),
    ]
    log = logging.getLogger(HEALTH_CHECK_API)
    log.info("Starting on: http://%s", api.bind_address)
    bound = _open_alone(services, api.bind_address, service="the health check API")
    address = Listener(*bound.getsockname()[:2])

    @asynccontextmanager
    async def service() -> AsyncIterator[None]:
        served = health_application(checks)
        most = _max_web_connections()
        async with serve(served, bound, log=log, grace=_GRACE, most_connections=most):
            yield
        log.info("Stopped server running on: http://%s", address)

    await services.start(service(), halting=f"Shutting down http server on socket address: {address}")
    log.info("Started on: http://%s", address)


def _open_alone(services: Services, address: BindAddress, *, service: str) -> socket.socket:
    """A listening socket of a service of which there is one."""
    listener = Listener(*address)
    return open_tcp_socket(
        listener, dual_stack=is_dual_stack(listener, [listener]), service=service, held=services.held
    )


def _web_address(tls: ssl.SSLContext | None, listener: Listener) -> WebAddress:
    return WebAddress("http" if tls is None else "https", listener)


def _tls(services: Services, files: TlsConfig | None, *, service: str) -> ssl.SSLContext | None:
    if files is None:
        return None
    _log.info("Using https: cert path: %s.", files.ssl_cert_path)
    _log.info("Using https: key path: %s.", files.ssl_key_path)
    return services.certificates.add(Certificate(files.ssl_cert_path, files.ssl_key_path, service=service))


def max_connections() -> int:
    """Of all HTTP trackers together; raises the limit of open files for them as far as it goes."""
    files = raise_file_limit()
    connections = _max_connections(files)
    _log.info("Open files: at most %s; HTTP trackers: at most %s connections", files, connections)
    return connections


def _max_connections(files: int) -> int:
    return max(1, min(MAX_CONNECTIONS, files - RESERVED_FILES))


def _max_web_connections() -> int:
    """Of the API, and as many of the health check API: half each of what is left when the trackers have
    theirs and the rest of the process its share.
    """
    files = raise_file_limit()
    left = files - _max_connections(files) - _KEPT_FILES
    return max(_LEAST_WEB_CONNECTIONS, min(MAX_WEB_CONNECTIONS, left // 2))
