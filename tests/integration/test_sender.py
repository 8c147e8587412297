"""Dispatcher and sender against a provider that fails in every way it can (CONTRACT.md sections 3 to 5).

No Bridge: messages enter by `bridgebell send`, through the real queue. Whatever happens, a message is accepted once.
"""
import os
import signal
import socket
import threading
import time

import pytest

from conftest import until
from sims import SmsapiSim

NUMBER = "+48500500500"


class Desk:
    """A provider, and the product in front of it."""

    def __init__(self, directory, make_bell, tls=None):
        self.dir = directory
        self.sim = SmsapiSim(tls=tls).start()
        self.backup = None
        self.make_bell = make_bell
        self.bell = None

    def open(self, provider="", sender="processes = 1", url=None, timeout="6s"):
        token = self.dir / "token"
        token.write_text(self.sim.token)
        token.chmod(0o600)
        self.bell = self.make_bell(f'''
provider "smsapi" {{
    type = smsapi
    url = "{url or self.sim.url}"
    token_file = "{token}"
    attempts_per_number = off
    connect_timeout = 1s
    request_timeout = {timeout}
    retry_min = 50ms
    retry_max = 500ms
    {provider}
}}
dispatcher {{ store = "sqlite:{self.dir}/queue.db" min_free = 1MiB }}
sender {{ {sender} }}
''').start()
        return self

    def send(self, text, to=NUMBER):
        self.bell.cli("send", "--to", to, "--message", text)

    def queue(self):
        return self.bell.status()["queue"]

    def wait_state(self, state, count=1):
        until(f"{count} {state}", lambda: self.queue()[state] >= count)

    def accepted(self):
        return [(m["number"], m["text"]) for m in self.sim.messages()]

    def close(self):
        self.sim.stop()
        if self.backup:
            self.backup.stop()


@pytest.fixture
def desk(tmp_path, bell):
    one = Desk(tmp_path, bell)
    yield one
    if one.bell:
        one.bell.stop()
    one.close()


def patience(fault):
    """Short only where the time-out itself is what is tried."""
    return "2s" if "hang" in fault["what"] else "6s"


def test_a_message_as_the_contract_says(desk):
    desk.open(provider='from = "Bell"')
    desk.send("Zażółć & 100% = ✓")
    desk.wait_state("sent")
    message = desk.sim.messages()[0]
    assert message["text"] == "Zażółć & 100% = ✓"
    assert message["number"] == NUMBER[1:]
    assert message["from"] == "Bell"
    assert len(message["idx"]) == 34 and message["idx"].endswith("-1")


@pytest.mark.parametrize("fault", [
    {"what": "close"}, {"what": "rst"}, {"what": "hang"}, {"what": "truncated"}, {"what": "cut_json"},
    {"what": "non_json"}, {"what": "empty"}, {"what": "status_after", "status": 500},
    {"what": "status_after", "status": 400}, {"what": "status_after", "status": 408},
    {"what": "error_after", "code": 8}, {"what": "error_after", "code": 200}, {"what": "error_after", "code": 201},
    {"what": "error_after", "code": 666}, {"what": "error_after", "code": 999}, {"what": "partial", "keep": 0},
], ids=lambda f: "-".join(str(v) for v in f.values()))
def test_accepted_but_not_told(desk, fault):
    """The outcome is unknown, the same idx is asked again, 53 says that it was taken."""
    desk.open(timeout=patience(fault))
    desk.sim.faults({**fault, "count": 1})
    desk.send("once")
    desk.wait_state("sent")
    assert len(desk.accepted()) == 1
    assert desk.sim.state()["requests"] >= 2
    assert desk.bell.status()["sending"]["inferred"] == 1


@pytest.mark.parametrize("fault", [
    {"what": "close_before"}, {"what": "rst_before"}, {"what": "hang_before"}, {"what": "status", "status": 503},
    {"what": "close_on_connect"}, {"what": "error", "code": 201}, {"what": "error", "code": 998},
], ids=lambda f: "-".join(str(v) for v in f.values()))
def test_not_accepted_and_not_told(desk, fault):
    desk.open(timeout=patience(fault))
    desk.sim.faults({**fault, "count": 2})
    desk.send("once")
    desk.wait_state("sent")
    assert len(desk.accepted()) == 1
    assert desk.bell.status()["sending"]["inferred"] == 0


@pytest.mark.parametrize("code,state", [(11, "dead"), (13, "dead"), (57, "dead"), (94, "dead")])
def test_refused_for_good(desk, code, state):
    desk.open()
    desk.sim.faults({"what": "error", "code": code, "count": 1})
    desk.send("no")
    desk.wait_state(state)
    assert desk.accepted() == []
    desk.send("yes")
    desk.wait_state("sent")


@pytest.mark.parametrize("fault", [{"what": "error", "code": 103}, {"what": "error", "code": 14},
                                   {"what": "status", "status": 401}],
                         ids=lambda f: "-".join(str(v) for v in f.values()))
def test_the_account_refuses_and_comes_back(desk, fault):
    """The line stops, jobs stay, no attempt is burned; a probe opens it again."""
    desk.open()
    desk.sim.faults({**fault, "count": 1})
    desk.send("first")
    until("the line to stop", lambda: desk.bell.status()["lines"][0]["state"] != "open" or desk.accepted())
    desk.send("second")
    desk.wait_state("sent", 2)
    assert sorted(text for _, text in desk.accepted()) == ["first", "second"]


@pytest.mark.parametrize("fault", [{"what": "status", "status": 429, "retry_after": 1}, {"what": "error", "code": 202},
                                   {"what": "error", "code": 203}],
                         ids=lambda f: "-".join(str(v) for v in f.values()))
def test_throttled(desk, fault):
    desk.open()
    desk.sim.faults({**fault, "count": 2})
    desk.send("patience")
    desk.wait_state("sent")
    assert len(desk.accepted()) == 1
    assert desk.queue()["dead"] == 0


def test_the_backup_takes_over_when_nobody_listens(desk):
    desk.backup = SmsapiSim().start()
    desk.open(provider=f'backup_url = "{desk.backup.url}"')
    desk.send("to the main host")
    desk.wait_state("sent", 1)
    desk.sim.refuse()
    desk.sim.control("drop", {"how": "fin"})
    desk.send("to the backup")
    desk.wait_state("sent", 2)
    assert [m["text"] for m in desk.backup.messages()] == ["to the backup"]


def test_the_backup_takes_over_after_an_internal_error(desk):
    desk.backup = SmsapiSim().start()
    desk.open(provider=f'backup_url = "{desk.backup.url}"')
    desk.sim.faults({"what": "status", "status": 502})
    desk.send("where it goes")
    desk.wait_state("sent")
    first = desk.sim.state()
    assert first["accepted"] == 0 and first["requests"] == 1
    assert [m["text"] for m in desk.backup.messages()] == ["where it goes"]


def test_a_batch_of_which_some_are_bad(desk):
    """Equal texts share a request; whoever the answer does not name is asked again, alone."""
    desk.open(sender="processes = 2")
    desk.sim.options(blacklist=["48500500503"])
    desk.bell.cli("pause")
    numbers = [f"+4850050050{n}" for n in range(8)]
    for number in numbers:
        desk.send("the same", number)
    desk.bell.cli("resume")
    desk.wait_state("sent", 7)
    desk.wait_state("dead", 1)
    assert sorted(number for number, _ in desk.accepted()) == sorted(n[1:] for n in numbers if n != "+48500500503")


def test_a_stopped_sender_does_not_act_on_old_grants(desk):
    """Frozen with a grant in its hands it finds, awake, that its time has passed; another sender has sent."""
    desk.open()
    desk.send("before")
    desk.wait_state("sent")
    pid = desk.bell.child("sender")
    os.kill(pid, signal.SIGSTOP)
    try:
        desk.send("frozen")
        until("the job to be given out", lambda: desk.queue()["queued"] + desk.queue()["leased"] == 1)
        desk.bell.cli("scale", "+1")
        desk.wait_state("sent", 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    until("the stopped sender to be heard again", lambda: desk.queue()["leased"] == 0)
    assert sorted(text for _, text in desk.accepted()) == ["before", "frozen"]


class SlowRoad:
    """Forwards TCP connections, each after a delay: a handshake over it takes so long."""

    def __init__(self, port, delay_s):
        self.port, self.delay_s = port, delay_s
        self.opened = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.opened += 1
            threading.Thread(target=self.join, args=(near,), daemon=True).start()

    def join(self, near):
        time.sleep(self.delay_s)
        far = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self.pump, args=(far, near), daemon=True).start()
        self.pump(near, far)

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


def test_a_handshake_longer_than_a_slot(tmp_path, bell, certificates):
    """A grant's time is over before the connection is open: it is opened ahead, and the next grant finds it."""
    one = Desk(tmp_path, bell, tls=(certificates["cert"], certificates["key"]))
    road = SlowRoad(one.sim.port, 0.4)
    try:
        one.open(url=road.url, provider=f'ca_file = "{certificates["ca"]}"')
        for n in range(5):
            one.send(f"message {n}")
        one.wait_state("sent", 5)
        assert sorted(text for _, text in one.accepted()) == [f"message {n}" for n in range(5)]
        assert one.queue()["uncertain"] == 0
    finally:
        if one.bell:
            one.bell.stop()
        road.close()
        one.close()
