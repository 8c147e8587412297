"""Noise control with the real programs: what rings, what does not, why, and that it all survives a kill -9."""
import json
import os
import re

import pytest

from clock import Clock
from conftest import until
from line import NUMBER, OTHER

WANTED = "type == 'threadNewMessage'"


def rule(name="lorem", more="", when=WANTED, to=f'"{NUMBER}"', message="m {{ data.publicMeta.n }}"):
    return f'rule "{name}" {{ when = "{when}" to = {{ {to} }} message = "{message}" {more} }}\n'


class World:
    """The line, a clock, and words for what tests ask."""

    def __init__(self, line, bell, directory):
        self.line = line()
        self.bridge, self.provider = self.line.bridge, self.line.provider
        self.clock = Clock(directory, self.bridge)
        self.bell = bell
        self.one = None
        self.said = 0

    def start(self, rules, at=None, more=""):
        if at:
            self.clock.set(at)
        self.one = self.bell(self.line.config(rules=rules, more=more)).start(env=self.clock.env)
        self.line.subscribed()
        return self.one

    def say(self, count=1, **members):
        """Messages 0, 1, 2 … in the thread."""
        for _ in range(count):
            self.bridge.message(publicMeta={"n": self.said}, **members)
            self.said += 1

    def noise(self, rule_name="lorem"):
        """Messages by what became of them, and those that ring."""
        return {row["why"]: row["messages"] for row in self.one.status()["noise"]
                if row["rule"] == rule_name and row["messages"]}

    def wait_noise(self, expected, rule_name="lorem"):
        """Until exactly so many messages of the rule came to these ends."""
        try:
            until(f"{rule_name} to come to {expected}", lambda: self.noise(rule_name) == expected)
        except pytest.fail.Exception:
            pytest.fail(f"{rule_name} came to {self.noise(rule_name)}, not {expected}")

    def texts(self, count):
        """The texts of the accepted messages once there are COUNT and nothing is on its way."""
        self.provider.wait_accepted(count)
        self.line.wait_drained(self.one)
        texts = self.line.texts()
        assert len(texts) == count, texts
        return texts

    def jobs(self, state):
        return json.loads(self.one.cli("queue", "ls", "--state", state, "--json").stdout)["jobs"]

    def kill_dispatcher(self):
        pid = self.one.child("dispatcher")
        os.kill(pid, 9)
        until("another dispatcher", lambda: self.one.child("dispatcher") != pid)
        until("its answer", lambda: self.one.status().get("noise") is not None)
        self.line.subscribed()


@pytest.fixture
def world(line, bell, tmp_path):
    return World(line, bell, tmp_path)


# ---- silences and opt-outs ----

def test_a_silence_holds_survives_and_ends(world):
    one = world.start(rule() + rule("other", "priority = critical"))
    one.cli("silence", "add", "rule == 'lorem' && priority == 'normal' && author != 'boss'", "--for", "2h")
    world.say(2)
    world.wait_noise({"silence": 2})
    world.wait_noise({"rings": 2}, "other")
    assert {job["reason"] for job in world.jobs("suppressed")} == {"silence 1"}
    one.stop()
    one.start(env=world.clock.env)
    world.line.subscribed()
    world.say()
    world.wait_noise({"silence": 3})
    one.kill_everything()
    one.start(env=world.clock.env)
    world.line.subscribed()
    world.say()
    world.wait_noise({"silence": 4})
    assert one.status()["silences"][0]["matched"] == 1
    assert re.search(r"SILENCES\n.*\n +1 +1h5\dm +1 ", one.cli("status").stdout)
    world.say(author="boss")
    world.wait_noise({"silence": 4, "rings": 1})
    one.cli("silence", "expire", "1")
    world.say()
    world.wait_noise({"silence": 4, "rings": 2})
    metrics = one.http("/metrics")[1]
    assert 'bridgebell_messages_decided_total{why="silence"} 4\n' in metrics


def test_a_silence_ends_by_itself(world):
    one = world.start(rule(), at="2026-11-27 12:00")
    one.cli("silence", "add", "true", "--for", "1h")
    world.say()
    world.wait_noise({"silence": 1})
    world.clock.forward(3601)
    assert world.one.cli("silence", "ls").stdout == "no silences\n"
    world.say()
    assert world.texts(1) == ["m 1"]
    assert world.noise() == {"silence": 1, "rings": 1}


def test_a_silence_that_cannot_match_is_doubted(world):
    one = world.start(rule())

    def doubt(when):
        done = one.cli("silence", "add", when, "--for", "1h")
        assert done.stdout.startswith("silence ")
        return done.stderr
    assert doubt("rule == 'lorm'") == 'bridgebell: there is no rule "lorm"; did you mean "lorem"?\n'
    assert doubt("author == 'x' && rule in ['other', 'none']").startswith('bridgebell: there is no rule "')
    assert doubt("priority == 'kritical'") == 'bridgebell: there is no priority "kritical"; did you mean "critical"?\n'
    for fine in ("rule in ['none', 'lorem']", "rule != 'none'", "rule.startsWith('x')", "priority != 'bulk'"):
        one.cli("silence", "expire", one.cli("silence", "add", f"author == 'y' && ({fine})", "--for", "1h").stdout.split()[1])
        assert doubt(f"author == 'y' && ({fine})") == ""
    # One that fails is counted.
    doubt("data.no.such.field == 1")
    world.say()
    world.wait_noise({"rings": 1})
    shown = json.loads(one.cli("silence", "ls", "--json").stdout)["silences"]
    assert [s["failed"] for s in shown if "such" in s["when"]] == [1]


def test_who_has_opted_out_does_not_ring(world):
    one = world.start(rule(to=f'"{NUMBER}", "{OTHER}"'))
    one.cli("optout", "add", OTHER)
    world.say()
    world.texts(1)
    assert world.provider.messages()[0]["number"] == NUMBER.strip("+")
    world.kill_dispatcher()
    world.say()
    world.texts(2)
    world.wait_noise({"rings": 2, "opted out": 2})
    assert {job["reason"] for job in world.jobs("suppressed")} == {"the person has opted out"}
    one.cli("optout", "rm", OTHER)
    world.say()
    world.texts(4)


def test_what_waits_for_one_who_opts_out_is_cancelled(world):
    one = world.start(rule(to=f'"{NUMBER}", "{OTHER}"'))
    one.cli("pause")
    world.say(3)
    world.wait_noise({"rings": 6})
    own = one.cli("send", "--to", OTHER, "--message", "from a person").stdout.split()[0]
    assert one.cli("optout", "add", OTHER).stdout == "1 number opted out; 1 in all\n3 jobs for them cancelled\n"
    cancelled = world.jobs("cancelled")
    assert [job["reason"] for job in cancelled] == ["cancelled because the person has opted out"] * 3
    one.cli("resume")
    assert sorted(world.texts(4)) == ["from a person", "m 0", "m 1", "m 2"]
    assert one.cli("queue", "show", own).returncode == 0


# ---- quiet hours ----

NIGHT = 'quiet_hours = { "22:00-07:00" } quiet_zone = "Europe/Warsaw"'


def test_quiet_hours_hold_and_sum_up(world):
    one = world.start(rule(more=NIGHT) + rule("loud", NIGHT + " priority = critical", message="loud"),
                      at="2026-11-27 22:30")
    world.say(3)
    world.wait_noise({"quiet hours": 3})
    world.wait_noise({"rings": 3}, "loud")
    assert world.texts(3) == ["loud"] * 3
    assert [job["state"] for job in world.jobs("merged")] == ["merged"] * 3
    held = world.jobs("held")
    assert len(held) == 1 and held[0]["rule"] == "lorem"
    # What is held is on disk; before the end of the night it stays there.
    world.clock.set("2026-11-28 05:50")
    world.kill_dispatcher()
    assert len(world.jobs("held")) == 1
    world.say()
    world.wait_noise({"quiet hours": 4})
    world.clock.set("2026-11-28 06:01")
    world.kill_dispatcher()
    texts = world.texts(5)
    assert [t for t in texts if "loud" not in t] == \
        ["4 messages in quiet hours since 27.11. 22:30. Latest: m 3"]
    world.say()
    assert world.texts(7)[-2:] in (["m 4", "loud"], ["loud", "m 4"])
    assert one.status()["queue"]["held"] == 0


def test_quiet_hours_of_a_night_in_which_clocks_change(world):
    # 2026-10-25 in Warsaw: 07:00 is an hour later by the clock of the world.
    world.start(rule(more=NIGHT), at="2026-10-24 21:00")
    world.say()
    world.wait_noise({"quiet hours": 1})
    world.clock.set("2026-10-25 05:30")
    world.kill_dispatcher()
    assert len(world.jobs("held")) == 1, "it is 06:30 in Warsaw"
    world.clock.set("2026-10-25 06:01")
    world.kill_dispatcher()
    assert world.texts(1) == ["m 0"]


def test_quiet_hours_of_people_drop_and_pass(world):
    more = (f'recipients "night" {{ to = {{ "{NUMBER}" }} zone = "Asia/Tokyo" quiet_hours = {{ "mon-fri 00:00-06:00" }} '
            'quiet_action = drop quiet_pass = normal }\n')
    world.start(rule(to="night") + rule("bulk", "priority = bulk", to="night", message="bulk"),
                at="2026-11-26 18:00", more=more)  # Friday 03:00 in Tokyo
    world.say()
    world.wait_noise({"rings": 1})
    world.wait_noise({"quiet hours": 1}, "bulk")
    assert world.texts(1) == ["m 0"]
    assert [job["reason"] for job in world.jobs("suppressed")] == ["quiet hours"]
    world.clock.set("2026-11-27 18:00")  # Saturday
    world.say()
    assert sorted(world.texts(3)[1:]) == ["bulk", "m 1"]


# ---- what comes too often ----

def test_the_same_rings_once(world):
    world.start(rule(more="dedupe = 10m", message="same") +
                rule("key", 'dedupe = 10m dedupe_key = "author"', message="from {{ author }} {{ data.publicMeta.n }}"),
                at="2026-11-27 12:00")
    world.say(2, author="a")
    world.say(1, author="b")
    world.wait_noise({"rings": 1, "duplicate": 2})
    world.wait_noise({"rings": 2, "duplicate": 1}, "key")
    assert sorted(world.texts(3)) == ["from a 0", "from b 2", "same"]
    world.kill_dispatcher()
    world.say(1, author="a")
    world.wait_noise({"rings": 1, "duplicate": 3})
    world.clock.forward(601)
    world.say(1, author="a")
    world.wait_noise({"rings": 2, "duplicate": 3})
    world.wait_noise({"rings": 3, "duplicate": 2}, "key")


def test_throttle_with_several_buckets(world):
    world.start(rule(more='throttle = "2/min, 3/h"') +
                rule("whole", 'throttle = "2/min" throttle_per = rule', to=f'"{NUMBER}", "{OTHER}"', message="whole") +
                rule("by key", 'throttle = "1/h" throttle_key = "author"', message="by {{ author }}"),
                at="2026-11-27 12:00")
    world.say(4, author="a")
    world.say(1, author="b")
    world.wait_noise({"rings": 2, "throttle": 3})
    world.wait_noise({"rings": 4, "throttle": 6}, "whole")
    world.wait_noise({"rings": 2, "throttle": 3}, "by key")
    assert sorted(world.texts(8)) == ["by a", "by b", "m 0", "m 1"] + ["whole"] * 4
    reasons = {(job["rule"], job["reason"]) for job in world.jobs("suppressed")}
    assert reasons == {("lorem", "throttle: 2/min to one recipient"), ("whole", "throttle: 2/min for the rule"),
                       ("by key", "throttle: 1/h to one recipient")}
    world.kill_dispatcher()
    world.say(1, author="a")
    world.wait_noise({"rings": 2, "throttle": 4})
    world.clock.forward(61)
    world.say(2, author="a")
    world.wait_noise({"rings": 3, "throttle": 5})
    assert "throttle: 3/h to one recipient" in {job["reason"] for job in world.jobs("suppressed")}
    world.clock.forward(61)
    world.say(1, author="a")
    world.wait_noise({"rings": 3, "throttle": 6})
    world.clock.forward(3600)
    world.say(1, author="a")
    world.wait_noise({"rings": 4, "throttle": 6})


def test_throttle_of_a_person_over_rules(world):
    more = f'recipients "staff" {{ to = {{ "{NUMBER}", "{OTHER}" }} throttle = "3/h" }}\n'
    per_person = 'throttle = "4/h" throttle_per = person'
    world.start(rule("a", per_person, message="a") + rule("b", per_person, message="b") +
                rule("c", to="staff", message="c") + rule("d", to="staff", message="d"), more=more)
    world.say(5)
    until("all to be decided", lambda: sum(sum(world.noise(r).values()) for r in "abcd") == 30)
    rings = {r: world.noise(r)["rings"] for r in "abcd" if "rings" in world.noise(r)}
    assert rings.get("a", 0) + rings.get("b", 0) == 4
    assert rings.get("c", 0) + rings.get("d", 0) == 6
    world.texts(10)
    reasons = {job["reason"] for job in world.jobs("suppressed")}
    assert reasons == {"throttle: 4/h to one person", "throttle: 3/h to this person"}


def test_a_digest_survives(world):
    message = "{{ count }} in {{ rule }}: {{ texts[0] }}, {{ texts[1] }}"
    world.start(rule(more=f'digest = 15m digest_message = "{message}"'), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    world.kill_dispatcher()
    world.say(2)
    world.wait_noise({"digest": 4})
    assert world.line.texts() == [] and len(world.jobs("held")) == 1
    world.one.kill_everything()
    world.clock.forward(901)
    world.one.start(env=world.clock.env)
    assert world.texts(1) == ["4 in lorem: m 3, m 2"]
    assert len(world.jobs("merged")) == 4
    # The next event opens the next one.
    world.line.subscribed()
    world.say()
    world.wait_noise({"digest": 5, "rings": 1})
    assert len(world.jobs("held")) == 1
    world.one.cli("reload")
    world.clock.forward(901)
    world.kill_dispatcher()
    world.texts(2)


def test_a_storm_ends_in_one_message(world):
    world.start(rule(more='storm = "3/min"'), at="2026-11-27 12:00")
    world.say(10)
    world.wait_noise({"rings": 3, "storm": 7})
    assert sorted(world.texts(3)) == ["m 0", "m 1", "m 2"]
    world.kill_dispatcher()
    world.clock.forward(61)
    world.kill_dispatcher()
    assert world.texts(4)[3] == "lorem: and 7 more. Latest: m 9"
    world.say()
    assert world.texts(5)[4] == "m 10"


def test_after_an_outage_old_events_are_one_message(world):
    one = world.start(rule(more="max_age = 30m"), at="2026-11-27 12:00")
    world.say()
    assert world.texts(1) == ["m 0"]
    until("the mark", lambda: one.status()["bridges"][0].get("mark_ms", 0) > 0)
    one.stop()
    world.clock.forward(60)
    world.say(5)
    world.clock.forward(3 * 3600)
    world.say()
    one.start(env=world.clock.env)
    world.wait_noise({"rings": 2, "stale": 5})
    assert world.texts(2)[1] == "m 6"
    world.clock.forward(120)
    world.kill_dispatcher()
    assert re.fullmatch(r"lorem: 5 older messages, 27\.11\. 12:0\d to 27\.11\. 12:0\d\. Latest: m \d", world.texts(3)[2])


# ---- digests in trouble ----

def test_a_digest_rings_once_whatever_is_killed_while_it_closes(world):
    people = ", ".join(f'"+485005007{n:02d}"' for n in range(20))
    world.start(rule(more="digest = 1m", to=people), at="2026-11-27 12:00")
    world.say(3)
    world.wait_noise({"digest": 60})
    world.clock.forward(61)
    for _ in range(6):
        world.kill_dispatcher()
    texts = world.texts(20)
    assert set(texts) == {"lorem: 3 messages since 12:00. Latest: m 2"}
    assert len({m["number"] for m in world.provider.messages()}) == 20
    world.wait_noise({"digest": 60, "rings": 20})


def test_digests_follow_the_clock(world):
    world.start(rule(more="digest = 2h"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    world.clock.forward(7201)
    assert world.texts(1) == ["lorem: 2 messages since 12:00. Latest: m 1"]


def test_what_is_held_says_until_when(world):
    one = world.start(rule(more="digest = 2h"), at="2026-11-27 12:00")
    world.say()
    world.wait_noise({"digest": 1})
    world.clock.forward(3600)
    held = world.jobs("held")
    assert 3500000 < held[0]["due_in_ms"] <= 3600000
    assert re.search(r" (59m\d\ds|1h00m) ", one.cli("queue", "ls", "--state", "held").stdout)
    tried = one.cli("explain", world.jobs("merged")[0]["id"]).stdout
    assert re.search(rf"joins digest {held[0]['id'][:10]}, which closes at 2026-11-27T14:00:", tried)


def test_digests_that_wait_for_room_become_one(world):
    world.start(rule(more='digest = 1m throttle = "1/h"'), at="2026-11-27 12:00")
    for n in range(4):
        world.say(2)
        world.wait_noise({"digest": 2 * n + 2, **({"rings": 1} if n else {})})
        world.clock.forward(61)
        if n == 0:
            world.texts(1)
    world.kill_dispatcher()
    assert len(world.jobs("held")) == 1
    world.clock.forward(3600)
    assert re.fullmatch(r"lorem: 6 messages since 12:0\d\. Latest: m 7", world.texts(2)[1])
    assert world.one.status()["queue"]["held"] == 0


def test_what_quiet_hours_hold_comes_when_they_are_taken_out(world):
    more = f'recipients "night" {{ to = {{ "{NUMBER}" }} quiet_hours = {{ "20:00-08:00" }} }}\n'
    one = world.start(rule(more=NIGHT) + rule("person", to="night", message="person {{ data.publicMeta.n }}") +
                      rule("stays", NIGHT, message="stays") + rule("gone", NIGHT, message="gone"),
                      at="2026-11-27 22:30", more=more)
    world.say(2)
    for name in ("lorem", "person", "stays", "gone"):
        world.wait_noise({"quiet hours": 2}, name)
    one.write(world.line.config(rules=rule() + rule("person", to="night") +
                                rule("stays", NIGHT.replace("07:00", "06:00"), message="stays"),
                                more=f'recipients "night" {{ to = {{ "{NUMBER}" }} }}\n'))
    one.cli("reload")
    assert sorted(world.texts(2)) == ["2 messages in quiet hours since 27.11. 22:30. Latest: m 1",
                                      "2 messages in quiet hours since 27.11. 22:30. Latest: person 1"]
    assert sorted(job["rule"] for job in world.jobs("held")) == ["gone", "stays"]
    world.clock.set("2026-11-28 05:01")
    assert world.texts(3)[2] == "2 messages in quiet hours since 27.11. 22:30. Latest: stays"
    world.clock.set("2026-11-28 06:01")
    assert world.texts(4)[3] == "2 messages in quiet hours since 27.11. 22:30. Latest: gone"


def test_a_digest_leaves_by_a_provider_that_was_renamed(world):
    one = world.start(rule(more="digest = 15m") + rule("gone", "digest = 15m", message="gone"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    world.wait_noise({"digest": 2}, "gone")
    one.write(world.line.config(rules=rule(more="digest = 15m")).replace('provider "smsapi"', 'provider "other"'))
    one.cli("reload")
    world.clock.forward(901)
    assert sorted(world.texts(2)) == ["gone: 2 messages since 12:00. Latest: gone", "lorem: 2 messages since 12:00. Latest: m 1"]


def test_summaries_are_in_the_language_of_the_person(world):
    more = (f'recipients "pl" {{ to = {{ "{NUMBER}" }} language = pl zone = "Europe/Warsaw" }}\n'
            f'recipients "de" {{ to = {{ "{OTHER}" }} language = de zone = "Europe/Berlin" }}\n'
            'summaries { storm = { "de: und {{ count }} weitere von {{ rule }}" } }\n')
    world.start(rule(more='storm = "2/min" digest_messages = { "de: x" }', to="pl, de", message="m"), at="2026-11-27 12:00", more=more)
    world.say(24)
    world.wait_noise({"rings": 4, "storm": 44})
    world.clock.forward(61)
    assert sorted(world.texts(6)[4:]) == ["lorem: i jeszcze 22. Ostatnia: m", "und 22 weitere von lorem"]


def test_the_quiet_hours_of_a_rule_count_instead_of_the_persons(world):
    more = (f'recipients "night" {{ to = {{ "{NUMBER}" }} zone = "UTC" quiet_hours = {{ "20:00-08:00" }} }}\n')
    world.start(rule(to="night", message="by the person") +
                rule("own", 'quiet_hours = { "22:00-23:00" } quiet_action = drop', to="night", message="by the rule"),
                at="2026-11-27 21:00", more=more)
    world.say()
    world.wait_noise({"quiet hours": 1})
    world.wait_noise({"rings": 1}, "own")
    world.clock.set("2026-11-27 22:30")
    world.say()
    world.wait_noise({"quiet hours": 1, "rings": 1}, "own")
    world.clock.set("2026-11-28 08:01")
    world.kill_dispatcher()
    assert sorted(world.texts(2)) == ["2 messages in quiet hours since 27.11. 21:00. Latest: by the person", "by the rule"]


def test_the_quiet_hours_of_a_person_give_one_summary_of_all_rules(world):
    more = (f'recipients "night" {{ to = {{ "{NUMBER}" }} zone = "Europe/Warsaw" quiet_hours = {{ "20:00-08:00" }} }}\n')
    world.start(rule(to="night") + rule("other", to="night", message="other"), at="2026-11-27 21:00", more=more)
    world.say(2)
    world.wait_noise({"quiet hours": 2})
    world.wait_noise({"quiet hours": 2}, "other")
    world.clock.set("2026-11-28 07:01")
    world.kill_dispatcher()
    assert re.match(r"4 messages in quiet hours since 27\.11\. 22:00\. Latest: ", world.texts(1)[0])


def test_a_digest_has_keys_and_waits_for_the_morning(world):
    world.start(rule(more=f'digest = 2h digest_key = "author" {NIGHT}'), at="2026-11-27 20:30")  # 21:30 in Warsaw
    world.say(2, author="a")
    world.say(1, author="b")
    world.wait_noise({"digest": 3})
    assert len(world.jobs("held")) == 2
    # It would be due at night: it is due when the night ends.
    world.clock.set("2026-11-28 02:00")
    world.kill_dispatcher()
    assert len(world.jobs("held")) == 2
    world.clock.set("2026-11-28 06:01")
    world.kill_dispatcher()
    assert sorted(world.texts(2)) == ["lorem: 2 messages since 20:30. Latest: m 1", "m 2"]


def test_a_digest_whose_rule_is_gone_rings_all_the_same(world):
    one = world.start(rule(more="digest = 15m") + rule("stays", when="false"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    one.write(world.line.config(rules=rule("stays", when="false")))
    one.cli("reload")
    world.clock.forward(901)
    world.kill_dispatcher()
    assert world.texts(1) == ["lorem: 2 messages since 12:00. Latest: m 1"]


def test_a_digest_keeps_to_its_recipients_block_in_another_configuration(world):
    staff = f'recipients "staff" {{ to = {{ "{NUMBER}" }} quiet_hours = {{ "22:00-07:00" }} }}\n'
    others = f'recipients "{{}}" {{{{ to = {{{{ "{OTHER}" }}}} }}}}\n'
    one = world.start(rule(more="digest = 2h", to="staff"), at="2026-11-27 19:30", more=staff)
    world.say(2)
    world.wait_noise({"digest": 2})
    # Its place in the file is another one, and the quiet hours begin earlier.
    one.write(world.line.config(rules=rule(more="digest = 2h", to="staff"), more=others.format("a") + others.format("b") +
                                staff.replace("22:00", "21:00")))
    one.cli("reload")
    world.clock.set("2026-11-27 21:31")
    world.kill_dispatcher()
    assert len(world.jobs("held")) == 1
    world.clock.set("2026-11-28 07:01")
    world.kill_dispatcher()
    assert world.texts(1) == ["lorem: 2 messages since 19:30. Latest: m 1"]


def test_a_digest_of_somebody_who_opts_out(world):
    one = world.start(rule(more="digest = 15m"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    one.cli("optout", "add", NUMBER)
    world.clock.forward(901)
    world.kill_dispatcher()
    world.wait_noise({"digest": 2, "opted out": 1})
    assert one.status()["queue"]["held"] == 0 and world.line.texts() == []


def test_a_digest_that_is_cancelled(world):
    one = world.start(rule(more="digest = 15m"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    assert "1 job cancelled" in one.cli("queue", "cancel", "--state", "held").stdout
    world.say()
    world.wait_noise({"digest": 3})
    world.clock.forward(901)
    world.kill_dispatcher()
    assert world.texts(1) == ["m 2"]


def test_a_digest_obeys_caps(world):
    world.start(rule(more="digest = 1m caps = \"1/h\""), at="2026-11-27 12:00")
    world.say()
    world.wait_noise({"digest": 1})
    world.clock.forward(61)
    world.kill_dispatcher()
    assert world.texts(1) == ["m 0"]
    world.say(2)
    world.wait_noise({"digest": 3, "rings": 1})
    world.clock.forward(61)
    world.kill_dispatcher()
    until("the digest to be put off", lambda: len(world.jobs("held")) == 1)
    world.clock.forward(3600)
    world.kill_dispatcher()
    assert world.texts(2)[1].startswith("lorem: 2 messages since 12:0")


def test_a_digest_of_a_shadow_rule(world):
    one = world.start(rule(more="digest = 15m mode = shadow"), at="2026-11-27 12:00")
    world.say(2)
    world.wait_noise({"digest": 2})
    world.clock.forward(901)
    world.kill_dispatcher()
    world.wait_noise({"digest": 2, "shadow": 1})
    assert one.status()["queue"]["held"] == 0 and world.line.texts() == []


# ---- budgets and caps ----

def test_a_budget_warns_then_collects_then_leaves_the_critical(world):
    one = world.start(rule(more="sms_per_day = 10") + rule("alarm", "priority = critical", message="alarm"),
                      at="2026-11-27 12:00", more="limits { warn_at = 50 digest_at = 80 }\n")
    world.say(4)
    world.wait_noise({"rings": 4})
    assert one.status()["budget_warnings"] == []
    world.say(1)
    until("the warning", lambda: one.status()["budget_warnings"])
    warning = one.status()["budget_warnings"][0]
    assert warning["used"] == 5 and warning["limit"] == 10 and warning["budget"].startswith("messages a day, rule lorem, ")
    one.wait_log("a budget is nearly spent")
    assert "50% of a budget is spent: messages a day, rule lorem" in one.cli("status").stdout
    world.kill_dispatcher()
    world.say(1)
    until("the warning again", lambda: [w["used"] for w in one.status()["budget_warnings"]] == [6])
    world.say(9)
    world.wait_noise({"rings": 7, "budget": 8})
    world.wait_noise({"rings": 15}, "alarm")
    world.clock.forward(3601)
    world.kill_dispatcher()
    world.wait_noise({"rings": 8, "budget": 8})
    assert "lorem: 8 messages, collected to save the budget. Latest: m 14" in world.texts(23)
    # A new day, a new budget.
    world.clock.set("2026-11-28 00:01")
    world.say()
    world.wait_noise({"rings": 9, "budget": 8})


def test_the_budget_of_all(world):
    more = ('limits { sms_per_day = 6 digest_at = 100 }\n'
            'prices { table = { "+48: 0.10", "*: 0.50" } }\n')
    one = world.start(rule() + rule("alarm", "priority = critical", message="alarm"), at="2026-11-27 12:00", more=more)
    world.say(5)
    until("all to be decided", lambda: sum(world.noise().values()) == 5)
    noise = world.noise()
    assert world.noise("alarm") == {"rings": 5}
    assert noise["rings"] <= 3 and noise["budget"] == 5 - noise["rings"]
    one.wait_log("messages are held back")
    assert re.search(r'why=budget limit="messages a day, in all, 2026-11-27"', one.log_text())
    priced = [row for row in one.status()["noise"] if row["rule"] == "alarm" and row["why"] == "rings"]
    assert priced[0]["price"] == pytest.approx(0.5) and one.status()["currency"] == "PLN"


def test_budgets_of_money_and_of_people(world):
    more = ('limits { digest_at = 100 }\nprices { table = { "+48: 0.10" } }\n'
            f'recipients "staff" {{ to = {{ "{NUMBER}", "{OTHER}" }} sms_per_month = 2 }}\n')
    one = world.start(rule("money", 'money_per_day = "0.35"', message="{{ data.publicMeta.n }} " + "x" * 170) +
                      rule("people", to="staff", message="p"), at="2026-11-30 12:00", more=more)
    world.say(3)  # two parts each
    world.wait_noise({"rings": 1, "budget": 2}, "money")
    world.wait_noise({"rings": 4, "budget": 2}, "people")
    assert {job["reason"] for job in world.jobs("suppressed")} == {
        "budget: money a day, rule money, 2026-11-30", "budget: messages a month, one person, 2026-11"}
    row = [r for r in one.status()["noise"] if r["rule"] == "money" and r["why"] == "rings"][0]
    assert row["parts"] == 2 and row["price"] == pytest.approx(0.2)
    world.kill_dispatcher()
    world.say()
    world.wait_noise({"rings": 1, "budget": 3}, "money")
    world.clock.set("2026-12-01 00:01")
    world.say()
    world.wait_noise({"rings": 2, "budget": 3}, "money")
    world.wait_noise({"rings": 6, "budget": 4}, "people")


def test_what_a_person_sends_counts_and_is_never_refused(world):
    more = ('limits { sms_per_day = 3 warn_at = 50 digest_at = 100 }\nprices { table = { "+48: 0.10" } }\n'
            'numbers { default_country = "+48" }\n')
    one = world.start(rule(), at="2026-11-27 12:00", more=more)
    one.cli("optout", "add", OTHER)
    one.cli("send", "--to", "500 500 500", "--to", OTHER, "--message", "x" * 170)
    until("the warning", lambda: [w["used"] for w in one.status()["budget_warnings"]] == [2])
    world.say(2)
    world.wait_noise({"rings": 1, "budget": 1})
    one.cli("send", "--to", NUMBER, "--message", "one more")
    world.wait_noise({"rings": 3}, "(send)")
    row = [r for r in one.status()["noise"] if r["rule"] == "(send)"][0]
    assert row["parts"] == 5 and row["price"] == pytest.approx(0.5)
    assert sorted(world.texts(4)) == ["m 0", "one more", "x" * 170, "x" * 170]
    assert one.cli("send", "--to", "48500500500", "--message", "x", check=False).returncode == 1


def test_the_day_of_a_budget_is_local(world):
    world.start('zone = "Europe/Warsaw"\n' + rule(more="sms_per_day = 1"), at="2026-11-27 22:30",
                more="limits { digest_at = 100 }\n")
    world.say(2)
    world.wait_noise({"rings": 1, "budget": 1})
    world.clock.set("2026-11-27 23:01")  # midnight in Warsaw
    world.say(2)
    world.wait_noise({"rings": 2, "budget": 2})


def test_a_rule_that_says_nothing_has_caps_that_are_named(world):
    one = world.start(rule())
    world.bridge.bulk(100, rate=0, share=1, publicMeta={"n": 1})
    world.wait_noise({"rings": 60, "caps": 40})
    one.wait_log("messages are held back")
    assert 'limit="60/h to one person from the rule (caps)"' in one.log_text()
    assert NUMBER not in one.log_text()
    assert {job["reason"] for job in world.jobs("suppressed")} == {"caps: 60/h to one person from the rule (caps)"}
    world.texts(60)


def test_a_person_has_a_cap_over_all_rules(world):
    rules = "".join(rule(f"r{n}") for n in range(4))
    one = world.start(rules)
    world.bridge.bulk(50, rate=0, share=1, publicMeta={"n": 1})
    until("all to be decided", lambda: sum(sum(world.noise(f"r{n}").values()) for n in range(4)) == 200)
    assert sum(world.noise(f"r{n}")["rings"] for n in range(4)) == 120
    one.wait_log("120/h to one person (person_caps)")


def test_suppressed_beyond_a_number_are_counted_only(world):
    world.start(rule())
    world.bridge.bulk(400, rate=0, share=1, publicMeta={"n": 1})
    world.wait_noise({"rings": 60, "caps": 340})
    rows = json.loads(world.one.cli("queue", "ls", "--state", "suppressed", "--limit", "1000", "--json").stdout)["jobs"]
    assert len(rows) == 100


# ---- shadow ----

def test_a_shadow_rule_does_everything_but_send(world):
    more = 'prices { table = { "+48: 0.10", "*: 0.50" } }\n'
    one = world.start(rule() + rule("shadow", 'mode = shadow throttle = "3/h"'), at="2026-11-27 12:00", more=more)
    world.say(5)
    world.wait_noise({"rings": 5})
    world.wait_noise({"shadow": 3, "throttle": 2}, "shadow")
    world.texts(5)
    row = [r for r in one.status()["noise"] if r["rule"] == "shadow" and r["why"] == "shadow"][0]
    assert row["parts"] == 3 and row["price"] == pytest.approx(0.3)
    assert {job["reason"] for job in world.jobs("suppressed") if job["rule"] == "shadow"} == \
        {"shadow", "throttle: 3/h to one recipient"}


def test_a_status_of_very_many_rules_says_what_it_leaves_out(world):
    one = world.start("".join(rule(f"r{n}", 'mode = shadow throttle = "1/h"') for n in range(510)), more="limits { person_caps = off }\n")
    world.say(3)

    def decided():
        status = one.status()
        return sum(row["messages"] for row in status["noise"]) + status["noise_left_out"]["messages"] == 3 * 510
    until("all to be decided", decided)
    status = one.status()
    assert len(status["noise"]) == 1000 and status["noise_left_out"]["rows"] == 20
    assert "  and 980 more; --json has some of them, /metrics the sums\n" in one.cli("status").stdout
