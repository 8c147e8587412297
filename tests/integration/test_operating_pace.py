"""Requests per second, measured where they arrive: in no second more than the limit, and not much less over time."""
import os
import signal

import pytest

from conftest import until
from line import NUMBER

ROOM_S = 3.0


def recipients(count):
    return ", ".join(f'"{NUMBER[:-3]}{n:03d}"' for n in range(count))


def start(line, bell, rate, timeout="3s"):
    world = line()
    senders = 3
    config = world.config(sender=f"processes = {senders}", rules=world.rule(), provider="batch = 1")
    config = config.replace("request_timeout = 3s", f"request_timeout = {timeout}")
    one = bell(config.replace("requests_per_second = 20000", f"requests_per_second = {rate}")).start()
    world.subscribed()
    until("all senders", lambda: len(one.status()["senders"]) == senders)
    return world, one


@pytest.mark.parametrize("rate", [5, 20, 100])
def test_in_no_second_more_than_the_limit(line, bell, rate):
    world, one = start(line, bell, rate, timeout="60s")
    count = int(rate * ROOM_S)
    world.bridge.bulk(count, share=1, wait=False)
    messages = world.provider.wait_accepted(count)
    state = world.provider.state()
    assert state["max_requests_in_1s"] <= rate, state
    assert state["requests"] == count
    took_s = (max(m["time_ms"] for m in messages) - min(m["time_ms"] for m in messages)) / 1000
    # Slots are a tenth further apart than the limit says; a machine that is busy may miss some of them.
    assert took_s < 5 * count / rate, "the limit is made use of"
    assert one.status()["lines"][0]["rate"] == rate


def test_the_limit_holds_when_senders_die(line, bell):
    world, one = start(line, bell, 20)
    world.bridge.bulk(100, share=1, wait=False)
    for done in (15, 40):
        until("some messages", lambda done=done: world.provider.state()["accepted"] >= done)
        os.kill(one.child("sender"), signal.SIGKILL)
    world.provider.wait_accepted(100)
    assert world.provider.state()["max_requests_in_1s"] <= 20


def test_the_limit_holds_when_the_dispatcher_dies(line, bell):
    world, one = start(line, bell, 20)
    world.bridge.bulk(60, share=1, wait=False)
    until("some messages", lambda: world.provider.state()["accepted"] >= 15)
    os.kill(one.child("dispatcher"), signal.SIGKILL)
    world.provider.wait_accepted(60)
    assert world.provider.state()["max_requests_in_1s"] <= 20
    world.wait_drained(one)
    assert world.provider.state()["accepted"] == 60


def test_the_limit_holds_across_a_reload(line, bell):
    world, one = start(line, bell, 20)
    world.bridge.bulk(80, share=1, wait=False)
    until("some messages", lambda: world.provider.state()["accepted"] >= 10)
    one.cli("reload")
    world.provider.wait_accepted(80)
    assert world.provider.state()["max_requests_in_1s"] <= 20


def test_equal_texts_share_requests_and_so_the_limit(line, bell):
    world = line()
    rules = world.rule(message="the same for all", to=recipients(60))
    config = world.config(rules=rules, provider="batch = 100")
    one = bell(config.replace("requests_per_second = 20000", "requests_per_second = 5")).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(60)
    state = world.provider.state()
    # The provider counts requests. How many jobs are looked at for one follows from the last ones.
    assert state["requests"] <= 60 / 4 and state["max_requests_in_1s"] <= 5
    world.wait_drained(one)


def test_a_rate_of_a_minute(line, bell):
    world = line()
    config = world.config(provider="batch = 1").replace("requests_per_second = 20000", 'requests_per_second = "600/min"')
    one = bell(config).start()
    world.subscribed()
    world.bridge.bulk(20, share=1, wait=False)
    world.provider.wait_accepted(20)
    # The promise is for a minute; within it slots are 100 ms apart, and each may be used for nearly as long.
    assert world.provider.state()["max_requests_in_1s"] <= 12
    assert "600/1m" in one.cli("status").stdout
