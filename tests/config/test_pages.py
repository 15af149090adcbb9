"""The examples of configuration in the pages of docs/ are what the tracker reads."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.config.reference import option_paths
from torrust_py.config import load_config

DOCS = Path(__file__).parents[2] / "docs"
OTHERS = {"torrust-index.md"}  # shows the configuration of another program

MANDATORY = {
    "METADATA__SCHEMA_VERSION": "2.0.0",
    "LOGGING__THRESHOLD": "info",
    "CORE__LISTED": "false",
    "CORE__PRIVATE": "false",
}

EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in OTHERS
    for number, block in enumerate(re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text(), re.M | re.S))
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_configuration(example: str, tmp_path: Path) -> None:
    text = re.sub(r"^ {3}", "", example, flags=re.M)
    environ = {f"TORRUST_TRACKER_CONFIG_OVERRIDE_{name}": value for name, value in MANDATORY.items()}
    given = {name.strip(): value for name, value in re.findall(r"^(private|listed) = (\w+)", text, re.M)}
    for name, value in given.items():
        environ[f"TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__{name.upper()}"] = value
    config = load_config({"TORRUST_TRACKER_CONFIG_TOML": text, **environ}, tmp_path).config
    loaded = json.loads(config.masked_json())
    example_paths, known_paths = set(option_paths(tomllib.loads(text))), set(option_paths(loaded))
    assert example_paths, "it shows no option"
    assert example_paths <= known_paths, "an option that the tracker ignores"


def test_the_variables_are_options(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```sh\n(.*?)^```", (DOCS / "configuration.md").read_text(), re.M | re.S)
    script = f"set -a\n{shown}\nenv -0"
    printed = subprocess.run(
        ["sh", "-euc", script], env={}, capture_output=True, text=True, check=True
    ).stdout
    given = dict(pair.split("=", 1) for pair in printed.split("\0") if pair.startswith("TORRUST_"))
    assert len(given) == 3
    environ = {f"TORRUST_TRACKER_CONFIG_OVERRIDE_{name}": value for name, value in MANDATORY.items()}
    config = load_config({"TORRUST_TRACKER_CONFIG_TOML": "", **environ, **given}, tmp_path).config
    assert config.core.listed
    assert config.http_api is not None
    assert config.http_api.access_tokens["admin"].get_secret_value() == "a-secret-of-yours"
    assert [str(tracker.bind_address) for tracker in config.udp_trackers] == ["0.0.0.0:6969"]
