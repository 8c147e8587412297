"""`bridgebell silence` and `bridgebell optout`: what they take, say, show and refuse, and that it all survives."""
import json
import os
import re
import stat

from conftest import until
from line import NUMBER, OTHER
from test_operating import config


def silences(one, *more):
    return json.loads(one.cli("silence", "ls", "--json", *more).stdout)["silences"]


def opt_outs(one):
    return json.loads(one.cli("optout", "ls", "--json").stdout)["opt_outs"]


def ask(one, request, door="control"):
    """One request over a command socket, as the command line would not send it."""
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(one.runtime / f"{door}.sock"))
        s.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(s.makefile().readline())


def test_a_silence_is_added_shown_and_ended(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    assert one.cli("silence", "ls").stdout == "no silences\n"
    said = one.cli("silence", "add", "author == 'importer'", "--for", "2h", "--comment", "data import").stdout
    assert re.fullmatch(r"silence 1 holds until \d{4}-\d\d-\d\d \d\d:\d\d \((2h00m|1h5\dm)\)\n", said), said
    done = one.cli("silence", "add", "rule == 'r' && priority != 'critical'", "--for", "1d", "--json")
    assert json.loads(done.stdout)["id"] == "2"
    shown = one.cli("silence", "ls").stdout.splitlines()
    assert shown[0].split() == ["id", "state", "until", "left", "matched", "failed", "by", "comment", "when"]
    assert "holds" in shown[1] and "data import" in shown[1] and "author == 'importer'" in shown[1]
    assert f"uid {os.getuid()}" in shown[1]
    held = silences(one)
    assert [s["id"] for s in held] == ["1", "2"] and held[0]["matched"] == 0
    assert [s["id"] for s in one.status()["silences"]] == ["1", "2"]
    assert "bridgebell_silences 2\n" in one.http("/metrics")[1]
    assert one.cli("silence", "expire", "1").stdout == "silence 1 has ended\n"
    assert [s["id"] for s in silences(one)] == ["2"]
    everything = silences(one, "--all")
    assert [(s["id"], s["state"]) for s in everything] == [("1", "ended"), ("2", "holds")]
    assert everything[0]["ended_by"] == f"uid {os.getuid()}"
    assert "a silence was added" in one.log_text() and "a silence was ended by hand" in one.log_text()
    # Ids are not given again.
    one.cli("silence", "expire", "2")
    assert "silence 3 " in one.cli("silence", "add", "true", "--for", "1m").stdout


def test_a_silence_that_is_to_come(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    said = one.cli("silence", "add", "true", "--from", "2199-01-01", "--for", "2h", check=False)
    assert said.returncode == 1 and "366 days" in said.stderr
    import datetime
    tomorrow = (datetime.datetime.now() + datetime.timedelta(days=1)).strftime("%Y-%m-%d")
    said = one.cli("silence", "add", "true", "--from", f"{tomorrow} 10:00", "--for", "2h").stdout
    assert f"holds from {tomorrow} 10:00 until {tomorrow} 12:00" in said
    assert silences(one)[0]["state"] == "to come"
    assert "bridgebell_silences 0\n" in one.http("/metrics")[1]


def test_what_makes_no_silence(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    cases = [
        (["authr == 'x'", "--for", "2h"], 1, ["line 1, column 1", "authr == 'x'\n^", "author"]),
        (["author", "--for", "2h"], 1, ["line 1, column 1: a condition must be a bool; this is a string or null", "author\n^"]),
        (["rule == 'x' && priority > 3", "--for", "2h"], 1, ["column 25: no such overload: > of a string and an int"]),
        (["rule = 'x'", "--for", "2h"], 1, ["column 6", "^"]),
        (["true"], 2, ["needs an end"]),
        (["true", "--for", "2h", "--until", "18:00"], 2, ["needs an end"]),
        (["true", "--for", "soon"], 2, ["not \"soon\""]),
        (["true", "--for", "0"], 2, ["not \"0\""]),
        (["true", "--until", "yesterday"], 2, ["not \"yesterday\""]),
        (["true", "--until", "2020-01-01"], 1, ["has passed already"]),
        (["true", "--for", "367d"], 1, ["366 days"]),
        (["rule", "==", "'x'", "--for", "2h"], 2, ["quote the expression"]),
        (["", "--for", "2h"], 1, ["no expression"]),
        (["true", "--for", "2h", "--comment", "x" * 1001], 1, ["comment is longer"]),
        (["x" * 8193, "--for", "2h"], 1, ["longer than 8192"]),
    ]
    for words, code, expected in cases:
        done = one.cli("silence", "add", *words, check=False)
        assert done.returncode == code, (words, done.stderr)
        for text in expected:
            assert text in done.stderr, (words, done.stderr)
    done = one.cli("silence", "expire", "1", check=False)
    assert done.returncode == 1 and "no such silence" in done.stderr and "silence ls" in done.stderr
    done = one.cli("silence", "lst", check=False)
    assert done.returncode == 2 and 'did you mean "ls"' in done.stderr
    one.cli("silence", "add", "true", "--for", "1m")
    one.cli("silence", "expire", "1")
    done = one.cli("silence", "expire", "1", check=False)
    assert done.returncode == 1 and "has ended already" in done.stderr
    assert silences(one) == []


def test_opt_outs(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    assert one.cli("optout", "ls").stdout == "no number has opted out\n"
    said = one.cli("optout", "add", NUMBER, "+48 500-500-501", "--comment", "asked by mail").stdout
    assert said == "2 numbers opted out; 2 in all\n"
    assert one.cli("optout", "add", NUMBER).stdout == "0 numbers opted out; 2 in all\n"
    listed = opt_outs(one)
    assert [o["number"] for o in listed] == [NUMBER, OTHER]
    assert listed[0]["comment"] == "asked by mail" and listed[0]["by"] == f"uid {os.getuid()}"
    assert NUMBER in one.cli("optout", "ls").stdout
    assert one.status()["opt_outs"] == 2
    # Masked for those who may only look.
    masked = ask(one, {"command": "optout-list"}, "status")
    assert masked["total"] == 2 and masked["opt_outs"][0]["number"] == "+********500"
    for refused in ({"command": "optout-add", "number": NUMBER}, {"command": "optout-remove", "number": NUMBER},
                    {"command": "silence-add", "when": "true", "for_ms": 1000}, {"command": "silence-expire", "id": "1"}):
        assert "looking only" in ask(one, refused, "status")["error"]
    assert one.cli("optout", "rm", NUMBER).stdout == "1 number opted in again; 1 in all\n"
    assert one.cli("optout", "add", "-", stdin=f"# list\n\n{NUMBER}\n +48500500502\n").stdout == \
        "2 numbers opted out; 3 in all\n"
    done = one.cli("optout", "add", "+48500500509", "12", check=False)
    assert done.returncode == 1 and "not a phone number" in done.stderr and "+48500500500" in done.stderr
    assert len(opt_outs(one)) == 3, "a request with a fault changes nothing"
    assert NUMBER not in one.log_text() and "+48500500509" not in one.log_text()


def test_they_survive_reload_restart_and_kill(bell, tmp_path):
    one = bell(config(tmp_path)).start()
    one.cli("silence", "add", "rule == 'r'", "--for", "2h", "--comment", "kept")
    one.cli("optout", "add", "-", stdin="".join(f"+4850{n:07d}\n" for n in range(2500)))

    def is_there():
        held = silences(one)
        return [s["comment"] for s in held] == ["kept"] and one.status()["opt_outs"] == 2500
    assert is_there()
    one.cli("reload")
    assert is_there()
    one.stop()
    one.start()
    assert is_there()
    one.kill_everything()
    one.start()
    assert is_there()
    assert len(opt_outs(one)) == 2500
    os.kill(one.child("dispatcher"), 9)
    until("the next dispatcher", lambda: one.status().get("opt_outs") == 2500)
    assert is_there()
    assert stat.S_IMODE((tmp_path / "queue.db").stat().st_mode) == 0o600
    # Faulty requests over the socket are refused, not fatal.
    for request in ({"command": "silence-add"}, {"command": "silence-add", "when": 5, "for_ms": 1000},
                    {"command": "silence-add", "when": "true", "for_ms": -5},
                    {"command": "silence-add", "when": "true", "for_ms": 1e300},
                    {"command": "silence-add", "when": "true", "until_ms": 5, "for_ms": 1000},
                    {"command": "silence-expire"}, {"command": "silence-expire", "id": "x" * 2000},
                    {"command": "silence-expire", "id": 7}, {"command": "optout-add"},
                    {"command": "optout-add", "numbers": []}, {"command": "optout-add", "numbers": [[]]},
                    {"command": "optout-add", "numbers": ["+48500500500"] * 1001},
                    {"command": "optout-remove", "number": {}}):
        answer = ask(one, request)
        assert answer["ok"] is False and answer["error"], request
    assert ask(one, {"command": "optout-add", "numbers": [NUMBER, NUMBER, OTHER]})["opt_outs"] == 2502
    assert ask(one, {"command": "optout-list", "offset": 2500, "limit": 5})["total"] == 2502
    assert ask(one, {"command": "optout-list", "offset": 1e12})["opt_outs"] == []
