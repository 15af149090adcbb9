"""The log: one line per event on stdout, in the format that Torrust's users and programs read.

    2024-06-25T12:36:25.025312Z  INFO UDP TRACKER: Started on: udp://0.0.0.0:6969

Time in UTC with microseconds, level, who speaks (a service, or a part of the tracker), what happened. Colours
on a terminal only.
"""

import contextlib
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

UDP_TRACKER = "UDP TRACKER"
HTTP_TRACKER = "HTTP TRACKER"
API = "API"
HEALTH_CHECK_API = "HEALTH CHECK API"

TRACE = 5
"""Below debug: every event of a library, too."""

LINES_KEPT = 10_000
WAIT_FOR_READER = 0.5

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_NAMES = {logging.CRITICAL: "ERROR", logging.WARNING: "WARN", TRACE: "TRACE"}
_COLOURS = {"ERROR": 31, "WARN": 33, "INFO": 32, "DEBUG": 34, "TRACE": 35}


class LineFormatter(logging.Formatter):
    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        level = _NAMES.get(record.levelno, record.levelname)
        name = record.name
        if self._colours:
            time, name = f"\x1b[2m{time}\x1b[0m", f"\x1b[2m{name}\x1b[0m"
            padded = f"\x1b[{_COLOURS.get(level, 0)}m{level:>5}\x1b[0m"
        else:
            padded = f"{level:>5}"
        line = f"{time} {padded} {name}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(threshold: str, stream: TextIO = sys.stdout) -> None:
    """Log to `stream` from `threshold` on: off, error, warn, info, debug or trace."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    if threshold == "off":
        root.addHandler(logging.NullHandler())
        logging.disable(logging.CRITICAL)
        return
    logging.disable(logging.NOTSET)
    handler = _LineHandler(stream)
    handler.setFormatter(LineFormatter(colours=stream.isatty()))
    root.addHandler(handler)
    root.setLevel(_LEVELS[threshold])
    if threshold != "trace":
        for library in ("asyncio", "aiosqlite", "sqlalchemy", "aiohttp"):
            logging.getLogger(library).setLevel(max(root.level, logging.WARNING))


class _LineHandler(logging.Handler):
    """Hands lines to a thread that writes them, so that a reader who stops reading does not stop the loop.

    While LINES_KEPT wait to be written, or there is no memory, further ones are dropped; how many is said
    when there is room again.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_KEPT)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                self._lines.put_nowait(f"({self._dropped} lines were dropped, since nobody read them)")
                self._dropped = 0
            self._lines.put_nowait(self.format(record))
        except (queue.Full, MemoryError):
            self._dropped += 1

    def close(self) -> None:
        """Write what is left, if it is read within WAIT_FOR_READER seconds."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=WAIT_FOR_READER)
        self._writer.join(WAIT_FOR_READER)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            # A reader that went away is no reason to stop, nor to complain for every line.
            with contextlib.suppress(OSError, ValueError):
                write_at_once(line + "\n", self._stream)


def write_at_once(text: str, stream: TextIO) -> None:
    """Not through the stream, if it has a descriptor: Python flushes it at the end, which a reader could hold
    up, or fail by its absence. Raises OSError.
    """
    descriptor = _descriptor(stream)
    if descriptor is None:
        stream.write(text)
        return
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(descriptor, data) :]


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None  # it lives in memory
