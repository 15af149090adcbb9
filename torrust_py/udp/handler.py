"""What a datagram is answered with."""

import logging
from ipaddress import ip_address

from torrust_py.core.errors import TorrentRefused, TrackerError
from torrust_py.core.statistics import Door, Outcome, Reason, Statistics
from torrust_py.core.tracker import Tracker
from torrust_py.core.types import Address, Families
from torrust_py.udp.connection_ids import ConnectionIds
from torrust_py.udp.packets import (
    ANNOUNCE,
    CONNECT,
    MAX_PEERS_IPV4,
    MAX_PEERS_IPV6,
    BadPacket,
    action_of,
    encode_announce_response,
    encode_connect_response,
    encode_error_response,
    encode_scrape_response,
    is_error_response,
    parse_announce,
    parse_connect,
    parse_scrape,
    transaction_id_of,
)

MALFORMED_ANSWERS_PER_SECOND = 1000
"""Anyone can send garbage under another's address; what is beyond this goes unanswered."""

# An enumeration's members cost more to look up than all else that is done with them here.
_UDP4, _UDP6 = Door.UDP4, Door.UDP6
_ANNOUNCED = Outcome.ANNOUNCE
_IPV4, _IPV6 = Families.IPV4, Families.IPV6

_log = logging.getLogger("UDP TRACKER")


class UdpHandler:
    """Answers the datagrams of a UDP tracker, which are counted in `statistics`.

    The trackers of the process share the `budget` for answers to what is malformed.
    """

    def __init__(
        self,
        tracker: Tracker,
        connection_ids: ConnectionIds,
        statistics: Statistics,
        budget: "AnswerBudget | None" = None,
    ) -> None:
        self._tracker = tracker
        self._connection_ids = connection_ids
        self.statistics = statistics
        self._malformed = budget or AnswerBudget(MALFORMED_ANSWERS_PER_SECOND)
        self._logs = _log.isEnabledFor(logging.DEBUG)

    def handle(self, datagram: bytes, client: Address, now_ms: int) -> bytes | None:
        """The response, or None if there is none; counts what became of the request."""
        outcome, response = self._outcome(datagram, client, now_ms)
        self.statistics.count(_UDP4 if len(client) == 4 else _UDP6, outcome)
        if self._logs:
            _log_request(outcome, client, response)
        return response

    def _outcome(
        self, datagram: bytes, client: Address, now_ms: int
    ) -> tuple[Outcome | Reason, bytes | None]:
        try:
            action = action_of(datagram)
            if action == ANNOUNCE:
                return _ANNOUNCED, self._announce(datagram, client, now_ms)
            if action == CONNECT:
                return Outcome.CONNECT, self._connect(datagram, client, now_ms)
            return Outcome.SCRAPE, self._scrape(datagram, client, now_ms)
        except BadPacket as error:
            if is_error_response(datagram):  # of another tracker, which would answer the answer, and so on
                return Reason.BAD_PACKET, None
            if not self._malformed.take(now_ms):
                return Reason.BUDGET_SPENT, None
            return Reason.BAD_PACKET, _refusal(datagram, f"bad request: {error}")
        except TrackerError as error:
            return error.reason, _refusal(datagram, error_text(error))
        except MemoryError:
            return Reason.NO_MEMORY, None
        except Exception:
            _log.exception("a request failed")
            return Reason.INTERNAL_ERROR, _refusal(datagram, "internal server error")

    def _connect(self, datagram: bytes, client: Address, now_ms: int) -> bytes:
        request = parse_connect(datagram)
        return encode_connect_response(request.transaction_id, self._connection_ids.issue(client, now_ms))

    def _announce(self, datagram: bytes, client: Address, now_ms: int) -> bytes:
        request = parse_announce(datagram)
        self._connection_ids.check(request.connection_id, client, now_ms)
        families, fitting = (_IPV4, MAX_PEERS_IPV4) if len(client) == 4 else (_IPV6, MAX_PEERS_IPV6)
        swarm = self._tracker.announce(
            request.info_hash,
            self._tracker.endpoint(client, request.port),
            request,
            num_want=request.num_want,
            at_most=fitting,
            families=families,
            now_ms=now_ms,
        )
        return encode_announce_response(
            request.transaction_id, interval=self._tracker.rules.interval, swarm=swarm
        )

    def _scrape(self, datagram: bytes, client: Address, now_ms: int) -> bytes:
        request = parse_scrape(datagram)
        self._connection_ids.check(request.connection_id, client, now_ms)
        counts = [self._tracker.scrape(info_hash) for info_hash in request.info_hashes]
        return encode_scrape_response(request.transaction_id, counts)


def error_text(error: TrackerError) -> str:
    """A refusal as it goes on the wire, with the prefix that Torrust gives it."""
    return f"tracker server error: {error}" if isinstance(error, TorrentRefused) else str(error)


def _refusal(datagram: bytes, text: str) -> bytes:
    return encode_error_response(transaction_id_of(datagram), text)


def _log_request(outcome: Outcome | Reason, client: Address, response: bytes | None) -> None:
    size = len(response) if response is not None else 0
    _log.debug("%s from %s: %d bytes", outcome.name, ip_address(client), size)


class AnswerBudget:
    """So many answers a second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = -1
        self._left = 0

    def take(self, now_ms: int) -> bool:
        """False if this second's answers are spent."""
        second = now_ms // 1000
        if second != self._second:
            self._second, self._left = second, self._per_second
        self._left -= 1
        return self._left >= 0
