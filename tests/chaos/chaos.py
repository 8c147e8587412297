"""The chaos driver behind scripts/chaos.

The real processes run between the simulators while a seeded scheduler kills, stops, cuts, delays, throttles, loses and repeats
replies, fills the disk and reloads. The simulated Bridge numbers every event; the simulated provider remembers every
accepted idx for 24 hours and, apart from that, judges doubles by number and text whatever the idx. At the end every message
that is due must have been accepted exactly once and stand as sent in the store, or stand there in a state that `queue ls`
lists; the sum must be exact, no process may have crashed or stayed away, and an idle line must be idle.

A seed fixes the faults, their order and the pauses between them; the same seed plays them again.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

THREAD = "6757b81daafe67cb6e19180e"
KEY_ID = "00112233445566778899aabbccddeeff"
KEY_SECRET = "ffeeddccbbaa99887766554433221100"
NUMBERS = ["+48500500500", "+48500500501"]
DRAIN_S = 240
LIMIT_S = 60  # for what takes a moment on a machine with nothing else to do
IDLE_CPU_MOST = 0.25  # of one core, each process, after all is done
RSS_MOST_MB = 200
# States as the store writes them (dispatcher/store.h).
STATES = ["queued", "leased", "held", "sent", "delivered", "undelivered", "suppressed", "merged", "expired", "cancelled",
          "uncertain", "dead", "damaged"]
SENT = {"sent", "delivered", "undelivered"}
LISTED = {"expired", "cancelled", "uncertain", "dead", "damaged"}


def fetch(url, body=None, timeout=LIMIT_S):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=timeout) as answer:
        return json.loads(answer.read())


def held_port():
    """A socket that never listens, and its port: nobody else is given it, and the product can listen on it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]


def kill(pid):
    """False if it has gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children_of(pid):
    try:
        return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


class World:
    """Simulators, product and disk."""

    def __init__(self, binaries, directory, tmpfs):
        self.bin, self.dir = binaries, directory
        self.disk = directory / "disk"
        self.disk.mkdir()
        self.mounted = False
        if tmpfs and os.geteuid() == 0:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", self.disk], capture_output=True)
            self.mounted = done.returncode == 0
        self.bridge, self.bridge_control = self.sim("bridge-sim")
        self.provider, self.provider_control = self.sim("smsapi-sim")
        fetch(self.provider_control + "/_sim/config", {"attempts_max": 0})
        self.master = None
        self.deaths = []
        self.stopped = set()  # pids that were made to stand still
        self.holder, self.door = held_port()
        self.environment = dict(os.environ)
        self.clock_file = self.make_clock()
        self.rule_version = 0
        self.write_config()

    def make_clock(self):
        """A clock that can be set: a library before the C library's, which adds what a file says to the time of day."""
        library, offset = self.dir / "clock.so", self.dir / "clock.offset"
        source = Path(__file__).resolve().parent / "clock.c"
        made = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], capture_output=True)
        offset.write_bytes(struct.pack("=q", 0))
        if made.returncode:
            return None
        # The sanitizers' runtime wants to be first among the libraries; a clock before it does no harm.
        sanitizer = ":".join(word for word in (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0") if word)
        self.environment |= {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(offset), "ASAN_OPTIONS": sanitizer}
        return offset

    def set_clock(self, seconds):
        with open(self.clock_file, "r+b") as f:
            f.write(struct.pack("=q", seconds))

    def sim(self, name, *words):
        ports = [self.dir / f"{name}.port", self.dir / f"{name}.control"]
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen([self.bin / name, "--listen", "127.0.0.1:0", "--port-file", ports[0], "--control",
                                        "127.0.0.1:0", "--control-port-file", ports[1], *words], stdout=log, stderr=log)
        setattr(self, name.split("-")[0] + "_process", process)
        end = time.monotonic() + LIMIT_S
        while not all(p.exists() for p in ports):
            if time.monotonic() > end:
                sys.exit(f"chaos: {name} did not start")
            time.sleep(0.01)
        return [f"http://127.0.0.1:{int(p.read_text())}" for p in ports]

    def write_config(self, broken=False):
        for name, text in (("secret", KEY_SECRET), ("token", "sim-token")):
            path = self.dir / name
            if not path.exists():
                path.write_text(text)
                path.chmod(0o600)
        text = f'''
runtime_dir = "{self.dir}/run"
installation = "chaos"
bridge "main" {{
    url = "{self.bridge}/api"
    api_key_id = "{KEY_ID}"
    api_key_secret_file = "{self.dir}/secret"
    channels = {{ thread }}
    spill_dir = "{self.dir}"
    connect_timeout = 2s
    request_timeout = 2s
    reconnect_min = 50ms
    reconnect_max = 500ms
    silence_limit = 5s
}}
provider "smsapi" {{
    type = smsapi
    url = "{self.provider}"
    token_file = "{self.dir}/token"
    requests_per_second = 2000
    attempts_per_number = off
    connect_timeout = 1s
    request_timeout = 2s
    retry_min = 100ms
    retry_max = 2s
    max_attempts = 1000
}}
recipients "people" {{ to = {{ "{NUMBERS[0]}", "{NUMBERS[1]}" }} }}
rule "chaos" {{
    when = "channel == 'thread' && type == 'threadNewMessage' && data.threadId == '{THREAD}'"
    to = {{ people }}
    message = "{{{{ data.id }}}} chaos"
    caps = off
}}
rule "never {self.rule_version}" {{
    when = "type == 'threadDeleted' && data.threadId == 'none{self.rule_version}'"
    to = {{ people }}
    message = "never"
}}
dispatcher {{ store = "sqlite:{self.disk}/queue.db"  min_free = 8MiB  log_limit = 4MiB }}
sender {{ processes = 2 }}
metrics {{ listen = "127.0.0.1:{self.door}" }}
log {{ file = "{self.dir}/bridgebell.log" }}
'''
        if broken:
            text += 'rule "broken" { when = "channel ==" to = { people } mesage = "x" }\n'
        (self.dir / "chaos.conf").write_text(text)

    def start_master(self):
        self.write_config()
        with open(self.dir / "master.log", "ab") as log:
            self.master = subprocess.Popen([self.bin / "bridgebell", "run", "-c", self.dir / "chaos.conf"], stdout=log,
                                           stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                           env=self.environment)

    def look_after_master(self):
        """What the service manager does: a master that has ended by itself is started again, and that is remembered."""
        if self.master.poll() is not None:
            self.deaths.append(f"the master ended by itself: {self.master.returncode}")
            self.start_master()

    def pids(self, role):
        return [p for p in children_of(self.master.pid) if f"bridgebell: {role}" in title_of(p)]

    def cli(self, *words):
        done = subprocess.run([self.bin / "bridgebell", words[0], "-c", self.dir / "chaos.conf", *words[1:]],
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def status(self):
        rc, out, _ = self.cli("status", "--json")
        try:
            return json.loads(out) if rc == 0 else {}
        except ValueError:
            return {}

    def stop_product(self):
        pids = children_of(self.master.pid) if self.master else []
        if self.master and self.master.poll() is None:
            self.master.send_signal(signal.SIGTERM)
            try:
                self.master.wait(40)
            except subprocess.TimeoutExpired:
                for pid in [*pids, self.master.pid]:
                    kill(pid)
                self.master.wait()
                self.deaths.append("the master did not end within 40 s of TERM")

    def stop(self):
        self.stop_product()
        for process in (self.bridge_process, self.smsapi_process):
            process.terminate()
            process.wait(LIMIT_S)
        if self.mounted:
            subprocess.run(["umount", "-l", self.disk])

    def jobs(self):
        """Every job in the store: (number, text) and its state. Only while nobody has it open."""
        with sqlite3.connect(f"file:{self.disk}/queue.db?mode=ro", uri=True) as db:
            return [((number.lstrip("+"), text), STATES[state])
                    for number, text, state in db.execute("SELECT number, text, state FROM jobs")]


class Feeder(threading.Thread):
    """Posts messages to the watched thread, and some noise, until told to stop; remembers every id."""

    def __init__(self, world, seed, per_s):
        super().__init__(daemon=True)
        self.world, self.random, self.per_s = world, random.Random(seed), per_s
        self.posted, self.noise, self.burst, self.stopping = {}, 0, 0, threading.Event()
        self.error = None

    def post(self, body):
        return fetch(self.world.bridge_control + "/_sim/create", body)

    def post_one(self, thread):
        now_ns = time.monotonic_ns()
        self.posted[self.post({"kind": "message", "threadId": thread})["id"]] = now_ns

    def run(self):
        try:
            self.feed()
        except (OSError, ValueError) as error:
            self.error = error

    def feed(self):
        other = self.post({"kind": "thread"})["id"]
        while not self.stopping.is_set():
            if self.random.random() < 0.3:
                self.post({"kind": "message", "threadId": other})
                self.noise += 1
            else:
                self.post_one(THREAD)
            while self.burst > 0:
                self.burst -= 1
                self.post_one(THREAD)
            self.stopping.wait(self.random.expovariate(self.per_s))


class Faults:
    """The seeded scheduler. Each fault is a method named fault_*; what must be undone later is queued with its time."""

    def __init__(self, world, feeder, seed, kinds=None):
        self.world, self.feeder, self.seed = world, feeder, seed
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.number, self.deck = 0, []
        self.clock_s = self.clock_most_s = 0
        self.undo = []
        self.log = open(world.dir / "faults.log", "w", encoding="utf-8")
        self.methods = sorted(name for name in dir(self) if name.startswith("fault_"))
        if kinds:
            self.methods = [m for m in self.methods if any(k in m for k in kinds)]
        if not world.mounted:
            self.methods = [m for m in self.methods if "disk_full" not in m]
        if not world.clock_file:
            self.methods = [m for m in self.methods if m != "fault_clock"]
        if not self.methods:
            sys.exit("chaos: no such fault")

    def pause(self, mean_s):
        """Each fault has random numbers of its own, so that what one uses does not change the next."""
        self.number += 1
        self.random = random.Random(f"{self.seed}/{self.number}")
        time.sleep(self.random.expovariate(1 / mean_s))

    def strike(self):
        """Every kind once, in an order that the seed gives, then all over again."""
        if not self.deck:
            self.deck = self.random.sample(self.methods, len(self.methods))
        name = self.deck.pop()
        self.note(name[6:])
        if getattr(self, name)() is False:
            self.note("  (nothing to strike)")
        else:
            self.counts[name[6:]] += 1

    def note(self, text):
        self.log.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {time.monotonic():.3f} {self.number} {text}\n")
        self.log.flush()

    def later(self, seconds, action):
        self.undo.append((time.monotonic() + seconds, action))

    def undo_due(self, everything=False):
        now = time.monotonic()
        due = [item for item in self.undo if everything or item[0] <= now]
        self.undo = [item for item in self.undo if item not in due]
        for _, action in sorted(due, key=lambda item: item[0]):
            action()

    # ---- processes ----
    def signal_role(self, role, number):
        pids = self.world.pids(role)
        if not pids:
            return False
        pid = self.random.choice(pids)
        self.note(f"  {title_of(pid)}, {pid}")
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def fault_kill_listener_and_dispatcher(self):
        return self.signal_role("listener", signal.SIGKILL) and self.signal_role("dispatcher", signal.SIGKILL)

    def fault_kill_dispatcher_and_senders(self):
        struck = self.signal_role("dispatcher", signal.SIGKILL)
        for pid in self.world.pids("sender"):
            kill(pid)
        return struck

    def fault_kill_sender(self):
        return self.signal_role("sender", signal.SIGKILL)

    def fault_kill_dispatcher(self):
        return self.signal_role("dispatcher", signal.SIGKILL)

    def fault_kill_listener(self):
        return self.signal_role("listener", signal.SIGKILL)

    def fault_term_sender(self):
        return self.signal_role("sender", signal.SIGTERM)

    def fault_kill_master(self):
        self.world.master.kill()
        self.world.master.wait()
        self.world.start_master()

    def fault_kill_all(self):
        pids = children_of(self.world.master.pid)
        self.world.master.kill()
        for pid in pids:
            kill(pid)
        self.world.master.wait()
        self.world.start_master()

    def fault_stop_and_resume(self):
        pids = self.world.pids(self.random.choice(["sender", "dispatcher", "listener"]))
        if not pids:
            return False
        pid = self.random.choice(pids)
        self.note(f"  {title_of(pid)}, {pid}")

        def resume():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        self.world.stopped.add(pid)
        self.later(self.random.choice([0.05, 0.3, 1, 3, 8]), resume)
        return True

    def fault_reload(self):
        self.world.rule_version += 1
        self.world.write_config()
        self.world.master.send_signal(signal.SIGHUP)

    def fault_bad_reload(self):
        self.world.write_config(broken=True)
        self.world.master.send_signal(signal.SIGHUP)
        self.later(1, self.world.write_config)

    def fault_more_and_fewer_senders(self):
        more = self.counts["more_and_fewer_senders"] % 2 == 0
        self.world.master.send_signal(signal.SIGTTIN if more else signal.SIGTTOU)

    def fault_clock(self):
        """The host's time of day jumps: forward for good, or far to either side and back."""
        how = self.random.choice(["forward", "back", "there and back"])
        if how == "forward":
            self.clock_s += self.random.choice([5, 90, 600])
        elif how == "back":
            self.clock_s -= self.random.choice([1, 10, 40])
        else:
            steady = self.clock_s
            self.later(self.random.uniform(0.5, 3), lambda: self.world.set_clock(max(steady, self.clock_s)))
            self.world.set_clock(self.clock_s - self.random.choice([3600, 7200, 86400]))
            return
        self.clock_most_s = max(self.clock_most_s, self.clock_s)
        self.world.set_clock(self.clock_s)

    def set_clock_right(self):
        """What the alarm asks of an operator: while the clock is behind, unknown outcomes are not asked again."""
        if self.world.clock_file:
            self.world.set_clock(self.clock_most_s)

    # ---- the Bridge ----
    def bridge(self, path, **body):
        fetch(self.world.bridge_control + "/_sim/" + path, body)

    def fault_bridge_half_open(self):
        self.bridge("config", mute=1)
        self.later(self.random.choice([1, 7]), lambda: self.bridge("config", mute=0))

    def fault_bridge_cut_and_kill(self):
        """The listener dies before it has caught up."""
        self.bridge("drop", how="rst")
        self.later(self.random.uniform(0, 0.3), lambda: self.signal_role("listener", signal.SIGKILL))

    def fault_bridge_list_fails(self):
        self.bridge("config", fault_method=self.random.choice(["thread/listThreadMessages", "thread/listThreads",
                                                               "context/listContexts"]),
                    fault_answer={"error": {"code": -32603, "message": "Internal error"}},
                    fault_method_count=self.random.randint(1, 3))
        self.bridge("drop", how="fin")

    def fault_bridge_key_disabled(self):
        self.bridge("update", kind="key", id=KEY_ID, enabled=False)
        self.bridge("drop", how="fin")

        def enable():
            # A listener whose key is refused waits for the operator.
            self.bridge("update", kind="key", id=KEY_ID, enabled=True)
            self.world.write_config()
            self.world.master.send_signal(signal.SIGHUP)
        self.later(self.random.uniform(0.5, 3), enable)

    def fault_bridge_upgrade_refused(self):
        self.bridge("config", upgrade_status=self.random.choice([404, 500, 503]),
                    upgrade_status_count=self.random.randint(1, 4))
        self.bridge("drop", how="fin")

    def fault_bridge_upgrade_hangs(self):
        self.bridge("config", upgrade_hang_count=1)
        self.bridge("drop", how="rst")

    def fault_bridge_burst(self):
        self.feeder.burst = self.random.choice([100, 400])

    def fault_bridge_cut(self):
        self.bridge("drop", how=self.random.choice(["fin", "rst"]))

    def fault_bridge_close(self):
        self.bridge("close", code=self.random.choice([1000, 1001, 1011, 1012]))

    def fault_bridge_restart(self):
        self.bridge("restart", ms=self.random.choice([0, 200, 1500]), lose_sessions=self.random.random() < 0.3)

    def fault_bridge_refuse(self):
        self.bridge("refuse", ms=self.random.choice([100, 1000]))

    def fault_bridge_expire(self):
        self.bridge("expire", refresh=self.random.random() < 0.5)

    def fault_bridge_evict(self):
        self.bridge("evict")

    def fault_bridge_429(self):
        self.bridge("config", limit_answer_count=self.random.randint(1, 3))

    def fault_bridge_5xx(self):
        self.bridge("config", http_status=502, http_status_count=self.random.randint(1, 4))
        self.later(2, lambda: self.bridge("config", http_status=0))

    def fault_bridge_silent(self):
        self.bridge("config", answer_none_count=1)

    def fault_bridge_garbage(self):
        self.bridge("config", answer_garbage_count=1)

    # ---- the provider ----
    def provider(self, faults):
        fetch(self.world.provider_control + "/_sim/faults", {"seed": self.random.randint(1, 1 << 30), "faults": faults})

    def provider_for_a_while(self, fault, seconds=None):
        self.provider([fault])
        self.later(seconds or self.random.uniform(0.5, 3), lambda: self.provider([]))

    def fault_provider_reply_lost(self):
        self.provider_for_a_while({"what": self.random.choice(["close", "rst", "truncated", "cut_json", "non_json", "empty"]),
                                   "probability": 0.5})

    def fault_provider_hangs(self):
        self.provider_for_a_while({"what": self.random.choice(["hang", "hang_before"]), "probability": 0.3})

    def fault_provider_closes_before(self):
        self.provider_for_a_while({"what": self.random.choice(["close_before", "rst_before"]), "probability": 0.5})

    def fault_provider_5xx(self):
        self.provider_for_a_while({"what": self.random.choice(["status", "status_after"]), "probability": 0.5,
                                   "status": self.random.choice([500, 502, 503, 504])})

    def fault_provider_429(self):
        self.provider_for_a_while({"what": "status", "status": 429, "retry_after": 1, "count": 3})

    def fault_provider_code(self):
        self.provider_for_a_while({"what": "error", "code": self.random.choice([8, 201, 202, 203, 666, 999, 101, 103]),
                                   "count": self.random.randint(1, 20)})

    def fault_provider_code_after(self):
        self.provider_for_a_while({"what": "error_after", "code": self.random.choice([8, 201, 666, 999]),
                                   "count": self.random.randint(1, 20)})

    def fault_provider_slow(self):
        self.provider_for_a_while({"what": "delay", "ms": 100, "jitter_ms": 2500})

    def fault_provider_repeats_reply(self):
        self.provider_for_a_while({"what": "duplicate", "probability": 0.5})

    def fault_provider_refuses(self):
        fetch(self.world.provider_control + "/_sim/refuse", {"ms": self.random.choice([200, 2000])})

    def fault_provider_drips(self):
        self.provider_for_a_while({"what": "slow", "ms": 5, "probability": 0.3})

    # ---- the disk ----
    def fault_disk_full(self):
        ballast = self.world.disk / "ballast"
        if ballast.exists():
            return False
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
        self.later(self.random.uniform(1, 4), lambda: ballast.unlink(missing_ok=True))
        return True

    def fault_disk_full_and_kill(self):
        if self.fault_disk_full() is False:
            return False
        self.later(self.random.uniform(0, 1), lambda: self.signal_role("dispatcher", signal.SIGKILL))
        return True


def is_drained(world):
    """True once nothing is under way any more."""
    status = world.status()
    queue = status.get("queue")
    return bool(queue) and queue.get("queued", 1) == 0 and queue.get("leased", 1) == 0 and all(
        b.get("state") == "subscribed" for b in status.get("bridges", []))


def accepted_messages(world):
    """How often each (number, text) was accepted, and when last (CLOCK_MONOTONIC in ns)."""
    texts, at_ns = collections.Counter(), {}
    since = 0
    while True:
        page = fetch(f"{world.provider_control}/_sim/messages?since={since}", timeout=60)["messages"]
        for message in page:
            key = (message["number"].lstrip("+"), message["text"])
            texts[key] += 1
            at_ns[key] = message["ns"]
        if not page:
            return texts, at_ns
        since = max(message["n"] for message in page)


def wait_drained(world, expected):
    """Until all that is due is accepted or will not be asked for again; gives up when nothing has changed for long."""
    begin = changed = time.monotonic()
    before = None
    while time.monotonic() < begin + DRAIN_S and time.monotonic() < changed + 90:
        world.look_after_master()
        if is_drained(world):
            texts, _ = accepted_messages(world)
            missing = sum(1 for key in expected if not texts[key])
            queue = world.status().get("queue", {})
            if missing <= sum(queue.get(state, 0) for state in LISTED):
                break
            if missing != before:
                before, changed = missing, time.monotonic()
        else:
            changed = time.monotonic()
        time.sleep(0.5)
    return time.monotonic() - begin


class Watch:
    """Memory and idle time of the processes."""

    def __init__(self, world):
        self.world, self.most_mb = world, collections.Counter()

    def processes(self):
        return [self.world.master.pid, *children_of(self.world.master.pid)]

    def look(self):
        for pid in self.processes():
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
            role = (title_of(pid).split() or ["?"])
            role = role[1] if "bridgebell:" in role[0] and len(role) > 1 else "master"
            self.most_mb[role] = max(self.most_mb[role], pages * 4096 >> 20)

    def ticks(self):
        used = {}
        for pid in self.processes():
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            used[pid] = (int(words[11]) + int(words[12]), title_of(pid))
        return used

    def idle(self, seconds=2):
        """The share of a core that each process uses while nothing is to be done."""
        before = self.ticks()
        time.sleep(seconds)
        return {title: (after - before[pid][0]) / os.sysconf("SC_CLK_TCK") / seconds
                for pid, (after, title) in self.ticks().items() if pid in before}


def bring_up(world):
    world.start_master()
    end = time.monotonic() + 2 * LIMIT_S
    while not any(b.get("state") == "subscribed" for b in world.status().get("bridges", [])):
        if time.monotonic() > end:
            sys.exit("chaos: the line did not come up")
        time.sleep(0.2)


def strike_for(options, world, feeder, faults, watch):
    finish = time.monotonic() + options.minutes * 60
    next_note = time.monotonic() + 30
    while time.monotonic() < finish and sum(faults.counts.values()) < options.faults:
        faults.pause(options.pause)
        faults.undo_due()
        world.look_after_master()
        faults.strike()
        watch.look()
        if time.monotonic() > next_note:
            next_note += 30
            print(f"chaos: {len(feeder.posted)} events, {sum(faults.counts.values())} faults", flush=True)


def run(options, world):
    feeder = Feeder(world, options.seed, options.per_second)
    faults = Faults(world, feeder, options.seed + 1, options.only)
    watch = Watch(world)
    bring_up(world)
    feeder.start()
    strike_for(options, world, feeder, faults, watch)
    feeder.stopping.set()
    feeder.join()
    faults.undo_due(everything=True)
    faults.set_clock_right()
    fetch(world.bridge_control + "/_sim/reset", {})
    fetch(world.provider_control + "/_sim/reset", {})
    fetch(world.provider_control + "/_sim/config", {"attempts_max": 0})
    faults.note("the end")
    expected = {(number.lstrip("+"), f"{id} chaos"): ns for id, ns in feeder.posted.items() for number in NUMBERS}
    took_s = wait_drained(world, expected)
    idle = watch.idle()
    watch.look()
    world.stop_product()
    return report(options, world, feeder, faults, expected, took_s, watch, idle)


def crashes(world):
    """Ends of processes that the driver has no part in, and what a sanitizer said."""
    found = list(world.deaths)
    for name in ("bridgebell.log", "master.log"):
        path = world.dir / name
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            if "Sanitizer" in line or "level=panic" in line or "panic:" in line:
                found.append(line[:200])
            elif 'msg="process ended"' in line and "signal 9 " not in line and not (
                    "exit code 78" in line or ("role=sender" in line and "exit code 0" in line)):
                found.append(line[:200])
            elif "the store is damaged" in line or "idx collision" in line:
                found.append(line[:200])
            elif ("not ready in time" in line or "did not leave in time" in line) and int(
                    line.split(" pid=")[1].split()[0]) not in world.stopped:
                found.append(line[:200])
    return found


def account(world, expected, texts):
    """Compares what was due, what the provider accepted and what the store says; the number of each kind of trouble."""
    jobs = collections.defaultdict(list)
    for key, state in world.jobs():
        jobs[key].append(state)
    trouble = collections.defaultdict(list)
    listed = collections.Counter()
    for key in expected:
        states = jobs.get(key, [])
        listed.update(states)
        if len(states) > 1:
            trouble["two jobs"].append(key)
        elif texts[key] == 0 and not states:
            trouble["lost"].append(key)
        elif texts[key] == 0 and states[0] not in LISTED:
            trouble[f"not accepted but {states[0]}"].append(key)
        elif texts[key] and (not states or states[0] not in SENT):
            trouble[f"accepted but {states[0] if states else 'unknown'}"].append(key)
        if texts[key] > 1:
            trouble["doubled"].append(key)
    trouble["never due"] = [key for key in {*texts, *jobs} if key not in expected]
    # Accepted without the line knowing it: that is what uncertain means.
    trouble.pop("accepted but uncertain", None)
    return listed, {what: keys for what, keys in trouble.items() if keys}


def report(options, world, feeder, faults, expected, took_s, watch, idle):
    texts, at_ns = accepted_messages(world)
    listed, trouble = account(world, expected, texts)
    once = sum(1 for key in expected if texts[key] == 1)
    print(f"\nseed {options.seed}: {len(feeder.posted)} events matched, {feeder.noise} did not, {len(expected)} messages due")
    print("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(faults.counts.items()))
          + f"; in all {sum(faults.counts.values())}")
    print(f"accepted once: {once}; in the store: " + (", ".join(f"{state} {n}" for state, n in sorted(listed.items()))))
    delays = sorted((at_ns[key] - ns) / 1e9 for key, ns in expected.items() if key in at_ns)
    if delays:
        print(f"seconds from event to acceptance: median {delays[len(delays) // 2]:.3f}, "
              f"99 % {delays[len(delays) * 99 // 100]:.1f}, most {delays[-1]:.1f}; to the end after the last fault {took_s:.1f}")
    print("memory at most, MB: " + ", ".join(f"{role} {mb}" for role, mb in sorted(watch.most_mb.items())))
    print(f"lost: {len(trouble.get('lost', []))}  doubled: {len(trouble.get('doubled', []))}  unexplained: "
          f"{sum(len(keys) for what, keys in trouble.items() if what not in ('lost', 'doubled'))}")
    for what, keys in trouble.items():
        print(f"  {what}: {len(keys)}: " + ", ".join(f"{text} to …{number[-3:]} ({expected.get((number, text), 0) / 1e9:.3f})"
                                                    for number, text in keys[:4]))
    wrong = crashes(world)
    wrong += [f"idle, but uses {share:.0%} of a core: {title}" for title, share in idle.items() if share > IDLE_CPU_MOST]
    wrong += [f"{role} grew to {mb} MB" for role, mb in watch.most_mb.items() if mb > RSS_MOST_MB]
    if feeder.error:
        wrong.append(f"the simulated Bridge failed: {feeder.error}")
    for line in wrong[:20]:
        print("  " + line)
    slow = sorted(((at_ns[key] - ns) / 1e9, ns / 1e9, key[1]) for key, ns in expected.items() if key in at_ns)
    (world.dir / "slow.log").write_text("".join(f"{late:.2f} s: posted {at:.3f} {text}\n" for late, at, text in slow[::-1]))
    return not trouble and not wrong


def main():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--faults", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--pause", type=float, default=0.7, help="mean seconds between faults")
    parser.add_argument("--per-second", type=float, default=30, help="events")
    parser.add_argument("--only", nargs="*", help="only faults whose name contains one of these words")
    parser.add_argument("--keep", action="store_true", help="keep the directory with all logs")
    parser.add_argument("--directory", type=Path, help="put it there, and leave removing it to the caller")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randint(1, 1 << 31)
    print(f"chaos: seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="bridgebell-chaos-", dir=options.directory))
    world = World(options.bin.resolve(), directory, tmpfs=True)
    good = False
    try:
        good = run(options, world)
    finally:
        world.stop()
        if good and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"chaos: logs are in {directory}; the same again: scripts/chaos --minutes {options.minutes:g} "
                  f"--seed {options.seed} --pause {options.pause:g}"
                  + (f" --only {' '.join(options.only)}" if options.only else ""))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
