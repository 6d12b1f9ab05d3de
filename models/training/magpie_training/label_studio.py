"""Label Studio's own JSON: tasks with annotations, whose coordinates are percent of the picture.

A package in several pieces has regions named `1-1`, `1-2`, as `magpie export` writes them.
"""

import math

import numpy as np
from pycocotools import mask as coco_mask

from . import UserError
from .label_formats import Picture, Shape, corners_of, drawn, ellipse, identity, named, read_json

UNANNOTATED = "Label Studio's tasks without an annotation"
LABELS = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels", "labels")


def kind_of_tasks(tasks):
    """Predictions alone are no labels: nobody looked at them."""
    annotated = any(isinstance(task, dict) and task.get("annotations") for task in tasks)
    return "label-studio" if annotated else UNANNOTATED


def read_label_studio(path):
    return [read_task(path, number, task) for number, task in enumerate(read_json(path), 1)]


def read_task(path, number, task):
    number = identity(task.get("id", number))
    picture = Picture(picture_name(task), None, path, within=True)
    if not picture.file_name:
        picture.wrong = f"task {number} names no picture; export it again"
        return picture
    done = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
    best = [a for a in done if a.get("ground_truth")]
    if len(done) > 1 and len(best) != 1:
        picture.wrong = f"task {number} ({picture.file_name}) has {len(done)} annotations; keep one, or star one"
        return picture
    if not done:
        picture.labelled = False
        return picture
    groups = {}
    for place, region in enumerate((best or done)[0].get("result") or [], 1):
        value = region.get("value") or {}
        if not {"x", "points", "rle"} & value.keys():
            continue  # says something about the whole picture
        size = region.get("original_width"), region.get("original_height")
        if all(size):
            if picture.size not in (None, size):
                picture.wrong = f"task {number} ({picture.file_name}) has regions on {picture.size} and on {size} pixels"
                return picture
            picture.size = size
        label, wrong = region_name(value)
        where = f"{path}, task {number} ({picture.file_name}), region {place} ({label!r})"
        outline, bbox = None, ()
        if not wrong:
            outline, bbox, wrong = drawn(region_outline, region, value, size)
        first, dash, piece = str(region.get("id", "")).partition("-")
        group = (label, first) if dash and first.isdecimal() and piece.isdecimal() else (label, place, "")
        known = groups.get(group)
        if known is not None and isinstance(outline, list) and isinstance(known.outline, list):
            known.outline += outline
            continue
        groups[group] = shape = Shape(label, outline, bbox, where, wrong)
        picture.shapes.append(shape)
    return picture


def picture_name(task):
    data = task.get("data") or {}
    named = data.get("image") or next((v for v in data.values() if isinstance(v, str) and "." in v), "")
    return named if isinstance(named, str) else ""


def region_name(value):
    found = next((value[key] for key in LABELS if value.get(key)), [])
    if len(found) > 1:
        return named(found[0]), f"has {len(found)} labels ({', '.join(map(str, found))}); keep one"
    return named(found[0] if found else ""), ""


def region_outline(region, value, size):
    if not all(size):
        raise UserError("does not say on how many pixels it was drawn; export it again")
    if region.get("image_rotation"):
        raise UserError(f"was drawn on a picture turned by {region['image_rotation']} degrees; turn it back")
    width, height = size
    if "points" in value:
        flat = [v * side / 100 for point in value["points"] for v, side in zip(point, size)]
        return [flat], corners_of(flat)
    if "rle" in value:
        return brush_mask(value["rle"], width, height), ()
    if "radiusX" in value:
        middle = value["x"] * width / 100, value["y"] * height / 100
        flat = ellipse(*middle, value["radiusX"] * width / 100, value["radiusY"] * height / 100)
        return [turned(flat, middle, value.get("rotation", 0))], ()
    if region.get("type") in ("keypointlabels", "keypoint") or "height" not in value:
        raise UserError(f"{region.get('type')} is no outline; draw a polygon")
    x, y, w, h = (value[key] * side / 100 for key, side in zip(("x", "y", "width", "height"), size * 2))
    flat = turned([x, y, x + w, y, x + w, y + h, x, y + h], (x, y), value.get("rotation", 0))
    return None, corners_of(flat)


def turned(flat, middle, degrees):
    """Clockwise as pictures are seen; rectangles turn around their first corner."""
    if not degrees:
        return flat
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    away = np.reshape(flat, (-1, 2)) - middle
    return (away @ [[cosine, sine], [-sine, cosine]] + middle).ravel().tolist()


def brush_mask(runs, width, height):
    """Of the brush's bytes, red, green, blue and alpha of each pixel in rows, alpha is the mask."""
    values = unpacked(runs)
    if len(values) != 4 * width * height:
        raise UserError(f"its brush does not fill {width}x{height}; export it again")
    mask = values.reshape(height, width, 4)[:, :, 3] > 0
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


# The brush's bits: 32 for the count of values, 5 for their width, 4 for each of four widths of lengths, all
# less one but the count. Then runs: a bit that says whether all values of it are the same, two bits for which width
# the length has, the length less one, and the value or the values.
def unpacked(runs):
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(runs))
        at = 0

        def take(count):
            nonlocal at
            at += count
            return int(bits[at - count : at], 2)

        count = take(32)
        if count > 4 << 26:
            raise UserError("its brush is too large to decode; export it again")
        width = take(5) + 1
        lengths = [take(4) + 1 for _ in range(4)]
        parts, filled = [], 0
        while filled < count:
            same, chosen = take(1), take(2)
            length = take(lengths[chosen]) + 1
            values = [take(width)] * length if same else [take(width) for _ in range(length)]
            parts.append(np.array(values, np.uint8))
            filled += length
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError("its brush is cut or damaged; export it again") from error
    return np.concatenate(parts)[:count] if parts else np.zeros(0, np.uint8)


LENGTH_BITS = (3, 8, 12, 16)


def packed(mask):
    """The bytes of a mask; each run of pixels is one run of values."""
    flat = np.repeat(np.where(mask.ravel(), 255, 0), 4)
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    bits = [f"{len(flat):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in LENGTH_BITS)]
    for start, end in zip(starts, np.append(starts[1:], len(flat))):
        while start < end:
            length = min(end - start, 1 << LENGTH_BITS[-1])
            chosen = next(n for n, width in enumerate(LENGTH_BITS) if length <= 1 << width)
            bits.append(f"1{chosen:02b}{length - 1:0{LENGTH_BITS[chosen]}b}{flat[start]:08b}")
            start += length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))
