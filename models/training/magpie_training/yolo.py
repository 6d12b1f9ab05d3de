"""YOLO's labels: a `.txt` of lines for each picture, and `data.yaml` with the names.

Read as Ultralytics, Roboflow, CVAT and Label Studio lay them: `train/images` beside
`train/labels`, `images/train` beside `labels/train`, or both in one folder.
A line is `class x y width height` (the box's middle), or `class x y x y x y ...` (an outline);
coordinates are shares of the picture's sides. An empty file says that there is no package.
"""

import math
from pathlib import Path

import yaml

from . import UserError, picture_files
from .label_formats import UPLOADED, Picture, Shape, corners_of, identity

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm"}
SPLITS = ("train", "val", "valid", "test")
# Lists of names, a line each, as other tools write them instead of `data.yaml`.
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
YAML_BYTES_MAX = 1 << 20
# Outlines may reach a little out of the picture; farther away the numbers are no shares.
SHARE_MIN, SHARE_MAX = -1.0, 2.0


def is_data(path):
    """Whether a YAML file names classes and where their pictures lie."""
    if path.stat().st_size > YAML_BYTES_MAX:
        return False
    try:
        document = yaml.safe_load(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError, yaml.YAMLError):
        return path.stem == "data"
    return isinstance(document, dict) and "names" in document and any(key in document for key in ("nc", *SPLITS))


def is_labels(path):
    """A line of a class and four or more numbers up to 1, as YOLO's `.txt` files begin."""
    with open(path, "rb") as file:
        words = file.readline(65536).split()
    try:
        return len(words) >= 5 and all(0 <= float(word) <= 1 for word in words[1:])
    except ValueError:
        return False


def has_labels(folder):
    return any(is_labels(path) for path in sorted(folder.rglob("*.txt")) if path.is_file())


def read_yolo(path, images=None):
    """All pictures of the folder of a `data.yaml`, or of a folder; `images`: where pictures are sought first."""
    folder = path if path.is_dir() else path.parent
    names = class_names(path)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    below = [p for p in files if p.suffix.lower() in PICTURES]
    named_for = by_stem(images)
    shown = {}  # the pictures of each label file
    for picture in below:
        shown.setdefault(label_file(picture, folder), []).append(picture)
    pictures = []
    for label, found in shown.items():
        if not label.is_file():
            pictures += [Picture(str(p), None, p, path=p, labelled=False) for p in found]
        else:
            there = elsewhere(label, named_for)
            pictures.append(read_one(label, there if len(there) == 1 else found, names))
    for label in files:
        if label.suffix.lower() == ".txt" and label not in shown and label.name not in NAME_LISTS:
            if "labels" in label.relative_to(folder).parts[:-1] or is_labels(label):
                pictures.append(read_one(label, elsewhere(label, named_for), names))
    return pictures


def label_file(picture, folder):
    """`labels` stands for the last `images` in its path; where there is none, labels lie beside pictures."""
    parts = list(picture.relative_to(folder).with_suffix(".txt").parts)
    beside = folder.joinpath(*parts)
    at = max((n for n, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if at is None:
        return beside
    parts[at] = "labels"
    there = folder.joinpath(*parts)
    return there if there.is_file() or not beside.is_file() else beside


def by_stem(images):
    """The pictures below a folder, by name without ending."""
    table = {}
    for path in sorted(images.rglob("*")) if images else ():
        if path.suffix.lower() in PICTURES and path.is_file():
            table.setdefault(path.stem, []).append(path)
    return table


def elsewhere(label, named_for):
    return named_for.get(label.stem) or named_for.get(UPLOADED.sub("", label.stem, count=1), [])


def read_one(label, found, names):
    """A picture with its lines; `found` are those that may be meant."""
    if not found:
        return Picture("", None, label, wrong="its picture is missing; put it beside the labels or into images/")
    if len(found) > 1:
        told = " and ".join(sorted(p.name for p in found))
        return Picture("", None, label, wrong=f"{told} share this label file; give each a name of its own")
    picture = Picture(str(found[0]), None, label, path=found[0])
    size = picture_files.shown_size(found[0].read_bytes()) or (1, 1)  # what cannot be read is told later
    try:
        lines = label.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        picture.wrong = "it is no text; export it again"
        return picture
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        name, wrong = named(words[0], names)
        if wrong:
            picture.wrong = f"line {number}: {wrong}"
            return picture
        shape = Shape(name, None, (), f"{label}, line {number} ({name!r})")
        try:
            shape.outline, shape.bbox = placed(words[1:], *size)
        except UserError as error:
            shape.wrong = str(error)
        picture.shapes.append(shape)
    return picture


def named(word, names):
    number = identity(word)  # some write 0.0
    if not number.isdecimal():
        return "", f"{word!r} is no number of a class; export it again"
    number = int(number)
    if names is None:
        return f"class {number}", ""
    if number not in names:
        return "", f"class {number} is not among the {len(names)} names of its data.yaml; add it there"
    return names[number], ""


def placed(words, width, height):
    """`outline, bbox` in pixels."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"cannot be read ({error}); export it again") from error
    odd = next((word for word, v in zip(words, values) if not SHARE_MIN <= v <= SHARE_MAX), None)
    if odd is not None:
        raise UserError(f"{odd} is no share of the picture's side; write numbers from 0 to 1")
    if len(values) == 4:
        x, y, w, h = values
        return None, ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    if len(values) < 6 or len(values) % 2:
        raise UserError(
            f"has {len(values)} numbers after its class; 4 make a box, pairs from 3 points on an outline"
        )
    flat = [v * side for v, side in zip(values, (width, height) * (len(values) // 2))]
    return [flat], corners_of(flat)


def class_names(path):
    """From number to name; `None` where nothing says it."""
    if not path.is_dir():
        return names_of_data(path)
    for folder in (path, *list(path.resolve().parents)[:2]):
        data = [p for p in (folder / "data.yaml", folder / "data.yml") if p.is_file()]
        if data:
            return names_of_data(data[0])
        for listed in (folder / name for name in NAME_LISTS):
            if listed.is_file():
                lines = listed.read_text("utf-8-sig").splitlines()
                # The number of a class is that of its line, whatever stands in others.
                return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    return None


def names_of_data(path):
    try:
        document = yaml.safe_load(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"read labels {path}: no YAML ({told}); export it again") from error
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(isinstance(n, int) for n in names):
        raise UserError(f"read labels {path}: it has no names of classes; write names: [box, poly_bag]")
    if document.get("nc", len(names)) != len(names):
        raise UserError(f"read labels {path}: nc is {document['nc']}, and names has {len(names)}; correct one of them")
    if "kpt_shape" in document:
        raise UserError(
            f"read labels {path}: it has key points (kpt_shape), which would be taken for outlines; export outlines or boxes"
        )
    refuse_elsewhere(path, document)
    return {number: str(name) for number, name in names.items()}


def refuse_elsewhere(path, document):
    """Pictures are read below the file alone: what leads out of its folder is told, not followed."""
    folder = path.parent.resolve()
    start = folder / str(document.get("path") or "")
    for key in SPLITS:
        entries = document.get(key) or []
        for entry in [entries] if isinstance(entries, str) else entries:
            there = Path(str(entry).replace("\\", "/"))
            # Roboflow writes `../train/images` for a folder beside the file.
            inner = folder.joinpath(*(part for part in there.parts if part not in ("..", there.anchor)))
            outer = (start / there).resolve()
            if outer.exists() and not outer.is_relative_to(folder) and not inner.exists():
                raise UserError(
                    f"read labels {path}: {key}: {entry} leads out of {path.parent}; put the file into the "
                    "folder that holds pictures and labels"
                )


def line(class_id, outline, bbox, width, height):
    """One label; `outline`: a flat list, or `None` for a box. Numbers are exact to a thousandth of a pixel."""
    if outline is None:
        x0, y0, x1, y1 = bbox
        values = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
    else:
        values = [v / side for v, side in zip(outline, (width, height) * (len(outline) // 2))]
    return " ".join([str(class_id), *(f"{value:.9g}" for value in values)])


def joined(pieces):
    """One outline that visits all pieces over bridges without width: a line of YOLO's has one outline."""
    whole = list(zip(pieces[0][0::2], pieces[0][1::2]))
    for piece in pieces[1:]:
        points = list(zip(piece[0::2], piece[1::2]))
        pairs = ((math.dist(a, b), i, j) for i, a in enumerate(whole) for j, b in enumerate(points))
        _, i, j = min(pairs)
        whole = [*whole[: i + 1], *points[j:], *points[: j + 1], *whole[i:]]
    return [value for point in whole for value in point]
