"""A real master over stand-ins for its children (fake_role.py)."""
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, COMMAND_S, LIMIT_S, children_of, until

ROLES = ("dispatcher", "sender", "listener")
FAKE = Path(__file__).resolve().parent / "fake_role.py"
SECRET = "a-secret-of-many-letters"

CONFIG = """
runtime_dir = "{run}"
metrics {{ listen = off }}
bridge "main" {{ url = "http://127.0.0.1:9/api" api_key_id = "id" api_key_secret = "${{BRIDGE_SECRET}}" }}
provider "p" {{ type = log }}
recipients "oncall" {{ to = {{ "+48500500500" }} }}
rule "r" {{ when = "true" to = {{ oncall }} message = "hi" }}
dispatcher {{ store = "sqlite:{dir}/queue.db" }}
sender {{ processes = 2 }}
{more}
"""


class Master:
    def __init__(self, directory):
        self.dir = Path(directory)
        self.runtime = self.dir / "run"
        self.fake = self.dir / "fake"
        self.config = self.dir / "bridgebell.conf"
        self.log = self.dir / "bridgebell.log"
        self.bin = self.dir / "bin"
        self.process = None
        self.environment = {**os.environ, "FAKE_DIR": str(self.fake), "BRIDGE_SECRET": SECRET}
        self.bin.mkdir()
        self.fake.mkdir()
        self.dir.chmod(0o755)
        self.fake.chmod(0o777)
        shutil.copy(BIN / "bridgebell", self.bin)
        for role in ROLES:
            shutil.copy(FAKE, self.bin / f"bridgebell-{role}")
            (self.bin / f"bridgebell-{role}").chmod(0o755)
        self.write()

    # ---- before ----

    def write(self, more="", change=lambda text: text):
        self.config.write_text(change(CONFIG.format(run=self.runtime, dir=self.dir, more=more)))

    def order(self, role, **what):
        """What ROLE ("sender", "sender:2") does from its next start on (answers: at once)."""
        path = self.fake / f"{role}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(what))
        fresh.rename(path)

    def start(self, ready=True, environment=None):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([self.bin / "bridgebell", "run", "-c", self.config], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL, cwd=self.dir,
                                            env={**self.environment, **(environment or {})})
        if ready:
            until("the master to be up", lambda: self.has_ended() or self.says("bridgebell is up", self.process.pid))
            assert self.process.poll() is None, self.log_text()
        return self

    # ---- during ----

    def has_ended(self):
        return self.process.poll() is not None

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def says(self, text, pid=None):
        """True if the log has TEXT (of the master with PID: behind its first line)."""
        log = self.log_text()
        if pid:
            log = log[log.rfind(f"pid={pid}\n"):]
        return text in log

    def wait_log(self, text):
        return until(f"the log to say {text!r}", lambda: self.says(text))

    def lives(self, event=None, role=None, since=0):
        """What happened to the children, oldest first."""
        try:
            lines = (self.fake / "lives.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines[since:]]
        return [one for one in found if event in (None, one["event"]) and role in (None, one["role"])]

    def mark(self):
        """For lives(since=…)."""
        return len(self.lives())

    def pids(self, role=None):
        running = [p for p in self.status()["processes"] if p["role"] != "master" and p["pid"]]
        return [p["pid"] for p in running if role in (None, p["role"])]

    def cli(self, *words, code=0, stdin=None):
        done = subprocess.run([self.bin / "bridgebell", words[0], "-c", self.config, *words[1:]], capture_output=True,
                              text=True, timeout=COMMAND_S, env=self.environment, input=stdin)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def slot(self, role, name=""):
        """The status of one place in the line."""
        found = [p for p in self.status()["processes"] if p["role"] == role and (not name or p["name"] == name)]
        assert found, f"no {role} {name}"
        return found[-1]

    def wait_state(self, role, name, state):
        return until(f"{role} {name} to be {state}", lambda: self.slot(role, name)["state"] == state)

    def connect(self, name="control"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT_S)
        s.connect(str(self.runtime / f"{name}.sock"))
        return s

    def ask(self, request, name="control"):
        with self.connect(name) as s:
            s.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
            return json.loads(read_line(s))

    # ---- after ----

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, limit_s=LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pytest.fail("the master did not end")

    def stop(self):
        if self.process and not self.has_ended():
            self.signal(signal.SIGTERM)
            self.wait_end()

    def kill_everything(self):
        for pid in [*children_of(self.process.pid), self.process.pid] if self.process and not self.has_ended() else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait(LIMIT_S)


def read_line(s):
    data = b""
    while not data.endswith(b"\n"):
        piece = s.recv(65536)
        if not piece:
            break
        data += piece
    return data


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def master(tmp_path):
    one = Master(tmp_path)
    yield one
    try:
        one.stop()
    finally:
        one.kill_everything()
    text = one.log_text()
    for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "panic:"):
        assert word not in text, f"{word} in the log"
