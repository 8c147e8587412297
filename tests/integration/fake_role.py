#!/usr/bin/python3
"""A child process that does what a test tells it: stands in for listener, dispatcher and sender under a real master.

Installed under the three executables' names beside a copy of `bridgebell`. What it should do comes from the directory in
$FAKE_DIR: ROLE.json holds the orders for a role, read anew at each start; ROLE:INSTANCE.json goes before it. Everything
that happens to it is appended to lives.jsonl there.

Orders: {"validate": [[file, line, text]…] | "crash once", "start": "ready" | "silent" | "leave on TERM" | "crash" | "faults" | "fatal",
         "quit": "leave" | "ignore", "stop": "leave" | "ignore", "answer": "status" | "silent" | "garbage",
         "faults": [[…]], "fatal": "text", "state": "well", "then fatal": "text"}
"""
import json
import os
import signal
import socket
import struct
import sys

SLICE, QUIT, STOP, REOPEN, CONTROL = 1, 2, 3, 4, 5
READY, FAULTS, FATAL, REPLY, STATE = 64, 65, 66, 67, 68


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(pack(one) for one in value)


class Unpacker:
    SIZES = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q",
             0xca: ">f", 0xcb: ">d"}
    BYTES = {0xd9: ">B", 0xda: ">H", 0xdb: ">I", 0xc4: ">B", 0xc5: ">H", 0xc6: ">I"}
    ARRAYS = {0xdc: ">H", 0xdd: ">I"}

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self):
        tag = self.take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xe0:
            return tag - 0x100
        if 0x90 <= tag < 0xa0:
            return [self.value() for _ in range(tag & 15)]
        if 0xa0 <= tag < 0xc0:
            return self.take(tag & 31).decode()
        if tag in self.SIZES:
            return self.number(self.SIZES[tag])
        if tag in self.BYTES:
            return self.take(self.number(self.BYTES[tag])).decode(errors="replace")
        if tag in self.ARRAYS:
            return [self.value() for _ in range(self.number(self.ARRAYS[tag]))]
        return {0xc0: None, 0xc2: False, 0xc3: True}[tag]


class Role:
    def __init__(self):
        self.dir = os.environ["FAKE_DIR"]
        self.role = os.path.basename(sys.argv[0]).replace("bridgebell-", "")
        self.line = socket.socket(fileno=3)
        self.instance = ""

    def tell(self, kind, *fields):
        data = pack([kind, *fields])
        self.line.sendall(struct.pack("<I", len(data)) + data)

    def note(self, event, **more):
        text = json.dumps({"event": event, "role": self.role, "instance": self.instance, "pid": os.getpid(), **more})
        fd = os.open(os.path.join(self.dir, "lives.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, text.encode() + b"\n")
        os.close(fd)

    def orders(self):
        for name in (f"{self.role}:{self.instance}.json", f"{self.role}.json"):
            try:
                with open(os.path.join(self.dir, name), encoding="utf-8") as file:
                    return json.load(file)
            except FileNotFoundError:
                pass
        return {}

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.line.recv(count - len(data))
            if not piece:
                self.note("master gone")
                os._exit(0)
            data += piece
        return data

    def message(self):
        size, = struct.unpack("<I", self.read(4))
        kind, *fields = Unpacker(self.read(size)).value()
        return kind, fields

    def leave(self, code=0):
        self.note("leaves", code=code)
        os._exit(code)

    def settings(self, slice):
        """By block; what a block does not say itself is among the defaults of its kind."""
        def values(settings):
            return {s[0]: s[2] if s[1] == 1 else s[3] for s in settings}
        defaults, blocks = slice
        defaults = {kind: values(settings) for kind, _title, _file, _line, settings in defaults}
        return {f"{kind} {title}".strip(): {**defaults.get(kind, {}), **values(settings)}
                for kind, title, _file, _line, settings in blocks}

    def begin(self, fields):
        self.instance, validate_only, has_door, slice = fields
        do = self.orders()
        if validate_only:
            faults = do.get("validate", [])
            self.note("validates")
            if faults == "crash once":
                os.unlink(os.path.join(self.dir, f"{self.role}.json"))
                os.kill(os.getpid(), signal.SIGKILL)
            self.tell(FAULTS, faults)
            self.leave(78 if faults else 0)
        self.note("starts", settings=self.settings(slice), door=has_door, environment=dict(os.environ), uid=os.getuid(),
                  groups=os.getgroups(), fds=sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
                  umask=open("/proc/self/status").read().split("Umask:")[1].split()[0],
                  blocked=open("/proc/self/status").read().split("SigBlk:")[1].split()[0])
        how = do.get("start", "ready")
        if how == "leave on TERM":
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        if how == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "faults":
            self.tell(FAULTS, do["faults"])
            self.leave(78)
        if how == "fatal":
            self.tell(FATAL, do["fatal"])
            self.leave(78)
        if how == "ready":
            self.tell(READY)
            self.tell(STATE, do.get("state", "well"))
            if "then fatal" in do:
                self.tell(FATAL, do["then fatal"])
                self.leave(78)

    def control(self, fields):
        number, text = fields
        request = json.loads(text)
        self.note("asked", request=request)
        how = self.orders().get("answer", "status")
        if how == "status":
            self.tell(REPLY, number, json.dumps({"ok": True, "queue": {"queued": 3}, "by": os.getpid(),
                                                  "events": {"interest_confirmed": True}}))
        elif how == "garbage":
            self.tell(REPLY, number, "this is not JSON")

    def run(self):
        while True:
            kind, fields = self.message()
            if kind == SLICE:
                self.begin(fields)
            elif kind == CONTROL:
                self.control(fields)
            elif kind == REOPEN:
                self.note("reopens")
            elif kind in (QUIT, STOP):
                word = "quit" if kind == QUIT else "stop"
                self.note(word)
                if self.orders().get(word, "leave") == "leave":
                    self.leave()


for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
Role().run()
