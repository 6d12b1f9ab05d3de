"""Whether anybody could act on what is old, of somebody else, broken or not understood."""

import time

import numpy as np
import pytest
from conftest import Publisher, has_code, is_fresh, until
from magpie.v1 import packages_pb2, status_pb2

import magpie_client
from magpie_client import Expired, Fresh, Lost, Stale, WrongFrame


def fresh(client, publisher, **changes):
    return until(client.packages(), is_fresh, lambda: publisher.publish(**changes))


def test_a_result_becomes_arrays(client, publisher):
    view = fresh(client, publisher)
    (package,) = view.packages
    expected = [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(package.mask, np.array(expected, bool))
    package.mask[:] = True
    assert package.mask.sum() == 4, "an array that was changed changes nothing here"
    pose = [[1, 0, 0, 0.4], [0, -1, 0, -0.1], [0, 0, -1, 0.12], [0, 0, 0, 1]]
    grasp = view.best_grasp()
    np.testing.assert_allclose(grasp.base_from_grasp, pose, atol=1e-12)
    assert grasp.cups == [0] and grasp.pose_source == "depth"
    assert package.type == "box" and package.bbox == (1.0, 0.0, 3.0, 2.0)
    assert "expires in" in repr(view)
    assert '"dock"' in repr(client)


def test_whoever_keeps_a_view_too_long_gets_expired_from_all_of_it(client, publisher):
    view = fresh(client, publisher, valid_ns=400_000_000)
    grasp, (package,) = view.best_grasp(), view.packages
    while view.expires_in_s > 0:
        time.sleep(0.02)
    for touch in [
        lambda: view.packages,
        lambda: view.best_grasp(),
        lambda: package.mask,
        lambda: package.grasps,
        lambda: package.type,
        lambda: grasp.base_from_grasp,
        lambda: grasp.quality,
        lambda: grasp.pose_at(time.time_ns()),
        lambda: grasp.pose_in_base(np.eye(4)),
        lambda: grasp.package.track_id,
    ]:
        with pytest.raises(Expired, match="expired .* ms ago; ask the subscriber for a newer one"):
            touch()
    assert view.for_display()["packages"], "people may still look at it"
    assert "expired" in repr(view) and repr(grasp) and repr(package)


def test_a_result_that_is_over_is_stale(client, publisher):
    packages = client.packages()
    until(packages, is_fresh, lambda: publisher.publish(valid_ns=300_000_000))
    stale = until(packages, has_code("expired"))
    assert isinstance(stale, Stale) and "expired" in stale.why


def test_a_result_of_another_instance_is_never_fresh(client, publisher):
    packages = client.packages()
    until(packages, is_fresh, publisher.publish)
    forger = Publisher(instance_id="forged", connect=publisher.endpoint)
    forger.fall_silent()
    seen = []

    def both():
        publisher.publish()
        forger.publish(sequence=10**6)

    for _ in range(50):
        both()
        packages.wait(0.01)
        state = packages.latest()
        seen.append(state)
        assert not is_fresh(state) or state.sequence != 10**6
    assert any(has_code("rival")(state) for state in seen), seen[-1]
    assert isinstance(seen[-1], Lost)
    # Another heartbeat is a rival, too.
    forger.leave()
    until(packages, is_fresh, publisher.publish)
    rival = Publisher(instance_id="forged", connect=publisher.endpoint)
    until(packages, has_code("rival"), publisher.publish)
    rival.leave()


def test_only_the_first_iterator_of_a_client_waits_until_its_publisher_is_known(client, publisher):
    until(client.packages(), is_fresh, publisher.publish)
    for _ in range(5):
        state = client.packages().latest()
        assert isinstance(state, Stale), state


def test_who_claims_an_hour_is_refused(client, publisher):
    packages = client.packages()
    state = until(packages, has_code("refused"), lambda: publisher.publish(valid_ns=3_600 * 10**9))
    assert "valid for 3600000 ms" in state.why


def test_silence_departure_and_a_fault_are_lost(client, publisher):
    packages = client.packages()
    until(packages, is_fresh, publisher.publish)
    publisher.state = packages_pb2.STATE_FAULT
    publisher.reasons = [status_pb2.Reason(code="fault", text="on fire")]
    lost = until(packages, has_code("fault"), publisher.publish)
    assert "on fire" in lost.why
    publisher.fall_silent()
    until(packages, has_code("silent"), publisher.publish)
    publisher.token.undeclare()
    until(packages, has_code("gone"))
    assert has_code("gone")(client.status())


def test_a_clock_that_is_off_by_seconds_is_told(client, publisher):
    packages = client.packages()
    ahead = until(packages, has_code("clock_ahead"), lambda: publisher.publish(clock_ahead_ns=3 * 10**9))
    assert "synchronise" in ahead.why
    behind = lambda: publisher.publish(clock_ahead_ns=-3 * 10**9)  # noqa: E731
    # Results of a future that is not yet over are not overtaken by older ones.
    other = client.packages()
    until(other, has_code("arrived_expired"), behind)
    assert isinstance(until(other, is_fresh, publisher.publish), Fresh)


def test_a_message_that_is_cut_short_is_refused_or_wholly_there(client, publisher):
    packages = client.packages()
    until(packages, is_fresh, publisher.publish)
    whole = publisher.message(valid_ns=5 * 10**9).SerializeToString()
    for length in range(0, len(whole), 3):
        publisher.put("packages", whole[:length])
        packages.wait(0.01)
        state = packages.latest()
        if is_fresh(state):
            for package in state.packages:
                assert package.mask.shape == (3, 4)
                assert all(grasp.base_from_grasp.shape == (4, 4) for grasp in package.grasps)
    publisher.put("packages", b"\xff" * 9)
    assert "not a magpie.v1.Packages" in until(packages, has_code("refused")).why


def test_a_torn_mask_is_refused_with_its_message(client, publisher):
    packages = client.packages()
    for counts, width_px in [(b"1", 4), (b"\xff\xff", 4), (b"", 4), (None, 400_000)]:
        message = publisher.message()
        mask = message.packages[0].mask
        mask.width_px = width_px
        if counts is not None:
            mask.counts = counts
        payload = message.SerializeToString()
        state = until(packages, has_code("refused"), lambda: publisher.put("packages", payload))
        assert "mask" in state.why
        until(packages, is_fresh, publisher.publish)


def test_a_daemon_of_a_newer_schema_is_understood_as_far_as_it_goes(client, publisher):
    packages = client.packages()
    newer = until(packages, has_code("refused"), lambda: publisher.publish(schema_version=2))
    assert "schema version 2" in newer.why and "daemon's version" in newer.why
    # Fields and values that were added leave the old ones as they are.
    publisher.state = 99
    message = publisher.message(reference_frame=9)
    message.packages[0].grasps[0].pose_source = 17
    added = message.SerializeToString() + b"\xfa\x3f\x03new"
    view = until(packages, is_fresh, lambda: publisher.put("packages", added))
    assert view.reference_frame == "unspecified"
    grasp = view.best_grasp()
    assert grasp.pose_source == "unspecified"
    with pytest.raises(WrongFrame, match="not know it"):
        grasp.base_from_grasp
    for _ in range(1000):
        if client.status().state == "unspecified":
            return
        time.sleep(0.01)
    raise AssertionError(f"a state that is not known is none that is: {client.status()!r}")


def test_a_pose_has_the_name_of_its_frame_or_none(client, publisher):
    camera = fresh(client, publisher, reference_frame=2, frame_id="optical").best_grasp()
    with pytest.raises(WrongFrame, match='in camera .*"optical".* not in base: .*hand-eye'):
        camera.base_from_grasp
    assert camera.camera_from_grasp[0, 3] == 0.4
    with pytest.raises(WrongFrame, match="not in gripper"):
        camera.pose_in_base(np.eye(4))
    gripper = fresh(client, publisher, reference_frame=3, frame_id="gripper").best_grasp()
    with pytest.raises(WrongFrame, match="pose_in_base"):
        gripper.base_from_grasp
    base_from_gripper = np.eye(4)
    base_from_gripper[:3, 3] = 0.0, 0.0, 0.5
    base_from_grasp = gripper.pose_in_base(base_from_gripper)
    np.testing.assert_allclose(base_from_grasp, base_from_gripper @ gripper.gripper_from_grasp)
    for no_pose in [np.eye(3), np.full((4, 4), np.nan), 2 * np.eye(4), "pose", None]:
        with pytest.raises((ValueError, TypeError)):
            gripper.pose_in_base(no_pose)


def test_a_pose_moves_with_the_belt(client, publisher):
    still = fresh(client, publisher).best_grasp()
    assert still.pose_at(time.time_ns()) is None
    linear = packages_pb2.Vector3(x=0.5)
    velocity = packages_pb2.Velocity(linear_m_s=linear, sigma_m_s=0.04)
    view = fresh(client, publisher, velocity=velocity)
    while (later := view.best_grasp().pose_at(view.stamp_ns + 10**8)) is None:
        view = fresh(client, publisher, velocity=velocity)
    assert later.base_from_grasp[0, 3] == pytest.approx(0.45)
    assert later.position_sigma_m == pytest.approx(0.005)


def test_a_pose_on_the_belt_expires_with_its_result(client, publisher):
    velocity = packages_pb2.Velocity(linear_m_s=packages_pb2.Vector3(x=0.5))
    packages, later = client.packages(), None
    while later is None:
        publisher.publish(valid_ns=2 * 10**9, velocity=velocity)
        if packages.wait(0.05) and is_fresh(view := packages.latest()):
            later = view.best_grasp().pose_at(view.stamp_ns + 10**8)
    assert later.base_from_grasp.shape == (4, 4)
    while view.expires_in_s > 0:
        time.sleep(0.02)
    for name in ["base_from_grasp", "camera_from_grasp", "gripper_from_grasp", "position_sigma_m"]:
        with pytest.raises(Expired, match="ask the subscriber for a newer one"):
            getattr(later, name)
    assert "give or take" in repr(later), "people may still look at it"


def test_a_successor_is_told_apart_once(client, publisher):
    packages = client.packages()
    assert not until(packages, is_fresh, publisher.publish).restarted
    publisher.instance_id = "successor"
    states = []

    def successor_speaks(state):
        if is_fresh(state) and state.for_display()["instance_id"] == "successor":
            states.append(state.restarted)
        return len(states) == 2

    until(packages, successor_speaks, publisher.publish)
    assert states == [True, False]


def answer_captures(publisher, **changes):
    def answer(query):
        query.reply("magpie/dock/capture", publisher.message(**changes).SerializeToString())

    return publisher.session.declare_queryable("magpie/dock/capture", answer)


def test_a_picture_of_a_successor_says_so_once(client, publisher):
    answers = answer_captures(publisher, valid_ns=5 * 10**9)
    assert [client.capture().restarted for _ in range(2)] == [False, False]
    publisher.instance_id = "successor"
    for _ in range(1000):
        try:
            view = client.capture()
            break
        except magpie_client.QueryError:
            time.sleep(0.01)
    assert view.for_display()["instance_id"] == "successor"
    assert [view.restarted, client.capture().restarted] == [True, False]
    answers.undeclare()


def test_a_picture_from_before_the_question_is_no_answer(client, publisher):
    # As a storage answers: with what was published last.
    kept = publisher.message(valid_ns=4 * 10**9)
    kept.stamp_ns -= 200 * 10**6
    stored = kept.SerializeToString()
    answers = publisher.session.declare_queryable(
        "magpie/dock/capture", lambda query: query.reply("magpie/dock/capture", stored)
    )
    with pytest.raises(magpie_client.QueryError, match="ms before the question.*storage"):
        client.capture()
    answers.undeclare()
    answers = answer_captures(publisher, valid_ns=5 * 10**9)
    assert client.capture().packages
    answers.undeclare()


def test_an_answer_of_somebody_else_is_not_believed(client, publisher):
    publisher.instance_id = "true"

    def answer(query):
        forged = publisher.message(instance_id="forged")
        query.reply("magpie/dock/capture", forged.SerializeToString())

    queryable = publisher.session.declare_queryable("magpie/dock/capture", answer)
    with pytest.raises(magpie_client.QueryError, match="not from the publisher"):
        client.capture(timeout_s=2)
    queryable.undeclare()
    with pytest.raises(magpie_client.Unanswered, match="not answered within"):
        client.camera_info(timeout_s=0.2)


def test_arguments_are_checked():
    for arguments in [{"cell": "a/b"}, {"cell": ""}, {"cell": "*"}]:
        with pytest.raises(ValueError, match="cell name"):
            magpie_client.connect(**arguments)
    with pytest.raises(ValueError, match="not both"):
        magpie_client.connect("dock", endpoint="tcp/127.0.0.1:1", zenoh_file="x")
    with pytest.raises(magpie_client.ConnectError, match="missing.json5"):
        magpie_client.connect("dock", zenoh_file="/missing.json5")
    with pytest.raises(magpie_client.ConnectError, match="listening there"):
        magpie_client.connect("dock", endpoint="tcp/127.0.0.1:1")
    for seconds in [-1, float("nan"), float("inf"), 1e300]:
        with pytest.raises(ValueError, match="result_valid_s_max"):
            magpie_client.connect("dock", result_valid_s_max=seconds)
