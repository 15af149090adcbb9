from pathlib import Path

import pytest

from torrust_py.selfcheck import read_conntrack, read_host


def proc(root: Path, **files: str) -> Path:
    """A root directory with these files below /proc/sys/net, `__` for each slash."""
    for name, text in files.items():
        file = root / "proc/sys/net" / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_connection_tracking_is_read(tmp_path: Path) -> None:
    root = proc(tmp_path, netfilter__nf_conntrack_count="7\n", netfilter__nf_conntrack_max="262144\n")
    assert read_conntrack(root) == (7, 262_144)
    assert read_host(root)[:2] == (7, 262_144)


def test_what_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert read_host(tmp_path)[:3] == (None, None, None)


def test_what_is_no_number_is_not_known(tmp_path: Path) -> None:
    root = proc(tmp_path, netfilter__nf_conntrack_count="many", netfilter__nf_conntrack_max="")
    assert read_conntrack(root) == (None, None)


@pytest.mark.parametrize(("disabled", "has_ipv6"), [("0\n", True), ("1\n", False)])
def test_ipv6_can_be_switched_off(tmp_path: Path, disabled: str, has_ipv6: bool) -> None:
    assert read_host(proc(tmp_path, ipv6__conf__all__disable_ipv6=disabled)).has_ipv6 is has_ipv6


def test_a_kernel_without_ipv6_has_none(tmp_path: Path) -> None:
    assert read_host(proc(tmp_path, core__rmem_max="212992")).has_ipv6 is False


def test_the_kernel_says_whether_the_clock_is_synchronised() -> None:
    assert read_host().is_clock_synchronised in (True, False, None)
