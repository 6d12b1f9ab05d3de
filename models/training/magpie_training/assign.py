"""Task-aligned assignment: each package is learned by the cells that already predict it best."""

import torch

TOP_CELLS = 10
SCORE_POWER = 0.5
IOU_POWER = 6.0
# How far the sides of a package may be from a cell that learns it, in strides; the cells of the
# largest stride learn all that are larger. A box cannot reach beyond `BINS - 1` strides, and the
# cells of a smaller stride, which see little of a large package, would cut it there.
REACH_STRIDES = 10.0


def pairwise_iou(a, b):
    """`[..., n, 4]` and `[..., m, 4]` to `[..., n, m]`."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    inner = (high - low).clamp_(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return inner / (area_a[..., :, None] + area_b[..., None, :] - inner + 1e-7)


@torch.no_grad()
def assign(scores, boxes, points, strides, target_boxes, target_classes):
    """Which target each cell learns and how strongly.

    `scores` are probabilities `[batch, anchors, classes]`, `boxes` `[batch, anchors, 4]`, `points`
    `[anchors, 2]` and `strides` `[anchors, 1]` as `anchor_points` gives them.
    Returns `owner` `[batch, anchors]` (-1: background), `strength` `[batch, anchors]`, and
    `overlap` `[batch, anchors]`, the best IoU of a cell's box with any target.
    """
    valid = target_classes >= 0
    iou = pairwise_iou(target_boxes, boxes) * valid[..., None]
    low, high = target_boxes[..., None, :2], target_boxes[..., None, 2:]
    inside = ((points > low) & (points < high)).all(-1) & valid[..., None]
    farthest = torch.maximum(points - low, high - points).amax(-1) / strides.squeeze(-1)
    near = inside & ((farthest < REACH_STRIDES) | (strides.squeeze(-1) == strides.max()))
    # A long, narrow package may hold no cell of the largest stride.
    inside = torch.where(near.any(-1, keepdim=True), near, inside)
    index = target_classes.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1])
    own_score = scores.transpose(1, 2).gather(1, index)
    align = own_score**SCORE_POWER * iou**IOU_POWER * inside
    top = align.topk(min(TOP_CELLS, align.shape[-1]), dim=-1)
    chosen = torch.zeros_like(align).scatter_(-1, top.indices, 1.0) * inside * (align > 1e-12)
    claimed = iou * chosen  # a cell that several want goes to the best overlap
    best_iou, owner = claimed.max(1)
    owned = best_iou > 0
    align = align * chosen
    strongest = align.amax(-1, keepdim=True)
    ceiling = claimed.amax(-1, keepdim=True)
    normal = align / (strongest + 1e-12) * ceiling
    strength = normal.gather(1, owner[:, None]).squeeze(1) * owned
    return torch.where(owned, owner, -1), strength, iou.amax(1)
