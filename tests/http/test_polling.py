"""When new connections are polled for: under load that comes at its clients' pace, and only then."""

import pytest

from torrust_py.http.polling import Polling


class Load:
    """Connections that come to a server, which takes them as its polling says."""

    def __init__(self) -> None:
        self.polling = Polling()
        self.now = 1000.0
        self.accepted = 0
        self.looks = 0
        self.polled_s = 0.0

    def step(self, otherwise: float) -> float:
        """Seconds until the server turns to new connections again."""
        late = 50e-6
        return self.polling.interval_us / 1e6 + late if self.polling.interval_us else otherwise

    def turn(self, seconds: float, accepted: int) -> None:
        if self.polling.interval_us:
            self.looks += 1
            self.polled_s += seconds
        self.now += seconds
        self.accepted += accepted
        self.polling.note(accepted, self.now)

    def steady(self, rate: float, seconds: float) -> None:
        """`rate` connections a second, whoever waits for them; each wakes the server that is told of it."""
        end = self.now + seconds
        due = 0.0
        while self.now < end:
            step = self.step(1 / rate)
            due += step * rate
            self.turn(step, int(due))
            due -= int(due)

    def waiting(self, clients: int, made_s: float, seconds: float) -> None:
        """Clients that connect again when they have been answered, on a host that needs `made_s` for each."""
        end = self.now + seconds
        while self.now < end:
            step = self.step(made_s)
            self.turn(step, min(clients, round(step / made_s)))


@pytest.mark.parametrize(("rate", "looks"), [(1_500, 500), (4_000, 500), (24_000, 1_000), (100_000, 2_000)])
def test_many_clients_are_polled_for_a_few_at_a_time(rate: float, looks: float) -> None:
    load = Load()
    load.steady(rate=rate, seconds=20)
    assert load.polled_s > 18
    assert load.looks / load.polled_s == pytest.approx(looks, rel=0.1)
    assert load.accepted == pytest.approx(20 * rate, rel=0.01)


def test_what_a_look_would_not_find_together_is_not_polled_for() -> None:
    load = Load()
    load.steady(rate=800, seconds=10)
    assert load.polled_s == 0


def test_a_slow_beginning_is_forgotten() -> None:
    load = Load()
    load.steady(rate=100, seconds=1)
    load.steady(rate=20_000, seconds=1)
    assert load.polled_s > 0.9


@pytest.mark.parametrize(
    ("clients", "made_s"), [(1, 400e-6), (1, 100e-6), (4, 25e-6), (8, 25e-6), (10, 100e-6), (10, 50e-6)]
)
def test_clients_that_wait_for_their_responses_are_not_held_back(clients: int, made_s: float) -> None:
    load = Load()
    load.waiting(clients=clients, made_s=made_s, seconds=60)
    assert 0 < load.polled_s < 3  # it is tried now and then
    assert load.accepted > 0.95 * 60 / made_s


@pytest.mark.parametrize("pause_s", [0.05, 0.1, 1])
def test_a_pause_before_clients_that_wait_is_not_their_pace(pause_s: float) -> None:
    load = Load()
    load.waiting(clients=3, made_s=25e-6, seconds=0.0135)
    load.now += pause_s
    load.waiting(clients=3, made_s=25e-6, seconds=4)
    assert load.accepted > 0.95 * 4 / 25e-6


@pytest.mark.parametrize("turn_s", [0.003, 0.005, 0.01])
def test_long_turns_of_the_loop_do_not_make_clients_seem_slower(turn_s: float) -> None:
    load = Load()
    due = 0.0
    while load.now < 1010.0:
        due += turn_s * 10_000
        load.turn(turn_s, int(due))
        due -= int(due)
    assert load.polled_s > 9


@pytest.mark.parametrize(("clients", "made_s"), [(128, 25e-6), (32, 40e-6), (16, 50e-6), (16, 100e-6)])
def test_so_many_that_wait_are_polled_for_as_others_are(clients: int, made_s: float) -> None:
    load = Load()
    load.waiting(clients=clients, made_s=made_s, seconds=10)
    assert load.polled_s > 9
    assert load.accepted > 0.9 * 10 / made_s


def test_when_nobody_comes_any_more_it_ends_soon() -> None:
    load = Load()
    load.steady(rate=20_000, seconds=1)
    assert load.polling.interval_us
    load.looks = 0
    while load.polling.interval_us:
        load.turn(load.step(0.0), 0)
    assert load.looks < 60
    polled_s = load.polled_s
    load.steady(rate=20_000, seconds=1)  # and begins again
    assert load.polled_s - polled_s > 0.9


def test_a_process_that_was_held_up_goes_on_polling() -> None:
    load = Load()
    load.steady(rate=20_000, seconds=0.5)
    load.turn(0.3, 64)
    load.steady(rate=20_000, seconds=0.4)
    assert load.polled_s > 1


def test_a_rate_that_falls_is_measured_again() -> None:
    load = Load()
    load.steady(rate=50_000, seconds=2)
    load.polled_s = 0
    load.steady(rate=8_000, seconds=10)
    assert load.polled_s > 8


def test_stopped_it_measures_anew() -> None:
    load = Load()
    load.steady(rate=20_000, seconds=0.5)
    load.polling.stop()
    assert not load.polling.interval_us
    load.steady(rate=20_000, seconds=0.5)
    assert load.polling.interval_us
