"""Real sets divided into pictures to learn from, to check and choose by, and to test on.

Pictures of one recording day or of one series look alike, so whole groups go to one part.
Each part becomes a folder of its own with `annotations.json` and links to its pictures.
"""

import hashlib
import json
import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import CLASSES, UserError, recipe
from .data import read_image, rectangle

PARTS = ("train", "check", "test")


@dataclass(frozen=True)
class RealSet:
    """A COCO file, or a folder of pictures that show no package, and who judges by which group."""

    name: str
    # Who gives the pictures, and what they allow.
    licence: str
    annotations: str = ""
    pictures: str = ""
    # The group of a picture is what this finds in its name (that of its source, where one is known),
    # else its attribute `group`, else its name.
    group_pattern: str = ""
    check: tuple = ()
    test: tuple = ()
    # Of the groups that are not named above, those with the smallest hashes, until so many pictures are reached.
    check_share: float = 0.0
    test_share: float = 0.0
    # A file with the names of pictures that may hold packages nobody labelled.
    incomplete: str = ""
    # A file with lines `NAME x y width height` in pixels: packages that nobody labelled. They become crowds.
    unlabelled: str = ""


def read_division(path):
    """The `[[sets]]` of a TOML file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"read division {path}: no such file")
    try:
        table = tomllib.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"read division {path}: {error}") from error
    entries = table.get("sets", [])
    for entry in entries:
        if not str(entry.get("licence", "")).strip():
            raise UserError(
                f"read division {path}: the set {entry.get('name', '')!r} has no licence note; "
                "say in `licence` who gives the pictures and what they allow"
            )
    sets = [recipe.build(RealSet, entry, path) for entry in entries]
    if not sets:
        raise UserError(f"read division {path}: it names no [[sets]]")
    for one in sets:
        check_set(one, path)
    return sets


def check_set(one, path):
    if bool(one.annotations) == bool(one.pictures):
        raise UserError(f"read division {path}: {one.name} needs either `annotations` or `pictures`")
    twice = sorted(set(one.check) & set(one.test))
    if twice:
        raise UserError(f"read division {path}: {one.name} has the group {twice[0]!r} in check and in test")
    if not 0 <= one.check_share + one.test_share < 1:
        raise UserError(f"read division {path}: {one.name} leaves nothing to learn from")


def divide(data, list_path, out):
    """Writes all parts of all sets; returns the count of pictures of each `NAME/PART`."""
    counts = {}
    for one in read_division(list_path):
        document, folder = read_set(one, Path(data))
        groups = [group_of(image, one) for image in document["images"]]
        part_of = parts(groups, one)
        doubtful = read_names(list_path, one)
        unknown = doubtful - {Path(i["file_name"]).name for i in document["images"]}
        if unknown:
            raise UserError(f"read {one.incomplete}: no picture {sorted(unknown)[0]} in {folder}")
        document["annotations"] += crowds(list_path, one, document)
        for image, group in zip(document["images"], groups):
            image["group"] = f"{one.name}/{group}"
            if doubtful or one.pictures:
                image["all_polygon"] = Path(image["file_name"]).name not in doubtful
        for part in PARTS:
            images = [i for i, g in zip(document["images"], groups) if part_of[g] == part]
            if one.pictures and part != "train":  # what is found there would be called false
                images = [i for i in images if i["all_polygon"]]
            if images:
                write_part({**document, "images": images}, folder, Path(out) / one.name / part)
                counts[f"{one.name}/{part}"] = len(images)
    return counts


def read_set(one, data):
    """Its COCO document, and the folder that its file names start from."""
    if one.annotations:
        path = data / one.annotations
        if not path.is_file():
            raise UserError(f"divide {one.name}: no file {path}")
        return json.loads(path.read_text()), path.parent
    folder = data / one.pictures
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise UserError(f"divide {one.name}: no .jpg in {folder}")
    images = []
    for number, path in enumerate(paths, 1):
        height, width = read_image(path).shape[:2]
        images.append({"id": number, "file_name": path.name, "width": width, "height": height})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    return {"images": images, "annotations": [], "categories": categories}, folder


def group_of(image, one):
    name = Path(image["file_name"]).name
    found = re.search(one.group_pattern, image.get("source_file", name)) if one.group_pattern else None
    return found.group(0) if found else str(image.get("group", name))


def parts(groups, one):
    """The part of each group."""
    missing = sorted((set(one.check) | set(one.test)) - set(groups))
    if missing:
        raise UserError(f"divide {one.name}: it has no group {missing[0]!r}; there are {', '.join(sorted(set(groups))[:20])}")
    part_of = dict.fromkeys(groups, "train") | dict.fromkeys(one.check, "check") | dict.fromkeys(one.test, "test")
    left = sorted(
        (g for g in part_of if part_of[g] == "train"), key=lambda g: hashlib.sha256(g.encode()).hexdigest()
    )
    for part, share in (("test", one.test_share), ("check", one.check_share)):
        taken = 0
        while left and taken + groups.count(left[0]) <= share * len(groups):
            taken += groups.count(left[0])
            part_of[left.pop(0)] = part
    return part_of


def read_names(list_path, one):
    if not one.incomplete:
        return set()
    path = Path(list_path).parent / one.incomplete
    if not path.is_file():
        raise UserError(f"divide {one.name}: no file {path}")
    return {line.split("#")[0].strip() for line in path.read_text().splitlines()} - {""}


def crowds(list_path, one, document):
    """An annotation for each line of `unlabelled`: what is there is neither package nor ground."""
    if not one.unlabelled:
        return []
    path = Path(list_path).parent / one.unlabelled
    if not path.is_file():
        raise UserError(f"divide {one.name}: no file {path}")
    ids = {Path(i["file_name"]).name: i["id"] for i in document["images"]}
    free = 1 + max((a["id"] for a in document["annotations"]), default=0)
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 5 or not all(w.isdecimal() for w in words[1:]):
            raise UserError(f"read {path}, line {number}: want `NAME x y width height`, found {line!r}")
        if words[0] not in ids:
            raise UserError(f"read {path}, line {number}: no picture {words[0]} in {one.name}")
        x, y, w, h = map(int, words[1:])
        found.append({
            "id": free + len(found), "image_id": ids[words[0]], "iscrowd": 1,
            "category_id": document["categories"][0]["id"], "bbox": [x, y, w, h], "area": w * h,
            "segmentation": [rectangle((x, y, x + w, y + h))],
        })
    return found


def write_part(document, source, folder):
    """A COCO folder with links to its pictures; one that was there is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    images = []
    for image in document["images"]:
        name = f"images/{Path(image['file_name']).name}"
        os.symlink((source / image["file_name"]).resolve(), folder / name)
        images.append({**image, "file_name": name})
    kept = {image["id"] for image in images}
    annotations = [a for a in document["annotations"] if a["image_id"] in kept]
    text = json.dumps({**document, "images": images, "annotations": annotations})
    (folder / "annotations.json").write_text(text)


def refuse_shared_groups(pools, origins, held_out):
    """Stops where a picture, or a group of pictures that look alike, is learned from and judged by.

    `pools` are lists of records, read from `origins`; `held_out` are annotation files that judge.
    """
    judges = {}
    for path in held_out:
        for picture, group in pictures_and_groups(path):
            judges[picture] = (path, f"the picture {picture.name}")
            judges[group] = (path, f"the group {group!r}")
    for pool, origin in zip(pools, origins):
        for record in pool:
            for key in (record.group, record.path.resolve()):
                if key and key in judges:
                    path, what = judges[key]
                    raise UserError(
                        f"learn from {origin}: {what} is in it and in {path}, which judges; divide them anew"
                    )


def pictures_and_groups(annotations):
    path = Path(annotations)
    if not path.is_file():
        raise UserError(f"read annotations {path}: no such file")
    try:
        images = json.loads(path.read_text())["images"]
        return [((path.parent / i["file_name"]).resolve(), str(i.get("group", ""))) for i in images]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"read annotations {path}: not a COCO file ({error!r})") from error
