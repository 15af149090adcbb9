import io
import logging
import re
import threading
from collections.abc import Iterator

import pytest

from torrust_py import logs
from torrust_py.logs import UDP_TRACKER, start_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.disable(logging.NOTSET)


def logged(threshold: str, stream: io.StringIO) -> str:
    start_logging(threshold, stream)
    log = logging.getLogger(UDP_TRACKER)
    log.debug("a datagram")
    log.info("Started on: udp://%s", "0.0.0.0:6969")
    log.warning("careful")
    log.error("broken")
    return written(stream)


def written(stream: io.StringIO) -> str:
    """What the log wrote, all of it."""
    for handler in logging.getLogger().handlers:
        handler.close()
    return stream.getvalue()


@pytest.mark.clause("1.6.2")
def test_a_line_has_time_level_target_and_message() -> None:
    line = logged("info", io.StringIO()).splitlines()[0]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  INFO UDP TRACKER: Started on: udp://0\.0\.0\.0:6969", line
    )


@pytest.mark.clause("1.6.2")
def test_levels_are_aligned() -> None:
    levels = [line[28:33] for line in logged("debug", io.StringIO()).splitlines()]
    assert levels == ["DEBUG", " INFO", " WARN", "ERROR"]


@pytest.mark.clause("1.6.1", "2.1.4")
@pytest.mark.parametrize(
    ("threshold", "lines"), [("error", 1), ("warn", 2), ("info", 3), ("debug", 4), ("trace", 4)]
)
def test_the_threshold_decides_what_is_logged(threshold: str, lines: int) -> None:
    assert len(logged(threshold, io.StringIO()).splitlines()) == lines


@pytest.mark.clause("1.6.1")
def test_off_logs_nothing() -> None:
    assert logged("off", io.StringIO()) == ""


@pytest.mark.clause("1.6.3")
def test_a_terminal_gets_colours_around_whole_words() -> None:
    text = logged("info", Terminal())
    assert "\x1b[32m INFO\x1b[0m" in text
    assert (
        re.sub(r"\x1b\[\d+m", "", text)
        .splitlines()[0]
        .endswith(" INFO UDP TRACKER: Started on: udp://0.0.0.0:6969")
    )


def test_a_traceback_follows_its_line() -> None:
    stream = io.StringIO()
    start_logging("info", stream)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("a request failed")
    text = written(stream)
    assert "ERROR x: a request failed\nTraceback" in text
    assert text.rstrip().endswith("ValueError: why")


def test_a_reader_that_went_away_does_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    logged("info", Closed())
    assert capsys.readouterr().err == ""


def test_a_reader_that_stops_reading_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINES_KEPT", 3)
    goes_on = threading.Event()

    class Stalled(io.StringIO):
        def write(self, text: str) -> int:
            goes_on.wait(10)
            return super().write(text)

    stream = Stalled()
    start_logging("info", stream)
    log = logging.getLogger("x")
    for number in range(20):
        log.info("line %s", number)
    goes_on.set()
    handler = logging.getLogger().handlers[0]
    while handler._lines.qsize():  # type: ignore[attr-defined] (no public way to see that there is room)
        pass
    log.info("the end")
    lines = written(stream).splitlines()
    assert lines[0].endswith("line 0")
    assert lines[-1].endswith("the end")
    dropped = int(lines[-2].removeprefix("(").split()[0])
    assert dropped + len(lines) - 2 == 20
