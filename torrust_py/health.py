"""The health check API: asks each service of this process as a client would, and reports what it heard."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from torrust_py.web import Call, application

CHECK_TIMEOUT = 2.0
"""Seconds that a service has to answer."""


class HealthError(Exception):
    """A service does not answer as it should; the text says how."""


class ServiceCheck(NamedTuple):
    """A service, and how to ask it."""

    binding: str
    """The address that it is bound to, `127.0.0.1:7070`."""
    info: str
    check: Callable[[], Awaitable[str]]
    """What was heard from the service, `200 OK`. Raises HealthError or OSError. Ends by itself."""


class _Detail(NamedTuple):
    check: ServiceCheck
    heard: str
    failed: bool


def health_application(checks: Sequence[ServiceCheck]) -> web.Application:
    """The application; `checks` is looked at anew for each report."""
    return application(
        {"/": {"GET": _nothing}, "/health_check": {"GET": partial(_report, checks=checks)}},
        log=logging.getLogger("HEALTH CHECK API"),
    )


async def http_check(url: str) -> str:
    """Whatever a GET of `url` is answered with, as `200 OK`. Raises HealthError.

    A certificate is not verified: it names the host that clients know, not the address asked here.
    """
    connector = TCPConnector(ssl=False, force_close=True)
    timeout = ClientTimeout(total=CHECK_TIMEOUT)
    try:
        async with (
            ClientSession(connector=connector, timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return f"{response.status} {response.reason}"
    except (ClientError, OSError, TimeoutError) as error:
        raise HealthError(f"error sending request for url ({url})") from error


async def _nothing(call: Call) -> web.StreamResponse:
    return _json_response({})


async def _report(call: Call, *, checks: Sequence[ServiceCheck]) -> web.StreamResponse:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask(check)) for check in checks]
    details = [task.result() for task in tasks]
    failed = any(detail.failed for detail in details)
    report = {
        "status": "Error" if failed else "Ok" if details else "None",
        "message": "health check failed" if failed else "",
        "details": [_detail_json(detail) for detail in details],
    }
    return _json_response(report, HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK)


async def _ask(check: ServiceCheck) -> _Detail:
    try:
        return _Detail(check, await check.check(), failed=False)
    except (HealthError, OSError) as error:
        return _Detail(check, str(error), failed=True)


def _detail_json(detail: _Detail) -> dict[str, object]:
    return {
        "binding": detail.check.binding,
        "info": detail.check.info,
        "result": {"Err" if detail.failed else "Ok": detail.heard},
    }


def _json_response(value: object, status: int = HTTPStatus.OK) -> web.Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return web.Response(status=status, body=body, content_type="application/json")
