import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from torrust_py import health
from torrust_py.health import HealthError, ServiceCheck, health_application, http_check
from torrust_py.web import Call, application, serve


async def well() -> str:
    return "200 OK"


async def ill() -> str:
    raise HealthError("Timed Out")


async def unreachable() -> str:
    raise OSError(101, "Network is unreachable")


LOG = logging.getLogger("tests.health")
WELL = ServiceCheck("127.0.0.1:1", "checking it", well)
ILL = ServiceCheck("[::1]:2", "checking the other", ill)


@asynccontextmanager
async def served(app: web.Application, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    async with serve(app, listener, log=LOG, tls=tls, grace=0.2, most_connections=100):
        yield f"{'http' if tls is None else 'https'}://{host}:{port}"


async def ask(
    checks: list[ServiceCheck], path: str = "/health_check", method: str = "GET"
) -> tuple[int, str, str]:
    async with (
        served(health_application(checks)) as url,
        aiohttp.ClientSession() as session,
        session.request(method, url + path) as response,
    ):
        return response.status, response.headers.get("Content-Type", ""), await response.text()


@pytest.mark.clause("8.2.3")
async def test_without_services_there_is_nothing_to_report() -> None:
    assert await ask([]) == (200, "application/json", '{"status":"None","message":"","details":[]}')


async def test_services_that_answer_are_well() -> None:
    assert await ask([WELL]) == (
        200,
        "application/json",
        '{"status":"Ok","message":"","details":'
        '[{"binding":"127.0.0.1:1","info":"checking it","result":{"Ok":"200 OK"}}]}',
    )


@pytest.mark.clause("8.1.3", "8.2.5")
async def test_one_service_that_does_not_answer_is_an_error() -> None:
    assert await ask([WELL, ILL]) == (
        503,
        "application/json",
        '{"status":"Error","message":"health check failed","details":['
        '{"binding":"127.0.0.1:1","info":"checking it","result":{"Ok":"200 OK"}},'
        '{"binding":"[::1]:2","info":"checking the other","result":{"Err":"Timed Out"}}]}',
    )


async def test_a_service_that_cannot_be_reached_is_an_error() -> None:
    status, _, text = await ask([ServiceCheck("x", "y", unreachable)])
    assert (status, json.loads(text)["details"][0]["result"]) == (
        503,
        {"Err": "[Errno 101] Network is unreachable"},
    )


@pytest.mark.clause("8.3.6")
async def test_services_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def meet() -> str:
        async with asyncio.timeout(1):
            await both.wait()
        return "met"

    status, _, _ = await ask([ServiceCheck("a", "", meet), ServiceCheck("b", "", meet)])
    assert status == 200


async def test_services_that_start_later_are_reported() -> None:
    checks: list[ServiceCheck] = []
    async with served(health_application(checks)) as url, aiohttp.ClientSession() as session:
        checks.append(ILL)
        async with session.get(f"{url}/health_check") as response:
            assert response.status == 503


async def test_the_root_is_an_empty_object() -> None:
    assert await ask([], "/") == (200, "application/json", "{}")


@pytest.mark.clause("8.1.8")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health_check/", 404),
        ("GET", "/x", 404),
        ("POST", "/health_check", 405),
        ("DELETE", "/", 405),
    ],
)
async def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    assert await ask([WELL], path, method) == (status, "", "")


# --- asking over HTTP


async def teapot(call: Call) -> web.StreamResponse:
    return web.Response(status=418, reason="I'm a Teapot")


async def elsewhere(call: Call) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/nowhere"})


async def never(call: Call) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def fine(call: Call) -> web.StreamResponse:
    return web.Response()


def service() -> web.Application:
    routes = {
        "/health_check": {"GET": fine},
        "/teapot": {"GET": teapot},
        "/moved": {"GET": elsewhere},
        "/never": {"GET": never},
    }
    return application(routes, log=LOG)


@pytest.mark.clause("8.3.3")
@pytest.mark.parametrize(
    ("path", "heard"), [("/health_check", "200 OK"), ("/teapot", "418 I'm a Teapot"), ("/moved", "302 Found")]
)
async def test_any_http_response_is_a_sign_of_life(path: str, heard: str) -> None:
    async with served(service()) as url:
        assert await http_check(url + path) == heard


async def test_a_certificate_is_not_verified(server_tls: ssl.SSLContext) -> None:
    async with served(service(), tls=server_tls) as url:
        assert url.startswith("https://")
        assert await http_check(f"{url}/health_check") == "200 OK"


async def test_a_wildcard_address_is_asked_as_it_is() -> None:
    async with served(service()) as url:
        assert await http_check(url.replace("127.0.0.1", "0.0.0.0") + "/health_check") == "200 OK"


async def test_a_stopped_service_cannot_be_asked() -> None:
    async with served(web.Application()) as url:
        pass
    with pytest.raises(HealthError) as failed:
        await http_check(f"{url}/api/health_check")
    assert str(failed.value) == f"error sending request for url ({url}/api/health_check)"


async def test_a_service_that_says_nothing_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.05)
    async with served(service()) as url:
        with pytest.raises(HealthError, match="error sending request for url"):
            await http_check(f"{url}/never")


async def test_what_is_no_http_is_no_sign_of_life() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n\r\n")
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(HealthError, match="error sending request for url"):
            await http_check(f"http://{host}:{port}/")
