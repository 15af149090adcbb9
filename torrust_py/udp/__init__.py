"""The UDP tracker (BEP 15), and a client of such trackers."""

from torrust_py.udp.client import UdpClient, open_udp_client
from torrust_py.udp.connection_ids import SECRET_SIZE, ConnectionIds, PortableConnectionIds
from torrust_py.udp.handler import MALFORMED_ANSWERS_PER_SECOND, AnswerBudget, UdpHandler, error_text
from torrust_py.udp.packets import BadPacket
from torrust_py.udp.server import UdpTracker, ask_for_destinations, is_wildcard

__all__ = [
    "MALFORMED_ANSWERS_PER_SECOND",
    "SECRET_SIZE",
    "AnswerBudget",
    "BadPacket",
    "ConnectionIds",
    "PortableConnectionIds",
    "UdpClient",
    "UdpHandler",
    "UdpTracker",
    "ask_for_destinations",
    "error_text",
    "is_wildcard",
    "open_udp_client",
]
