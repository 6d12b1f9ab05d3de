"""Against the program, as a controller meets it."""

import asyncio
import subprocess
import sys
import time

import numpy as np
from conftest import ROOT, has_code, is_fresh, until

import magpie_client
from magpie_client import Fresh, Lost, Stale


def test_a_cell_that_is_found_by_its_name_gives_grasps(demo):
    held = 0
    with magpie_client.connect(demo) as client:
        for state in client.packages(timeout_s=1.0):
            assert isinstance(state, (Fresh, Stale, Lost))
            if isinstance(state, Fresh):
                grasp = state.best_grasp()
                if grasp is not None:
                    assert grasp.base_from_grasp.shape == (4, 4)
                    held += 1
                if held == 3:
                    break
    assert held == 3


def test_the_example_runs(demo):
    command = [sys.executable, ROOT / "crates/python/examples/subscribe.py", demo]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 10 and not any(line.startswith("stop") for line in lines), ended.stdout
    assert any(line.startswith("hold it at [[") for line in lines), ended.stdout


def overlap(one, other):
    """The intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    area = lambda low, high: np.prod(np.clip(np.subtract(high, low), 0, None))
    both = area(low, high)
    return both / (area(one[:2], one[2:]) + area(other[:2], other[2:]) - both)


def test_poses_and_masks_are_arrays_that_agree_with_the_message(demo):
    with magpie_client.connect(demo) as client:
        view = until(client.packages(), is_fresh)
        told = view.for_display()
        assert view.reference_frame == "base" and view.frame_id == told["frame_id"]
        packages = view.packages
        assert len(packages) == len(told["packages"]) > 0
        for package, wire in zip(packages, told["packages"]):
            assert package.mask.dtype == np.bool_
            assert package.mask.shape == (view.image_height_px, view.image_width_px)
            rows, columns = np.nonzero(package.mask)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert overlap(box, package.bbox) > 0.5, "the model finds both"
            assert package.mask.sum() > 0 and package.mask.flags.c_contiguous
            assert package.type == wire["type"] and package.track_id == int(wire["track_id"])
            for grasp in package.grasps:
                pose = grasp.base_from_grasp
                assert pose.dtype == np.float64
                rotation = pose[:3, :3]
                np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
                assert np.linalg.det(rotation) > 0 and rotation[2, 2] < 0, "it comes from above"
                x, y = grasp.contact_px
                assert package.mask[round(y), round(x)]
            assert (package.refusal is None) == bool(package.grasps)
        best = view.best_grasp()
        first = next(package for package in packages if package.grasps)
        assert best.package.track_id == first.track_id
        assert (best.base_from_grasp == first.grasps[0].base_from_grasp).all()


def test_capture_status_and_calibration_come_over_the_same_client(demo):
    with magpie_client.connect(demo) as client:
        asked_ns = time.time_ns()
        view = client.capture(timeout_s=10)
        assert view.stamp_ns > asked_ns and view.expires_in_s > 0
        info = client.camera_info(timeout_s=10)
        assert info.k.shape == (3, 3) and info.p.shape == (3, 4) and info.d.ndim == 1
        assert (info.width_px, info.height_px) == (view.image_width_px, view.image_height_px)
        status = client.status()
        assert status.cell == demo and status.state in ("ok", "degraded")
        assert status.as_dict()["cell"] == demo and status.uptime_s > 0
        assert status.provider == "cpu" and isinstance(status.reasons, list)


def test_the_asyncio_form_leaves_the_loop_free(demo):
    async def count():
        turns = 0
        while True:
            await asyncio.sleep(0)
            turns += 1
            counted.append(turns)

    async def follow():
        beside = asyncio.create_task(count())
        fresh = 0
        with magpie_client.connect(demo) as client:
            async for state in client.packages(timeout_s=1.0):
                fresh += isinstance(state, Fresh)
                if fresh == 3:
                    break
        beside.cancel()

    counted = []
    asyncio.run(follow())
    assert len(counted) > 100


def test_what_is_wrong_with_a_name_is_told(demo):
    try:
        magpie_client.connect("nowhere")
    except magpie_client.ConnectError as error:
        assert "nowhere" in str(error) and demo in str(error)
        assert isinstance(error, ConnectionError) and isinstance(error, magpie_client.MagpieError)
    else:
        raise AssertionError("there is no such cell")


def test_another_cell_of_the_same_daemon_is_lost_and_never_answers(demo, publisher):
    with magpie_client.connect("deck", endpoint=publisher.endpoint) as client:
        assert has_code("never_heard")(client.status())
        packages = client.packages(timeout_s=0.1)
        publisher.publish()
        assert has_code("never_heard")(next(packages))
        try:
            client.capture(timeout_s=0.1)
        except magpie_client.QueryError as error:
            assert "is the cell's name right" in str(error)
        else:
            raise AssertionError("nobody is there")
