from collections.abc import Callable

import pytest

from tests.forms import make_connection_ids
from torrust_py.core.types import Address, packed_address
from torrust_py.udp.connection_ids import (
    CONNECTION_ID_SIZE,
    SECRET_SIZE,
    SLOT_MS,
    BadConnectionId,
    ConnectionIds,
)

SECRET = bytes(range(SECRET_SIZE))
NOON_MS = 1_732_500_000_000 // SLOT_MS * SLOT_MS
"""Unix time of the start of a slot."""

CLIENTS = [packed_address("203.0.113.5"), packed_address("2001:db8::5")]


Make = Callable[..., ConnectionIds]


@pytest.fixture
def make(form: str) -> Make:
    """Ids of a tracker whose time began with the slot."""

    def one(secret: bytes = SECRET, *, unix_offset_ms: int = NOON_MS) -> ConnectionIds:
        return make_connection_ids(form, secret, unix_offset_ms=unix_offset_ms)

    return one


def is_accepted(ids: ConnectionIds, connection_id: bytes, client: Address, now_ms: int) -> bool:
    try:
        ids.check(connection_id, client, now_ms)
    except BadConnectionId:
        return False
    return True


def test_a_slot_lasts_five_minutes() -> None:
    assert SLOT_MS == 300_000


@pytest.mark.clause("4.2.2")
@pytest.mark.parametrize("client", CLIENTS)
def test_an_id_has_eight_bytes_and_stays_the_same_within_a_slot(make: Make, client: Address) -> None:
    ids = make()
    issued = ids.issue(client, 0)
    assert (len(issued), ids.issue(client, SLOT_MS - 1)) == (CONNECTION_ID_SIZE, issued)


@pytest.mark.clause("4.2.3", "12.5.8")
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("issued_ms", "shown_ms", "accepted"),
    [
        (0, 0, True),
        (0, SLOT_MS - 1, True),
        (0, SLOT_MS, True),
        (0, 2 * SLOT_MS - 1, True),
        (0, 2 * SLOT_MS, False),
        (0, 3 * SLOT_MS, False),
        (SLOT_MS - 1, SLOT_MS, True),
        (SLOT_MS - 1, 2 * SLOT_MS - 1, True),
        (SLOT_MS - 1, 2 * SLOT_MS, False),
        (SLOT_MS, 0, False),
    ],
)
def test_an_id_is_accepted_in_its_slot_and_the_next(
    make: Make, client: Address, issued_ms: int, shown_ms: int, accepted: bool
) -> None:
    ids = make()
    assert is_accepted(ids, ids.issue(client, issued_ms), client, shown_ms) is accepted


@pytest.mark.clause("4.2.1")
@pytest.mark.parametrize("client", CLIENTS)
def test_an_id_is_of_no_use_to_another_address(make: Make, client: Address) -> None:
    ids = make()
    neighbour = Address(client[:-1] + bytes([client[-1] ^ 1]))
    assert not is_accepted(ids, ids.issue(client, 0), neighbour, 0)


def test_the_addresses_of_both_families_do_not_share_ids(make: Make) -> None:
    ids = make()
    assert ids.issue(Address(bytes(4)), 0) != ids.issue(Address(bytes(16)), 0)


@pytest.mark.clause("4.2.9")
def test_an_id_depends_on_the_secret(make: Make) -> None:
    other = make(SECRET[::-1])
    assert not is_accepted(make(), other.issue(CLIENTS[0], 0), CLIENTS[0], 0)


@pytest.mark.clause("4.2.4", "4.2.8")
@pytest.mark.parametrize("client", CLIENTS)
def test_an_id_outlives_a_restart_that_keeps_the_secret(make: Make, client: Address) -> None:
    """After it the tracker's time counts from another origin, here an hour later by Unix time."""
    before, after = make(), make(unix_offset_ms=NOON_MS + 3_600_000)
    issued = before.issue(client, 3_600_000 + SLOT_MS - 1)
    assert is_accepted(after, issued, client, SLOT_MS)
    assert not is_accepted(after, issued, client, 2 * SLOT_MS)


@pytest.mark.clause("4.2.7", "4.5.1")
@pytest.mark.parametrize("connection_id", [bytes(8), b"\xff" * 8, bytes.fromhex("0000041727101980")])
def test_an_id_that_was_never_issued_is_refused(make: Make, connection_id: bytes) -> None:
    with pytest.raises(BadConnectionId, match=r"^connection id could not be verified$"):
        make().check(connection_id, CLIENTS[0], 0)


def test_a_machine_whose_clock_starts_at_the_unix_epoch_refuses_wrong_ids_too(make: Make) -> None:
    assert not is_accepted(make(unix_offset_ms=0), bytes(8), CLIENTS[0], 0)


@pytest.mark.clause("4.2.9")
def test_every_bit_of_an_id_counts(make: Make) -> None:
    ids = make()
    issued = int.from_bytes(ids.issue(CLIENTS[0], 0))
    changed = [(issued ^ 1 << bit).to_bytes(8) for bit in range(64)]
    assert not any(is_accepted(ids, connection_id, CLIENTS[0], 0) for connection_id in changed)
