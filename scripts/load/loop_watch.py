"""Runs the tracker on asyncio's own loop, and notes which callbacks took long.

    python loop_watch.py FILE

It ends as the tracker does, on SIGTERM, and then writes FILE: JSON, a list of [when the callback ended in
monotonic seconds, milliseconds of the thread's CPU time, what it was]. Those of uvloop, which are the same,
cannot be watched.
"""

import asyncio
import atexit
import json
import runpy
import sys
import time
from pathlib import Path

LONG_NS = 200_000

_long_callbacks: list[tuple[float, float, str]] = []
_run = asyncio.Handle._run


def _watched_run(handle: asyncio.Handle) -> None:
    what = handle._callback  # type: ignore[attr-defined]  # it is cleared when the handle is cancelled
    start = time.thread_time_ns()
    _run(handle)
    spent = time.thread_time_ns() - start
    if spent > LONG_NS:
        _long_callbacks.append((time.monotonic(), spent / 1e6, repr(what)[:100]))


def main() -> None:
    file = Path(sys.argv[1])
    atexit.register(lambda: file.write_text(json.dumps(_long_callbacks)))
    asyncio.Handle._run = _watched_run  # type: ignore[method-assign,assignment]  # nobody else can see it
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # as if it were not installed
    sys.argv = ["torrust-tracker"]
    runpy.run_module("torrust_py", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
