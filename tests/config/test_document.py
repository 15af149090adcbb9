import os
from pathlib import Path

import pytest

from torrust_py.config import ConfigError
from torrust_py.config.document import Document, read_document

TOML = "TORRUST_TRACKER_CONFIG_TOML"
PATH = "TORRUST_TRACKER_CONFIG_TOML_PATH"
DEFAULT = "./share/default/config/tracker.development.sqlite3.toml"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def complaint(directory: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read_document(environ, directory)
    return str(raised.value)


def syntax_error(text: str, directory: Path) -> str:
    write(directory / "x.toml", text)
    return complaint(directory, TORRUST_TRACKER_CONFIG_TOML_PATH="x.toml")


@pytest.mark.clause("1.3.1", "1.3.3")
def test_the_document_of_the_environment_is_announced_and_not_printed(tmp_path: Path) -> None:
    document = read_document({TOML: 'token = "hush"'}, tmp_path)
    assert document.table == {"token": "hush"}
    assert document.announcement == [
        f"Loading extra configuration from environment variable: {TOML}",
        f"Loading extra configuration from default configuration file: `{DEFAULT}` ...",
    ]


@pytest.mark.clause("1.2.5", "1.3.2")
def test_a_file_is_not_read_beside_the_document_of_the_environment(tmp_path: Path) -> None:
    document = read_document({TOML: "", PATH: "missing.toml"}, tmp_path)
    assert document.table == {}
    assert document.announcement[1:] == ["Loading extra configuration from file: `missing.toml` ..."]


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    write(tmp_path / "etc/tracker.toml", "a = 1")
    assert read_document({PATH: "etc/tracker.toml"}, tmp_path) == Document(
        {"a": 1}, "etc/tracker.toml", ["Loading extra configuration from file: `etc/tracker.toml` ..."]
    )


def test_an_absolute_path_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", "a = 1")
    document = read_document({PATH: str(path)}, Path("/"))
    assert (document.table, document.name) == ({"a": 1}, str(path))


@pytest.mark.clause("1.2.6")
def test_a_relative_path_is_looked_for_in_all_directories_above(tmp_path: Path) -> None:
    found = write(tmp_path / "etc/tracker.toml", "a = 1")
    below = tmp_path / "b/c"
    below.mkdir(parents=True)
    document = read_document({PATH: "./etc/tracker.toml"}, below)
    assert (document.table, document.name) == ({"a": 1}, str(found))


@pytest.mark.clause("1.2.6")
def test_the_nearest_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / "t.toml", "a = 1")
    write(tmp_path / "b/t.toml", "a = 2")
    assert read_document({PATH: "t.toml"}, tmp_path / "b").table == {"a": 2}


@pytest.mark.clause("1.2.4", "1.3.3")
def test_without_a_variable_the_default_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / DEFAULT, "a = 1")
    write(tmp_path / "tracker.toml", "a = 2")
    document = read_document({}, tmp_path)
    assert (document.table, document.name) == ({"a": 1}, DEFAULT)
    assert document.announcement == [
        f"Loading extra configuration from default configuration file: `{DEFAULT}` ..."
    ]


@pytest.mark.clause("1.2.4", "1.3.5")
def test_without_a_default_file_tracker_toml_is_read(tmp_path: Path) -> None:
    write(tmp_path / "tracker.toml", "a = 1")
    assert read_document({}, tmp_path) == Document(
        {"a": 1}, "./tracker.toml", ["Loading configuration from config file ./tracker.toml"]
    )


def test_without_any_file_the_document_is_empty(tmp_path: Path) -> None:
    document = read_document({}, tmp_path)
    assert (document.table, document.name) == ({}, None)


@pytest.mark.clause("1.2.7")
def test_a_path_that_is_set_and_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "tracker.toml", "")
    assert complaint(tmp_path, TORRUST_TRACKER_CONFIG_TOML_PATH="etc/t.toml") == (
        f"etc/t.toml: there is no such file, correct the path or create it (in environment variable {PATH})"
    )


def test_an_empty_path_is_refused(tmp_path: Path) -> None:
    assert complaint(tmp_path, TORRUST_TRACKER_CONFIG_TOML_PATH="").startswith(f"{PATH} is empty: set it to")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracker.toml").mkdir()
    assert complaint(tmp_path) == "./tracker.toml: cannot be read, Is a directory"
    assert complaint(tmp_path, TORRUST_TRACKER_CONFIG_TOML_PATH="tracker.toml").startswith(
        "tracker.toml: cannot be read, Is a directory (in"
    )


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    # A process may not read its own memory at address 0, whoever it runs as.
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("needs Linux")
    assert "/proc/self/mem: cannot be read, " in complaint(
        tmp_path, TORRUST_TRACKER_CONFIG_TOML_PATH="/proc/self/mem"
    )


def test_a_path_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    assert "cannot be read, embedded null byte" in complaint(
        tmp_path, TORRUST_TRACKER_CONFIG_TOML_PATH="a\0b"
    )


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "tracker.toml", b"a = '\xe9'")
    assert complaint(tmp_path) == "./tracker.toml: byte 6 is not UTF-8, save it as UTF-8"


def test_a_document_of_the_environment_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    assert complaint(tmp_path, TORRUST_TRACKER_CONFIG_TOML="a = '\udce9'") == (
        f"environment variable {TOML}: must be UTF-8 text"
    )


@pytest.mark.clause("1.2.22")
def test_a_byte_order_mark_and_crlf_are_fine(tmp_path: Path) -> None:
    write(tmp_path / "tracker.toml", b"\xef\xbb\xbf[a]\r\nb = 1\r\n\r\n[c]\r\nd = 2\r\n")
    assert read_document({}, tmp_path).table == {"a": {"b": 1}, "c": {"d": 2}}
    assert read_document({TOML: "\ufeffa = 1\r\n"}, tmp_path).table == {"a": 1}


@pytest.mark.clause("1.2.22")
def test_tables_may_be_out_of_order(tmp_path: Path) -> None:
    text = (
        "[core.net]\na = 1\n[http_api]\nb = 2\n[core]\nc = 3\n[core.database]\nd = 4\n[http_api.x]\ne = 5\n"
    )
    assert read_document({TOML: text}, tmp_path).table == {
        "core": {"net": {"a": 1}, "c": 3, "database": {"d": 4}},
        "http_api": {"b": 2, "x": {"e": 5}},
    }


@pytest.mark.clause("1.2.22", "1.4.3")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[a]\nb =\n", "Invalid value (at line 2, column 4)"),
        ("[a]\nb\n", "Expected '=' after a key in a key/value pair (at line 2, column 2)"),
        ("a = 'b", "(at end of document)"),
        ("[core]\na = 1\n[b]\n[core]\nc = 2\n", "Cannot declare [core] twice (at line 4, column 6)"),
        ("[a.b]\n[a]\n[a.b]\n", "Cannot declare [a.b] twice (at line 3, column 5)"),
        ("[[u]]\n[u]\n", "Cannot declare [u] twice (at line 2, column 3)"),
        ("[u]\n[[u]]\n", '"u" is given twice (at line 2, column 4)'),
        ("[a]\nb = 1\nb = 2\n", '"b" is given twice (at line 3, column 6)'),
        ("[a]\nb = 1\n[a.b]\n", '"b" is given twice (at line 3, column 5)'),
        (f"a = {'9' * 5000}", "Invalid number"),
        (f"a = {'[' * 5000}", "nested more than 100 levels deep"),
        (f"{'a.' * 500}a = 1", "nested more than 100 levels deep"),
    ],
)
def test_a_syntax_error_has_its_place(tmp_path: Path, text: str, error: str) -> None:
    complained = syntax_error(text, tmp_path)
    assert complained.startswith("x.toml: ")
    assert error in complained


def test_a_syntax_error_does_not_tell_a_secret(tmp_path: Path) -> None:
    assert "hush" not in syntax_error('[http_api.access_tokens]\nadmin = "hush" hush\n', tmp_path)
    assert "hush" not in syntax_error("[http_api.access_tokens]\nadmin = hush\n", tmp_path)
    assert "hush" not in syntax_error('[http_api.access_tokens]\nadmin = "hush\n', tmp_path)
