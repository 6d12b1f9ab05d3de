"""What pre-labels save: points to draw from nothing, against actions to correct the model's."""

import csv
import json
import statistics
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from . import CLASSES, UserError
from .data import decode_mask, load_coco, read_document
from .judge import find_program, run_program
from .outline import off, polygons

IOU_MIN = 0.5
COUNTS = ("packages", "drawn", "corrected", "deleted", "retyped", "missed", "matched")


@dataclass
class Found:
    """A package as `magpie export` outlines it; `pieces`: polygons `[points, 2]`."""

    name: str
    pieces: list
    height: int
    width: int

    @cached_property
    def mask(self):
        return decode_mask([piece.ravel().tolist() for piece in self.pieces], self.height, self.width)


def savings(model, annotations, *, magpie=None, accuracy_px=3.0, limit=0, refine=None):
    """Counts over all outlined packages of a dataset, and by the true type; `refine`: as for `magpie export`.

    To draw: the fewest points that stay within `accuracy_px` of the true outline.
    To correct a finding: points farther off than that are moved to where the true outline has
    corners that it lacks; what is left over on either side is deleted or added.
    A type is changed, a wrong finding deleted, by one action; what was missed is drawn.
    """
    program = find_program(magpie)
    if program is None:
        raise UserError("run magpie: build it (cargo build --release -p magpie) or say --magpie PATH")
    annotations = Path(annotations)
    records = load_coco(annotations, CLASSES)
    if any("all_polygon" in image for image in read_document(annotations, CLASSES)["images"]):
        records = load_coco(annotations, CLASSES, complete=False)
    records = records[: limit or None]
    totals, by_type = dict.fromkeys(COUNTS, 0), {}
    pictures = []
    for record, (found, unsure) in zip(records, prelabelled(program, model, records, refine)):
        truth = [
            (CLASSES[i.class_id], decode_mask(i.segmentation, record.height, record.width))
            for i in record.instances
            if i.segmentation is not None
        ]
        of_types = compare(truth, found, accuracy_px)
        if len(truth) < len(record.instances) or not record.complete:
            for counts in of_types.values():
                counts["deleted"] = 0  # a finding may be right where not all is outlined
        for name, counts in of_types.items():
            add(by_type.setdefault(name, dict.fromkeys(COUNTS, 0)), counts)
        counts = summed(of_types)
        add(totals, counts)
        pictures.append((unsure, work(counts), counts["drawn"]))
    return {
        "model": str(model),
        "refined": refine is not None,
        "pictures": len(records),
        **told(totals),
        "types": {name: told(counts) for name, counts in sorted(by_type.items())},
        "accuracy_px": accuracy_px,
        **order_value(pictures),
    }


def add(totals, counts):
    for name, count in counts.items():
        totals[name] += count


def summed(of_types):
    totals = dict.fromkeys(COUNTS, 0)
    for counts in of_types.values():
        add(totals, counts)
    return totals


def told(counts):
    with_help = work(counts)
    return {
        **counts,
        "points_to_draw": counts["drawn"],
        "actions_to_correct": with_help,
        # Of a type that is only found, and never there, nothing can be saved.
        "saved_share": round(1 - with_help / counts["drawn"], 3) if counts["drawn"] else None,
    }


def prelabelled(program, model, records, refine=None):
    """For each record, what `magpie export` outlines in it, and how unsure it is of it."""
    with tempfile.TemporaryDirectory() as scratch:
        pictures, out = Path(scratch) / "pictures", Path(scratch) / "labels"
        pictures.mkdir()
        for number, record in enumerate(records):
            (pictures / f"{number}{record.path.suffix}").symlink_to(record.path.resolve())
        refined = [f"--refine={Path(refine).resolve()}"] if refine else []
        run_program(program, "export", pictures, "--out", out, "--model", model, "--near-duplicates", *refined)
        return read_export(out, len(records))


def read_export(out, count):
    """By the numbers that the pictures are named by."""
    with open(out / "order.csv", newline="") as file:
        order = {row["image"]: row for row in csv.DictReader(file)}
    unsure = {int(Path(row["picture"]).stem): float(row["unsure"]) for row in order.values()}
    document = json.loads((out / "annotations" / "instances_default.json").read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    images = {i["id"]: i for i in document["images"]}
    found = {number: [] for number in range(count)}
    for annotation in document["annotations"]:
        image = images[annotation["image_id"]]
        pieces = [np.reshape(piece, (-1, 2)) for piece in annotation["segmentation"]]
        number = int(Path(order[image["file_name"]]["picture"]).stem)
        found[number].append(
            Found(names[annotation["category_id"]], pieces, image["height"], image["width"])
        )
    return [(found[number], unsure[number]) for number in range(count)]


def compare(truth, found, accuracy_px):
    """Counts by type; a wrong finding counts for the type that it says."""
    outlines = [polygons(mask, accuracy_px) for _, mask in truth]
    exact = [polygons(mask, 0.0) for _, mask in truth]
    to_draw = [max(3, sum(len(p) for p in pieces)) for pieces in outlines]
    counts = {name: dict.fromkeys(COUNTS, 0) for name in {name for name, _ in truth} | {f.name for f in found}}
    pairs = match([mask for _, mask in truth], [f.mask for f in found])
    for t, (name, _) in enumerate(truth):
        of_type = counts[name]
        of_type["packages"] += 1
        of_type["drawn"] += to_draw[t]
        if t not in pairs:
            of_type["missed"] += to_draw[t]
            continue
        pieces = found[pairs[t]].pieces
        wrong = off(np.concatenate(pieces), exact[t], accuracy_px) if pieces else 0
        lacking = off(np.concatenate(outlines[t]), pieces, accuracy_px) if outlines[t] else 0
        of_type["matched"] += 1
        # Nobody corrects what is quicker to delete and draw.
        of_type["corrected"] += min(max(wrong, lacking), 1 + to_draw[t])
        of_type["retyped"] += name != found[pairs[t]].name
    for f in set(range(len(found))) - set(pairs.values()):
        counts[found[f].name]["deleted"] += 1
    return counts


def match(truth, found):
    """From the index of a true mask to that of the finding it overlaps best, one to one."""
    pairs = []
    for t, mask in enumerate(truth):
        for f, other in enumerate(found):
            inner = np.count_nonzero(mask & other)
            if inner:
                pairs.append((inner / np.count_nonzero(mask | other), t, f))
    matched, taken = {}, set()
    for iou, t, f in sorted(pairs, reverse=True):
        if iou >= IOU_MIN and t not in matched and f not in taken:
            matched[t] = f
            taken.add(f)
    return matched


def work(counts):
    return counts["corrected"] + counts["deleted"] + counts["retyped"] + counts["missed"]


def order_value(pictures):
    """Is the work where the model says it is unsure? Share of it left to do, by halves."""
    labelled = sorted((p for p in pictures if p[2] > 0), key=lambda p: -p[0])
    half = len(labelled) // 2
    shares = [
        round(sum(w for _, w, _ in part) / max(1, sum(d for _, _, d in part)), 3)
        for part in (labelled[:half], labelled[half:])
    ]
    unsure = [p[0] for p in labelled]
    still = [w / d for _, w, d in labelled]
    varied = len(labelled) > 2 and len(set(unsure)) > 1 and len(set(still)) > 1
    rank = statistics.correlation(ranks(unsure), ranks(still)) if varied else None
    return {
        "work_share_of_unsure_half": shares[0],
        "work_share_of_sure_half": shares[1],
        "rank_correlation": None if rank is None else round(rank, 3),
    }


def ranks(values):
    """Positions in rising order; equal values share the mean of theirs."""
    ordered = np.sort(values)
    first, last = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return ((first + last - 1) / 2).tolist()
