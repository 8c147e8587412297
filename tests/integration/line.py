"""The whole line under test: simulated Bridge, the real product, simulated provider."""
from conftest import until
from sims import BridgeSim, SmsapiSim

NUMBER = "+48500500500"
OTHER = "+48500500501"


class Line:
    """Starts both simulators; config() gives what belongs between them."""

    def __init__(self, directory, tls=None):
        self.dir = directory
        self.bridge = BridgeSim(tls=tls).start()
        try:
            self.provider = SmsapiSim(tls=tls).start()
        except BaseException:
            self.bridge.stop()
            raise
        # Ten attempts per number and minute is a limit of its own; tests of it switch it on.
        self.provider.options(attempts_max=0)
        for name, text in (("bridge.secret", self.bridge.key_secret), ("provider.token", self.provider.token)):
            path = directory / name
            path.write_text(text)
            path.chmod(0o600)

    def stop(self):
        self.bridge.stop()
        self.provider.stop()

    def rule(self, name="lorem", message="New message {{ data.id }}", when=None, to=f'"{NUMBER}"', more=""):
        when = when or (f"channel == 'thread' && type == 'threadNewMessage' && "
                        f"data.threadId == '{self.bridge.thread_id}'")
        return f'rule "{name}" {{ when = "{when}" to = {{ {to} }} message = "{message}" caps = off {more} }}\n'

    def config(self, rules=None, bridge="", provider="", dispatcher="", sender="processes = 2",
               channels="thread, store, stream, inbox", more=""):
        return f'''
bridge "main" {{
    url = "{self.bridge.api_url}"
    api_key_id = "{self.bridge.key_id}"
    api_key_secret_file = "{self.dir}/bridge.secret"
    channels = {{ {channels} }}
    spill_dir = "{self.dir}"
    reconnect_min = 50ms
    reconnect_max = 1s
    {bridge}
}}
provider "smsapi" {{
    type = smsapi
    url = "{self.provider.url}"
    token_file = "{self.dir}/provider.token"
    requests_per_second = 20000
    attempts_per_number = off
    connect_timeout = 2s
    request_timeout = 3s
    retry_min = 100ms
    retry_max = 2s
    {provider}
}}
{self.rule() if rules is None else rules}
dispatcher {{ store = "sqlite:{self.dir}/queue.db" min_free = 1MiB {dispatcher} }}
sender {{ {sender} }}
{more}
'''

    def subscribed(self, channel="thread"):
        self.bridge.wait_subscribed(channel)

    def texts(self):
        return [m["text"] for m in self.provider.messages()]

    def wait_drained(self, bell):
        """Until nothing is queued or leased."""
        def drained():
            queue = bell.status().get("queue", {})
            return queue.get("queued") == 0 and queue.get("leased") == 0
        until("the queue to drain", drained)
