"""The listener against a Bridge that misbehaves: each point of PROTOCOL.md section 11, and each failure it can answer."""
import collections
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from conftest import LIMIT_S, QUICK_RESOLVER, children_of, title_of, until

ANY_MESSAGE = "channel == 'thread' && type == 'threadNewMessage'"


def stats(one):
    """The listener's own counts, as the dispatcher shows them."""
    bridges = one.status().get("bridges") or [{}]
    listeners = bridges[0].get("listeners") or [{}]
    return listeners[0].get("stats", {})


def listener_state(one):
    return next((p for p in one.status()["processes"] if p["role"] == "listener"), {})


def rings(world, count, limit_s=LIMIT_S):
    """Exactly COUNT messages were accepted, each text once."""
    world.provider.wait_accepted(count, limit_s)
    texts = collections.Counter(world.texts())
    assert len(texts) == count and set(texts.values()) == {1}, texts
    return set(texts)


def says(one, failure):
    return one.wait_log(f"failure={failure}")


def connected(one):
    """Subscribed, and the dispatcher has given its mark and interest."""
    until("the listener to be subscribed", lambda: stats(one).get("connected") == 1)
    one.wait_log("interest in force")


# ---- 1: results are judged by their form ----

def test_a_rate_limit_that_looks_like_success(line, bell):
    world = line()
    world.bridge.faults(limit_answer_count=1)
    one = bell(world.config()).start()
    says(one, "rate_limited")
    world.subscribed()
    world.bridge.faults(subscribe_429_count=2)
    world.bridge.drop()
    one.wait_log("repeating the call")
    world.subscribed()
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}
    assert stats(one)["logins_total"] == 1


@pytest.mark.parametrize("answer", ['"ok"', "true", "{}", "null"])
def test_an_answer_of_another_form_is_no_success(line, bell, answer):
    world = line()
    world.bridge.faults(fault_method="manager/subscribeToChannel", fault_answer={"result": json.loads(answer)},
                        fault_method_count=1)
    one = bell(world.config()).start()
    says(one, "odd_answer")
    world.subscribed()


def test_garbage_and_silence_for_answers(line, bell):
    world = line()
    world.bridge.faults(answer_garbage_count=1)
    one = bell(world.config(bridge="request_timeout = 3s")).start()
    says(one, "odd_answer")
    world.subscribed()
    world.bridge.faults(answer_none_count=1)
    world.bridge.drop()
    until("the call to time out", lambda: "step=bind" in one.log_text())
    world.subscribed()
    world.bridge.faults(drop_answers_count=1)
    world.bridge.drop()
    until("another connection", lambda: stats(one).get("connects_total", 0) >= 3)


def test_answers_out_of_order_and_late(line, bell):
    world = line()
    world.bridge.faults(answer_delay_ms=50, answer_jitter_ms=100)
    one = bell(world.config()).start()
    connected(one)
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}


# ---- 2: connections end at any moment; reconnecting is scattered and bounded ----

@pytest.mark.parametrize("how", ["fin", "rst"])
def test_cut_connections_come_back(line, bell, how):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    for n in range(1, 4):
        world.bridge.drop(how)
        until("another subscription", lambda: world.bridge.state()["sockets"] and
              stats(one).get("connects_total", 0) >= n + 1)
    says(one, "ended")
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}


def test_close_frames_have_their_code_in_the_log(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.close(1011, "no more today")
    one.wait_log('detail="code 1011 no more today"')
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)


def test_no_tight_loop_while_the_bridge_refuses(line, bell):
    world = line()
    one = bell(world.config(bridge="reconnect_min = 100ms").replace("reconnect_min = 50ms\n", "")
               .replace("reconnect_max = 1s", "reconnect_max = 2s")).start()
    connected(one)

    def pauses_ms():
        return [int(ms) for ms in re.findall(r'msg="connecting again" in_ms=(\d+)', one.log_text())]
    began = time.monotonic()
    world.bridge.refuse()
    world.bridge.drop()
    pauses = until("six tries", lambda: len(pauses_ms()) >= 6 and pauses_ms())
    assert (time.monotonic() - began) * 1000 >= sum(pauses[:5]), "and not only said"
    assert all(pause >= min(100 << n, 2000) // 2 for n, pause in enumerate(pauses)), pauses
    says(one, "connection_refused")
    world.bridge.resume()
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)


def test_a_server_that_takes_us_in_and_throws_us_out_is_not_stormed(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    calls_before = sum(world.bridge.state()["calls"].values())
    began = time.monotonic()
    until("three seconds to pass", lambda: world.bridge.drop() is None or time.monotonic() > began + 3)
    calls = sum(world.bridge.state()["calls"].values()) - calls_before
    # The Bridge's own limit is 10 a second after a burst of 100 (PROTOCOL.md section 10).
    assert calls <= 100 + 10 * (time.monotonic() - began)


@pytest.mark.parametrize("status,failure", [(503, "server_error"), (404, "not_found"), (302, "redirected"),
                                            (401, "front_unauthorized"), (429, "front_limited")])
def test_refused_upgrades(line, bell, status, failure):
    world = line()
    world.bridge.faults(upgrade_status=status, upgrade_status_count=2, upgrade_location="https://elsewhere/api")
    one = bell(world.config()).start()
    says(one, failure)
    world.subscribed()


@pytest.mark.parametrize("status,failure", [(502, "server_error"), (404, "not_found"), (429, "front_limited")])
def test_http_errors_at_login(line, bell, status, failure):
    world = line()
    world.bridge.faults(http_status=status, http_status_count=1, http_body="<html>")
    one = bell(world.config()).start()
    says(one, failure)
    world.subscribed()


def test_an_upgrade_that_is_never_answered(line, bell):
    world = line()
    world.bridge.faults(upgrade_hang_count=1)
    one = bell(world.config(bridge="request_timeout = 500ms")).start()
    says(one, "connect_timed_out")
    world.subscribed()


def test_a_name_that_cannot_be_resolved(line, bell):
    world = line()
    config = world.config().replace(world.bridge.api_url, "http://no-such-host.invalid:1/api")
    one = bell(config).start(env=QUICK_RESOLVER)
    says(one, "name_unknown")


# ---- 3: catch-up ----

def missed(world, one, make):
    """Lets MAKE happen while nobody is subscribed; then all is back."""
    before = stats(one).get("connects_total", 0)
    world.bridge.refuse()
    world.bridge.drop()
    until("the connection to be lost", lambda: not world.bridge.state()["sockets"])
    result = make()
    world.bridge.resume()
    until("another subscription", lambda: stats(one).get("connects_total", 0) > before)
    until("the gap to be closed", lambda: stats(one).get("gap") == 0)
    return result


def test_what_was_created_while_away_rings_once(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    first = world.bridge.message()
    world.provider.wait_accepted(1)
    items = missed(world, one, lambda: [world.bridge.message() for _ in range(250)])
    last = world.bridge.message()
    assert rings(world, 252) == {f"New message {i}" for i in [first, *items, last]}
    assert stats(one)["catch_up_calls_total"] >= 5


def test_all_kinds_of_creations_are_caught_up(line, bell):
    world = line()
    rules = world.rule(when="recovered", message="{{ type }} {{ item }}")
    config = world.config(rules, channels="thread, store, stream, inbox, kvdb", bridge="catch_up_overlap = 0ms")
    one = bell(config).start()
    connected(one)
    b = world.bridge
    old_kvdb = b.create("kvdb")["id"]
    time.sleep(1.1)   # ids name whole seconds; what is older than the gap must not be fetched again

    def make():
        store, kvdb = b.create("store")["id"], b.create("kvdb")["id"]
        thread, inbox = b.create("thread")["id"], b.create("inbox")
        return {f"threadCreated {thread}", f"storeCreated {store}", f"kvdbCreated {kvdb}",
                f"streamRoomCreated {b.create('stream')['id']}", f"inboxCreated {inbox['id']}",
                f"threadCreated {inbox['threadId']}", f"storeCreated {inbox['storeId']}",
                f"storeFileCreated {b.create('file', storeId=store)['id']}",
                f"threadNewMessage {b.message(thread)}",
                *(f"kvdbNewEntry {k}" for k in ("a", "b") if b.create("entry", kvdbId=old_kvdb, key=k))}
    expected = missed(world, one, make)
    world.provider.wait_accepted(len(expected))
    world.wait_drained(one)
    texts = collections.Counter(world.texts())
    assert expected <= set(texts) and set(texts.values()) == {1}, (expected - set(texts), texts)


def test_first_start_counts_from_now(line, bell):
    world = line()
    for _ in range(5):
        world.bridge.message()
    one = bell(world.config()).start()
    connected(one)
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}
    assert stats(one)["catch_up_calls_total"] == 0


def test_a_later_start_catches_up(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.message()
    world.provider.wait_accepted(1)
    until("a mark", lambda: (one.status()["bridges"][0]["mark_ms"] or -1) > 0)
    assert one.stop() == 0
    items = [world.bridge.message() for _ in range(20)]
    one.start()
    connected(one)
    assert rings(world, 21) >= {f"New message {i}" for i in items}


def test_a_killed_listener_catches_up(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    until("a mark", lambda: (one.status()["bridges"][0]["mark_ms"] or -1) > 0)
    pid = one.child("listener")
    os.kill(pid, signal.SIGKILL)
    items = [world.bridge.message() for _ in range(20)]
    assert rings(world, 20) == {f"New message {i}" for i in items}


def test_a_listener_that_stood_still_misses_nothing(line, bell):
    world = line()
    world.bridge.faults(ping_interval_ms=3600000)
    one = bell(world.config(bridge="catch_up_overlap = 0ms")).start()
    connected(one)
    # Pings alone move the mark.
    first = until("a mark", lambda: one.status()["bridges"][0]["mark_ms"])
    until("the mark to move", lambda: world.bridge.ping_now() and one.status()["bridges"][0]["mark_ms"] > first)
    pid = one.child("listener")
    os.kill(pid, signal.SIGSTOP)
    try:
        items = []
        until("the Bridge to give up the connection", lambda: items.append(world.bridge.message()) or
              world.bridge.ping_now() and not world.bridge.state()["sockets"])
        items += [world.bridge.message() for _ in range(5)]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert rings(world, len(items)) == {f"New message {i}" for i in items}


def test_a_token_that_ends_in_the_middle_of_catching_up(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)

    def make():
        items = [world.bridge.message() for _ in range(250)]
        world.bridge.faults(fault_method="thread/listThreadMessages",
                            fault_answer={"error": {"code": 24879, "message": "Unauthorized", "data": None}},
                            fault_method_count=1)
        return items
    items = missed(world, one, make)
    assert rings(world, 250) == {f"New message {i}" for i in items}
    assert stats(one)["refreshes_total"] >= 1 and stats(one)["logins_total"] == 1


def test_catching_up_within_the_bridges_limit(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    for _ in range(30):
        world.bridge.create("thread")
    world.bridge.faults(rate_limit=1)

    def make():
        threads = [world.bridge.create("thread")["id"] for _ in range(30)]
        return [world.bridge.message(t) for t in threads] and world.bridge.message()
    item = missed(world, one, make)
    assert f"New message {item}" in rings(world, 1)
    assert stats(one)["rate_limited_total"] == 0


def test_lists_that_are_limited_are_asked_again(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)

    def make():
        item = world.bridge.message()
        world.bridge.faults(fault_method="thread/listThreadMessages", fault_answer={
            "result": {"code": 429, "headers": {}, "body": "Too many requests"}}, fault_method_count=2)
        return item
    item = missed(world, one, make)
    assert rings(world, 1) == {f"New message {item}"}
    assert stats(one)["rate_limited_total"] == 2


def test_without_catch_up_it_is_said(line, bell):
    world = line()
    one = bell(world.config(bridge="catch_up = off")).start()
    connected(one)
    missed(world, one, world.bridge.message)
    one.wait_log("what was missed is not caught up")
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}


def test_a_key_without_the_context_scope_works_without_catch_up(line, bell):
    world = line()
    scope = ["thread", "store", "stream", "inbox", "solution", "solution:*"]
    world.bridge.create("key", id="narrow", secret="narrow-secret", scope=scope, user="narrow")
    (world.dir / "bridge.secret").write_text("narrow-secret")
    one = bell(world.config().replace(world.bridge.key_id, "narrow")).start()
    one.wait_log("no scope `context`")
    connected(one)
    missed(world, one, world.bridge.message)
    one.wait_log("what was missed is not caught up")
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}


def test_more_than_may_be_caught_up(line, bell):
    world = line()
    one = bell(world.config(bridge="catch_up_max_events = 10")).start()
    connected(one)
    missed(world, one, lambda: [world.bridge.message() for _ in range(50)])
    one.wait_log("more was missed than catch_up_max_events permits")
    assert stats(one)["catch_up_incomplete_total"] == 1
    world.wait_drained(one)
    assert world.provider.state()["accepted"] <= 10


def test_resync_by_order(line, bell):
    world = line()
    items = [world.bridge.message() for _ in range(3)]
    one = bell(world.config()).start()
    connected(one)
    one.cli("resync", "--since", "1h")
    assert rings(world, 3) == {f"New message {i}" for i in items}


# ---- 4 and 5: one token session ----

def test_reconnecting_takes_no_further_place(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    for n in range(5):
        world.bridge.drop()
        until("another subscription", lambda: stats(one).get("connects_total", 0) >= n + 2)
    assert world.bridge.state()["calls"]["manager/auth"] == 1
    for _ in range(3):
        assert one.stop() == 0
        one.start()
        connected(one)
    state = world.bridge.state()
    assert len(state["token_sessions"]) == 1, state["token_sessions"]


def test_a_replaced_token_is_renewed_by_refresh(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.expire(access=True)
    world.bridge.drop()
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)
    assert stats(one)["refreshes_total"] == 1 and stats(one)["logins_total"] == 1


def test_an_evicted_session_logs_in_again(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.evict()
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}, "an evicted session still delivers"
    world.bridge.drop()
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)
    says(one, "refresh_token_rejected")
    assert stats(one)["logins_total"] == 2


def test_a_bridge_that_forgot_everything(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.restart(ms=300, lose_sessions=True)
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}


# ---- 6: tokens are renewed in time, whatever the clocks say ----

def second_bridge(world, name="second"):
    """WORLD's Bridge as a further block of another world's configuration."""
    return world.config(rules="").split("provider ")[0].replace('bridge "main"', f'bridge "{name}"')


def test_renewal_by_the_measured_life(line, bell):
    offsets = {"main": 0, "ahead": 7200000, "behind": -7200000}
    worlds = {name: line() for name in offsets}
    for name, offset_ms in offsets.items():
        worlds[name].bridge.faults(access_token_ms=9000, clock_offset_ms=offset_ms)
    rules = worlds["main"].rule(when=ANY_MESSAGE, message="{{ bridge }} {{ data.id }}")
    one = bell(worlds["main"].config(rules) + second_bridge(worlds["ahead"], "ahead")
               + second_bridge(worlds["behind"], "behind")).start()

    def counts():
        return {b["name"]: b["listeners"][0].get("stats", {}) for b in one.status()["bridges"] if b["listeners"]}
    until("two renewals of each", lambda: len(counts()) == 3 and
          all(count.get("refreshes_total", 0) >= 2 for count in counts().values()))
    assert {count["logins_total"] for count in counts().values()} == {1}
    for world in worlds.values():
        assert "24879" not in world.bridge.state()["refusals"]
    items = {f"{name} {world.bridge.message()}" for name, world in worlds.items()}
    assert rings(worlds["main"], 3) == items


# ---- 7: permanent failures stop with a word to the operator ----

def stopped(one, failure, *words):
    """The listener has given up for good and said what must change."""
    text = until("the listener to stop", lambda: "cannot go on until the operator changes something" in one.log_text()
                 and one.log_text())
    assert failure in text
    for word in words:
        assert word in text
    until("the master to leave it alone", lambda: not [p for p in children_of(one.process.pid)
                                                       if "bridgebell: listener" in title_of(p)])


def key(world, scope, **more):
    world.bridge.create("key", id="other-key", secret="other-secret", scope=scope, user="other", **more)
    (world.dir / "bridge.secret").write_text("other-secret")
    return world.config().replace(world.bridge.key_id, "other-key")


def test_wrong_secret(line, bell):
    world = line()
    (world.dir / "bridge.secret").write_text("wrong")
    one = bell(world.config()).start()
    stopped(one, "wrong_secret", "check api_key_secret")
    assert "wrong" not in one.log_text().replace("wrong_secret", "")


def test_unknown_key(line, bell):
    world = line()
    one = bell(world.config().replace(world.bridge.key_id, "unknown-key")).start()
    stopped(one, "unknown_key", "check api_key_id")


def test_no_solution_scope(line, bell):
    world = line()
    config = key(world, ["thread", "store", "stream", "inbox", "context"])
    one = bell(config).start()
    stopped(one, "scope_missing", "solution:*")


def test_a_login_that_grants_no_solution(line, bell):
    world = line()
    granted = world.bridge.login()
    world.bridge.faults(fault_method="manager/auth", fault_answer={
        "result": {**granted, "scope": ["thread", "store", "stream", "inbox"]}}, fault_method_count=1)
    one = bell(world.config()).start()
    stopped(one, "no solution: scope was granted", "solution:*")


def test_a_channel_without_its_scope(line, bell):
    world = line()
    one = bell(key(world, ["thread", "store", "inbox", "context", "solution:*"])).start()
    stopped(one, "scope_missing", "stream")


def test_a_subscription_for_which_the_scope_is_missing(line, bell):
    world = line()
    world.bridge.faults(fault_method="manager/subscribeToChannel", fault_answer={
        "error": {"code": 24878, "message": "Insufficient scope", "data": "stream"}}, fault_method_count=1)
    one = bell(world.config()).start()
    stopped(one, "channel_scope_missing", "stream", "take the channel out of channels")


def test_a_key_disabled_while_events_come(line, bell):
    world = line()
    world.bridge.faults(access_token_ms=3000)
    one = bell(world.config()).start()
    connected(one)
    world.bridge.disable_key()
    says(one, "unknown_key")
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}
    assert listener_state(one)["detail"] == "subscribed"
    world.bridge.drop()
    stopped(one, "unknown_key", "enable the key")


# ---- 8: reading never waits ----

def test_pings_are_answered_while_the_dispatcher_stands_still(line, bell):
    world = line()
    world.bridge.faults(ping_interval_ms=3600000)
    one = bell(world.config()).start()
    connected(one)
    dispatcher = one.child("dispatcher")
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        world.bridge.flood(200000, match_every=50, keep=True, wait=True)
        only = world.bridge.state()["sockets"][0]
        for pongs in (1, 2):
            world.bridge.ping_now()
            world.bridge.wait_for(lambda s, n=only["pongs"] + pongs: s["sockets"][0]["pongs"] == n)
        assert [k["socket"] for k in world.bridge.state()["sockets"]] == [only["socket"]]
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    rings(world, 4000, 180)
    assert stats(one)["losses_total"] == 0


def test_more_than_memory_holds_goes_to_disk_and_back(line, bell):
    world = line()
    one = bell(world.config(bridge="outbox = 64KiB")).start()
    connected(one)
    dispatcher = one.child("dispatcher")
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        until("the link to be down", lambda: "the dispatcher is away" in one.log_text())
        world.bridge.flood(5000, match_every=1, keep=True, wait=True)
        until("a spill file", lambda: list(world.dir.glob("*.spill")))
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    rings(world, 5000, 180)
    until("the spill files to be gone", lambda: not list(world.dir.glob("*.spill")))


def test_what_finds_no_room_is_caught_up(line, bell):
    world = line()
    one = bell(world.config(bridge="outbox = 64KiB spill = 0 catch_up_overlap = 2s")).start()
    connected(one)
    dispatcher = one.child("dispatcher")
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        until("the link to be down", lambda: "the dispatcher is away" in one.log_text())
        world.bridge.bulk(1000, rate=0, wait=True)
        one.wait_log("no room for more events")
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    rings(world, 1000, 180)


# ---- 9: silence ----

@pytest.mark.parametrize("fault", [{"no_pings": 1}, {"mute": 1}])
def test_a_connection_without_a_byte_is_dead(line, bell, fault):
    world = line()
    one = bell(world.config(bridge="silence_limit = 1s")).start()
    connected(one)
    world.bridge.faults(**fault)
    says(one, "silent")
    world.bridge.reset()
    world.bridge.faults(ping_interval_ms=200)
    until("another subscription", lambda: stats(one).get("connects_total", 0) >= 2)


@pytest.mark.parametrize("path", ["/api/", "/other"])
def test_a_path_that_is_upgraded_and_never_answers(line, bell, path):
    world = line()
    ws_url = world.bridge.ws_url.replace("/api", path)
    one = bell(world.config(bridge=f'request_timeout = 300ms ws_url = "{ws_url}"')).start()
    says(one, "mute_path")
    assert "must end in /api" in one.log_text()


# ---- 10: several processes on one Bridge ----

def test_two_subscribers_during_a_reload_ring_once(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.bulk(600, rate=300, wait=False)
    for _ in range(2):
        one.cli("reload")
    until("the bulk to end", lambda: not world.bridge.control("bulk").get("running"))
    rings(world, 600, 180)
    assert len(world.bridge.state()["token_sessions"]) <= 2


def test_two_bridges_have_a_listener_each(line, bell):
    world = line()
    second = line()
    rules = world.rule(when=ANY_MESSAGE, message="{{ bridge }} {{ data.id }}")
    one = bell(world.config(rules) + second_bridge(second)).start()
    world.subscribed()
    second.subscribed()
    until("both to be subscribed", lambda: all(b["connected"] for b in one.status()["bridges"]))
    ids = world.bridge.message(), second.bridge.message()
    assert rings(world, 2) == {f"main {ids[0]}", f"second {ids[1]}"}


# ---- 11: anything may come ----

def test_public_meta_of_any_kind(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    metas = [None, "text", 5, -0.5, True, [], {}, {"": {"": 1}}, ["\u0000", "\U0001f600"], {"a": "line\nbreak \"q\""},
             9007199254740991, [[[[[[[[]]]]]]]]]
    items = {world.bridge.message(publicMeta=m) for m in metas}
    assert rings(world, len(metas)) == {f"New message {i}" for i in items}


def test_unknown_types_channels_and_rubbish(line, bell):
    world = line()
    one = bell(world.config(world.rule(when="type == 'comet'", message="{{ channel }} {{ data.x }}"))).start()
    connected(one)
    rubbish = ["", "{", "[]", "42", "null", '"x"', "{}", '{"channel":5,"type":"comet"}', "\x00", '{"channel":"thread"',
               '{"type":"comet"}', '{"channel":"thread","type":"comet","data":{}}',
               '{"channel":"thread","type":"comet","data":{},"timestamp":"x"}',
               '{"channel":"thread","type":"comet","data":' + "[" * 5000 + "]" * 5000 + ',"timestamp":1}x',
               '{"jsonrpc":"2.0","id":99,"result":"OK"}', '{"jsonrpc":"2.0","error":{"code":1}}']
    for text in rubbish:
        world.bridge.emit(text)
    world.bridge.emit('{"channel":"sky","type":"comet","data":{"x":"h\\u0061lley"},"timestamp":1795414399402}')
    world.bridge.emit('{"channel":"sky", "type":"comet", "data":{"x":"encke"}, "timestamp":1795414399403}')
    assert rings(world, 2) == {"sky halley", "sky encke"}
    assert stats(one)["losses_total"] == 0


def test_fragments_with_pings_between(line, bell):
    world = line()
    world.bridge.faults(fragment_bytes=40, interleave_pings=1)
    one = bell(world.config()).start()
    connected(one)
    items = {world.bridge.message(publicMeta={"n": n}) for n in range(20)}
    assert rings(world, 20) == {f"New message {i}" for i in items}


def test_a_message_above_the_limit_goes_by(line, bell):
    world = line()
    one = bell(world.config(bridge="frame_limit = 64KiB")).start()
    connected(one)
    world.bridge.message(publicMeta="x" * 100000)
    one.wait_log("larger than frame_limit")
    item = world.bridge.message(publicMeta="x" * 10000)
    assert rings(world, 1) == {f"New message {item}"}
    assert stats(one)["losses_total"] == 0


def test_a_large_message_is_taken(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    item = world.bridge.message(publicMeta=["x" * 1000] * 3000)
    assert rings(world, 1) == {f"New message {item}"}


# ---- leaving ----

def test_leaving_unsubscribes_and_closes(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    assert one.stop(signal.SIGQUIT) == 0
    state = world.bridge.state()
    assert state["calls"]["manager/unsubscribeFromChannel"] == 1
    assert not state["sockets"]
    assert "unsubscribed" in one.log_text()


# ---- what lies between ----

def test_tls_with_a_named_authority(line, bell, certificates):
    world = line(tls=(certificates["cert"], certificates["key"]))
    more = f'ca_file = "{certificates["ca"]}"'
    one = bell(world.config(bridge=more, provider=more)).start()
    connected(one)
    world.bridge.flood(20000, match_every=100, keep=True, wait=True)
    rings(world, 200, 180)


def test_tls_that_nobody_vouches_for(line, bell, certificates):
    world = line(tls=(certificates["cert"], certificates["key"]))
    one = bell(world.config()).start()
    says(one, "certificate_refused")
    assert "ca_file" in one.log_text()


class Proxy:
    """An HTTP proxy that knows CONNECT and absolute addresses."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(client,), daemon=True).start()

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.requests.append(method)
        host, port = target.split("://")[-1].split("/")[0].split(":")
        server = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head.replace(f"http://{host}:{port}".encode(), b"", 1))
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server)


def test_through_a_proxy_of_the_environment(line, bell, monkeypatch):
    world = line()
    proxy = Proxy()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "")
    one = bell(world.config()).start()
    monkeypatch.delenv("http_proxy")
    connected(one)
    item = world.bridge.message()
    assert rings(world, 1) == {f"New message {item}"}
    assert "CONNECT" in proxy.requests and "POST" in proxy.requests
    proxy.socket.close()


# ---- interest ----

def test_what_no_rule_wants_is_dropped_at_the_source(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    world.bridge.flood(10000, match_every=100, keep=True, wait=True)
    rings(world, 100)
    until("the counts", lambda: stats(one).get("frames_total", 0) >= 10000)
    assert stats(one)["wanted_total"] == 100
    assert one.status()["events"]["received"] == 100


def test_a_reload_changes_the_interest(line, bell):
    world = line()
    one = bell(world.config()).start()
    connected(one)
    other = world.bridge.create("thread")["id"]
    one.write(world.config(world.rule(when=f"data.threadId == '{other}' && type == 'threadNewMessage'")))
    one.cli("reload")
    world.bridge.message()
    item = world.bridge.message(other)
    assert rings(world, 1) == {f"New message {item}"}


# ---- inbox entries ----

INBOX = "channel == 'inbox' && type == 'inboxEntry'"


@pytest.mark.parametrize("channels", ["inbox", "thread, store, inbox"])
def test_an_inbox_entry_rings_once(line, bell, channels):
    world = line()
    rules = world.rule(when=INBOX, message="{{ container }} {{ item }} {{ size(data.files) }}")
    one = bell(world.config(rules, channels=channels)).start()
    connected(one)
    inbox = world.bridge.create("inbox")["id"]
    plain = world.bridge.inbox_entry(inbox)["id"]
    with_files = world.bridge.inbox_entry(inbox, files=2)["id"]
    world.bridge.message()
    assert rings(world, 2) == {f"{inbox} {plain} 0", f"{inbox} {with_files} 2"}
    assert one.status()["events"]["received"] == 2


def test_parts_fire_as_ordinary_events_only_if_asked_for(line, bell):
    world = line()
    rules = world.rule("inbox", when=INBOX, message="entry {{ item }}") + world.rule(
        "thread", when="type == 'threadNewMessage' && author == '<anonymous>'", message="part {{ item }}")
    one = bell(world.config(rules)).start()
    connected(one)
    item = world.bridge.inbox_entry(world.bridge.create("inbox")["id"], files=1)["id"]
    assert rings(world, 2) == {f"entry {item}", f"part {item}"}
    assert one.status()["events"]["received"] == 2


def test_parts_of_channels_nobody_named_do_not_fire(line, bell):
    world = line()
    one = bell(world.config(world.rule(when="true", message="{{ type }}"), channels="inbox")).start()
    connected(one)
    inbox = world.bridge.create("inbox")["id"]
    world.bridge.message()
    world.bridge.inbox_entry(inbox, files=1)
    world.provider.wait_accepted(2)
    world.wait_drained(one)
    assert sorted(world.texts()) == ["inboxCreated", "inboxEntry"]


def test_a_file_without_its_message_holds_nothing_up(line, bell):
    world = line()
    one = bell(world.config(world.rule(when=INBOX, message="{{ item }}"))).start()
    connected(one)
    inbox = world.bridge.create("inbox")["id"]
    late = world.bridge.inbox_entry(inbox, files=1, message=False)["id"]
    item = world.bridge.inbox_entry(inbox)["id"]
    world.provider.wait_accepted(1)
    assert world.texts() == [item]
    world.bridge.inbox_entry(inbox, files=1, message_id=late)
    assert rings(world, 2) == {item, late}


def test_inbox_entries_are_caught_up(line, bell):
    world = line()
    one = bell(world.config(world.rule(when=INBOX, message="{{ item }} {{ size(data.files) }}"),
                            channels="inbox")).start()
    connected(one)
    inbox = world.bridge.create("inbox")["id"]
    live_item = world.bridge.inbox_entry(inbox, files=1)["id"]
    world.provider.wait_accepted(1)
    item = missed(world, one, lambda: world.bridge.inbox_entry(inbox, files=2)["id"])
    assert rings(world, 2) == {f"{live_item} 1", f"{item} 2"}


def test_a_file_whose_message_never_comes_is_counted(line, bell):
    world = line()
    one = bell(world.config(world.rule(when=INBOX, message="{{ item }}"))).start()
    connected(one)
    world.bridge.inbox_entry(world.bridge.create("inbox")["id"], files=1, message=False)
    until("the file to be let go", lambda: 'listener_events_total{bridge="main",kind="strayed"} 1\n' in one.http("/metrics")[1])
