"""The network as a model file holds it, and how far a file's answers are from the network's.

Input `images` `uint8 [1, H, W, 3]` BGR; outputs `output0` `[1, 4 + classes + coefficients, anchors]`
(cx, cy, w, h in input pixels, scores 0..1, mask coefficients) and `output1`
`[1, coefficients, H/4, W/4]`, the prototypes.

The network looks twice: at the input for packages of up to some 300 pixels, and at the input made
half as large for those that fill it; at an input beyond 512 pixels a third time, at a quarter. It
learns at every size, but sees too few packages that large to outline them at once. Each look has prototypes of its own; the coefficients of a package found by
one of them are zero for the other's.
"""

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from .model import PROTOTYPES, STRIDES, anchor_points, boxes_from_distances

# In pixels for boxes, in logits for coefficients and prototypes: what reordered float32 sums
# may differ by. Scores are compared tighter.
DIFFERENCE_MAX = {"boxes": 0.1, "scores": 1e-3, "coefficients": 1e-2, "prototypes": 1e-2}
# By the largest stride in pixels of the input, which a file states as `stride`: how often the input
# is halved for each look, and the strides of the network that answer. Files before 0.8.0 look once.
LOOKS = {
    32: ((0, STRIDES),),
    64: ((0, (8, 16)), (1, (16, 32))),
    128: ((0, (8, 16)), (1, (16,)), (2, (16, 32))),
}
TWO_LOOKS_SIDE_PX_MAX = 512


class Deployed(nn.Module):
    """The network with everything that the contract puts inside the graph."""

    def __init__(self, net, height, width, stride):
        super().__init__()
        self.net = net
        self.looks = LOOKS[stride]
        for halvings, strides in self.looks:
            points, of_points = anchor_points(height >> halvings, width >> halvings, strides=strides)
            self.register_buffer(f"points{halvings}", points)
            self.register_buffer(f"strides{halvings}", of_points)

    def forward(self, images):
        rgb = images.to(torch.float32).permute(0, 3, 1, 2).flip(1)
        tables, prototypes = zip(*(self.look(rgb, index) for index in range(len(self.looks))))
        return torch.cat(tables, 1).transpose(1, 2), torch.cat(prototypes, 1)

    def look(self, rgb, index):
        halvings, strides = self.looks[index]
        scale = 2.0**halvings
        if halvings:
            rgb = F.avg_pool2d(rgb, int(scale))
        raw = self.net(rgb, strides)
        points, of_points = self.get_buffer(f"points{halvings}"), self.get_buffer(f"strides{halvings}")
        corners = boxes_from_distances(raw.distances, points, of_points) * scale
        low, high = corners[..., :2], corners[..., 2:]
        before, after = PROTOTYPES * index, PROTOTYPES * (len(self.looks) - 1 - index)
        coefficients = F.pad(raw.coefficients, (before, after))
        table = torch.cat(((low + high) / 2, high - low, raw.scores.sigmoid(), coefficients), -1)
        prototypes = raw.prototypes
        if halvings:
            prototypes = F.interpolate(prototypes, scale_factor=scale, mode="bilinear", align_corners=False)
        return table, prototypes


def stride_for(height, width):
    """What a file for inputs of this size states: two looks, or three where it is large."""
    return 64 if max(height, width) <= TWO_LOOKS_SIDE_PX_MAX else 128


@torch.no_grad()
def answers(deployed, picture):
    """Both outputs of the network as arrays."""
    return [t.numpy() for t in deployed(torch.from_numpy(picture))]


def test_picture(height, width):
    """Smooth shapes and noise: something the network reacts to, the same every time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((32, 32, 1), np.uint8)).astype(np.int16)
    picture += rng.integers(-8, 9, picture.shape, dtype=np.int16)
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def differences(path, picture, expected, classes):
    """The largest absolute difference of each kind of output between a model file and `expected`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(["output0", "output1"], {"images": picture})
    table = np.abs(got[0] - expected[0])[0]
    return {
        "boxes": float(table[:4].max()),
        "scores": float(table[4 : 4 + classes].max()),
        "coefficients": float(table[4 + classes :].max()),
        "prototypes": float(np.abs(got[1] - expected[1]).max()),
    }


def lost(found):
    """The kinds of output that differ by more than they may."""
    return [name for name, value in found.items() if not value <= DIFFERENCE_MAX[name]]
