"""What the tracker tells Prometheus, and others who watch it."""

from torrust_py.metrics.exposition import Exposition
from torrust_py.metrics.loop_lag import LoopLag
from torrust_py.metrics.sources import Binding, Build, HttpListener, Sources, UdpListener

__all__ = [
    "Binding",
    "Build",
    "Exposition",
    "HttpListener",
    "LoopLag",
    "Sources",
    "UdpListener",
]
