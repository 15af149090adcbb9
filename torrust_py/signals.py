"""The signals of the operator: stop, and read anew."""

import asyncio
import contextlib
import logging
import signal

_log = logging.getLogger("torrust_tracker::servers::signals")


class StopSignals:
    """SIGINT and SIGTERM: the first asks for a clean stop, a second ends the process at once."""

    _NAMES = {signal.SIGINT: "ctrl-c", signal.SIGTERM: "terminate"}  # noqa: RUF012 (constant)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._came = asyncio.Event()
        self._ready = False
        for number in self._NAMES:
            self._loop.add_signal_handler(number, self._on_signal, number)

    @property
    def came(self) -> bool:
        return self._came.is_set()

    def ready(self) -> None:
        """From now on the main task waits; before, a signal cancels it."""
        self._ready = True

    async def wait(self) -> None:
        await self._came.wait()

    def _on_signal(self, number: signal.Signals) -> None:
        _log.warning("caught interrupt signal (%s), halting...", self._NAMES[number])
        for each in self._NAMES:
            self._loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        self._came.set()
        if not self._ready and self._main is not None:
            self._main.cancel()


class ReloadSignal:
    """SIGHUP: what can change without a restart is to be read anew."""

    def __init__(self) -> None:
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._came.set)

    async def wait(self, seconds: float) -> bool:
        """Until it comes, so many seconds at most; whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
        came = self._came.is_set()
        self._came.clear()
        return came
