import time

from torrust_py.clock import Clock


def test_the_start_lies_a_day_and_the_timeout_after_the_origin() -> None:
    started = Clock(max_peer_timeout=900).now_ms()
    assert (900 + 86_400) * 1000 <= started < (900 + 86_400) * 1000 + 5000


def test_with_its_offset_it_tells_unix_time() -> None:
    clock = Clock(max_peer_timeout=0)
    assert abs(clock.now_ms() + clock.unix_offset_ms - time.time_ns() // 1_000_000) < 1000


def test_its_origin_is_a_whole_second() -> None:
    assert Clock(max_peer_timeout=900).unix_offset_ms % 1000 == 0


def test_it_never_goes_back() -> None:
    clock = Clock(max_peer_timeout=0)
    times = [clock.now_ms() for _ in range(1000)]
    assert times == sorted(times)


def test_a_timeout_of_ages_leaves_decades_until_the_seconds_overflow() -> None:
    assert Clock(max_peer_timeout=2**32 - 1).now_ms() // 1000 < 2**31 - 2**29
