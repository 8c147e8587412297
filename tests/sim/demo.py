"""The demo behind scripts/demo: traffic on a simulated Bridge, phones at a simulated provider, the real product between."""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

THREAD = "6757b81daafe67cb6e19180e"
KEY_ID = "00112233445566778899aabbccddeeff"
KEY_SECRET = "ffeeddccbbaa99887766554433221100"
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
SAYINGS = ["the build is red", "disk 91 % on db-2", "customer on line 3", "deploy finished", "who has the keys?",
           "backup is late", "certificate expires in 7 days", "queue is growing", "all quiet"]


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def say(kind, text):
    print(f"{time.strftime('%H:%M:%S')}  {paint('36', kind.ljust(8))}{text}", flush=True)


def held_port():
    """A socket that never listens, and its port: nobody else is given it, and Bridgebell can listen on it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]


def post(url, body):
    request = urllib.request.Request(url, data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


class Demo:
    def __init__(self, binaries, directory):
        self.bin = binaries
        self.dir = directory
        self.programs = []
        self.holder, self.door = held_port()
        self.texts = 0  # that must ring

    def start(self, name, *command, show=False):
        out = None if show else open(self.dir / f"{name}.log", "ab")
        program = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT if out else None,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        self.programs.append((name, program))
        return program

    def port_of(self, name):
        path = self.dir / f"{name}.port"
        if not self.wait_for(path.exists):
            self.fail(f"{name} did not start")
        return int(path.read_text())

    def wait_for(self, condition, limit_s=60):
        """The first true value of condition(), or None after so long or when the last program has ended."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.programs[-1][1].poll() is None:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        return None

    def fail(self, text):
        for log in self.dir.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
        sys.exit(f"demo: {text}")

    def write_config(self):
        for name, text in (("bridge.secret", KEY_SECRET), ("provider.token", "sim-token")):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(0o600)
        self.config = self.dir / "demo.conf"
        self.config.write_text(f'''# The demo's configuration: the rule of the documentation's script, on simulators.
runtime_dir = "{self.dir}/run"
bridge "main" {{
    url                 = "{self.bridge}/api"
    api_key_id          = "{KEY_ID}"
    api_key_secret_file = "{self.dir}/bridge.secret"
    channels            = {{ thread }}
    spill_dir           = "{self.dir}"
}}
provider "smsapi" {{
    type       = smsapi
    url        = "{self.provider}"
    token_file = "{self.dir}/provider.token"
    retry_min  = 2s
    attempts_per_number = off   # a simulated phone may ring more often than ten times a minute
}}
recipients "oncall" {{ to = {{ "+48500500500" }} }}
rule "demo" {{
    when    = "channel == 'thread' && type == 'threadNewMessage' && data.threadId == '{THREAD}'"
    to      = {{ oncall }}
    message = "{{{{ author }}}} wrote: {{{{ data.publicMeta.text }}}}"
    caps    = off               # and more often than sixty times an hour
}}
dispatcher {{ store = "sqlite:{self.dir}/queue.db"  min_free = 1MiB }}
sender     {{ processes = 2 }}
metrics    {{ listen = "127.0.0.1:{self.door}" }}
''')

    def bell(self, *words):
        return subprocess.run([self.bin / "bridgebell", words[0], "-c", self.config, *words[1:]], capture_output=True,
                              text=True, timeout=60)

    def status(self):
        done = self.bell("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_subscribed(self):
        def subscribed():
            status = self.status()
            return status if status and any(b.get("state") == "subscribed" for b in status.get("bridges", [])) else None
        status = self.wait_for(subscribed)
        if not status:
            self.fail("bridgebell did not subscribe" if self.programs[-1][1].poll() is None else "bridgebell ended at once")
        return status

    def bring_up(self):
        print(paint("1", "Bridgebell demo") + " - a simulated Bridge, a simulated provider, the real thing between them."
              "\nNothing leaves this machine.\n")
        self.start("bridge", self.bin / "bridge-sim", "--listen", "127.0.0.1:0", "--port-file", self.dir / "bridge.port")
        self.start("provider", self.bin / "smsapi-sim", "--listen", "127.0.0.1:0", "--port-file",
                   self.dir / "provider.port", "--print", show=True)
        self.bridge = f"http://127.0.0.1:{self.port_of('bridge')}"
        self.provider = f"http://127.0.0.1:{self.port_of('provider')}"
        post(f"{self.provider}/_sim/config", {"attempts_max": 0})
        self.write_config()
        self.start("bridgebell", self.bin / "bridgebell", "run", "-c", self.config)
        status = self.wait_subscribed()
        say("bell", f"running as pid {self.programs[-1][1].pid}, subscribed to the Bridge at {self.bridge}/api")
        return status

    def hints(self, status):
        sender = next((p["pid"] for p in status.get("processes", []) if p.get("role") == "sender"), None)
        command = f"{os.path.relpath(self.bin / 'bridgebell')}"
        conf = f"-c {self.config}"
        print("\n" + paint("1", "Try in another terminal:") + f"""
  kill -9 {sender}                 a sender dies: it is started again, no text is lost or sent twice
  curl -d '{{"ms":15000}}' {self.provider}/_sim/refuse
                               the provider is down for 15 s: texts wait, then ring
  curl -d '{{}}' {self.bridge}/_sim/drop
                               the Bridge cuts the connection: what is missed is fetched
  {command} silence add "author == 'bob'" --for 1m {conf}
                               bob is not heard for a minute
  {command} replay --since 5m --texts {conf}
                               what the rules make of the last five minutes (--without-silences: had bob not been silenced)
  {command} status {conf}
  {command} queue ls {conf}
  {command} send {conf} --to +48500500501 --message "hello"
Ctrl-C ends the demo.
""", flush=True)

    def traffic(self, noise):
        text = random.choice(SAYINGS)
        author = random.choice(["alice", "bob"])
        try:
            if noise:
                post(self.bridge + "/_sim/create", {"kind": "thread", "publicMeta": {"name": text}})
                say("event", paint("2", f"threadCreated by {author}: no rule wants it"))
            else:
                say("event", f"threadNewMessage by {author}")
                post(self.bridge + "/_sim/create", {"kind": "message", "threadId": THREAD, "author": author,
                                                    "publicMeta": {"text": text}})
                self.texts += 1
        except OSError as error:
            say("event", f"the Bridge cannot be reached: {error}")

    def queue_line(self):
        status = self.status()
        if not status:
            say("queue", "the dispatcher does not answer just now")
            return
        counts = {k: v for k, v in status.get("queue", {}).items() if isinstance(v, int) and v and "ms" not in k}
        say("queue", ", ".join(f"{v} {k}" for k, v in counts.items()) or "empty")

    def run(self, seconds):
        status = self.bring_up()
        self.hints(status)
        end = time.monotonic() + seconds if seconds else float("inf")
        turn = 0
        while time.monotonic() < end:
            self.traffic(noise=turn > 0 and random.random() < 0.4)   # a visitor hears a phone at once
            turn += 1
            if turn % 5 == 0:
                self.queue_line()
            time.sleep(min(1 + random.random(), max(0, end - time.monotonic())))
        # What is still on its way rings; what a visitor silenced does not.
        self.wait_for(lambda: ((self.status() or {}).get("queue") or {}).get("sent", 0) >= self.texts, 10)
        self.queue_line()

    def stop(self):
        for name, program in reversed(self.programs):
            if program.poll() is None:
                program.send_signal(signal.SIGTERM)
                try:
                    program.wait(15)
                except subprocess.TimeoutExpired:
                    program.kill()
                    program.wait()


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description="rings a simulated phone")
    parser.add_argument("bin", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0, help="end by itself after so long")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bridgebell-demo-"))
    demo = Demo(options.bin.resolve(), directory)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        demo.run(options.seconds)
    except KeyboardInterrupt:
        print()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        demo.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("demo: ended; nothing is left running, nothing is left behind")


if __name__ == "__main__":
    main()
