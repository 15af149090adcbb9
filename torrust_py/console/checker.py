"""`tracker_checker`: asks UDP trackers, HTTP trackers and health checks, and prints as JSON how each did."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import click

from torrust_py.console.health_check import status_text
from torrust_py.console.http_client import announce_url, base_url, scrape_url
from torrust_py.console.udp_client import (
    BadArgument,
    StepFailed,
    TrackerAddress,
    announce,
    connect,
    open_tracker,
    resolve_tracker,
    scrape,
)
from torrust_py.core.types import InfoHash
from torrust_py.http.client import (
    BadResponse,
    NoAnswer,
    get,
    parse_announce_response,
    parse_scrape_response,
)
from torrust_py.logs import LineFormatter

PATIENCE = 5.0
"""Seconds that each answer over HTTP is waited for."""

_PANICKED = 101  # exit status of a wrong configuration, as Torrust has it
_INFO_HASH = InfoHash(bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422"))
_CONNECT_TRANSACTION_ID = (1).to_bytes(4)

_Subject = TypeVar("_Subject", TrackerAddress, str)

_log = logging.getLogger("torrust_tracker::console::clients::checker::service")


class Checks(NamedTuple):
    """What is checked."""

    udp_trackers: list[TrackerAddress]
    http_trackers: list[str]
    health_checks: list[str]


class Step(NamedTuple):
    name: str
    error: str | None


class Result(NamedTuple):
    """How a service did: its kind, what it is called, and every step that was taken."""

    kind: str
    is_ok: bool
    details: dict[str, object]


class BadChecks(Exception):
    """A configuration that says not what to check; the text says why."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config-path",
    envvar="TORRUST_CHECKER_CONFIG_PATH",
    metavar="<PATH>",
    help="The file of the configuration; beats CONFIG_CONTENT.  [env: TORRUST_CHECKER_CONFIG_PATH]",
)
@click.option("--strict", is_flag=True, help="Exit with 1 if a check failed.")
@click.argument("config_content", required=False, envvar="TORRUST_CHECKER_CONFIG")
@click.version_option(version("torrust_py"), "-V", "--version", prog_name="tracker_checker")
def main(config_path: str | None, config_content: str | None, *, strict: bool) -> None:
    """Check trackers, and print as JSON how each did.

    CONFIG_CONTENT is JSON, as is the environment variable TORRUST_CHECKER_CONFIG:

    \b
      {"udp_trackers": ["127.0.0.1:6969"],
       "http_trackers": ["http://127.0.0.1:7070"],
       "health_checks": ["http://127.0.0.1:1313/health_check"]}
    """
    try:
        checks = parse_checks(_read_config(config_path, config_content))
    except BadChecks as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(_PANICKED)
    _start_log()
    _log.info("Running checks for trackers ...")
    results = asyncio.run(run_checks(checks))
    print(json.dumps([_result_json(result) for result in results], indent=2, ensure_ascii=False))
    if strict and not all(result.is_ok for result in results):
        sys.exit(1)


def _read_config(path: str | None, content: str | None) -> str:
    if path:
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadChecks(f"can't read config file {path}: {error}") from error
    if content:
        return content
    raise BadChecks("no configuration provided")


def parse_checks(text: str) -> Checks:
    """Read a configuration; looks up the names of UDP trackers. Raises BadChecks."""
    try:
        document: object = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # an escape may be half a character
    except (ValueError, RecursionError) as error:
        raise BadChecks(f"JSON parse error: {error}") from error
    if not isinstance(document, dict):
        raise BadChecks("JSON parse error: the configuration is no object")
    try:
        return Checks(
            [_udp_tracker(url) for url in _strings(document, "udp_trackers")],
            [base_url(url) for url in _strings(document, "http_trackers")],
            [base_url(url) for url in _strings(document, "health_checks")],
        )
    except BadArgument as error:
        raise BadChecks(f"Invalid URL: {error}") from error


def _strings(document: dict[str, object], name: str) -> list[str]:
    if name not in document:
        raise BadChecks(f"JSON parse error: missing field `{name}`")
    values = document[name]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadChecks(f"JSON parse error: `{name}` is no list of strings")
    return values


def _udp_tracker(text: str) -> TrackerAddress:
    return resolve_tracker(text if text.startswith("udp://") else f"udp://{text}")


def _start_log() -> None:
    handler = logging.StreamHandler(sys.stdout)  # at once: the line comes before the results
    handler.setFormatter(LineFormatter(colours=sys.stdout.isatty()))
    _log.handlers = [handler]
    _log.setLevel(logging.INFO)


async def run_checks(checks: Checks) -> list[Result]:
    """UDP trackers, HTTP trackers and health checks at the same time, those of a kind in turn.

    The kind that ends first comes first.
    """
    results: list[Result] = []
    async with asyncio.TaskGroup() as kinds:
        kinds.create_task(_check_each(_check_udp_tracker, checks.udp_trackers, results))
        kinds.create_task(_check_each(_check_http_tracker, checks.http_trackers, results))
        kinds.create_task(_check_each(_check_health, checks.health_checks, results))
    return results


async def _check_each(
    check: Callable[[_Subject], Awaitable[Result]], subjects: list[_Subject], results: list[Result]
) -> None:
    results += [await check(subject) for subject in subjects]


async def _check_udp_tracker(address: TrackerAddress) -> Result:
    """The first step that fails is the last if it is the set-up or the connect."""
    steps: list[Step] = []
    name = "Setup"
    try:
        async with open_tracker(address) as client:
            steps.append(Step(name, None))
            name = "Connect"
            connection_id = await connect(client, _CONNECT_TRANSACTION_ID)
            steps.append(Step(name, None))
            steps.append(await _step("Announce", announce(client, connection_id, _INFO_HASH)))
            steps.append(await _step("Scrape", scrape(client, connection_id, [_INFO_HASH])))
    except StepFailed as error:
        steps.append(Step(name, str(error)))
    return _of_steps("Udp", "remote_addr", str(address), steps)


async def _step(name: str, asking: Awaitable[object]) -> Step:
    """Whatever the tracker answers, it answers."""
    try:
        await asking
    except StepFailed as error:
        return Step(name, str(error))
    return Step(name, None)


async def _check_http_tracker(url: str) -> Result:
    base = urlsplit(url)._replace(path="/", query="", fragment="").geturl()
    steps = [
        await _http_step("Announce", announce_url(base, _INFO_HASH), parse_announce_response),
        await _http_step("Scrape", scrape_url(base, [_INFO_HASH]), parse_scrape_response),
    ]
    return _of_steps("Http", "url", url, steps)


async def _http_step(name: str, url: str, parse: Callable[[bytes], object]) -> Step:
    try:
        answer = await asyncio.to_thread(get, url, patience=PATIENCE)
        if not answer.is_success:
            raise NoAnswer(f'Returned a non-success code: "{status_text(answer.status)}" from {url}')
        parse(answer.body)
    except NoAnswer as error:
        return Step(name, f"Http request did not receive a response within the timeout: {error}")
    except BadResponse as error:
        return Step(name, f"Failed to deserialize the bencoded response data with the error: {error}")
    return Step(name, None)


async def _check_health(url: str) -> Result:
    try:
        answer = await asyncio.to_thread(get, url, patience=PATIENCE)
    except NoAnswer as error:
        return _of_health(url, is_ok=False, text=f"Heath check failed to get a response: {error}")
    status = status_text(answer.status)
    if answer.is_success:
        return _of_health(url, is_ok=True, text=status)
    return _of_health(url, is_ok=False, text=f'Http check returned a non-success code: "{status}"')


def _of_health(url: str, *, is_ok: bool, text: str) -> Result:
    return Result("Health", is_ok, {"url": url, "result": {"Ok" if is_ok else "Err": text}})


def _of_steps(kind: str, named: str, name: str, steps: list[Step]) -> Result:
    results = [[step.name, {"Ok": None} if step.error is None else {"Err": step.error}] for step in steps]
    return Result(kind, all(step.error is None for step in steps), {named: name, "results": results})


def _result_json(result: Result) -> dict[str, object]:
    return {result.kind: {"Ok" if result.is_ok else "Err": result.details}}


if __name__ == "__main__":
    main()
