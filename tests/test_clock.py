import time

from torrust_py.clock import Clock


def test_the_start_lies_a_day_and_the_timeout_after_the_origin() -> None:
    started = Clock(max_peer_timeout=900).now_ms()
    assert (900 + 86_400) * 1000 <= started < (900 + 86_400) * 1000 + 5000


def test_with_its_offset_it_tells_unix_time() -> None:
    clock = Clock(max_peer_timeout=0)
    assert abs(clock.now_ms() + clock.unix_offset_ms - time.time_ns() // 1_000_000) < 1000


def test_it_never_goes_back() -> None:
    clock = Clock(max_peer_timeout=0)
    times = [clock.now_ms() for _ in range(1000)]
    assert times == sorted(times)
