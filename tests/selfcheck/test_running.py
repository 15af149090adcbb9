import resource
import socket
from pathlib import Path

import pytest

from tests.skips import do_without
from torrust_py.listeners import buffers_of
from torrust_py.selfcheck import open_file_limit, udp_receive_buffers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_receive_buffer_of_a_socket_is_found_by_its_port(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 54_321)
        bound.bind((host, 0))
        buffers = udp_receive_buffers()
        if not buffers:
            do_without("this kernel does not tell of other sockets (module udp_diag)")
        assert buffers[bound.getsockname()[1]] == buffers_of(bound).receive


def test_the_file_limit_of_who_listens_is_found_by_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert open_file_limit(listening.getsockname()[1]) == limit


def test_where_nobody_listens_there_is_no_limit(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert open_file_limit(port) is None
    assert open_file_limit(port, tmp_path) is None


def test_a_process_that_cannot_be_looked_at_has_no_limit(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    row = "0: 0100007F:1B39 00000000:0000 0A 0:0 0:0 0 0 0 4711 1"
    (tmp_path / "proc/net/tcp").write_text(f"head\n{row}\n")
    (tmp_path / "proc/7").mkdir()
    assert open_file_limit(0x1B39, tmp_path) is None


def test_another_process_is_found(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    row = "0: 0100007F:1B39 00000000:0000 0A 0:0 0:0 0 0 0 4711 1"
    (tmp_path / "proc/net/tcp6").write_text(f"head\n{row}\n")
    fds = tmp_path / "proc/7/fd"
    fds.mkdir(parents=True)
    (fds / "3").symlink_to("socket:[4711]")
    (tmp_path / "proc/7/limits").write_text(
        "Limit  Soft  Hard\nMax open files            1024                4096\n"
    )
    assert open_file_limit(0x1B39, tmp_path) == 1024
