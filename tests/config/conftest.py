"""A configuration with nothing but what must be given, and loading it with changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from torrust_py.config import Config, ConfigError, load_config

MINIMAL = """
[metadata]
schema_version = "2.0.0"
[logging]
threshold = "info"
[core]
listed = false
private = false
"""


@pytest.fixture
def minimal() -> str:
    return MINIMAL


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    """Load the lines, then MINIMAL; keywords are overrides without their prefix."""

    def loaded(lines: str = "", **overrides: str) -> Config:
        environ = {f"TORRUST_TRACKER_CONFIG_OVERRIDE_{name}": text for name, text in overrides.items()}
        return load_config({"TORRUST_TRACKER_CONFIG_TOML": f"{lines}\n{MINIMAL}", **environ}, tmp_path).config

    return loaded


@pytest.fixture
def complaint(load: Callable[..., Config]) -> Callable[..., str]:
    """What is said of such a configuration."""

    def complained(lines: str = "", **overrides: str) -> str:
        with pytest.raises(ConfigError) as raised:
            load(lines, **overrides)
        return str(raised.value)

    return complained
