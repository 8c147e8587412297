"""Fixtures: a directory of its own for each test, the simulators, and the real programs on top of them.

Everything polls with a limit; nothing sleeps for a fixed time. On failure the logs of all processes are printed.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

BIN = Path(os.environ.get("BRIDGEBELL_BIN", Path(__file__).resolve().parents[2] / "build/release/bin"))
POLL_S = 0.02
LIMIT_S = 60.0  # long enough for a machine with many other things to do; who is ready sooner is not kept waiting

COMMAND_S = 240  # a reload may wait for a process that is never ready, and for the way back

# The resolver's own patience, where no server of names can be reached, is longer than the line's.
QUICK_RESOLVER = {"RES_OPTIONS": "timeout:1 attempts:1"}

# What the surroundings say must not change what is tested.
for variable in [name for name in os.environ if name.lower().endswith("_proxy")] + [
        "CREDENTIALS_DIRECTORY", "CURL_CA_BUNDLE", "NOTIFY_SOCKET", "NO_COLOR", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZDIR",
        "WATCHDOG_PID", "WATCHDOG_USEC"]:
    os.environ.pop(variable, None)
os.umask(0o022)
# A shell that starts something in the background has it ignore these, and every program below it.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def until(what, condition, limit_s=LIMIT_S):
    """Returns the first true value of condition(); fails with WHAT after LIMIT_S."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"waited {limit_s} s for: {what}")
        time.sleep(POLL_S)


held_ports = []


def free_port():
    """A port that is for this test alone until the tests end. A socket holds it that never listens: the system gives it
    to nobody who asks for any port, and a program that allows addresses to be used again can listen on it all the same."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    held_ports.append(s)
    return s.getsockname()[1]


def children_of(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def title_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


class Bell:
    """The running product: `bridgebell run` with its children, in a directory of its own."""

    def __init__(self, directory, config=None, command=BIN / "bridgebell"):
        self.command = command
        self.dir = Path(directory)
        self.runtime = self.dir / "run"
        self.config = self.dir / "bridgebell.conf"
        self.log = self.dir / "bridgebell.log"
        self.process = None
        self.port = free_port()
        if config is not None:
            self.write(config)

    def write(self, rules_and_more):
        """Writes the configuration: the common part plus what the test adds."""
        self.config.write_text(
            f'runtime_dir = "{self.runtime}"\n'
            f'metrics {{ listen = "127.0.0.1:{self.port}" }}\n'
            + rules_and_more)

    def start(self, ready=True, env=None):
        out = open(self.log, "ab")
        self.process = subprocess.Popen([self.command, "run", "-c", self.config], stdout=out, stderr=out,
                                        stdin=subprocess.DEVNULL, cwd=self.dir, env={**os.environ, **(env or {})})
        out.close()
        if ready:
            until("the dispatcher's door", lambda: self.http("/healthz")[0] == 200)
        return self

    def stop(self, sig=signal.SIGTERM, limit_s=LIMIT_S):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(limit_s)
        return self.process.returncode if self.process else None

    def kill_everything(self):
        if not self.process:
            return
        pids = children_of(self.process.pid) + [self.process.pid]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(LIMIT_S)

    def child(self, role):
        """The pid of the first child whose title names ROLE."""
        def find():
            for pid in children_of(self.process.pid):
                if f"bridgebell: {role}" in title_of(pid):
                    return pid
            return None
        return until(f"a {role}", find)

    def cli(self, *words, check=True, env=None, stdin=None):
        done = subprocess.run([self.command, words[0], "-c", self.config, *words[1:]], capture_output=True,
                              text=True, timeout=COMMAND_S, env=env, input=stdin)
        if check and done.returncode != 0:
            pytest.fail(f"bridgebell {' '.join(words)} gave {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def status(self):
        """The status; a dispatcher that has too much to do for an answer in the master's time is asked again."""
        def answered():
            status = json.loads(self.cli("status", "--json").stdout)
            return None if "does not answer" in status.get("missing_reason", "") else status
        return until("the dispatcher to answer", answered)

    def http(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_log(self, text):
        return until(f"the log to say {text!r}", lambda: text in self.log_text())


# A directory of its own for each run, whoever else runs: its name is short, because a socket's path has room for 107
# bytes only, and it goes when all is well.

def pytest_configure(config):
    config.own_directory = None
    if not config.option.basetemp:
        config.own_directory = tempfile.mkdtemp(prefix="bell-", dir="/tmp")
        config.option.basetemp = config.own_directory + "/t"


def pytest_sessionfinish(session, exitstatus):
    if session.config.own_directory and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(session.config.own_directory)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and "tmp_path" in item.funcargs:
        for log in sorted(Path(item.funcargs["tmp_path"]).rglob("*.log")):
            text = log.read_text(errors="replace")
            report.sections.append((str(log.name), text[-12000:]))


@pytest.fixture
def bell(tmp_path):
    bells = []

    def make(config, name="bell"):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        one = Bell(directory, config)
        bells.append(one)
        return one

    yield make
    for one in bells:
        try:
            one.stop()
        except subprocess.TimeoutExpired:
            one.kill_everything()
            pytest.fail("bridgebell did not stop within its time")
        text = one.log_text()
        for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "panic:"):
            assert word not in text, f"{word} in the log"


class ServiceManager:
    """Hears what is said to $NOTIFY_SOCKET, at once: a queue that nobody empties soon has no room."""

    def __init__(self, path):
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}
        self.told = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while text := self.socket.recv(4096).decode():
            self.told.append(text)

    def hears(self, word):
        """Waits for WORD and forgets what came before it and with it."""
        found = until(f"the service manager to hear {word!r}", lambda: [
            n for n, text in enumerate(self.told) if word in text])[0]
        del self.told[:found + 1]

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.environment["NOTIFY_SOCKET"])
        self.reader.join()
        self.socket.close()


@pytest.fixture
def service_manager(tmp_path):
    one = ServiceManager(tmp_path / "notify")
    yield one
    one.close()


@pytest.fixture
def line(tmp_path):
    from line import Line
    lines = []

    def make(**options):
        lines.append(Line(tmp_path, **options))
        return lines[-1]

    yield make
    for one in lines:
        one.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority and a certificate for 127.0.0.1, made by openssl."""
    directory = tmp_path_factory.mktemp("tls")
    files = {name: str(directory / f"{name}.pem") for name in ("ca", "ca_key", "cert", "key", "request")}

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", files["ca_key"], "-out", files["ca"], "-days", "2", "-subj",
            "/CN=bridgebell test authority")
    openssl("req", *new_key, "-keyout", files["key"], "-out", files["request"], "-subj", "/CN=127.0.0.1")
    extensions = directory / "extensions"
    extensions.write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
    openssl("x509", "-req", "-in", files["request"], "-CA", files["ca"], "-CAkey", files["ca_key"], "-CAcreateserial",
            "-out", files["cert"], "-days", "2", "-extfile", str(extensions))
    return files
