"""A full disk while the line starts: it waits for room and goes on by itself."""
import os
import signal
import subprocess

import pytest

from conftest import until


@pytest.fixture
def disk(tmp_path):
    at = tmp_path / "disk"
    at.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", at]).returncode:
        pytest.skip("no file system of a test's own")
    yield at
    subprocess.run(["umount", "-l", at], check=True)


def config(line):
    text = line.config(channels="thread")
    return text.replace("queue.db", "disk/queue.db").replace("min_free = 1MiB", "min_free = 8MiB  log_limit = 4MiB")


def fill(disk):
    with open(disk / "ballast", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


def dispatcher(bell):
    return next(p for p in bell.status()["processes"] if p["role"] == "dispatcher")


def test_a_start_on_a_full_disk_waits_for_room(bell, line, disk):
    world = line()
    one = bell(config(world))
    fill(disk)
    one.start(ready=False)
    one.wait_log("no room for opening the store")
    until("status to say so", lambda: dispatcher(one).get("detail") == "no disk space")
    (disk / "ballast").unlink()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)


def test_a_dispatcher_killed_on_a_full_disk_finishes_what_was_accepted(bell, line, disk):
    world = line()
    one = bell(config(world)).start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    world.provider.faults({"what": "status", "status": 503, "count": 3})
    world.bridge.message()
    until("the second job", lambda: one.status()["events"]["matched"] == 2)
    fill(disk)
    os.kill(one.child("dispatcher"), signal.SIGKILL)
    world.provider.wait_accepted(2)
    world.bridge.message()
    (disk / "ballast").unlink()
    world.provider.wait_accepted(3)
    assert len(set(world.texts())) == 3 == len(world.texts())
    assert "its reserve is given away" in one.log_text()
    assert "damaged" not in one.log_text(), "a log that stays is no damage"
