"""Slowing down whoever guesses: values only."""

from __future__ import annotations

from hub.web.brakes import Brake, BrakeSettings, address_key

SETTINGS = BrakeSettings(free=3, longest_s=8.0, forget_s=100.0, max_keys=4)


def test_the_first_failures_are_free_then_each_wait_is_twice_as_long_up_to_a_limit() -> None:
    brake, now, waits = Brake(SETTINGS), 0.0, []
    for _ in range(8):
        brake.begin("a", now)
        waits.append(brake.wait_s("a", now))
        now += waits[-1]
    assert waits == [0, 0, 1, 2, 4, 8, 8, 8]
    assert brake.wait_s("b", now) == 0


def test_success_and_time_forgive() -> None:
    brake = Brake(SETTINGS)
    for at in range(4):
        brake.begin("a", float(at))
    brake.passed("a")
    assert brake.wait_s("a", 4.0) == 0
    for at in range(4):
        brake.begin("b", float(at))
    brake.begin("b", 200.0)
    assert brake.wait_s("b", 200.0) == 0


def test_it_remembers_a_bounded_number() -> None:
    brake = Brake(SETTINGS)
    for n in range(3):
        brake.begin("a", float(n))
    for name in "bcd":
        brake.begin(name, 3.0)
    assert brake.wait_s("a", 2.5) > 0
    brake.begin("e", 3.0)
    assert brake.wait_s("a", 2.5) == 0
    assert len(brake._troubles) == 4


def test_one_customer_is_one_key() -> None:
    assert address_key("2001:db8:1:2:3::4") == address_key("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert address_key("2001:db8:1:3::1") != address_key("2001:db8:1:2::1")
    assert address_key("::ffff:10.0.0.1") == address_key("10.0.0.1") == "10.0.0.1"
    assert address_key("10.0.0.2") != address_key("10.0.0.1")
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert address_key("") == address_key("/run/socket") == "?"
