"""A small blocking WebSocket client on the standard library, for tests that look at single frames."""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
from urllib.parse import urlsplit

LIMIT_S = 60  # for what takes a moment on a machine with nothing else to do
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class UpgradeRefused(Exception):
    """The server answered the upgrade with something else than 101."""

    def __init__(self, status, head):
        super().__init__(f"HTTP {status}")
        self.status = status
        self.head = head


class Ended(Exception):
    """The connection ended; `code` is that of the close frame, or None when there was none."""

    def __init__(self, code=None):
        super().__init__(f"connection ended, close code {code}")
        self.code = code


class Frame:
    def __init__(self, fin, rsv, opcode, payload):
        self.fin, self.rsv, self.opcode, self.payload = fin, rsv, opcode, payload

    def __repr__(self):
        return f"Frame(fin={self.fin}, opcode={self.opcode}, {len(self.payload)} bytes)"


class WebSocket:
    """One connection. `auto_pong` answers pings while something is read; `frames` keeps all that were seen."""

    def __init__(self, url, timeout=LIMIT_S, headers=None, auto_pong=True, cafile=None):
        parts = urlsplit(url)
        secure = parts.scheme in ("wss", "https")
        port = parts.port or (443 if secure else 80)
        self.sock = socket.create_connection((parts.hostname, port), timeout=timeout)
        if secure:
            context = ssl.create_default_context(cafile=cafile)
            if cafile is None:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock, server_hostname=parts.hostname)
        self.auto_pong = auto_pong
        self.buffer = b""
        self.partial = []
        self.frames = []
        self.pings = 0
        self.next_id = 1
        self.notifications = []
        self._upgrade(parts, headers or {})

    def _upgrade(self, parts, headers):
        key = base64.b64encode(os.urandom(16))
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        status = int(self.head.split()[1])
        if status != 101:
            raise UpgradeRefused(status, self.head)
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        if f"Sec-WebSocket-Accept: {accept}" not in self.head:
            raise UpgradeRefused(status, "wrong Sec-WebSocket-Accept")

    def _more(self):
        try:
            got = self.sock.recv(262144)
        except ConnectionResetError:
            raise Ended() from None
        if not got:
            raise Ended()
        self.buffer += got

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_frame(self):
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            length = struct.unpack("!H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._take(8))[0]
        frame = Frame(bool(first & 128), first >> 4 & 7, first & 15, self._take(length))
        self.frames.append(frame)
        return frame

    def send_frame(self, opcode, payload=b"", fin=True, mask=True):
        head = bytes([(128 if fin else 0) | opcode])
        flag = 128 if mask else 0
        if len(payload) < 126:
            head += bytes([flag | len(payload)])
        elif len(payload) < 65536:
            head += bytes([flag | 126]) + struct.pack("!H", len(payload))
        else:
            head += bytes([flag | 127]) + struct.pack("!Q", len(payload))
        if mask:
            key = os.urandom(4)
            body = payload
            if payload:
                wide = int.from_bytes((key * (len(payload) // 4 + 1))[:len(payload)], "big")
                body = (int.from_bytes(payload, "big") ^ wide).to_bytes(len(payload), "big")
            head += key
        else:
            body = payload
        self.sock.sendall(head + body)

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def read_message(self, timeout=LIMIT_S):
        """The next text or binary message. Raises Ended, or TimeoutError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                frame = self.read_frame()
            except (socket.timeout, ssl.SSLWantReadError):
                raise TimeoutError("no message in time") from None
            if frame.opcode == PING:
                self.pings += 1
                if self.auto_pong:
                    self.send_frame(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                code = struct.unpack("!H", frame.payload[:2])[0] if len(frame.payload) >= 2 else None
                raise Ended(code)
            elif frame.opcode in (TEXT, BINARY, CONTINUATION):
                self.partial.append(frame.payload)
                if frame.fin:
                    message = b"".join(self.partial).decode()
                    self.partial = []
                    return message

    def call_text(self, text, timeout=LIMIT_S):
        """Sends a request as it is and returns the text of the next answer; notifications are set aside."""
        self.send_text(text)
        while True:
            message = self.read_message(timeout)
            if message.startswith('{"channel"'):
                self.notifications.append(message)
            else:
                return message

    def call(self, method, params, timeout=LIMIT_S, **more):
        self.next_id += 1
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params, **more}
        return json.loads(self.call_text(json.dumps(request), timeout))

    def notification(self, timeout=LIMIT_S):
        """The next notification, parsed."""
        text = self.notifications.pop(0) if self.notifications else self.read_message(timeout)
        return json.loads(text)

    def close(self):
        self.sock.close()
