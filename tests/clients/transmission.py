"""Transmission (Debian: transmission-daemon), driven by its RPC over HTTP."""

import base64
import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clients.clients import PORT, Task
from tests.clients.programs import Program, running, wait_until

_RPC_PORT = 9091
_START = 20.0  # seconds

_SETTINGS = {
    "dht-enabled": False,
    "lpd-enabled": False,
    "pex-enabled": False,
    "port-forwarding-enabled": False,
    "utp-enabled": False,
    "peer-port": PORT,
    "rpc-port": _RPC_PORT,
    "rpc-whitelist-enabled": False,
}


class Transmission:
    def __init__(self, program: Program, address: str) -> None:
        self.program = program
        self._address = address
        self._session_id = ""

    def announce(self) -> None:
        """It announces once an interval."""

    def leave(self) -> None:
        """At its own end it would tell an HTTP tracker nothing."""
        self.call("torrent-remove", {})

    def call(self, method: str, arguments: dict[str, object]) -> None:
        """Raises ConnectionRefusedError while it starts."""
        body = json.dumps({"method": method, "arguments": arguments})
        status, answer = self._post(body)
        if status == 409:  # it wants its session id repeated, which the answer held
            status, answer = self._post(body)
        assert status == 200, answer
        assert json.loads(answer)["result"] == "success", answer

    def is_up(self) -> bool:
        try:
            self.call("session-get", {})
        except ConnectionRefusedError:
            return False
        return True

    def _post(self, body: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._address, _RPC_PORT, timeout=5)
        try:
            headers = {"X-Transmission-Session-Id": self._session_id}
            connection.request("POST", "/transmission/rpc", body, headers)
            response = connection.getresponse()
            self._session_id = response.getheader("X-Transmission-Session-Id", self._session_id)
            return response.status, response.read()
        finally:
            connection.close()


class TransmissionType:
    def missing(self) -> str | None:
        found = shutil.which("transmission-daemon")
        return None if found else "transmission-daemon is missing (Debian: transmission-daemon)"

    @contextmanager
    def share(self, task: Task) -> Iterator[Transmission]:
        settings = {
            **_SETTINGS,
            # It announces from the one of these that is set; its RPC knows IPv4 only.
            "bind-address-ipv6" if ":" in task.address else "bind-address-ipv4": task.address,
            "rpc-bind-address": task.ipv4,
            "download-dir": str(task.directory),
        }
        config = task.directory / "transmission"
        config.mkdir()
        (config / "settings.json").write_text(json.dumps(settings))
        command = ["transmission-daemon", "--foreground", "--log-debug", f"--config-dir={config}"]
        with running(command, log=task.directory / "transmission.log") as program:
            client = Transmission(program, task.ipv4)
            wait_until(client.is_up, within=_START, what="transmission-daemon answers")
            client.call("torrent-add", {"metainfo": base64.b64encode(task.metainfo).decode()})
            yield client
