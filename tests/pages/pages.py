"""The commands that README.md and docs/ show, and the output that they show of them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>sh|console)\b[^\n]*\n(?P<body>.*?)^ *```", re.M | re.S)


class Command(NamedTuple):
    text: str
    """Word by word, with its comment; several lines where it goes on."""
    output: str = ""


def commands(page: str) -> list[Command]:
    """In the order of the page."""
    found = _BLOCK.finditer((ROOT / page).read_text())
    return [command for block in found for command in _commands_of(block)]


def _commands_of(block: re.Match[str]) -> Iterator[Command]:
    """In a `console` block a command stands behind a prompt, and its output below it."""
    body = re.sub(f"^{block['indent']}", "", block["body"], flags=re.M)
    lines = re.sub(r"([\\|])\n", "\\1\0", body).splitlines()  # what goes on, stays together
    lines = [line.replace("\0", "\n") for line in lines]
    if block["language"] == "sh":
        yield from (Command(line) for line in lines if line.strip() and not line.lstrip().startswith("#"))
        return
    text, output = "", ""
    for line in lines:
        if line.startswith(("$ ", "# ")):
            if text:
                yield Command(text, output)
            text, output = line[2:], ""
        else:
            output += line + "\n"
    yield Command(text, output)


def command(page: str, beginning: str) -> Command:
    """The one that begins so."""
    [found] = {command for command in commands(page) if command.text.startswith(beginning)}
    return found


def blocks(page: str, language: str = "") -> list[str]:
    """What stands in blocks of this language, or of none."""
    fenced = re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", (ROOT / page).read_text(), re.M | re.S)
    return [body for found, body in fenced if found == language]
