"""The chaos driver behind scripts/chaos.

The real processes run between the simulators while a seeded scheduler kills, stops, cuts, delays, throttles, loses and repeats
replies, fills the disk and reloads. The simulated Bridge numbers every event; the simulated provider remembers every
accepted idx for 24 hours and, apart from that, judges doubles by number and text whatever the idx. At the end every event
that the rule matches must have been accepted exactly once or stand in a listed state, and the sum must be exact.

A seed fixes the faults and their order; the same seed plays them again.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import socket
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


def fetch(url, body=None, timeout=20):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=timeout) as answer:
        return json.loads(answer.read())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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
        self.rule_version = 0
        self.write_config()

    def sim(self, name, *words):
        ports = [self.dir / f"{name}.port", self.dir / f"{name}.control"]
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen([self.bin / name, "--listen", "127.0.0.1:0", "--port-file", ports[0], "--control",
                                        "127.0.0.1:0", "--control-port-file", ports[1], *words], stdout=log, stderr=log)
        setattr(self, name.split("-")[0] + "_process", process)
        end = time.monotonic() + 10
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
        if not hasattr(self, "door"):
            self.door = free_port()
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
    message = "chaos {{{{ data.id }}}}"
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
        with open(self.dir / "master.log", "ab") as log:
            self.master = subprocess.Popen([self.bin / "bridgebell", "run", "-c", self.dir / "chaos.conf"], stdout=log,
                                           stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

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

    def stop(self):
        pids = children_of(self.master.pid) if self.master else []
        if self.master and self.master.poll() is None:
            self.master.send_signal(signal.SIGTERM)
            try:
                self.master.wait(40)
            except subprocess.TimeoutExpired:
                for pid in [*pids, self.master.pid]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.master.wait()
        for process in (self.bridge_process, self.smsapi_process):
            process.terminate()
            process.wait(10)
        if self.mounted:
            subprocess.run(["umount", "-l", self.disk])


class Feeder(threading.Thread):
    """Posts messages to the watched thread, and some noise, until told to stop; remembers every id."""

    def __init__(self, world, seed, per_s):
        super().__init__(daemon=True)
        self.world, self.random, self.per_s = world, random.Random(seed), per_s
        self.ids, self.noise, self.stopping = [], 0, threading.Event()

    def post(self, body):
        return fetch(self.world.bridge_control + "/_sim/create", body)

    def run(self):
        other = self.post({"kind": "thread"})["id"]
        while not self.stopping.is_set():
            if self.random.random() < 0.3:
                self.post({"kind": "message", "threadId": other})
                self.noise += 1
            else:
                self.ids.append(self.post({"kind": "message", "threadId": THREAD})["id"])
            self.stopping.wait(self.random.expovariate(self.per_s))


class Faults:
    """The seeded scheduler. Each fault is a method named fault_*; what must be undone later is queued with its time."""

    def __init__(self, world, seed, kinds=None):
        self.world, self.random = world, random.Random(seed)
        self.counts = collections.Counter()
        self.undo = []
        self.methods = sorted(name for name in dir(self) if name.startswith("fault_"))
        if kinds:
            self.methods = [m for m in self.methods if any(k in m for k in kinds)]
        if not world.mounted:
            self.methods = [m for m in self.methods if m != "fault_disk_full"]
        if not self.methods:
            sys.exit("chaos: no such fault")

    def strike(self):
        name = self.random.choice(self.methods)
        if getattr(self, name)() is not False:
            self.counts[name[6:]] += 1

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
        try:
            os.kill(self.random.choice(pids), number)
        except ProcessLookupError:
            return False
        return True

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
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.world.master.wait()
        self.world.start_master()

    def fault_stop_and_resume(self):
        pids = self.world.pids(self.random.choice(["sender", "dispatcher", "listener"]))
        if not pids:
            return False
        pid = self.random.choice(pids)

        def resume():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
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
        self.world.master.send_signal(self.random.choice([signal.SIGTTIN, signal.SIGTTOU]))

    # ---- the Bridge ----
    def bridge(self, path, **body):
        fetch(self.world.bridge_control + "/_sim/" + path, body)

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
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
        self.later(self.random.uniform(1, 4), lambda: ballast.unlink(missing_ok=True))
        return True


def drained(world, feeder):
    """True once nothing is under way any more; the listed jobs then tell the rest."""
    queue = world.status().get("queue")
    return bool(queue) and queue.get("queued", 1) == 0 and queue.get("leased", 1) == 0


def accepted_texts(world):
    texts = collections.Counter()
    since = 0
    while True:
        page = fetch(f"{world.provider_control}/_sim/messages?since={since}", timeout=60)["messages"]
        for message in page:
            texts[(message["number"].lstrip("+"), message["text"])] += 1
        if not page:
            return texts
        since = max(message["n"] for message in page)


def listed_jobs(world):
    """Ended or waiting jobs that were not sent: how many, by state."""
    states = collections.Counter()
    for state in ("uncertain", "dead", "expired", "cancelled", "held", "queued", "leased", "damaged"):
        rc, out, _ = world.cli("queue", "ls", "--state", state, "--limit", "10000", "--json")
        if rc == 0:
            states[state] += len(json.loads(out).get("jobs", []))
    return states


def wait_drained(world, feeder, expected):
    end = time.monotonic() + DRAIN_S
    while time.monotonic() < end:
        if drained(world, feeder):
            texts = accepted_texts(world)
            if sum(1 for key in expected if texts[key]) + sum(listed_jobs(world).values()) >= len(expected):
                return True
        time.sleep(1)
    return False


def run(options, world):
    feeder = Feeder(world, options.seed, options.per_second)
    faults = Faults(world, options.seed + 1, options.only)
    world.start_master()
    end = time.monotonic() + 60
    while not any(b.get("state") == "subscribed" for b in world.status().get("bridges", [])):
        if time.monotonic() > end:
            sys.exit("chaos: the line did not come up")
        time.sleep(0.2)
    feeder.start()
    finish = time.monotonic() + options.minutes * 60
    next_note = time.monotonic() + 30
    while time.monotonic() < finish and sum(faults.counts.values()) < options.faults:
        time.sleep(faults.random.expovariate(1 / options.pause))
        faults.undo_due()
        faults.strike()
        if time.monotonic() > next_note:
            next_note += 30
            print(f"chaos: {len(feeder.ids)} events, {sum(faults.counts.values())} faults", flush=True)
    feeder.stopping.set()
    feeder.join()
    faults.undo_due(everything=True)
    fetch(world.bridge_control + "/_sim/reset", {})
    fetch(world.provider_control + "/_sim/faults", {"faults": []})
    expected = {(number.lstrip("+"), f"chaos {id}") for id in feeder.ids for number in NUMBERS}
    wait_drained(world, feeder, expected)
    return report(options, world, feeder, faults, expected)


def report(options, world, feeder, faults, expected):
    texts = accepted_texts(world)
    listed = listed_jobs(world)
    missing = [key for key in expected if texts[key] == 0]
    doubled = {key: n for key, n in texts.items() if n > 1}
    strange = [key for key in texts if key not in expected]
    unexplained = len(missing) - sum(listed.values())
    print(f"\nseed {options.seed}: {len(feeder.ids)} events matched, {feeder.noise} did not, {len(expected)} messages due")
    print("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(faults.counts.items()))
          + f"; in all {sum(faults.counts.values())}")
    print(f"accepted once: {sum(1 for key in expected if texts[key] == 1)}")
    print("listed: " + (", ".join(f"{state} {n}" for state, n in listed.items() if n) or "none"))
    print(f"lost: {max(unexplained, 0)}  doubled: {len(doubled)}  never due: {len(strange)}  "
          f"listed too many: {max(-unexplained, 0)}")
    for key in missing[:10]:
        print(f"  not accepted: {key[1]} to …{key[0][-3:]}")
    for key, n in list(doubled.items())[:10]:
        print(f"  accepted {n} times: {key[1]} to …{key[0][-3:]}")
    return unexplained == 0 and not doubled and not strange


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
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randint(1, 1 << 31)
    print(f"chaos: seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="bridgebell-chaos-"))
    world = World(options.bin.resolve(), directory, tmpfs=True)
    good = False
    try:
        good = run(options, world)
    finally:
        world.stop()
        if good and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"chaos: logs are in {directory}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
