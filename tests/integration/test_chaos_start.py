"""Processes that somebody kills while the line is still coming up: it comes up all the same."""
import os
import signal

import pytest

from conftest import until
from master import master  # noqa: F401 (a fixture)


def start_with(master, role, how):
    """Starts the master with ROLE doing as HOW says; returns once such a process runs."""
    master.order(role, **how)
    master.start(ready=False)
    return until(f"a {role} to be there", lambda: master.lives("starts", role.split(":")[0]))[-1]


@pytest.mark.parametrize("role, number", [("dispatcher", signal.SIGKILL), ("sender:2", signal.SIGKILL),
                                          ("listener", signal.SIGKILL), ("sender:2", signal.SIGTERM)])
def test_a_process_killed_before_it_is_ready_is_started_again(master, role, number):
    start_with(master, role, {"start": "leave on TERM" if number == signal.SIGTERM else "silent"})
    name = role.split(":")
    pid = until("its pid", lambda: [one["pid"] for one in master.lives("starts", name[0])
                                    if len(name) == 1 or one["instance"] == name[1]])[0]
    master.order(role)
    os.kill(pid, number)
    master.wait_log("bridgebell is up")
    assert not master.has_ended()
    assert [p["state"] for p in master.status()["processes"]] == ["running"] * 5


def test_one_that_crashes_each_time_fails_the_start(master):
    start_with(master, "sender:1", {"start": "crash"})
    assert master.wait_end() == 1
    assert "the start has failed" in master.log_text() and "signal 9" in master.log_text()
    assert len([one for one in master.lives("starts", "sender") if one["instance"] == "1"]) > 1


def test_a_process_killed_while_it_checks_is_asked_again(master):
    master.order("sender", **{"validate": "crash once"})
    master.start()
    assert len(master.lives("validates", "sender")) == 2
