"""The swarms across restarts: a file that is written at intervals and at the stop, and read at the start."""

from torrust_py.snapshots.format import VERSION, BadSnapshot, SnapshotReader
from torrust_py.snapshots.keeper import SnapshotKeeper

__all__ = ["VERSION", "BadSnapshot", "SnapshotKeeper", "SnapshotReader"]
