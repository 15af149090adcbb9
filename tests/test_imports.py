"""Which room may import which: the table of docs/architecture.md."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "torrust_py"

# A room, or a module at the top: what it may import of ours, and which packages.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "core": (set(), set()),
    "udp": ({"core"}, set()),
    "http": ({"core", "tls"}, {"bencodepy", "httptools"}),
    "native": ({"core"}, {"cpython", "libc", "posix"}),
    "data_planes": ({"core", "http", "listeners", "logs", "memory", "native", "udp"}, set()),
    "api": ({"core", "web"}, {"aiohttp", "multidict", "yarl"}),
    "databases": ({"core"}, {"sqlalchemy", "aiosqlite", "asyncmy"}),
    "config": (set(), {"pydantic", "pydantic_core", "tomlkit"}),
    "web": ({"tls", "web_connections"}, {"aiohttp", "multidict"}),
    "web_connections": (set(), set()),
    "tls": (set(), set()),
    "health": ({"core", "web"}, {"aiohttp", "yarl"}),
    "jobs": ({"core", "selfcheck"}, set()),
    "selfcheck": ({"config", "listeners"}, set()),
    "snapshots": ({"core"}, set()),
    "blacklist_file": ({"core", "listeners"}, set()),
    "metrics": ({"core"}, {"prometheus_client"}),
    "clock": (set(), set()),
    "certificates": ({"listeners"}, set()),
    "listeners": (set(), set()),
    "logs": (set(), set()),
    "memory": (set(), set()),
    "app": (
        {
            "api", "blacklist_file", "clock", "config", "core", "data_planes", "databases", "health", "http",
            "jobs", "listeners", "logs", "memory", "metrics", "selfcheck", "services", "signals", "snapshots",
            "systemd", "udp", "web",
        },
        {"aiohttp"},
    ),
    "services": (
        {"certificates", "config", "data_planes", "health", "http", "listeners", "logs", "udp", "web"},
        {"aiohttp"},
    ),
    "signals": (set(), set()),
    "systemd": ({"listeners"}, set()),
    "console": (
        {"app", "config", "core", "http", "listeners", "logs", "memory", "selfcheck", "snapshots", "udp"},
        {"click", "rich", "uvloop"},
    ),
    "__main__": ({"console"}, set()),
    "__init__": (set(), set()),
}  # fmt: skip

# Codecs know the values of the core and the wire, and nothing of what this tracker allows.
CODECS = {
    "udp/packets.py": set[str](),
    "http/query.py": set[str](),
    "http/requests.py": set[str](),
    "http/responses.py": {"bencodepy"},
}


CYTHON = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.p*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd"))


def imports(path: Path) -> Iterator[str]:
    if path.suffix in (".pyx", ".pxd"):
        yield from (module or other for module, other in CYTHON.findall(path.read_text()))
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "torrust_py":
                yield from (f"torrust_py.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def foreign(names: Iterator[str]) -> Iterator[str]:
    """Without the standard library."""
    return (name for name in names if name.split(".")[0] not in sys.stdlib_module_names)


def test_every_room_is_in_the_table() -> None:
    assert {room(path) for path in modules()} <= ALLOWED.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_what_the_table_allows(path: Path) -> None:
    rooms, packages = ALLOWED[room(path)]
    for name in foreign(imports(path)):
        top, *rest = name.split(".")
        if top == "torrust_py":
            assert not rest or rest[0] in rooms | {room(path)}, f"{path.name} imports {name}"
        else:
            assert top in packages, f"{path.name} imports {name}"


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_imports_types_alone(codec: str) -> None:
    siblings = {f"torrust_py.{codec.split('/')[0]}.query"}
    for name in foreign(imports(PACKAGE / codec)):
        assert name == "torrust_py.core.types" or name in siblings or name in CODECS[codec], name


def test_the_check_sees_a_forbidden_import(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import json\nfrom torrust_py import app\nimport sqlalchemy.orm\n")
    assert list(foreign(imports(module))) == ["torrust_py.app", "sqlalchemy.orm"]
    source = tmp_path / "module.pyx"
    source.write_text(
        "import os\nfrom libc.errno cimport errno\nfrom torrust_py.udp import UdpHandler\ncimport numpy\n"
    )
    assert list(foreign(imports(source))) == ["libc.errno", "torrust_py.udp", "numpy"]
