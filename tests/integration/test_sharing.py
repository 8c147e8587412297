"""Who leaves when: priorities that share the slots, and the limit of attempts to one number."""
import os
import signal

from conftest import until
from line import NUMBER, OTHER

URGENT, NORMAL, BULK = "urgent", "normal", "bulk"
PRIORITY = {URGENT: "critical", NORMAL: "normal", BULK: "bulk"}


class Shared:
    """A line with one thread, and so one rule, for each priority; texts begin with the rule's name."""

    def __init__(self, line, bell, rate, dispatcher=""):
        self.world = line()
        bridge = self.world.bridge
        self.threads = {name: bridge.create("thread")["id"] for name in PRIORITY}
        rules = "".join(
            self.world.rule(name, f"{name} {{{{ data.id }}}}", f"type == 'threadNewMessage' && data.threadId == '{thread}'",
                            more=f"priority = {PRIORITY[name]}")
            for name, thread in self.threads.items())
        config = self.world.config(rules, provider="batch = 1", dispatcher=dispatcher)
        self.bell = bell(config.replace("requests_per_second = 20000", f"requests_per_second = {rate}")).start()
        self.world.subscribed()
        until("all senders", lambda: len(self.bell.status()["senders"]) == 2)

    def send(self, name, count):
        self.world.bridge.bulk(count, share=1, thread_id=self.threads[name])

    def names(self):
        """The priorities of what was accepted, in order."""
        return [text.split()[0] for text in self.world.texts()]

    def queue(self, state):
        return self.bell.status()["queue"][state]

    def line_status(self):
        return self.bell.status()["lines"][0]


def test_the_urgent_passes_a_bulk_backlog(line, bell):
    shared = Shared(line, bell, 5)
    shared.send(BULK, 90)
    until("all of bulk to be queued", lambda: sum(shared.queue(state) for state in ("queued", "leased", "sent")) == 90)
    for n in range(1, 4):
        # Nothing leaves while the event is on its way.
        shared.bell.cli("pause")
        until("nothing to be under way", lambda: shared.queue("leased") == 0)
        waiting, before = shared.queue("queued"), len(shared.names())
        shared.send(URGENT, 1)
        until("it to be queued", lambda n=waiting: shared.queue("queued") == n + 1)
        shared.bell.cli("resume")
        until("the urgent one", lambda n=n: shared.names().count(URGENT) == n)
        place = shared.names()[before:].index(URGENT)
        # Each sender may have been given another one.
        assert place <= 2, f"{place} left before the urgent one"
    assert shared.queue("queued") > 20, "the backlog is still there"
    # And it is not the end of bulk.
    count = shared.names().count(BULK)
    until("bulk to go on", lambda: shared.names().count(BULK) > count + 2)


def test_backlogs_share_by_their_weights(line, bell):
    shared = Shared(line, bell, 20)
    shared.bell.cli("pause")
    for name in PRIORITY:
        shared.send(name, 100)
    until("all to be queued", lambda: shared.queue("queued") == 300)
    shared.bell.cli("resume")
    # 105 places are five rounds of 16, 4 and 1, while critical ones last; two senders may change places.
    shared.world.provider.wait_accepted(105)
    names = shared.names()[:105]
    assert 76 <= names.count(URGENT) <= 84, names
    assert 17 <= names.count(NORMAL) <= 23, names
    assert 3 <= names.count(BULK) <= 9, names
    shared.world.provider.wait_accepted(300, 180)
    shared.world.wait_drained(shared.bell)
    priorities = shared.line_status()["priorities"]
    assert [priorities[p]["requests"] for p in ("critical", "normal", "bulk")] == [100, 100, 100]
    assert [priorities[p]["weight"] for p in ("critical", "normal", "bulk")] == [16, 4, 1]
    metrics = shared.bell.http("/metrics")[1]
    assert 'bridgebell_priority_requests_total{priority="bulk",provider="smsapi"} 100' in metrics
    assert "PRIORITIES" in shared.bell.cli("status").stdout


def test_weights_are_configured_and_judged(line, bell):
    weights = 'priority_weights = { "critical: 1", "normal: 1", "bulk: 1" }'
    shared = Shared(line, bell, 20, dispatcher=weights)
    shared.bell.cli("pause")
    for name in (URGENT, BULK):
        shared.send(name, 40)
    until("all to be queued", lambda: shared.queue("queued") == 80)
    shared.bell.cli("resume")
    shared.world.provider.wait_accepted(40)
    assert 16 <= shared.names()[:40].count(BULK) <= 24
    text = shared.bell.config.read_text()
    shared.bell.config.write_text(text.replace(weights, 'priority_weights = { "critical: 0", "bluk: 1" }'))
    done = shared.bell.cli("check", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    line_number = next(n for n, row in enumerate(text.splitlines(), 1) if weights in row)
    assert f"bridgebell.conf:{line_number}" in said and '"critical: 0"' in said
    assert 'no priority "bluk"; did you mean "bulk"?' in said


# ---- attempts to a number ----

LIMIT, WINDOW_S = 3, 3


def start_limited(line, bell, limit=f'"{LIMIT}/{WINDOW_S}s"', attempts_max=LIMIT, window_s=WINDOW_S):
    world = line()
    world.provider.options(attempts_max=attempts_max, attempts_window_s=window_s)
    config = world.config(rules=world.rule(to=f'"{NUMBER}"') + world.rule(
        "other", "Other {{ data.id }}", f"type == 'threadNewMessage' && data.threadId != '{world.bridge.thread_id}'",
        to=f'"{OTHER}"'), provider="batch = 1")
    one = bell(config.replace("attempts_per_number = off", f"attempts_per_number = {limit}")).start()
    world.subscribed()
    until("all senders", lambda: len(one.status()["senders"]) == 2)
    return world, one


def assert_never_too_many(world):
    state = world.provider.state()
    assert state["max_attempts_per_number"] <= LIMIT, state
    assert "52" not in state["refused"], state


def test_a_number_is_not_tried_more_often_than_allowed(line, bell):
    world, one = start_limited(line, bell)
    other = world.bridge.create("thread")["id"]
    world.bridge.bulk(8 * LIMIT, share=1)
    until("the first", lambda: world.provider.state()["accepted"] >= LIMIT)
    # Nobody else waits for that number.
    for n in range(1, LIMIT + 1):
        world.bridge.message(other)
        until("another number", lambda n=n: sum(text.startswith("Other") for text in world.texts()) == n)
    assert sum(not text.startswith("Other") for text in world.texts()) < 8 * LIMIT, "they still wait"
    listed = one.cli("queue", "ls", "--state", "queued").stdout
    assert "too many attempts to this number" in listed
    until("the number to be shown", lambda: one.status()["lines"][0]["numbers_waiting"] == 1)
    world.provider.wait_accepted(5 * LIMIT)
    one.cli("queue", "cancel", "--state", "queued")
    world.wait_drained(one)
    assert_never_too_many(world)
    assert one.status()["lines"][0]["number_waits"] >= 3 * LIMIT
    assert 'bridgebell_number_waits_total{provider="smsapi"}' in one.http("/metrics")[1]


def test_the_limit_holds_for_retries_and_across_restarts(line, bell):
    world, one = start_limited(line, bell)
    world.provider.faults({"what": "error", "code": 201, "probability": 0.3}, seed=5)
    world.bridge.bulk(3 * LIMIT, share=1)
    for role, done in (("dispatcher", 1), ("sender", 3), ("dispatcher", 5)):
        until("some", lambda done=done: world.provider.state()["accepted"] >= done)
        os.kill(one.child(role), signal.SIGKILL)
    until("one more", lambda: world.provider.state()["accepted"] >= 6)
    one.cli("reload")
    world.provider.clear_faults()
    world.provider.wait_accepted(3 * LIMIT, 120)
    assert_never_too_many(world)
    world.wait_drained(one)


def test_the_providers_own_word_delays_that_number_only(line, bell):
    world, one = start_limited(line, bell, limit="off", attempts_max=1, window_s=600)
    other = world.bridge.create("thread")["id"]
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.bridge.message()
    until("the refusal", lambda: world.provider.state()["refused"].get("52") == 1)
    until("the number to be shown", lambda: one.status()["lines"][0]["numbers_waiting"] == 1)
    requests = world.provider.state()["requests"]
    for _ in range(3):
        world.bridge.message()
    world.bridge.message(other)
    until("another number", lambda: any(text.startswith("Other") for text in world.texts()))
    until("the rest to wait", lambda: one.status()["queue"].get("queued") == 4)
    assert world.provider.state()["requests"] == requests + 1
    assert one.status()["lines"][0]["state"] == "open"
