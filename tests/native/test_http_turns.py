"""One turn of the native HTTP plane, taken by hand: how long it may be, and who has to leave."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.forms import native

DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"
REQUEST = b"GET /elsewhere HTTP/1.1\r\n\r\n"
RESPONSE = b"HTTP/1.1 404 Not Found\r\n\r\n"
EVENTS_A_TURN = 64


class Turns:
    """A plane whose turns are taken one by one. Python answers all that is asked, which takes `seconds`."""

    def __init__(self, listener: socket.socket, seconds: float) -> None:
        self._listener = listener
        self._seconds = seconds
        self.answered = 0
        """By Python, since the last turn began."""
        self.plane: Any = native("http").HttpPlane(
            listener.fileno(),
            swarms=native("swarms").NativeSwarms(),
            whitelist=native("whitelist").NativeWhitelist(),
            blacklist=native("whitelist").NativeWhitelist(),
            statistics=native("statistics").NativeStatistics(),
            interval=120,
            interval_min=60,
            max_peers=74,
            is_listed=False,
            is_direct=True,
            external_address=b"",
            admit=lambda *_: None,
            fallback=self._answer,
            hand_over=lambda *_: None,
            make_room=self._make_room,
        )

    def _answer(self, *_: bytes) -> bytes:
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            pass
        self.answered += 1
        return RESPONSE

    def _make_room(self) -> bool:
        self.plane.evict()
        return True

    def turn(self, room: int = 1000) -> int:
        """How many connections were accepted."""
        self.answered = 0
        accepted: int = self.plane.on_readable(0, 0, DATE, room)
        return accepted

    def connect(self) -> socket.socket:
        """A client that has sent its first request."""
        client = socket.create_connection(self._listener.getsockname(), timeout=10)
        client.sendall(REQUEST)
        return client

    def connect_again(self, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
        """Clients that were answered, and have sent their second request."""
        clients = [stack.enter_context(self.connect()) for _ in range(count)]
        while self.plane.open < len(clients):
            self.turn()
        for client in clients:
            assert client.recv(1000) == RESPONSE
            client.sendall(REQUEST)
        return clients


@pytest.fixture
def open_turns() -> Iterator[Callable[[float], Turns]]:
    with contextlib.ExitStack() as stack:

        def opened(seconds: float) -> Turns:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
            listener.setblocking(False)
            turns = Turns(listener, seconds)
            stack.callback(turns.plane.close_all)
            return turns

        yield opened


def test_what_python_answers_slowly_is_spread_over_turns(open_turns: Callable[[float], Turns]) -> None:
    turns = open_turns(0.001)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(turns.connect()) for _ in range(40)]
        accepted = [turns.turn()]
        while turns.plane.open < len(clients):
            accepted.append(turns.turn())
        assert max(accepted) < 10
        for client in clients:
            assert client.recv(1000) == RESPONSE
            client.sendall(REQUEST)
        answered = 0
        while answered < len(clients):
            turns.turn()
            assert turns.answered < 10
            answered += turns.answered
        assert [client.recv(1000) for client in clients] == [RESPONSE] * len(clients)


def test_new_connections_do_not_wait_for_all_that_python_answers(
    open_turns: Callable[[float], Turns],
) -> None:
    turns = open_turns(0.003)
    with contextlib.ExitStack() as stack:
        turns.connect_again(stack, 20)
        stack.enter_context(turns.connect())
        assert turns.turn() == 1


def test_who_asks_again_at_once_does_not_keep_others_waiting(open_turns: Callable[[float], Turns]) -> None:
    turns = open_turns(0.003)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(turns.connect()) for _ in range(6)]
        for client in clients:
            client.setblocking(False)
        answers = [0] * len(clients)
        for _ in range(10 * len(clients)):
            turns.turn()
            for number, client in enumerate(clients):
                with contextlib.suppress(BlockingIOError):
                    assert client.recv(1000) == RESPONSE
                    answers[number] += 1
                    client.sendall(REQUEST)
        assert min(answers) > 5


def test_who_was_left_for_the_next_turn_may_go(open_turns: Callable[[float], Turns]) -> None:
    turns = open_turns(0.003)
    with contextlib.ExitStack() as stack:
        clients = turns.connect_again(stack, 6)
        turns.turn()
        assert turns.answered < len(clients)
        assert not turns.plane.sweep(10**6, 0, 0)  # all are closed, as if their time had come
        assert turns.plane.open == 0
        stack.enter_context(turns.connect())
        while turns.plane.open == 0:
            turns.turn()


def test_who_has_sent_a_request_is_not_idle(open_turns: Callable[[float], Turns]) -> None:
    turns = open_turns(0)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(turns.connect()) for _ in range(EVENTS_A_TURN + 6)]
        while turns.plane.open < len(clients):
            turns.turn()
        newcomer = stack.enter_context(turns.connect())
        for client in clients:
            assert client.recv(1000) == RESPONSE
            client.sendall(REQUEST)
        assert turns.turn(room=0) == 1
        answered = turns.answered
        assert answered < len(clients)  # some of the others are not read yet
        while answered <= len(clients):
            turns.turn(room=0)
            answered += turns.answered
        assert turns.plane.open == len(clients)
        assert newcomer.recv(1000) == RESPONSE
        assert [client.recv(1000) for client in clients] == [RESPONSE] * len(clients)
