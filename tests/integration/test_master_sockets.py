"""The command sockets and the command: rights, garbage, bounds, texts, exit codes."""
import json
import os
import socket
import subprocess

import pytest

from conftest import until
from master import is_alive, master, read_line  # noqa: F401 (a fixture)


# ---- the sockets ----

def test_status_puts_both_parts_together(master):
    master.start()
    status = master.ask({"command": "status"}, "status")
    assert status["ok"] and status["queue"] == {"queued": 3}
    assert [p["role"] for p in status["processes"]] == ["master", "dispatcher", "sender", "sender", "listener"]
    assert all(p["state"] == "running" for p in status["processes"])
    assert status["config"]["file"] == str(master.config) and status["version"]
    asked = master.lives("asked")[-1]["request"]
    assert asked["uid"] == os.getuid() and asked["masked"] is True


def test_who_asks_is_known_from_the_socket(master):
    master.start()
    master.ask({"command": "queue-cancel", "id": "abc", "uid": 4711, "masked": False})
    asked = master.lives("asked")[-1]["request"]
    assert asked["uid"] == os.getuid() and asked["masked"] is False
    line = next(line for line in master.log_text().splitlines() if "command=queue-cancel" in line)
    assert f"uid={os.getuid()}" in line and f"pid={os.getpid()}" in line and "id=abc" in line
    master.ask({"command": "queue-show", "id": "abc", "masked": False}, "status")
    assert master.lives("asked")[-1]["request"]["masked"] is True


@pytest.mark.parametrize("command", ["queue-cancel", "queue-retry", "queue-sent", "queue-drop", "send", "pause",
                                     "resume", "reload", "stop", "scale", "log-reopen", "resync"])
def test_the_status_socket_only_looks(master, command):
    master.start()
    answer = master.ask({"command": command, "senders": "+1", "id": "a"}, "status")
    assert answer["ok"] is False and "looking" in answer["error"]
    assert not master.lives("asked") and not master.lives("quit")
    assert "command refused" in master.log_text()


@pytest.mark.parametrize("garbage", [b"\0\xff\xfe\n", b"{}\n", b"[]\n", b"\n", b'{"command":7}\n', b'{"command":"x"\n',
                                     b"[" * 60000 + b"\n", b'"status"\n', b"x" * 70000], ids=lambda g: repr(g[:14]))
def test_garbage_closes_only_its_own_client(master, garbage):
    master.start()
    with master.connect("status") as good, master.connect("status") as bad:
        bad.sendall(garbage)
        answer = json.loads(read_line(bad))
        assert answer["ok"] is False
        assert bad.recv(1) == b"", "closed"
        good.sendall(b'{"command":"status"}\n')
        assert json.loads(read_line(good))["ok"]
    assert master.process.poll() is None


def test_an_unknown_command_is_no_reason_to_close(master):
    master.start()
    with master.connect() as s:
        s.sendall(b'{"command":"statsu"}\n{"command":"status"}\n')
        data = b""
        while data.count(b"\n") < 2:
            data += s.recv(65536)
    first, second = (json.loads(line) for line in data.splitlines())
    assert not first["ok"] and "status" in first["hint"]
    assert second["ok"], "several requests on one connection are answered in order"


def test_answers_do_not_pile_up_for_one_who_does_not_read(master):
    master.start()
    requests, last = 3000, -1
    with master.connect("status") as s:
        s.sendall(b'{"command":"status"}\n' * requests)
        while len(master.lives("asked")) > last:
            last = len(master.lives("asked"))
            for _ in range(20):
                master.ask({"command": "scale"}, "control")
        assert last < requests
        data = b""
        while data.count(b"\n") < requests:
            data += s.recv(1 << 20)
    assert all(json.loads(line)["ok"] for line in data.splitlines())


def test_a_request_in_pieces_is_one_request(master):
    master.start()
    with master.connect() as s:
        for byte in b'{"command":"status"}\n':
            s.send(bytes([byte]))
        assert json.loads(read_line(s))["ok"]


def test_clients_are_bounded_and_each_socket_for_itself(master):
    master.start()
    crowd = [master.connect("status") for _ in range(32)]
    for s in crowd:
        s.sendall(b'{"command":"status"}\n')
    assert all(json.loads(read_line(s))["ok"] for s in crowd)
    with master.connect("status") as one_more:
        assert one_more.recv(1) == b""
    assert master.ask({"command": "status"}, "control")["ok"]
    for s in crowd:
        s.close()
    until("room again", lambda: has_room(master))


def has_room(master):
    with master.connect("status") as s:
        try:
            s.sendall(b'{"command":"status"}\n')
            return read_line(s)
        except OSError:
            return None


def test_clients_that_go_before_the_answer_harm_nobody(master):
    master.start()
    for _ in range(20):
        s = master.connect()
        s.sendall(b'{"command":"status"}\n{"command":"reload"}\n')
        s.close()
    until("the reloads to end", lambda: master.status()["config"].get("reload", {}).get("ok")
          and "detail" not in master.status()["processes"][0])
    assert master.process.poll() is None


def test_a_dispatcher_that_says_nothing(master):
    master.start()
    master.order("dispatcher", answer="silent")
    status = master.ask({"command": "status"}, "status")
    assert status["ok"] and status["missing"] == ["dispatcher"] and "does not answer" in status["missing_reason"]
    assert len(status["processes"]) == 5
    refused = master.ask({"command": "queue-list"}, "status")
    assert not refused["ok"] and "does not answer" in refused["error"] and "may" not in refused["hint"]
    refused = master.ask({"command": "pause"})
    assert not refused["ok"] and "does not answer yet" in refused["error"] and "may still do" in refused["hint"]
    assert "nothing is known of events and queue" in master.cli("status").stdout
    master.order("dispatcher", answer="garbage")
    assert "not well-formed" in master.ask({"command": "queue-list"})["error"]


def test_a_dispatcher_that_is_gone(master):
    master.start()
    master.order("dispatcher", start="silent", answer="silent")
    with master.connect() as s, master.connect() as t:
        s.sendall(b'{"command":"queue-cancel","id":"a"}\n')
        t.sendall(b'{"command":"queue-list"}\n')
        until("both requests to be there", lambda: len(master.lives("asked")) == 2)
        master_pid = master.process.pid
        os.kill(master.lives("starts", "dispatcher")[0]["pid"], 9)
        assert "left before it answered" in json.loads(read_line(s))["error"], "whether it was done is not known"
        assert "not running" in json.loads(read_line(t))["error"], "a question waits for the next one"
        assert is_alive(master_pid)
    assert master.ask({"command": "status"}, "status")["missing"] == ["dispatcher"]


# ---- the command ----

def run(master, *words, stdin=None, environment=None):
    return subprocess.run([master.bin / "bridgebell", *words], capture_output=True, text=True, timeout=60, input=stdin,
                          env={**master.environment, **(environment or {})})


@pytest.mark.parametrize("words, code, text", [
    ([], 2, "Usage: bridgebell COMMAND"),
    (["--version"], 0, "bridgebell 0."),
    (["--help"], 0, "Exit codes"),
    (["help"], 0, "status"),
    (["help", "queue"], 0, "uncertain"),
    (["queue", "--help"], 0, "uncertain"),
    (["help", "quue"], 2, 'did you mean "queue"?'),
    (["stauts"], 2, 'did you mean "status"?'),
    (["zzzzzzzz"], 2, 'there is no command "zzzzzzzz"'),
    (["status", "--jsn"], 2, 'did you mean "--json"?'),
    (["status", "--json=1"], 2, "takes no value"),
    (["status", "-x"], 2, 'unknown option "-x"'),
    (["status", "--config"], 2, "needs a value: --config FILE"),
    (["status", "now"], 2, 'what is "now" for?'),
    (["status", "--watch"], 2, "needs a terminal"),
    (["queue"], 2, "needs more"),
    (["queue", "lst"], 2, "did you mean"),
    (["queue", "show"], 2, "needs the id"),
    (["queue", "cancel"], 2, "an id, --state, --rule or --provider"),
    (["queue", "ls", "--limit", "x"], 2, "--limit is a number"),
    (["send", "--to", "+48500500500"], 2, "needs --to and --message"),
    (["resync", "--since", "yesterday"], 2, "is a duration"),
    (["scale"], 2, "needs more"),
])
def test_usage(master, words, code, text):
    done = run(master, *words)
    assert done.returncode == code
    assert text in (done.stdout if code == 0 else done.stderr)
    assert (done.stderr if code == 0 else done.stdout) == ""


@pytest.mark.parametrize("words", [["status"], ["queue", "ls"], ["pause"], ["reload"], ["stop"],
                                   ["send", "--to", "+48500500500", "--message", "x"]])
def test_without_a_master_there_is_advice(master, words):
    done = run(master, words[0], "-c", str(master.config), *words[1:])
    assert done.returncode == 1
    assert "bridgebell is not running" in done.stderr and f"bridgebell run -c {master.config}" in done.stderr


def test_the_sockets_are_found_also_when_the_file_has_a_fault(master):
    master.start()
    with open(master.config, "a") as file:
        file.write("}}} = {")
    assert master.status()["ok"]
    assert run(master, "status", "--json", "--runtime-dir", str(master.runtime)).returncode == 0


def test_send_takes_number_and_text_from_standard_input(master):
    master.start()
    master.cli("send", "--to", "+48500500500", "--to", "+48500500501", "--message", "hi", "--from", "Me")
    asked = master.lives("asked")[-1]["request"]
    assert (asked["to"], asked["message"], asked["from"]) == (["+48500500500", "+48500500501"], "hi", "Me")
    master.cli("send", "--to", "-", "--message", "-", stdin="+48500500502\n+48500500503\n\nline one\nline two\n")
    asked = master.lives("asked")[-1]["request"]
    assert (asked["to"], asked["message"]) == (["+48500500502", "+48500500503"], "line one\nline two")
    for line in master.log_text().splitlines():
        assert "line one" not in line and "500500502" not in line


def test_several_states_are_several_requests(master):
    master.start()
    master.cli("queue", "ls", "--state", "dead,uncertain", "--limit", "5")
    asked = [one["request"] for one in master.lives("asked")]
    assert [(one["state"], one["limit"]) for one in asked] == [("dead", 5), ("uncertain", 5)]


def test_check(master):
    assert "configuration is fine: 1 bridge, 1 rule, 1 provider, 2 sender processes" in master.cli("check").stdout
    printed = master.cli("check", "--print").stdout
    assert "<secret>" in printed and master.environment["BRIDGE_SECRET"] not in printed
    master.order("sender", validate=[["/b.conf", 3, "no such host"]])
    assert "/b.conf:3: no such host" in master.cli("check", code=1).stderr
    master.order("sender", start="ready")
    master.write(more="bogus = 1")
    assert "bogus" in master.cli("check", code=1).stderr
    assert not master.runtime.exists(), "checking leaves nothing behind"


def test_colour_only_on_a_terminal_and_never_with_no_color(master):
    master.start()
    assert "\033" not in master.cli("status").stdout

    def on_terminal(environment):
        words = f"{master.bin}/bridgebell status -c {master.config}"
        return subprocess.run(["script", "-qec", words, "/dev/null"], capture_output=True, text=True, timeout=60,
                              env={**master.environment, "TERM": "xterm", **environment}).stdout
    assert "\033[32mrunning" in on_terminal({"NO_COLOR": ""})
    assert "\033" not in on_terminal({"NO_COLOR": "1"})


def test_watch_draws_again(master):
    master.start()
    with subprocess.Popen([master.bin / "bridgebell", "status", "-c", master.config, "--watch", "--json"],
                          stdout=subprocess.PIPE, text=True, env=master.environment) as watching:
        pages = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.terminate()
    assert pages[1]["uptime_ms"] > pages[0]["uptime_ms"]


def test_watching_ends_where_nothing_can_be_written(master):
    master.start()
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([master.bin / "bridgebell", "status", "-c", master.config, "--watch", "--json"], stdout=full,
                              stderr=subprocess.PIPE, text=True, env=master.environment, timeout=60, check=False)
    assert done.returncode == 1 and "cannot be written" in done.stderr


def test_man_page_is_sound():
    page = os.path.join(os.path.dirname(__file__), "../../docs/man/bridgebell.1")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr
