"""COCO datasets as samples: an image, its instances, and what is known about their masks."""

import glob
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from . import UserError, picture_files

# Long side of stored copies; larger images only cost decoding time at our training sizes.
CACHE_SIDE_PX = 704
# In a map of instances: packages that nobody told apart.
CROWD = 65535


@dataclass(frozen=True)
class Instance:
    class_id: int
    bbox: tuple  # x_min, y_min, x_max, y_max
    segmentation: object  # polygons, RLE, or None where only a rectangle is known
    visible: float = 1.0  # share of the package that nothing hides, where the dataset says so


@dataclass(frozen=True)
class Record:
    """One image of a dataset. `complete`: every package in it is labelled."""

    path: Path
    width: int
    height: int
    instances: tuple
    complete: bool
    mask_weight: float
    whole: bool  # masks show everything visible of a package, not one face
    weight: float = 1.0  # how often it is drawn, beside the others of its source
    group: str = ""  # pictures that look alike, such as those of one day
    crowds: tuple = ()  # where packages are that nobody told apart: polygons or RLE


@dataclass
class Sample:
    """A decoded image `[h, w, 3]` and `ids` `[h, w]` `uint16`: 0, 1 + index of the instance, `CROWD`."""

    image: np.ndarray
    ids: np.ndarray
    record: Record


def load_all(pattern, classes, **known):
    """All datasets that a path or a pattern such as `sim/*/annotations.json` names."""
    paths = sorted(glob.glob(pattern)) or [pattern]
    return [record for path in paths for record in load_coco(path, classes, **known)]


def load_coco(path, classes, *, complete=True, mask_weight=1.0, whole=True, empty=False):
    """Reads an annotation file; a `mask_source` of `bbox` means that no outline is known.

    `complete=False` says that images may hold unlabelled packages, except those marked
    `all_polygon`. `empty=True` says that no picture shows a labelled package.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"read annotations {path}: no such file")
    try:
        document = read_document(path, classes)
        names = {c["id"]: c["name"] for c in document["categories"]}
        by_image = {}
        for annotation in document["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        images = document["images"]
        orphans = list(by_image.keys() - {image.get("id") for image in images})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"read annotations {path}: not a COCO file ({error!r})") from error
    if empty and by_image:
        raise UserError(f"read annotations {path}: it has labels, and its source says `empty = true`")
    if not images or not (by_image or empty):
        raise UserError(f"read annotations {path}: no images or no annotations in it")
    if orphans:
        raise UserError(
            f"read annotations {path}: annotations of image {orphans[0]!r}, which is not among its images; "
            "export it again"
        )
    unknown = sorted({n for n in names.values() if n not in classes})
    if unknown:
        known = ", ".join(classes)
        raise UserError(f"read annotations {path}: unknown class {unknown[0]!r}; known: {known}")
    records = []
    for image in images:
        instances, crowds = [], []
        try:
            for annotation in by_image.get(image["id"], []):
                class_id = classes.index(names[annotation["category_id"]])
                instance = parse_instance(annotation, class_id, [image["height"], image["width"]])
                if instance is None:
                    continue
                if is_crowd(annotation):
                    crowds.append(instance.segmentation or [rectangle(instance.bbox)])
                else:
                    instances.append(instance)
            records.append(
                Record(
                    path.parent / image["file_name"],
                    image["width"],
                    image["height"],
                    tuple(instances),
                    bool(complete or image.get("all_polygon", False)),
                    mask_weight,
                    whole,
                    weight_of(image),
                    str(image.get("group", "")),
                    tuple(crowds),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            name = image.get("file_name", image.get("id"))
            raise UserError(f"read annotations {path}: those of image {name} ({error!r})") from error
    return records


def read_document(path, classes):
    """A COCO file as it is; labels of another format as the COCO that `convert` makes of them."""
    if path.suffix.lower() == ".json":
        document = json.loads(path.read_text("utf-8-sig"))
        if isinstance(document, dict) and "shapes" not in document:
            return document
    from .labels import coco_document, read_labels  # which need what is in this module

    reading = read_labels(path, keep_empty=True, classes=classes)
    if reading.problems:
        raise UserError(f"read annotations {path}: {len(reading.problems)} wrong, the first is {reading.problems[0]}")
    return coco_document(reading.pictures, classes)


def weight_of(image):
    weight = float(image.get("weight", 1.0))
    if not 0.0 < weight < float("inf"):
        raise ValueError(f"weight is {weight}, want a number above 0")
    return weight


def is_crowd(annotation):
    """Whether it marks packages that nobody told apart.

    CVAT marks single packages drawn with a brush as crowds; its files have `attributes`.
    """
    return bool(int(annotation.get("iscrowd") or 0)) and "attributes" not in annotation


def parse_instance(annotation, class_id, size):
    """`None` for annotations that enclose nothing; `size`: height, width."""
    x, y, w, h = annotation["bbox"]
    bbox = (x, y, x + w, y + h)
    segmentation = annotation.get("segmentation") or None
    if annotation.get("mask_source") == "bbox":
        segmentation = None
    if isinstance(segmentation, list):
        segmentation = [np.ravel(p).tolist() for p in segmentation]
        segmentation = [p for p in segmentation if len(p) >= 6 and polygon_area(p) >= 1.0]
        if not segmentation:
            return None
    if isinstance(segmentation, dict) and list(segmentation["size"]) != size:
        raise ValueError(f"a mask of {segmentation['size']} in a picture of {size}")
    if min(w, h) < 1:
        # Some tools leave the box of an outline at zero.
        bbox = bbox_of(segmentation) if segmentation else None
    if bbox is None:
        return None
    visible = float(annotation.get("visible_fraction", 1.0))
    return Instance(class_id, bbox, segmentation, visible)


def bbox_of(segmentation):
    """`None` where it is empty."""
    if isinstance(segmentation, list):
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in segmentation])
        return (*points.min(0).tolist(), *points.max(0).tolist())
    rle = segmentation
    if isinstance(rle["counts"], list):
        rle = coco_mask.frPyObjects(rle, *rle["size"])
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    return (x, y, x + w, y + h) if min(w, h) >= 1 else None


def rectangle(bbox):
    x0, y0, x1, y1 = bbox
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def polygon_area(flat):
    xs, ys = np.asarray(flat[0::2]), np.asarray(flat[1::2])
    return 0.5 * abs(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1)))


def decode_mask(segmentation, height, width):
    """A boolean mask `[height, width]` from polygons or RLE."""
    if isinstance(segmentation, list):
        canvas = np.zeros((height, width), np.uint8)
        outlines = [np.asarray(p, np.float64).reshape(-1, 2) for p in segmentation]
        # OpenCV takes 32-bit coordinates, and clips what lies outside.
        corners = [np.round(np.clip(p, -1e9, 1e9) - 0.5).astype(np.int32) for p in outlines]
        for one in corners:  # drawn together, what two of them cover would be a hole
            cv2.fillPoly(canvas, [one], 1)
        return canvas > 0
    rle = segmentation
    if isinstance(rle["counts"], list):
        rle = coco_mask.frPyObjects(rle, *rle["size"])
    if list(rle["size"]) != [height, width]:
        raise UserError(f"read a mask: it is {rle['size']}, its image [{height}, {width}]")
    return coco_mask.decode(rle) > 0


def draw_ids(record):
    """The map of instances; larger ones first, so that what lies inside or on top stays."""
    ids = np.zeros((record.height, record.width), np.uint16)
    for crowd in record.crowds:
        ids[decode_mask(crowd, record.height, record.width)] = CROWD
    # The area of what lies on top so far: of a large picture, only one mask fits into memory.
    areas = np.full(ids.shape, record.height * record.width, np.uint32)
    for index, instance in enumerate(record.instances):
        if instance.segmentation is None:
            continue
        mask = decode_mask(instance.segmentation, record.height, record.width)
        area = np.count_nonzero(mask)
        mask &= area <= areas
        ids[mask], areas[mask] = index + 1, area
    return ids


def read_image(path):
    try:
        return picture_files.decode(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"read image {path}: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"read image {path}: {error}") from error


def read_sample(record, cache_dir=None):
    """Decodes a record, from its small copy in `cache_dir` where there is one (made on demand)."""
    if cache_dir is None:
        image = read_checked(record)
        ids = draw_ids(record)
        return Sample(image, ids, record)
    labels = f"{record.path.resolve()}:{record.instances}{record.crowds or ''}"
    key = hashlib.sha256(labels.encode()).hexdigest()[:20]
    image_path, ids_path = Path(cache_dir) / f"{key}.jpg", Path(cache_dir) / f"{key}.png"
    # A copy that a power cut left empty is made again.
    image, ids = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) if p.exists() else None for p in (image_path, ids_path))
    if image is None or ids is None:
        image = read_checked(record)
        ids = draw_ids(record)
        scale = min(1.0, CACHE_SIDE_PX / max(image.shape[:2]))
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT)
        write_encoded(image_path, image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_encoded(ids_path, ids)
        image = read_image(image_path)
    return Sample(image, ids, record)


def write_encoded(path, image, options=()):
    """Written beside and renamed; OpenCV's own writing leaves half a file on a full disk."""
    partial = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")
    try:
        partial.write_bytes(cv2.imencode(path.suffix, image, options)[1])
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"write {path}: {error.strerror}; make room, then go on") from error


def read_checked(record):
    image = read_image(record.path)
    height, width = image.shape[:2]
    if (width, height) != (record.width, record.height):
        raise UserError(
            f"read image {record.path}: it is {width}x{height}, "
            f"its annotations say {record.width}x{record.height}"
        )
    return image
