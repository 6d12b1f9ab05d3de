"""Threads, callbacks, signals and ends."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import has_code, is_fresh, until

import magpie_client
from magpie_client import Fresh, Lost, QueryError


def test_closing_in_a_callback_ends_who_waits(publisher):
    client = magpie_client.connect("dock", endpoint=publisher.endpoint)
    packages = client.packages(timeout_s=60)
    next(client.packages(timeout_s=0))
    timer = threading.Timer(0.2, client.close)
    timer.start()
    for _ in packages:
        pass
    timer.join()
    assert client.closed and packages.closed and "closed" in repr(client)
    assert has_code("closed")(packages.latest()) and not packages.wait(60)
    assert isinstance(client.status(), Lost)
    for ask in [client.capture, client.camera_info, client.packages]:
        with pytest.raises(QueryError, match="closed"):
            ask()
    client.close()


def test_a_client_that_is_dropped_in_a_callback_of_the_network_leaves_its_packages_alone(publisher):
    held = [magpie_client.connect("dock", endpoint=publisher.endpoint)]
    packages = held[0].packages()
    dropped = threading.Event()

    def drop(_sample):
        held.clear()
        gc.collect()
        dropped.set()

    subscriber = publisher.session.declare_subscriber("magpie/dock/packages", drop)
    until(packages, is_fresh, publisher.publish)
    assert dropped.wait(30)
    subscriber.undeclare()
    del packages
    gc.collect()


def test_an_iterator_that_is_dropped_in_its_own_loop_does_no_harm(publisher):
    with magpie_client.connect("dock", endpoint=publisher.endpoint) as client:
        for _ in range(10):
            packages = client.packages(timeout_s=0.01)
            assert iter(packages) is packages
            for state in packages:
                # The loop holds the last reference, and drops it at its end.
                del packages
                assert not isinstance(state, Fresh)
                break
        assert client.status().state == "ok"


def test_two_threads_share_a_client_and_an_iterator(client, publisher):
    packages = client.packages(timeout_s=0.05)
    stop = threading.Event()
    fresh, errors = [0, 0, 0], []

    def follow(at):
        try:
            while not stop.is_set():
                state = next(packages) if at < 2 else client.packages(timeout_s=0).latest()
                if isinstance(state, Fresh):
                    assert state.packages[0].mask.sum() == 4
                    fresh[at] += 1
                client.status()
        except magpie_client.Expired:
            pass
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=follow, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        publisher.publish(valid_ns=5 * 10**9)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors, errors
    assert sum(fresh[:2]) > 0


def begun(seconds):
    """An event that comes much later than what is to end before it."""
    late = threading.Event()
    timer = threading.Timer(seconds, late.set)
    timer.daemon = True
    timer.start()
    return late


def test_threads_wait_side_by_side(client):
    packages = client.packages()
    threads = [threading.Thread(target=packages.wait, args=(2,)) for _ in range(8)]
    late = begun(14)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not late.is_set(), "one after the other they take sixteen seconds"


def test_a_wait_that_was_cancelled_leaves_the_loop_and_its_executor_free(client):
    async def cancel():
        waits = [asyncio.ensure_future(packages.__anext__()) for _ in range(4)]
        await asyncio.sleep(0.05)
        for wait in waits:
            wait.cancel()
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        packages.latest()

    packages = client.packages(timeout_s=30)
    late = begun(25)
    # The end of the loop waits for the threads of its executor.
    asyncio.run(cancel())
    assert not late.is_set()


def test_closing_while_other_threads_use_it_ends_them(publisher):
    for _ in range(5):
        client = magpie_client.connect("dock", endpoint=publisher.endpoint)
        ended = []

        def follow(packages):
            ended.append(sum(1 for _ in packages) >= 0)

        threads = [
            threading.Thread(target=follow, args=(client.packages(timeout_s=0.01),)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        publisher.publish()
        client.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert ended == [True] * 4


def test_other_threads_run_while_one_waits(client):
    turns, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            turns[0] += 1

    thread = threading.Thread(target=count)
    packages = client.packages(timeout_s=0.5)
    thread.start()
    before = turns[0]
    packages.wait()
    during = turns[0] - before
    stop.set()
    thread.join()
    assert during > 1000


def test_asyncio_can_cancel_and_a_close_ends_the_loop(publisher):
    async def follow():
        client = magpie_client.connect("dock", endpoint=publisher.endpoint)
        packages = client.packages(timeout_s=0.05)
        waiting = asyncio.ensure_future(packages.__anext__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        asyncio.get_running_loop().call_later(0.3, client.close)
        return [state async for state in packages]

    states = asyncio.run(follow())
    assert states and all(isinstance(state, (Lost, magpie_client.Stale)) for state in states)


WAITS = """
import magpie_client
client = magpie_client.connect("dock", endpoint={endpoint!r})
print("waiting", flush=True)
{wait}
"""


@pytest.mark.parametrize(
    "wait", ["next(client.packages(timeout_s=600))", "client.capture(timeout_s=600)"]
)
def test_ctrl_c_is_heard_while_waiting(publisher, wait):
    def answer_never(query):
        queries.append(query)

    queries = []
    queryable = publisher.session.declare_queryable("magpie/dock/capture", answer_never)
    script = WAITS.format(endpoint=publisher.endpoint, wait=wait)
    # Whoever runs the tests in the background may have switched the signal off.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", heard + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "KeyboardInterrupt" in said
    queryable.undeclare()


FORKS = """
import gc, os, sys
import magpie_client

def connect():
    return magpie_client.connect("dock", endpoint={endpoint!r})

def ask_all(client, packages):
    asks = [client.status, client.capture, client.camera_info, client.packages, packages.latest]
    for ask in [*asks, packages.wait, lambda: next(packages), lambda: client.closed, connect]:
        try:
            ask()
        except magpie_client.ConnectError as error:
            assert "fork" in str(error) and "spawn" in str(error), error
        else:
            raise AssertionError(ask)

with connect() as client:
    packages = client.packages()
    child = os.fork()
    if child == 0:
        with client:
            ask_all(client, packages)
        assert "forked" in repr(client)
        del client, packages
        gc.collect()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert client.status().state == "ok"
    next(packages)
"""


def test_a_fork_is_told_that_it_cannot_use_the_network(publisher):
    script = FORKS.format(endpoint=publisher.endpoint)
    command = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def is_followed(publisher, wanted):
    """Waits until somebody receives the results of the cell, or nobody any more."""
    results = publisher.session.declare_publisher("magpie/dock/packages")
    for _ in range(1000):
        if results.matching_status.matching == wanted:
            results.undeclare()
            return True
        time.sleep(0.01)
    return False


def test_close_leaves_the_network_whatever_is_kept(publisher):
    client = magpie_client.connect("dock", endpoint=publisher.endpoint)
    packages = client.packages()
    assert is_followed(publisher, True)
    client.close()
    assert is_followed(publisher, False)
    assert has_code("closed")(packages.latest()) and list(packages) == []


def test_who_drops_all_leaves_the_network_without_a_close(publisher):
    client = magpie_client.connect("dock", endpoint=publisher.endpoint)
    packages = client.packages()
    assert is_followed(publisher, True)
    del client, packages
    gc.collect()
    assert is_followed(publisher, False)


def test_a_program_may_end_without_closing_anything(publisher):
    script = WAITS.format(endpoint=publisher.endpoint, wait="kept = [client, client.packages()]")
    for extra in ["", "import os; os.environ['X'] = '1'", "raise SystemExit(0)"]:
        command = [sys.executable, "-c", script + extra]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
