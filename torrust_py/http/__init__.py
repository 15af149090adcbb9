"""The HTTP tracker (BEP 3, 7, 23, 48)."""

from torrust_py.http.client_ip import address_text
from torrust_py.http.handler import HttpHandler
from torrust_py.http.plane_tracker import PlaneTracker
from torrust_py.http.server import Connections, HttpTracker

__all__ = ["Connections", "HttpHandler", "HttpTracker", "PlaneTracker", "address_text"]
