"""The whole line: from a Bridge's WebSocket to an SMS accepted by SMSAPI."""
import collections
import json
import os
import signal
from pathlib import Path

import pytest

from conftest import children_of, title_of, until
from line import NUMBER, OTHER

CAPTURED = Path(__file__).resolve().parents[1] / "data/notifications.jsonl"


def test_one_message_rings_once(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    item = world.bridge.message(publicMeta={"text": "hello"})
    world.bridge.create("thread")
    messages = world.provider.wait_accepted(1)
    assert messages[0]["number"].lstrip("+") == NUMBER.lstrip("+")
    assert messages[0]["text"] == f"New message {item}"
    assert len(messages[0]["idx"]) > 32
    world.wait_drained(one)
    assert one.status()["queue"]["sent"] == 1
    log = one.log_text()
    assert f"New message {item}" not in log and "500500500" not in log
    assert world.bridge.key_secret not in log and world.provider.token not in log
    assert one.stop() == 0


def test_hundred_thousand_events_of_which_one_percent_match(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.flood(100000, match_every=100, keep=True, wait=True)
    messages = world.provider.wait_accepted(1000, 180)
    world.wait_drained(one)
    texts = collections.Counter(m["text"] for m in messages)
    assert len(texts) == 1000 and set(texts.values()) == {1}
    status = one.status()
    assert status["queue"]["sent"] == 1000
    assert world.provider.state()["accepted"] == 1000


def test_every_captured_notification_becomes_one_message(line, bell):
    world = line()
    rules = world.rule(when="true", message="{{ type }} {{ item }} {{ time }}", more="cancel_on_delete = off")
    one = bell(world.config(rules, bridge="catch_up = off", channels="thread, store, stream, inbox, kvdb",
                            provider="batch = 1")).start()
    world.subscribed("kvdb")
    assert world.bridge.replay(CAPTURED) == 172
    # Parts of an inbox entry fold into one event unless a rule asks for them; this rule asks for everything.
    world.provider.wait_accepted(172)
    world.wait_drained(one)
    # Once more: all are known.
    assert world.bridge.replay(CAPTURED) == 172
    until("the repeats to be noticed", lambda: one.status()["events"]["duplicates"] >= 172)
    assert world.provider.state()["accepted"] == one.status()["queue"]["sent"]


@pytest.mark.parametrize("role", ["sender", "dispatcher", "listener"])
def test_killing_a_process_loses_and_repeats_nothing(line, bell, role):
    world = line()
    world.provider.options(latency_ms=20)
    one = bell(world.config()).start()
    world.subscribed()
    for _ in range(3):
        world.bridge.bulk(100, rate=200, wait=False)
        until("some messages", lambda: world.provider.state()["accepted"] > 0)
        old = one.child(role)
        os.kill(old, signal.SIGKILL)
        until(f"a new {role}", lambda: any(f"bridgebell: {role}" in title_of(p) and p != old
                                           for p in children_of(one.process.pid)))
        until("the bulk to end", lambda: not world.bridge.control("bulk").get("running"))
        world.subscribed()
    expected = {e["id"] for e in world.bridge.events() if e["type"] == "threadNewMessage"}
    until("every message", lambda: len(set(world.texts())) >= len(expected), 180)
    world.wait_drained(one)
    texts = collections.Counter(world.texts())
    assert {t.split()[-1] for t in texts} == expected
    assert max(texts.values()) == 1
    assert one.status()["queue"]["sent"] == len(expected)


def test_killing_everything_and_starting_again(line, bell):
    world = line()
    world.provider.options(latency_ms=50)
    one = bell(world.config()).start()
    world.subscribed()
    ids = {world.bridge.message() for _ in range(40)}
    until("some messages", lambda: world.provider.state()["accepted"] > 0)
    one.kill_everything()
    ids |= {world.bridge.message() for _ in range(5)}  # while nobody listens
    one.start()
    world.subscribed()
    ids |= {world.bridge.message() for _ in range(5)}
    until("every message", lambda: {t.split()[-1] for t in world.texts()} >= ids)
    world.wait_drained(one)
    texts = collections.Counter(world.texts())
    assert {t.split()[-1] for t in texts} == ids and max(texts.values()) == 1


def test_two_recipients_one_rule(line, bell):
    world = line()
    rules = (f'recipients "oncall" {{ to = {{ "{NUMBER}", "{OTHER}" }} }}\n'
             + world.rule(to=f'oncall, "{OTHER}"', message="same for all"))
    one = bell(world.config(rules)).start()
    world.subscribed()
    world.bridge.message()
    messages = world.provider.wait_accepted(2)
    assert {m["number"].lstrip("+") for m in messages} == {NUMBER[1:], OTHER[1:]}
    # Equal text to several numbers shares one request, each with its own idx.
    assert len({m["request"] for m in messages}) == 1 and len({m["idx"] for m in messages}) == 2
    world.wait_drained(one)
    assert world.provider.state()["accepted"] == 2


def test_send_goes_through_the_real_queue(line, bell):
    world = line()
    one = bell(world.config()).start()
    done = one.cli("send", "--to", NUMBER, "--message", "by hand")
    assert done.stdout.strip()
    assert world.provider.wait_accepted(1)[0]["text"] == "by hand"
    world.wait_drained(one)
    listed = json.loads(one.cli("queue", "ls", "--json").stdout)["jobs"]
    assert listed[0]["state"] == "sent"
    assert one.cli("send", "--to", "12", "--message", "x", check=False).returncode != 0


def test_log_provider_sends_nothing(line, bell):
    world = line()
    config = world.config().replace("type = smsapi", "type = log")
    one = bell(config).start()
    world.subscribed()
    world.bridge.message()
    until("the job to end", lambda: one.status()["queue"]["sent"] == 1)
    assert world.provider.state()["requests"] == 0


def test_doors_tell_health_and_metrics(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    until("readiness", lambda: one.http("/readyz")[0] == 200)
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    code, text = one.http("/metrics")
    assert code == 200 and "bridgebell_" in text and "# TYPE" in text
    assert "500500500" not in text
    json.loads(one.http("/status.json")[1])
    assert one.http("/nothing")[0] == 404
    world.bridge.refuse()
    world.bridge.drop()
    until("unreadiness", lambda: one.http("/readyz")[0] == 503)
    assert one.http("/healthz")[0] == 200
    world.bridge.resume()
    until("readiness again", lambda: one.http("/readyz")[0] == 200)


def test_reload_changes_rules_and_a_bad_file_changes_nothing(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    one.write(world.config(world.rule(message="changed {{ data.id }}")))
    one.cli("reload")
    world.subscribed()
    item = world.bridge.message()
    until("the new words", lambda: f"changed {item}" in world.texts())
    one.write(world.config(world.rule(when="chanel == 'x'")))
    done = one.cli("reload", check=False)
    assert done.returncode != 0
    assert "chanel" in done.stdout + done.stderr and "channel" in done.stdout + done.stderr
    item = world.bridge.message()
    until("the old rules", lambda: f"changed {item}" in world.texts())


def test_graceful_stop_unsubscribes_and_finishes(line, bell):
    world = line()
    world.provider.options(latency_ms=300)
    one = bell(world.config()).start()
    world.subscribed()
    for _ in range(5):
        world.bridge.message()
    until("requests under way", lambda: world.provider.state()["requests"] > 0)
    assert one.stop(signal.SIGQUIT) == 0
    assert world.bridge.state()["calls"].get("manager/unsubscribeFromChannel", 0) >= 1
    one.start()
    until("every message", lambda: world.provider.state()["accepted"] == 5)
    world.wait_drained(one)
    assert world.provider.state()["accepted"] == 5


def test_over_tls_with_a_named_authority(line, bell, certificates):
    world = line(tls=(certificates["cert"], certificates["key"]))
    ca = f'ca_file = "{certificates["ca"]}"'
    one = bell(world.config(bridge=ca, provider=ca)).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)


def test_without_the_authority_nothing_is_trusted(line, bell, certificates):
    world = line(tls=(certificates["cert"], certificates["key"]))
    one = bell(world.config()).start()
    until("the certificate to be refused", lambda: "certificate" in one.log_text().lower())
    assert world.bridge.state()["logins"] == {}


def test_all_faults_of_a_file_are_told_at_once(line, bell):
    world = line()
    one = bell(world.config() + '''
rule "x" { whn = "true" to = { oncal } message = "a" }
rule "y" { when = "chanel == 'x'" to = { "+48500500500" } message = "{{ authr }}" expires = "5 sec" }
provder "z" { type = smsapi }
''')
    done = one.cli("check", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for words in ("whn", "did you mean `when`", "chanel", "'channel'", "authr", "5 sec", "provder", "oncal"):
        assert words in said, said
    assert str(one.config) in said
