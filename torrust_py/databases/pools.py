"""How every engine keeps its connections."""

from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool

POOL: dict[str, Any] = {  # Any: as the parameters of create_async_engine
    "poolclass": AsyncAdaptedQueuePool,
    "pool_size": 4,
    "max_overflow": 0,
    "pool_timeout": 0.5,
    "pool_use_lifo": True,
    "hide_parameters": True,
}
"""Four connections are as many as there are callers (changes of keys and of the whitelist, one at a time
each; the flush of completed counters; a load), so none waits for one, which it would half a second at most.
The one used last is used next, so that in quiet times there is one. Errors do not show the values of
statements.
"""
