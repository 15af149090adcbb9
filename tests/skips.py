"""What a test does when something that it needs is not there."""

import os
from typing import NoReturn

import pytest


def do_without(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be skipped."""
    if os.environ.get("TORRUST_PY_SKIP_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)
