"""The completed counters across restarts: announces change them in memory, a job saves what changed."""

from torrust_py.core.database import Completed, CompletedTable
from torrust_py.core.swarms import Swarms
from torrust_py.core.types import InfoHash


class CompletedCounters:
    """Between the swarms and their table. What could not be saved is kept for the next time."""

    def __init__(self, table: CompletedTable, swarms: Swarms) -> None:
        self._table = table
        self._swarms = swarms
        self._unsaved: dict[InfoHash, int] = {}
        self.saved_at: float | None = None
        """When a job last found all of them saved, by its monotonic clock."""

    @property
    def unsaved(self) -> int:
        """Torrents whose counter is newer than the database's, as of the last attempt to save."""
        return len(self._unsaved)

    async def load(self) -> tuple[int, int]:
        """Make torrents without peers of the rows; how many there were, and how many of them found room."""
        rows_read = restored = 0
        async for rows in self._table.load_completed():
            rows_read += len(rows)
            restored += self._swarms.restore(rows)
        return rows_read, restored

    async def save(self) -> None:
        """Save the counters that changed. Raises DatabaseError; they are then tried again the next time.

        They are absolute values, so it does no harm to save one twice.
        """
        self._unsaved.update(self._swarms.take_completed())
        if not self._unsaved:
            return
        await self._table.save_completed([Completed(*row) for row in self._unsaved.items()])
        self._unsaved.clear()
