"""Turns samples into training images: crops, mosaics, pasted cut-outs, photographic damage.

Everything is a function of a random generator, so that item N of a run is always the same.
A canvas carries its instance map at half resolution: fine enough for masks at stride 4.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from .data import CROWD

PAD_VALUE = 114
INSTANCE_SIDE_PX_MIN = 8.0
INSTANCE_AREA_PX_MIN = 60.0
CUT_OUT_VISIBLE_MIN = 0.9
# Sizes in sides of the canvas: of cut-outs, and of the longer side of a package that fills it.
PASTED = (0.12, 1.1)
FILLING = (0.45, 1.3)
# Beyond that a package is more blur than package.
ENLARGED_MAX = 3.0


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


def random_matrix(sample, width, height, zoom, fill, rotate, rng):
    """Canvas from sample: flips, quarter turns, a scale around "fits", a place of interest.

    With probability `fill` the package at that place is made to fill much of the canvas.
    """
    h, w = sample.image.shape[:2]
    scale = min(width / w, height / h) * float(np.exp(rng.uniform(*np.log(zoom))))
    bbox = None
    if sample.record.instances and rng.random() < 0.8:
        instance = sample.record.instances[rng.integers(len(sample.record.instances))]
        bbox = np.asarray(instance.bbox, float) * w / sample.record.width
        if rng.random() < fill:
            share = float(np.exp(rng.uniform(*np.log(FILLING))))
            side = max(bbox[2] - bbox[0], bbox[3] - bbox[1], 1.0)
            scale = min(share * min(width, height) / side, ENLARGED_MAX)
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
    if bbox is not None:
        focus = (bbox[:2] + bbox[2:]) / 2
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


def render(sample, width, height, zoom, rng, fill=0.0):
    """One picture on a canvas of its own."""
    record = sample.record
    rotate = all(i.segmentation is not None for i in record.instances)
    matrix = random_matrix(sample, width, height, zoom, fill, rotate, rng)
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
    crowd = ids == CROWD
    ids[crowd] = 0
    to_sample = sample.image.shape[1] / record.width
    rotated = np.count_nonzero(np.abs(matrix[:, :2]) > 1e-9) > 2
    place_targets(canvas, ids, record, matrix, to_sample, rotated)
    canvas.trusted[:] = record.complete & ~crowd
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
    side = float(np.exp(rng.uniform(*np.log(PASTED)))) * min(width, height)
    scale = side / np.sqrt(image.shape[0] * image.shape[1])
    if scale > ENLARGED_MAX:
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


def cover(canvas, half):
    """Takes what is now hidden away from the instances below; drops what is nearly gone."""
    before = np.bincount(canvas.ids.ravel(), minlength=len(canvas.targets) + 1)
    canvas.ids[half] = 0
    canvas.trusted[half] = True
    boxes = mask_boxes(canvas.ids, len(canvas.targets))
    kept, renumber = [], np.zeros(len(canvas.targets) + 1, np.uint16)
    for index, target in enumerate(canvas.targets):
        box, area = boxes[index]
        if target.mask_weight > 0 and area < before[index + 1]:
            if 4 * area < max(INSTANCE_AREA_PX_MIN, 0.4 * before[index + 1]):
                # What is left of it is no ground.
                canvas.trusted[canvas.ids == index + 1] = False
                continue
            target.bbox = intersect(target.bbox, box + [-2, -2, 2, 2])
        elif target.mask_weight == 0:
            x0, y0, x1, y1 = (target.bbox / 2).round().astype(int)
            if half[y0:y1, x0:x1].mean(dtype=float) > 0.35 if y1 > y0 and x1 > x0 else True:
                canvas.trusted[y0:y1, x0:x1] &= half[y0:y1, x0:x1]
                continue
        kept.append(target)
        renumber[index + 1] = len(kept)
    canvas.targets[:] = kept
    canvas.ids[:] = renumber[canvas.ids]


def reprint(canvas, share, photographs, rng):
    """Prints over a share of the packages: what colours and pictures part is one package still."""
    for index, target in enumerate(canvas.targets):
        if target.mask_weight == 0 or rng.random() > share:
            continue
        x0, y0, x1, y1 = (target.bbox // 2).astype(int)
        mask = np.float32(canvas.ids[y0:y1, x0:x1] == index + 1)
        if min(mask.shape, default=0) < 10 or not mask.any():
            continue
        mask = cv2.blur(cv2.resize(mask, None, fx=2, fy=2), (3, 3))
        part = canvas.image[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
        grey = cv2.blur(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.float32), (5, 5))
        lit = np.clip(grey / (np.median(grey[mask > 0.5]) + 1.0), 0.3, 1.4)
        angle = np.deg2rad(cv2.minAreaRect(cv2.findNonZero(np.uint8(mask > 0.5)))[2])
        for _ in range(int(rng.integers(1, 5))):
            print_on(part, mask, lit, angle + rng.normal(0, 0.1), photographs, rng)


def print_on(part, mask, lit, angle, photographs, rng):
    """One print within `mask` `[h, w]`, as light as `lit` says that the package is there."""
    height, width = mask.shape
    tile = pattern(part, photographs, rng)
    reach = np.hypot(height, width)
    size = reach * np.exp(rng.uniform(np.log(0.15), np.log(0.9), 2))
    linear = rotation(angle) @ np.diag(size / tile.shape[1::-1])
    centre = np.array([width, height]) * rng.uniform(0.1, 0.9, 2)
    offset = centre - linear @ (np.array(tile.shape[1::-1]) / 2)
    matrix = index_matrix(np.column_stack((linear, offset)))
    printed = cv2.warpAffine(tile, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones(tile.shape[:2], np.float32), matrix, (width, height))
    alpha = (mask * covered * rng.choice([1.0, 1.0, rng.uniform(0.3, 1.0)]))[..., None]
    mixed = part * (1 - alpha) + printed * lit[..., None] * alpha
    part[:] = np.clip(mixed, 0, 255).astype(np.uint8)


def colours(count, rng):
    """Half of them near to grey, as paper and ink are."""
    vivid = rng.integers(0, 256, (count, 3))
    grey = np.clip(rng.choice([25, 120, 235], (count, 1)) + rng.normal(0, 12, (count, 3)), 0, 255)
    return np.where(rng.random((count, 1)) < 0.5, vivid, grey).astype(np.uint8)


def pattern(part, photographs, rng):
    """A flat colour, stripes, a page of cells, lines of text, or a piece of a photograph."""
    kind = rng.integers(5)
    if kind == 4:
        source = photographs(rng) if photographs is not None and rng.random() < 0.7 else part
        height, width = source.shape[:2]
        h, w = (max(8, int(x * rng.uniform(0.3, 1.0))) for x in (height, width))
        y, x = (int(rng.integers(max(1, n - m))) for n, m in ((height, h), (width, w)))
        return cv2.resize(source[y : y + h, x : x + w], (96, 96), interpolation=cv2.INTER_AREA)
    if kind == 0:
        return np.tile(colours(1, rng), (16, 16, 1))
    if kind == 1:
        bands = rng.choice(colours(4, rng), int(rng.integers(2, 12)))
        return cv2.resize(bands[None], (96, 16), interpolation=cv2.INTER_NEAREST)
    if kind == 2:
        rows, columns = rng.integers(2, 8, 2)
        cells = colours(rows * columns, rng).reshape(rows, columns, 3)
        return cv2.resize(cells, (96, 96), interpolation=cv2.INTER_NEAREST)
    paper, ink = colours(2, rng).astype(int)
    page = np.tile(paper.astype(np.uint8), (96, 96, 1))
    pitch = int(rng.integers(5, 16))
    for y in range(4, 96 - pitch, pitch):
        x = int(rng.integers(2, 12))
        while x < 84:
            word = int(rng.integers(2, 16))
            cv2.rectangle(page, (x, y), (min(x + word, 90), y + pitch // 2), ink.tolist(), -1)
            x += word + int(rng.integers(2, 6))
    return page


def plain_ground(width, height, rng):
    """A smooth ground in uneven light, as a table or a wall is: `float32` BGR."""
    tint = colours(1, rng)[0].astype(np.float32)
    if rng.random() < 0.6:
        tint = np.float32(rng.uniform(150, 250)) + rng.normal(0, 6, 3).astype(np.float32)
    ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope, fall = rng.normal(0, 0.08, 2), rng.uniform(0, 0.25)
    place = rng.uniform(-0.5, 0.5, 2)
    lit = 1 + slope[0] * xs + slope[1] * ys - fall * ((xs - place[0]) ** 2 + (ys - place[1]) ** 2)
    return tint * np.float32(lit)[..., None]


def photographed_ground(picture, width, height, rng):
    """A part of a picture at any angle, at times at a slant: `float32` BGR."""
    h, w = picture.shape[:2]
    side = min(h, w) * float(np.exp(rng.uniform(np.log(0.35), np.log(1.6))))
    far = float(np.exp(rng.uniform(0, 1.0))) if rng.random() < 0.5 else 1.0
    corners = np.array([[-far, -1], [far, -1], [1, 1], [-1, 1]]) * side / 2
    turn = rng.normal(0, 0.1) + (np.pi / 2 * rng.integers(4) if rng.random() < 0.3 else 0)
    corners = corners @ rotation(turn).T + np.array([w, h]) * rng.uniform(0.25, 0.75, 2)
    onto = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    matrix = cv2.getPerspectiveTransform(np.float32(corners), onto)
    ground = cv2.warpPerspective(
        picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    return ground.astype(np.float32) * np.float32(np.exp(rng.uniform(-0.5, 0.3)))


def lay_on(canvas, ground, rng):
    """Puts everything labelled on another ground `[h, w, 3]`, with soft shadows; nothing else is left."""
    height, width = canvas.image.shape[:2]
    labelled = cv2.resize(np.float32(canvas.ids > 0), (width, height))
    shift = np.float32([[1, 0, rng.normal(0, 0.02) * width], [0, 1, rng.normal(0, 0.02) * height]])
    shadow = cv2.warpAffine(labelled, shift, (width, height))
    shadow = cv2.GaussianBlur(shadow, (0, 0), width * float(np.exp(rng.uniform(-5, -2.7))))
    ground = ground * (1 - rng.uniform(0, 0.6) * shadow)[..., None]
    alpha = np.clip(2 * cv2.blur(labelled, (3, 3)) - 1, 0, 1)[..., None]
    canvas.trusted[:] = True
    canvas.image[:] = np.clip(ground * (1 - alpha) + canvas.image * alpha, 0, 255).astype(np.uint8)


def photograph(image, rng):
    """What lenses, light and compression do."""
    if rng.random() < 0.35:
        image = resample(image, rng)
    if rng.random() < 0.2:
        image = cast_shadow(image, rng)
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


def cast_shadow(image, rng):
    """The shadow of something outside the picture, or a patch of sun: its edge parts nothing."""
    height, width = image.shape[:2]
    corners = rng.uniform(-0.4, 1.4, (int(rng.integers(3, 6)), 2)) * [width, height]
    shape = np.zeros((height, width), np.float32)
    cv2.fillPoly(shape, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    shape = cv2.GaussianBlur(shape, (0, 0), float(np.exp(rng.uniform(-1.0, 2.0))))
    depth = rng.uniform(0.25, 0.7)
    return (image * (1 - depth * shape)[..., None]).astype(np.uint8)


def blur(image, rng):
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    length = int(rng.integers(3, 11))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6))
