"""Turns samples into training images: crops, mosaics, pasted cut-outs, photographic damage.

Everything is a function of a random generator, so that item N of a run is always the same.
A canvas carries its instance map at half resolution: fine enough for masks at stride 4.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

PAD_VALUE = 114
INSTANCE_SIDE_PX_MIN = 8.0
INSTANCE_AREA_PX_MIN = 60.0
CUT_OUT_VISIBLE_MIN = 0.9


@dataclass
class Target:
    class_id: int
    bbox: np.ndarray  # on the canvas, clipped
    mask_weight: float  # 0 where no outline is known
    incomplete: bool = False


@dataclass
class Canvas:
    """`ids` `[h/2, w/2]`: 0, or 1 + index into `targets`. `trusted`: unlabelled means background."""

    image: np.ndarray
    ids: np.ndarray
    trusted: np.ndarray  # [h/2, w/2] bool
    targets: list = field(default_factory=list)


def blank(width, height, rng):
    colour = PAD_VALUE if rng.random() < 0.5 else rng.integers(0, 256, 3)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colour
    half = (height // 2, width // 2)
    return Canvas(image, np.zeros(half, np.uint16), np.ones(half, bool))


def index_matrix(matrix):
    """From coordinates with pixel centres at halves to OpenCV's, where they are integers."""
    a, t = matrix[:, :2], matrix[:, 2]
    return np.column_stack((a, a @ [0.5, 0.5] + t - 0.5))


def half_matrix(matrix):
    return index_matrix(matrix * 0.5)


def random_matrix(sample, width, height, zoom, rotate, rng):
    """Canvas from sample: flips, quarter turns, a scale around "fits", a place of interest."""
    h, w = sample.image.shape[:2]
    scale = min(width / w, height / h) * float(np.exp(rng.uniform(*np.log(zoom))))
    stretch = float(np.exp(rng.uniform(-0.2, 0.2)))
    linear = np.diag([scale * stretch, scale / stretch])
    if rng.random() < 0.5:
        linear = np.diag([-1.0, 1.0]) @ linear
    if rng.random() < 0.35:
        turns = int(rng.integers(1, 4))
        linear = np.round(rotation(np.pi / 2 * turns)) @ linear
    if rotate and rng.random() < 0.5:
        linear = rotation(rng.uniform(-0.5, 0.5)) @ linear
    focus = np.array([w, h]) * rng.uniform(0.25, 0.75, 2)
    if sample.record.instances and rng.random() < 0.8:
        instance = sample.record.instances[rng.integers(len(sample.record.instances))]
        x0, y0, x1, y1 = instance.bbox
        focus = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) * w / sample.record.width
    place = np.array([width, height]) * rng.uniform(0.2, 0.8, 2)
    extent = np.abs(linear) @ [w, h]
    offset = place - linear @ focus
    # Where the picture is larger than the canvas, leave no border; else keep it inside.
    centre = linear @ (np.array([w, h]) / 2) + offset
    room = np.array([width, height])
    low, high = np.minimum(extent / 2, room - extent / 2), np.maximum(extent / 2, room - extent / 2)
    return np.column_stack((linear, offset + np.clip(centre, low, high) - centre))


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def render(sample, width, height, zoom, rng):
    """One picture on a canvas of its own."""
    record = sample.record
    rotate = all(i.segmentation is not None for i in record.instances)
    matrix = random_matrix(sample, width, height, zoom, rotate, rng)
    canvas = blank(width, height, rng)
    image = sample.image
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    shrink = 1.0
    if scale < 0.6:  # a warp alone would alias
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        shrink = size[0] / image.shape[1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    image_matrix = np.column_stack((matrix[:, :2] / shrink, matrix[:, 2]))
    cv2.warpAffine(
        image, index_matrix(image_matrix), (width, height), canvas.image,
        cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT,
    )
    size = canvas.ids.shape[::-1]
    ids = cv2.warpAffine(sample.ids, half_matrix(matrix), size, flags=cv2.INTER_NEAREST)
    to_sample = sample.image.shape[1] / record.width
    rotated = np.count_nonzero(np.abs(matrix[:, :2]) > 1e-9) > 2
    place_targets(canvas, ids, record, matrix, to_sample, rotated)
    canvas.trusted[:] = record.complete
    return canvas


def place_targets(canvas, ids, record, matrix, to_sample, rotated):
    """Keeps the instances that are still to be seen; others leave the map."""
    height, width = canvas.image.shape[:2]
    seen = mask_boxes(ids, len(record.instances))
    renumber = np.zeros(len(record.instances) + 1, np.uint16)
    for index, instance in enumerate(record.instances):
        corners = np.asarray(instance.bbox, float).reshape(2, 2) * to_sample
        moved = corners @ matrix[:, :2].T + matrix[:, 2]
        full = np.concatenate((moved.min(0), moved.max(0)))
        bbox = clip(full, width, height)
        if instance.segmentation is not None:
            mask_box, area = seen[index]
            if area * 4 < INSTANCE_AREA_PX_MIN:
                continue
            near = mask_box + [-2, -2, 2, 2]
            bbox = mask_box if rotated else intersect(bbox, near)
        elif box_area(bbox) < 0.3 * box_area(full):
            continue
        if min(bbox[2] - bbox[0], bbox[3] - bbox[1]) < INSTANCE_SIDE_PX_MIN:
            continue
        outlined = instance.segmentation is not None
        canvas.targets.append(
            Target(instance.class_id, bbox, record.mask_weight if outlined else 0.0)
        )
        renumber[index + 1] = len(canvas.targets)
    canvas.ids[:] = renumber[ids]


def mask_boxes(ids, count):
    """Per instance its tight box in canvas pixels and its area in half-resolution pixels."""
    ys, xs = np.nonzero(ids)
    owner = ids[ys, xs].astype(np.int64)
    area = np.bincount(owner, minlength=count + 1)
    low = np.full((count + 1, 2), 1 << 20)
    high = np.full((count + 1, 2), -1)
    order = np.argsort(owner, kind="stable")
    owner, points = owner[order], np.column_stack((xs, ys))[order]
    if len(owner):
        starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        low[owner[starts]] = np.minimum.reduceat(points, starts)
        high[owner[starts]] = np.maximum.reduceat(points, starts)
    boxes = np.column_stack((low, high + 1)) * 2.0
    return [(boxes[i + 1], int(area[i + 1])) for i in range(count)]


def clip(bbox, width, height):
    return np.clip(bbox, 0, [width, height, width, height])


def intersect(a, b):
    return np.concatenate((np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])))


def box_area(bbox):
    return max(bbox[2] - bbox[0], 0.0) * max(bbox[3] - bbox[1], 0.0)


def mosaic(samples, width, height, zoom, rng):
    """Four pictures around a random point."""
    split_x = 2 * int(rng.integers(width // 6, width // 3 + 1))
    split_y = 2 * int(rng.integers(height // 6, height // 3 + 1))
    canvas = blank(width, height, rng)
    corners = ((0, 0), (split_x, 0), (0, split_y), (split_x, split_y))
    for sample, (x, y) in zip(samples, corners):
        w = split_x if x == 0 else width - split_x
        h = split_y if y == 0 else height - split_y
        part = render(sample, w, h, zoom, rng)
        canvas.image[y : y + h, x : x + w] = part.image
        window = (slice(y // 2, (y + h) // 2), slice(x // 2, (x + w) // 2))
        ids = part.ids.copy()
        ids[ids > 0] += len(canvas.targets)
        canvas.ids[window], canvas.trusted[window] = ids, part.trusted
        for target in part.targets:
            target.bbox = target.bbox + [x, y, x, y]
            canvas.targets.append(target)
    return canvas


def cut_out(sample, rng):
    """A random whole package as (image, mask, class) or `None`; small ones are not worth it."""
    record = sample.record
    candidates = [
        i
        for i, x in enumerate(record.instances)
        if x.segmentation is not None and x.visible > CUT_OUT_VISIBLE_MIN
    ]
    if not candidates:
        return None
    index = candidates[rng.integers(len(candidates))]
    mask = (sample.ids == index + 1).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w < 24 or h < 24 or mask.sum() < 500:
        return None
    touches = x == 0 or y == 0 or x + w == mask.shape[1] or y + h == mask.shape[0]
    if touches:
        return None
    return sample.image[y : y + h, x : x + w], mask[y : y + h, x : x + w], record.instances[index]


def paste(canvas, cut, mask_weight, rng):
    """Lays a cut-out over the canvas, at any angle, with a soft shadow at times."""
    height, width = canvas.image.shape[:2]
    image, mask, instance = cut
    side = float(np.exp(rng.uniform(np.log(0.12), np.log(0.7)))) * min(width, height)
    scale = side / np.sqrt(image.shape[0] * image.shape[1])
    if scale > 3.0:
        return
    linear = rotation(rng.uniform(0, 2 * np.pi)) @ np.diag([scale * rng.choice([-1, 1]), scale])
    centre = np.array([width, height]) * rng.uniform(0.05, 0.95, 2)
    offset = centre - linear @ (np.array([image.shape[1], image.shape[0]]) / 2)
    matrix = np.column_stack((linear, offset))
    half = cv2.warpAffine(
        mask, half_matrix(matrix), canvas.ids.shape[::-1], flags=cv2.INTER_NEAREST
    ).astype(bool)
    if 4 * half.sum() < 4 * INSTANCE_AREA_PX_MIN:
        return
    size = (width, height)
    alpha = cv2.warpAffine(mask * np.float32(1), index_matrix(matrix), size)
    alpha = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None]
    layer = cv2.warpAffine(image, index_matrix(matrix), size, borderMode=cv2.BORDER_REPLICATE)
    ground = canvas.image.astype(np.float32)
    if rng.random() < 0.6:
        shift = rng.uniform(-0.06, 0.06, 2) * side
        shadow = cv2.warpAffine(alpha, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), size)
        shadow = cv2.GaussianBlur(shadow, (0, 0), max(1.0, side * rng.uniform(0.01, 0.08)))
        ground *= 1 - rng.uniform(0.2, 0.7) * shadow[..., None]
    canvas.image[:] = (ground * (1 - alpha) + layer * alpha).round().astype(np.uint8)
    cover(canvas, half)
    box, _ = mask_boxes(half.astype(np.uint16), 1)[0]
    canvas.targets.append(Target(instance.class_id, clip(box, width, height), mask_weight))
    canvas.ids[half] = len(canvas.targets)
    canvas.trusted[half] = True


def cover(canvas, half):
    """Takes what is now hidden away from the instances below; drops what is nearly gone."""
    before = np.bincount(canvas.ids.ravel(), minlength=len(canvas.targets) + 1)
    canvas.ids[half] = 0
    boxes = mask_boxes(canvas.ids, len(canvas.targets))
    kept, renumber = [], np.zeros(len(canvas.targets) + 1, np.uint16)
    for index, target in enumerate(canvas.targets):
        box, area = boxes[index]
        if target.mask_weight > 0 and area < before[index + 1]:
            if 4 * area < max(INSTANCE_AREA_PX_MIN, 0.4 * before[index + 1]):
                continue
            target.bbox = intersect(target.bbox, box + [-2, -2, 2, 2])
        elif target.mask_weight == 0:
            x0, y0, x1, y1 = (target.bbox / 2).round().astype(int)
            if half[y0:y1, x0:x1].mean(dtype=float) > 0.35 if y1 > y0 and x1 > x0 else True:
                continue
        kept.append(target)
        renumber[index + 1] = len(kept)
    canvas.targets[:] = kept
    canvas.ids[:] = renumber[canvas.ids]


def photograph(image, rng):
    """What lenses, light and compression do."""
    if rng.random() < 0.35:
        image = resample(image, rng)
    image = light(image, rng)
    if rng.random() < 0.25:
        image = blur(image, rng)
    if rng.random() < 0.35:
        sigma = rng.uniform(2, 16)
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 31)))
        cv2.randn(noise, 0, sigma)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(25, 90))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def resample(image, rng):
    height, width = image.shape[:2]
    factor = rng.uniform(0.4, 0.9)
    small = cv2.resize(
        image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def light(image, rng):
    """Exposure, white balance, gamma, saturation; a gradient across the picture; rarely grey."""
    values = np.arange(256) / 255.0
    gamma, gain, lift = np.exp(rng.uniform(-0.5, 0.5)), np.exp(rng.uniform(-0.45, 0.35)), 0.0
    if rng.random() < 0.2:
        lift = rng.uniform(0, 0.2)
    balance = np.exp(rng.uniform(-0.18, 0.18, 3))
    curve = values[:, None] ** gamma * gain * balance * (1 - lift) + lift
    table = np.clip(curve * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(256, 1, 3))
    if rng.random() < 0.6:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
        amount = 0.0 if rng.random() < 0.1 else rng.uniform(0.4, 1.6)
        image = np.clip(grey + (image - grey) * amount, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        height, width = image.shape[:2]
        angle = rng.uniform(0, 2 * np.pi)
        ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
        slope = 1 + rng.uniform(0.1, 0.5) * (np.cos(angle) * xs + np.sin(angle) * ys)
        image = np.clip(image * slope[..., None].astype(np.float32), 0, 255).astype(np.uint8)
    return image


def blur(image, rng):
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    length = int(rng.integers(3, 11))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6))
