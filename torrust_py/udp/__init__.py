"""The UDP tracker (BEP 15), and a client of such trackers."""

from torrust_py.udp.client import UdpClient, open_udp_client
from torrust_py.udp.connection_ids import SECRET_SIZE, ConnectionIds, PortableConnectionIds
from torrust_py.udp.handler import UdpHandler
from torrust_py.udp.packets import BadPacket
from torrust_py.udp.server import UdpTracker

__all__ = [
    "SECRET_SIZE",
    "BadPacket",
    "ConnectionIds",
    "PortableConnectionIds",
    "UdpClient",
    "UdpHandler",
    "UdpTracker",
    "open_udp_client",
]
