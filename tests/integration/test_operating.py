"""Operating the real line: reloads, ends and crashes while messages flow."""
import os
import signal
import subprocess

from conftest import BIN, LIMIT_S, children_of, title_of, until
from line import NUMBER

LOG_ONLY = """
provider "p" {{ type = log }}
recipients "oncall" {{ to = {{ "+48500500500" }} }}
rule "r" {{ when = "type == 'threadNewMessage'" to = {{ oncall }} message = "hi" }}
dispatcher {{ store = "sqlite:{dir}/queue.db" min_free = 1MiB }}
sender {{ processes = {senders} }}
"""


def config(tmp_path, senders=1):
    return LOG_ONLY.format(dir=tmp_path, senders=senders)


def titles(bell):
    return sorted(title_of(pid) for pid in children_of(bell.process.pid))


def test_titles_tell_the_story(bell, tmp_path):
    one = bell(config(tmp_path, 2)).start()
    until("the children's titles", lambda: [t.split(" (")[0] for t in titles(one)] == [
        "bridgebell: dispatcher", "bridgebell: sender:1", "bridgebell: sender:2"])
    assert title_of(one.process.pid) == f"bridgebell: master {one.config}"


def test_a_message_of_ones_own(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    one.cli("status")
    sent = one.cli("send", "--to", NUMBER, "--message", "hello there", "--wait").stdout
    number, state = sent.split()
    assert state == "sent"
    assert number[:10] in one.cli("queue", "ls", "--state", "sent,dead").stdout
    shown = one.cli("queue", "show", number[:8]).stdout
    assert "hello there" in shown and NUMBER in shown
    assert "hello there" not in one.log_text() and NUMBER not in one.log_text()
    done = one.cli("send", "--to", "500", "--message", "x", check=False)
    assert done.returncode == 1 and "not a phone number" in done.stderr
    done = one.cli("send", "--to", NUMBER, "--message", "", check=False)
    assert done.returncode == 1 and "empty" in done.stderr and "country code" not in done.stderr
    done = one.cli("queue", "show", "ffffffff", check=False)
    assert done.returncode == 1 and "no such job" in done.stderr and "queue ls" in done.stderr
    done = one.cli("queue", "ls", "--state", "snt", check=False)
    assert done.returncode == 1 and 'did you mean "sent"' in done.stderr


def test_pause_and_resume(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    one.cli("pause")
    number = one.cli("send", "--to", NUMBER, "--message", "later").stdout.split()[0]
    assert one.status()["queue"]["queued"] == 1
    assert "is paused by" in one.cli("status").stdout
    one.cli("reload")
    assert one.status()["queue"]["queued"] == 1, "a pause survives a reload"
    one.cli("resume")
    until("the message", lambda: one.status()["queue"]["sent"] == 1)
    assert number


def test_what_waits_for_a_provider_that_was_renamed_is_an_alarm(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    one.cli("pause")
    one.cli("send", "--to", NUMBER, "--message", "left behind")
    one.config.write_text(one.config.read_text().replace('provider "p"', 'provider "q"'))
    one.cli("reload")
    until("the alarm", lambda: "messages wait for the provider p, which is not configured" in one.cli("status").stdout)
    assert "1 job cancelled" in one.cli("queue", "cancel", "--provider", "p").stdout
    until("the alarm to end", lambda: one.status()["queue"]["unknown_providers"] == [])


def test_cancel(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    one.cli("pause")
    one.cli("send", "--to", NUMBER, "--message", "never")
    assert "1 job cancelled" in one.cli("queue", "cancel", "--state", "queued").stdout
    one.cli("resume")
    status = one.status()
    assert status["queue"]["cancelled"] == 1 and status["queue"]["sent"] == 0


def test_reload_under_load_loses_and_repeats_nothing(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.bulk(2000, rate=500, share=1, wait=False)
    for _ in range(3):
        one.cli("reload")
    world.provider.wait_accepted(2000, 180)
    world.wait_drained(one)
    texts = world.texts()
    assert len(texts) == 2000 and len(set(texts)) == 2000
    assert one.status()["queue"]["sent"] == 2000


def test_a_reload_with_another_rule_changes_what_rings(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    first = world.bridge.message()
    world.provider.wait_accepted(1)
    other = world.bridge.create("thread")["id"]
    one.write(world.config(rules=world.rule(
        when=f"type == 'threadNewMessage' && data.threadId == '{other}'", message="Other {{ data.id }}")))
    one.cli("reload")
    world.bridge.message()
    second = world.bridge.message(other)
    world.provider.wait_accepted(2)
    assert sorted(world.texts()) == sorted([f"New message {first}", f"Other {second}"])


def test_a_wrong_key_in_a_reload_changes_nothing(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    until("the listener to say so", lambda: one.status()["bridges"][0]["connected"])
    (world.dir / "wrong.secret").write_text("not the secret at all")
    (world.dir / "wrong.secret").chmod(0o600)
    good = one.config.read_text()
    one.config.write_text(good.replace("bridge.secret", "wrong.secret"))
    done = one.cli("reload", check=False)
    assert done.returncode == 1 and "secret" in done.stderr
    item = world.bridge.message()
    assert world.provider.wait_accepted(1)[0]["text"] == f"New message {item}"
    one.config.write_text(good)
    one.cli("reload")


def test_graceful_end_finishes_what_is_in_flight(line, bell):
    world = line()
    one = bell(world.config().replace("request_timeout = 3s", "request_timeout = 60s")).start()
    world.subscribed()
    world.provider.faults({"what": "delay", "ms": 3000})
    world.bridge.message()
    world.provider.wait_for(lambda s: s["in_flight"] == 1)
    one.process.send_signal(signal.SIGQUIT)
    assert one.process.wait(LIMIT_S) == 0
    assert len(world.provider.wait_accepted(1)) == 1
    world.provider.clear_faults()
    one.start()
    until("its outcome to be known", lambda: one.status()["queue"]["sent"] == 1)
    assert one.status()["sending"]["attempts"] == 0, "it is not asked again"


def test_killing_the_master_again_and_again(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.bulk(600, rate=150, share=1, wait=False)
    for _ in range(3):
        until("some messages", lambda: len(world.provider.messages()) > 20)
        one.process.kill()
        one.process.wait()
        one.start()
    world.provider.wait_accepted(600, 180)
    world.wait_drained(one)
    texts = world.texts()
    assert len(set(texts)) == 600 and len(texts) == 600


def test_roles_started_by_hand_say_what_to_do():
    for role in ("listener", "dispatcher", "sender"):
        done = subprocess.run([BIN / f"bridgebell-{role}"], capture_output=True, text=True, timeout=LIMIT_S,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 2 and "bridgebell run" in done.stderr


def test_check_says_what_each_role_thinks(line, bell):
    world = line()
    one = bell(world.config(rules=world.rule(when="channel ==") + world.rule("b", message="{{ nothing( }}")))
    done = one.cli("check", check=False)
    assert done.returncode == 1
    assert done.stderr.count(f"{one.config}:") == 2, "both faults, each with its place"
    os.chmod(world.dir / "provider.token", 0o644)
    done = one.cli("check", check=False)
    assert "provider.token" in done.stderr and "chmod 600" in done.stderr
