"""What an operator is promised of events that come late, twice, in parts, or are taken back."""
import collections
import json

import pytest

from conftest import until
from line import NUMBER


def counts(texts):
    return dict(collections.Counter(texts))


def test_an_inbox_entry_rings_once_and_its_parts_do_not(line, bell):
    world = line()
    inbox = world.bridge.create("inbox")["id"]
    rules = (world.rule("entries", "entry {{ container }}", when="channel == 'inbox' && type == 'inboxEntry'")
             + world.rule("messages", "message {{ item }}"))
    one = bell(world.config(rules, channels="thread, store, inbox")).start()
    world.subscribed("inbox")
    for files in (0, 3, 1):
        world.bridge.inbox_entry(inbox, files=files)
    own = world.bridge.message()
    world.provider.wait_accepted(4)
    world.wait_drained(one)
    assert counts(world.texts()) == {f"entry {inbox}": 3, f"message {own}": 1}


def test_parts_of_an_entry_ring_for_a_rule_that_asks_for_them(line, bell):
    world = line()
    inbox = world.bridge.create("inbox")["id"]
    rules = (world.rule("entries", "entry {{ container }}", when="type == 'inboxEntry'")
             + world.rule("files", "file {{ item }}", when="type == 'storeFileCreated'"))
    one = bell(world.config(rules, channels="thread, store, inbox")).start()
    world.subscribed("inbox")
    world.bridge.inbox_entry(inbox, files=2)
    world.provider.wait_accepted(3)
    world.wait_drained(one)
    assert sorted(text.split()[0] for text in world.texts()) == ["entry", "file", "file"]


def test_channel_inbox_alone_is_enough(line, bell):
    world = line()
    inbox = world.bridge.create("inbox")["id"]
    rules = world.rule("entries", "entry {{ container }} {{ data.files.size() }}", when="type == 'inboxEntry'")
    one = bell(world.config(rules, channels="inbox")).start()
    world.subscribed("inbox")
    world.bridge.inbox_entry(inbox, files=2)
    messages = world.provider.wait_accepted(1)
    world.wait_drained(one)
    assert messages[0]["text"].startswith(f"entry {inbox}")
    assert world.provider.state()["accepted"] == 1


def test_what_is_deleted_before_it_was_sent_is_cancelled(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    one.cli("pause")
    gone, stays = world.bridge.message(), world.bridge.message()
    until("two queued jobs", lambda: one.status()["queue"]["queued"] == 2)
    world.bridge.delete("message", id=gone, threadId=world.bridge.thread_id)
    until("the cancellation", lambda: one.status()["queue"]["cancelled"] == 1)
    one.cli("resume")
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    assert world.texts() == [f"New message {stays}"]
    job = json.loads(one.cli("queue", "ls", "--state", "cancelled", "--json").stdout)["jobs"][0]
    assert "deleted" in job["reason"]


def test_a_deleted_thread_takes_its_jobs_along(line, bell):
    world = line()
    thread = world.bridge.create("thread")["id"]
    rules = world.rule(when="type == 'threadNewMessage'")
    one = bell(world.config(rules)).start()
    world.subscribed()
    one.cli("pause")
    for _ in range(3):
        world.bridge.message(thread)
    stays = world.bridge.message()
    until("four queued jobs", lambda: one.status()["queue"]["queued"] == 4)
    world.bridge.delete("thread", id=thread)
    until("the cancellations", lambda: one.status()["queue"]["cancelled"] == 3)
    one.cli("resume")
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    assert world.texts() == [f"New message {stays}"]


def test_a_deletion_that_overtakes_its_creation_wins(line, bell):
    world = line()
    one = bell(world.config()).start()
    world.subscribed()
    frame = ('{"channel":"thread","type":"threadDeletedMessage","data":{"messageId":"%s","threadId":"%s"},'
             '"timestamp":1795414402558}')
    created = ('{"channel":"thread","type":"threadNewMessage","data":{"id":"%s","contextId":"c","threadId":"%s",'
               '"createDate":1795414402018,"author":"alice","keyId":"k","publicMeta":null},"timestamp":1795414402020}')
    item = "6b03d982550cc4beb9bd7e75"
    world.bridge.emit(frame % (item, world.bridge.thread_id), "thread")
    world.bridge.emit(created % (item, world.bridge.thread_id), "thread")
    last = world.bridge.message()
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    assert world.texts() == [f"New message {last}"]
    assert one.status()["queue"]["cancelled"] == 1


def test_a_rule_may_keep_what_was_deleted(line, bell):
    world = line()
    one = bell(world.config(world.rule(more="cancel_on_delete = off"))).start()
    world.subscribed()
    one.cli("pause")
    item = world.bridge.message()
    until("a queued job", lambda: one.status()["queue"]["queued"] == 1)
    world.bridge.delete("message", id=item, threadId=world.bridge.thread_id)
    world.bridge.create("thread")
    one.cli("resume")
    assert world.provider.wait_accepted(1)[0]["text"] == f"New message {item}"


def test_a_job_past_its_time_is_expired_not_sent(line, bell):
    world = line()
    created = "channel == 'thread' && type == 'threadCreated'"
    one = bell(world.config(world.rule(more="expires = 2s") + world.rule("stays", "stays", when=created))).start()
    world.subscribed()
    one.cli("pause")
    world.bridge.message()
    world.bridge.create("thread")
    until("the job to expire", lambda: one.status()["queue"]["expired"] == 1)
    one.cli("resume")
    world.provider.wait_accepted(1)
    world.wait_drained(one)
    assert world.texts() == ["stays"]


@pytest.mark.parametrize("how", ["fin", "rst", "close", "restart", "refuse", "silent"])
def test_what_came_during_a_cut_is_fetched_once(line, bell, how):
    world = line()
    one = bell(world.config(bridge="silence_limit = 3s")).start()
    world.subscribed()
    ids = [world.bridge.message()]
    world.provider.wait_accepted(1)
    if how in ("fin", "rst"):
        world.bridge.drop(how=how)
    elif how == "close":
        world.bridge.close(code=1001)
    elif how == "restart":
        world.bridge.restart(ms=500, lose_sessions=True)
    elif how == "refuse":
        world.bridge.refuse(1500)
        world.bridge.drop()
    else:
        world.bridge.faults(mute=1, no_pings=1)
    ids += [world.bridge.message() for _ in range(5)]
    if how == "silent":
        until("the listener to notice", lambda: not one.status()["bridges"][0]["connected"])
        world.bridge.faults(mute=0, no_pings=0)
    world.subscribed()
    ids.append(world.bridge.message())
    world.provider.wait_accepted(len(ids))
    world.wait_drained(one)
    assert counts(world.texts()) == {f"New message {item}": 1 for item in ids}


def test_resync_fetches_what_was_posted_before_the_first_start(line, bell):
    world = line()
    before = [world.bridge.message() for _ in range(3)]
    one = bell(world.config()).start()
    world.subscribed()
    last = world.bridge.message()
    world.provider.wait_accepted(1)
    assert world.texts() == [f"New message {last}"]
    one.cli("resync", "--since", "1h")
    world.provider.wait_accepted(4)
    world.wait_drained(one)
    assert counts(world.texts()) == {f"New message {item}": 1 for item in [*before, last]}


def test_two_installations_on_one_bridge_do_not_evict_each_other(line, bell):
    world = line()
    first = bell('installation = "first"\n' + world.config(), "first")
    second = bell('installation = "second"\n' + world.config().replace("queue.db", "second.db"), "second")
    first.start()
    second.start()
    world.bridge.wait_subscribed("thread", count=2)
    for _ in range(2):
        world.bridge.drop()
        world.bridge.wait_subscribed("thread", count=2)
    item = world.bridge.message()
    world.provider.wait_accepted(2)
    assert counts(world.texts()) == {f"New message {item}": 2}
    names = {s["name"] for s in world.bridge.state()["token_sessions"]}
    assert len(names) == 2
