"""The demo: a stranger sees phones ring, and nothing is left behind."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BIN, LIMIT_S, until

DEMO = Path(__file__).resolve().parents[1] / "sim/demo.py"


@pytest.fixture
def start(tmp_path):
    processes = []

    def run(*words):
        log = tmp_path / "demo.log"
        with open(log, "wb") as out:
            processes.append(subprocess.Popen([sys.executable, "-B", DEMO, BIN, *words], stdout=out, stderr=out,
                                              env={**os.environ, "TMPDIR": str(tmp_path)}, start_new_session=True))
        return processes[-1], log

    yield run
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(LIMIT_S)


def left_behind(directory):
    """Directories of the demo, and processes that mention them."""
    places = [str(path) for path in directory.glob("bridgebell-demo-*")]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory / "bridgebell-demo-") in line:
            places.append(line)
    return places


def test_rings_and_ends_by_itself(start, tmp_path):
    process, log = start("--seconds", "5")
    assert process.wait(LIMIT_S) == 0, log.read_text()
    text = log.read_text()
    assert "ring" in text and " wrote: " in text and "Try in another terminal" in text and "sent" in text
    assert not left_behind(tmp_path)


def test_ctrl_c_leaves_nothing(start, tmp_path):
    process, log = start()
    until("a ringing phone", lambda: " wrote: " in log.read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(LIMIT_S) == 0, log.read_text()
    assert not left_behind(tmp_path)
    assert "nothing is left" in log.read_text()
