"""Holes that catching up must not leave."""


def subscribed(line, bell):
    world = line()
    one = bell(world.config(channels="thread"))
    one.start()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(1)
    return world, one


def test_a_bridge_that_fails_inside_is_asked_again(line, bell):
    """JSON-RPC's own errors tell of the server: the thread is not gone and its messages are not given up."""
    world, one = subscribed(line, bell)
    world.bridge.faults(fault_method="thread/listThreadMessages",
                        fault_answer={"error": {"code": -32603, "message": "Internal error"}}, fault_method_count=2)
    world.bridge.refuse(-1)
    world.bridge.drop()
    world.bridge.message()
    world.bridge.resume()
    world.provider.wait_accepted(2)
    assert world.bridge.state()["calls"]["thread/listThreadMessages"] >= 3


def test_one_list_that_never_answers_does_not_hold_up_the_rest(line, bell):
    world, one = subscribed(line, bell)
    world.bridge.faults(fault_method="context/listContexts",
                        fault_answer={"error": {"code": -32603, "message": "Internal error"}})
    world.bridge.drop()
    world.subscribed()
    world.bridge.message()
    world.provider.wait_accepted(2)
