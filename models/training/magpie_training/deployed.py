"""The network as a model file holds it, and how far a file's answers are from the network's.

Input `images` `uint8 [1, H, W, 3]` BGR; outputs `output0` `[1, 4 + classes + 32, anchors]`
(cx, cy, w, h in input pixels, scores 0..1, mask coefficients) and `output1` `[1, 32, H/4, W/4]`.
"""

import numpy as np
import onnxruntime
import torch
from torch import nn

from .model import anchor_points, boxes_from_distances

# In pixels for boxes, in logits for coefficients and prototypes: what reordered float32 sums
# may differ by. Scores are compared tighter.
DIFFERENCE_MAX = {"boxes": 0.1, "scores": 1e-3, "coefficients": 1e-2, "prototypes": 1e-2}


class Deployed(nn.Module):
    """The network with everything that the contract puts inside the graph."""

    def __init__(self, net, height, width):
        super().__init__()
        self.net = net
        points, strides = anchor_points(height, width)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)

    def forward(self, images):
        rgb = images.to(torch.float32).permute(0, 3, 1, 2).flip(1)
        raw = self.net(rgb)
        corners = boxes_from_distances(raw.distances, self.points, self.strides)
        low, high = corners[..., :2], corners[..., 2:]
        parts = ((low + high) / 2, high - low, raw.scores.sigmoid(), raw.coefficients)
        return torch.cat(parts, -1).transpose(1, 2), raw.prototypes


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
