"""Label files as annotation tools write them: COCO, LabelMe, CVAT for images.

Other formats have modules of their own; `label_kinds` lists all. Each reader gives `Picture`s with the shapes as they were drawn; `labels` judges them. What of a
file cannot be meant says so in its `wrong`, so that all of it can be told at once.
Coordinates are pixels of the picture, with a pixel's centre at half-integers.
"""

import base64
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from . import UserError
from .data import is_crowd
from .rle import run_lengths

CIRCLE_CORNERS = 36
# What Label Studio puts before the name of an uploaded file. Eight digits alone may be a date:
# 20261002-0001.png is not 0001.png.
UPLOADED = re.compile(r"(?!\d{8}-)[0-9a-f]{8}-")


@dataclass
class Shape:
    """One drawn package. `outline`: polygons (flat lists), COCO RLE, or `None` for a rectangle."""

    name: str
    outline: object
    bbox: tuple  # x_min, y_min, x_max, y_max; of use for rectangles only
    where: str
    wrong: str = ""
    box: tuple = ()  # as COCO has it, also beside an outline
    doubt: str = ""  # what of it is told, although it is taken


@dataclass
class Picture:
    file_name: str  # as the label file says
    size: tuple | None  # width, height, as the label file says
    origin: Path
    shapes: list = field(default_factory=list)
    crowds: list = field(default_factory=list)  # shapes that mark no single package
    wrong: str = ""
    path: Path | None = None  # where its format says by itself which file it is
    within: bool = False  # its name may not lead out of the folder of the labels
    labelled: bool = True  # somebody looked at it, even if there is no package


def read_json(path):
    return json.loads(path.read_bytes())  # UTF-8 with a mark or without, or UTF-16


def named(value):
    return str(value) if value else "unnamed"


def drawn(read, *arguments):
    """`outline, bbox, wrong` of one shape."""
    try:
        return (*read(*arguments), "")
    except UserError as error:
        return None, (), str(error)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return None, (), f"cannot be read ({told(error)}); draw it again"


def told(error):
    """Of what a reader stumbled over."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def identity(value):
    """An id as it is compared and told: 1, 1.0 and "1" are one."""
    text = str(value).strip()
    try:
        number = float(text)
        return str(int(number)) if number.is_integer() else text
    except (ValueError, OverflowError):
        return text


def read_coco(path):
    # `crates/magpie/src/commands/eval/labels` reads by the same rules; `tests/labels` holds both to them.
    document = read_json(path)
    names = category_names(path, document["categories"])
    pictures = {}
    for image in document["images"]:
        size = image.get("width"), image.get("height")
        image_id, name = identity(image["id"]), image.get("file_name")
        known = pictures.get(image_id)
        if known is not None:
            known.wrong = f"{known.file_name} and {name} have the same id, {image_id}"
            continue
        wrong = "" if name else f"image {image_id} has no file_name"
        stated = tuple(int(float(side)) for side in size) if all(size) else None
        pictures[image_id] = Picture(name or "", stated, path, wrong=wrong)
    for number, annotation in enumerate(document["annotations"], 1):
        number, image_id = identity(annotation.get("id", number)), identity(annotation.get("image_id"))
        if image_id not in pictures:
            wrong = f"annotation {number} is on image {image_id}, which is not among its images"
            pictures[image_id] = Picture("", None, path, wrong=wrong)
        picture = pictures[image_id]
        category = identity(annotation.get("category_id"))
        name = names.get(category, f"category_id {category}")
        where = f"{path}, annotation {number} on {picture.file_name}"
        outline, bbox, wrong = drawn(coco_outline, annotation)
        box = coco_box(annotation, strict=False)
        shapes = picture.crowds if is_crowd(annotation) else picture.shapes
        shapes.append(Shape(name, outline, bbox, where, wrong, box))
    return list(pictures.values())


def category_names(path, categories):
    names = {}
    for category in categories:
        category_id, name = identity(category["id"]), named(category["name"])
        if names.get(category_id, name) != name:
            # Whichever was meant, the labels of the other would get its name.
            raise UserError(
                f"read labels {path}: the categories {json.dumps(names[category_id], ensure_ascii=False)} and "
                f"{json.dumps(name, ensure_ascii=False)} have the same id, {category_id}; give each its own"
            )
        names[category_id] = name
    return names


def coco_outline(annotation):
    outline = annotation.get("segmentation")
    if not outline or annotation.get("mask_source") == "bbox":
        if not annotation.get("bbox"):
            raise UserError("has neither an outline nor a box; draw it again")
        return None, coco_box(annotation, strict=True)
    if isinstance(outline, dict):
        return whole_rle(outline), ()
    try:
        pieces = [np.asarray(piece, float).ravel().tolist() for piece in outline]
    except (ValueError, TypeError):
        pieces = [[0.0]]
    if any(len(piece) % 2 for piece in pieces):
        raise UserError("its segmentation is not made of lists of x, y pairs; export it again")
    if not all(np.isfinite(piece).all() for piece in pieces):
        raise UserError("its outline holds NaN or infinity; draw it again")
    return pieces, ()


def coco_box(annotation, *, strict):
    """`x_min, y_min, x_max, y_max`, or nothing where it is of no use and not needed."""
    try:
        x, y, w, h = map(float, annotation.get("bbox") or ())
    except (ValueError, TypeError) as error:
        if strict:
            raise UserError("its box is not x, y, width and height; draw it again") from error
        return ()
    if not np.isfinite((x + w, y + h)).all():
        if strict:
            raise UserError("its box holds NaN or infinity; draw it again")
        return ()
    return x, y, x + w, y + h


def whole_rle(rle):
    """Runs that do not cover the picture exactly would be read as another mask."""
    try:
        (height, width), counts = map(int, rle["size"]), rle["counts"]
        runs = list(map(int, counts)) if isinstance(counts, list) else run_lengths(counts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError("its segmentation has no size or no counts; export it again") from error
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise UserError(f"its runs do not fill {width}x{height}; export it again")
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def read_labelme(path):
    document = read_json(path)
    size = document.get("imageWidth"), document.get("imageHeight")
    picture = Picture(document["imagePath"], size if all(size) else None, path)
    groups = {}
    for number, shape in enumerate(document["shapes"], 1):
        label, group = named(shape.get("label")), shape.get("group_id")
        where = f"{path}, shape {number} ({label!r})"
        outline, bbox, wrong = drawn(labelme_outline, shape, size)
        known = groups.get((label, group)) if group is not None else None
        # Parts of one package that something hides in between share a group.
        if known is not None and isinstance(outline, list) and isinstance(known.outline, list):
            known.outline += outline
            continue
        groups[label, group] = shape = Shape(label, outline, bbox, where, wrong)
        picture.shapes.append(shape)
    return [picture]


def labelme_outline(shape, size):
    # Files of versions before 4 do not say it: there were only polygons.
    points, kind = np.asarray(shape["points"], float).reshape(-1, 2), shape.get("shape_type", "polygon")
    if kind == "polygon":
        return [points.ravel().tolist()], corners(points)
    if kind in ("rectangle", "oriented_rectangle"):
        return None, corners(points)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return [ellipse(*points[0], radius, radius)], ()
    if kind == "mask":
        if not all(size):
            raise UserError("its file lacks imageWidth and imageHeight; save it again")
        data = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
        part = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if part is None:
            raise UserError("its mask does not decode; draw it again")
        return placed(part > 0, *np.round(points[0]).astype(int), *size), ()
    raise UserError(f"{kind} is no outline; draw a polygon")


def read_cvat(path):
    root = ElementTree.parse(path).getroot()
    if root.find("track") is not None:
        raise UserError(f"read labels {path}: CVAT for video; export as 'CVAT for images 1.1'")
    pictures = []
    for image in root.iter("image"):
        size = int(image.get("width")), int(image.get("height"))
        picture = Picture(image.get("name"), size, path)
        groups = {}
        # A tag says something about the whole picture.
        shapes = (e for e in image if e.get("label") is not None and e.tag != "tag")
        for number, element in enumerate(shapes, 1):
            label, group = named(element.get("label")), element.get("group_id")
            where = f"{path}, {picture.file_name}, shape {number} ({label!r})"
            outline, bbox, wrong = drawn(cvat_outline, element, size)
            known = groups.get((label, group)) if group else None
            if known is not None and isinstance(outline, list) and isinstance(known.outline, list):
                known.outline += outline
                continue
            groups[label, group] = shape = Shape(label, outline, bbox, where, wrong)
            picture.shapes.append(shape)
        pictures.append(picture)
    return pictures


def cvat_outline(element, size):
    def number(name, absent=None):
        return float(element.get(name, absent))

    def turned(points, x, y):
        """By the shape's `rotation`, in degrees, clockwise as pictures are seen."""
        angle = math.radians(number("rotation", 0))
        sine, cosine = math.sin(angle), math.cos(angle)
        away = np.reshape(points, (-1, 2)) - (x, y)
        return away @ [[cosine, sine], [-sine, cosine]] + (x, y)

    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points").split(";")]
        points = np.asarray(pairs, float)
        return [points.ravel().tolist()], corners(points)
    if element.tag == "box":
        x0, y0, x1, y1 = (number(name) for name in ("xtl", "ytl", "xbr", "ybr"))
        points = x0, y0, x1, y0, x1, y1, x0, y1
        return None, corners(turned(points, (x0 + x1) / 2, (y0 + y1) / 2))
    if element.tag == "ellipse":
        middle = number("cx"), number("cy")
        return [turned(ellipse(*middle, number("rx"), number("ry")), *middle).ravel().tolist()], ()
    if element.tag == "mask":
        left, top = int(element.get("left")), int(element.get("top"))
        width, height = int(element.get("width")), int(element.get("height"))
        runs = [int(run) for run in element.get("rle").split(",")]
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # rows, background first
        if len(flat) != width * height:
            raise UserError(f"its runs do not fill {width}x{height}; export it again")
        return placed(flat.reshape(height, width), left, top, *size), ()
    raise UserError(f"{element.tag} is no outline; draw a polygon or a mask")


def placed(part, left, top, width, height):
    """A piece of a mask as the RLE of the whole picture."""
    mask = np.zeros((height, width), np.uint8, order="F")
    if left < 0 or top < 0 or left + part.shape[1] > width or top + part.shape[0] > height:
        raise UserError("the mask leaves the picture; draw it again")
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return coco_mask.encode(mask)


def ellipse(x, y, radius_x, radius_y):
    angles = np.arange(CIRCLE_CORNERS) * 2 * np.pi / CIRCLE_CORNERS
    points = np.column_stack((x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)))
    return points.ravel().tolist()


def corners_of(flat):
    return corners(np.reshape(np.asarray(flat, float), (-1, 2)))


def corners(points):
    return (*points.min(0).tolist(), *points.max(0).tolist()) if len(points) else (0, 0, 0, 0)

