"""Labels of one format written as another: COCO, YOLO, Pascal VOC, Label Studio.

What a format cannot hold is told: Pascal VOC has boxes only, YOLO and Pascal VOC have no masks,
and only COCO has crowds.
"""

import json
import shutil
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import yaml

from . import CLASSES, UserError, label_studio, voc, yolo
from .data import decode_mask
from .labels import composed, read_labels, write_coco
from .outline import polygons

LOCAL_FILES = "/data/local-files/?d=images/"


def convert(
    source, out, to, mapping=None, images=None, skip_bad_labels=False, without_crowds=False, classes=CLASSES
):
    """Writes `out`, whole or not at all; returns what there is to tell, a line each.

    A file of COCO's leaves the pictures where they are; a folder holds copies of them.
    """
    source, out = Path(source), Path(out)
    check_out(source, out, to)
    reading = read_labels(source, mapping, keep_empty=True, classes=classes, images=images)
    told = [f"note: {note}" for note in reading.notes] + [f"wrong label: {problem}" for problem in reading.problems]
    if reading.problems and not skip_bad_labels:
        print("\n".join(told), flush=True)
        raise UserError(
            f"convert {source}: {len(reading.problems)} labels are wrong, listed above; correct them, or leave "
            "them out by --skip-bad-labels"
        )
    if out.suffix.lower() == ".json":
        write_coco(reading.pictures, out, classes)
        return [*told, f"{out}: {len(reading.pictures)} pictures, which stay where they are"]
    pictures, notes = fitting(reading.pictures, to, without_crowds)
    names, renamed = file_names(pictures)
    partial = out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    notes += WRITERS[to](pictures, names, partial, classes)
    folder = partial / PICTURES_FOLDER.get(to, "images")
    folder.mkdir(parents=True, exist_ok=True)
    for picture, name in zip(pictures, names):
        shutil.copyfile(picture.path, folder / name)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    told += [f"note: {note}" for note in renamed + notes]
    return [*told, f"{out}: {len(pictures)} pictures and their labels ({to})"]


def check_out(source, out, to):
    if to == "coco" and out.suffix.lower() == ".json":
        if out.exists():
            raise UserError(f"--out {out}: it is there already; name a new file")
    elif out.suffix.lower() in (".json", ".xml", ".txt", ".yaml", ".yml"):
        raise UserError(f"--out {out}: {to} needs a folder, since its pictures belong to it; name a new one")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: it is there already; name a new or empty folder")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out {out}: it lies within {source}, whose labels would be read from it; write beside it")


def fitting(pictures, to, without_crowds):
    """Without those that would say something else in another format."""
    crowded = [p for p in pictures if p.crowds]
    if to == "coco" or not crowded:
        return pictures, []
    if without_crowds:
        return pictures, [f"the crowds of {len(crowded)} pictures are dropped: what they hide counts as background"]
    note = (
        f"{len(crowded)} pictures with crowds are left out ({crowded[0].path.name}): {to} has none, and what they hide "
        "would count as background; --without-crowds keeps them all the same"
    )
    return [p for p in pictures if not p.crowds], [note]


def file_names(pictures):
    """A name for each picture; no two differ in nothing but case or ending, which share a label file."""
    names, notes, taken = [], [], set()
    for picture in pictures:
        stem, number = composed(picture.path.stem), 1
        while (name := stem if number == 1 else f"{stem}-{number}").lower() in taken:
            number += 1
        taken.add(name.lower())
        names.append(name + picture.path.suffix)
        if number > 1:
            notes.append(f"{picture.path} becomes {names[-1]}, since another picture has its name")
    return names, notes


def outlines(picture, segmentation):
    """Polygons, flat lists; a mask's follow the edges of its pixels."""
    if isinstance(segmentation, list):
        return segmentation
    mask = decode_mask(segmentation, picture.height, picture.width)
    return [p.ravel().tolist() for p in polygons(mask, 0.0)]


def masks_note(pictures):
    masks = sum(not isinstance(p[1], list) for picture in pictures for p in picture.packages)
    return [f"{masks} masks become outlines: holes are filled, and specks are lost"] if masks else []


def write_coco_folder(pictures, names, out, classes):
    write_coco(pictures, out / "annotations/instances_default.json", classes, names)
    return []


def write_yolo(pictures, names, out, classes):
    notes, pieces_joined, boxes_outlined = masks_note(pictures), 0, 0
    (out / "labels").mkdir(parents=True)
    for picture, name in zip(pictures, names):
        size, lines = (picture.width, picture.height), []
        # Readers take a file with an outline for one of outlines alone.
        mixed = any(outlined for *_, outlined in picture.packages)
        for class_name, segmentation, bbox, outlined in picture.packages:
            class_id = classes.index(class_name)
            if not (outlined or mixed):
                lines.append(yolo.line(class_id, None, bbox, *size))
                continue
            pieces = outlines(picture, segmentation)
            if not pieces:  # a mask of specks alone
                pieces = [box_outline(bbox)]
            pieces_joined += len(pieces) > 1
            boxes_outlined += not outlined
            lines.append(yolo.line(class_id, yolo.joined(pieces), bbox, *size))
        (out / "labels" / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines))
    names_of = dict(enumerate(classes))
    data = {"train": "images", "val": "images", "nc": len(classes), "names": names_of}
    (out / "data.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    if pieces_joined:
        notes.append(f"{pieces_joined} packages in several pieces become one outline with bridges of no width")
    if boxes_outlined:
        notes.append(f"{boxes_outlined} boxes become outlines with four corners, since their pictures have outlines, too")
    return [*notes, "train and val in data.yaml name the same pictures; divide them before you train elsewhere"]


def box_outline(bbox):
    x0, y0, x1, y1 = bbox
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def write_voc(pictures, names, out, classes):
    (out / "Annotations").mkdir(parents=True)
    for picture, name in zip(pictures, names):
        objects = [(class_name, bbox) for class_name, _, bbox, _ in picture.packages]
        text = voc.document(name, picture.width, picture.height, objects)
        (out / "Annotations" / name).with_suffix(".xml").write_text(text, "utf-8")
    outlined = sum(p[-1] for picture in pictures for p in picture.packages)
    return [f"{outlined} outlines become boxes, since Pascal VOC has no outlines"] if outlined else []


def write_label_studio(pictures, names, out, classes):
    out.mkdir(parents=True)
    tasks = []
    for number, (picture, name) in enumerate(zip(pictures, names), 1):
        regions = [r for n, package in enumerate(picture.packages, 1) for r in package_regions(n, picture, *package)]
        tasks.append({
            "id": number,
            "data": {"image": LOCAL_FILES + quote(name, safe="")},
            "annotations": [{"id": number, "was_cancelled": False, "result": regions}],
        })
    (out / "label_studio.json").write_text(json.dumps(tasks))
    (out / "label_studio.xml").write_text(label_studio_config(classes), "utf-8")
    return []


def package_regions(number, picture, class_name, segmentation, bbox, outlined):
    size = picture.width, picture.height

    def region(piece, kind, value):
        return {
            "id": f"{number}-{piece}", "from_name": kind, "to_name": "image", "type": f"{kind}labels",
            "original_width": size[0], "original_height": size[1], "image_rotation": 0,
            "value": {**value, f"{kind}labels": [class_name]},
        }

    def percent(flat):
        return [100 * v / side for v, side in zip(flat, size * (len(flat) // 2))]

    if not outlined:
        x0, y0, x1, y1 = percent(bbox)
        return [region(1, "rectangle", {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0})]
    if not isinstance(segmentation, list):
        mask = np.ascontiguousarray(decode_mask(segmentation, picture.height, picture.width))
        return [region(1, "brush", {"format": "rle", "rle": label_studio.packed(mask)})]
    return [
        region(piece, "polygon", {"points": np.reshape(percent(flat), (-1, 2)).tolist(), "closed": True})
        for piece, flat in enumerate(segmentation, 1)
    ]


def label_studio_config(classes):
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    tools = "".join(
        f'  <{kind}Labels name="{kind.lower()}" toName="image">\n{labels}  </{kind}Labels>\n'
        for kind in ("Polygon", "Rectangle", "Brush")
    )
    return f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{tools}</View>\n'


PICTURES_FOLDER = {"voc": "JPEGImages"}
WRITERS = {"coco": write_coco_folder, "yolo": write_yolo, "voc": write_voc, "label-studio": write_label_studio}
