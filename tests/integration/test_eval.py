"""`bridgebell eval`: values as JSON, errors with a caret, events from a file and from standard input."""
import json
import subprocess

from conftest import BIN, LIMIT_S

EVENT = {"channel": "thread", "type": "threadNewMessage", "timestamp": 1700000000000,
         "data": {"id": "m1", "threadId": "t1", "contextId": "c1", "author": "ann", "users": ["ann", "bob"]}}


def run(*words, stdin=None):
    return subprocess.run([BIN / "bridgebell", "eval", *words], capture_output=True, text=True, input=stdin, timeout=LIMIT_S)


def value(*words, stdin=None):
    result = run(*words, stdin=stdin)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def error(*words):
    result = run(*words)
    assert result.returncode == 1
    assert result.stdout == ""
    return result.stderr


def test_values_are_json():
    assert value("[1, 2u, 1.5, 'zażółć', b'ab', null, {2: true}]") == [1, 2, 1.5, "zażółć", "YWI=", None, {"2": True}]
    assert run("2.0").stdout == "2.0\n"
    assert run("2").stdout == "2\n"
    assert value("1.0 / 0.0") == "Infinity"
    assert value("duration('1h') + duration('1ms')") == "3600.001s"
    assert value("type(type)") == "type"


def test_an_expression_may_look_like_an_option_and_have_lines():
    assert value("-5 + 3") == -2
    assert value("--5") == 5
    assert value("--", "-1") == -1
    assert value("'''a\nb''' // text\n == 'a\\nb'") is True


def test_errors_point_at_the_place():
    assert error("1 / 0") == "error: divide by zero\n"
    lines = error("1 == 1 &&\n tipe == 'a'").splitlines()
    assert lines[:3] == ["error: line 2, column 2: unknown name 'tipe': did you mean 'type'?", " tipe == 'a'", " ^"]
    lines = error("(type == 'a'").splitlines()
    assert lines[:3] == ["error: line 1, column 1: this '(' is not closed: ')' is missing", "(type == 'a'", "^"]
    assert error("channel == 'thread'").splitlines()[-1] == (
        "hint: the expression speaks of an event: give one with --event FILE")
    assert value("true || tipe == 'a'") is True
    for_messages = "hint: this can stand in a message only: \"bridgebell explain\" shows what a message becomes"
    assert error("plural(2, 'day', 'days')").splitlines()[-1] == for_messages
    assert error("count > 2").splitlines()[-1] == for_messages
    assert "hint" not in error("plurals(2)")


def test_events_from_a_file_and_from_standard_input(tmp_path):
    path = tmp_path / "event.json"
    path.write_text(json.dumps(EVENT))
    assert value("[channel, type, container, item, author, data.users[1], bridge]", "--event", path) == [
        "thread", "threadNewMessage", "t1", "m1", "ann", "bob", "main"]
    assert value("--event", "-", "type(time) == google.protobuf.Timestamp && 'bob' in data.users && !recovered",
                 stdin=json.dumps(EVENT)) is True
    assert value("bridge", "--bridge", "west", "--event", path) == "west"
    result = run("true", "--event", tmp_path / "none.json")
    assert result.returncode == 2 and "none.json: No such file or directory" in result.stderr
    path.write_text('"' + 16 * 1024 * 1024 * "x" + '"')
    result = run("true", "--event", path)
    assert result.returncode == 2 and "event.json: it is too long for an event" in result.stderr


def test_nothing_reaches_the_terminal_that_it_would_obey(tmp_path):
    path = tmp_path / "event.json"
    hidden = "\x1b[2J\x7f\x9b\u200e\u202e\u2066\u2028\n"
    path.write_text(json.dumps({**EVENT, "data": {"x": hidden + "ż"}}))
    shown = run("data.x", "--event", path).stdout
    assert shown[:-1].isprintable() and json.loads(shown) == hidden + "ż"
    result = run("data[data.x]", "--event", path)
    assert result.stderr == "error: no such key: '?[2J???????ż'\n"


def test_wrong_words_are_a_matter_of_usage():
    assert run().returncode == 2
    assert run("1", "2").returncode == 2
    assert run("1", "--event").returncode == 2
