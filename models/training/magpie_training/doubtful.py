"""Labels that are likely wrong: those that a model disagrees with where it is sure, each with a picture.

Confident learning (Northcutt et al., 2021) in few lines: the model is sure of a type if it scores a finding at least as
high as it scores, in the mean, what is labelled so. What it is sure of and nobody labelled, and what is labelled as
another type, is doubted. A label without any finding is doubted as much as labels of its size are found.
"""

import csv
import math
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from . import UserError
from .audit import runs
from .data import read_image, write_encoded
from .decode import Model
from .labels import read_labels

SCORE_MIN = 0.1
# A finding and a label of one package; between the two it is not clear what was meant.
IOU_SAME, IOU_NEAR = 0.5, 0.2
# Of a finding that nobody labelled, labels of its neighbours cover so much at most.
COVERED_MAX = 0.3
# Without so many labels that the model agrees with, a type has no mean score of its own.
AGREED_MIN, SURE_WITHOUT = 5, 0.6
SURE_MIN = 0.4
# A label is compared with so many others of its size.
NEIGHBOURS = 30
MISSED_MIN = 0.8
KINDS = {"unlabelled": "found, not labelled", "type": "labelled as another type", "not found": "labelled, not found"}
TILE_PX, COLUMNS, ROWS = 240, 5, 4
LABEL_COLOUR, FOUND_COLOUR = (60, 220, 60), (60, 120, 255)


@dataclass(frozen=True)
class Doubt:
    kind: str
    picture: object  # path
    box: tuple  # x_min, y_min, x_max, y_max
    labelled: str
    found: str
    doubt: float  # 0 to 1


@dataclass(frozen=True)
class Compared:
    """A picture's labels and findings, and how they overlap: `ious` `[labels, findings]`."""

    picture: object
    labels: list  # type, box
    found: list  # type, box, score
    ious: np.ndarray
    covered: np.ndarray  # share of each finding that lies on labels and crowds


def doubtful(labels, model, out, *, mapping=None, images=None, count_max=100):
    """Writes `doubtful.csv` and sheets of pictures to a new folder; most doubtful first."""
    if out.exists() and any(out.iterdir()):
        raise UserError(f"write to {out}: the folder is not empty; name another")
    reading = read_labels(labels, mapping, keep_empty=True, images=images)
    network = Model(model)
    compared = [compare(picture, network) for picture in tqdm(reading.pictures, desc="pictures")]
    found = doubts(compared)
    out.mkdir(parents=True, exist_ok=True)
    write_table(found, out / "doubtful.csv")
    sheets = write_sheets(found[:count_max], compared, out)
    counts = [f"{sum(d.kind == kind for d in found)} {told}" for kind, told in KINDS.items()]
    unread = [f"{len(reading.problems)} labels cannot be read; the first is {reading.problems[0]}"] if reading.problems else []
    total = sum(len(one.labels) for one in compared)
    return [
        *unread,
        f"{len(found)} doubts about {total} labels of {len(compared)} pictures: {', '.join(counts)}",
        f"{out / 'doubtful.csv'} lists them; {len(sheets)} sheets show the first {min(count_max, len(found))} "
        "(green: labelled, orange: found)",
    ]


def compare(picture, network):
    image = read_image(picture.path)
    found = network(image, SCORE_MIN)
    size = image.shape[:2]
    truth = [runs(segmentation, *size) for _, segmentation, _, _ in picture.packages]
    crowds = [runs(segmentation, *size) for segmentation, _ in picture.crowds]
    outlined = [is_outlined for *_, is_outlined in picture.packages]
    masks = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in found.masks]
    boxes = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in found.boxes.tolist()]
    ious = overlaps(truth, masks)
    # A rectangle is no outline: it is compared with boxes.
    of_labels = [(x0, y0, x1 - x0, y1 - y0) for _, _, (x0, y0, x1, y1), _ in picture.packages]
    by_box = overlaps(of_labels, boxes)
    ious = np.where(np.reshape(outlined, (-1, 1)), ious, by_box) if outlined else ious
    # Also a finding that holds several packages lies on their labels.
    covered = overlaps(masks, truth + crowds, crowd=True).sum(1)
    return Compared(
        picture.path,
        [(name, tuple(box)) for name, _, box, _ in picture.packages],
        [(network.names[int(c)], tuple(b), float(s)) for b, s, c in zip(found.boxes.tolist(), found.scores, found.class_ids)],
        ious,
        covered,
    )


def overlaps(some, others, crowd=False):
    """IoU `[some, others]` of masks or of boxes; of crowds the share of `some` that lies on them."""
    if not some or not others:
        return np.zeros((len(some), len(others)))
    if isinstance(some[0], tuple):
        some, others = np.array(some, float), np.array(others, float)
    return np.asarray(coco_mask.iou(some, others, [int(crowd)] * len(others)))


def doubts(compared):
    """Of all pictures, most doubtful first."""
    sure = sure_scores(compared)
    found = [doubt for one in compared for doubt in (*unlabelled(one, sure), *mistyped(one, sure))]
    found += not_found(compared)
    return sorted(found, key=lambda d: (-d.doubt, str(d.picture), d.box))


def pairs(one):
    """A label with the finding that overlaps it best, if they are of one package."""
    for at, row in enumerate(one.ious):
        if len(row) and row.max() >= IOU_SAME and one.ious[:, row.argmax()].argmax() == at:
            yield one.labels[at], one.found[int(row.argmax())]


def sure_scores(compared):
    """The mean score of each type where label and finding agree."""
    scores = {}
    for one in compared:
        for (labelled, _), (found, _, score) in pairs(one):
            if labelled == found:
                scores.setdefault(found, []).append(score)
    return {name: max(SURE_MIN, float(np.mean(some))) for name, some in scores.items() if len(some) >= AGREED_MIN}


def unlabelled(one, sure):
    for at, (found, box, score) in enumerate(one.found):
        if one.covered[at] < COVERED_MAX and score >= sure.get(found, SURE_WITHOUT):
            yield Doubt("unlabelled", one.picture, box, "", found, score)


def mistyped(one, sure):
    for (labelled, box), (found, _, score) in pairs(one):
        if labelled != found and score >= sure.get(found, SURE_WITHOUT):
            yield Doubt("type", one.picture, box, labelled, found, score)


def not_found(compared):
    """Labels where nothing is found, although nearly all labels of such a size are."""
    labels = [
        (math.log(max(1.0, (box[2] - box[0]) * (box[3] - box[1]))), bool(row.max(initial=0.0) >= IOU_NEAR), one, name, box)
        for one in compared
        for (name, box), row in zip(one.labels, one.ious)
    ]
    sizes = np.array([size for size, *_ in labels])
    seen = np.array([is_seen for _, is_seen, *_ in labels])
    for at, (size, is_seen, one, name, box) in enumerate(labels):
        if is_seen or len(labels) <= NEIGHBOURS:
            continue
        away = np.abs(sizes - size)
        away[at] = np.inf
        share = float(seen[np.argsort(away, kind="stable")[:NEIGHBOURS]].mean())
        if share >= MISSED_MIN:
            yield Doubt("not found", one.picture, box, name, "", share)


def write_table(found, path):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("picture", "kind", "labelled", "found", "doubt", "x_min", "y_min", "x_max", "y_max"))
        for d in found:
            table.writerow((d.picture, d.kind, d.labelled, d.found, f"{d.doubt:.3f}", *(round(v, 1) for v in d.box)))


def write_sheets(found, compared, out):
    of_picture = {one.picture: one for one in compared}
    paths = []
    for start in range(0, len(found), COLUMNS * ROWS):
        some = [tile(doubt, of_picture[doubt.picture], start + n) for n, doubt in enumerate(found[start : start + COLUMNS * ROWS], 1)]
        blank = np.full_like(some[0], 255)
        some += [blank] * (-len(some) % COLUMNS)
        rows = [np.hstack(some[at : at + COLUMNS]) for at in range(0, len(some), COLUMNS)]
        paths.append(out / f"sheet_{len(paths) + 1:02d}.jpg")
        write_encoded(paths[-1], np.vstack(rows))
    return paths


def tile(doubt, one, number):
    """What is doubted, with as much around it."""
    image = read_image(doubt.picture)
    x0, y0, x1, y1 = doubt.box
    side = 2 * max(x1 - x0, y1 - y0, 16.0)
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    scale = TILE_PX / side
    moved = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
    drawn = cv2.warpAffine(image, moved, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA, borderValue=(90, 90, 90))
    for boxes, colour in (([b for _, b in one.labels], LABEL_COLOUR), ([b for _, b, _ in one.found if b == doubt.box], FOUND_COLOUR)):
        for bx0, by0, bx1, by1 in boxes:
            low, high = ((int(scale * (x - left)), int(scale * (y - top))) for x, y in ((bx0, by0), (bx1, by1)))
            cv2.rectangle(drawn, low, high, colour, 2)
    told = {"unlabelled": f"{doubt.found}, unlabelled", "type": f"{doubt.labelled}: {doubt.found}?", "not found": f"{doubt.labelled}, not found"}
    band = np.full((22, TILE_PX, 3), 255, np.uint8)
    text = f"{number} {told[doubt.kind]} {doubt.doubt:.2f}"
    cv2.putText(band, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([band, drawn])
