from pathlib import Path

import pytest
from click.testing import CliRunner

from torrust_py.console.tracker import main
from torrust_py.core.records import DETAILS, NO_PEERS, PackedPeers, SwarmRecord, encode_record
from torrust_py.core.types import InfoHash
from torrust_py.snapshots.format import Header, SnapshotEncoder, Totals

DETAIL = DETAILS.pack(bytes(20), 0, 0, 0, 0)
IPV4 = PackedPeers(bytes([2, 0, 0, 0, 3, 0, 0, 0]), b"\x7f\0\0\1\0\1\x7f\0\0\1\0\2", DETAIL * 2)
IPV6 = PackedPeers(bytes([5, 0, 0, 0]), bytes(15) + b"\1\0\1", DETAIL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two torrents, one of them in two parts."""
    encoder = SnapshotEncoder()
    records = [
        SwarmRecord(InfoHash(b"\1" * 20), 7, 2, True, IPV4, NO_PEERS),
        SwarmRecord(InfoHash(b"\1" * 20), 7, 2, False, NO_PEERS, IPV6),
        SwarmRecord(InfoHash(b"\2" * 20), 1, 2, True, NO_PEERS, NO_PEERS),
    ]
    file = tmp_path / "swarms.snapshot"
    file.write_bytes(
        encoder.header(Header(written_ms=1_764_000_000_999, origin=1_763_000_000))
        + b"".join(encoder.block(encode_record(record)) for record in records)
        + encoder.end(Totals(2, 3))
    )
    return file


def info(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["snapshot", "info", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_info_tells_what_is_in_a_snapshot(file: Path) -> None:
    status, output, _ = info(str(file))
    assert status == 0
    [of_file, written, torrents, peers] = output.splitlines()
    assert of_file == (
        f"File:     {file}, {file.stat().st_size} bytes, format version 1, whole: all checksums are right"
    )
    assert written.startswith("Written:  2025-11-24 16:00:00 UTC, ")
    assert torrents == "Torrents: 2, finished 8 times"
    assert peers == "Peers:    3: 2 seeders, 1 leechers; 2 over IPv4, 1 over IPv6"


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda whole: whole[:-5], "is cut off"),
        (lambda whole: whole[:70] + b"!" + whole[71:], "is damaged"),
        (lambda whole: b"[metadata]\n", "is no snapshot"),
    ],
)
def test_a_file_that_is_not_whole_is_one_line_of_error(file: Path, spoil, what: str) -> None:  # type: ignore[no-untyped-def]  # lambdas
    file.write_bytes(spoil(file.read_bytes()))
    assert info(str(file)) == (1, "", f"torrust-tracker: the snapshot {file} {what}\n")


def test_a_file_that_is_missing_is_one_line_of_error(tmp_path: Path) -> None:
    assert info(f"{tmp_path}/none") == (
        1, "", f"torrust-tracker: the snapshot {tmp_path}/none cannot be read: No such file or directory\n"
    )  # fmt: skip
    assert info(str(tmp_path))[2].endswith("cannot be read: Is a directory\n")


def test_help_tells_of_the_commands(file: Path) -> None:
    assert "snapshot info FILE" in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, ["snapshot", "--help"])
    assert (result.exit_code, "info" in result.output) == (0, True)
    assert info("--help")[:2][0] == 0


@pytest.mark.parametrize(
    "arguments", [["snapshot", "info"], ["snapshot", "none"], ["snapshot", "info", "a", "b"]]
)
def test_any_other_argument_is_an_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2
