"""The self-check: what will hurt a tracker, by its configuration, its host and what comes to it."""

from torrust_py.selfcheck.findings import Callers, Finding
from torrust_py.selfcheck.host import Host, read_conntrack, read_host
from torrust_py.selfcheck.running import open_file_limit, udp_receive_buffers
from torrust_py.selfcheck.start import start_findings
from torrust_py.selfcheck.watch import Watch

__all__ = [
    "Callers",
    "Finding",
    "Host",
    "Watch",
    "open_file_limit",
    "read_conntrack",
    "read_host",
    "start_findings",
    "udp_receive_buffers",
]
