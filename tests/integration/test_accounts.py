"""Accounts that must balance: every message has one outcome whatever is killed, replay says what happened, and everybody
counts the same parts - a counter written here, too."""
import json
import os
import random
import re
import threading
import time

import pytest

from conftest import children_of, title_of, until
from test_noise import NUMBER, OTHER, rule, world  # noqa: F401

GSM = set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
          "¿abcdefghijklmnopqrstuvwxyzäöñüà")
EXTENSION = set("^{}\\[~]|€\f")
OPEN = "caps = off rule_caps = off"


def parts_of(text):
    if all(c in GSM or c in EXTENSION for c in text):
        units, single, joined = [1 + (c in EXTENSION) for c in text], 160, 153
    else:
        units, single, joined = [1 + (ord(c) > 0xffff) for c in text], 70, 67
    if sum(units) <= single:
        return 1
    parts, room = 1, joined
    for unit in units:
        if unit > room:
            parts, room = parts + 1, joined
        room -= unit
    return parts


def hostile():
    chance = random.Random(5)
    yield from (None, True, -1.5, "", [], {}, "a\u202eb", "http://evil.com/x y", "x" * 400, "ąę" * 60, "{" * 170, "😀" * 40,
                "e\u0301" * 80, ["a", {"b": None}], {"k": [1, {"z": "http://x.pl"}]}, "Zażółć gęślą jaźń " * 6,
                "Привет мир " * 9, "\x00\x01", "a\nb", "€" * 75, "абв" * 23 + "x", "^" * 80, "^" * 81)
    for _ in range(60):
        length = chance.choice([10, 60, 70, 71, 150, 160, 161, 170])
        yield "".join(chance.choice("abc ąć€^{}😀éжΔ.:/\n") for _ in range(length))


def test_all_count_the_same_parts(world):  # noqa: F811
    polish = ('messages = { "pl: {{ short(data.publicMeta, 40) ?? author }} {{ date(time, \'%A %e %B %H:%M\') }} '
              '{{ unsafe(data.publicMeta) }}" }')
    one = world.start(rule("cut", f"{OPEN} max_parts = 2 transliterate = on", message="[{{ data.publicMeta }}] {{ date(time) }}") +
                      rule("whole", f"{OPEN} {polish}", to="pl"),
                      more='prices { table = { "+48: 0.10" } }\nlimits { person_caps = off }\n'
                           f'recipients "pl" {{ to = {{ "{OTHER}" }} language = pl zone = "Europe/Warsaw" }}\n')
    metas = list(hostile())
    for meta in metas:
        world.bridge.message(publicMeta=meta)
    world.provider.wait_accepted(2 * len(metas))
    world.line.wait_drained(one)
    accepted = {(m["number"], m["text"]): m["parts"] for m in world.provider.messages()}
    replayed = [json.loads(text) for text in one.cli("replay", "--since", "1h", "--json", "--texts", "--numbers").stdout.splitlines()]
    replayed = {(row["event"], row["rule"]): row for row in replayed if row["what"] == "sent"}
    jobs = json.loads(one.cli("queue", "ls", "--state", "sent", "--limit", "1000", "--json").stdout)["jobs"]
    assert len(jobs) == 2 * len(metas)
    for number, job in enumerate(jobs):
        job = json.loads(one.cli("queue", "show", job["id"], "--json").stdout)["job"]
        parts, again = parts_of(job["text"]), replayed[job["event"], job["rule"]]
        assert again["text"] == job["text"] and again["price"] == pytest.approx(parts * .1)
        assert {job["parts"], again["parts"], accepted[job["to"].lstrip("+"), job["text"]]} == {parts}, job
        assert parts <= (2 if job["rule"] == "cut" else 10)
        if number % 10 == 0:
            tried = json.loads(one.cli("explain", job["id"], "--json").stdout)["explanation"]["tried"]
            shown = [j for row in tried if row["rule"] == job["rule"] for j in row["jobs"]]
            assert [(j["text"], j["parts"]) for j in shown] == [(job["text"], parts)]


def kill_about(one, world, chance, busy):  # noqa: F811
    """Kills what there is, mostly dispatchers, as long as BUSY lives."""
    while busy.is_alive():
        time.sleep(chance.random() * .6)
        if chance.random() < .2:
            one.kill_everything()
            one.start(env=world.clock.env)
            continue
        kinds = ("dispatcher",) if chance.random() < .5 else ("dispatcher", "sender", "listener")
        pids = [pid for pid in children_of(one.process.pid) if any(f"bridgebell: {kind}" in title_of(pid) for kind in kinds)]
        if pids:
            try:
                os.kill(chance.choice(pids), 9)
            except ProcessLookupError:
                continue


def test_every_message_has_one_outcome_whatever_is_killed(world):  # noqa: F811
    events, people = 200, [f"+4850050070{n}" for n in range(3)]
    all_in, to = events * len(people), ", ".join(f'"{number}"' for number in people)

    def one_rule(name, more):
        return rule(name, more, to=to, message=name + " {{ data.id }}")
    rules = (one_rule("plain", OPEN) + one_rule("digest", OPEN + ' digest = 1m digest_message = "D {{ count }}"') +
             one_rule("throttle", OPEN + ' throttle = "50/h"') +
             one_rule("storm", OPEN + ' storm = "20/min" storm_message = "S {{ count }}"') +
             one_rule("caps", 'caps = "30/h"') + one_rule("shadow", OPEN + " mode = shadow"))
    one = world.start(rules, at="2026-11-27 12:00", more="limits { person_caps = off }\n")
    world.say()
    world.wait_noise({"rings": 3}, "plain")
    busy = threading.Thread(target=lambda: world.bridge.bulk(events - 1, rate=50, share=1))
    busy.start()
    kill_about(one, world, random.Random(1), busy)
    busy.join()
    until("all to be decided", lambda: one.status().get("noise") and sum(world.noise("plain").values()) == all_in, 180)
    for seconds in (61, 61):
        world.line.wait_drained(one)
        world.clock.forward(seconds)
        world.kill_dispatcher()
    until("no digest to be open", lambda: one.status()["queue"]["held"] == 0, 90)
    world.line.wait_drained(one)
    assert world.noise("digest") == {"digest": all_in, "rings": 3}
    assert world.noise("throttle") == {"rings": 150, "throttle": all_in - 150}
    assert world.noise("caps") == {"rings": 90, "caps": all_in - 90}
    assert world.noise("shadow") == {"shadow": all_in}
    assert world.noise("storm") == {"rings": 63, "storm": all_in - 60}
    texts = [(m["number"], m["text"]) for m in world.provider.messages()]
    singles = [row for row in texts if not re.fullmatch(r"[DS] \d+", row[1])]
    assert len(singles) == len(set(singles)), "one rang twice"
    assert sum(1 for _, text in singles if text.startswith("plain ")) == all_in
    for letter, rest in (("D", 0), ("S", 60)):
        assert sum(int(text[2:]) for _, text in texts if re.fullmatch(letter + r" \d+", text)) + rest == all_in


@pytest.mark.parametrize("more", [
    'throttle = "3/min" throttle_per = rule digest = 10m digest_key = "author" storm = "4/min" max_age = 1h',
    'quiet_hours = { "22:00-07:00" } quiet_zone = "Europe/Warsaw" storm = "4/min" caps = "5/h"',
    'throttle = "2/min, 5/h" dedupe = 10m dedupe_key = "author" rule_caps = "12/h"'])
def test_replay_says_what_happened(world, more):  # noqa: F811
    chance = random.Random(more)
    one = world.start(rule(more=more, to=f'"{NUMBER}", "{OTHER}"'), at="2026-10-24 19:50")
    said = 0
    for seconds in (5, 61, 301, 30, 3601, 20000, 61):
        for _ in range(chance.randrange(12)):
            world.say(author=chance.choice("ab"))
            said += 1
        until("all to be decided", lambda: sum(world.noise().values()) >= 2 * said)
        world.line.wait_drained(one)
        world.clock.forward(seconds)
        world.kill_dispatcher()
    world.clock.set("2026-10-28 09:00")
    for seconds in (0, 3601, 7201):
        world.clock.forward(seconds)
        world.kill_dispatcher()
        until("no digest to be due", lambda: one.status()["queue"]["queued"] == 0)
    until("no digest to be open", lambda: one.status()["queue"]["held"] == 0, 90)
    world.line.wait_drained(one)
    rows = [json.loads(text) for text in one.cli("replay", "--since", "2026-10-24T00:00:00Z", "--json", "--texts").stdout.splitlines()]
    sums = rows[-1]["rules"][0]
    assert {"rings": sums["messages"], **sums["not_sent"]} == world.noise()
    assert sorted(row["text"] for row in rows if row["what"] == "sent") == sorted(world.line.texts())
