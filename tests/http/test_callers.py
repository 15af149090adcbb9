from torrust_py.core.types import Address
from torrust_py.http.callers import Callers, Seen

ONE, OTHER = Address(b"\x7f\0\0\1"), Address(b"\x0a\0\0\1")


class Plane:
    def __init__(self, *seen: Seen) -> None:
        self._seen = list(seen)

    def take_seen(self) -> Seen:
        return self._seen.pop(0)


def seen(*announces: tuple[Address, int]) -> Seen:
    callers = Callers()
    for address, port in announces:
        callers.note_announce(address, port)
    return callers.take()[0]


def test_without_announces_there_is_nobody() -> None:
    assert seen() == (0, None, None)


def test_one_client_has_one_address_and_one_port() -> None:
    assert seen((ONE, 6881), (ONE, 6881)) == (2, ONE, 6881)


def test_clients_behind_one_address_have_several_ports() -> None:
    assert seen((ONE, 6881), (ONE, 6882), (ONE, 6881)) == (3, ONE, None)


def test_several_addresses_are_none() -> None:
    assert seen((ONE, 6881), (OTHER, 6881), (ONE, 6881)) == (3, None, 6881)


def test_each_look_begins_anew() -> None:
    callers = Callers()
    callers.note_announce(ONE, 1)
    callers.note_unforwarded()
    assert callers.take() == ((1, ONE, 1), 1)
    callers.note_announce(OTHER, 2)
    assert callers.take() == ((1, OTHER, 2), 0)


def test_what_planes_have_seen_counts_too() -> None:
    callers = Callers()
    callers.join(Plane(Seen(0, None, None)))
    callers.join(Plane(Seen(3, ONE, 1)))
    callers.note_announce(ONE, 2)
    assert callers.take()[0] == (4, ONE, None)


def test_a_plane_that_has_seen_several_addresses_decides() -> None:
    callers = Callers()
    plane = Plane(Seen(2, None, 1), Seen(1, ONE, 1))
    callers.join(plane)
    callers.note_announce(ONE, 1)
    assert callers.take()[0] == (3, None, 1)
    callers.leave(plane)
    assert callers.take()[0] == (0, None, None)
