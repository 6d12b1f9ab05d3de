"""Whether a bundle's labels agree with a model that knows packages, and with everybody else's.

What the model is sure of is compared with the labels there: where they lie, and of which type they
are. A model errs, so one bundle is only doubted if it agrees much less than the others do, or if its
labels lie beside the packages, all to the same side. What is doubted is put aside for a person to
look at, never corrected.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

# These limits were chosen by hand; `merge-proof` shows what they find.
CONFIDENT = 0.5
IOU_AGREES, IOU_PAIRED = 0.5, 0.3
# So far a label may lie from a finding, in sizes of the finding, to be compared with it.
REACH = 1.5
FINDINGS_MIN = 12
# A share is much less if it is lower by so much, and so unlikely by chance.
SHARE_LOWER, DEVIATIONS = 0.2, 3.0
SHIFT_MAX, SHIFT_DEVIATIONS = 0.1, 4.0
# A single picture is doubted if so many findings, and none of them, agree.
PICTURE_FINDINGS_MIN = 3


@dataclass(frozen=True)
class Evidence:
    """A confident finding and the label nearest to it."""

    image_id: int
    found: str
    labelled: str  # "" where there is no label in reach
    iou: float
    shift: tuple  # of the label's centre, in sizes of the finding; right and down


def evidence(document, results):
    """Of a COCO document with outlines as runs or polygons, and findings as `evaluate.detect_all` gives them."""
    names = {c["id"]: c["name"] for c in document["categories"]}
    sizes = {i["id"]: (i["height"], i["width"]) for i in document["images"]}
    labels, findings = {}, {}
    for annotation in document["annotations"]:
        labels.setdefault(annotation["image_id"], []).append(annotation)
    for result in results:
        if result["score"] >= CONFIDENT:
            findings.setdefault(result["image_id"], []).append(result)
    found = []
    for image_id, some in findings.items():
        there = labels.get(image_id, [])
        crowd = [bool(a.get("iscrowd")) for a in there]
        truth = [runs(a["segmentation"], *sizes[image_id]) for a in there]
        ious = np.zeros((len(some), 0))
        if there:
            ious = coco_mask.iou([r["segmentation"] for r in some], truth, crowd)
        for result, row in zip(some, np.asarray(ious).reshape(len(some), len(there))):
            if any(overlap >= IOU_AGREES for overlap, hidden in zip(row, crowd) if hidden):
                continue
            found.append(compared(result, [(a, o) for a, o, hidden in zip(there, row, crowd) if not hidden], names))
    return found


def runs(segmentation, height, width):
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def compared(result, labels, names):
    near = [(overlap, -math.hypot(*shift_of(result, a)), a) for a, overlap in labels if resembles(result, a)]
    if not near:
        return Evidence(result["image_id"], result["name"], "", 0.0, (0.0, 0.0))
    overlap, _, label = max(near, key=lambda one: one[:2])
    return Evidence(
        result["image_id"], result["name"], names[label["category_id"]], float(overlap), shift_of(result, label)
    )


def resembles(result, label):
    """In reach, and of a similar size: it may be the label of this package."""
    sizes = [math.sqrt(max(one["bbox"][2] * one["bbox"][3], 1e-9)) for one in (result, label)]
    return math.hypot(*shift_of(result, label)) <= REACH and 0.5 <= sizes[1] / sizes[0] <= 2.0


def shift_of(result, label):
    (x, y, w, h), (x1, y1, w1, h1) = result["bbox"], label["bbox"]
    size = math.sqrt(max(w * h, 1e-9))
    return (x1 + w1 / 2 - x - w / 2) / size, (y1 + h1 / 2 - y - h / 2) / size


@dataclass(frozen=True)
class Share:
    of: int
    agree: int

    @property
    def value(self):
        return self.agree / self.of if self.of else 0.0

    def __add__(self, other):
        return Share(self.of + other.of, self.agree + other.agree)


def places(found):
    return Share(len(found), sum(e.iou >= IOU_AGREES for e in found))


def types(found):
    paired = [e for e in found if e.iou >= IOU_PAIRED]
    return Share(len(paired), sum(e.found == e.labelled for e in paired))


def doubts(bundles):
    """From a bundle's name to why it is doubted; `bundles`: from names to evidence.

    The worst one is put aside before the others are compared again, so that it does not speak for them.
    """
    why = {name: reasons for name, found in bundles.items() if (reasons := shifted(found))}
    rest = {name: found for name, found in bundles.items() if name not in why}
    while len(rest) > 1:
        worst = max(((lower(rest, name), name) for name in rest), key=lambda one: one[0][0])
        (deviations, reason), name = worst
        if not deviations:
            break
        why[name] = [reason]
        rest.pop(name)
    # What else is wrong with a bundle that lies aside already.
    for name in why:
        if rest:
            _, reason = lower({**rest, name: bundles[name]}, name)
            why[name] = list(dict.fromkeys([*why[name], *([reason] if reason else [])]))
    return why


def lower(bundles, name):
    """By how many standard deviations a bundle agrees less than the others, and how; 0 if not much less."""
    worst = 0.0, ""
    for share, what in ((places, "lie where it finds packages"), (types, "have the type that it finds")):
        mine = share(bundles[name])
        others = sum((share(found) for other, found in bundles.items() if other != name), Share(0, 0))
        if mine.of < FINDINGS_MIN or others.of < FINDINGS_MIN or mine.value > others.value - SHARE_LOWER:
            continue
        both = mine + others
        spread = math.sqrt(both.value * (1 - both.value) * (1 / mine.of + 1 / others.of))
        deviations = (others.value - mine.value) / spread if spread else 0.0
        if deviations >= max(DEVIATIONS, worst[0]):
            reason = (
                f"of {mine.of} labels where the base model is sure, {100 * mine.value:.0f} % {what}; "
                f"in the other bundles {100 * others.value:.0f} %"
            )
            worst = deviations, reason + (confusion(bundles[name]) if share is types else "")
    return worst


def confusion(found):
    wrong = Counter((e.found, e.labelled) for e in found if e.iou >= IOU_PAIRED and e.found != e.labelled)
    return "".join(
        f"; {count} times {labelled} where it finds {name}" for (name, labelled), count in wrong.most_common(2)
    )


def shifted(found):
    """Labels that lie beside their packages, all to the same side: no domain explains that."""
    paired = np.array([e.shift for e in found if e.labelled])
    if len(paired) < FINDINGS_MIN:
        return []
    # Labels of neighbours and of other parts scatter to all sides: the median looks through them.
    middle = np.median(paired, axis=0)
    spread = 1.2533 * 1.4826 * np.median(np.abs(paired - middle), axis=0) / math.sqrt(len(paired))
    away = np.hypot(*middle)
    if away <= SHIFT_MAX or away <= SHIFT_DEVIATIONS * np.hypot(*spread):
        return []
    sides = ("to the left", "to the right"), ("up", "down")
    told = " and ".join(
        f"{100 * abs(v):.0f} % of a package's size {side[int(v > 0)]}"
        for v, side in zip(middle, sides) if abs(v) > SHIFT_MAX / 2
    )
    return [f"its labels lie beside the packages: {told} (median of {len(paired)})"]


def doubtful_pictures(found):
    """Pictures in which the model is sure of several packages, and no label agrees with any of them."""
    by_picture = {}
    for one in found:
        by_picture.setdefault(one.image_id, []).append(one)
    why = {}
    for image_id, some in by_picture.items():
        here, typed = places(some), types(some)
        if here.of >= PICTURE_FINDINGS_MIN and not here.agree:
            why[image_id] = f"none of {here.of} packages that the base model is sure of is labelled there"
        elif typed.of >= PICTURE_FINDINGS_MIN and not typed.agree:
            why[image_id] = f"all {typed.of} packages that the base model is sure of have other types"
    return why
