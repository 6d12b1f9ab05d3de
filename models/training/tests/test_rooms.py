import dataclasses

import numpy as np
import pytest

from magpie_training.loader import Stream
from magpie_training.rooms import Camera, Painter, painted_room


def camera(seed):
    return Camera(np.array([2.0, 3.0]), 96, 64, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_straight_ahead_is_in_the_middle(seed):
    eye = camera(seed)
    right, down, ahead = eye.camera_from_room
    assert np.allclose(eye.camera_from_room @ eye.camera_from_room.T, np.eye(3))
    triangle = eye.place_m + 2 * ahead + np.array([0 * right, right, down])
    middle, to_the_right, below = eye.corners_px(triangle)
    assert middle == pytest.approx([48, 32])
    assert to_the_right == pytest.approx([48 + eye.focal_px / 2, 32])
    assert below == pytest.approx([48, 32 + eye.focal_px / 2])


def test_only_what_is_before_the_camera_is_seen():
    eye = camera(1)
    right, down, ahead = eye.camera_from_room
    behind = eye.place_m - ahead + np.array([right, down, -right])
    assert len(eye.corners_px(behind)) == 0
    # From behind to far ahead, below the camera: it covers the middle of the lower edge.
    image = np.zeros((64, 96, 3), np.float32)
    floor = eye.place_m + down + np.array([
        -9 * ahead - 9 * right, -9 * ahead + 9 * right, 9 * ahead + 9 * right, 9 * ahead - 9 * right,
    ])
    Painter(image, eye).polygon(floor, np.array([0.0, 300.0, 0.0]))
    assert (image[63, 48] == [0, 255, 0]).all() and not image[:32].any()


def test_a_room_stands_on_its_floor_and_is_the_same_for_the_same_numbers():
    floor = np.zeros((64, 64, 3), np.float32)
    floor[...] = (250, 0, 250)
    before = floor.copy()
    shown = []
    for seed in range(40):
        room, again = (painted_room(floor, np.random.default_rng(seed)) for _ in range(2))
        assert (room == again).all() and room.dtype == np.float32 and room.shape == floor.shape
        shown.append((room[..., 1] < 0.1 * room[..., 0]).mean())
    assert (floor == before).all()
    assert sum(0.1 < share < 0.9 for share in shown) > 15
    assert np.mean(shown) < 0.8


def test_rooms_are_painted_where_a_recipe_asks_for_them(recipe):
    plain = dataclasses.replace(recipe, ground_share=1.0)
    rooms = dataclasses.replace(plain, room_share=1.0)
    same = [(Stream(plain)[n]["image"] == Stream(rooms)[n]["image"]).all() for n in range(6)]
    assert not all(same)
