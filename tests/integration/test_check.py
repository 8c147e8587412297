"""What is wrong with a configuration is told all at once, whoever finds it: the parser or the dispatcher."""
import subprocess

import pytest

from conftest import BIN

WHOLE = '''bridge "main" { url = "http://127.0.0.1:1/api" api_key_id = "x" api_key_secret = "y" }
provider "p" { type = log }
'''
RULE = 'rule "r" { when = "true" to = { "+48500500500" } message = "m" %s }\n'

MANY = WHOLE + '''language = polish
zone = "Europe/Warsow"
numbers { default_country = "48" }
prices {
  table = {
    "+48: 0,1",
    "49: 0.2"
  }
}
recipients "x" {
  to = { "+48500500500" }
  language = klingon
  zone = "Mars"
  quiet_hours = { "mo 22:00-7" }
  throttle = x
}
rule "a" {
  when = "tpe == 'x'"
  to = { x }
  message = "{{ foo }}"
  messages = {
    "pl: ok",
    "polish: {{ count }}",
    "de: {{ cont }}"
  }
  quiet_zone = "Nowhere"
  max_parts = 99
}
dispatcher {
  priority_weights = {
    "critical: 5",
    "norml: 3"
  }
}
'''

TOLD = [(3, "`language`: `polish`: expected a language"), (4, "did you mean `Europe/Warsaw`?"), (5, "`default_country`"),
        (8, "follow a point"), (9, "expected a prefix"), (14, "`language`: `klingon`"), (15, "`zone`: `Mars`"),
        (16, "did you mean `mon`?"), (17, "`throttle`: `x`"), (20, "did you mean 'type'?"), (22, "unknown name 'foo'"),
        (25, "`messages`: `polish"), (26, "did you mean 'count'?"), (28, "`quiet_zone`: `Nowhere`"), (29, "`max_parts`: `99`"),
        (34, 'did you mean "normal"?')]


@pytest.fixture
def check(tmp_path):
    def run(text):
        path = tmp_path / "some.conf"
        path.write_text(text)
        done = subprocess.run([BIN / "bridgebell", "check", "-c", path], capture_output=True, text=True, timeout=60)
        places = [line.split(":", 2)[1:] for line in done.stderr.splitlines() if line.startswith(str(path))]
        return done.returncode, [(int(line), text) for line, text in places]
    return run


def test_all_faults_come_at_once(check):
    code, faults = check(MANY)
    assert code == 1
    assert [line for line, _ in faults] == [line for line, _ in TOLD]
    for (_, text), (_, expected) in zip(faults, TOLD):
        assert expected in text


MISMATCHED = WHOLE + '''recipients "x" { to = { recovered } }
rule "a" {
  when = "type == 'x' &&
    author + 1 == 'y'"
  to = { x, "size(data)" }
  message = "{{ date(author) }}"
  messages = {
    "pl: {{ author }}",
    "de: {{ short(author, '5') }}"
  }
  dedupe_key = "author.name"
  throttle_key = "size(time)"
}
rule "b" { when = "author" to = { x } message = "m" }
'''

TYPES_TOLD = [(3, "recipients must be a string or a list of strings; this is a bool"),
              (6, "column 12: no such overload: + of a string or null and an int: convert one of them"),
              (7, "this is an int"), (8, "date() takes a timestamp; this is a string or null"), (11, "short() takes an int"),
              (13, "column 8: only a map has fields"), (14, "size() takes"),
              (16, "a condition must be a bool; this is a string or null: compare it")]


def test_what_always_fails_is_a_fault(check):
    code, faults = check(MISMATCHED)
    assert code == 1
    assert sorted(line for line, _ in faults) == [line for line, _ in TYPES_TOLD], faults
    for (_, text), (_, expected) in zip(sorted(faults), TYPES_TOLD):
        assert expected in text


def test_faults_of_secrets_come_with_the_others(check):
    lost = WHOLE.replace('api_key_secret = "y"', 'api_key_secret_file = "lost.secret"')
    code, faults = check(lost + "log { levle = info }\n" + RULE % 'quiet_zone = "Nope"')
    assert code == 1
    assert [line for line, _ in faults] == [1, 3, 4], faults
    assert "`api_key_secret_file`" in faults[0][1] and "No such file" in faults[0][1]


def test_a_draft_is_not_blamed_for_what_it_lacks(check):
    """The provider and the group are there; that they are faulty is told once."""
    code, faults = check('bridge "main" { url = "http://127.0.0.1:1/api" api_key_id = "x" api_key_secret = "y" }\n'
                         'provider "p" { }\nprovider "q" { type = smsapi tokn = "t" }\nrecipients "g" { too = { "+48500500500" } }\n'
                         'rule "r" { when = "true" to = { g } message = "m" provider = p }\n')
    assert code == 1
    assert [line for line, _ in faults] == [2, 3, 4], faults


def test_a_language_is_a_tag(check):
    for tag in ("pl", "en-GB", "pt_BR", "hsb", "de_AT.UTF-8"):
        assert check(WHOLE + f'language = "{tag}"\n' + RULE % f'messages = {{ "{tag}: x" }}')[0] == 0, tag
    for tag in ("polish", "p", "pl-", "12"):
        assert check(WHOLE + RULE % f'messages = {{ "{tag}: x" }}')[0] == 1, tag


def test_a_budget_of_money_needs_prices(check):
    text = WHOLE + "limits { money_per_month = 4 }\n" + RULE % 'money_per_day = "5"'
    assert [line for line, _ in check(text)[1]] == [3, 4]
    assert check(text + 'prices { table = { "+48: 0.1" } }\n') == (0, [])


@pytest.mark.parametrize("words", [["help"], ["help", "queue"], ["--version"], ["reference"], ["check", "-c", "fine.conf"],
                                   ["eval", "1"], ["eval", "-h"]], ids=" ".join)
def test_what_cannot_be_printed_is_an_error(tmp_path, words):
    (tmp_path / "fine.conf").write_text(WHOLE + RULE % "")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BIN / "bridgebell", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                              timeout=60, check=False)
    assert done.returncode == 1, done.stderr


def test_a_reload_tells_all_faults_too(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    good = one.config.read_text()
    one.config.write_text(good + RULE % 'digest = 2x quiet_zone = "Nope" messages = { "polish: x" }')
    done = one.cli("reload", check=False)
    assert done.returncode == 1
    for word in ("`digest`: `2x`", "`quiet_zone`: `Nope`", "`messages`: `polish: x`", "stays in force"):
        assert word in done.stderr, done.stderr
    one.config.write_text(good + "rule {")
    done = one.cli("reload", check=False)
    assert done.returncode == 1 and "stays in force" in done.stderr
    one.config.write_text(good)
    assert one.cli("reload").returncode == 0
    world.bridge.message()
    world.provider.wait_accepted(1)
