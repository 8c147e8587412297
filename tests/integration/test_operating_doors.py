"""What the line tells machines: metrics, health, logs, statistics of what nobody wants, and that none of it grows."""
import json
import os
import re
from pathlib import Path

import pytest

from conftest import children_of, until
from line import NUMBER, OTHER

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"^({NAME})(?:\{{(.*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def labels_of(text):
    labels, at = [], 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"not labels: {text}"
        labels.append(found.groups()[:2])
        at = found.end()
    assert len({name for name, _ in labels}) == len(labels), text
    return tuple(labels)


def base_of(name, types):
    """The family that a sample belongs to."""
    for end in ("_bucket", "_sum", "_count"):
        if name.endswith(end) and types.get(name.removesuffix(end)) == "histogram":
            return name.removesuffix(end)
    return name


def parse_metrics(text):
    """Prometheus' text format 0.0.4, strictly: every family typed and in one piece, no sample twice."""
    types, helps, samples, closed, family = {}, {}, {}, set(), None
    assert text.endswith("\n")
    for one in text[:-1].split("\n"):
        if one.startswith("# "):
            words = one.split(" ", 3)
            assert len(words) == 4 and words[1] in ("HELP", "TYPE") and re.fullmatch(NAME, words[2]), one
            to = helps if words[1] == "HELP" else types
            assert words[2] not in to, f"twice: {one}"
            to[words[2]] = words[3]
            assert words[1] == "HELP" or words[3] in ("counter", "gauge", "histogram"), one
            name = words[2]
        else:
            found = SAMPLE.match(one)
            assert found, f"not a sample: {one!r}"
            key = (found[1], labels_of(found[2] or ""))
            assert key not in samples, f"twice: {one}"
            samples[key] = float(found[3])
            name = base_of(found[1], types)
            assert name in types and name in helps, f"without TYPE or HELP: {one}"
        if name != family:
            assert name not in closed, f"in two pieces: {one}"
            closed.add(family)
            family = name
    for (name, labels), value in samples.items():
        base = base_of(name, types)
        if types[base] == "counter":
            assert name.endswith("_total") and value >= 0, name
        if types[base] == "histogram" and name == base + "_count":
            top = [v for (n, l), v in samples.items() if n == base + "_bucket" and ("le", "+Inf") in l
                   and set(labels) <= set(l)]
            assert top == [value], name
    return samples


def value(samples, name, **labels):
    found = [v for (n, l), v in samples.items() if n == name and set(labels.items()) <= set(l)]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_metrics_are_valid_and_true(line, bell):
    world = line()
    world.provider.faults({"what": "error", "code": 13, "match": OTHER.lstrip("+")})
    rules = world.rule(to=f'"{NUMBER}"') + world.rule("naïve name", message="b {{ data.id }}", to=f'"{OTHER}"')
    one = bell(world.config(rules=rules)).start()
    world.subscribed()
    parse_metrics(one.http("/metrics")[1])
    for _ in range(3):
        world.bridge.message()
    until("every outcome", lambda: one.status()["queue"]["sent"] == 3 and one.status()["queue"]["dead"] == 3)
    until("the listener's figures", lambda: "bridgebell_listener_" in one.http("/metrics")[1])
    samples = parse_metrics(one.http("/metrics")[1])
    assert value(samples, "bridgebell_sent_total") == 3
    assert value(samples, "bridgebell_failed_total", **{"class": "per_number"}) == 3
    assert value(samples, "bridgebell_jobs", state="sent") == 3
    assert value(samples, "bridgebell_events_matched_total", bridge="main") == 3
    assert value(samples, "bridgebell_line_state", provider="smsapi") == 0
    assert value(samples, "bridgebell_event_to_request_seconds_count") >= 3
    text = one.http("/metrics")[1]
    for private in (NUMBER[1:], OTHER[1:], world.bridge.thread_id, world.bridge.context_id):
        assert private not in text
    until("readiness", lambda: value(parse_metrics(one.http("/metrics")[1]), "bridgebell_ready") == 1)
    # Also while an old and a new process overlap.
    one.cli("reload")
    parse_metrics(one.http("/metrics")[1])


def test_metrics_of_two_bridges_are_one_page(line, bell):
    world = line()
    config = world.config()
    begin, end = config.index('bridge "main"'), config.index("provider ")
    second = config[begin:end].replace('"main"', '"second"')
    one = bell(config + second).start()
    world.bridge.wait_subscribed("thread", count=2)
    until("both listeners' figures", lambda: {
        dict(labels)["bridge"] for name, labels in parse_metrics(one.http("/metrics")[1])
        if name == "bridgebell_listener_connected"} == {"main", "second"})
    until("both to be connected", lambda: [value(parse_metrics(one.http("/metrics")[1]), "bridgebell_listener_connected",
                                                 bridge=name) for name in ("main", "second")] == [1, 1])


def test_what_no_rule_wants_is_counted_by_type(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    until("the interest", lambda: one.status()["events"]["interest_confirmed"] and one.status()["bridges"][0]["listeners"])
    for _ in range(5):
        world.bridge.create("thread")
    world.bridge.flood(1000, match_every=0, wait=True)

    def counted():
        samples = {k: v for k, v in parse_metrics(one.http("/metrics")[1]).items() if k[0] == "bridgebell_listener_dropped_total"}
        kinds = {dict(labels)["type"]: v for (_, labels), v in samples.items()}
        return kinds if kinds.get("threadNewMessage") == 1000 and kinds.get("threadCreated") == 5 else None
    until("the counts by type", counted)
    status = one.status()
    dropped = status["bridges"][0]["dropped"]
    assert dropped["threadNewMessage"] == 1000 and dropped["threadCreated"] == 5
    shown = re.sub(r"(?<=\d)[^\d\n](?=\d{3})", "", one.cli("status").stdout)
    assert "unwanted" in shown and str(status["bridges"][0]["unwanted"]) in shown, shown
    assert status["bridges"][0]["unwanted"] >= 1005 and status["bridges"][0]["seen"] >= 1005
    assert status["events"]["received"] < 100, "they did not reach the dispatcher"


def parse_logfmt(text):
    fields, at = {}, 0
    pattern = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)( |$)')
    while at < len(text):
        found = pattern.match(text, at)
        assert found, f"not logfmt at {at}: {text!r}"
        assert found[1] not in fields, f"{found[1]} twice: {text!r}"
        fields[found[1]] = json.loads(found[2]) if found[2][0] == '"' else found[2]
        at = found.end()
    return fields


def parse_json(text):
    fields = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    assert len({name for name, _ in fields}) == len(fields), text
    return {name: str(v) for name, v in fields}


@pytest.mark.parametrize("form, parse", [("logfmt", parse_logfmt), ("json", parse_json)])
def test_the_log_is_one_line_for_each_outcome(line, bell, form, parse):
    world = line()
    world.provider.faults({"what": "error", "code": 13, "match": OTHER.lstrip("+")})
    log = world.dir / "bell.log"
    rules = world.rule(to=f'"{NUMBER}"') + world.rule("other", message='b \\"{{ data.id }}\\" = \\\\', to=f'"{OTHER}"')
    one = bell(world.config(rules=rules, more=f'log {{ format = {form} file = "{log}" }}')).start()
    world.subscribed()
    for _ in range(4):
        world.bridge.message()
    until("every outcome", lambda: one.status()["queue"]["sent"] == 4 and one.status()["queue"]["dead"] == 4)
    world.bridge.close(1001, 'a "reason" = \\ with\nall of it')
    until("the reason", lambda: "reason" in log.read_text() and "all of it" in log.read_text())
    one.cli("reload")
    assert one.stop() == 0
    lines = [parse(text) for text in log.read_text().splitlines()]
    for fields in lines:
        assert {"ts", "level", "process", "msg"} <= set(fields), fields
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["ts"])
        assert fields["level"] in ("debug", "info", "warn", "error")
    jobs = [fields for fields in lines if fields["msg"] == "job"]
    assert len(jobs) == 8 and len({fields["job"] for fields in jobs}) == 8
    assert {(fields["state"], fields["to"][-3:]) for fields in jobs} == {("sent", NUMBER[-3:]), ("dead", OTHER[-3:])}
    assert not re.search(r"500500|New message", log.read_text())


def test_health_is_not_readiness(line, bell):
    world = line()
    one = bell(world.config()).start()
    one.wait_log("bridgebell is up")
    until("readiness", lambda: one.http("/readyz") == (200, "ready\n"))
    # A reload that has been reported done leaves no false alarm.
    for _ in range(3):
        one.cli("reload")
        assert one.http("/readyz") == (200, "ready\n")
    assert one.http("/healthz") == (200, "ok\n")
    # The provider refuses the token: the line stops, what waits stays, and it is said what to do.
    world.provider.faults({"what": "error", "code": 101})
    world.bridge.message()
    until("unreadiness", lambda: one.http("/readyz")[0] == 503)
    assert "line" in one.http("/readyz")[1] and one.http("/healthz")[0] == 200
    shown = one.cli("status").stdout
    assert "smsapi is stopped" in shown and "resume" in shown
    assert value(parse_metrics(one.http("/metrics")[1]), "bridgebell_line_state", provider="smsapi") == 2
    world.provider.clear_faults()
    one.cli("resume")
    world.provider.wait_accepted(1)
    until("readiness again", lambda: one.http("/readyz")[0] == 200)


def test_status_in_all_its_forms(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    status = one.status()
    assert {"processes", "bridges", "events", "queue", "senders", "lines", "sending", "store", "rules"} <= set(status)
    assert status["events"]["matched"] == 1 and status["sending"]["sent"] == 1
    assert "oldest_due_ms" in status["queue"] and "per_second" in status["sending"]
    shown = one.cli("status").stdout
    for title in ("PROCESSES", "BRIDGES", "QUEUE", "SENDERS", "LINES", "RATES"):
        assert title in shown
    assert "\x1b" not in shown
    assert json.loads(one.http("/status.json")[1])["queue"] == status["queue"]


def test_send_and_wait_tells_how_it_ended(line, bell):
    world = line()
    one = bell(world.config()).start()
    assert one.cli("send", "--to", NUMBER, "--message", "x", "--wait").stdout.split()[1] == "sent"
    world.provider.faults({"what": "error", "code": 13})
    done = one.cli("send", "--to", NUMBER, "--message", "y", "--wait", check=False)
    assert done.returncode == 1 and " dead: " in done.stdout and "13" in done.stdout
    world.provider.clear_faults()
    done = one.cli("send", "--to", NUMBER, "--to", OTHER, "--message", "-", "--wait", stdin="from standard input\n")
    assert [text.split()[1] for text in done.stdout.splitlines()] == ["sent", "sent"]
    assert world.texts()[-1].rstrip("\n") == "from standard input"


def memory_kib(pid):
    """What it holds of its own; its share of the libraries depends on who else runs."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE).group(1))


@pytest.mark.skipif("asan" in os.environ.get("BRIDGEBELL_BUILD", ""), reason="the sanitizer keeps what was freed")
def test_a_flood_of_what_nobody_wants_leaves_the_memory_as_it_is(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    world.bridge.flood(100000, match_every=1000, wait=True)
    world.provider.wait_accepted(100)
    world.wait_drained(one)
    pids = [one.process.pid, *children_of(one.process.pid)]
    before = {pid: memory_kib(pid) for pid in pids}
    world.bridge.flood(2000000, match_every=0, wait=True)
    after = {pid: memory_kib(pid) for pid in pids}
    assert set(children_of(one.process.pid)) == set(pids[1:])
    grown = sum(after.values()) - sum(before.values())
    assert grown < 2048, f"{grown} KiB more: {before} {after}"
