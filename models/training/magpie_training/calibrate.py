"""Scores that mean something: of findings at 0.7, seven in ten are right.

On pictures that nobody learned from, a slope and an offset are fitted to the logits of the scores
and folded into the weights that make them. The order of findings stays the same, so AP does, too.

Each set counts as if it had as many pictures as any other: a large set does not decide alone.
"""

import math
from pathlib import Path
from typing import NamedTuple

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


class Judged(NamedTuple):
    """What a model found in one set."""

    scores: np.ndarray  # of all findings
    right: np.ndarray  # whether each is right
    packages: int  # 0: nothing in these pictures is a package
    pictures: int


def calibrate(model, datasets, out, *, version, precision, empty_max):
    """Writes `out` with calibrated scores and an advised least score; returns the lines of a report."""
    base = read_base(Path(model))
    judged = [judge(model, path) for path in datasets]
    slope, offset = fit(judged)
    judged = [one._replace(scores=moved(one.scores, slope, offset)) for one in judged]
    least = least_score(judged, precision, empty_max)
    net = scaled(read_net(model), slope, offset)
    write(net, model, out, base, version, least)
    packages, pictures = sum(j.packages for j in judged), sum(j.pictures for j in judged)
    return [
        f"{pictures} pictures, {packages} packages; logit = {slope:.3f} * logit + {offset:+.3f}; "
        f"least score {least:.2f} for a precision of {precision:.2f} "
        f"and at most {empty_max:.2f} false findings a picture without packages",
        *table(judged, least),
        f"At {least:.2f}:",
        *(share_of(path, one, least) for path, one in zip(datasets, judged)),
    ]


def judge(model, annotations):
    """Only pictures in which everything is labelled count."""
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
    if not images:
        raise UserError(f"calibrate on {annotations}: in none of its pictures everything is labelled")
    return Judged(np.array(scores), np.array(right, bool), packages, len(images))


def verdicts_of(found, labels, image):
    """For each finding, best first: right, wrong, or `None` on what nobody told apart."""
    if not found:
        return []
    if not labels:
        return [False] * len(found)
    crowd = np.array([bool(a["iscrowd"]) for a in labels])
    outlines = [rle_of(a, image) for a in labels]
    overlaps = coco_mask.iou([f["segmentation"] for f in found], outlines, crowd.astype(int).tolist())
    free = ~crowd
    verdicts = []
    for row in overlaps:
        best = int(np.where(free, row, -1.0).argmax())
        if free[best] and row[best] >= IOU_MIN:
            free[best] = False
            verdicts.append(True)
        else:
            verdicts.append(None if (row[crowd] >= IOU_MIN).any() else False)
    return verdicts


def rle_of(annotation, image):
    shape = annotation["segmentation"]
    if isinstance(shape, dict) and isinstance(shape["counts"], (str, bytes)):
        return shape
    rle = coco_mask.frPyObjects(shape, image["height"], image["width"])
    return coco_mask.merge(rle) if isinstance(rle, list) else rle


def fit(judged):
    """Slope and offset of logistic regression on the logits, by Newton's method."""
    scores, right, weights = together(judged)
    used = scores >= FITTED_SCORE_MIN
    z, y, weights = logit(scores[used]), right[used].astype(float), weights[used]
    if y.sum() < RIGHT_MIN or len(y) - y.sum() < RIGHT_MIN:
        raise UserError(
            f"calibrate: {int(y.sum())} right and {int(len(y) - y.sum())} wrong findings; "
            f"want {RIGHT_MIN} of each: give more pictures"
        )
    weights = weights / weights.mean()
    terms, factors = np.column_stack((z, np.ones_like(z))), np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-terms @ factors))
        hessian = terms.T @ (terms * (weights * p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, terms.T @ (weights * (y - p)))
        factors = factors + step
        if np.abs(step).max() < 1e-9:
            break
    if factors[0] <= 0:
        raise UserError("calibrate: higher scores are no more often right; give other pictures")
    return float(factors[0]), float(factors[1])


def together(judged):
    """Scores and verdicts of several sets, and the weight of each finding: 1 / pictures of its set."""
    scores = np.concatenate([j.scores for j in judged])
    right = np.concatenate([j.right for j in judged]).astype(bool)
    weights = np.concatenate([np.full(len(j.scores), 1 / j.pictures) for j in judged])
    return scores, right, weights


def logit(scores):
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def moved(scores, slope, offset):
    return 1 / (1 + np.exp(-(slope * logit(scores) + offset)))


def least_score(judged, precision, empty_max):
    """The lowest score, in hundredths, from which on findings are right often enough.

    That is asked of the pictures that show packages. Where there are none, every finding is false,
    and their number bounds the score instead: a share would only tell how many such pictures were given.
    """
    labelled = [j for j in judged if j.packages]
    if not labelled:
        raise UserError("calibrate: no picture shows a package; give labelled sets, too")
    for hundredths in range(5, 96):
        limit = hundredths / 100
        quiet = all(false_findings(j, limit) <= empty_max for j in judged if not j.packages)
        if quiet and right_share(labelled, limit) >= precision:
            return limit
    raise UserError(
        f"calibrate: no score reaches a precision of {precision} and {empty_max} false findings "
        "a picture without packages"
    )


def right_share(judged, low, high=2.0):
    """Of the findings with a score from `low` to `high`; not a number where there are none."""
    scores, right, weights = together(judged)
    chosen = (scores >= low) & (scores < high)
    if not chosen.any():
        return math.nan
    return float((weights * right)[chosen].sum() / weights[chosen].sum())


def shown(share):
    return "-" if math.isnan(share) else f"{share:.2f}"


def false_findings(one, limit):
    """A picture."""
    return float(((one.scores >= limit) & ~one.right).sum() / one.pictures)


def table(judged, least):
    labelled, empty = [j for j in judged if j.packages], [j for j in judged if not j.packages]
    packages = sum(j.packages / j.pictures for j in labelled)
    yield (
        "| least score | right | found | wrong findings a picture "
        "| false findings a picture without packages | of findings up to 0.1 above, right |"
    )
    yield "|---|---|---|---|---|---|"
    for limit in sorted({*SHOWN, least}):
        scores, right, weights = together(labelled)
        found = (weights * right)[scores >= limit].sum() / packages
        wrong = np.mean([false_findings(j, limit) for j in labelled])
        false = f"{np.mean([false_findings(j, limit) for j in empty]):.2f}" if empty else "-"
        yield (
            f"| {limit:.2f} | {shown(right_share(labelled, limit))} | {found:.2f} | {wrong:.2f} "
            f"| {false} | {shown(right_share(labelled, limit, limit + 0.1))} |"
        )


def share_of(path, one, limit):
    """A line on one of the sets."""
    chosen = one.scores >= limit
    hits, count = int((chosen & one.right).sum()), int(chosen.sum())
    return (
        f"- {path}: {hits} of {one.packages} packages found, {count - hits} wrong findings "
        f"in {one.pictures} pictures"
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
