"""What became of a pick, told to the cell."""

import time

import pytest
import zenoh
from conftest import is_fresh, until

import magpie_client
from magpie.v1 import outcomes_pb2


def hear(publisher):
    key = f"magpie/{publisher.cell}/outcomes"
    return publisher.session.declare_subscriber(key, zenoh.handlers.FifoChannel(16))


def next_report(heard):
    for _ in range(500):
        sample = heard.try_recv()
        if sample is not None:
            return outcomes_pb2.PickOutcome.FromString(sample.payload.to_bytes())
        time.sleep(0.02)
    raise AssertionError("no report came")


def test_a_report_names_the_result_that_was_acted_upon_also_once_it_has_expired(publisher, client):
    heard = hear(publisher)
    view = until(client.packages(), is_fresh, publisher.publish)
    grasp, told = view.best_grasp(), view.for_display()
    while view.expires_in_s > 0:
        time.sleep(0.05)
    with pytest.raises(magpie_client.Expired):
        grasp.base_from_grasp
    before_ns = time.time_ns()
    client.report_outcome(grasp, "missed")
    bare = next_report(heard)
    assert (bare.instance_id, bare.cell) == ("true", "dock")
    assert bare.publication == int(told["publication"]) and bare.stamp_ns == int(told["stamp_ns"])
    assert (bare.track_id, bare.grasp_index, bare.outcome) == (7, 0, outcomes_pb2.OUTCOME_MISSED)
    assert before_ns <= bare.done_ns <= time.time_ns()
    assert not bare.HasField("weight_kg") and not bare.HasField("vacuum_pa") and not bare.type

    done_ns = bare.stamp_ns + 5
    client.report_outcome(
        grasp, "held", vacuum_pa=6e4, weight_kg=0.41, type="poly_bag", done_ns=done_ns, reporter="scale"
    )
    whole = next_report(heard)
    assert (whole.vacuum_pa, whole.weight_kg, whole.type) == (6e4, 0.41, "poly_bag")
    assert (whole.done_ns, whole.reporter, whole.publication) == (done_ns, "scale", bare.publication)


def test_what_the_daemon_would_refuse_is_refused_at_once(publisher, client):
    grasp = until(client.packages(), is_fresh, publisher.publish).best_grasp()
    for outcome, known in [
        ("lost", {}),
        ("unspecified", {}),
        ("held", {"weight_kg": float("nan")}),
        ("held", {"weight_kg": -1.0}),
        ("held", {"vacuum_pa": 1e9}),
        ("held", {"type": "x" * 65}),
        ("held", {"done_ns": 1}),
        ("held", {"done_ns": time.time_ns() + 3600 * 10**9}),
    ]:
        with pytest.raises(ValueError):
            client.report_outcome(grasp, outcome, **known)
    client.close()
    with pytest.raises(magpie_client.QueryError):
        client.report_outcome(grasp, "held")


def test_a_running_cell_counts_it(demo):
    with magpie_client.connect(demo) as client:
        holdable = lambda state: is_fresh(state) and state.best_grasp() is not None
        grasp = until(client.packages(), holdable).best_grasp()
        before = client.status().as_dict()["picks"]
        client.report_outcome(grasp, "dropped")
        for _ in range(200):
            picks = client.status().as_dict()["picks"]
            if picks != before:
                break
            time.sleep(0.05)
        assert int(picks["dropped"]) == int(before["dropped"]) + 1 and picks["refused"] == []
