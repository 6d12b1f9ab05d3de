"""Label files as annotation tools write them: COCO, LabelMe, CVAT for images.

Each reader gives `Picture`s with the shapes as they were drawn; `labels` judges them.
Coordinates are pixels of the picture, with a pixel's centre at half-integers.
"""

import base64
import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from . import UserError

CIRCLE_CORNERS = 36


@dataclass
class Shape:
    """One drawn package. `outline`: polygons (flat lists), COCO RLE, or `None` for a rectangle."""

    name: str
    outline: object
    bbox: tuple  # x_min, y_min, x_max, y_max; of use for rectangles only
    where: str


@dataclass
class Picture:
    file_name: str  # as the label file says
    size: tuple | None  # width, height, as the label file says
    origin: Path
    shapes: list = field(default_factory=list)
    left_out: int = 0  # shapes that mark crowds, not single packages


def kind_of(path):
    """`coco`, `labelme`, `cvat`, or `None` for a file of another kind."""
    if path.suffix.lower() == ".xml":
        return "cvat" if b"<annotations" in path.read_bytes()[:4096] else None
    try:
        document = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(document, dict):
        return None
    if "images" in document and "annotations" in document:
        return "coco"
    return "labelme" if "shapes" in document and "imagePath" in document else None


def read_coco(path):
    document = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    pictures = {
        i["id"]: Picture(i["file_name"], (i["width"], i["height"]), path)
        for i in document["images"]
    }
    for number, annotation in enumerate(document["annotations"], 1):
        picture = pictures[annotation["image_id"]]
        where = f"{path}, annotation {annotation.get('id', number)} on {picture.file_name}"
        # CVAT marks single packages drawn with a brush as crowds; its files have `attributes`.
        if annotation.get("iscrowd") and "attributes" not in annotation:
            picture.left_out += 1
            continue
        outline = annotation.get("segmentation") or None
        if annotation.get("mask_source") == "bbox":
            outline = None
        elif isinstance(outline, dict):
            outline = compressed(outline)
        x, y, w, h = annotation["bbox"]
        name = names[annotation["category_id"]]
        picture.shapes.append(Shape(name, outline, (x, y, x + w, y + h), where))
    return list(pictures.values())


def compressed(rle):
    if isinstance(rle["counts"], list):
        return coco_mask.frPyObjects(rle, *rle["size"])
    return rle


def read_labelme(path):
    document = json.loads(path.read_text())
    size = document.get("imageWidth"), document.get("imageHeight")
    picture = Picture(
        document["imagePath"].replace("\\", "/"), size if all(size) else None, path
    )
    groups = {}
    for number, shape in enumerate(document["shapes"], 1):
        where = f"{path}, shape {number} ({shape['label']!r})"
        outline, bbox = labelme_outline(shape, size, where)
        group = shape.get("group_id")
        known = groups.get((shape["label"], group)) if group is not None else None
        # Parts of one package that something hides in between share a group.
        if known is not None and isinstance(outline, list) and isinstance(known.outline, list):
            known.outline += outline
            continue
        groups[shape["label"], group] = shape = Shape(shape["label"], outline, bbox, where)
        picture.shapes.append(shape)
    return [picture]


def labelme_outline(shape, size, where):
    points, kind = np.asarray(shape["points"], float).reshape(-1, 2), shape["shape_type"]
    if kind == "polygon":
        return [points.ravel().tolist()], corners(points)
    if kind == "rectangle":
        return None, corners(points)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return [ellipse(*points[0], radius, radius)], ()
    if kind == "mask" and all(size):
        data = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
        part = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        return placed(part > 0, *np.round(points[0]).astype(int), *size, where), ()
    raise UserError(f"read labels {where}: {kind} is no outline; draw a polygon")


def read_cvat(path):
    root = ElementTree.parse(path).getroot()
    if root.find("track") is not None:
        raise UserError(f"read labels {path}: CVAT for video; export as 'CVAT for images 1.1'")
    pictures = []
    for image in root.iter("image"):
        size = int(image.get("width")), int(image.get("height"))
        picture = Picture(image.get("name"), size, path)
        groups = {}
        for number, element in enumerate((e for e in image if e.get("label") is not None), 1):
            where = f"{path}, {picture.file_name}, shape {number} ({element.get('label')!r})"
            outline, bbox = cvat_outline(element, size, where)
            group = element.get("group_id")
            known = groups.get((element.get("label"), group)) if group else None
            if known is not None and isinstance(outline, list) and isinstance(known.outline, list):
                known.outline += outline
                continue
            shape = Shape(element.get("label"), outline, bbox, where)
            groups[element.get("label"), group] = shape
            picture.shapes.append(shape)
        pictures.append(picture)
    return pictures


def cvat_outline(element, size, where):
    def number(name):
        return float(element.get(name))

    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points").split(";")]
        points = np.asarray(pairs, float)
        return [points.ravel().tolist()], corners(points)
    if element.tag == "box":
        return None, (number("xtl"), number("ytl"), number("xbr"), number("ybr"))
    if element.tag == "ellipse":
        return [ellipse(number("cx"), number("cy"), number("rx"), number("ry"))], ()
    if element.tag == "mask":
        left, top = int(element.get("left")), int(element.get("top"))
        width, height = int(element.get("width")), int(element.get("height"))
        runs = [int(run) for run in element.get("rle").split(",")]
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # rows, background first
        if len(flat) != width * height:
            raise UserError(f"read labels {where}: its runs do not fill {width}x{height}")
        return placed(flat.reshape(height, width), left, top, *size, where), ()
    raise UserError(f"read labels {where}: {element.tag} is no outline; draw a polygon or a mask")


def placed(part, left, top, width, height, where):
    """A piece of a mask as the RLE of the whole picture."""
    mask = np.zeros((height, width), np.uint8, order="F")
    if left < 0 or top < 0 or left + part.shape[1] > width or top + part.shape[0] > height:
        raise UserError(f"read labels {where}: the mask leaves the picture; draw it again")
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return coco_mask.encode(mask)


def ellipse(x, y, radius_x, radius_y):
    angles = np.arange(CIRCLE_CORNERS) * 2 * np.pi / CIRCLE_CORNERS
    points = np.column_stack((x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)))
    return points.ravel().tolist()


def corners(points):
    return (*points.min(0).tolist(), *points.max(0).tolist()) if len(points) else (0, 0, 0, 0)


READERS = {"coco": read_coco, "labelme": read_labelme, "cvat": read_cvat}
