"""What the network is asked to do: scores, boxes and masks, as far as the labels are known."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .assign import assign
from .model import BINS, Raw, anchor_points, boxes_from_distances

BOX_GAIN, BIN_GAIN, SCORE_GAIN, MASK_GAIN = 7.5, 1.5, 1.0, 5.0
# Cells that learn masks, per image: enough for every package, and it bounds the cost.
MASK_CELLS_MAX = 48
# An unlabelled place that scores above `DOUBT_LOW` counts less and less, and not at all above
# `DOUBT_HIGH`: where labels are known to be incomplete, it may well be a package.
DOUBT_LOW, DOUBT_HIGH, DOUBT_OVERLAP_MAX = 0.15, 0.4, 0.2


class Losses(NamedTuple):
    total: torch.Tensor
    score: torch.Tensor
    box: torch.Tensor
    bins: torch.Tensor
    mask: torch.Tensor


def compute(raw: Raw, batch, generator=None):
    """All losses of a batch; `generator` draws the cells that learn masks."""
    height, width = batch["image"].shape[-2:]
    points, strides = anchor_points(height, width, raw.scores.device)
    boxes = boxes_from_distances(raw.distances.float(), points, strides)
    probability = raw.scores.detach().float().sigmoid()
    owner, strength, overlap = assign(
        probability, boxes.detach(), points, strides, batch["boxes"], batch["classes"]
    )
    total_strength = strength.sum().clamp(min=1.0)
    score = score_loss(raw.scores.float(), probability, owner, strength, overlap, points, batch)
    score = score / total_strength
    rows, cells = torch.nonzero(owner >= 0, as_tuple=True)
    if len(rows) == 0:
        zero = boxes.sum() * 0 + raw.coefficients.sum() * 0 + raw.prototypes.sum() * 0
        return Losses(SCORE_GAIN * score + zero, score, zero, zero, zero)
    targets = batch["boxes"][rows, owner[rows, cells]]
    weight = strength[rows, cells]
    box = (ciou_loss(boxes[rows, cells], targets) * weight).sum() / total_strength
    ltrb = torch.cat((points[cells] - targets[:, :2], targets[:, 2:] - points[cells]), -1)
    bins = bin_loss(raw.distances[rows, cells].float(), ltrb / strides[cells])
    bins = (bins * weight).sum() / total_strength
    mask = mask_loss(raw, batch, owner, strength, generator)
    total = BOX_GAIN * box + BIN_GAIN * bins + SCORE_GAIN * score + MASK_GAIN * mask
    return Losses(total, score, box, bins, mask)


def score_loss(logits, probability, owner, strength, overlap, points, batch):
    owned = owner >= 0
    classes = batch["classes"].gather(1, owner.clamp(min=0))
    target = torch.zeros_like(logits)
    target.scatter_(-1, classes.clamp(min=0)[..., None], (strength * owned)[..., None])
    xs = (points[:, 0] / 2).long().clamp(max=batch["trusted"].shape[-1] - 1)
    ys = (points[:, 1] / 2).long().clamp(max=batch["trusted"].shape[-2] - 1)
    trusted = batch["trusted"][:, ys, xs]
    certain = ((DOUBT_HIGH - probability) / (DOUBT_HIGH - DOUBT_LOW)).clamp(0, 1)
    doubtful = ~trusted & ~owned & (overlap < DOUBT_OVERLAP_MAX)
    weight = torch.where(doubtful[..., None], certain, 1.0)
    # Background counts by how wrong it is (Zhang et al., "VarifocalNet", for negatives).
    weight = weight * torch.where(target > 0, 1.0, 0.25 + 0.75 * probability)
    return (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum()


def ciou_loss(a, b):
    """1 - IoU, plus the distance of the centres and the difference in proportions."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    size_a, size_b = (a[:, 2:] - a[:, :2]).clamp(min=1e-3), (b[:, 2:] - b[:, :2]).clamp(min=1e-3)
    iou = inner / (size_a.prod(-1) + size_b.prod(-1) - inner + 1e-7)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(-1)
    angle = torch.atan(size_b[:, 0] / size_b[:, 1]) - torch.atan(size_a[:, 0] / size_a[:, 1])
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        alpha = shape / (1 - iou + shape + 1e-7)
    return 1 - iou + apart / (hull.square().sum(-1) + 1e-7) + alpha * shape


def bin_loss(logits, distances):
    """Cross-entropy with the two bins next to the true distance, mean over the four sides."""
    distances = distances.clamp(0, BINS - 1.01)
    left = distances.floor()
    share = distances - left
    log_p = logits.log_softmax(-1)
    at_left = log_p.gather(-1, left.long()[..., None]).squeeze(-1)
    at_right = log_p.gather(-1, left.long()[..., None] + 1).squeeze(-1)
    return -(at_left * (1 - share) + at_right * share).mean(-1)


def mask_loss(raw, batch, owner, strength, generator):
    """Cross-entropy and dice inside the slightly enlarged box, on the prototypes' grid.

    Each image draws some of the cells that own a package with a known outline, evenly over
    its packages: masks of small packages count as much as those of large ones.
    """
    total, weight_sum = raw.prototypes.sum() * 0, 0.0
    for image in range(len(owner)):
        cells = torch.nonzero(owner[image] >= 0).squeeze(1)
        weights = batch["mask_weights"][image, owner[image, cells]]
        cells, weights = cells[weights > 0], weights[weights > 0]
        if len(cells) == 0:
            continue
        if len(cells) > MASK_CELLS_MAX:
            owners = owner[image, cells]
            crowd = torch.bincount(owners)[owners].float()
            draw = torch.multinomial(1 / crowd, MASK_CELLS_MAX, generator=generator)
            cells, weights = cells[draw], weights[draw]
        owners = owner[image, cells]
        per_cell = one_image_masks(
            raw.coefficients[image, cells].float(),
            raw.prototypes[image].float(),
            batch["ids"][image],
            owners,
            batch["boxes"][image, owners],
        )
        total = total + (per_cell * weights).sum()
        weight_sum += float(weights.sum())
    return total / max(weight_sum, 1.0)


def one_image_masks(coefficients, prototypes, ids, owners, boxes):
    channels, height, width = prototypes.shape
    logits = (coefficients @ prototypes.reshape(channels, -1)).reshape(-1, height, width)
    truth = (ids[None] == (owners + 1)[:, None, None]).float()
    truth = F.avg_pool2d(truth[None], 2)[0]
    xs = (torch.arange(width, device=ids.device) + 0.5) * 4
    ys = (torch.arange(height, device=ids.device) + 0.5) * 4
    margin = 4 + 0.1 * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    in_x = (xs > low[:, :1]) & (xs < high[:, :1])
    in_y = (ys > low[:, 1:]) & (ys < high[:, 1:])
    inside = (in_y[:, :, None] & in_x[:, None, :]).float()
    area = inside.sum((1, 2)).clamp(min=1)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * inside).sum((1, 2)) / area
    p = logits.sigmoid() * inside
    overlap = (p * truth).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (p.sum((1, 2)) + (truth * inside).sum((1, 2)) + 1)
    return entropy + 0.5 * dice
