"""The simulators against what was captured from the real services: tests of the tests' own ground."""

import http.client
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from conftest import until
from sims import LIMIT_S, ROOT, BridgeSim, SmsapiSim
from wsclient import CLOSE, PING, PONG, TEXT, BINARY, CONTINUATION, Ended, UpgradeRefused, WebSocket

DATA = os.path.join(ROOT, "tests", "data")
ALL_SCOPES = ["context", "apiKey", "solution", "solution:*", "inbox", "store", "thread", "stream", "kvdb"]
SOLUTION_A = BridgeSim.solution_id
SOLUTION_B = "c0145928-0791-48ea-a7ae-2be3fc89fa58"
CONTEXT = BridgeSim.context_id
GUEST_CONTEXT = "68f2828d-2d4f-40a3-a08d-7f3f7cc88c6d"
THREAD = "6b03d946550cc4beb9bd7e28"
INBOX_THREAD = "6b03d993550cc4beb9bd7ec5"


def read_jsonl(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


EXCHANGES = read_jsonl("exchanges.jsonl")


class Replay:
    """Sends every captured request in order, with the state and the authority it was sent with, and keeps what came."""

    # (transport, name): a new socket is opened for this exchange
    NEW_SOCKET = {
        "bind before refresh", "subscribe before bind", "subscribe with a token member instead of a bind",
        "auth over the socket", "auth over the socket with connection scope",
        "connection-scoped token bound on another socket", "bind", "bind an access token from before a restart",
        "bind while valid",
    }
    # exchanges on a socket that is to be bound to a fresh login with these scopes
    BOUND_SOCKET = {
        "malformed JSON": ["thread", "solution:*"],
        "subscribe on a socket whose session was evicted": None,
        "key limited to one solution, subscribe (A)": None,
        "key limited to one solution, subscribe (B)": None,
        "subscribe after the API key was disabled": None,
        "bind a token without the thread scope over one that has it": ["thread", "solution:*"],
        "rate limited over the socket": ["thread", "solution:*"],
        "streams switched off: subscribe to stream": ["stream", "solution:*"],
    }

    def __init__(self, sim):
        self.sim = sim
        self.values = {}
        self.ws = None
        self.own = None
        self.before = {}
        self.evicted_ws = None

    # authority and state before an exchange

    def login(self, key="<api-key-id-1>", scope=None):
        params = {"grantType": "api_key_credentials", "apiKeyId": self.values[key],
                  "apiKeySecret": self.values[key.replace("id", "secret")]}
        if scope is not None:
            params["scope"] = scope
        return self.sim.rpc("manager/auth", params)["result"]

    def make_keys(self):
        scopes = {1: ALL_SCOPES, 2: ["thread", "solution:" + SOLUTION_A], 3: ["thread", "solution:" + SOLUTION_B],
                  4: ["thread", "solution:" + SOLUTION_A]}
        for n, scope in scopes.items():
            key_id, secret = f"{n:032x}", f"{n + 16:032x}"
            self.values[f"<api-key-id-{n}>"] = key_id
            self.values[f"<api-key-secret-{n}>"] = secret
            self.sim.create("key", id=key_id, secret=secret, scope=scope, user="user-1" if n == 1 else f"user-{n}",
                            created=1795414342270)
        self.values["<initialization-token>"] = "initialization"

    def authorization(self, exchange):
        """The bearer for an HTTP exchange, by what its name says."""
        name = exchange["name"]
        fixed = {
            "old access token after refresh": "<access-token-5>", "new access token after refresh": "<access-token-6>",
            "refresh token used as bearer": "<refresh-token-7>", "no authorization": None, "bad bearer": "nonsense",
            "connection-scoped token over HTTP": "<access-token-12>",
            "connection-scoped token after its socket closed": "<access-token-13>",
            "an evicted session's access token": "evicted", "list without any solution scope": "<access-token-16>",
            "list with another solution's scope": "<access-token-18>",
            "token bound to another address": "<access-token-19>",
            "an access token from before a restart": "<access-token-1>", "expired access token as bearer": "<access-token-1>",
        }
        if name in fixed:
            return self.values.get(fixed[name], fixed[name])
        scope = None
        key = "<api-key-id-1>"
        if name == "thread/listThreads with no thread scope" or name == "thread/listThreadMessages with no thread scope":
            scope = ["store", "solution:*"]
        if name == "key limited to the guest solution lists threads of the shared context":
            key = "<api-key-id-3>"
        if '"method":"manager/auth"' in exchange["request"]:
            return None
        # A session of its own, so that these logins evict nobody.
        return self.login(key, (scope or (ALL_SCOPES if key.endswith("-1>") else
                                          ["thread", "solution:" + SOLUTION_B])) + ["session:replay"])["accessToken"]

    def clear_state(self):
        for kind, listing in (("thread", "threads"), ("store", "stores"), ("inbox", "inboxes"), ("stream", "rooms"),
                              ("kvdb", "kvdbs")):
            for one in self.before.get(listing, []):
                self.sim.delete(kind, id=one, silent=True)
        self.before = {}

    def arrange(self, exchange):
        """Makes exactly what the captured answer shows, and as much more as its count says."""
        self.clear_state()
        request = json.loads(exchange["request"])
        method, params = request["method"], request["params"]
        result = json.loads(exchange["response"]).get("result", {})
        shown = result.get("list", []) if isinstance(result, dict) else []
        more = result.get("count", 0) - len(shown) if isinstance(result, dict) else 0
        descending = params.get("sortOrder") == "desc"

        def container(kind, listing, row, names):
            self.sim.create(kind, silent=True, id=row["id"], contextId=row["contextId"], createDate=row["createDate"],
                            creator=row["creator"], lastModificationDate=row["lastModificationDate"],
                            lastModifier=row["lastModifier"], keyId=row["keyId"], version=row["version"],
                            users=row["users"], managers=row["managers"], publicMeta=row["publicMeta"],
                            **({"lastDate": row[names[0]], "count": row[names[1]]} if names else {}),
                            **({"threadId": THREAD, "storeId": THREAD} if kind == "inbox" else {}))
            self.before.setdefault(listing, []).append(row["id"])

        def containers(kind, listing, names):
            for row in shown:
                container(kind, listing, row, names)
            for n in range(more):
                filler = ("%024x" if descending else "ff%022x") % n
                self.sim.create(kind, silent=True, id=filler, **({"threadId": THREAD, "storeId": THREAD}
                                                                 if kind == "inbox" else {}))
                self.before.setdefault(listing, []).append(filler)

        def home(kind, listing, container_id):
            self.sim.create(kind, silent=True, id=container_id)
            self.before.setdefault(listing, []).append(container_id)

        if method == "thread/listThreads":
            containers("thread", "threads", ("lastMsgDate", "messages"))
        elif method == "store/listStores":
            containers("store", "stores", ("lastFileDate", "files"))
        elif method == "inbox/listInboxes":
            containers("inbox", "inboxes", None)
        elif method == "stream/listStreamRooms":
            containers("stream", "rooms", None)
        elif method == "kvdb/listKvdbs":
            containers("kvdb", "kvdbs", ("lastEntryDate", "entries"))
        elif method == "thread/listThreadMessages" and params["threadId"] != "a" * 24:
            home("thread", "threads", params["threadId"])
            for row in shown:
                self.sim.message(params["threadId"], silent=True, id=row["id"], createDate=row["createDate"],
                                 author=row["author"], keyId=row["keyId"], publicMeta=row["publicMeta"])
            for n in range(more):
                self.sim.message(params["threadId"], silent=True, id=("%024x" if descending else "ee%022x") % (n + 1))
            if params.get("from") == "f" * 24:
                self.sim.message(params["threadId"], silent=True)
        elif method == "thread/getThreadMessage" and isinstance(result, dict) and result:
            row = result["threadMessage"]
            home("thread", "threads", row["threadId"])
            self.sim.message(row["threadId"], silent=True, id=row["id"], createDate=row["createDate"],
                             author=row["author"], keyId=row["keyId"], publicMeta=row["publicMeta"])
        elif method == "store/listStoreFiles":
            home("store", "stores", params["storeId"])
            for row in shown:
                self.sim.create("file", silent=True, storeId=params["storeId"], id=row["id"], createDate=row["created"],
                                author=row["creator"], keyId=row["keyId"], size=row["size"],
                                publicMeta=row["publicMeta"], **({"thumb": row["thumb"]["size"]} if "thumb" in row else {}))
            for n in range(more):
                self.sim.create("file", silent=True, storeId=params["storeId"], id="ee%022x" % n)
        elif method in ("kvdb/listKvdbEntries", "kvdb/listKvdbKeys"):
            container("kvdb", "kvdbs", result["kvdb"], ("lastEntryDate", "entries"))
            names = ["kept/0", "kept/1", "kept/2"]
            for n, name in enumerate(names):
                row = next((r for r in shown if isinstance(r, dict) and r["kvdbEntryKey"] == name), None)
                self.sim.create("entry", silent=True, kvdbId=result["kvdb"]["id"], key=name, counted=False,
                                createDate=row["createDate"] if row else 1, publicMeta={"i": n})

    def prepare(self, exchange):
        name = exchange["name"]
        if name == "bind with a truncated token":
            token = self.login(scope=["thread", "solution:*"])
            self.values["<access-token-8>"] = token["accessToken"][:-4]
            self.values["<access-token-8>5uM="] = token["accessToken"]
            self.values["<access-token-9>"] = token["refreshToken"]
        elif name == "an evicted session's access token":
            first = self.login(scope=["thread", "solution:*"])
            self.values["evicted"] = first["accessToken"]
            self.values["<refresh-token-11>"] = first["refreshToken"]
            self.evicted_ws = self.open_bound(first["accessToken"])
            for _ in range(16):
                self.login(scope=["thread", "solution:*"])
        elif name == "auth with a disabled key":
            self.sim.disable_key(self.values["<api-key-id-4>"])
        elif name == "auth with a deleted key":
            self.sim.delete_key(self.values["<api-key-id-4>"])
        elif name == "connection-scoped token after its socket closed":
            self.own.close()
            self.sim.wait_for(lambda s: all(k["socket"] == 0 for k in s["token_sessions"]))
        elif name == "an access token from before a restart":
            kept = self.login(scope=["thread", "solution:*"])
            self.values["<access-token-1>"] = kept["accessToken"]
            self.values["<refresh-token-1>"] = kept["refreshToken"]
            self.sim.restart()
        elif name == "rate limited over HTTP":
            self.values["limited"] = self.login(scope=["thread", "solution:*", "session:limited"])["accessToken"]
            self.sim.faults(rate_limit=True, rate_initial=200, rate_max=200, rate_per_s=0)
        elif name == "auth with a short access token":
            self.sim.reset()
            self.sim.faults(access_token_ms=600000, refresh_token_ms=3600000)
        elif name == "subscribe after expiry":
            self.sim.faults(clock_offset_ms=600001)
        elif name == "expired refresh token":
            self.sim.faults(clock_offset_ms=600001 + 3600001)
        elif name == "createFirstApiKey with a wrong token when a key exists":
            self.sim.reset()
        elif name == "streams switched off: subscribe to stream":
            self.sim.faults(streams=False)
        elif name == "bind a token without the thread scope over one that has it":
            self.values["<access-token-22>"] = self.login(scope=["store", "solution:*"])["accessToken"]
        elif name == "key limited to the guest solution lists threads of the shared context":
            self.sim.create("context", id=GUEST_CONTEXT, solution=SOLUTION_A, shares=[SOLUTION_B])
        elif name == "list contexts":
            self.sim.delete("context", id=GUEST_CONTEXT)
            self.sim.create("solution", id="0f7c2348-4e75-422d-ab61-707c9252e5f0", name="guest", created=1795414437448)

    def open_bound(self, token):
        ws = WebSocket(self.sim.ws_url)
        assert ws.call("manager/bindAccessToken", {"accessToken": token})["result"] == "OK"
        return ws

    def socket_for(self, exchange):
        name = exchange["name"]
        if name == "subscribe on a socket whose upgrade request carried a bearer":
            token = self.login(scope=["thread", "solution:*"])["accessToken"]
            self.ws = WebSocket(self.sim.ws_url, headers={"Authorization": "Bearer " + token})
        elif name in self.NEW_SOCKET:
            self.ws = WebSocket(self.sim.ws_url)
        elif name in self.BOUND_SOCKET:
            scope = self.BOUND_SOCKET[name]
            if name == "subscribe on a socket whose session was evicted":
                return self.evicted_ws
            if name == "rate limited over the socket":
                # The place for this call is gone, so the socket is only opened.
                self.ws = WebSocket(self.sim.ws_url)
                return self.ws
            token = None
            if name.endswith("(A)"):
                token = self.values["<access-token-17>"]
            elif name.endswith("(B)"):
                token = self.values["<access-token-18>"]
            elif "disabled" in name:
                token = self.values["<access-token-21>"]
            self.ws = self.open_bound(token or self.login(scope=scope)["accessToken"])
            if "disabled" in name:
                self.sim.disable_key(self.values["<api-key-id-4>"])
        if name == "auth over the socket with connection scope":
            self.own = self.ws
        if name in ("connection-scoped token bound on its own socket", "subscribe",
                    "connection-scoped refresh on its own socket"):
            return self.own
        return self.ws

    # one exchange

    def fill(self, text):
        for placeholder in sorted(self.values, key=len, reverse=True):
            text = text.replace(placeholder, self.values[placeholder])
        return text

    def learn(self, expected, got):
        """Takes the tokens that a login answered with."""
        expected, got = json.loads(expected), json.loads(got)
        if isinstance(expected.get("result"), dict) and "accessToken" in expected["result"] and "result" in got:
            for member in ("accessToken", "refreshToken"):
                self.values[expected["result"][member]] = got["result"].get(member, "")

    def same(self, expected, got):
        """The captured text, with tokens filled in and the two times of expiry as they are now."""
        times = dict(re.findall(r'"(accessTokenExpiry|refreshTokenExpiry)":(\d+)', got))
        for member, value in times.items():
            expected = re.sub(rf'"{member}":\d+', f'"{member}":{value}', expected)
        return self.fill(expected) == got

    def http(self, exchange):
        request = exchange["request"]
        method, path, body = "POST", "/api", request
        match = re.fullmatch(r"(GET|POST|OPTIONS) (/\S*)", request)
        if match:
            method, path, body = match[1], match[2], "" if match[1] == "POST" else None
        headers = {"Content-Type": "application/json"}
        if not match and request.startswith("{\"jsonrpc"):
            if exchange["name"] == "rate limited over HTTP":
                token = self.values["limited"]
            else:
                token = self.authorization(exchange)
            if token:
                headers["Authorization"] = "Bearer " + token
            if exchange["name"] == "wrong content type":
                headers["Content-Type"] = "text/plain"
        data = self.fill(body).encode() if body is not None else None
        call = urllib.request.Request(self.sim.url + path, data=data, headers=headers, method=method)
        while True:
            try:
                with urllib.request.urlopen(call, timeout=LIMIT_S) as answer:
                    status, text = answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                status, text = error.code, error.read().decode()
            # "after 20 calls": the credits have to be used up first
            if exchange["name"] != "rate limited over HTTP" or '"code":429' in text:
                return status, text

    def run(self, exchange):
        self.prepare(exchange)
        if '"method":"' in exchange["request"] and "/list" in exchange["request"] and exchange["transport"] == "http" \
                and '"params":{"' in exchange["request"] and "manager/" not in exchange["request"] \
                and "rate limited" not in exchange["name"]:
            self.arrange(exchange)
        elif "thread/getThreadMessage" in exchange["request"]:
            self.arrange(exchange)
        if exchange["transport"] == "http":
            status, text = self.http(exchange)
            problem = None if status == exchange["status"] else f"status {status}"
        else:
            ws = self.socket_for(exchange)
            request = self.fill(exchange["request"])
            if exchange["name"] == "request in a binary frame":
                ws.send_frame(BINARY, request.encode())
                text = ws.read_message()
            else:
                text = ws.call_text(request)
            problem = None
        if text.startswith("{") and exchange["response"].startswith("{"):
            self.learn(exchange["response"], text)
        if problem is None and not self.same(exchange["response"], text):
            problem = f"expected {self.fill(exchange['response'])}\n     got {text}"
        return problem


@pytest.fixture(scope="module")
def replayed():
    config = {"solutions": [{"id": SOLUTION_A, "name": "driver", "created": 1795414342457}],
              "contexts": [{"id": CONTEXT, "name": "driver", "created": 1795414342483, "modified": 1795414342483}]}
    with BridgeSim(config=config) as sim:
        replay = Replay(sim)
        replay.make_keys()
        yield [replay.run(exchange) for exchange in EXCHANGES]


@pytest.mark.parametrize("n", range(len(EXCHANGES)), ids=[f"{i}-{e['name']}" for i, e in enumerate(EXCHANGES)])
def test_exchange(replayed, n):
    assert replayed[n] is None


# ---- the Bridge: what measurements.jsonl and PROTOCOL.md say beyond single exchanges ----

@pytest.fixture
def bridge():
    with BridgeSim() as sim:
        yield sim


def subscriber(sim, channels=("thread",), scope=None, **more):
    """A socket that is bound to a fresh login and subscribed."""
    token = sim.login(scope)["accessToken"]
    ws = WebSocket(sim.ws_url, **more)
    assert ws.call("manager/bindAccessToken", {"accessToken": token})["result"] == "OK"
    assert ws.call("manager/subscribeToChannel", {"channels": list(channels)})["result"] == "OK"
    ws.token = token
    return ws


def shape(value):
    """The names and types of a notification in their order; what a sender wrote is left out."""
    if isinstance(value, dict):
        return [(k, None if k == "publicMeta" else shape(v)) for k, v in value.items()]
    if isinstance(value, list):
        return ["list"]
    return type(value).__name__


def test_notifications_have_the_captured_shapes_in_the_captured_order(bridge):
    ws = subscriber(bridge, ["thread", "store", "stream", "inbox", "kvdb"])
    b = bridge
    meta = {"name": "driver"}
    thread = b.create("thread", publicMeta=meta)["id"]
    b.update("thread", id=thread)
    first = b.message(thread, publicMeta={"sms": {"to": "+48600000000", "text": "Zażółć gęślą jaźń 🐈"}})
    b.message(thread)
    b.update("message", id=first, publicMeta={"sms": {"text": "second"}})
    b.delete("message", id=first)
    store = b.create("store", publicMeta=meta)["id"]
    b.update("store", id=store)
    file = b.create("file", storeId=store, size=512, publicMeta={"kind": "text"})["id"]
    b.create("file", storeId=store, size=400, thumb=50, publicMeta={"kind": "picture"})
    b.update("file", id=file)
    b.update("file", id=file, size=600)
    b.delete("file", id=file)
    kvdb = b.create("kvdb", publicMeta=meta)["id"]
    b.update("kvdb", id=kvdb)
    b.create("entry", kvdbId=kvdb, key="entry/1", publicMeta={"v": 1})
    b.update("entry", kvdbId=kvdb, key="entry/1", publicMeta={"v": 2})
    b.delete("entry", kvdbId=kvdb, key="entry/1")
    inbox = b.create("inbox", threadId=thread, storeId=store, publicMeta={"form": 1})["id"]
    b.update("inbox", id=inbox)
    b.inbox_entry(inbox)
    entry = b.inbox_entry(inbox, files=1)
    b.delete("inbox", id=inbox)
    room = b.create("stream", publicMeta=meta)["id"]
    b.update("stream", id=room)
    b.delete("stream", id=room)
    b.delete("kvdb", id=kvdb)
    b.delete("store", id=store)
    b.delete("thread", id=thread)

    captured = read_jsonl("notifications.jsonl")[:40]
    made = [ws.notification() for _ in captured]
    assert [(n["channel"], n["type"]) for n in made] == [(n["channel"], n["type"]) for n in captured]
    for ours, theirs in zip(made, captured):
        assert shape(ours) == shape(theirs), ours["type"]
    by_type = {n["type"]: n for n in made}
    assert by_type["kvdbStats"]["data"]["entries"] == 1, "the counter grows by an update as well"
    file_made = [n for n in made if n["type"] == "storeFileCreated"][-1]
    assert file_made["data"]["keyId"] == f"<inboxmsg-{inbox}-{thread}-{entry['id']}>"
    submitted = [n for n in made if n["type"] == "threadNewMessage"][-1]
    assert submitted["data"]["id"] == entry["id"] and submitted["data"]["keyId"] == f"<inbox-{inbox}>"
    assert submitted["data"]["author"] == "<anonymous>"


def test_every_captured_frame_can_be_replayed_verbatim(bridge):
    ws = subscriber(bridge, ["thread", "store", "stream", "inbox", "kvdb"])
    path = os.path.join(DATA, "notifications.jsonl")
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")[:-1]
    assert bridge.replay(path) == len(lines)
    assert [ws.read_message() for _ in lines] == lines


def test_public_meta_is_passed_on_as_written(bridge):
    ws = subscriber(bridge)
    raw = '{"n":9007199254740991,"f":1e+300,"c":"\\u0000\\u0001 \\ud83d\\udc08","e":"ż / \\"","l":[],"":null}'
    text = '{"kind":"message","threadId":"%s","publicMeta": %s }' % (bridge.thread_id, raw.replace(",", " ,\n "))
    bridge.control("create", raw=text.encode())
    assert f'"publicMeta":{raw}' in ws.read_message()


def test_sixteen_places_for_token_sessions(bridge):
    def valid(token):
        return "result" in bridge.rpc("thread/listThreads", {"contextId": bridge.context_id, "from": None, "limit": 1,
                                                             "sortOrder": "asc"}, token)
    tokens = [bridge.login()["accessToken"] for _ in range(17)]
    assert [valid(t) for t in tokens] == [False] + [True] * 16
    first = bridge.login(ALL_SCOPES + ["session:worker"])["accessToken"]
    second = bridge.login(ALL_SCOPES + ["session:worker"])["accessToken"]
    assert not valid(first) and valid(second)
    assert sum(valid(t) for t in tokens) == 15
    assert bridge.state()["logins"]["worker"] == 2


def test_a_subscription_outlives_its_authorization(bridge):
    ws = subscriber(bridge)
    bridge.message(publicMeta=1)
    assert ws.notification()["data"]["publicMeta"] == 1
    bridge.evict()
    bridge.disable_key()
    bridge.message(publicMeta=2)
    types = [ws.notification() for _ in range(3)]
    assert types[1]["data"]["publicMeta"] == 2
    assert ws.call("manager/subscribeToChannel", {"channels": ["thread"]})["error"]["code"] == 24879


def test_no_solution_scope_no_events(bridge):
    bridge.create("solution", id=SOLUTION_B)
    bridge.create("context", id=GUEST_CONTEXT, solution=SOLUTION_B)
    bridge.create("key", id="b" * 32, secret="c" * 32, scope=["thread", "solution:" + SOLUTION_B], user="user-2")
    everywhere = subscriber(bridge, scope=["thread", "solution:*"])
    nowhere = subscriber(bridge, scope=["thread"])
    token = bridge.rpc("manager/auth", {"grantType": "api_key_credentials", "apiKeyId": "b" * 32,
                                        "apiKeySecret": "c" * 32})["result"]["accessToken"]
    only_b = WebSocket(bridge.ws_url)
    only_b.call("manager/bindAccessToken", {"accessToken": token})
    only_b.call("manager/subscribeToChannel", {"channels": ["thread"]})
    bridge.message()
    bridge.create("thread", contextId=GUEST_CONTEXT)
    assert [everywhere.notification()["type"] for _ in range(3)] == ["threadNewMessage", "threadStats", "threadCreated"]
    assert only_b.notification()["data"]["contextId"] == GUEST_CONTEXT
    with pytest.raises(TimeoutError):
        nowhere.notification(0.2)


@pytest.mark.parametrize("target,answers", [("/api", True), ("/x/api", True), ("/api/", False), ("/api?a=1", False),
                                            ("/other", False)])
def test_only_targets_ending_in_api_reach_the_service(bridge, target, answers):
    ws = WebSocket(bridge.url.replace("http", "ws") + target)
    if answers:
        assert ws.call("manager/subscribeToChannel", {"channels": []})["error"]["code"] == 24879
    else:
        with pytest.raises(TimeoutError):
            ws.call("manager/subscribeToChannel", {"channels": []}, timeout=0.2)


def test_upgrade_answers_are_the_captured_ones(bridge):
    plain = WebSocket(bridge.ws_url)
    lines = plain.head.split("\r\n")
    assert lines[:3] == ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    assert len(lines) == 4 and lines[3].startswith("Sec-WebSocket-Accept: ")
    offered = WebSocket(bridge.ws_url, headers={"Sec-WebSocket-Protocol": "json, xml",
                                                "Sec-WebSocket-Extensions": "permessage-deflate"})
    assert offered.head.split("\r\n")[4:] == ["Sec-WebSocket-Protocol: json"]


def test_pings_and_the_end_of_who_gives_no_pong(bridge):
    good = WebSocket(bridge.ws_url)
    mute = WebSocket(bridge.ws_url, auto_pong=False)
    chatty = WebSocket(bridge.ws_url, auto_pong=False)
    for ws in (good, mute, chatty):
        ws.call("manager/subscribeToChannel", {"channels": []})
    bridge.ping_now()
    for ws in (good, mute, chatty):
        ping = ws.read_frame()
        assert (ping.opcode, ping.payload) == (PING, b"")
    good.send_frame(PONG)
    chatty.call("manager/subscribeToChannel", {"channels": []})
    bridge.wait_for(lambda s: sum(k["pongs"] for k in s["sockets"]) == 1)
    bridge.ping_now()
    with pytest.raises(Ended) as end:
        mute.read_message()
    assert end.value.code is None, "a bare TCP end"
    assert good.read_frame().opcode == PING and chatty.read_frame().opcode == PING
    assert bridge.state()["connections"]["dropped_by_ping"] == 1


def test_control_frames_of_a_client(bridge):
    ws = WebSocket(bridge.ws_url)
    ws.send_frame(PING, b"hi")
    pong = ws.read_frame()
    assert (pong.opcode, pong.payload) == (PONG, b"hi")
    ws.send_frame(TEXT, b'{"jsonrpc":"2.0","id":77,', fin=False)
    ws.send_frame(PING, b"between")
    ws.send_frame(CONTINUATION, b'"method":"x","params":{}}')
    assert ws.read_frame().payload == b"between"
    assert json.loads(ws.read_message())["id"] == 77
    ws.send_frame(CLOSE, struct.pack("!H", 1000))
    with pytest.raises(Ended) as end:
        ws.read_message()
    assert end.value.code == 1000
    assert ws.sock.recv(1) == b""


@pytest.mark.parametrize("payload,opcode,mask,code", [(b"\xff\xfe", TEXT, True, 1007), (b"x" * 3000, TEXT, True, 1009),
                                                      (b"{}", TEXT, False, 1002), (b"{}", CONTINUATION, True, 1002)])
def test_faults_of_a_client_are_answered_with_a_close(bridge, payload, opcode, mask, code):
    bridge.faults(ws_message_max_bytes=2000)
    ws = WebSocket(bridge.ws_url)
    ws.send_frame(opcode, payload, mask=mask)
    with pytest.raises(Ended) as end:
        ws.read_message()
    assert end.value.code == code


def test_fragments_with_control_frames_between(bridge):
    ws = subscriber(bridge)
    bridge.faults(fragment_bytes=50, interleave_pings=True)
    bridge.message(publicMeta={"text": "ż" * 200})
    assert ws.notification()["data"]["publicMeta"]["text"] == "ż" * 200
    assert ws.pings > 2 and any(f.opcode == CONTINUATION and not f.fin for f in ws.frames)


def test_a_listing_that_changes_while_it_is_read(bridge):
    token = bridge.login()["accessToken"]
    ids = [bridge.message(publicMeta={"n": n}) for n in range(250)]
    got, place = [], None
    while True:
        page = bridge.rpc("thread/listThreadMessages", {"threadId": bridge.thread_id, "from": place, "limit": 100,
                                                        "sortOrder": "asc"}, token)["result"]
        got += [row["id"] for row in page["list"]]
        if len(page["list"]) < 100:
            break
        place = got[-1]
        bridge.delete("message", id=place)
    assert got == ids
    second = ids[0][:8] + "0" * 16
    page = bridge.rpc("thread/listThreadMessages", {"threadId": bridge.thread_id, "from": second, "limit": 1,
                                                    "sortOrder": "asc"}, token)["result"]
    assert page["count"] == 248 and page["list"][0]["id"] == ids[0]


def test_connection_faults(bridge):
    for how in ("fin", "rst"):
        ws = subscriber(bridge)
        assert bridge.drop(how) == 1
        with pytest.raises(Ended) as end:
            ws.read_message()
        assert end.value.code is None
    ws = subscriber(bridge)
    bridge.close(1012, "service restart")
    with pytest.raises(Ended) as end:
        ws.read_message()
    assert end.value.code == 1012
    bridge.faults(upgrade_status=503, upgrade_status_count=1)
    with pytest.raises(UpgradeRefused) as refused:
        WebSocket(bridge.ws_url)
    assert refused.value.status == 503
    bridge.faults(upgrade_status=302, upgrade_location="http://127.0.0.1:1/api")
    with pytest.raises(UpgradeRefused) as refused:
        WebSocket(bridge.ws_url)
    assert "Location: http://127.0.0.1:1/api" in refused.value.head
    bridge.reset()
    bridge.refuse()
    with pytest.raises(ConnectionRefusedError):
        WebSocket(bridge.ws_url)
    bridge.resume()
    subscriber(bridge)


def test_a_restart_keeps_sessions_unless_told_otherwise(bridge):
    ws = subscriber(bridge)
    bridge.restart()
    with pytest.raises(Ended):
        ws.read_message()
    again = WebSocket(bridge.ws_url)
    assert again.call("manager/bindAccessToken", {"accessToken": ws.token}) == {"jsonrpc": "2.0", "id": 2, "result": "OK"}
    bridge.restart(lose_sessions=True)
    third = WebSocket(bridge.ws_url)
    assert third.call("manager/bindAccessToken", {"accessToken": ws.token})["error"]["code"] == 21


def test_answer_faults(bridge):
    ws = subscriber(bridge)
    bridge.faults(subscribe_429_count=1)
    assert ws.call("manager/subscribeToChannel", {"channels": ["thread"]})["result"]["code"] == 429
    assert ws.call("manager/subscribeToChannel", {"channels": ["thread"]})["result"] == "OK"
    bridge.faults(answer_garbage_count=1)
    assert not ws.call_text('{"jsonrpc":"2.0","id":1,"method":"x","params":{}}').startswith("{")
    bridge.faults(fault_method="manager/auth", fault_answer={"result": {"tokenType": "Bearer"}}, fault_method_count=1)
    assert bridge.login() == {"tokenType": "Bearer"}
    assert "accessToken" in bridge.login()
    bridge.faults(http_status=502, http_status_count=1)
    with pytest.raises(urllib.error.HTTPError):
        bridge.login()
    bridge.expire()
    assert ws.call("manager/subscribeToChannel", {"channels": ["thread"]})["error"]["code"] == 24879
    bridge.faults(mute=True)
    with pytest.raises(TimeoutError):
        ws.call("manager/subscribeToChannel", {"channels": ["thread"]}, timeout=0.2)


def test_answers_can_come_out_of_order(bridge):
    bridge.faults(answer_jitter_ms=300)
    ws = WebSocket(bridge.ws_url)
    for n in range(60):
        ws.send_text(json.dumps({"jsonrpc": "2.0", "id": n, "method": "x", "params": {}}))
    ids = [json.loads(ws.read_message())["id"] for _ in range(60)]
    assert sorted(ids) == list(range(60)) and ids != sorted(ids)


def test_rate_limit_gives_credits_back(bridge):
    bridge.faults(rate_limit=True, rate_initial=20, rate_max=20, rate_per_s=1000)
    answers = [bridge.rpc("x", {}) for _ in range(3)]
    assert "result" in answers[2] or "error" in answers[2]
    bridge.faults(rate_per_s=0)
    for _ in range(4):
        last = bridge.rpc("x", {})
    assert last["result"] == {"code": 429, "headers": {"Content-Type": "text/plain"}, "body": "Too many requests"}


def test_bulk_out_of_order(bridge):
    ws = subscriber(bridge)
    assert bridge.bulk(300, shuffle=8, stats=False)["done"] == 300
    ids = [ws.notification()["data"]["id"] for _ in range(300)]
    assert len(set(ids)) == 300 and ids != sorted(ids)
    assert set(bridge.sent_times()) == set(ids)


def test_flood_reaches_every_socket_whole(bridge):
    sockets = [subscriber(bridge) for _ in range(2)]
    count = 20000
    got = [[], []]

    def read(n):
        for _ in range(count):
            got[n].append(sockets[n].read_message())
    threads = [threading.Thread(target=read, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    done = bridge.flood(count, match_every=100, wait=True)
    for thread in threads:
        thread.join()
    assert done["sent"] == count and done["matched"] == count // 100
    assert got[0] == got[1]
    events = [json.loads(text) for text in got[0]]
    assert len({e["data"]["id"] for e in events}) == count
    matching = [e["data"]["id"] for e in events if e["data"]["threadId"] == bridge.thread_id]
    assert set(matching) == set(bridge.sent_times()) and len(matching) == count // 100
    assert all(len(text) == 342 for text in got[0])
    assert shape(events[0]) == shape(next(n for n in read_jsonl("notifications.jsonl") if n["type"] == "threadNewMessage"))


def test_paced_flood_keeps_its_rate_and_can_be_listed(bridge):
    ws = subscriber(bridge)
    done = bridge.flood(400, rate=2000, match_every=2, keep=True, frame_kind="message+stats", wait=True)
    assert done["frames"] == 800 and done["duration_ns"] > 190e6
    types = [ws.notification()["type"] for _ in range(800)]
    assert types == ["threadNewMessage", "threadStats"] * 400
    page = bridge.rpc("thread/listThreadMessages", {"threadId": bridge.thread_id, "from": None, "limit": 100,
                                                    "sortOrder": "asc"}, ws.token)["result"]
    assert page["count"] == 200


def test_a_flood_that_nobody_hears_ends(bridge):
    done = bridge.flood(10, patience_ms=50, wait=True)
    assert not done["running"] and done["sent"] == 0
    assert bridge.flood(10, lossy=True, wait=True)["sent"] == 10


# ---- SMSAPI ----

@pytest.fixture
def smsapi():
    with SmsapiSim() as sim:
        yield sim


def sms(sim, token="sim-token", as_json=False, timeout=LIMIT_S, path="/sms.do", raw=False, **params):
    """One request to /sms.do as the official clients make it; the parsed answer."""
    params.setdefault("format", "json")
    params.setdefault("encoding", "utf-8")
    if as_json:
        data, kind = json.dumps(params).encode(), "application/json"
    else:
        data, kind = urllib.parse.urlencode(params).encode(), "application/x-www-form-urlencoded"
    request = urllib.request.Request(sim.url + path, data=data,
                                     headers={"Content-Type": kind, "Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read().decode()
    return text if raw else json.loads(text)


def test_acceptance_by_form_and_by_json(smsapi):
    for as_json in (False, True):
        got = sms(smsapi, as_json=as_json, to="+48 500-500-500", message="Zażółć", details="1", idx="a", **{"from": "MyCo"})
        assert got["count"] == 1 and got["message"] == "Zażółć" and got["length"] == 6 and got["parts"] == 1
        entry = got["list"][0]
        assert re.fullmatch("[0-9a-f]{24}", entry["id"]) and entry["number"] == "48500500500"
        assert entry["submitted_number"] == "+48 500-500-500"
        assert (entry["status"], entry["error"], entry["idx"], entry["points"]) == ("QUEUE", None, "a", 0.16)
    state = smsapi.state()
    assert (state["accepted"], state["doubles_idx"], state["doubles_text"]) == (2, 1, 1)
    message = smsapi.messages(1)[0]
    assert (message["n"], message["idx"], message["number"], message["text"], message["from"]) == (
        2, "a", "48500500500", "Zażółć", "MyCo")


def test_plain_text_replies(smsapi):
    assert re.fullmatch(r"OK:[0-9a-f]{24}:0\.1600", sms(smsapi, raw=True, format="", to="500500500", message="x"))
    assert sms(smsapi, raw=True, format="", to="500500500", message="") == "ERROR:11"


BAD = [
    (11, {"message": ""}), (13, {"to": ""}), (13, {"to": "12"}), (14, {"from": "żółw"}), (14, {"from": "longer than 11"}),
    (27, {"idx": "x" * 256}), (20, {"idx": "a|b"}), (12, {"message": "x" * 161, "max_parts": "1"}),
    (11, {"message": "ż", "nounicode": "1"}), (17, {"message": "ż", "flash": "1"}), (11, {"message": "x" * 1531}),
    (25, {"normalize": "1", "datacoding": "bin", "udh": "00"}), (28, {"time_restriction": "never"}),
    (30, {"datacoding": "bin"}), (40, {"group": "friends"}), (50, {"date": str(int(time.time()) + 100 * 86400)}),
    (54, {"date": "soon", "date_validate": "1"}), (56, {"expiration_date": str(int(time.time()) + 60)}),
    (56, {"expiration_date": str(int(time.time()) + 80 * 3600)}), (70, {"notify_url": "ftp://x"}),
    (18, {"param1": "a|b"}), (104, {"template": "t"}), (60, {"discount_group": "g"}),
]


@pytest.mark.parametrize("code,params", BAD, ids=[f"{code}-{next(iter(p))}" for code, p in BAD])
def test_bad_parameters(smsapi, code, params):
    got = sms(smsapi, **{"to": "48500500500", "message": "x", **params})
    assert got["error"] == code and isinstance(got["message"], str)
    assert smsapi.state()["refused"] == {str(code): 1} and smsapi.messages() == []


@pytest.mark.parametrize("text,length,parts", [
    ("x" * 160, 160, 1), ("x" * 161, 161, 2), ("€" * 80, 160, 1), ("x" * 152 + "€" + "x" * 152, 306, 3),
    ("ż" * 70, 70, 1), ("ż" * 71, 71, 2), ("x" * 66 + "🐈" + "ż" * 66, 134, 3), ("🐈" * 35, 70, 1), ("`", 1, 1),
    ("ΔΦ{[~]}\\^|" + "x" * 142, 160, 1), ("ń" * 670, 670, 10),
])
def test_parts_are_counted_exactly(smsapi, text, length, parts):
    got = sms(smsapi, to="48500500500", message=text, details="1")
    assert (got["length"], got["parts"], got["list"][0]["parts"]) == (length, parts, parts)


def test_a_form_without_encoding_is_not_utf8(smsapi):
    data = urllib.parse.urlencode({"to": "48500500500", "message": "ż", "format": "json"}).encode()
    request = urllib.request.Request(smsapi.url + "/sms.do", data=data, headers={"Authorization": "Bearer sim-token"})
    urllib.request.urlopen(request, timeout=LIMIT_S).read()
    assert smsapi.messages()[0]["text"] == "ĹĽ"


def test_the_idx_register(smsapi):
    smsapi.hold_clock()

    def again():
        return sms(smsapi, to="48500500500", message="x", idx="one", check_idx="1").get("error")
    assert again() is None and again() == 53
    smsapi.advance_clock(86399)
    assert again() == 53
    smsapi.advance_clock(2)
    assert again() is None
    assert sms(smsapi, to="12", message="x", idx="two", check_idx="1")["error"] == 13
    assert "error" not in sms(smsapi, to="48500500500", message="y", idx="two", check_idx="1")
    smsapi.options(refused_occupy=True)
    assert sms(smsapi, to="12", message="x", idx="three", check_idx="1")["error"] == 13
    assert sms(smsapi, to="48500500500", message="z", idx="three", check_idx="1")["error"] == 53
    assert "error" not in sms(smsapi, to="48500500500", message="t", idx="four", test="1")
    assert smsapi.state()["tests"] == 1 and all(m["text"] != "t" for m in smsapi.messages())


def test_several_recipients(smsapi):
    batch = {"to": "48500500501,12,48500500502", "message": "x", "idx": "a|b|c", "check_idx": "1"}
    got = sms(smsapi, **batch)
    assert [(e["number"], e["idx"]) for e in got["list"]] == [("48500500501", "a"), ("48500500502", "c")]
    assert "invalid_numbers" not in got
    assert sms(smsapi, **{**batch, "idx": "d|e|c"})["error"] == 53
    smsapi.options(batch_53=1, partial=1)
    got = sms(smsapi, **{**batch, "idx": "d|e|c"})
    assert [e["idx"] for e in got["list"]] == ["d"]
    assert {n["number"]: n.get("error_code") for n in got["invalid_numbers"]} == {"12": None, "48500500502": 53}
    smsapi.options(partial=2)
    assert sms(smsapi, **{**batch, "idx": "f|g|h"})["error"] == 13
    smsapi.options(recipients_max=2)
    assert sms(smsapi, **batch)["error"] == 19
    smsapi.reset()
    twice = sms(smsapi, to="48500500503,48500500503", message="x")
    assert twice["count"] == 1
    got = sms(smsapi, as_json=True, to=["48500500504", "48500500505"], message="Hi [%1%]", param1=["A", "B"], idx=["p", "q"])
    assert [e["idx"] for e in got["list"]] == ["p", "q"]
    assert [m["text"] for m in smsapi.messages()[-2:]] == ["Hi A", "Hi B"]


def test_ten_attempts_to_a_number_in_sixty_seconds(smsapi):
    smsapi.hold_clock()
    codes = [sms(smsapi, to="48500500500", message=str(n)).get("error") for n in range(11)]
    assert codes == [None] * 10 + [52]
    assert "error" not in sms(smsapi, to="48500500501", message="x")
    smsapi.advance_clock(61)
    assert "error" not in sms(smsapi, to="48500500500", message="later")


def test_blacklist_balance_and_senders(smsapi):
    smsapi.options(blacklist={"48500500500": 57}, senders=["MyCo"], balance=2000)
    got = sms(smsapi, to="48500500500", message="x")
    assert got["error"] == 57 and got["invalid_numbers"][0]["error_code"] == 57
    assert sms(smsapi, to="48500500501", message="x", **{"from": "Other"})["error"] == 14
    assert "error" not in sms(smsapi, to="48500500501", message="x", **{"from": "MyCo"})
    assert sms(smsapi, to="48500500501", message="x")["error"] == 103


def test_limits(smsapi):
    smsapi.hold_clock()
    smsapi.options(rate_per_s=5, rate_answer=203)
    answers = [sms(smsapi, to="48500500500", message="x").get("error") for _ in range(8)]
    assert answers == [None] * 5 + [203] * 3
    assert smsapi.state()["max_requests_in_1s"] == 8
    smsapi.advance_clock(1)
    smsapi.options(rate_answer=429, retry_after_s=7)
    for _ in range(5):
        sms(smsapi, to="48500500501", message="x")
    with pytest.raises(urllib.error.HTTPError) as error:
        sms(smsapi, to="48500500501", message="x")
    assert error.value.code == 429 and error.value.headers["Retry-After"] == "7"
    assert smsapi.state()["max_requests_in_1s"] == 8


def test_requests_of_one_second_are_counted_while_time_goes_on(smsapi):
    smsapi.options(attempts_max=0)

    def most():
        sms(smsapi, to="48500500500", message="x")
        return smsapi.state()["max_requests_in_1s"]
    until("five in one second", lambda: most() >= 5)


def test_parallel_limit(smsapi):
    smsapi.options(parallel_max=1)
    smsapi.faults({"what": "hang", "count": 1})

    def hang():
        with pytest.raises(http.client.RemoteDisconnected):
            sms(smsapi, to="48500500500", message="x")
    hanging = threading.Thread(target=hang)
    hanging.start()
    smsapi.wait_for(lambda s: s["in_flight"] == 1)
    assert sms(smsapi, to="48500500501", message="x")["error"] == 202
    smsapi.control("drop", {"how": "fin"})
    hanging.join()
    assert smsapi.state()["max_parallel"] == 2


FAULTS = [
    ("hang", 1), ("hang_before", 0), ("close", 1), ("close_before", 0), ("rst", 1), ("rst_before", 0), ("status", 0),
    ("status_after", 1), ("truncated", 1), ("cut_json", 1), ("non_json", 1), ("empty", 1),
]


@pytest.mark.parametrize("what,accepted", FAULTS)
def test_faults_that_leave_the_client_in_the_dark(smsapi, what, accepted):
    smsapi.faults({"what": what, "count": 1})
    with pytest.raises((OSError, ValueError, http.client.HTTPException)):
        sms(smsapi, to="48500500500", message="x", idx="i", check_idx="1", timeout=0.3 if "hang" in what else LIMIT_S)
    assert smsapi.wait_for(lambda s: s["requests"] == 1)["accepted"] == accepted
    again = sms(smsapi, to="48500500500", message="x", idx="i", check_idx="1")
    assert again.get("error") == (53 if accepted else None)
    assert smsapi.state()["doubles_idx"] == 0


def test_faults_with_an_answer(smsapi):
    smsapi.faults({"what": "error", "code": 999, "count": 1}, {"what": "error_after", "code": 201, "count": 1},
                  {"what": "partial", "keep": 1, "count": 1}, {"what": "slow", "ms": 1, "count": 1})
    assert sms(smsapi, to="48500500500", message="1")["error"] == 999
    assert sms(smsapi, to="48500500500", message="2")["error"] == 201
    got = sms(smsapi, to="48500500500,48500500501", message="3")
    assert got["count"] == 1 and len(got["list"]) == 1
    assert "error" not in sms(smsapi, to="48500500500", message="4")
    assert [m["text"] for m in smsapi.messages()] == ["2", "3", "3", "4"]
    smsapi.faults({"what": "error", "match": "500500502"})
    assert "error" not in sms(smsapi, to="48500500501", message="5")
    assert sms(smsapi, to="48500500502", message="6")["error"] == 201


def test_seeded_faults_repeat(smsapi):
    def run():
        smsapi.faults({"what": "error", "probability": 0.5}, seed=7)
        return [("error" in sms(smsapi, to="48500500500", message=str(n), test="1")) for n in range(30)]
    smsapi.options(attempts_max=0)
    first = run()
    assert first == run() and 5 < sum(first) < 25


def test_pipelined_requests_are_answered_in_order(smsapi):
    smsapi.faults({"what": "delay", "ms": 50, "count": 1})
    body = "to=48500500500&format=json&encoding=utf-8&message=m{}"
    request = ("POST /sms.do HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sim-token\r\n"
               "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{}")
    with socket.create_connection(("127.0.0.1", smsapi.port), timeout=LIMIT_S) as s:
        s.sendall("".join(request.format(len(body.format(n)), body.format(n)) for n in range(3)).encode()
                  + b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while True:
            more = s.recv(65536)
            if not more:
                break
            got += more
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"200", b"200", b"200", b"204", b"404"]
    assert [m["text"] for m in smsapi.messages()] == ["m0", "m1", "m2"]


def test_wrong_token_and_other_paths(smsapi):
    assert sms(smsapi, token="wrong", to="48500500500", message="x")["error"] == 101
    smsapi.options(auth_status=401)
    with pytest.raises(urllib.error.HTTPError) as error:
        sms(smsapi, token="wrong", to="48500500500", message="x")
    assert error.value.code == 401 and json.loads(error.value.read())["error"] == "authorization_failed"

    def get(path, token):
        request = urllib.request.Request(smsapi.url + path, headers={"Authorization": "Bearer " + token})
        return json.loads(urllib.request.urlopen(request, timeout=LIMIT_S).read())
    assert get("/ping", "sim-token") == {"authorized": True, "unavailable": []}
    assert get("/ping", "wrong")["authorized"] is False
    smsapi.options(balance=12345, points_string=True)
    assert get("/profile", "sim-token")["points"] == "1.2345"


def test_outage(smsapi):
    smsapi.refuse()
    with pytest.raises(urllib.error.URLError):
        sms(smsapi, to="48500500500", message="x")
    smsapi.resume()
    assert "error" not in sms(smsapi, to="48500500500", message="x")
    smsapi.refuse(50)

    def answers():
        try:
            return "error" not in sms(smsapi, to="48500500500", message="x")
        except urllib.error.URLError:
            return False
    until("the outage to end by itself", answers)
    smsapi.faults({"what": "close_on_connect", "count": 1})
    with pytest.raises(Exception):
        sms(smsapi, to="48500500500", message="x")
    assert "error" not in sms(smsapi, to="48500500500", message="x")


def test_every_code_of_the_table_can_be_provoked(smsapi):
    with open(os.path.join(DATA, "errors.csv"), encoding="utf-8") as file:
        codes = [int(line.split(",")[0]) for line in file.readlines()[1:]]
    assert len(codes) == 148
    smsapi.faults(*[{"what": "error", "code": code, "count": 1} for code in codes])
    assert [sms(smsapi, to="48500500500", message="x")["error"] for _ in codes] == codes


def test_quick_mode_finds_doubles_and_times():
    with SmsapiSim(arguments=["--quiet-fast"]) as sim:
        event = "6b03d982550cc4beb9bd7e75"
        got = sms(sim, to="48500500500,48500500501", message=f"New {event}", idx="a|b", check_idx="1")
        assert [(e["number"], e["idx"]) for e in got["list"]] == [("48500500500", "a"), ("48500500501", "b")]
        for _ in range(2):
            assert sms(sim, as_json=True, to="48500500500", message=f"New {event}", idx="a")["count"] == 1
        state = sim.state()
        assert (state["accepted"], state["doubles_idx"], state["doubles_text"]) == (4, 2, 1)
        assert set(sim.accept_times()) == {event}


def test_delivery_reports(smsapi):
    seen, refuse_first = [], [True]
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(LIMIT_S)

    def serve():
        while len(seen) < 3:
            connection, _ = door.accept()
            with connection:
                target = connection.recv(65536).split()[1].decode()
                seen.append(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query, keep_blank_values=True)))
                body = b"no" if refuse_first else b"OK"
                refuse_first.clear()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{door.getsockname()[1]}/dlr?key=k"
    smsapi.options(report_status=404, report_repeat_ms=10)
    one = sms(smsapi, to="48500500500", message="x", idx="a", notify_url=url)["list"][0]
    smsapi.wait_for(lambda s: s["reports"]["confirmed"] == 1)
    smsapi.options(report_status=0, report_batch=10)
    sms(smsapi, to="48500500501", message="y", idx="b")
    smsapi.control("report", {"messages": [1, 2], "status": 405, "url": url})
    smsapi.wait_for(lambda s: s["reports"]["confirmed"] == 3)
    thread.join()
    door.close()
    assert seen[0] == {**seen[1], "donedate": seen[0]["donedate"]} and seen[0]["key"] == "k"
    assert (seen[0]["MsgId"], seen[0]["idx"], seen[0]["status"], seen[0]["status_name"]) == (one["id"], "a", "404", "DELIVERED")
    assert seen[2]["idx"] == "a,b" and seen[2]["status"] == "405,405" and seen[2]["to"] == "48500500500,48500500501"


def test_phones_that_ring():
    with SmsapiSim(arguments=["--print"]) as sim:
        sms(sim, to="48500500500", message="Zażółć " * 30 + "\n漢字 🐈", **{"from": "MyCo"})
        sim.wait_accepted(1)
        lines = [line for line in sim.output().splitlines() if not line.startswith("smsapi-sim")]
    assert "+48 500 500 500" in lines[0] and "\033" not in "".join(lines)
    assert "from MyCo" in lines[1] and len(lines) > 5
    assert len({len(line) for line in lines[:3]}) == 1


# ---- TLS ----

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    cert, key = str(directory / "cert.pem"), str(directory / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def test_bridge_over_tls(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with BridgeSim(tls=certificate) as sim:
        ws = subscriber(sim, cafile=certificate[0])
        sim.message(publicMeta={"a": 1})
        assert ws.notification()["data"]["publicMeta"] == {"a": 1}
        ws.notification()
        got = []
        reader = threading.Thread(target=lambda: got.extend(ws.read_message() for _ in range(20000)))
        reader.start()
        assert sim.flood(20000, wait=True)["sent"] == 20000
        reader.join()
        assert len(set(got)) == 20000


def test_smsapi_over_tls(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with SmsapiSim(tls=certificate) as sim:
        assert sms(sim, to="48500500500", message="x")["count"] == 1


def test_both_end_cleanly():
    for sim in (BridgeSim().start(), SmsapiSim().start()):
        assert sim.stop() == 0
