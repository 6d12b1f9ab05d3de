"""Scores that mean something: of findings at 0.7, seven in ten are right.

On pictures that nobody learned from, a slope and an offset are fitted to the logits of the scores
and folded into the weights that make them. The order of findings stays the same, so AP does, too.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from pycocotools import mask as coco_mask

from . import UserError, deployed, export
from .evaluate import detect_all
from .finetune import read_base
from .weights import read_net

IOU_MIN = 0.5
# Findings below that are never used, and would outweigh the others.
FITTED_SCORE_MIN = 0.05
RIGHT_MIN = 30
SHOWN = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def calibrate(model, datasets, out, *, version, precision):
    """Writes `out` with calibrated scores and an advised least score; returns the lines of a report."""
    base = read_base(Path(model))
    judged = [judge(model, path) for path in datasets]
    findings, right = (np.concatenate([j[i] for j in judged]) for i in (0, 1))
    packages, pictures = sum(j[2] for j in judged), sum(j[3] for j in judged)
    slope, offset = fit(findings, right)
    scores = moved(findings, slope, offset)
    least = least_score(scores, right, precision)
    net = scaled(read_net(model), slope, offset)
    write(net, model, out, base, version, least)
    return [
        f"{pictures} pictures, {packages} packages; logit = {slope:.3f} * logit + {offset:+.3f}; "
        f"least score {least:.2f} for a precision of {precision:.2f}",
        *table(scores, right, packages, pictures, least),
        f"At {least:.2f}:",
        *(share_of(path, moved(one[0], slope, offset) >= least, one) for path, one in zip(datasets, judged)),
    ]


def judge(model, annotations):
    """Scores of all findings, whether each is right, and how many packages and pictures there are.

    Only pictures in which everything is labelled count.
    """
    document, results = detect_all(model, annotations)
    images = {i["id"]: i for i in document["images"] if i.get("all_polygon", True)}
    scores, right, packages = [], [], 0
    for image_id in images:
        labels = [a for a in document["annotations"] if a["image_id"] == image_id]
        found = sorted((r for r in results if r["image_id"] == image_id), key=lambda r: -r["score"])
        verdicts = verdicts_of(found, labels, images[image_id])
        packages += sum(not a["iscrowd"] for a in labels)
        scores += [f["score"] for f, v in zip(found, verdicts) if v is not None]
        right += [v for v in verdicts if v is not None]
    return np.array(scores), np.array(right, bool), packages, len(images)


def verdicts_of(found, labels, image):
    """For each finding, best first: right, wrong, or `None` on what nobody told apart."""
    if not found:
        return []
    if not labels:
        return [False] * len(found)
    outlines = [rle_of(a, image) for a in labels]
    crowds = [int(a["iscrowd"]) for a in labels]
    overlaps = coco_mask.iou([f["segmentation"] for f in found], outlines, crowds)
    free = np.ones(len(labels), bool)
    verdicts = []
    for row in overlaps:
        row = np.where(free, row, 0.0)
        best = int(row.argmax())
        hit = row[best] >= IOU_MIN
        verdicts.append(None if hit and crowds[best] else bool(hit))
        if hit and not crowds[best]:
            free[best] = False
    return verdicts


def rle_of(annotation, image):
    shape = annotation["segmentation"]
    if isinstance(shape, dict) and isinstance(shape["counts"], (str, bytes)):
        return shape
    rle = coco_mask.frPyObjects(shape, image["height"], image["width"])
    return coco_mask.merge(rle) if isinstance(rle, list) else rle


def fit(scores, right):
    """Slope and offset of logistic regression on the logits, by Newton's method."""
    used = scores >= FITTED_SCORE_MIN
    z, y = logit(scores[used]), right[used].astype(float)
    if y.sum() < RIGHT_MIN or len(y) - y.sum() < RIGHT_MIN:
        raise UserError(
            f"calibrate: {int(y.sum())} right and {int(len(y) - y.sum())} wrong findings; "
            f"want {RIGHT_MIN} of each: give more pictures"
        )
    terms, factors = np.column_stack((z, np.ones_like(z))), np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-terms @ factors))
        hessian = terms.T @ (terms * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, terms.T @ (y - p))
        factors = factors + step
        if np.abs(step).max() < 1e-9:
            break
    if factors[0] <= 0:
        raise UserError("calibrate: higher scores are no more often right; give other pictures")
    return float(factors[0]), float(factors[1])


def logit(scores):
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def moved(scores, slope, offset):
    return 1 / (1 + np.exp(-(slope * logit(scores) + offset)))


def least_score(scores, right, precision):
    """The lowest score, in hundredths, from which on at least so large a share is right."""
    for hundredths in range(5, 96):
        chosen = scores >= hundredths / 100
        if chosen.any() and right[chosen].mean() >= precision:
            return hundredths / 100
    raise UserError(f"calibrate: no score reaches a precision of {precision}")


def table(scores, right, packages, pictures, least):
    yield "| least score | right | found | wrong findings a picture | of findings up to 0.1 above, right |"
    yield "|---|---|---|---|---|"
    for limit in sorted({*SHOWN, least}):
        chosen = scores >= limit
        near = chosen & (scores < limit + 0.1)
        share = f"{right[chosen].mean():.2f}" if chosen.any() else "-"
        shown = f"{right[near].mean():.2f}" if near.any() else "-"
        wrong = (chosen & ~right).sum() / pictures
        yield f"| {limit:.2f} | {share} | {(chosen & right).sum() / max(packages, 1):.2f} | {wrong:.2f} | {shown} |"


def share_of(path, chosen, judged):
    """A line on one of the sets."""
    _, right, packages, pictures = judged
    hits, count = int((chosen & right).sum()), int(chosen.sum())
    return (
        f"- {path}: {hits} of {packages} packages found, {count - hits} wrong findings in {pictures} pictures"
    )


@torch.no_grad()
def scaled(net, slope, offset):
    """The network with its score logits moved, the same for all types and strides."""
    for head in net.heads:
        head.scores.weight *= slope
        head.scores.bias.mul_(slope).add_(offset)
    return net


def write(net, model, out, base, version, least):
    """As `export` does, from a network that is in memory."""
    height, width = base.size
    whole = deployed.Deployed(net, height, width, base.stride).eval()
    sample = deployed.test_picture(height, width)
    expected = deployed.answers(whole, sample)
    partial = Path(out).with_suffix(".part.onnx")
    export.to_onnx(whole, sample, partial)
    properties = {p.key: p.value for p in onnx.load(str(model), load_external_data=False).metadata_props}
    properties |= {"magpie.version": version, "version": version, "magpie.score_min": repr(least)}
    export.describe(partial, net.classes, base.size, [a.shape for a in expected], properties)
    lost = deployed.lost(deployed.differences(partial, sample, expected, len(net.classes)))
    if lost:
        partial.unlink()
        raise UserError(f"calibrate {out}: {lost[0]} of ONNX Runtime and PyTorch differ; not written")
    partial.replace(out)
