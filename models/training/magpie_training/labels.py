"""Labelled pictures of a new cell: found, checked, divided, written as two COCO files."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from . import CLASSES, UserError
from .data import decode_mask, polygon_area
from .label_formats import READERS, kind_of

PICTURES_MIN = 8
HELD_OUT_MIN = 2
# A name that stands for "leave these out".
NOTHING = "none"
TOOLS = "COCO (.json), LabelMe (a .json for each picture) or CVAT for images 1.1 (.xml)"


@dataclass
class Labelled:
    """A picture whose labels were checked; `packages`: class, segmentation, bbox, outlined."""

    path: Path
    width: int
    height: int
    packages: list


@dataclass
class Reading:
    kind: str
    pictures: list
    problems: list  # one line each
    notes: list  # what was left out on purpose


def read_labels(path, mapping=None, keep_empty=False, classes=CLASSES):
    """All labelled pictures under a folder, or of one label file."""
    path = Path(path)
    kind, files, notes = find_files(path)
    pictures = []
    for file in files:
        try:
            pictures += READERS[kind](file)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"read labels {file}: not a {kind} file ({error!r})") from error
    if not any(picture.shapes for picture in pictures):
        raise UserError(f"read labels {path}: {len(pictures)} pictures, none labelled; label some")
    names = name_table(path, pictures, mapping or {}, classes)
    reading = Reading(kind, [], [], notes)
    root = path if path.is_dir() else path.parent
    by_name = files_by_name(root)
    seen = {}
    for picture in pictures:
        labelled = check(picture, root, by_name, names, reading.problems)
        if labelled is None:
            continue
        if labelled.path in seen:
            first = seen[labelled.path]
            reading.problems.append(f"{picture.origin}: {labelled.path} is also labelled in {first}")
            continue
        seen[labelled.path] = picture.origin
        if labelled.packages or keep_empty:
            reading.pictures.append(labelled)
    left_out = len(seen) - len(reading.pictures)
    if left_out:
        notes.append(f"{left_out} pictures without any label are left out (see --keep-empty)")
    crowds = sum(picture.left_out for picture in pictures)
    if crowds:
        notes.append(f"{crowds} crowds (iscrowd) are left out: they outline no single package")
    return reading


def find_files(path):
    if not path.exists():
        raise UserError(f"read labels {path}: no such file or folder")
    found = [path] if path.is_file() else sorted(
        p for p in path.rglob("*") if p.suffix.lower() in (".json", ".xml")
    )
    kinds = {p: kind_of(p) for p in found}
    files = {kind: [p for p, k in kinds.items() if k == kind] for kind in READERS}
    present = [kind for kind, of_kind in files.items() if of_kind]
    if not present:
        raise UserError(f"read labels {path}: no labels there; expected {TOOLS}")
    if len(present) > 1:
        first, second = (files[kind][0] for kind in present[:2])
        raise UserError(
            f"read labels {path}: {first} is {present[0]}, {second} is {present[1]}; "
            "name the folder of one kind"
        )
    other = sum(kind is None for kind in kinds.values())
    notes = [f"{other} .json or .xml files are no labels and were left alone"] if other else []
    return present[0], files[present[0]], notes


def name_table(path, pictures, mapping, classes):
    """From each name in the labels to a class, or to `None` for what is to be left out."""
    unknown_targets = sorted(set(mapping.values()) - {*classes, NOTHING})
    if unknown_targets:
        raise UserError(f"--map: {unknown_targets[0]!r} is none of {', '.join(classes)}, {NOTHING}")
    counts = Counter(shape.name for picture in pictures for shape in picture.shapes)
    unused = sorted(set(mapping) - set(counts))
    if unused:
        present = ", ".join(sorted(counts))
        raise UserError(f"--map: no label of {path} is named {unused[0]!r}; there are {present}")
    table = {}
    for name in counts:
        meant = mapping.get(name, name.strip().lower().replace(" ", "_").replace("-", "_"))
        table[name] = None if meant == NOTHING else meant
    unknown = [n for n, meant in table.items() if meant is not None and meant not in classes]
    if unknown:
        listed = ", ".join(f"{n!r} ({counts[n]})" for n in unknown)
        raise UserError(
            f"read labels {path}: unknown label names {listed}; known: {', '.join(classes)}; say "
            f"what each stands for, as in --map {unknown[0].replace(' ', '_')}={classes[0]}, or "
            f"leave it out: --map {unknown[0].replace(' ', '_')}={NOTHING}"
        )
    return table


def files_by_name(root):
    table = {}
    for file in root.rglob("*"):
        table.setdefault(file.name, []).append(file)
    return table


def find_picture(picture, root, by_name):
    """Beside its label file or in `images` beside that, else the only file of that name."""
    name = Path(picture.file_name)
    beside = picture.origin.parent
    for folder in (beside, root, root / "images", beside.parent / "images"):
        if (folder / name).is_file():
            return (folder / name).resolve()
    same = by_name.get(name.name, [])
    return same[0].resolve() if len(same) == 1 else None


def check(picture, root, by_name, names, problems):
    """What can be learned from a picture; what cannot is added to `problems`."""
    path = find_picture(picture, root, by_name)
    if path is None:
        problems.append(
            f"{picture.origin}: its picture {picture.file_name} is missing; put it beside the labels"
        )
        return None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        problems.append(f"{path}: does not decode; save it again as JPEG or PNG")
        return None
    height, width = image.shape[:2]
    if picture.size is not None and tuple(picture.size) != (width, height):
        stated = "x".join(str(v) for v in picture.size)
        problems.append(
            f"{path}: it is {width}x{height}, {picture.origin} labels it at {stated}; "
            "label it at its own size"
        )
        return None
    packages = []
    for shape in picture.shapes:
        if names[shape.name] is None:
            continue
        found = package(shape, width, height)
        if found is None:
            problems.append(f"{shape.where}: encloses nothing inside the picture; draw it again")
        else:
            packages.append((names[shape.name], *found))
    return Labelled(path, width, height, packages)


def package(shape, width, height):
    """`segmentation, bbox, outlined`, within the picture; `None` where nothing is enclosed."""
    outline = shape.outline
    if outline is None:
        edges = np.clip(np.nan_to_num(shape.bbox), 0, [width, height] * 2).tolist()
        x0, y0, x1, y1 = edges
        rectangle = [[x0, y0, x1, y0, x1, y1, x0, y1]]
        return (rectangle, edges, False) if x1 - x0 >= 1 and y1 - y0 >= 1 else None
    if isinstance(outline, list):
        outline = [p for p in outline if len(p) >= 6 and np.isfinite(p).all()]
        outline = [p for p in outline if polygon_area(p) >= 1.0]
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in outline] or [np.zeros((0, 2))])
        if len(points) and (points >= 0).all() and (points <= [width, height]).all():
            return outline, (*points.min(0).tolist(), *points.max(0).tolist()), True
        if not len(points):
            return None
        mask = decode_mask(outline, height, width)
        outline = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    if list(outline["size"]) != [height, width] or coco_mask.area(outline) < 1:
        return None
    x, y, w, h = coco_mask.toBbox(outline).tolist()
    return outline, (x, y, x + w, y + h), True


def divide(pictures, share):
    """Learned from, and held out: the `share` whose contents have the smallest SHA-256.

    Neither names nor order matter, so the same pictures are always divided the same way.
    """
    if len(pictures) < PICTURES_MIN:
        raise UserError(
            f"{len(pictures)} labelled pictures are too few: label {PICTURES_MIN} or more, "
            "so that some can be held out"
        )
    ordered = sorted(pictures, key=lambda p: hashlib.sha256(p.path.read_bytes()).digest())
    count = min(max(HELD_OUT_MIN, round(share * len(pictures))), len(pictures) - HELD_OUT_MIN)
    if not any(p.packages for p in ordered[:count]):
        raise UserError("no held-out picture shows a package: label more, or name some by --held-out")
    return ordered[count:], ordered[:count]


def write_coco(pictures, out, classes=CLASSES):
    """Paths are absolute: the pictures stay where they are."""
    document = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    for image_id, picture in enumerate(pictures, 1):
        document["images"].append(
            {
                "id": image_id,
                "file_name": str(picture.path),
                "width": picture.width,
                "height": picture.height,
            }
        )
        for class_name, segmentation, (x0, y0, x1, y1), outlined in picture.packages:
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": classes.index(class_name) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area(segmentation),
                    "iscrowd": 0,
                    "segmentation": readable(segmentation),
                    "mask_source": "polygon" if outlined else "bbox",
                }
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document))
    return out


def area(segmentation):
    if isinstance(segmentation, list):
        return float(sum(polygon_area(p) for p in segmentation))
    return float(coco_mask.area(segmentation))


def readable(segmentation):
    if isinstance(segmentation, list):
        return segmentation
    counts = segmentation["counts"]
    counts = counts.decode() if isinstance(counts, bytes) else counts
    return {"size": [int(v) for v in segmentation["size"]], "counts": counts}
