"""The network: backbone, feature pyramid, one decoupled head per stride, mask prototypes.

Raw outputs (training), for `anchors` = all cells of strides 8, 16, 32 in that order, row-major:
- `distances` `[batch, anchors, 4, BINS]`: logits over left, top, right, bottom in strides
- `scores` `[batch, anchors, classes]`: logits
- `coefficients` `[batch, anchors, 32]`
- `prototypes` `[batch, 32, height / 4, width / 4]`
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .backbone import TAP_CHANNELS, Backbone

STRIDES = (8, 16, 32)
BINS = 16
PROTOTYPES = 32
# The ImageNet weights expect these; measured on the first layer's statistics.
PIXEL_MEAN = 127.0
PIXEL_SCALE = 1.0 / 128.0


class Raw(NamedTuple):
    distances: torch.Tensor
    scores: torch.Tensor
    coefficients: torch.Tensor
    prototypes: torch.Tensor


def conv(c_in, c_out, kernel=1, stride=1, groups=1, act=True):
    layers = [
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))


def separable(c_in, c_out, kernel=5, stride=1):
    return nn.Sequential(conv(c_in, c_in, kernel, stride, c_in, act=False), conv(c_in, c_out))


class Merge(nn.Module):
    """Sums two features of one size and mixes the result."""

    def __init__(self, width):
        super().__init__()
        self.mix = nn.Sequential(separable(width, width), separable(width, width))

    def forward(self, a, b):
        return a + self.mix(a + b)


def double(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Neck(nn.Module):
    """Top-down, then bottom-up; returns strides 4 (for masks), 8, 16, 32."""

    def __init__(self, width):
        super().__init__()
        self.lateral = nn.ModuleList(conv(c, width) for c in TAP_CHANNELS[1:])
        self.lateral4 = conv(TAP_CHANNELS[0], width // 2)
        self.reduce8 = conv(width, width // 2)
        self.merge4 = separable(width // 2, width // 2)
        self.down16, self.down8 = Merge(width), Merge(width)
        self.shrink8 = separable(width, width, 3, 2)
        self.shrink16 = separable(width, width, 3, 2)
        self.up16, self.up32 = Merge(width), Merge(width)

    def forward(self, features):
        c4, c8, c16, c32 = features
        p32 = self.lateral[2](c32)
        p16 = self.down16(self.lateral[1](c16), double(p32))
        p8 = self.down8(self.lateral[0](c8), double(p16))
        n16 = self.up16(p16, self.shrink8(p8))
        n32 = self.up32(p32, self.shrink16(n16))
        p4 = self.merge4(self.lateral4(c4) + double(self.reduce8(p8)))
        return p4, p8, n16, n32


class Head(nn.Module):
    """Scores from one branch; distances and mask coefficients from another."""

    def __init__(self, width, classes, stride):
        super().__init__()
        self.score_branch = nn.Sequential(separable(width, width), separable(width, width))
        self.shape_branch = nn.Sequential(separable(width, width), separable(width, width))
        self.scores = nn.Conv2d(width, classes, 1)
        self.distances = nn.Conv2d(width, 4 * BINS, 1)
        self.coefficients = nn.Conv2d(width, PROTOTYPES, 1)
        # Few cells hold a package: start from a low score, lower where cells are many.
        prior = torch.tensor(5.0 / (640 / stride) ** 2)
        nn.init.constant_(self.scores.bias, float(torch.logit(prior)))

    def forward(self, x):
        shape = self.shape_branch(x)
        outputs = self.distances(shape), self.scores(self.score_branch(x)), self.coefficients(shape)
        return [y.flatten(2).transpose(1, 2) for y in outputs]


class PackageNet(nn.Module):
    """Images `[batch, 3, height, width]`, RGB, 0..255 as float; sides divisible by 32.

    Answers for the cells of `strides` only.
    """

    def __init__(self, classes, width=96, frozen_blocks=3):
        super().__init__()
        self.config = {"classes": list(classes), "width": width}
        self.classes = tuple(classes)
        self.backbone = Backbone(frozen_blocks)
        self.neck = Neck(width)
        self.heads = nn.ModuleList(Head(width, len(classes), stride) for stride in STRIDES)
        self.prototypes = nn.Sequential(
            separable(width // 2, width // 2), nn.Conv2d(width // 2, PROTOTYPES, 1)
        )

    def forward(self, images, strides=STRIDES):
        features = self.backbone((images - PIXEL_MEAN) * PIXEL_SCALE)
        p4, *levels = self.neck(features)
        asked = zip(STRIDES, self.heads, levels)
        parts = [head(level) for stride, head, level in asked if stride in strides]
        distances, scores, coefficients = (torch.cat(p, 1) for p in zip(*parts))
        return Raw(
            distances.unflatten(2, (4, BINS)), scores, coefficients, self.prototypes(p4)
        )


def anchor_points(height, width, device=None, strides=STRIDES):
    """Centres of all cells of `strides` `[anchors, 2]` in input pixels and their strides `[anchors, 1]`."""
    points, of_points = [], []
    for stride in strides:
        ys = (torch.arange(height // stride, device=device) + 0.5) * stride
        xs = (torch.arange(width // stride, device=device) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        level = torch.stack((grid_x, grid_y), -1).reshape(-1, 2)
        points.append(level)
        of_points.append(torch.full((len(level), 1), float(stride), device=device))
    return torch.cat(points), torch.cat(of_points)


def boxes_from_distances(distances, points, strides):
    """`[batch, anchors, 4]` corners in input pixels: the mean over the bins, from the centre."""
    bins = torch.arange(BINS, dtype=distances.dtype, device=distances.device)
    ltrb = (distances.softmax(-1) * bins).sum(-1) * strides
    return torch.cat((points - ltrb[..., :2], points + ltrb[..., 2:]), -1)
