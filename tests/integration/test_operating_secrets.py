"""Who can see what: secrets, texts and numbers, users and rights, on the real programs."""
import json
import os
import pwd
import re
import signal
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from conftest import Bell, children_of, title_of, until
from line import NUMBER, Line

BRIDGE_SECRET = "ffeeddccbbaa99887766554433221100"
TOKEN = "sim-token"
TEXT = "a text for nobody's eyes"
LARGEST = 1 << 28  # larger pieces of memory are a sanitizer's own


def everybody(one):
    return {title_of(pid).removeprefix("bridgebell: ").split()[0].split(":")[0]: pid
            for pid in [one.process.pid, *children_of(one.process.pid)]}


def memory_of(pid):
    """All that is readable of a process's memory."""
    parts = []
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("r") or "[v" in line:
                continue
            begin, end = (int(x, 16) for x in span.split("-"))
            if end - begin > LARGEST:
                continue
            try:
                mem.seek(begin)
                parts.append(mem.read(end - begin))
            except (OSError, ValueError, OverflowError):
                pass
    return b"\0".join(parts)


def working(line, bell, secret_lines=None, env=None):
    world = line()
    config = world.config(rules=world.rule(message=TEXT))
    for old, new in (secret_lines or {}).items():
        old = old.replace("{dir}", str(world.dir))
        assert old in config
        config = config.replace(old, new)
    one = bell(config)
    one.start(env=env)
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    return world, one


@pytest.mark.skipif(os.geteuid() != 0, reason="other processes' memory is for root")
def test_each_process_holds_only_its_own_secret(line, bell):
    environment = {"BELL_BRIDGE_SECRET": BRIDGE_SECRET, "BELL_TOKEN": TOKEN}
    world, one = working(line, bell, env=environment, secret_lines={
        'api_key_secret_file = "{dir}/bridge.secret"': 'api_key_secret = "${BELL_BRIDGE_SECRET}"',
        'token_file = "{dir}/provider.token"': 'token = "${BELL_TOKEN}"'})
    assert world.provider.token == TOKEN and world.bridge.key_secret == BRIDGE_SECRET
    pids = everybody(one)
    memory = {role: memory_of(pid) for role, pid in pids.items()}
    assert BRIDGE_SECRET.encode() in memory["listener"], "else this test looks at the wrong place"
    assert TOKEN.encode() in memory["sender"]
    for role in ("dispatcher", "sender"):
        assert BRIDGE_SECRET.encode() not in memory[role], f"the {role} holds the Bridge's secret"
    for role in ("dispatcher", "listener"):
        assert TOKEN.encode() not in memory[role], f"the {role} holds the provider's token"
    assert NUMBER.encode() not in memory["listener"], "the listener holds phone numbers"
    for role, pid in pids.items():
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        variables = Path(f"/proc/{pid}/environ").read_bytes() if role != "master" else b""
        for secret in (BRIDGE_SECRET, TOKEN):
            assert secret.encode() not in words, role
            assert secret.encode() not in variables, role


def test_nothing_private_is_written_anywhere(line, bell):
    world, one = working(line, bell, secret_lines={"sender { processes": "log { level = debug }\nsender { processes"})
    one.cli("send", "--to", NUMBER, "--message", TEXT, "--wait")
    # What goes wrong is told with more words.
    world.provider.faults({"what": "error", "code": 13})
    one.cli("send", "--to", NUMBER, "--message", TEXT, "--wait", check=False)
    world.provider.faults({"what": "cut_json"}, {"what": "non_json"})
    one.cli("send", "--to", NUMBER, "--message", TEXT)
    until("an unknown outcome", lambda: one.status()["sending"]["unknown"] > 0)
    world.bridge.expire(refresh=True)
    world.bridge.drop()
    one.wait_log("logged in at the Bridge")
    one.cli("reload")
    said = one.cli("status").stdout + one.cli("status", "--json").stdout + one.http("/metrics")[1] \
        + one.http("/status.json")[1] + one.log_text()
    for private in (TEXT, BRIDGE_SECRET, TOKEN, NUMBER, NUMBER[1:], "Bearer", "accessToken"):
        assert private not in said, private


def ask(path, request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        s.sendall(json.dumps(request).encode() + b"\n")
        text = b""
        while not text.endswith(b"\n"):
            more = s.recv(65536)
            assert more
            text += more
    return json.loads(text)


def test_the_status_socket_masks_numbers_and_texts(line, bell):
    _, one = working(line, bell)
    number = one.cli("send", "--to", NUMBER, "--message", TEXT, "--wait").stdout.split()[0]
    for request in ({"command": "status"}, {"command": "queue-list"}, {"command": "queue-show", "id": number}):
        answer = ask(one.runtime / "status.sock", request)
        assert answer["ok"], answer
        text = json.dumps(answer)
        assert NUMBER not in text and NUMBER[1:] not in text and TEXT not in text, request
    masked = ask(one.runtime / "status.sock", {"command": "queue-list"})["jobs"][0]
    assert any(str(value).endswith(NUMBER[-3:]) for value in masked.values()), masked
    assert NUMBER in json.dumps(ask(one.runtime / "control.sock", {"command": "queue-show", "id": number}))
    refused = ask(one.runtime / "status.sock", {"command": "send", "to": NUMBER, "message": "x"})
    assert not refused["ok"] and refused["hint"]
    modes = {name: stat.S_IMODE((one.runtime / name).stat().st_mode) for name in ("status.sock", "control.sock")}
    assert modes == {"status.sock": 0o660, "control.sock": 0o600}
    assert stat.S_IMODE(one.runtime.stat().st_mode) == 0o750


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(line, bell, mode):
    world = line()
    one = bell(world.config())
    (world.dir / "bridge.secret").chmod(mode)
    for words in (("check",), ("run",)):
        done = one.cli(*words, check=False)
        assert done.returncode == 1 and "chmod 600" in done.stderr and "bridge.secret" in done.stderr
    assert world.bridge.state()["logins"] == {}


def test_a_secret_from_the_service_managers_credentials(line, bell, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    # One by a bare name in the configuration, one by the name that needs no line in it.
    (credentials / "the-secret").write_text(BRIDGE_SECRET + "\n")
    (credentials / "provider-smsapi-token").write_text(TOKEN)
    world, one = working(line, bell, env={"CREDENTIALS_DIRECTORY": str(credentials)}, secret_lines={
        'api_key_secret_file = "{dir}/bridge.secret"': 'api_key_secret_file = "the-secret"',
        'token_file = "{dir}/provider.token"': ''})
    for pid in children_of(one.process.pid):
        assert b"CREDENTIALS_DIRECTORY" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert len(world.provider.messages()) == 1


def test_a_missing_variable_is_named(line, bell):
    world = line()
    one = bell(world.config().replace(f'token_file = "{world.dir}/provider.token"', 'token = "${NO_SUCH_VARIABLE}"'))
    done = one.cli("check", check=False)
    assert done.returncode == 1 and "NO_SUCH_VARIABLE" in done.stderr and f"{one.config}:" in done.stderr


def test_what_check_prints_is_a_configuration(line, bell, tmp_path):
    world = line()
    one = bell(world.config())
    printed = one.cli("check", "--print").stdout
    assert BRIDGE_SECRET not in printed and TOKEN not in printed and printed.count("<secret>") == 2
    # Read again, with secrets in place, it means the same; only the places in comments differ.
    (tmp_path / "again").mkdir()
    again = Bell(tmp_path / "again")
    again.config.write_text(printed.replace('"<secret>"', '"put back"'))

    def without_places(text):
        return [re.sub(r"\s+# .*", "", one_line) for one_line in text.splitlines() if not one_line.startswith("#")]
    assert without_places(again.cli("check", "--print").stdout) == without_places(printed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_started_by_root_it_becomes_the_user():
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        own = directory / "own"
        own.mkdir()
        os.chown(own, user.pw_uid, user.pw_gid)
        world = Line(own)
        one = Bell(directory, f'user = "nobody"\n{world.config()}')
        try:
            for secret in ("bridge.secret", "provider.token"):
                os.chown(own / secret, user.pw_uid, user.pw_gid)
            one.start()
            world.subscribed()
            world.bridge.message()
            world.provider.wait_accepted(1)
            for pid in [one.process.pid, *children_of(one.process.pid)]:
                status = Path(f"/proc/{pid}/status").read_text()
                ids = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", status, re.MULTILINE).groups()
                assert set(ids) == {str(user.pw_uid)}, title_of(pid)
                groups = re.search(r"^Gid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", status, re.MULTILINE).groups()
                assert set(groups) == {str(user.pw_gid)}
                assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
            for path in (own / "queue.db", one.runtime, one.runtime / "control.sock", one.runtime / "status.sock",
                         one.runtime / "bridgebell.pid"):
                assert path.stat().st_uid == user.pw_uid, path
            assert stat.S_IMODE((own / "queue.db").stat().st_mode) & 0o077 == 0
            # Secrets are read again, as that user.
            one.cli("reload")
            (own / "provider.token").chmod(0o644)
            assert "chmod 600" in one.cli("reload", check=False).stderr
            (own / "provider.token").chmod(0o600)
            os.chown(own / "provider.token", 0, 0)
            refused = one.cli("reload", check=False)
            assert refused.returncode == 1 and "provider.token" in refused.stderr
            os.chown(own / "provider.token", user.pw_uid, user.pw_gid)
            one.cli("reload")
            world.bridge.message()
            world.provider.wait_accepted(2)
            assert one.stop(signal.SIGQUIT) == 0
        finally:
            one.kill_everything()
            world.stop()
