import logging
import resource
import socket

import pytest

from tests.ports import free_port
from tests.skips import do_without
from torrust_py.listeners import (
    UDP_RECEIVE_BUFFER,
    Listener,
    StartError,
    buffers_of,
    enlarge_receive_buffer,
    is_dual_stack,
    open_tcp_socket,
    open_udp_socket,
    raise_file_limit,
)

LOG = logging.getLogger("UDP TRACKER")


def udp(host: str, port: int = 0, *, dual_stack: bool = False) -> socket.socket:
    return open_udp_socket(Listener(host, port), dual_stack=dual_stack, log=LOG)


def tcp(host: str, port: int = 0, *, dual_stack: bool = False) -> socket.socket:
    return open_tcp_socket(Listener(host, port), dual_stack=dual_stack, service="the API")


def test_a_listener_reads_like_an_address() -> None:
    assert (str(Listener("0.0.0.0", 6969)), str(Listener("::", 6969))) == ("0.0.0.0:6969", "[::]:6969")


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], True),
        ([Listener("0.0.0.0", 7070)], True),
        ([Listener("0.0.0.0", 6969)], False),
        ([Listener("127.0.0.1", 6969)], False),
        ([Listener("::1", 6969)], True),
    ],
)
def test_the_ipv6_wildcard_is_dual_stack_unless_ipv4_has_its_port(
    others: list[Listener], *, expected: bool
) -> None:
    wildcard = Listener("::", 6969)
    assert is_dual_stack(wildcard, [wildcard, *others]) is expected


def test_an_address_that_is_no_wildcard_is_never_dual_stack() -> None:
    assert not is_dual_stack(Listener("::1", 6969), [])


def test_what_listens_at_an_ipv4_mapped_address_takes_ipv4() -> None:
    mapped = Listener("::ffff:127.0.0.1", 0)
    assert is_dual_stack(mapped, [mapped])
    with (
        tcp(mapped.host, dual_stack=True) as bound,
        socket.create_connection(("127.0.0.1", bound.getsockname()[1])),
    ):
        pass


def test_a_dual_stack_socket_takes_ipv4() -> None:
    with tcp("::", dual_stack=True) as bound, socket.create_connection(("127.0.0.1", bound.getsockname()[1])):
        pass


def test_an_ipv6_socket_leaves_the_port_to_ipv4() -> None:
    port = free_port()
    with tcp("::", port) as ipv6, tcp("0.0.0.0", port) as ipv4:
        assert ipv4.getsockname()[1] == ipv6.getsockname()[1]


def test_the_granted_receive_buffer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), udp("127.0.0.1"):
        pass
    assert "Receive buffer of 127.0.0.1:0: " in caplog.text


def test_a_udp_port_in_use_is_named_with_the_remedy() -> None:
    with udp("127.0.0.1") as bound:
        port = bound.getsockname()[1]
        with pytest.raises(StartError) as refused:
            udp("127.0.0.1", port)
    assert str(refused.value) == (
        f"the UDP tracker cannot listen on 127.0.0.1:{port}: Address already in use; "
        "another process, or service of this one, has this port: stop it, or configure another port"
    )


def test_a_tcp_port_in_use_is_named_with_the_service() -> None:
    with tcp("127.0.0.1") as bound:
        port = bound.getsockname()[1]
        with pytest.raises(
            StartError, match=f"the API cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            tcp("127.0.0.1", port)


def test_an_address_of_another_host_is_named() -> None:
    with pytest.raises(StartError, match=r"192\.0\.2\.1:0: Cannot assign requested address; no interface"):
        udp("192.0.2.1")


def test_the_file_limit_is_raised_as_far_as_it_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        granted = raise_file_limit()
        assert granted == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert granted > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_buffer_that_somebody_else_has_enlarged_is_left_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        enlarge_receive_buffer(bound)
        granted = buffers_of(bound).receive
        if granted < UDP_RECEIVE_BUFFER:
            do_without("this user cannot have a large buffer")
        enlarge_receive_buffer(bound)
        assert buffers_of(bound).receive == granted
