"""Replay against the line itself: what the journal of a day leads to is what happened on that day."""
import contextlib
import datetime
import json
import os
import signal
import sqlite3
import time

import pytest

from conftest import until
from line import NUMBER, OTHER
from test_noise import World, rule

PRICES = 'prices { table = { "+48: 0.10", "*: 0.50" } }\n'
NIGHT = 'quiet_hours = { "22:00-07:00" } quiet_zone = "Europe/Warsaw" quiet_action = hold '
TOKYO = (f'recipients "night" {{ to = {{ "{NUMBER}" }} zone = "Asia/Tokyo" quiet_hours = {{ "00:00-06:00" }} '
         'quiet_action = drop }\n')
RULES = (
    rule("plain", message="{{ data.publicMeta.n }}") +
    rule("throttled", 'throttle = "2/min, 5/h"', message="zażółć {{ data.publicMeta.n }} " + "gęślą jaźń " * 8) +
    rule("once", 'dedupe = 10m dedupe_key = "author"', message="from {{ author }} {{ data.publicMeta.n }}") +
    rule("collected", "digest = 15m", to=f'"{NUMBER}", "{OTHER}"') +
    rule("nights", NIGHT) +
    rule("people", to="night") +
    rule("stormy", 'storm = "3/min"') +
    rule("old", "max_age = 30m") +
    rule("spent", "sms_per_day = 6") +
    rule("money", 'money_per_day = "0.55"', message="{{ data.publicMeta.n }} " + "x" * 170) +
    rule("shadowed", 'mode = shadow throttle = "3/h"', message="s {{ data.publicMeta.n }} " + "x" * 170) +
    rule("opted", to=f'"{OTHER}"') +
    rule("urgent", "priority = critical " + NIGHT + "quiet_pass = critical") +
    rule("empty", message="{{ '' }}") +
    rule("broken", when="data.nosuch == 1"))
MORE = PRICES + 'limits { digest_at = 80 person_caps = off }\nzone = "Europe/Warsaw"\n' + TOKYO


@pytest.fixture
def world(line, bell, tmp_path):
    return World(line, bell, tmp_path)


def happened(world):
    """By rule and reason: messages, parts, price."""
    return {(row["rule"], row["why"]): (row["messages"], row["parts"], round(row["price"], 4))
            for row in world.one.status()["noise"] if row["messages"]}


def replayed(world, *more):
    done = world.one.cli("replay", "--since", "3650d", "--json", "--texts", "--numbers", "--suppressed", *more,
                         env={**os.environ, **world.clock.env})
    *lines, summary = [json.loads(text) for text in done.stdout.splitlines()]
    return lines, summary


def sums(lines):
    """The same of what a replay says one by one."""
    out = {}
    for line in lines:
        why = "rings" if line["what"] == "sent" else line["why"]
        n, parts, price = out.get((line["rule"], why), (0, 0, 0))
        out[line["rule"], why] = (n + 1, parts + line.get("parts", 0), round(price + line.get("price", 0), 4))
    return out


def agrees(world, *more):
    """Compares with what the dispatcher has counted and the provider has got; gives the replay's summary."""
    world.line.wait_drained(world.one)
    lines, summary = replayed(world, *more)
    live, then = happened(world), sums(lines)
    assert {k: (then.get(k), live.get(k)) for k in {*then, *live} if then.get(k) != live.get(k)} == {}
    ended = {state: len(world.jobs(state)) for state in ("dead", "expired", "uncertain", "cancelled")}
    assert set(ended.values()) == {0}, ended
    sent = sorted((line["to"], line["text"]) for line in lines if line["what"] == "sent")
    assert sent == sorted(("+" + m["number"], m["text"]) for m in world.provider.messages())
    return summary


def decided(world, rule_name="plain"):
    until("the events to be decided", lambda: sum(world.noise(rule_name).values()) == world.said)


def closed(world):
    """Whether no digest is due."""
    now_ms = (time.time() + world.clock.offset_s) * 1000
    with contextlib.closing(sqlite3.connect(f"file:{world.line.dir}/queue.db?mode=ro", uri=True)) as store:
        due = store.execute("SELECT count(*) FROM digests WHERE frozen OR due_ms <= ?", (now_ms,))
        return due.fetchone() == (0,)


def step(world, at, count):
    """Another time, at which digests that came due meanwhile close, and COUNT events."""
    if at:
        world.clock.set(at)
        world.kill_dispatcher()
        until("what is due to close", lambda: closed(world))
    for n in range(count):
        world.say(author="alice" if n % 2 else "bob")
    decided(world)
    # What is on its way while the clock jumps is another matter.
    world.line.wait_drained(world.one)


def test_a_night_in_which_the_clocks_go_back(world):
    one = world.start(RULES, at="2026-10-24 15:30", more=MORE)  # in Warsaw until 01:00 UTC it is two hours later
    step(world, None, 6)
    one.cli("optout", "add", OTHER)
    step(world, "2026-10-24 15:50", 5)
    one.cli("silence", "add", "author == 'bob'", "--for", "1h")
    step(world, "2026-10-24 16:10", 5)
    one.cli("optout", "rm", OTHER)
    step(world, "2026-10-24 16:22", 3)
    one.cli("silence", "expire", "1")
    step(world, "2026-10-24 20:10", 5)
    step(world, "2026-10-24 21:20", 0)
    step(world, "2026-10-25 00:50", 3)
    step(world, "2026-10-25 01:30", 3)
    step(world, "2026-10-25 05:55", 3)
    step(world, "2026-10-25 06:07", 3)  # no window's length after the one before
    # An outage, after which old events come late.
    one.stop()
    world.clock.set("2026-10-25 07:30")
    world.say(4)
    world.clock.set("2026-10-25 09:30")
    one.start(env=world.clock.env)
    decided(world)
    step(world, "2026-10-25 10:00", 0)
    step(world, "2026-10-25 12:00", 0)
    until("nothing to be held", lambda: one.status()["queue"]["held"] == 0)
    summary = agrees(world)
    assert (summary["store"]["silences"], summary["store"]["opt_outs"]) == (1, 1)
    assert summary["store"]["used"] and "known_since" not in summary["store"]
    reasons = set(summary["total"]["not_sent"])
    assert reasons == {"silence", "opted out", "empty message", "duplicate", "throttle", "quiet hours", "digest", "stale",
                       "storm", "budget", "shadow"}


def test_a_flood_against_the_caps(world):
    world.start(rule("plain") + rule("second", "rule_caps = \"30/h\"", to=f'"{NUMBER}", "{OTHER}"') + rule("third"),
                more=PRICES)
    world.bridge.bulk(100, rate=0, share=1, publicMeta={"n": 1})
    world.said = 100
    decided(world)
    until("all rules to be decided", lambda: sum(world.noise("third").values()) == 100)
    assert set(agrees(world)["total"]["not_sent"]) == {"caps"}


SHORT = 'quiet_hours = { "22:00-02:30" } quiet_zone = "Europe/Warsaw" quiet_action = hold '


def test_a_night_in_which_the_clocks_go_forward(world):
    # 02:30 does not come; the quiet time ends at 03:00, which is 01:00 UTC.
    one = world.start(rule("plain") + rule("nights", SHORT) + rule("budgeted", "sms_per_day = 3"),
                      at="2026-03-28 20:55", more='zone = "Europe/Warsaw"\nlimits { digest_at = 100 }\n' + PRICES)
    step(world, None, 2)
    step(world, "2026-03-28 21:05", 2)
    step(world, "2026-03-29 00:50", 2)
    step(world, "2026-03-29 01:05", 2)
    until("the morning", lambda: one.status()["queue"]["held"] == 0)
    assert set(agrees(world)["total"]["not_sent"]) == {"quiet hours", "budget"}
    assert world.noise("nights") == {"rings": 5, "quiet hours": 4}


STAFF = (f'recipients "staff" {{ to = {{ "{NUMBER}", "{OTHER}" }} throttle = "5/10min" sms_per_day = 20 '
         'zone = "Europe/Warsaw" quiet_hours = { "23:00-06:00" } quiet_action = hold quiet_pass = critical }\n')
BOTH = f'"{NUMBER}", "{OTHER}"'
KEYED = 'digest = 5m digest_key = "author" digest_message = "{{ count }} of {{ texts[0] }} {{ date(since, \'%H:%M\') }}"'
MANY = (
    rule("plain", message="{{ data.publicMeta.n }}") +
    rule("shadow digest", "mode = shadow digest = 10m") +
    rule("shadow night", "mode = shadow " + NIGHT) +
    rule("shadow storm", 'mode = shadow storm = "2/min"') +
    rule("per rule", 'throttle = "3/5min" throttle_per = rule', to=BOTH) +
    rule("per person", 'throttle = "4/10min" throttle_per = person', to=BOTH) +
    rule("same person", 'throttle = "4/10min" throttle_per = person', to=f'"{OTHER}"') +
    rule("per key", 'throttle = "1/5min" throttle_key = "author"') +
    rule("text twice", "dedupe = 1h", message="{{ author }}") +
    rule("keyed", KEYED) +
    rule("storm", 'storm = "2/min" storm_message = "and {{ count }}"', to=BOTH) +
    rule("staffed", to="staff") +
    rule("staff urgent", "priority = critical", to="staff") +
    rule("staff bulk", "priority = bulk digest = 7m", to="staff") +
    rule("mixed", 'throttle = "3/h" digest = 5m max_age = 1h dedupe = 1m dedupe_key = "author"') +
    rule("capped", 'caps = "2/h" rule_caps = "3/h"', to=BOTH) +
    rule("uncapped", "caps = off") +
    rule("weekend", 'quiet_hours = { "sat-sun" } quiet_zone = "Asia/Kolkata" quiet_action = drop') +
    rule("month", 'money_per_month = "0.75" sms_per_month = 5'))


def test_every_limit_together(world):
    one = world.start(MANY, at="2026-03-28 20:30", more=PRICES + STAFF +
                      'limits { digest_at = 60 warn_at = 50 sms_per_day = 400 }\nzone = "Europe/Warsaw"\n')
    for at, count in ((None, 7), ("2026-03-28 20:33", 5), ("2026-03-28 20:47", 6), ("2026-03-28 21:50", 4),
                      ("2026-03-28 22:10", 4), ("2026-03-28 22:58", 0), ("2026-03-29 00:30", 5), ("2026-03-29 00:55", 0),
                      ("2026-03-29 01:32", 5), ("2026-03-29 03:30", 3), ("2026-03-29 04:05", 0), ("2026-03-29 06:00", 5)):
        step(world, at, count)
    for hour in range(7, 14):
        step(world, f"2026-03-29 {hour:02d}:45", 0)
    assert one.status()["queue"]["held"] == 0
    assert set(agrees(world)["total"]["not_sent"]) == {"duplicate", "throttle", "quiet hours", "digest", "storm", "budget",
                                                       "caps", "shadow"}


def test_events_that_waited_for_the_dispatcher(world):
    one = world.start(rule("plain", 'throttle = "2/min"'), at="2026-11-27 12:00", more=PRICES)
    step(world, None, 2)
    dispatcher = one.child("dispatcher")
    os.kill(dispatcher, signal.SIGSTOP)
    try:
        world.say(2)
        # Frames are read in order: who answers a ping has read what came before it.
        pongs = sum(socket["pongs"] for socket in world.bridge.state()["sockets"])
        world.bridge.ping_now()
        until("the listener to have read them",
              lambda: sum(socket["pongs"] for socket in world.bridge.state()["sockets"]) > pongs)
        world.clock.forward(120)
    finally:
        os.kill(dispatcher, signal.SIGCONT)
    decided(world)
    assert world.noise("plain") == {"rings": 4}
    agrees(world)
    lines = [json.loads(text) for text in next((world.line.dir / "journal").iterdir()).read_text().splitlines()[1:]]
    assert sum(line["decided"] - line["received"] > 60000 for line in lines) == 2


def test_people_of_the_directory_and_entries_of_an_inbox(world, tmp_path):
    (tmp_path / "people.csv").write_text(f"user_id,number,language,tags\nalice,{NUMBER},pl,a\nbob,,,a\n")
    more = (f'directory {{ file = "{tmp_path}/people.csv" }}\nnumbers {{ allowed = "+48" }}\n' + PRICES +
            'recipients "some" { to = "tagged(\'a\')" }\n')
    inbox = world.bridge.create("inbox")["id"]
    world.start(rule("plain", to='"member(author)"', message="{{ author }}: {{ data.publicMeta.text }} {{ lang }}") +
                rule("both", to="some", message="{{ time }}") +
                rule("entries", when="type == 'inboxEntry'", message="{{ item }} {{ size(data.files) }}"), more=more)
    hostile = "\u202e zażółć \U0001f514\n{{ x }} http://evil.example/ \x1b[2J " + "ż" * 200
    for author in ("alice", "bob", "carol", "<anonymous>"):
        world.bridge.message(author=author, publicMeta={"text": hostile, "n": 0})
    world.bridge.inbox_entry(inbox, files=2)
    world.bridge.inbox_entry(inbox)
    world.said = 4
    until("the events to be decided", lambda: sum(world.noise("entries").values()) == 2)
    assert set(agrees(world)["total"]["not_sent"]) == {"unknown person", "number"}


# ---- what the store knows ----

def reasons(summary):
    return summary["total"]["not_sent"]


def test_the_silences_and_opt_outs_of_the_store(world):
    one = world.start(rule("plain", to=f'"{NUMBER}", "{OTHER}"') + rule("all", "priority = critical"))
    said = {"plain": 0}

    def say(author, rule_name="plain"):
        world.say(author=author)
        said["plain"] += 2
        until("the event to be decided", lambda: sum(world.noise(rule_name).values()) == said["plain"])
    say("alice")
    one.cli("silence", "add", "author == 'alice' && priority == 'normal'", "--for", "1h")
    one.cli("optout", "add", OTHER)
    say("alice")
    say("bob")
    one.cli("optout", "rm", OTHER)
    one.cli("silence", "expire", "1")
    say("alice")
    summary = agrees(world)
    assert reasons(summary) == {"silence": 2, "opted out": 1}
    assert summary["store"] == {"wanted": True, "used": True, "silences": 1, "opt_outs": 1, "unusable": 0}
    # Also while nobody has the store, and after a kill -9.
    assert "with 1 silence and 1 opt-out of the store, each while it held\n" in one.cli("replay", "--since", "1h").stdout
    one.stop()
    before = sorted(path.name for path in world.line.dir.iterdir())
    assert replayed(world)[1] == summary
    assert sorted(path.name for path in world.line.dir.iterdir()) == before
    one.start(env=world.clock.env)
    one.kill_everything()
    one.start(env=world.clock.env)
    # What is to come is none of it; what catch-up brings again neither.
    tomorrow = datetime.date.today() + datetime.timedelta(days=1)
    one.cli("silence", "add", "true", "--from", f"{tomorrow} 12:00", "--for", "1m")
    world.line.subscribed()
    one.kill_everything()
    again = replayed(world)[1]
    assert {name: again[name] for name in ("rules", "total", "store", "matched")} == \
        {name: summary[name] for name in ("rules", "total", "store", "matched")}
    one.start(env=world.clock.env)
    # Left out on request.
    lines, summary = replayed(world, "--without-silences")
    assert reasons(summary) == {} and summary["store"] == {"wanted": False, "used": False}
    assert len(lines) == 12
    assert "silences and opt-outs of the store are left out\n" in one.cli("replay", "--since", "1h", "-w").stdout
    # Both sides of a difference know them.
    changes, summary = replayed(world, "--config", one.config, "--diff")
    assert changes == [] and reasons(summary) == reasons(summary["was"]) == {"silence": 2, "opted out": 1}
    # Other rules are tried on the silences of what runs.
    other = one.dir / "new.conf"
    other.write_text(one.config.read_text().replace("queue.db", "other.db"))
    assert reasons(replayed(world, "--config", other)[1]) == {"silence": 2, "opted out": 1}


def test_an_explanation_of_the_past_knows_the_silences_of_then(world):
    one = world.start(rule("plain", to=f'"{NUMBER}", "{OTHER}"'))
    one.cli("silence", "add", "author == 'alice'", "--for", "1h")
    one.cli("optout", "add", OTHER)
    world.say(author="alice")
    world.say(author="bob")
    world.wait_noise({"silence": 2, "rings": 1, "opted out": 1}, "plain")
    one.cli("silence", "expire", "1")
    one.cli("optout", "rm", OTHER)
    jobs = world.jobs("suppressed")
    silenced = next(job["id"] for job in jobs if job["reason"] == "silence 1")
    opted = next(job["id"] for job in jobs if "opted out" in job["reason"])

    def outcomes(job, *more):
        told = json.loads(one.cli("explain", job, "--json", *more).stdout)["explanation"]
        return [j.get("why", "sent") for j in told["tried"][0]["jobs"]], told
    assert outcomes(silenced)[0] == ["sent", "sent"]
    assert outcomes(silenced, "--offline")[0] == ["silence", "silence"]
    assert outcomes(opted, "--offline")[0] == ["sent", "opted out"]
    why, told = outcomes(silenced, "--offline", "--without-silences")
    assert why == ["sent", "sent"] and told["store"] == {"wanted": False, "used": False}
    shown = one.cli("explain", silenced, "--offline").stdout
    assert "decided offline, with empty counters" in shown
    assert "with 1 silence and 1 opt-out of the store, each while it held" in shown


# ---- members ----

ROOM = 'rule "room" { when = "type == \'threadNewMessage\'" to = { "members()" } message = "News" caps = off }\n'


@pytest.fixture
def people(world, tmp_path):
    (tmp_path / "people.csv").write_text(f"user_id,number\nalice,{NUMBER}\nbob,{OTHER}\n")
    return f'directory {{ file = "{tmp_path}/people.csv" }}\n'


def test_members_whom_nobody_can_be_asked_for_are_counted(world, people):
    one = world.start(ROOM, more=people)
    world.say(2)
    world.wait_noise({"rings": 4}, "room")
    lines, summary = replayed(world)
    assert summary["members_unknown"] == 2 and reasons(summary) == {"members not known": 2}
    assert {line["why"] for line in lines} == {"members not known"}
    assert {line["words"] for line in lines} == {f"its members are not known here: {world.bridge.thread_id}"}
    assert "2 times a rule rang the members of a container that these events do not tell; here no Bridge can be asked, " \
        "so their messages are missing from the sums" in one.cli("replay", "--since", "1h").stdout


def test_an_explanation_looks_up_members(world, people):
    one = world.start(ROOM, more=people)
    world.say()
    world.wait_noise({"rings": 2}, "room")
    event = json.loads(one.cli("queue", "show", world.jobs("sent")[0]["id"], "--json").stdout)["job"]["event"]
    # The members are forgotten with the process.
    world.kill_dispatcher()
    told = json.loads(one.cli("explain", event, "--json").stdout)["explanation"]
    assert told["state"] == "live" and "waits" not in told
    assert [job["outcome"] for job in told["tried"][0]["jobs"]] == ["sent", "sent"]
    assert "commit failed" not in one.log_text()
    # While the Bridge does not tell them.
    world.bridge.faults(http_status=503, http_status_count=-1)
    world.kill_dispatcher()
    shown = one.cli("explain", event).stdout
    assert "-> the members of its container  are not known: the Bridge has not told them yet" in shown
    text = json.dumps({"channel": "thread", "type": "threadNewMessage", "timestamp": 10**12,
                       "data": {"id": "x", "threadId": "other", "contextId": "c", "author": "alice"}})
    assert "its members are not known here: other" in one.cli("explain", "-", "--offline", stdin=text).stdout


def test_an_explanation_says_when_the_digest_closes_that_is_joined(world):
    one = world.start(rule("plain", "digest = 10m"), at="2026-11-27 12:00")
    world.say()
    world.wait_noise({"digest": 1}, "plain")
    world.clock.forward(300)
    held = world.jobs("held")[0]
    told = json.loads(one.cli("explain", held["id"], "--json").stdout)
    job = told["explanation"]["tried"][0]["jobs"][0]
    assert not job["digest_opened"] and job["digest"] == held["id"] and job["digest_due"] == told["job"]["due"]


# ---- jobs, whatever became of them ----

def test_a_job_of_every_state_is_explained(world):
    one = world.start(rule("plain", "dedupe = 10m dedupe_key = 'author'") + rule("later", "digest = 10m"),
                      at="2026-11-27 12:00", more=PRICES)

    def say(author, expected, *states):
        world.say(author=author)
        until(f"{author} to be {states}", lambda: sorted(
            job["state"] for job in world.jobs(expected) if job["rule"] == "plain") == sorted(states))
    say("alice", "sent", "sent")
    say("alice", "suppressed", "suppressed")
    world.provider.faults({"what": "error", "code": 13})
    say("bob", "dead", "dead")
    world.provider.faults({"what": "close"})
    say("carol", "queued,leased", "queued")
    until("it to be caught between two attempts",
          lambda: "1 job cancelled" in one.cli("queue", "cancel", "--state", "queued", check=False).stdout)
    until("it to be uncertain", lambda: [job["reason"] for job in world.jobs("uncertain")] == [f"cancelled by uid {os.getuid()}"])
    one.cli("pause")
    say("dave", "queued", "queued")
    one.cli("queue", "cancel", "--state", "queued")
    say("erin", "queued", "queued")
    jobs = json.loads(one.cli("queue", "ls", "--json").stdout)["jobs"]
    states = {job["state"]: job["id"] for job in jobs}
    assert set(states) == {"sent", "suppressed", "merged", "held", "dead", "uncertain", "cancelled", "queued"}
    for state, job in states.items():
        live = json.loads(one.cli("explain", job, "--json").stdout)
        offline = json.loads(one.cli("explain", job, "--json", "--offline").stdout)
        assert live["explanation"]["event"] == offline["explanation"]["event"]
        shared = [name for name in offline["job"] if name != "text"]
        assert {name: live["job"].get(name) for name in shared} == {name: offline["job"][name] for name in shared}
        assert offline["job"]["state"] == state and offline["job"]["event"] == live["job"]["event"]
        assert ("due" in shared) == (state in ("held", "queued"))
        shown = one.cli("explain", job).stdout
        assert f"  state      {state}\n" in shown and "RULES" in shown and (state == "held") != ("  price      0.10\n" in shown)
