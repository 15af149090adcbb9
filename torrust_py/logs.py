"""The log: one line per event on stdout, in the format that Torrust's users and programs read.

    2024-06-25T12:36:25.025312Z  INFO UDP TRACKER: Started on: udp://0.0.0.0:6969

Time in UTC with microseconds, level, who speaks (a service, or a part of the tracker), what happened. Colours
on a terminal only.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

UDP_TRACKER = "UDP TRACKER"
HTTP_TRACKER = "HTTP TRACKER"
API = "API"
HEALTH_CHECK_API = "HEALTH CHECK API"

TRACE = 5
"""Below debug: every event of a library, too."""

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
    for handler in list(root.handlers):
        root.removeHandler(handler)
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


class _LineHandler(logging.StreamHandler[TextIO]):
    """A reader of the log that went away is no reason to stop, nor to complain on stderr for every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
