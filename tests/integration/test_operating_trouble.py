"""What an operator is told, and what goes on working, when something around the line is wrong."""
import os
import select
import signal
import socket
import threading
from pathlib import Path

import pytest

from conftest import LIMIT_S, QUICK_RESOLVER, children_of, free_port, title_of, until
from line import NUMBER
from sims import BridgeSim


def log_lines(one, *words):
    return [text for text in one.log_text().splitlines() if all(word in text for word in words)]


def second_bridge(world, bridge, name="second", more=""):
    return f'''
bridge "{name}" {{
    url = "{bridge.api_url}"
    api_key_id = "{bridge.key_id}"
    api_key_secret_file = "{world.dir}/{name}.secret"
    spill_dir = "{world.dir}"
    reconnect_min = 50ms
    reconnect_max = 1s
    {more}
}}
'''


def write_secret(path, text):
    path.write_text(text)
    path.chmod(0o600)


def test_a_wrong_secret_stops_one_bridge_and_says_what_to_change(line, bell):
    world = line()
    with BridgeSim() as other:
        write_secret(world.dir / "second.secret", "this is not the secret")
        one = bell(world.config(more=second_bridge(world, other))).start()
        world.subscribed()
        until("the listener to give up", lambda: any(
            p["role"] == "listener" and p["name"] == "second" and p["state"] == "halted" for p in one.status()["processes"]))
        told = log_lines(one, "level=error", "wrong_secret")
        assert len(told) == 1 and "api_key_secret" in told[0], one.log_text()
        shown = one.cli("status").stdout
        assert "listener second has stopped for good" in shown and "api_key_secret" in shown and "reload" in shown
        assert "this is not the secret" not in one.log_text() + shown
        until("unreadiness that names it", lambda: one.http("/readyz") == (
            503, 'bridge "second" has no listener; "bridgebell status" says why\n'))
        # The other bridge goes on.
        item = world.bridge.message()
        assert world.provider.wait_accepted(1)[0]["text"] == f"New message {item}"
        # It is not tried again by itself, but by a reload.
        logins = other.state()["calls"].get("manager/auth", 0)
        assert logins == 1
        one.cli("reload")
        until("another try", lambda: other.state()["calls"].get("manager/auth", 0) > logins)
        write_secret(world.dir / "second.secret", other.key_secret)
        one.cli("reload")
        other.wait_subscribed("thread")
        until("readiness", lambda: one.http("/readyz")[0] == 200)


def test_two_bridges_in_one_configuration(line, bell):
    world = line()
    with BridgeSim() as other:
        write_secret(world.dir / "second.secret", other.key_secret)
        rules = world.rule(when="type == 'threadNewMessage'", message="{{ bridge }} {{ data.id }}")
        one = bell(world.config(rules=rules, more=second_bridge(world, other))).start()
        world.subscribed()
        other.wait_subscribed("thread")
        items = {f"main {world.bridge.message()}", f"second {other.message()}"}
        world.provider.wait_accepted(2)
        assert set(world.texts()) == items
        assert {b["name"]: b["matched"] for b in one.status()["bridges"]} == {"main": 1, "second": 1}
        assert sum("listener:" in title_of(p) for p in children_of(one.process.pid)) == 2


@pytest.mark.parametrize("path, word", [("/api/", "/api"), ("/other", "/api"), ("/", "/api")])
def test_a_wrong_path_is_recognised(line, bell, path, word):
    world = line()
    config = world.config(bridge=f'ws_url = "{world.bridge.ws_url.removesuffix("/api")}{path}" request_timeout = 2s')
    one = bell(config).start()
    until("the diagnosis", lambda: log_lines(one, "failure=", "step=bind") or log_lines(one, "failure=", "step=connect"))
    told = (log_lines(one, "failure=", "step=bind") + log_lines(one, "failure=", "step=connect"))[0]
    assert "advice=" in told and word in told.split("advice=")[1], told
    until("status to say it", lambda: "bridge main is not subscribed" in one.cli("status").stdout
          and told.split("advice=")[1].strip('"') in one.cli("status").stdout.replace("\n", " "))
    assert "bridge \"main\" is not subscribed" in one.http("/readyz")[1]


def test_a_wrong_path_of_the_api(line, bell):
    world = line()
    one = bell(world.config().replace(f'url = "{world.bridge.api_url}"', f'url = "{world.bridge.url}/nothing"')).start()
    until("the diagnosis", lambda: log_lines(one, "failure=", "step=login"))
    told = log_lines(one, "failure=", "step=login")[0]
    assert "advice=" in told and "/api" in told


def test_tls_where_there_is_none(line, bell):
    world = line()
    one = bell(world.config().replace(world.bridge.api_url, world.bridge.api_url.replace("http", "https"))).start()
    until("the diagnosis", lambda: log_lines(one, "failure=tls_failed", "http or https"))


@pytest.mark.parametrize("status", [404, 500, 502, 429])
def test_what_stands_in_front_of_the_bridge_fails(line, bell, status):
    world = line()
    world.bridge.faults(http_status=status, http_status_count=3)
    one = bell(world.config()).start()
    until("the diagnosis", lambda: log_lines(one, "failure=", "step=login"))
    told = log_lines(one, "failure=", "step=login")[0]
    assert str(status) in told, told
    world.bridge.wait_subscribed("thread")
    world.bridge.message()
    world.provider.wait_accepted(1)


def test_a_name_that_nobody_knows(line, bell):
    world = line()
    config = world.config().replace(world.bridge.api_url, "http://no-such-host.invalid/api")
    config = config.replace(world.provider.url, "http://no-such-provider.invalid")
    one = bell(config).start(env=QUICK_RESOLVER)
    until("the diagnosis", lambda: log_lines(one, "failure=name_unknown", "resolve"))
    one.cli("send", "--to", NUMBER, "--message", "x")
    until("the sender's diagnosis", lambda: log_lines(one, "line paused", "no-such-provider.invalid"))
    until("status to say it", lambda: "name cannot be resolved; check url" in one.cli("status").stdout)
    assert "no-such-provider.invalid" in one.cli("status").stdout
    status = one.status()
    assert status["queue"]["queued"] + status["queue"]["leased"] == 1, "nothing is given up"
    assert one.http("/healthz")[0] == 200 and one.http("/readyz")[0] == 503


class Proxy:
    """CONNECT and nothing else, on loopback."""

    def __init__(self, allow=True):
        self.allow = allow
        self.asked = []
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            threading.Thread(target=self.tunnel, args=(client,), daemon=True).start()

    def tunnel(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(4096)
            if not more:
                return
            head += more
        words = head.split(b"\r\n")[0].decode().split()
        self.asked.append(" ".join(words[:2]))
        if words[0] != "CONNECT" or not self.allow:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            client.close()
            return
        host, port = words[1].rsplit(":", 1)
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ends = {client: server, server: client}
        while True:
            ready, _, _ = select.select(list(ends), [], [])
            for one in ready:
                data = one.recv(65536)
                if not data:
                    client.close()
                    server.close()
                    return
                ends[one].sendall(data)

    def close(self):
        self.door.close()


@pytest.fixture
def proxy():
    one = Proxy()
    yield one
    one.close()


def test_proxies_from_the_environment(line, bell, certificates, proxy):
    world = line(tls=(certificates["cert"], certificates["key"]))
    ca = f'ca_file = "{certificates["ca"]}"'
    one = bell(world.config(bridge=ca, provider=ca))
    one.start(env={"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": ""})
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    assert proxy.asked.count(f"CONNECT 127.0.0.1:{world.bridge.port}") >= 2, "the API and the WebSocket"
    assert f"CONNECT 127.0.0.1:{world.provider.port}" in proxy.asked


def test_no_proxy_is_obeyed(line, bell, certificates, proxy):
    world = line(tls=(certificates["cert"], certificates["key"]))
    ca = f'ca_file = "{certificates["ca"]}"'
    one = bell(world.config(bridge=ca, provider=ca))
    one.start(env={"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": "127.0.0.1"})
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    assert not proxy.asked


def test_a_proxy_that_says_no_is_named(line, bell, certificates, proxy):
    proxy.allow = False
    world = line(tls=(certificates["cert"], certificates["key"]))
    ca = f'ca_file = "{certificates["ca"]}"'
    one = bell(world.config(bridge=ca, provider=ca))
    one.start(env={"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": ""})
    until("the diagnosis", lambda: log_lines(one, "failure=proxy_failed"))
    assert "403" in log_lines(one, "failure=proxy_failed")[0]
    one.cli("send", "--to", NUMBER, "--message", "x")
    until("the sender's diagnosis", lambda: log_lines(one, "line paused", "403"))


def test_a_ca_file_that_is_not_there(line, bell, certificates):
    world = line(tls=(certificates["cert"], certificates["key"]))
    one = bell(world.config(bridge=f'ca_file = "{world.dir}/no-such.pem"'))
    done = one.cli("check", check=False)
    assert done.returncode == 1 and "no-such.pem" in done.stderr and f"{one.config}:" in done.stderr


def test_a_child_without_a_master_leaves_and_a_new_master_comes_up_at_once(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    children = children_of(one.process.pid)
    one.process.kill()
    one.process.wait()
    one.start()
    until("the old children to leave", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)


@pytest.mark.parametrize("role", ["listener", "dispatcher", "sender"])
def test_a_crashing_child_is_started_with_growing_delay(line, bell, role):
    world = line()
    one = bell(world.config(sender="processes = 1")).start()
    world.subscribed()
    old = 0
    for _ in range(4):
        fresh = until(f"a new {role}", lambda last=old: next(
            (p["pid"] for p in one.status()["processes"]
             if p["role"] == role and p["state"] == "running" and p["pid"] not in (0, last)), None))
        os.kill(fresh, signal.SIGKILL)
        old = fresh
    until("the last one", lambda: any(p["role"] == role and p["state"] == "running" and p["pid"] not in (0, old)
                                      for p in one.status()["processes"]))
    delays = [int(text.rsplit("delay_ms=", 1)[1].split()[0]) for text in log_lines(one, "will be started again", f"role={role}")]
    assert len(delays) == 4 and delays == sorted(delays) and delays[-1] > delays[0], delays
    assert any("restarts" in p and p["restarts"] == 4 for p in one.status()["processes"] if p["role"] == role)


def test_a_file_with_a_fault_on_hup_changes_nothing(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    before = children_of(one.process.pid)
    one.config.write_text(one.config.read_text().replace("when =", "wen ="))
    one.process.send_signal(signal.SIGHUP)
    until("the refusal", lambda: log_lines(one, "level=error", "wen"))
    assert children_of(one.process.pid) == before
    assert "last reload" in one.cli("status").stdout and "failed" in one.cli("status").stdout
    world.bridge.message()
    world.provider.wait_accepted(1)


def test_logs_move_away_as_logrotate_does_it(line, bell):
    world = line()
    log = world.dir / "bell.log"
    one = bell(world.config(more=f'log {{ file = "{log}" }}')).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    log.rename(world.dir / "bell.log.1")
    one.process.send_signal(signal.SIGUSR1)
    until("a new file", log.exists)
    everybody = [one.process.pid, *children_of(one.process.pid)]

    def open_file(pid, fd):
        try:
            return os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            return ""   # closed meanwhile

    def moved():
        names = {open_file(pid, fd) for pid in everybody for fd in os.listdir(f"/proc/{pid}/fd")}
        return str(log) in names and str(world.dir / "bell.log.1") not in names
    until("everybody to write to the new file", moved)
    world.bridge.message()
    world.provider.wait_accepted(2)
    until("the outcome in the new file", lambda: "job sent" in log.read_text() or "state=sent" in log.read_text())


def test_more_and_fewer_senders_by_signal(line, bell):
    world = line()
    one = bell(world.config(sender="processes = 1")).start()
    one.wait_log("bridgebell is up")

    def senders():
        return sum("bridgebell: sender" in title_of(p) for p in children_of(one.process.pid))
    until("one sender", lambda: senders() == 1)
    one.process.send_signal(signal.SIGTTIN)
    until("two senders", lambda: senders() == 2)
    until("both at work", lambda: len(one.status()["senders"]) == 2)
    one.process.send_signal(signal.SIGTTOU)
    until("one sender", lambda: senders() == 1 and len(one.status()["senders"]) == 1)


def test_quit_twice_is_at_once(line, bell):
    world = line()
    one = bell(world.config().replace("request_timeout = 3s", "request_timeout = 8s")).start()
    world.subscribed()
    world.provider.faults({"what": "hang"})
    world.bridge.message()
    until("a request in flight", lambda: world.provider.state()["requests"] == 1)
    one.process.send_signal(signal.SIGQUIT)
    one.wait_log("finish what is in flight")
    assert one.process.poll() is None
    one.process.send_signal(signal.SIGQUIT)
    one.process.wait(LIMIT_S)
    assert not log_lines(one, "msg=job"), "sooner than the request's own time-out could have ended it"
    # What was in flight is known after a start: the same idx is asked again.
    world.provider.clear_faults()
    one.start()
    until("the job to end", lambda: one.status()["queue"]["sent"] == 1)
    assert world.provider.state()["accepted"] == 1


def test_the_service_manager_is_told(line, bell, service_manager):
    world = line()
    one = bell(world.config())
    one.start(env=service_manager.environment)
    service_manager.hears("READY=1")
    service_manager.hears("WATCHDOG=1")
    service_manager.hears("WATCHDOG=1")
    one.cli("reload")
    service_manager.hears("RELOADING=1")
    service_manager.hears("READY=1")
    one.process.send_signal(signal.SIGTERM)
    service_manager.hears("STOPPING=1")
    assert one.process.wait(LIMIT_S) == 0


def test_include_of_a_directory(line, bell):
    world = line()
    rules = world.dir / "bell/conf.d"
    one = bell(world.config(rules='include "conf.d"\n'))
    rules.mkdir()
    (rules / "10-b.conf").write_text(world.rule("b", message="b {{ data.id }}"))
    (rules / "00-a.conf").write_text(world.rule("a", message="a {{ data.id }}"))
    (rules / "notes.txt").write_text("not a configuration")
    one.start()
    world.subscribed()
    item = world.bridge.message()
    world.provider.wait_accepted(2)
    assert sorted(world.texts()) == [f"a {item}", f"b {item}"]
    (rules / "20-c.conf").write_text('rule "c" { when = "true" to = { nobody } message = "x" }')
    done = one.cli("reload", check=False)
    assert done.returncode == 1 and "20-c.conf:1" in done.stderr and "nobody" in done.stderr
