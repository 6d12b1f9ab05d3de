"""Labelled pictures of a new cell: found, checked, divided, written as two COCO files."""

import contextlib
import functools
import hashlib
import json
import shlex
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from pycocotools import mask as coco_mask

from . import CLASSES, UserError, picture_files, yolo
from .box_beside import contradiction
from .data import decode_mask, polygon_area
from .label_formats import UPLOADED, told
from .label_kinds import DAMAGED, READERS, SUFFIXES, kind_of
from .outline import within

PICTURES_MIN = 8
HELD_OUT_MIN = 2
# A name that stands for "leave these out".
NOTHING = "none"
# Outlines, and boxes that contradict them, beyond these are only counted.
BOXED_NAMED_MAX = 20
# What Label Studio puts before the path of a local file.
LOCAL_FILES = "?d="
TOOLS = (
    "COCO, Label Studio (.json), LabelMe (a .json for each picture), CVAT for images 1.1, Pascal VOC (.xml) "
    "or YOLO (data.yaml)"
)

NEVER_LABELLED = {
    "yolo": "an empty .txt says that there is no package",
    "label-studio": "submit their tasks",
}


@dataclass
class Labelled:
    """A picture whose labels were checked; `packages`: class, segmentation, bbox, outlined."""

    path: Path
    width: int
    height: int
    packages: list
    sha256: str
    turned: bool  # by its EXIF orientation
    crowds: list  # segmentation, bbox


@dataclass
class Reading:
    kind: str
    pictures: list
    problems: list  # one line each
    notes: list  # what was left out on purpose


def read_labels(path, mapping=None, keep_empty=False, classes=CLASSES, without=None, images=None):
    """All labelled pictures under a folder, or of one label file.

    Pictures are sought in the folder `images` first, and in `without` none.
    """
    path, images = Path(path), None if images is None else Path(images)
    if images is not None and not images.is_dir():
        raise UserError(f"read pictures {images}: no such folder; name the one that the labels' pictures lie in")
    kind, files, notes, problems = find_files(path)
    pictures = []
    for file in files:
        try:
            pictures += READERS[kind](file, images) if kind == "yolo" else READERS[kind](file)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"read labels {file}: not a {kind} file ({told(error)})") from error
    crowds = sum(len(picture.crowds) for picture in pictures)
    if not any(picture.shapes for picture in pictures):
        why = f": all {crowds} annotations are crowds (iscrowd); set it to 0" if crowds else "; label some"
        wrong = [f"{p.origin}: {p.wrong}" for p in pictures if p.wrong]
        if wrong and kind != "coco":  # a file for each picture: the first one tells more
            why = f": {wrong[0]}"
        raise UserError(f"read labels {path}: {len(pictures)} pictures, none labelled{why}")
    names = name_table(path, pictures, mapping or {}, classes)
    reading = Reading(kind, [], problems, notes + unused(path, mapping or {}, names))
    root = path if path.is_dir() else path.parent
    folders = Folders(root, images, without)
    seen, boxed = {}, []
    for picture in pictures:
        if not picture.labelled:
            continue
        try:
            labelled = check(picture, folders, names, reading.problems, boxed)
        except UserError as error:
            reading.problems.append(str(error))
            continue
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
        reading.notes.append(f"{left_out} pictures without any label are left out (see --keep-empty)")
    strange = [picture.file_name for picture in pictures if not picture.labelled]
    if strange:
        reading.notes.append(
            f"{len(strange)} pictures were never labelled ({strange[0]}) and are left out; {NEVER_LABELLED[kind]}"
        )
    reading.notes += [
        f"{where}: its outline encloses nothing; its box stands for it" for where in boxed[:BOXED_NAMED_MAX]
    ]
    more = len(boxed) - BOXED_NAMED_MAX
    if more > 0:
        reading.notes.append(f"{more} more outlines enclose nothing; their boxes stand for them")
    doubted = [f"{shape.where}: {shape.doubt}" for p in pictures for shape in p.shapes if shape.doubt]
    reading.notes += doubted[:BOXED_NAMED_MAX]
    more = len(doubted) - BOXED_NAMED_MAX
    if more > 0:
        reading.notes.append(f"{more} more boxes contradict their outlines or pictures")
    if crowds:
        reading.notes.append(f"{crowds} crowds (iscrowd) are not learned, and what is found on them is not judged")
    turned = [picture.path for picture in reading.pictures if picture.turned]
    if turned:
        reading.notes.append(
            f"{len(turned)} pictures are turned by their EXIF orientation ({turned[0]}): labels must "
            "be drawn on them as viewers show them"
        )
    return reading


def find_files(path):
    if not path.exists():
        raise UserError(f"read labels {path}: no such file or folder")
    found = [path] if path.is_file() else sorted(
        p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir()
    )
    kinds = {p: kind_of(p) for p in found}
    files = {kind: [p for p, k in kinds.items() if k == kind] for kind in READERS}
    present = [kind for kind, of_kind in files.items() if of_kind]
    damaged = [f"{p}: no whole JSON; save it again" for p, kind in kinds.items() if kind == DAMAGED]
    if not present and path.is_dir() and not any(kinds.values()) and yolo.has_labels(path):
        return "yolo", [path], [], []
    if not present:
        raise UserError(f"read labels {path}: {nothing_read(path, kinds)}")
    if len(present) > 1:
        first, second = (files[kind][0] for kind in present[:2])
        raise UserError(
            f"read labels {path}: {first} is {present[0]}, {second} is {present[1]}; "
            "name the folder of one kind"
        )
    plain = [p for p in found if p.suffix.lower() in (".json", ".xml")]
    other = len(set(plain) - set(files[present[0]])) - len(damaged)
    notes = [f"{other} .json or .xml files are no labels and were left alone"] if other else []
    return present[0], files[present[0]], notes, damaged


def nothing_read(path, kinds):
    """Why there are no labels, as far as the files tell."""
    for file, kind in kinds.items():
        if kind == DAMAGED:
            return f"{file} is no whole JSON; save or export it again"
        if kind is not None:
            return f"{file} is {kind}, which is not read; export the labels as {TOOLS}"
    if path.is_file() and yolo.is_labels(path):
        return f"{path} is one file of YOLO's; name its data.yaml, or the folder"
    return f"no labels there; expected {TOOLS}"


def name_table(path, pictures, mapping, classes):
    """From each name in the labels to a class, or to `None` for what is to be left out."""
    unknown_targets = sorted(set(mapping.values()) - {*classes, NOTHING})
    if unknown_targets:
        raise UserError(f"--map: {unknown_targets[0]!r} is none of {', '.join(classes)}, {NOTHING}")
    counts = Counter(shape.name for picture in pictures for shape in picture.shapes)
    table = {}
    for name in counts:
        meant = mapping.get(name, name.strip().lower().replace(" ", "_").replace("-", "_"))
        table[name] = None if meant == NOTHING else meant
    unknown = [n for n, meant in table.items() if meant is not None and meant not in classes]
    if unknown:
        listed = ", ".join(f"{n!r} ({counts[n]})" for n in unknown)
        stands, out = (shlex.quote(f"{unknown[0]}={meant}") for meant in (classes[0], NOTHING))
        raise UserError(
            f"read labels {path}: unknown label names {listed}; known: {', '.join(classes)}; say "
            f"what each stands for, as in --map {stands}, or leave it out: --map {out}"
        )
    return table


def unused(path, mapping, names):
    present = ", ".join(sorted(names))
    return [
        f"--map: no label of {path} is named {name!r}; there are {present}"
        for name in sorted(set(mapping) - set(names))
    ]


def files_by_name(root, without):
    table = {}
    for file in root.rglob("*"):
        if file.is_file() and not (without and file.resolve().is_relative_to(without.resolve())):
            table.setdefault(composed(file.name), []).append(file)
    return table


def composed(name):
    """macOS writes `ö` as two letters, others as one."""
    return unicodedata.normalize("NFC", name)


class Folders:
    """Where pictures are sought: in the folder that was named for them, below the labels, beside `annotations`."""

    def __init__(self, root, images, without):
        self.root, self.images = root, images
        # COCO's pictures lie in folders beside that of the labels.
        above = root.parent if root.name.lower() == "annotations" else None
        self.tables = [
            functools.cache(functools.partial(files_by_name, folder, without))
            for folder in (images, root, above)
            if folder is not None
        ]

    def named(self, name):
        """The only file of a name; how many have it where there is not one."""
        counts = []
        for table in self.tables:
            same = table().get(name) or table().get(UPLOADED.sub("", name, count=1), [])
            if len(same) == 1:
                return same[0].resolve(), 1
            counts.append(len(same))
        return None, max(counts)


def find_picture(picture, folders):
    """Where labels and pictures of one kind of tool lie to each other, else the only file of that name."""
    if picture.wrong:
        raise UserError(f"{picture.origin}: {picture.wrong}")
    if picture.path is not None:
        return picture.path.resolve()
    if not isinstance(picture.file_name, str) or not picture.file_name:
        raise UserError(f"{picture.origin}: it names no picture ({picture.file_name!r}); export it again")
    name = picture.file_name.replace("\\", "/")  # as Windows writes paths
    if LOCAL_FILES in name:
        name = unquote(name.split(LOCAL_FILES, 1)[1])
    name = Path(name)
    beside = picture.origin.parent
    leaves = picture.within and (name.is_absolute() or ".." in name.parts)
    above = (beside.parent / "images", beside.parent / "JPEGImages")
    for folder in () if leaves else (folders.images, beside, *above, folders.root, folders.root / "images"):
        if folder is not None and (folder / name).is_file():
            return (folder / name).resolve()
    found, same = folders.named(composed(name.name))
    if found is not None:
        return found
    away = " (a path out of their folder is not followed)" if leaves else ""
    told = f"{picture.origin}: its picture {picture.file_name} is missing{away}; put it beside the labels"
    raise UserError(f"{told} ({same} others have that name)" if same else told)


def check(picture, folders, names, problems, boxed):
    """What can be learned from a picture; shapes that cannot are added to `problems`.

    Those whose box stands for an empty outline are added to `boxed`.

    `None` where one of them means a package that cannot be read: it would be learned as background.
    """
    path = find_picture(picture, folders)
    data = path.read_bytes()
    try:
        height, width = picture_files.decode(data).shape[:2]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    turned = picture_files.orientation(data) != 1
    if picture.size is not None and tuple(picture.size) != (width, height):
        stated = "x".join(str(v) for v in picture.size)
        shown = ", turned as its EXIF orientation says" if turned else ""
        raise UserError(
            f"{path}: it is {width}x{height}{shown}, {picture.origin} labels it at {stated}; "
            "label it at its own size"
        )
    packages = []
    for shape in picture.shapes:
        if names[shape.name] is None:
            continue
        try:
            placed = package(shape, width, height)
            if shape.box:
                shape.wrong, shape.doubt = contradiction(*placed, shape.box, width, height)
            if shape.wrong:
                raise UserError(shape.wrong)
            packages.append((names[shape.name], *placed))
            if shape.outline is not None and not packages[-1][-1]:
                boxed.append(shape.where)
        except UserError as error:
            problems.append(f"{shape.where}: {error}")
    if any(shape.wrong and names[shape.name] for shape in picture.shapes):
        return None
    crowds = []
    for shape in picture.crowds:
        with contextlib.suppress(UserError):  # one that encloses nothing hides nothing
            crowds.append(package(shape, width, height)[:2])
    sha256 = hashlib.sha256(data).hexdigest()
    return Labelled(path, width, height, packages, sha256, turned, crowds)


def package(shape, width, height):
    """`segmentation, bbox, outlined`, within the picture."""
    if shape.wrong:
        raise UserError(shape.wrong)
    if shape.outline is None:
        return rectangle(shape.bbox, width, height)
    try:
        return outlined(shape.outline, width, height)
    except EnclosesNothing:
        if not shape.box:
            raise
        return rectangle(shape.box, width, height)


class EnclosesNothing(UserError):
    def __init__(self):
        super().__init__("encloses nothing inside the picture; draw it again")


def rectangle(bbox, width, height):
    edges = np.clip(np.nan_to_num(bbox), 0, [width, height] * 2).tolist()
    x0, y0, x1, y1 = edges
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise EnclosesNothing
    return [[x0, y0, x1, y0, x1, y1, x0, y1]], edges, False


def outlined(outline, width, height):
    if isinstance(outline, list):
        outline = [p for p in outline if len(p) >= 6 and np.isfinite(p).all()]
        outline = [within(p, width, height) for p in outline]
        outline = [p for p in outline if polygon_area(p) >= 1.0]
        if not outline:
            raise EnclosesNothing
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in outline])
        return outline, (*points.min(0).tolist(), *points.max(0).tolist()), True
    if list(outline["size"]) != [height, width]:
        drawn = "x".join(str(v) for v in reversed(outline["size"]))
        raise UserError(f"its mask is {drawn}, its picture {width}x{height}; export it again")
    if coco_mask.area(outline) < 1:
        raise EnclosesNothing
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
    ordered = sorted(pictures, key=lambda p: p.sha256)
    count = min(max(HELD_OUT_MIN, round(share * len(pictures))), len(pictures) - HELD_OUT_MIN)
    if not any(p.packages for p in ordered[:count]):
        raise UserError("no held-out picture shows a package: label more, or name some by --held-out")
    held_out = {p.sha256 for p in ordered[:count]}  # copies of one picture stay together
    return [p for p in ordered[count:] if p.sha256 not in held_out], ordered[:count]


def write_coco(pictures, out, classes=CLASSES, names=None):
    """Paths are absolute, since the pictures stay where they are; or `names`, relative to the file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    partial.write_text(json.dumps(coco_document(pictures, classes, names)))
    return partial.replace(out)


def coco_document(pictures, classes=CLASSES, names=None):
    document = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    for image_id, picture in enumerate(pictures, 1):
        document["images"].append(
            {
                "id": image_id,
                "file_name": names[image_id - 1] if names else str(picture.path),
                "width": picture.width,
                "height": picture.height,
                "sha256": picture.sha256,
            }
        )
        # What a crowd hides may be of any type; the first one stands for all.
        crowds = [(classes[0], *crowd, True) for crowd in picture.crowds]
        shapes = [(0, *p) for p in picture.packages] + [(1, *c) for c in crowds]
        for crowd, class_name, segmentation, (x0, y0, x1, y1), outlined in shapes:
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": classes.index(class_name) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area(segmentation, picture),
                    "iscrowd": crowd,
                    "segmentation": readable(segmentation),
                    "mask_source": "polygon" if outlined else "bbox",
                }
            )
    return document


def area(segmentation, picture):
    if not isinstance(segmentation, list):
        return float(coco_mask.area(segmentation))
    if len(segmentation) == 1:
        return float(polygon_area(segmentation[0]))
    return float(decode_mask(segmentation, picture.height, picture.width).sum())  # pieces may overlap


def readable(segmentation):
    if isinstance(segmentation, list):
        return segmentation
    counts = segmentation["counts"]
    counts = counts.decode() if isinstance(counts, bytes) else counts
    return {"size": [int(v) for v in segmentation["size"]], "counts": counts}
