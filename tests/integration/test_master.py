"""The master over stand-ins for its children: start, supervision, reload, end."""
import os
import pwd
import signal
import socket
import tempfile

import pytest

from conftest import LIMIT_S, free_port, until
from master import SECRET, Master, is_alive, master, mode_of, read_line  # noqa: F401 (a fixture)


# ---- start ----

def test_children_start_in_order_and_get_only_what_is_theirs(master):
    master.start()
    lives = master.lives("starts")
    assert [one["role"] for one in lives] == ["dispatcher", "sender", "sender", "listener"]
    assert sorted(one["instance"] for one in lives if one["role"] == "sender") == ["1", "2"]
    for one in lives:
        assert one["fds"] == [0, 1, 2, 3], "no descriptor but the lifeline is inherited"
        assert "BRIDGE_SECRET" not in one["environment"] and SECRET not in str(one["environment"])
        assert one["environment"]["FAKE_DIR"], "the rest of the environment stays"
        assert one["blocked"].strip("0") == "", "no signal is blocked in a child"
        assert one["umask"] == "0077"
        has_secret = SECRET in str(one["settings"])
        assert has_secret == (one["role"] == "listener")
    listener = lives[-1]["settings"]["bridge main"]
    assert listener["slot"] == "a"
    assert len(master.lives("validates")) == 3, "every role checks its slice before anything starts"


def test_door_is_given_to_the_dispatcher(master):
    port = free_port()
    master.write(change=lambda text: text.replace("listen = off", f'listen = "127.0.0.1:{port}"'))
    master.start()
    for one in master.lives("starts"):
        assert one["door"] == (one["role"] == "dispatcher")
        assert one["fds"] == ([0, 1, 2, 3, 4] if one["door"] else [0, 1, 2, 3])
    with socket.create_connection(("127.0.0.1", port), LIMIT_S):
        pass


def test_all_faults_are_said_and_nothing_is_left(master):
    master.order("dispatcher", validate=[["/x.conf", 7, "the expression ends here"]])
    master.order("sender", validate=[["/x.conf", 3, "no such host"]])
    master.start(ready=False)
    assert master.wait_end() == 1
    log = master.log_text()
    assert "/x.conf:7: the expression ends here" in log and "/x.conf:3: no such host" in log
    assert log.index("/x.conf:3") < log.index("/x.conf:7"), "in order of the lines"
    assert not master.lives("starts")
    assert not (master.runtime / "bridgebell.pid").exists() and not (master.runtime / "control.sock").exists()


def test_a_dispatcher_that_finds_faults_at_its_start_fails_the_start(master):
    master.order("dispatcher", start="faults", faults=[["/x.conf", 9, "the store cannot be opened"]])
    master.start(ready=False)
    assert master.wait_end() == 1
    assert "/x.conf:9: the store cannot be opened" in master.log_text()


def test_a_listener_that_cannot_work_does_not_keep_the_others_from_it(master):
    master.order("listener", start="fatal", fatal="the Bridge refuses the key")
    master.start()
    slot = master.slot("listener", "main")
    assert slot["state"] == "halted" and slot["reason"] == "the Bridge refuses the key"
    page = master.cli("status").stdout
    assert "the Bridge refuses the key" in page and "bridgebell reload" in page
    assert len(master.lives("starts", "listener")) == 1


def test_a_second_master_is_refused_and_disturbs_nothing(master):
    master.start()
    before = master.pids()
    done = master.cli("run", code=1)
    assert f"already running as process {master.process.pid}" in done.stderr
    assert master.pids() == before and (master.runtime / "control.sock").exists()


def test_a_busy_door_fails_the_start_with_its_address(master):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = f"127.0.0.1:{s.getsockname()[1]}"
        master.write(change=lambda text: text.replace("listen = off", f'listen = "{address}"'))
        master.start(ready=False)
        assert master.wait_end() == 1
    assert f"{address} cannot be listened on: Address already in use" in master.log_text()


def test_a_master_that_was_killed_can_be_started_again(master):
    master.start()
    children = master.pids()
    master.process.kill()
    master.process.wait()
    until("the children to leave by themselves", lambda: not any(is_alive(pid) for pid in children))
    assert len(master.lives("master gone")) == 4
    mark = master.mark()
    master.start()
    listener = master.lives("starts", "listener", mark)[0]
    assert listener["settings"]["bridge main"]["slot"] == "b", "not the session of a listener that may still live"
    assert master.status()["ok"]
    master.stop()
    mark = master.mark()
    master.start()
    assert master.lives("starts", "listener", mark)[0]["settings"]["bridge main"]["slot"] == "b"


def test_runtime_directory_that_everybody_may_write_is_refused(master):
    master.runtime.mkdir()
    master.runtime.chmod(0o777)
    master.start(ready=False)
    assert master.wait_end() == 1
    assert "chmod o-w" in master.log_text()


@pytest.fixture
def open_master():
    """One in a directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="bridgebell-") as directory:
        one = Master(directory)
        yield one
        one.stop()
        one.kill_everything()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_master_and_children_become_the_user(open_master):
    master = open_master
    nobody = pwd.getpwnam("nobody")
    secret = master.dir / "bridge.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    master.write(change=lambda text: 'user = "nobody"\n' + text.replace(
        'api_key_secret = "${BRIDGE_SECRET}"', f'api_key_secret_file = "{secret}"'))
    master.start(ready=False)
    assert master.wait_end() == 1
    assert f"`{secret}`: Permission denied" in master.log_text(), "a file that only root reads is a fault"
    os.chown(secret, nobody.pw_uid, nobody.pw_gid)
    master.start()
    assert {one["uid"] for one in master.lives("starts")} == {nobody.pw_uid}
    assert 0 not in master.lives("starts")[0]["groups"]
    for name in ("", "control.sock", "status.sock", "bridgebell.pid"):
        assert (master.runtime / name).stat().st_uid == nobody.pw_uid
    assert "reloaded" in master.cli("reload").stdout
    master.stop()
    assert os.listdir(master.runtime) == ["session"]


# ---- supervision ----

def test_a_killed_child_is_started_again_and_the_log_says_what_killed_it(master):
    master.start()
    former = master.slot("sender", "1")
    os.kill(former["pid"], signal.SIGKILL)
    until("another sender 1", lambda: master.slot("sender", "1")["pid"] not in (0, former["pid"]))
    master.wait_state("sender", "1", "running")
    now = master.slot("sender", "1")
    assert now["restarts"] == 1 and now["generation"] > former["generation"]
    assert 'by="signal 9 (Killed)"' in master.log_text()
    assert master.slot("sender", "2")["restarts"] == 0


def test_a_child_that_never_works_is_started_with_growing_delay(master):
    master.start()
    master.order("sender:2", start="crash")
    os.kill(master.slot("sender", "2")["pid"], signal.SIGKILL)
    until("three more starts", lambda: len([1 for one in master.lives("starts", "sender")
                                            if one["instance"] == "2"]) >= 4)
    delays = [int(line.split("delay_ms=")[1]) for line in master.log_text().splitlines() if "delay_ms=" in line]
    assert delays[0] == 100 and delays == sorted(delays) and delays[2] >= 4 * delays[0]
    slot = master.slot("sender", "2")
    assert "before it was ready" in slot["reason"]
    if slot["state"] == "waiting":
        assert slot["next_start_ms"] <= delays[-1] * 8
    assert master.slot("sender", "1")["state"] == "running"


def test_the_reserved_exit_code_halts_until_a_reload(master):
    master.start()
    master.order("sender:1", start="fatal", fatal="the token is refused")
    os.kill(master.slot("sender", "1")["pid"], signal.SIGKILL)
    master.wait_state("sender", "1", "halted")
    assert master.slot("sender", "1")["reason"] == "the token is refused"
    master.wait_log("halted")
    starts = len(master.lives("starts", "sender"))
    os.kill(master.slot("sender", "2")["pid"], signal.SIGKILL)
    until("the other to be started again", lambda: len(master.lives("starts", "sender")) == starts + 1)
    assert master.slot("sender", "1")["state"] == "halted"
    master.order("sender:1")
    master.cli("reload")
    assert master.slot("sender", "1")["state"] == "running"


def test_more_and_fewer_senders(master):
    master.start()
    master.signal(signal.SIGTTIN)
    until("a third sender", lambda: len(master.pids("sender")) == 3)
    master.wait_state("sender", "3", "running")
    assert "2 senders" in master.cli("scale", "-1").stdout
    until("it to leave", lambda: len(master.pids("sender")) == 2)
    assert "4 senders" in master.cli("scale", "4").stdout
    until("two more", lambda: len(master.pids("sender")) == 4)
    master.signal(signal.SIGTTOU)
    until("one less", lambda: len(master.pids("sender")) == 3)
    killed = master.pids("sender")[-1]
    os.kill(killed, signal.SIGKILL)
    until("the number to survive a crash", lambda: killed not in master.pids("sender") and len(master.pids("sender")) == 3)
    master.cli("scale", "65", code=1)
    master.cli("scale", "many", code=1)
    until("all to be ready", lambda: all(p["state"] == "running" for p in master.status()["processes"]))
    master.cli("reload")
    assert len([p for p in master.status()["processes"] if p["role"] == "sender" and p["state"] == "running"]) == 2


# ---- reload ----

def test_reload_replaces_all_and_takes_the_other_session(master):
    master.start()
    former = master.pids()
    mark = master.mark()
    master.write(more='log { level = debug }')
    assert "reloaded in" in master.cli("reload").stdout
    until("the old ones to leave", lambda: not set(former) & set(master.pids()))
    assert len(master.pids()) == 4
    order = [(one["event"], one["role"]) for one in master.lives(since=mark) if one["event"] in ("starts", "quit")]
    assert order.index(("quit", "dispatcher")) < order.index(("starts", "dispatcher"))
    assert order.index(("starts", "sender")) < order.index(("quit", "sender"))
    assert order.index(("starts", "listener")) < order.index(("quit", "listener"))
    assert master.lives("starts", "listener")[-1]["settings"]["bridge main"]["slot"] == "b"
    assert master.lives("starts", "listener")[-1]["settings"]["log"]["level"] == "debug"
    assert master.status()["config"]["reload"]["ok"] is True
    master.signal(signal.SIGHUP)
    until("the first session again", lambda: len(master.lives("starts", "listener")) == 3)
    assert master.lives("starts", "listener")[-1]["settings"]["bridge main"]["slot"] == "a"


def test_bridges_come_and_go_with_a_reload(master):
    master.start()
    master.write(change=lambda text: text.replace('bridge "main"', 'bridge "other"'))
    master.cli("reload")
    until("the other bridge alone", lambda: [p["name"] for p in master.status()["processes"]
                                             if p["role"] == "listener"] == ["other"])


def test_a_bad_file_changes_nothing_and_says_everything(master):
    master.start()
    former = master.status()["processes"]
    master.write(more="bogus = 1\nlog { levle = debug }")
    done = master.cli("reload", code=1)
    assert "bogus" in done.stderr and "levle" in done.stderr and "did you mean" in done.stderr.replace("`level`", "did you mean")
    assert "the old configuration stays in force" in done.stderr
    assert [p["pid"] for p in master.status()["processes"]] == [p["pid"] for p in former]
    assert "bogus" in master.log_text()
    page = master.cli("status").stdout
    assert "the last reload" in page and "bridgebell check" in page


def test_a_fault_that_only_a_role_sees_changes_nothing(master):
    master.start()
    former = master.pids()
    master.order("listener", validate=[["/b.conf", 4, "this address makes no sense"]])
    done = master.cli("reload", code=1)
    assert "/b.conf:4: this address makes no sense" in done.stderr
    assert master.pids() == former
    assert not master.lives("quit")


def test_what_cannot_change_while_running_is_refused(master):
    master.start()
    former = master.pids()
    master.write(change=lambda text: text.replace(f'"{master.runtime}"', f'"{master.dir}/elsewhere"'))
    done = master.cli("reload", "--runtime-dir", master.runtime, code=1)
    assert "runtime_dir" in done.stderr and "restart" in done.stderr
    assert set(former) == {p["pid"] for p in master.ask({"command": "status"})["processes"] if p["role"] != "master"}


@pytest.mark.parametrize("role", ["dispatcher", "sender:2", "listener"])
def test_a_new_process_that_does_not_work_brings_the_old_ones_back(master, role):
    master.start()
    former = master.pids()
    master.order(role, start="crash")
    mark = master.mark()
    done = master.cli("reload", code=1)
    assert "cannot work" in done.stderr and "signal 9" in done.stderr
    master.order(role)
    until("all four to work", lambda: [p["state"] for p in master.status()["processes"]] == ["running"] * 5)
    kept = set(former) & set(master.pids())
    assert set(master.pids("listener")) <= kept, "an old listener is not told to go before all is well"
    listeners = master.lives("starts", "listener", mark)
    assert all(one["settings"]["bridge main"]["slot"] == "b" for one in listeners)
    assert master.slot("dispatcher")["restarts"] >= 1
    assert "going back to the old configuration" in master.log_text()
    assert "reloaded" in master.cli("reload").stdout


def test_a_new_process_that_is_never_ready_brings_the_old_ones_back(master):
    master.start()
    former = master.pids("listener")
    master.order("sender:2", start="silent", stop="ignore")
    done = master.cli("reload", code=1)
    assert "sender 2 cannot work: it was not ready within 30 s" in done.stderr
    master.order("sender:2")
    until("all to work", lambda: [p["state"] for p in master.status()["processes"]] == ["running"] * 5)
    assert master.pids("listener") == former


def test_faults_at_the_start_of_a_new_process_are_told(master):
    master.start()
    master.order("dispatcher", start="faults", faults=[["/b.conf", 12, "the store is of a newer release"]])
    done = master.cli("reload", code=1)
    assert "/b.conf:12: the store is of a newer release" in done.stderr
    master.order("dispatcher")


def test_a_bridge_that_is_unusable_anyway_does_not_keep_others_from_reloading(master):
    master.order("listener", start="fatal", fatal="the Bridge refuses the key")
    master.start()
    assert "reloaded" in master.cli("reload").stdout
    assert master.slot("listener", "main")["state"] == "halted"


def test_an_old_listener_stays_until_the_new_one_is_subscribed(master):
    master.order("listener", state="subscribed")
    master.start()
    former = master.pids("listener")
    until("the subscription", lambda: master.slot("listener")["detail"] == "subscribed")
    master.order("listener", state="connecting")
    with master.connect() as s:
        s.sendall(b'{"command":"reload"}\n')
        until("a second listener", lambda: len(master.pids("listener")) == 2)
        until("it to say so", lambda: "connecting" in [p.get("detail") for p in master.status()["processes"]])
        assert not master.lives("quit", "listener")
        new = next(pid for pid in master.pids("listener") if pid not in former)
        master.order("listener", state="subscribed")
        os.kill(new, signal.SIGKILL)
        assert b'"ok":true' in read_line(s)
    until("the old one to leave", lambda: not set(former) & set(master.pids("listener")))


def test_a_new_key_that_is_refused_brings_the_old_one_back(master):
    master.order("listener", state="subscribed")
    master.start()
    former = master.pids("listener")
    until("the subscription", lambda: master.slot("listener")["detail"] == "subscribed")
    master.order("listener", **{"state": "connecting", "then fatal": "the Bridge refuses the key"})
    done = master.cli("reload", code=1)
    assert "the Bridge refuses the key" in done.stderr
    master.order("listener", state="subscribed")
    until("all to work", lambda: [p["state"] for p in master.status()["processes"]] == ["running"] * 5)
    assert master.pids("listener") == former


def test_requests_during_a_reload_are_answered(master):
    master.start()
    master.order("dispatcher", quit="ignore")
    with master.connect() as s:
        s.sendall(b'{"command":"reload"}\n')
        master.wait_log("reloading")
        status = master.ask({"command": "status"}, "status")
        assert status["processes"][0]["detail"] == "reloading"
        refused = master.ask({"command": "scale", "senders": "+1"})
        assert not refused["ok"] and "reloading" in refused["error"]
        until("the old dispatcher to be asked to leave", lambda: master.lives("quit", "dispatcher"))
        os.kill(next(p["pid"] for p in status["processes"] if p["role"] == "dispatcher"), signal.SIGKILL)
        assert b'"ok":true' in read_line(s)
    master.order("dispatcher")


def test_a_door_keeps_its_socket_when_its_address_stays(master):
    port = free_port()
    master.write(change=lambda text: text.replace("listen = off", f'listen = "127.0.0.1:{port}"'))
    master.start()
    waiting = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    master.cli("reload")
    waiting.settimeout(0.2)
    with pytest.raises(TimeoutError):
        waiting.recv(1)  # neither served nor reset: it waits in the socket's queue for the new dispatcher
    waiting.close()
    master.write(change=lambda text: text)
    master.cli("reload")
    until("the closed door", lambda: refuses(port))


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), LIMIT_S).close()
    except ConnectionRefusedError:
        return True
    return False


# ---- the end ----

def test_graceful_end_goes_from_the_source_to_the_store(master):
    master.start()
    master.signal(signal.SIGQUIT)
    assert master.wait_end() == 0
    order = [one["role"] for one in master.lives("quit")]
    assert order == ["listener", "sender", "sender", "dispatcher"]
    left = [one["role"] for one in master.lives("leaves") if one["code"] == 0][-4:]
    assert left == order
    assert not master.lives("stop")
    assert os.listdir(master.runtime) == ["session"]
    assert "finish what is in flight" in master.log_text() and f"from_pid={os.getpid()}" in master.log_text()


def test_fast_end_stops_all_at_once(master):
    master.start()
    master.signal(signal.SIGTERM)
    assert master.wait_end() == 0
    assert len(master.lives("stop")) == 4 and not master.lives("quit")


def test_the_same_signal_again_is_harder(master):
    for role in ("listener", "sender", "dispatcher"):
        master.order(role, quit="ignore", stop="ignore")
    master.start()
    children = master.pids()
    master.signal(signal.SIGQUIT)
    until("the listener to be asked", lambda: master.lives("quit", "listener"))
    master.signal(signal.SIGQUIT)
    until("all to be told to stop", lambda: len(master.lives("stop")) == 4)
    master.signal(signal.SIGTERM)
    assert master.wait_end() == 0
    assert "did not leave in time" not in master.log_text(), "killed, not waited for"
    assert not any(is_alive(pid) for pid in children)


def test_children_that_do_not_stop_are_killed(master):
    master.order("sender:1", stop="ignore")
    master.start()
    master.signal(signal.SIGTERM)
    assert master.wait_end() == 0
    assert "did not leave in time; it is killed" in master.log_text()


def test_stop_waits_until_everything_has_gone(master):
    master.start()
    assert "stopped" in master.cli("stop").stdout
    assert master.lives("quit", "listener") and master.wait_end() == 0
    master.start()
    mark = master.mark()
    assert "stopped" in master.cli("stop", "--now").stdout
    assert not master.lives("quit", since=mark) and master.wait_end() == 0


def test_an_end_during_the_start_is_an_end(master):
    master.order("sender", start="silent")
    master.start(ready=False)
    until("a sender that is not ready", lambda: master.lives("starts", "sender"))
    assert [p["state"] for p in master.status()["processes"]][2] == "starting"
    master.signal(signal.SIGTERM)
    assert master.wait_end() == 0


def test_an_end_during_a_reload_is_an_end(master):
    master.start()
    master.order("sender", start="silent")
    with master.connect() as s:
        s.sendall(b'{"command":"reload"}\n')
        until("a new sender that is not ready", lambda: len(master.lives("starts", "sender")) > 2)
        master.signal(signal.SIGTERM)
        assert b"stopping" in s.recv(4096)
    assert master.wait_end() == 0


# ---- with the service manager ----

def test_the_service_manager_is_told(master, service_manager):
    master.start(environment=service_manager.environment)
    service_manager.hears("READY=1")
    service_manager.hears("WATCHDOG=1")
    assert all("NOTIFY_SOCKET" not in one["environment"] and "WATCHDOG_USEC" not in one["environment"]
               for one in master.lives("starts"))
    master.cli("reload")
    service_manager.hears("RELOADING=1\nMONOTONIC_USEC=")
    service_manager.hears("READY=1")
    master.stop()
    service_manager.hears("STOPPING=1")


def test_log_files_are_opened_again(master):
    log = master.dir / "own.txt"
    master.write(more=f'log {{ file = "{log}" }}')
    master.start(ready=False)
    until("the log file", lambda: log.exists() and "bridgebell is up" in log.read_text())
    log.rename(master.dir / "old.txt")
    master.signal(signal.SIGUSR1)
    until("a new one", lambda: log.exists() and "log files opened again" in log.read_text())
    until("all to have done it", lambda: len(master.lives("reopens")) == 4)
    master.cli("reopen")
    until("all to have done it again", lambda: len(master.lives("reopens")) == 8)


def test_permissions(master):
    old = os.umask(0)
    try:
        master.start()
    finally:
        os.umask(old)
    assert mode_of(master.runtime) == 0o750
    assert mode_of(master.runtime / "status.sock") == 0o660
    assert mode_of(master.runtime / "control.sock") == 0o600
    assert mode_of(master.runtime / "bridgebell.pid") == 0o644
    assert (master.runtime / "bridgebell.pid").read_text() == f"{master.process.pid}\n"
    with open(f"/proc/{master.process.pid}/cmdline") as title:
        assert title.read().startswith(f"bridgebell: master {master.config}")
    with open(f"/proc/{master.process.pid}/environ", errors="replace") as environment:
        assert SECRET not in environment.read()
