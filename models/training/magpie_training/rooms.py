"""Rooms painted as grounds: walls, doors, windows, steps and mats are no packages.

The frame of a room, in metres: x and y along its walls, z up, the origin in the middle of the floor.
"""

import cv2
import numpy as np

NEAR_M = 0.05
# Fixed-point digits of the corners given to OpenCV.
SHIFT = 4


class Camera:
    """Somewhere within the room at a person's or an arm's height, looking down a little or much."""

    def __init__(self, half_room_m, width, height, rng):
        self.place_m = np.append(half_room_m * rng.uniform(-0.8, 0.8, 2), rng.uniform(0.6, 2.1))
        yaw, pitch, roll = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 1.0), rng.normal(0, 0.04)
        ahead = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(ahead, right)
        c, s = np.cos(roll), np.sin(roll)
        self.camera_from_room = np.stack((c * right + s * down, c * down - s * right, ahead))
        self.focal_px = 0.5 * width / np.tan(np.deg2rad(rng.uniform(45, 85)) / 2)
        self.centre_px = np.array([width, height]) / 2

    def corners_px(self, polygon_m):
        """Of the part in front of the camera; empty where there is none."""
        points = (polygon_m - self.place_m) @ self.camera_from_room.T
        kept = []
        for a, b in zip(points, np.roll(points, -1, 0)):
            if a[2] > NEAR_M:
                kept.append(a)
            if (a[2] > NEAR_M) != (b[2] > NEAR_M):
                kept.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
        kept = np.array(kept).reshape(-1, 3)
        return kept[:, :2] / kept[:, 2:] * self.focal_px + self.centre_px


class Painter:
    def __init__(self, image, camera):
        self.image, self.camera = image, camera

    def polygon(self, polygon_m, colour):
        corners = np.clip(self.camera.corners_px(np.asarray(polygon_m, float)), -1e5, 1e5)
        if len(corners) >= 3:
            fixed = np.round((corners - 0.5) * 2**SHIFT).astype(np.int32)
            cv2.fillConvexPoly(self.image, fixed, np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, SHIFT)

    def on_wall(self, wall, left, right, low, high, colour, out_m=0.0):
        """A rectangle on a wall, along it and upwards in metres, `out_m` before it."""
        start, along, inwards = wall
        a, b = start + along * left + inwards * out_m, start + along * right + inwards * out_m
        self.polygon([[*a, low], [*b, low], [*b, high], [*a, high]], colour)

    def on_floor(self, centre_m, half_m, angle, colour):
        c, s = np.cos(angle), np.sin(angle)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m @ [[c, s], [-s, c]] + centre_m
        self.polygon(np.column_stack((corners, np.zeros(4))), colour)


def painted_room(floor, rng):
    """A room over the ground `[h, w, 3]` that is its floor: `float32` BGR."""
    height, width = floor.shape[:2]
    half_m, ceiling_m = rng.uniform(1.2, 4.0, 2), rng.uniform(2.3, 3.2)
    camera = Camera(half_m, width, height, rng)
    painter = Painter(np.array(floor, np.float32), camera)
    tint = wall_colour(rng)
    # Seen from inside, walls and ceiling of a room do not hide one another.
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m
    painter.polygon(np.column_stack((corners, np.full(4, ceiling_m))), near(np.full(3, 225.0), 12, rng))
    if rng.random() < 0.35:
        paint_mat(painter, half_m, rng)
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        length_m = np.linalg.norm(b - a)
        along = (b - a) / length_m
        wall = a, along, np.array([-along[1], along[0]])
        paint_wall(painter, wall, length_m, ceiling_m, tint * rng.uniform(0.7, 1.1), rng)
        if rng.random() < 0.2:
            paint_steps(painter, wall, length_m, rng)
    if rng.random() < 0.3:
        paint_pillar(painter, half_m, ceiling_m, tint, rng)
    image = painter.image
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    return image * uneven_light(width, height, rng)


def wall_colour(rng):
    grey = np.full(3, rng.uniform(90, 245))
    return grey + rng.normal(0, 6, 3) if rng.random() < 0.6 else 0.6 * grey + 0.4 * rng.uniform(0, 255, 3)


def near(colour, spread, rng):
    """A little lighter or darker, and hardly of another hue."""
    return colour + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)


def uneven_light(width, height, rng):
    ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope = rng.normal(0, 0.12, 2)
    return np.float32(1 + slope[0] * xs + slope[1] * ys)[..., None]


def paint_wall(painter, wall, length_m, ceiling_m, colour, rng):
    painter.on_wall(wall, 0, length_m, 0, ceiling_m, colour)
    kind = rng.integers(4)
    if kind == 0:  # boards, or panels of one colour
        edges = np.arange(0, length_m, rng.uniform(0.08, 0.6))
        for left, right in zip(edges, edges[1:]):
            painter.on_wall(wall, left, right, 0, ceiling_m, near(colour, 5, rng))
    elif kind == 1:  # courses of bricks or blocks
        course_m = rng.uniform(0.07, 0.25)
        joint = near(colour * rng.uniform(0.6, 1.2), 4, rng)
        painter.on_wall(wall, 0, length_m, 0, ceiling_m, joint)
        for row, low in enumerate(np.arange(0, ceiling_m, course_m)):
            step_m = max(3 * course_m, length_m / 30)
            for left in np.arange(-(row % 2) * step_m / 2, length_m, step_m):
                right = min(left + step_m - 0.015, length_m)
                painter.on_wall(wall, max(left, 0), right, low, low + course_m - 0.012, near(colour, 9, rng))
    place_m = rng.uniform(0, 0.8)
    while place_m < length_m - 0.5 and rng.random() < 0.75:
        wide_m = min(rng.uniform(0.6, 1.8), length_m - place_m - 0.1)
        rng.choice([paint_door, paint_window, paint_opening])(painter, wall, place_m, wide_m, colour, rng)
        place_m += wide_m + rng.uniform(0.2, 1.5)
    if rng.random() < 0.6:
        painter.on_wall(wall, 0, length_m, 0, rng.uniform(0.05, 0.14), near(colour * rng.uniform(0.4, 1.3), 6, rng))


def paint_door(painter, wall, left, wide_m, colour, rng):
    high_m, frame_m = rng.uniform(1.9, 2.2), rng.uniform(0.04, 0.12)
    leaf = rng.choice([near(np.full(3, 225.0), 10, rng), rng.uniform(20, 160, 3), np.array([60, 95, 140.0])])
    painter.on_wall(wall, left, left + wide_m, 0, high_m, near(leaf * rng.uniform(0.6, 1.2), 5, rng))
    inner = left + frame_m, left + wide_m - frame_m
    painter.on_wall(wall, *inner, 0, high_m - frame_m, leaf)
    rows, columns = rng.integers(0, 4), rng.integers(1, 3)
    for row in range(rows):
        for column in range(columns):
            pane = near(leaf * rng.uniform(0.75, 1.15), 3, rng)
            across = np.interp([(column + 0.15) / columns, (column + 0.85) / columns], [0, 1], inner)
            up = np.interp([(row + 0.12) / rows, (row + 0.88) / rows], [0, 1], [0.05, high_m - frame_m - 0.05])
            painter.on_wall(wall, *across, *up, pane)
    handle = np.interp(rng.choice([0.08, 0.92]), [0, 1], inner)
    painter.on_wall(wall, handle - 0.05, handle + 0.05, 0.98, 1.02, rng.uniform(30, 220, 3))


def paint_window(painter, wall, left, wide_m, colour, rng):
    low, high = rng.uniform(0.0, 1.1), rng.uniform(1.6, 2.2)
    painter.on_wall(wall, left, left + wide_m, low, high, near(np.full(3, rng.choice([235.0, 60.0])), 8, rng))
    panes = int(rng.integers(1, 4))
    light = rng.choice([np.full(3, 250.0), rng.uniform(20, 200, 3)])
    for pane in range(panes):
        x0, x1 = left + wide_m * np.array([pane + 0.06, pane + 0.94]) / panes
        painter.on_wall(wall, x0, x1, low + 0.05, high - 0.05, near(light, 4, rng))


def paint_opening(painter, wall, left, wide_m, colour, rng):
    """A way to another room, or a niche: what is seen there is lighter or darker, and parted again."""
    low, high = rng.choice([0.0, 0.0, 0.9]), rng.uniform(1.9, 2.3)
    beyond = near(colour * rng.uniform(0.35, 1.2), 10, rng)
    painter.on_wall(wall, left, left + wide_m, low, high, beyond)
    part = left + wide_m * rng.uniform(0.1, 0.9)
    painter.on_wall(wall, part, left + wide_m, low, high, beyond * rng.uniform(0.75, 1.2))
    if low == 0.0:
        painter.on_wall(wall, left, left + wide_m, 0, rng.uniform(0.05, 0.5), near(beyond * 0.8, 12, rng))


def paint_steps(painter, wall, length_m, rng):
    """Before a wall, from the highest, which lies at the wall, down."""
    left, right = np.sort(rng.uniform(0, length_m, 2))
    colour = wall_colour(rng)
    count, rise_m, tread_m = int(rng.integers(1, 4)), rng.uniform(0.1, 0.19), rng.uniform(0.24, 0.4)
    start, along, inwards = wall
    a, b = start + along * left, start + along * right
    # Of the sides, at most the one is seen that the camera is beyond.
    beyond = (painter.camera.place_m[:2] - a) @ along
    for step in range(count):
        high, back = (count - step) * rise_m, step * tread_m
        near_a, near_b = a + inwards * (back + tread_m), b + inwards * (back + tread_m)
        far_a, far_b = a + inwards * back, b + inwards * back
        painter.polygon([[*p, high] for p in (far_a, far_b, near_b, near_a)], near(colour * 1.1, 4, rng))
        if beyond < 0 or beyond > right - left:
            p, q = (far_a, near_a) if beyond < 0 else (far_b, near_b)
            painter.polygon([[*p, 0], [*q, 0], [*q, high], [*p, high]], colour * 0.75)
        painter.on_wall(wall, left, right, 0, high, near(colour * 0.85, 4, rng), out_m=back + tread_m)


def paint_mat(painter, half_m, rng):
    centre_m, angle = half_m * rng.uniform(-0.8, 0.8, 2), rng.uniform(0, np.pi)
    mat_m = np.array([rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.45)])
    colour = rng.uniform(20, 130) + rng.normal(0, 15, 3)
    for border in np.cumsum(rng.uniform(0.02, 0.12, int(rng.integers(1, 4)))) - 0.02:
        painter.on_floor(centre_m, np.maximum(mat_m - border, 0.02), angle, colour)
        colour = near(colour * rng.uniform(0.6, 1.5), 12, rng)


def paint_pillar(painter, half_m, ceiling_m, tint, rng):
    """From floor to ceiling, as a corner of a wall that stands into the room."""
    place_m = painter.camera.place_m[:2]
    centre_m = half_m * rng.uniform(-0.9, 0.9, 2)
    wide_m = rng.uniform(0.1, 0.6, 2)
    if np.abs(centre_m - place_m).max() < 0.9:
        return
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * wide_m + centre_m
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        outwards = np.array([b[1] - a[1], a[0] - b[0]])
        if (place_m - a) @ outwards > 0:
            colour = near(tint * rng.uniform(0.7, 1.1), 3, rng)
            painter.polygon([[*a, 0], [*b, 0], [*b, ceiling_m], [*a, ceiling_m]], colour)
