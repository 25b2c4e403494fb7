"""Rates by debt, by numbers."""

import pytest

from socks5.policy.buckets import LEAST_BURST, LEAST_ROOM, MOST_ROOM, Bucket, Flow, burst_of

MIB = 1 << 20


def rate_bucket(rate: float, now: float) -> Bucket:
    return Bucket(rate, burst_of(rate), now)


def test_a_burst_passes_and_what_is_beyond_it_is_to_be_paid() -> None:
    bucket = rate_bucket(10 * MIB, 0.0)
    assert bucket.charge(MIB, 0.0) == 0.0
    assert bucket.charge(MIB, 0.0) == pytest.approx(0.1)
    assert bucket.charge(MIB, 0.1) == pytest.approx(0.1)
    assert bucket.charge(MIB, 100.0) == 0.0


def test_a_burst_is_of_64_kib_at_the_least() -> None:
    bucket = rate_bucket(1000.0, 0.0)
    assert bucket.charge(LEAST_BURST, 0.0) == 0.0
    assert bucket.charge(500, 0.0) == 0.5


def test_nothing_is_too_large_to_pass() -> None:
    bucket = rate_bucket(1000.0, 0.0)
    assert bucket.charge(LEAST_BURST + 5000, 0.0) == 5.0
    assert bucket.level(5.0) == LEAST_BURST


def test_another_rate_forgets_nothing() -> None:
    bucket = Bucket(1000.0, 0.0, 0.0)
    bucket.charge(4000, 0.0)
    bucket.change(500.0, 1000.0, 2.0)
    assert bucket.level(2.0) == 2000.0
    assert bucket.charge(0, 2.0) == 2.0
    assert bucket.level(4.0) == 1000.0


def test_there_is_room_for_what_is_left_of_the_burst() -> None:
    bucket = rate_bucket(4 * MIB, 0.0)
    flow = Flow([bucket])
    assert flow.room(0.0) == int(0.4 * MIB)
    flow.moved(int(0.1 * MIB), 0.0)
    assert flow.room(0.0) == pytest.approx(0.3 * MIB, abs=1)


def test_those_who_wait_share_a_slice() -> None:
    bucket = rate_bucket(MIB, 0.0)
    flows = [Flow([bucket]) for _ in range(3)]
    assert flows[0].moved(2 * MIB, 0.0) == pytest.approx(1.9)
    assert flows[1].room(0.0) == int(0.05 * MIB / 2)
    flows[1].moved(1, 0.0)
    flows[1].moved(1, 0.0)  # which does not wait twice
    assert flows[2].room(0.0) == int(0.05 * MIB / 3)
    assert flows[1].room(0.0) == int(0.05 * MIB / 2)
    flows[0].release()
    assert flows[2].room(0.0) == int(0.05 * MIB)


def test_there_is_room_for_some_octets_whoever_waits() -> None:
    bucket = rate_bucket(1000.0, 0.0)
    flow = Flow([bucket])
    flow.moved(MIB, 0.0)
    assert flow.room(0.0) == LEAST_ROOM


def test_several_buckets_hold_by_the_longest_wait_and_the_least_room() -> None:
    wide, narrow = rate_bucket(100 * MIB, 0.0), rate_bucket(MIB, 0.0)
    flow = Flow([wide, narrow])
    assert flow.room(0.0) == int(0.1 * MIB)
    assert flow.moved(MIB, 0.0) == pytest.approx(0.9)
    assert (wide.waiting, narrow.waiting) == (0, 1)


def test_what_is_not_limited_has_room_for_much() -> None:
    flow = Flow()
    assert flow.moved(1 << 40, 0.0) == 0.0
    assert flow.room(0.0) == MOST_ROOM
