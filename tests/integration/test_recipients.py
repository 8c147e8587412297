"""People instead of numbers: the directory, members looked up at the Bridge, and who cannot be rung."""
import json
import os
import re
import signal
import sqlite3

import pytest

from conftest import children_of, title_of, until

ALICE, BOB, CAROL = "+48500500001", "+48500500002", "+48500500003"
PEOPLE = f"user_id,number,language,tags\nalice,{ALICE},pl,oncall\nbob,{BOB},,oncall night\ncarol,{CAROL},,\n"
REFUSED = {"error": {"code": -32603, "message": "Internal error", "data": None}}


def write_people(world, text=PEOPLE):
    path = world.dir / "people.csv"
    fresh = world.dir / "people.new"
    fresh.write_text(text)
    os.replace(fresh, path)
    return path


def people_of(world, text=PEOPLE, more=""):
    return f'directory {{ file = "{write_people(world, text)}" }}\n{more}'


def config(world, to, text=PEOPLE, when=None, message="{{ data.id }}", more="", rule="", bridge="catch_up = off"):
    rules = world.rule(to=to, message=message, when=when or "type == 'threadNewMessage'", more=rule)
    return world.config(rules, bridge=bridge, more=people_of(world, text, more))


def rung(world):
    """What was sent, as {text: sorted numbers}."""
    found = {}
    for m in world.provider.messages():
        found.setdefault(m["text"], []).append("+" + m["number"].lstrip("+"))
    return {text: sorted(numbers) for text, numbers in found.items()}


def jobs(one, *words):
    done = one.cli("queue", "list", "--json", *words, check=False)
    return json.loads(done.stdout) if done.stdout.strip() else []


def only(one, state):
    return [j for j in job_rows(one) if j["state"] == state]


def job_rows(one):
    answer = jobs(one)
    return answer["jobs"] if isinstance(answer, dict) else answer


def calls(world, method="thread/listThreads"):
    return world.bridge.state()["calls"].get(method, 0)


def thread(world, users, managers=("alice",), **more):
    return world.bridge.create("thread", users=list(users), managers=list(managers), **more)["id"]


def wait_rung(world, text, numbers):
    until(f"{text} to ring {len(numbers)}", lambda: rung(world).get(text) == sorted(numbers))


def test_members_are_looked_up_once_and_kept_current(line, bell):
    world = line()
    old = thread(world, ["alice", "bob"])
    one = bell(config(world, '"members()"')).start()
    world.subscribed()
    before = calls(world)
    first = world.bridge.message(old, author="bob")
    wait_rung(world, first, [ALICE, BOB])
    assert calls(world) == before + 1
    second = world.bridge.message(old, author="bob")
    wait_rung(world, second, [ALICE, BOB])
    assert calls(world) == before + 1, "the members were known already"
    world.bridge.update("thread", id=old, users=["carol"], managers=["bob"])
    third = world.bridge.message(old, author="bob")
    wait_rung(world, third, [BOB, CAROL])
    assert calls(world) == before + 1, "the update told the members"
    fresh = thread(world, ["carol"], ["carol"])
    fourth = world.bridge.message(fresh, author="carol")
    wait_rung(world, fourth, [CAROL])
    assert calls(world) == before + 1, "the creation told the members"
    world.wait_drained(one)
    status = one.status()
    assert status["members"]["containers"] == 2 and status["waiting"]["events"] == 0
    assert status["waiting"]["expanded"] == 1
    held = [j for j in job_rows(one) if j["state"] == "merged"]
    assert len(held) == 1
    until("the look-up to be counted", lambda: re.search(
        r'bridgebell_listener_lookups_total\{[^}]*outcome="found"[^}]*\} 1\n', one.http("/metrics")[1]))
    text = one.http("/metrics")[1]
    assert "bridgebell_directory_people 3" in text


def test_others_are_the_members_without_the_author(line, bell):
    world = line()
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    where = thread(world, ["alice", "bob", "dave"])
    item = world.bridge.message(where, author="alice")
    wait_rung(world, item, [BOB])
    until("the unknown person to be told of", lambda: only(one, "suppressed"))
    missing = only(one, "suppressed")
    assert len(missing) == 1 and "not in the directory: dave" in missing[0]["reason"]
    assert not missing[0].get("number")
    world.wait_drained(one)
    assert set(rung(world)) == {item}


@pytest.mark.parametrize("kind, channel", [("store", "store"), ("inbox", "inbox"), ("stream", "stream"), ("kvdb", "kvdb")])
def test_members_of_every_kind_of_container(line, bell, kind, channel):
    world = line()
    made = world.bridge.create(kind, users=["bob"], managers=["carol"], id="aaaaaaaaaaaaaaaaaaaaaa10")
    # Another one before and behind it in the list.
    world.bridge.create(kind, users=["alice"], managers=["alice"], id="aaaaaaaaaaaaaaaaaaaaaa0f")
    world.bridge.create(kind, users=["alice"], managers=["alice"], id="aaaaaaaaaaaaaaaaaaaaaa11")
    when = {"store": "type == 'storeFileCreated'", "inbox": "type == 'inboxEntry'",
            "stream": "type == 'streamRoomUpdated'", "kvdb": "type == 'kvdbNewEntry'"}[kind]
    rules = world.rule(to='"members()"', message="ring", when=when)
    one = bell(world.config(rules, bridge="catch_up = off", channels=f"{channel}", more=people_of(world))).start()
    world.subscribed(channel)
    if kind == "store":
        world.bridge.create("file", storeId=made["id"])
    elif kind == "inbox":
        world.bridge.inbox_entry(made["id"])
    elif kind == "kvdb":
        world.bridge.create("entry", kvdbId=made["id"], key="k")
    else:
        world.bridge.update("stream", id=made["id"])
    wait_rung(world, "ring", [BOB, CAROL])
    world.wait_drained(one)


def test_a_container_without_a_context_is_searched_for(line, bell):
    world = line()
    for n in range(3):
        world.bridge.create("context", id=f"context-{n}", solution=world.bridge.solution_id)
    where = thread(world, ["bob"], ["bob"], contextId="context-1")
    item = world.bridge.message(where, author="alice")
    one = bell(config(world, '"members()"', when="type == 'threadDeletedMessage'", message="{{ data.messageId }}",
                      bridge="")).start()
    world.subscribed()
    world.bridge.delete("message", threadId=where, id=item)
    wait_rung(world, item, [BOB])
    assert calls(world, "context/listContexts") >= 1
    world.wait_drained(one)


def test_without_the_scope_nothing_is_searched_for(line, bell):
    world = line()
    where = thread(world, ["bob"], ["bob"])
    one = bell(config(world, '"members()"', when="type == 'threadDeletedMessage'")).start()
    world.subscribed()
    for _ in range(3):
        world.bridge.delete("message", threadId=where, id=world.bridge.message(where))
    until("the events to end", lambda: len(only(one, "suppressed")) == 3)
    assert one.log_text().count("members of containers are not found where") == 1
    assert calls(world, "context/listContexts") == 0 and rung(world) == {}


def test_a_container_that_is_gone_ends_the_event_with_its_reason(line, bell):
    world = line()
    where = thread(world, ["bob"], ["bob"])
    one = bell(config(world, '"members()"', when="type == 'threadStats'", rule="cancel_on_delete = off")).start()
    world.subscribed()
    world.bridge.emit(json.dumps({"channel": "thread", "type": "threadStats", "timestamp": 1795414399402,
                                  "data": {"threadId": "000000000000000000000001", "lastMsgDate": 1, "messages": 1}}),
                      "thread")
    until("the event to end", lambda: only(one, "suppressed"))
    assert "no such container" in only(one, "suppressed")[0]["reason"]
    assert one.status()["waiting"]["events"] == 0
    assert where


def test_expressions_numbers_and_groups_together(line, bell):
    world = line()
    to = ("night, \"member(author)\", \"has(data.publicMeta.phone) ? [data.publicMeta.phone] : []\", "
          "\"tagged('oncall')\", \"500 500 009\"")
    more = 'recipients "night" { to = "tagged(\'night\')" }\nnumbers { default_country = "+48" allowed = "+48" }\n'
    one = bell(config(world, to, more=more)).start()
    world.subscribed()
    plain = world.bridge.message(author="carol")
    wait_rung(world, plain, [ALICE, BOB, CAROL, "+48500500009"])
    phone = world.bridge.message(author="<anonymous>", publicMeta={"phone": "+48 600-600-600"})
    wait_rung(world, phone, [ALICE, BOB, "+48500500009", "+48600600600"])
    foreign = world.bridge.message(author="bob", publicMeta={"phone": "+49600600600"})
    wait_rung(world, foreign, [ALICE, BOB, "+48500500009"])
    until("both to be told of", lambda: len(only(one, "suppressed")) == 2)
    reasons = sorted(j["reason"] for j in only(one, "suppressed"))
    assert reasons[0].startswith("a visitor without a name")
    assert reasons[1].startswith("the number has no allowed prefix") and "600600" not in reasons[1]
    log = one.log_text()
    assert "600600600" not in log and "500500001" not in log


def test_the_directory_is_read_again_when_it_changes(line, bell):
    world = line()
    one = bell(config(world, "\"'alice'\", \"'erin'\"")).start()
    world.subscribed()
    first = world.bridge.message()
    wait_rung(world, first, [ALICE])
    write_people(world, PEOPLE + "erin,+48500500005,,\n")
    one.wait_log("directory read")
    second = world.bridge.message()
    wait_rung(world, second, [ALICE, "+48500500005"])
    write_people(world, PEOPLE + "erin,+4850050,,\n")
    one.wait_log("the directory cannot be read")
    third = world.bridge.message()
    wait_rung(world, third, [ALICE, "+48500500005"])
    status = one.status()["directory"]
    assert status["people"] == 4 and status["trouble"].startswith("line 5: ")
    assert "4850050" not in one.log_text()
    write_people(world)
    until("the trouble to be over", lambda: one.status()["directory"]["trouble"] is None)


def test_a_start_while_the_directory_is_broken_has_the_people_of_before(line, bell):
    world = line()
    one = bell(config(world, f"\"'alice'\", \"{CAROL}\"")).start()
    world.subscribed()
    wait_rung(world, world.bridge.message(), [ALICE, CAROL])
    assert (world.dir / "queue.db-people").stat().st_mode & 0o777 == 0o600
    write_people(world, PEOPLE + "erin,+4850050,,\n")
    one.wait_log("the directory cannot be read")
    old = one.child("dispatcher")
    os.kill(old, signal.SIGKILL)
    until("a new dispatcher", lambda: one.child("dispatcher") != old)
    wait_rung(world, world.bridge.message(), [ALICE, CAROL])
    assert one.status()["directory"]["trouble"].startswith("line 5: ")
    # After a reboot, too; while a reload changes nothing and says why.
    one.stop()
    one.start()
    world.subscribed()
    wait_rung(world, world.bridge.message(), [ALICE, CAROL])
    refused = one.cli("reload", check=False)
    assert refused.returncode == 1 and "people.csv:5" in refused.stdout + refused.stderr
    assert "people.csv:5" in one.cli("check", check=False).stderr
    write_people(world, PEOPLE.replace(ALICE, BOB))
    until("the trouble to be over", lambda: one.status()["directory"]["trouble"] is None)
    wait_rung(world, world.bridge.message(), [BOB, CAROL])
    # The first start of all has no people of before.
    os.remove(world.dir / "queue.db-people")
    one.stop()
    write_people(world, PEOPLE + "erin,+4850050,,\n")
    one.start(ready=False)
    until("the start to fail", lambda: one.process.poll() is not None)
    assert "people.csv:5" in one.log_text()


def test_check_names_the_line_of_a_bad_directory(line, bell):
    world = line()
    one = bell(config(world, '"members()"', text="user_id,number\nalice,500500500\nbob,+48500500500\nbob,\n"))
    done = one.cli("check", check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "people.csv:2" in said and "default_country" in said and "people.csv:4" in said


def test_check_points_a_caret_at_an_expression(line, bell):
    world = line()
    one = bell(config(world, 'oncal, "member(autor)"', more='recipients "oncall" { to = "+48500500500" }\n'))
    done = one.cli("check", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "did you mean `oncall`" in said
    one = bell(config(world, '"member(autor)"'), "second")
    done = one.cli("check", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "member(autor)" in said and "^" in said and "author" in said


def test_an_sqlite_directory(line, bell):
    world = line()
    path = world.dir / "people.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE people(user_id TEXT PRIMARY KEY, number TEXT, language TEXT, zone TEXT, tags TEXT)")
        db.execute("INSERT INTO people VALUES('alice', ?, 'pl', 'Europe/Warsaw', 'oncall')", (ALICE,))
    rules = world.rule(to="\"'alice'\"", message="{{ data.id }}", when="type == 'threadNewMessage'")
    one = bell(world.config(rules, bridge="catch_up = off", more=f'directory {{ file = "{path}" }}\n')).start()
    world.subscribed()
    item = world.bridge.message()
    wait_rung(world, item, [ALICE])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE people SET number = ?", (BOB,))
    one.wait_log("directory read")
    item = world.bridge.message()
    wait_rung(world, item, [BOB])


# ---- waiting ----

def held(one):
    return one.status().get("waiting", {}).get("events", 0)


def refuse_lists(world, on=True):
    if on:
        world.bridge.faults(fault_method="thread/listThreads", fault_answer=json.dumps(REFUSED), fault_method_count=-1)
    else:
        world.bridge.faults(fault_method_count=0)


def test_what_waits_survives_a_killed_dispatcher(line, bell):
    world = line()
    where = thread(world, ["alice", "bob"])
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    refuse_lists(world)
    items = [world.bridge.message(where, author="alice") for _ in range(5)]
    until("the events to wait", lambda: held(one) == 5)
    # Others are not held up.
    known = thread(world, ["carol"], ["carol"])
    quick = world.bridge.message(known, author="alice")
    wait_rung(world, quick, [CAROL])
    old = one.child("dispatcher")
    os.kill(old, signal.SIGKILL)
    until("a new dispatcher", lambda: any("bridgebell: dispatcher" in title_of(p) and p != old
                                          for p in children_of(one.process.pid)))
    until("them to wait again", lambda: held(one) == 5)
    refuse_lists(world, False)
    for item in items:
        wait_rung(world, item, [BOB])
    world.wait_drained(one)
    assert sum(len(n) for n in rung(world).values()) == 6
    assert len([j for j in job_rows(one) if j["state"] == "merged"]) == 5


def test_what_waits_survives_killing_everything(line, bell):
    world = line()
    where = thread(world, ["alice", "bob"])
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    refuse_lists(world)
    item = world.bridge.message(where, author="alice")
    until("the event to wait", lambda: held(one) == 1)
    one.kill_everything()
    refuse_lists(world, False)
    one.start()
    wait_rung(world, item, [BOB])
    world.wait_drained(one)
    assert rung(world) == {item: [BOB]}


def test_what_waits_is_asked_again_when_a_listener_comes(line, bell):
    world = line()
    where = thread(world, ["alice", "bob"])
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    world.bridge.faults(answer_delay_ms=600000)
    item = world.bridge.message(where, author="alice")
    until("the event to wait", lambda: held(one) == 1)
    os.kill(one.child("listener"), signal.SIGKILL)
    world.bridge.faults(answer_delay_ms=0)
    wait_rung(world, item, [BOB])
    world.wait_drained(one)


def test_members_are_asked_anew_after_a_lost_connection(line, bell):
    world = line()
    where = thread(world, ["alice"])
    one = bell(config(world, '"members()"')).start()
    world.subscribed()
    first = world.bridge.message(where)
    wait_rung(world, first, [ALICE])
    world.bridge.refuse()
    world.bridge.drop()
    world.bridge.update("thread", id=where, users=["bob"], managers=["bob"])
    world.bridge.resume()
    world.subscribed()
    second = world.bridge.message(where)
    wait_rung(world, second, [BOB])


def test_what_waits_expires_and_is_cancelled_with_its_item(line, bell):
    world = line()
    where = thread(world, ["alice", "bob"])
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    refuse_lists(world)
    gone = world.bridge.message(where, author="alice")
    until("the event to wait", lambda: held(one) == 1)
    world.bridge.delete("message", threadId=where, id=gone)
    until("the deletion to cancel it", lambda: only(one, "cancelled"))
    one.write(config(world, '"others()"', rule="expires = 2s"))
    one.cli("reload")
    world.subscribed()
    world.bridge.message(where, author="alice")
    until("the other to expire", lambda: only(one, "expired"))
    assert "could not be looked up" in only(one, "expired")[0]["reason"]
    refuse_lists(world, False)
    until("nothing to wait", lambda: held(one) == 0)
    assert rung(world) == {}


def test_a_rate_limit_at_the_bridge_only_delays(line, bell):
    world = line()
    where = thread(world, ["alice", "bob"])
    one = bell(config(world, '"others()"')).start()
    world.subscribed()
    world.bridge.faults(limit_answer_count=3)
    item = world.bridge.message(where, author="alice")
    wait_rung(world, item, [BOB])
    world.bridge.expire()
    other = thread(world, ["alice", "carol"], silent=True)
    item = world.bridge.message(other, author="alice")
    wait_rung(world, item, [CAROL])
    world.wait_drained(one)
