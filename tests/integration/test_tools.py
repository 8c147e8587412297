"""The tools that try rules without sending: replay, explain, test."""
import json
import os
import pty
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, children_of, until
from test_chaos_disk import disk, fill  # pylint: disable=unused-import

ROOT = Path(__file__).resolve().parents[2]
CAPTURED = ROOT / "tests/data/notifications.jsonl"
KEY = re.compile(r"[0-9a-f]{32}")

COMMON = '''
bridge "main" { url = "http://127.0.0.1:1/api" api_key_id = "x" api_key_secret_file = "/nowhere/secret" }
provider "p" { type = log }
prices { table = { "+48: 0.09", "*: 0.50" } }
'''
MESSAGES = '''
rule "messages" {
    when = "type == 'threadNewMessage' && author == 'alice'"
    to = { "+48500500500", "+48500500501" }
    message = "Message {{ item }}"
    throttle = "2/min"
}
'''


def run(*words, stdin=None, env=None):
    return subprocess.run([BIN / "bridgebell", *map(str, words)], capture_output=True, text=True, timeout=120,
                          input=stdin, env={**os.environ, **(env or {})})


def lines_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def config(tmp_path):
    def write(rules, name="a.conf", more=""):
        path = tmp_path / name
        path.write_text(f'runtime_dir = "{tmp_path}/run"\n' + COMMON + rules
                        + f'dispatcher {{ store = "sqlite:{tmp_path}/queue.db" {more} }}\n')
        return path
    return write


@pytest.fixture
def events(tmp_path):
    def write(rows, name="events.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    return write


def message(number, ms, author="alice", container="t"):
    return {"channel": "thread", "type": "threadNewMessage", "timestamp": ms,
            "data": {"id": f"m{number}", "threadId": container, "contextId": "c", "author": author}}


# ---- replay ----

def test_captured_notifications_are_replayed(config):
    conf = config(MESSAGES)
    done = run("replay", "-c", conf, "--json", CAPTURED)
    assert done.returncode == 0, done.stderr
    *messages, summary = lines_of(done)
    assert summary["what"] == "summary" and summary["read"]["events"] == 172
    assert summary["read"]["journal"] == ["captured"]
    assert summary["total"]["messages"] == len(messages) == 4
    assert summary["total"]["not_sent"] == {"throttle": 64}
    assert summary["total"]["parts"] == 4 and abs(summary["total"]["price"] - 0.36) < 1e-9
    assert {m["to"] for m in messages} == {"+********500", "+********501"}
    assert all("text" not in m and m["form"] == "single" for m in messages)
    # The same for people.
    done = run("replay", "-c", conf, CAPTURED)
    assert done.returncode == 0 and done.stderr == "" and "\033" not in done.stdout
    table = done.stdout[done.stdout.index("172 events"):].splitlines()
    assert re.fullmatch(r"silences and opt-outs are not known: there is no store .*/queue\.db yet", table[1])
    assert re.match(r"  rule +matched +messages +parts +PLN +not sent +why", table[2])
    assert re.match(r"  messages +34 +4 +4 +0\.36 +64 +throttle 64", table[3])
    assert "500500500" not in done.stdout and "Message " not in done.stdout
    shown = run("replay", "-c", conf, CAPTURED, "--numbers", "--texts", "--suppressed").stdout
    assert "+48500500500" in shown and "Message 6b03d9" in shown
    assert shown.count("throttle: 2/min") == 64
    quiet = run("replay", "-c", conf, CAPTURED, "--summary").stdout
    assert quiet.startswith("172 events")


def test_replay_tells_of_texts_with_a_hole(config, events):
    conf = config('rule "hole" { when = "true" to = { "+48500500500" } message = "{{ data.gone }}" }\n'
                  'rule "many" { when = "true" to = { "+48500500501" } message = "x" digest = 1m\n'
                  '              digest_message = "{{ count }} {{ texts[7] }}" }\n' + MESSAGES)
    path = events([message(i, 1774656000000 + i) for i in range(3)])
    rules = {rule["rule"]: rule for rule in lines_of(run("replay", "-c", conf, "--json", path))[-1]["rules"]}
    assert rules["hole"]["insertions_failed"] == 3
    assert rules["hole"]["last_insertion_error"] == "no such key: 'gone'"
    assert rules["many"]["insertions_failed"] == 1
    assert rules["messages"]["insertions_failed"] == 0 and "last_insertion_error" not in rules["messages"]
    shown = run("replay", "-c", conf, path).stdout
    assert 'rule "hole": texts have a ? where an insertion failed (3 times), the last time: no such key' in shown


def test_bad_lines_are_counted_and_named(config, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"channel":\nnothing\n' + json.dumps(message(1, 10**12)) + '\n\n{"channel":"thr')
    done = run("replay", "-c", config(MESSAGES), path)
    assert done.returncode == 0
    assert "2 damaged lines were skipped, the first" in done.stdout and "line 1: not JSON" in done.stdout
    assert "1 torn last line" in done.stdout


def test_replay_says_what_is_wrong(config, events, tmp_path):
    conf = config(MESSAGES)
    rows = events([message(1, 10**12, author="bob")])
    nothing = run("replay", "-c", conf, rows)
    assert nothing.returncode == 3 and "nothing matched" in nothing.stdout
    for words, code, said in (
            ([], 2, "needs files, or --since"),
            (["--since", "soon"], 2, "--since takes a duration"),
            (["--diff", rows], 2, "--diff needs --config"),
            (["--sinse", "1h"], 2, 'did you mean "--since"?'),
            ([tmp_path / "gone"], 1, "gone cannot be read"),
            ([tmp_path], 1, "a directory without a journal"),
            (["--since", "1h"], 1, "the journal"),
            (["--bridge", "mian", rows], 1, 'no bridge "mian"'),
            (["--config", tmp_path / "gone.conf", rows], 1, "gone.conf")):
        done = run("replay", "-c", conf, *words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert said in done.stderr, (words, done.stderr)
    faulty = tmp_path / "faulty.conf"
    faulty.write_text(conf.read_text().replace("author ==", "athor =="))
    done = run("replay", "-c", conf, "--config", faulty, rows)
    assert done.returncode == 1 and "author" in done.stderr and "faulty.conf:" in done.stderr


def test_the_difference_of_two_configurations(config, events):
    was = config(MESSAGES)
    new = config(MESSAGES.replace("2/min", "3/min").replace('"+48500500501"', '"+48500500502"')
                 + 'rule "more" { when = "author == \'bob\'" to = { "+48500500503" } message = "B" }', "b.conf")
    rows = events([message(i, 10**12 + i * 1000) for i in range(5)] + [message(9, 10**12 + 9000, "bob")])
    done = run("replay", "-c", was, "--config", new, "--diff", "--json", rows)
    assert done.returncode == 0, done.stderr
    *changes, summary = lines_of(done)
    seen = sorted((c["what"], c["rule"], c["to"][-3:]) for c in changes)
    assert seen == [("added", "messages", "500"), *[("added", "messages", "502")] * 3, ("added", "more", "503"),
                    *[("vanished", "messages", "501")] * 2]
    assert summary["diff"]["total"] == {"added": 5, "vanished": 2, "changed": 0}
    assert summary["was"]["total"]["messages"] == 4 and summary["total"]["messages"] == 7
    text = run("replay", "-c", was, "--config", new, "--diff", rows).stdout
    assert re.search(r"messages +4 +2 +0 +4 +6 ", text) and re.search(r"more +1 +0 +0 +0 +1 ", text)
    # Words that change are one change and not two.
    other = config(MESSAGES.replace("Message {{", "News {{"), "c.conf")
    *changes, summary = lines_of(run("replay", "-c", was, "--config", other, "--diff", "--texts", "--json", rows))
    assert summary["diff"]["total"] == {"added": 0, "vanished": 0, "changed": 4}
    assert changes[0]["text"] == "News m0" and changes[0]["was"]["text"] == "Message m0"
    # Nothing changes where nothing differs.
    *changes, summary = lines_of(run("replay", "-c", was, "--config", was, "--diff", "--json", rows))
    assert changes == [] and summary["diff"]["total"] == {"added": 0, "vanished": 0, "changed": 0}


def test_a_night_in_which_the_clocks_go_forward(config, events):
    """Quiet hours from 22:00 to 07:00 in Warsaw; on 29 March 2026 two o'clock becomes three."""
    conf = config(MESSAGES.replace('throttle = "2/min"', 'caps = off rule_caps = off '
                                   'quiet_hours = { "22:00-07:00" } quiet_zone = "Europe/Warsaw"')
                  + "limits { person_caps = off }\n")
    start = 1774656000000  # 2026-03-28T00:00:00Z
    rows = events([message(i, start + i * 600000) for i in range(3 * 144)])
    *messages, summary = lines_of(run("replay", "-c", conf, "--json", rows))
    assert summary["matched"] == 3 * 144
    summaries = [m for m in messages if m["form"] == "summary" and m["to"].endswith("500")]
    # 07:00 is 06:00Z in winter time and 05:00Z in summer time.
    assert [m["time"][:16] for m in summaries] == ["2026-03-28T06:00", "2026-03-29T05:00", "2026-03-30T05:00",
                                                   "2026-03-31T05:00"]
    # 00:00Z to 05:50Z; a night that is an hour shorter (21:00Z to 04:50Z); a whole one (20:00Z to 04:50Z); the rest.
    assert [m["count"] for m in summaries] == [36, 48, 54, 24]
    assert not [m for m in messages if m["form"] == "single" and m["time"][:10] == "2026-03-29"
                and not "05:00" <= m["time"][11:16] < "20:00"]


def test_time_is_bounded_by_since_and_until(config, events):
    conf = config(MESSAGES.replace('throttle = "2/min"', ""))
    rows = events([message(i, 1774656000000 + i * 3600000) for i in range(24)])
    done = run("replay", "-c", conf, "--json", "--since", "2026-03-28T06:00:00Z", "--until", "2026-03-28T08:00:00Z",
               rows)
    *messages, summary = lines_of(done)
    assert summary["read"]["events"] == 2 and summary["read"]["outside"] == 22
    assert [m["time"][11:16] for m in messages] == ["06:00", "06:00", "07:00", "07:00"]


def test_standard_input_and_a_terminal(config, events):
    conf = config(MESSAGES)
    text = CAPTURED.read_text()
    piped = run("replay", "-c", conf, "-", "--summary", stdin=text)
    assert piped.returncode == 0 and piped.stdout == run("replay", "-c", conf, CAPTURED, "--summary").stdout
    # On a terminal a progress bar comes and goes; colours only without NO_COLOR.
    for colour in (True, False):
        leader, terminal = pty.openpty()
        env = {**os.environ, "TERM": "xterm", **({} if colour else {"NO_COLOR": "1"})}
        if colour:
            env.pop("NO_COLOR", None)
        process = subprocess.Popen([BIN / "bridgebell", "replay", "-c", conf, CAPTURED], stdout=terminal,
                                   stderr=terminal, stdin=subprocess.DEVNULL, env=env)
        os.close(terminal)
        seen = b""
        try:
            while piece := os.read(leader, 65536):
                seen += piece
        except OSError:
            pass  # the other end is closed
        os.close(leader)
        assert process.wait(60) == 0
        shown = seen.decode()
        assert "100% " in shown and "172 events\r\033[K" in shown
        assert ("\033[32m" in shown) == colour


def test_no_secret_reaches_a_tool(config, tmp_path):
    conf = config(MESSAGES)
    conf.write_text(conf.read_text().replace('api_key_secret_file = "/nowhere/secret"',
                                             'api_key_secret = "${BELL_TEST_SECRET}"'))
    env = {**os.environ, "BELL_TEST_SECRET": "s3cret-of-the-bridge", "BELL_TEST_OTHER": "kept"}
    process = subprocess.Popen([BIN / "bridgebell", "replay", "-c", conf, "-"], env=env, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    def tool():
        for pid in children_of(process.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue   # it has ended meanwhile
            if b"tool" in words:
                return pid
        return None
    seen = Path(f"/proc/{until('the tool', tool)}/environ").read_bytes()
    process.communicate(json.dumps(message(1, 10**12)) + "\n", timeout=60)
    assert process.returncode == 0
    assert b"s3cret" not in seen and b"BELL_TEST_OTHER=kept" in seen


# ---- the running dispatcher: its journal, its state ----

def test_the_journal_of_a_running_dispatcher(line, bell):
    world = line()
    rules = world.rule(message="Message {{ item }}", more='throttle = "2/min"') + 'prices { table = { "+48: 0.09" } }\n'
    one = bell(world.config(rules)).start()
    world.subscribed()
    items = [world.bridge.message() for _ in range(4)]
    world.provider.wait_accepted(2)
    until("the events to be counted", lambda: one.status()["events"]["matched"] == 4)
    status = one.status()
    assert status["journal"]["mode"] == "wanted" and status["journal"]["lost"] == 0
    journal = world.dir / "journal"
    assert journal.stat().st_mode & 0o777 == 0o700
    files = list(journal.iterdir())
    assert len(files) == 1 and files[0].stat().st_mode & 0o777 == 0o600
    held = [json.loads(text) for text in files[0].read_text().splitlines()]
    assert held[0]["mode"] == "wanted"
    assert [e["item"] for e in held[1:] if e["type"] == "threadNewMessage"] == items
    assert "bridgebell_journal_events_total" in one.http("/metrics")[1]

    replayed = one.cli("replay", "--since", "1h", "--texts")
    assert f"Message {items[0]}" in replayed.stdout and "throttle 2" in replayed.stdout
    assert "journal = wanted" in replayed.stdout

    # By an event's key: decided on the real state, of which nothing is kept.
    key = held[1]["key"]
    for _ in range(2):
        live = json.loads(one.cli("explain", key[:8], "--json").stdout)["explanation"]
        assert live["state"] == "live" and live["event"]["key"] == key
        assert live["rules"] == {"total": 1, "disabled": 0, "skipped": 0, "tried": 1}
        job = live["tried"][0]["jobs"][0]
        assert job["outcome"] == "suppressed" and job["why"] == "throttle"
        limit = next(x for x in job["limits"] if x.get("refused"))
        assert limit["used"] == 2 and limit["limit"] == 2
        assert job["text"] == f"Message {items[0]}" and job["parts"] == 1 and job["price"] == 0.09
    assert one.status()["events"]["matched"] == 4
    shown = one.cli("explain", key).stdout
    assert "on the state of the running dispatcher" in shown and "2 of 2 used" in shown
    assert "500500500" not in shown

    # By a job's id.
    jobs = json.loads(one.cli("queue", "ls", "--json").stdout)["jobs"]
    sent = next(j for j in jobs if j["state"] == "sent")
    shown = one.cli("explain", sent["id"][:12]).stdout
    assert re.search(r"state +sent", shown) and "matches" in shown
    assert "500500500" not in shown and re.search(r" to +\+\*+500\n", shown)
    assert re.search(r" to +\+48500500500\n", one.cli("explain", sent["id"][:12], "--numbers").stdout)
    gone = one.cli("explain", "ffffffffff", check=False)
    assert gone.returncode == 3 and "neither a job nor an event" in gone.stderr

    assert one.stop() == 0
    before = sorted(p.name for p in world.dir.iterdir())
    offline = one.cli("explain", sent["id"][:12]).stdout
    assert re.search(r"state +sent", offline) and "offline, with empty counters" in offline
    assert "would be sent" in offline
    assert sorted(p.name for p in world.dir.iterdir()) == before
    # Looking at the store has not changed it.
    one.start()
    assert one.status()["store"]["was_damaged"] is False


def test_a_journal_of_everything_and_none(line, bell):
    world = line()
    one = bell(world.config(dispatcher="journal = all")).start()
    world.subscribed()
    world.bridge.create("thread")
    item = world.bridge.message()
    world.provider.wait_accepted(1)
    held = next((world.dir / "journal").iterdir()).read_text()
    assert '"mode":"all"' in held
    until("the event that no rule wants", lambda: "threadCreated" in next((world.dir / "journal").iterdir()).read_text())
    assert item in next((world.dir / "journal").iterdir()).read_text()
    one.write(world.config(dispatcher=f'journal = off journal_dir = "{world.dir}/other"'))
    one.cli("reload")
    world.bridge.message()
    world.provider.wait_accepted(2)
    assert one.status()["journal"] == {"mode": "off"}
    assert not (world.dir / "other").exists()


def test_a_journal_on_a_full_disk_holds_up_nothing(line, bell, disk):
    world = line()
    one = bell(world.config(dispatcher=f'journal_dir = "{disk}/journal"')).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    assert one.status()["journal"]["events"] >= 1
    fill(disk)
    sent = 1

    def is_lost():
        nonlocal sent
        world.bridge.message()
        sent += 1
        return one.status()["journal"]["lost"] > 0
    # A little may still fit; then each message rings all the same.
    until("the loss to be counted", is_lost)
    world.provider.wait_accepted(sent)
    assert one.status()["journal"]["trouble"] == "No space left on device"
    assert one.log_text().count("the journal cannot be written") == 1
    (disk / "ballast").unlink()

    def is_written():
        world.bridge.message()
        return "trouble" not in one.status()["journal"]
    until("the journal to be written again", is_written)
    assert "the journal is written again" in one.log_text()


# ---- explain without one ----

def test_explain_shows_each_part_of_a_condition(config, tmp_path):
    conf = config(MESSAGES + '''
rule "other thread" {
    when = "type == 'threadNewMessage' && (data.threadId.startsWith('abc') || author > 'b')"
    to = { "+48500500500" } message = "x"
}
rule "broken" { when = "type == 'threadNewMessage' && data.priority > 3" to = { "+48500500500" } message = "x" }
rule "store" { when = "channel == 'store'" to = { "+48500500500" } message = "x" }
rule "off" { when = "true" enabled = off to = { "+48500500500" } message = "x" }
''')
    event = tmp_path / "event.json"
    # Written over several lines, as people do.
    event.write_text(json.dumps(message(1, 1774656000000), indent=2))
    done = run("explain", "-c", conf, event)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "3 tried, 1 skipped by the index, 1 disabled" in shown and "offline" in shown
    assert "container  t" in shown and "author     alice" in shown
    assert 'data.threadId is "t"' in shown
    caret = next(text for text in shown.splitlines() if "^ no such key" in text)
    above = shown.splitlines()[shown.splitlines().index(caret) - 1]
    assert above[caret.index("^"):].startswith("data.priority")
    assert "0 of 2 used" in shown and "1 part, GSM-7, 10 units, 0.09 PLN" in shown
    assert "-> +********500  would be sent" in shown
    explained = json.loads(run("explain", "-c", conf, "-", "--json", stdin=event.read_text()).stdout)["explanation"]
    rules = {rule["rule"]: rule for rule in explained["tried"]}
    assert rules["messages"]["matched"] and not rules["other thread"]["matched"] and not rules["broken"]["matched"]
    parts = rules["other thread"]["parts"]
    assert [(p["is"], p["level"], p["kind"]) for p in parts] == [
        ("true", 0, "one"), ("false", 0, "any"), ("false", 1, "one"), ("false", 1, "one")]
    assert rules["broken"]["parts"][1]["is"] == "error" and rules["broken"]["error"]


def test_explain_says_what_failed_behind_a_condition(config, tmp_path):
    def rule(name, to, message, more=""):
        return f'rule "{name}" {{ when = "true" to = {{ {to} }} message = "{message}" {more} }}\n'
    conf = config(rule("nobody", '"member(data.nosuch)"', "x") +
                  rule("half", '"+48500500500", "member(data.other)"', "x {{ data.gone }}") +
                  rule("key", '"+48500500500"', "x", 'throttle = "1/h" throttle_key = "data.key"') +
                  rule("whole", '"+48500500500"', "x"))
    text = json.dumps(message(1, 1774656000000))
    explained = json.loads(run("explain", "-c", conf, "-", "--json", stdin=text).stdout)["explanation"]
    rules = {rule["rule"]: rule for rule in explained["tried"]}
    assert "nosuch" in rules["nobody"]["failed"] and rules["nobody"]["jobs"] == []
    assert "other" in rules["half"]["failed"] and rules["half"]["unrendered"] is True
    assert rules["half"]["unrendered_why"] == "no such key: 'gone'"
    assert "key" in rules["key"]["failed"] and len(rules["key"]["jobs"]) == 1
    assert "failed" not in rules["whole"] and "unrendered" not in rules["whole"]
    shown = run("explain", "-c", conf, "-", stdin=text).stdout
    assert shown.count("rings nobody") == 1 and "failed: no such key: 'nosuch'" in shown
    assert shown.count("a part of the text failed and became ?: no such key: 'gone'") == 1


def test_explain_says_what_is_wrong(config, tmp_path):
    conf = config(MESSAGES)
    (tmp_path / "no").write_text("hello\n")
    (tmp_path / "long").write_text(17 * 1024 * 1024 * "x")
    for words, code, said in (([tmp_path / "long"], 1, "too long for an event"),
                              (["xyz"], 2, "neither a file nor an id"), ([], 2, "needs more"),
                              ([tmp_path / "no"], 1, "holds no event"), (["abcdef012345"], 3, "neither a job")):
        done = run("explain", "-c", conf, *words)
        assert done.returncode == code and said in done.stderr, (words, done.stderr)


# ---- test ----

def test_the_samples_pass():
    done = run("test", ROOT / "conf/samples/tests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 passed, 0 failed"
    results = lines_of(run("test", "--json", ROOT / "conf/samples/tests/sms-notifications.json"))
    assert [r["passed"] for r in results[:-1]] == [True] * 3 and results[-1]["passed"] == 3


def test_what_fails_is_told_as_a_difference(config, tmp_path):
    config(MESSAGES)
    captured = {"file": str(CAPTURED), "line": 3}
    (tmp_path / "t.json").write_text(json.dumps([
        {"name": "wrong words", "config": "a.conf",
         "steps": [{"event": captured, "expect": [{"to": "+48500500500", "text": "Message x"}]}]},
        {"name": "too much", "config": "a.conf",
         "steps": [{"event": captured, "times": 3, "every": "1s", "expect": [{"to": "+48500500500", "times": 3},
                                                                          {"to": "+48500500501", "times": 2}]}]},
        {"name": "right", "config": "a.conf", "start": "2026-03-28T23:30:00+01:00",
         "steps": [{"event": captured}, {"after": "1m", "expect": [{"rule": "messages", "times": 2}]},
                   {"event": captured, "expect": {"nothing": True}}]}]))
    done = run("test", tmp_path / "t.json")
    assert done.returncode == 1
    shown = done.stdout
    assert '- message to +********500  "Message x"' in shown
    assert '+ single to +********501  rule messages  "Message 6b03d982550cc4beb9bd7e75"' in shown
    assert "(3 times, came 2)" in shown and "throttle: 2/min" in shown
    assert shown.splitlines()[-1] == "1 passed, 2 failed" and "pass  " in shown
    assert "500500500" not in shown and "+48500500500" in run("test", "--numbers", tmp_path / "t.json").stdout


def test_faulty_test_files_name_the_place(config, tmp_path):
    conf = config(MESSAGES)
    tests = tmp_path / "tests"
    tests.mkdir()
    none = run("test", "-c", conf, tests)
    assert none.returncode == 3 and "no test was found" in none.stderr
    (tests / "a.json").write_text('{"name": "x",\n "steps": [\n  {"evnt": 1, "expect": {"nothing": true}}]}')
    (tests / "b.json").write_text('{"name": "x",\n "steps": [ ]\n')
    (tests / "ignored.txt").write_text("x")
    done = run("test", "-c", conf, tests)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "0 passed, 2 failed"
    assert 'a.json:3: column 4: unknown member "evnt"; did you mean "event"?' in done.stderr
    assert "b.json:3: column 1: this is not JSON" in done.stderr
    assert run("test", "-c", conf).returncode == 2
    gone = run("test", "-c", conf, tmp_path / "gone.json")
    assert gone.returncode == 1 and "cannot be read" in gone.stderr
    (tests / "a.json").write_text('{"name": "x", "config": "gone.conf", "steps": [{}]}')
    assert run("test", tests / "a.json").returncode == 1


def test_what_cannot_be_used_fails_and_the_rest_is_run(config, tmp_path):
    config(MESSAGES)
    (tmp_path / "bad.conf").write_text('rule "r" { whn = "true" }\n')
    step = {"event": {"file": str(CAPTURED), "line": 3}, "expect": [{"rule": "messages", "times": 2}]}

    def write(name, tests):
        (tmp_path / name).write_text(json.dumps(tests))

    def one(name, conf):
        return {"name": name, "config": conf, "steps": [step]}
    write("a.json", one("first", "bad.conf"))
    write("b.json", [one("second", "a.conf"), one("third", "bad.conf"), one("fourth", "gone.conf")])
    write("c.json", one("fifth", "a.conf"))
    done = run("test", tmp_path / "a.json", tmp_path / "gone.json", tmp_path / "b.json", tmp_path / "c.json")
    assert done.returncode == 1
    told = [re.sub(r"  .*: ", " ", text) for text in done.stdout.splitlines()]
    assert told == ["FAIL first", "pass second", "FAIL third", "FAIL fourth", "pass fifth", "2 passed, 4 failed"]
    # Faults of a configuration are told once, then each test that needs it.
    assert done.stderr.count("unknown word `whn`") == 1 and "gone.json: cannot be read" in done.stderr
    assert f'{tmp_path}/b.json: test "fourth": its configuration {tmp_path}/gone.conf cannot be used' in done.stderr
    results = lines_of(run("test", "--json", tmp_path / "a.json", tmp_path / "c.json"))
    assert [r["passed"] for r in results if r["what"] == "test"] == [False, True]
    assert results[-1] == {"what": "summary", "passed": 1, "failed": 1}
    # So is the default configuration, where one is needed.
    write("d.json", [{"name": "sixth", "steps": [step]}, one("seventh", "a.conf")])
    done = run("test", "-c", tmp_path / "nowhere.conf", tmp_path / "d.json")
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "1 passed, 1 failed"


# ---- stores that cannot be read, or only differently ----

def test_a_store_of_an_older_or_a_newer_version(line, bell):
    world = line()
    one = bell(world.config(more='prices { table = { "+48: 0.09" } }\n')).start()
    world.subscribed()
    one.cli("silence", "add", "true", "--for", "1h")
    world.bridge.message()
    until("the event to be decided", lambda: one.status()["events"]["matched"] == 1)
    job = json.loads(one.cli("queue", "ls", "--json").stdout)["jobs"][0]["id"]
    assert one.stop() == 0
    path = world.dir / "queue.db"

    def told(*more):
        return one.cli("explain", job[:12], "--offline", *more, check=False)
    assert json.loads(told("--json").stdout)["job"]["price"] == 0.09
    with sqlite3.connect(path) as store:
        for table in ("counters", "digests", "parents", "tallies", "attempts"):
            store.execute(f"DROP TABLE {table}")
        store.execute("ALTER TABLE jobs DROP COLUMN price_micro")
        store.execute("PRAGMA user_version = 1")
    store.close()
    old = json.loads(told("--json").stdout)
    assert old["job"]["id"] == job and old["job"]["reason"] == "silence 1" and "price" not in old["job"]
    assert old["explanation"]["store"]["silences"] == 1
    with sqlite3.connect(path) as store:
        store.execute("PRAGMA user_version = 99")
    store.close()
    newer = told()
    assert newer.returncode == 1 and "schema version 99" in newer.stderr and "newer bridgebell" in newer.stderr
    assert "no event of the journal begins with" in newer.stderr
    replayed = one.cli("replay", "--since", "1h").stdout
    assert "silences and opt-outs are not known: the store" in replayed and "newer bridgebell" in replayed
    # The journal is read all the same.
    event = next(json.loads(text) for text in next((world.dir / "journal").iterdir()).read_text().splitlines()[1:])
    shown = one.cli("explain", event["key"], "--offline")
    assert "schema version 99" in shown.stderr and "would be sent" in shown.stdout
    path.write_text("this is no store\n" * 500)
    assert "queue.db cannot be read" in told().stderr and told().returncode == 1
    path.unlink()
    assert told().returncode == 3 and "queue.db yet" in one.cli("replay", "--since", "1h").stdout


def test_ids_that_are_not_whole_may_be_of_several(config, tmp_path):
    conf = config(MESSAGES)
    (tmp_path / "journal").mkdir()
    first = {"received": 10**12, "timestamp": 10**12, "recovered": False, "bridge": "main", "channel": "thread",
             "type": "threadNewMessage", "data": {"id": "m", "threadId": "t", "author": "alice"}}
    keys = ["abcdef" + "0" * 26, "abcdef" + "1" * 26, "abcdef" + "0" * 26]
    (tmp_path / "journal" / "events-20010909T014640.000Z.jsonl").write_text(
        '{"bridgebell_journal":1,"mode":"all","started_ms":1000000000000}\n' +
        "".join(json.dumps({**first, "key": key}) + "\n" for key in keys))
    several = run("explain", "-c", conf, "ABCDEF")
    assert several.returncode == 1 and "several events of the journal begin with" in several.stderr
    assert "give more digits" in several.stderr
    for given in ("abcdef0", keys[1]):
        assert run("explain", "-c", conf, given).returncode == 0


# ---- what an operator runs into ----

def test_times_that_are_the_wrong_way_round(config):
    done = run("replay", "-c", config(MESSAGES), "--since", "1h", "--until", "2h")
    assert done.returncode == 2 and "--until is no later than --since" in done.stderr


def test_output_that_cannot_be_written(config):
    conf = config(MESSAGES)
    for words in (("replay", "-c", conf, CAPTURED), ("replay", "-c", conf, "--json", CAPTURED), ("help",)):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BIN / "bridgebell", *map(str, words)], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=60)
        assert done.returncode == 1, words
    # Whoever has read enough is no trouble.
    many = subprocess.run(f"{BIN}/bridgebell replay -c {conf} --json --suppressed {CAPTURED} {CAPTURED} | head -c 10",
                          shell=True, capture_output=True, text=True, timeout=60)
    assert many.stderr == ""


def test_a_journal_without_events_matches_nothing(config, tmp_path):
    conf = config(MESSAGES)
    gone = run("replay", "-c", conf, "--since", "1h")
    assert gone.returncode == 1 and "No such file" in gone.stderr
    (tmp_path / "journal").mkdir()
    empty = run("replay", "-c", conf, "--since", "1h")
    assert empty.returncode == 3 and "0 events of 0 files\nnothing matched" in empty.stdout
    assert run("explain", "-c", conf, "abcdef0").returncode == 3
    # A directory that somebody names is to be one.
    assert run("replay", "-c", conf, tmp_path / "journal").returncode == 1


def test_a_journal_that_is_not_of_this_installation(config, tmp_path):
    conf = config(MESSAGES)
    (tmp_path / "journal").mkdir()
    event = {"received": 10**12, "timestamp": 10**12, "recovered": False, "bridge": "theirs", "channel": "thread",
             "type": "threadNewMessage", "key": "0" * 32, "data": {"id": "m", "threadId": "t", "author": "alice"}}
    (tmp_path / "journal" / "events-20010909T014640.000Z.jsonl").write_text(json.dumps(event) + "\n" + '{"torn')
    done = run("replay", "-c", conf, "--since", "20000d")
    assert "1 event is of a bridge that the configuration does not have: theirs" in done.stdout
    assert "the journal begins at 2001-09-09T01:46:40.000Z: it does not hold what came before" in done.stdout
    assert "1 torn last line was skipped\n" in done.stdout
    assert "the journal begins" not in run("replay", "-c", conf, tmp_path / "journal").stdout
    refused = run("explain", "-c", conf, "-", "--bridge", "theirs", stdin=json.dumps(message(1, 10**12)))
    assert refused.returncode == 1 and 'no bridge "theirs"' in refused.stderr
