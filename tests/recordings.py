"""What was recorded at a Torrust 3.0: requests, `> `, and what came back, `<`, in blocks under titles."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

API = Path(__file__).parent / "api" / "golden" / "api.txt"
HTTP = Path(__file__).parent / "http" / "golden"


class Recorded(NamedTuple):
    """A call of the REST API and its answer."""

    title: str
    method: str
    target: str
    body: str | None
    status: int
    headers: dict[str, str]
    text: str


def recorded_calls() -> Iterator[Recorded]:
    for block in API.read_text().split("\n## ")[1:]:
        title, *lines = block.splitlines()
        (request, *body), response = (
            [line[2:] for line in lines if line.startswith(mark)] for mark in ("> ", "<")
        )
        method, target = request.split(" ", 1)
        blank = response.index("")
        yield Recorded(
            title,
            method,
            target,
            body[0] if body else None,
            int(response[0].split()[1]),
            dict(line.split(": ", 1) for line in response[1:blank]),
            "\n".join(response[blank + 1 :]),
        )


class Exchange(NamedTuple):
    """A request to the HTTP tracker and its answer."""

    title: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    status: int
    fields: dict[str, str]
    body: bytes


def recorded_exchanges(name: str) -> Iterator[Exchange]:
    """Those over HTTP of a file."""
    for block in (HTTP / f"{name}.txt").read_text().strip().split("\n\n"):
        title, *lines = block.split("\n")
        sent = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
        answer = [line.removeprefix("<").strip() for line in lines if line.startswith("<")]
        if not answer[0].startswith("HTTP/"):
            continue  # a datagram
        method, target = sent[0].split(" ")
        yield Exchange(
            title.removeprefix("## "),
            method,
            target,
            [(field, value) for field, _, value in (line.partition(": ") for line in sent[1:])],
            int(answer[0].split()[1]),
            dict(line.split(": ", 1) for line in answer[1:-2]),
            answer[-1].encode().decode("unicode_escape").encode("latin-1"),
        )
