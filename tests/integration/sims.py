"""Starts and steers the simulators (tests/sim/README.md) from tests, demos and benchmarks."""

import glob
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

LIMIT_S = 60  # for what takes a moment on a machine with nothing else to do
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def find_binary(name):
    """Looks in $BRIDGEBELL_BIN, else in the newest build directory that has it."""
    directory = os.environ.get("BRIDGEBELL_BIN")
    if directory and os.path.exists(os.path.join(directory, name)):
        return os.path.join(directory, name)
    found = glob.glob(os.path.join(ROOT, "build", "*", "bin", name))
    if not found:
        raise FileNotFoundError(f"{name} is not built (set BRIDGEBELL_BIN to the directory that has it)")
    return max(found, key=os.path.getmtime)


class ControlError(Exception):
    """The simulator refused a control call."""


class Sim:
    """What both simulators have in common. Use as a context manager or call start() and stop()."""

    binary_name = ""

    def __init__(self, config=None, tls=None, arguments=(), listen="127.0.0.1:0", binary=None):
        self.config = config
        self.tls = tls
        self.arguments = list(arguments)
        self.listen = listen
        self.binary = binary
        self.environment = {}
        self.process = None
        self.directory = None
        self.port = self.control_port = None

    def start(self):
        self.directory = tempfile.TemporaryDirectory(prefix=self.binary_name + "-")
        port_file = os.path.join(self.directory.name, "port")
        control_file = os.path.join(self.directory.name, "control")
        command = [self.binary or find_binary(self.binary_name), "--listen", self.listen, "--port-file", port_file,
                   "--control", "127.0.0.1:0", "--control-port-file", control_file, *self.arguments]
        if self.tls:
            command += ["--tls-cert", self.tls[0], "--tls-key", self.tls[1]]
        if self.config is not None:
            path = os.path.join(self.directory.name, "config.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.config, file)
            command += ["--config", path]
        # Text that nobody reads must not fill a pipe and stop the simulator.
        self.log = open(os.path.join(self.directory.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT,
                                        env={**os.environ, **self.environment})
        deadline = time.monotonic() + LIMIT_S
        while not (os.path.exists(port_file) and os.path.exists(control_file)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"{self.binary_name} did not start: {self.output()}")
            time.sleep(0.005)
        with open(port_file, encoding="ascii") as file:
            self.port = int(file.read())
        with open(control_file, encoding="ascii") as file:
            self.control_port = int(file.read())
        return self

    def output(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        output = self.output()
        self.log.close()
        self.directory.cleanup()
        if "Sanitizer" in output or "runtime error:" in output:
            raise AssertionError(f"{self.binary_name}: {output}")
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def control(self, path, body=None, raw=None, timeout=300):
        """A call of the control API: GET without a body, else POST of JSON (or of raw bytes)."""
        data = raw
        if body is not None:
            data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.control_port}/_sim/{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                text = answer.read().decode()
                json_answer = answer.headers.get("Content-Type", "").startswith("application/json")
        except urllib.error.HTTPError as error:
            raise ControlError(error.read().decode()) from None
        return json.loads(text) if json_answer else text

    def state(self):
        return self.control("state")

    def reset(self):
        """Takes back every fault and setting."""
        return self.control("reset", {})

    def refuse(self, ms=-1):
        """Refuses connections for so many milliseconds, or until resume()."""
        return self.control("refuse", {"ms": ms})

    def resume(self):
        return self.control("resume", {})

    def wait_for(self, predicate, timeout=LIMIT_S, what="the expected state"):
        """Polls state() until predicate(state) holds and returns that state."""
        deadline = time.monotonic() + timeout
        while True:
            state = self.state()
            if predicate(state):
                return state
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached in {timeout} s: {what}: {json.dumps(state)[:2000]}")
            time.sleep(0.01)


def _times(text):
    """Lines "id ns" as a dictionary of integers."""
    return {key: int(ns) for key, ns in (line.rsplit(" ", 1) for line in text.splitlines())}


class BridgeSim(Sim):
    binary_name = "bridge-sim"
    key_id = "00112233445566778899aabbccddeeff"
    key_secret = "ffeeddccbbaa99887766554433221100"
    solution_id = "93618fda-910a-47d8-a17a-ce8a170b895c"
    context_id = "9214534c-ad78-4a9b-bcf1-b54a6ae8ede4"
    thread_id = "6757b81daafe67cb6e19180e"

    @property
    def api_url(self):
        return self.url + "/api"

    @property
    def ws_url(self):
        return self.api_url.replace("http", "ws", 1)

    # what a user's client would do

    def rpc(self, method, params, token=None, request_id=1):
        """One call over HTTP; the parsed answer."""
        body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        request = urllib.request.Request(self.api_url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.loads(answer.read())

    def login(self, scope=None):
        """A login with the default key; the result member."""
        params = {"grantType": "api_key_credentials", "apiKeyId": self.key_id, "apiKeySecret": self.key_secret}
        if scope is not None:
            params["scope"] = scope
        return self.rpc("manager/auth", params)["result"]

    # making things

    def create(self, kind, **members):
        """Makes a solution, context, key, thread, store, inbox, stream, kvdb, message, file or entry."""
        return self.control("create", {"kind": kind, **members})

    def update(self, kind, **members):
        return self.control("update", {"kind": kind, **members})

    def delete(self, kind, **members):
        return self.control("delete", {"kind": kind, **members})

    def message(self, thread_id=None, **members):
        """A new message; its id."""
        return self.create("message", threadId=thread_id or self.thread_id, **members)["id"]

    def inbox_entry(self, inbox_id, files=0, **members):
        return self.control("inbox_entry", {"inboxId": inbox_id, "files": files, **members})

    def bulk(self, count, **order):
        """Many messages through the ordinary path: rate, share, thread_id, other_thread_id, shuffle, stats, wait."""
        return self.control("bulk", {"count": count, **order})

    def flood(self, count, **order):
        """Pre-generated frames: match_every, thread_id, frame_kind, rate, size_bytes, keep, lossy, wait."""
        return self.control("flood", {"count": count, **order}, timeout=1800)

    def flood_state(self):
        return self.control("flood")

    def stop_making(self):
        """Ends a flood and a bulk."""
        return self.control("stop", {})

    def emit(self, text, channel=None):
        """A frame byte for byte, to sockets subscribed to the channel (or to any)."""
        raw = text if isinstance(text, bytes) else text.encode()
        return self.control("emit" + (f"?channel={channel}" if channel else ""), raw=raw)["count"]

    def replay(self, path):
        """The frames of a JSONL file, one after another."""
        with open(path, "rb") as file:
            return self.control("replay", raw=file.read())["count"]

    def events(self, since=0):
        return self.control(f"events?since={since}")["events"]

    def sent_times(self):
        """Message id to CLOCK_MONOTONIC nanoseconds of its sending."""
        return _times(self.control("sent_times"))

    # faults

    def faults(self, **settings):
        """Settings and faults by name, see README.md."""
        return self.control("config", settings)

    def drop(self, how="fin", socket=0):
        return self.control("drop", {"how": how, "socket": socket})["count"]

    def close(self, code=1001, reason="", socket=0):
        return self.control("close", {"code": code, "reason": reason, "socket": socket})["count"]

    def restart(self, ms=0, lose_sessions=False, how="fin"):
        """Ends all connections, refuses new ones for so many milliseconds; may forget the token sessions."""
        return self.control("restart", {"ms": ms, "lose_sessions": lose_sessions, "how": how})

    def expire(self, access=True, refresh=False, session=None):
        return self.control("expire", {"access": access, "refresh": refresh, **({"session": session} if session else {})})

    def evict(self, session=None):
        return self.control("evict", {"session": session} if session else {})

    def disable_key(self, key_id=None):
        return self.update("key", id=key_id or self.key_id, enabled=False)

    def enable_key(self, key_id=None):
        return self.update("key", id=key_id or self.key_id, enabled=True)

    def delete_key(self, key_id=None):
        return self.delete("key", id=key_id or self.key_id)

    def ping_now(self):
        """Lets the ping clock strike now."""
        return self.control("ping", {})

    def wait_subscribed(self, channel="thread", count=1, timeout=LIMIT_S):
        """Waits until so many sockets are subscribed to the channel."""
        return self.wait_for(lambda s: sum(channel in k["channels"] for k in s["sockets"]) >= count, timeout,
                             f"{count} subscribed to {channel}")


class SmsapiSim(Sim):
    binary_name = "smsapi-sim"

    def __init__(self, token="sim-token", **more):
        super().__init__(**more)
        self.token = token
        # Never on the command line: it would be seen by everyone on the host.
        self.environment = {"SMSAPI_SIM_TOKEN": token}

    def messages(self, since=0):
        """What was accepted, in order; each has n, idx, number, text, from, time_ms, request, id, parts."""
        return self.control(f"messages?since={since}")["messages"]

    def accept_times(self):
        """Event id found in the text (else idx) to CLOCK_MONOTONIC nanoseconds of its acceptance."""
        return _times(self.control("accept_times"))

    def options(self, **settings):
        return self.control("config", settings)

    def faults(self, *faults, seed=None):
        """Fault rules, tried in order for each request, see README.md; each call replaces the former ones."""
        order = {"faults": list(faults)}
        if seed is not None:
            order["seed"] = seed
        return self.control("faults", order)

    def clear_faults(self):
        return self.faults()

    def forget(self):
        """Empties memory, registers and counters."""
        return self.control("forget", {})

    def advance_clock(self, seconds):
        return self.control("clock", {"advance_s": seconds})

    def hold_clock(self):
        """From now on only advance_clock() lets time pass for limits, registers and messages."""
        return self.control("clock", {"hold": True})

    def wait_accepted(self, count, timeout=LIMIT_S):
        """Waits until at least so many messages were accepted; returns them all."""
        self.wait_for(lambda s: s["accepted"] >= count, timeout, f"{count} accepted messages")
        return self.messages()
