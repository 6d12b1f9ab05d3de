"""A checkpoint as one self-contained ONNX file, proven equal to the trained network first.

Input `images` `uint8 [1, H, W, 3]` BGR; outputs `output0` `[1, 4 + classes + 32, anchors]`
(cx, cy, w, h in input pixels, scores 0..1, mask coefficients) and `output1` `[1, 32, H/4, W/4]`.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn.utils import fusion

from . import UserError
from .model import PROTOTYPES, PackageNet, anchor_points, boxes_from_distances
from .train import read_checkpoint

OPSET = 18
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


def load_net(checkpoint):
    state = read_checkpoint(checkpoint)
    config = state["config"]
    net = PackageNet(config["classes"], config["width"])
    net.load_state_dict(state["ema"])
    return net.eval(), state


def fuse(module):
    """Folds every batch normalisation into the convolution before it."""
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, children[1:]):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            fused = fusion.fuse_conv_bn_eval(child, following)
            setattr(module, name, fused)
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fuse(child)


def export(checkpoint, out, *, size, version, training_data, score_min):
    """Writes `out` only if ONNX Runtime agrees with PyTorch; returns the differences."""
    height, width = size
    if height % 32 or width % 32:
        raise UserError(f"export {out}: size {height}x{width} is not a multiple of 32")
    out = Path(out)
    net, state = load_net(checkpoint)
    deployed = Deployed(net, height, width).eval()
    sample = test_picture(height, width)
    with torch.no_grad():
        expected = [t.numpy() for t in deployed(torch.from_numpy(sample))]
    fuse(deployed)
    partial = out.with_suffix(".part.onnx")
    to_onnx(deployed, sample, partial)
    describe(partial, state, checkpoint, size, version, training_data, score_min)
    differences = compare(partial, sample, expected, len(net.classes))
    for name, value in differences.items():
        print(f"parity {name}: max abs difference {value:.2e} (allowed {DIFFERENCE_MAX[name]:.0e})")
    lost = [n for n, v in differences.items() if not v <= DIFFERENCE_MAX[n]]
    if lost:
        partial.unlink()
        raise UserError(f"export {out}: {lost[0]} of ONNX Runtime and PyTorch differ; not written")
    partial.replace(out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, input {height}x{width}")
    return differences


def test_picture(height, width):
    """Smooth shapes and noise: something the network reacts to, the same every time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((32, 32, 1), np.uint8)).astype(np.int16)
    picture += rng.integers(-8, 9, picture.shape, dtype=np.int16)
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def to_onnx(deployed, sample, path):
    torch.onnx.export(
        deployed,
        (torch.from_numpy(sample),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["output0", "output1"],
        do_constant_folding=True,
    )
    simplify(path)


def simplify(path):
    """Constants folded, paddings merged into convolutions: still plain ONNX operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    source = path.read_bytes()
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def describe(path, state, checkpoint, size, version, training_data, score_min):
    model = onnx.load(str(path))
    names = {i: name for i, name in enumerate(state["config"]["classes"])}
    sources = ", ".join(s["annotations"] for s in state["recipe"]["sources"])
    properties = {
        "task": "segment",
        "names": repr(names),
        "imgsz": repr(list(size)),
        "stride": "32",
        "batch": "1",
        "license": "Apache-2.0",
        "version": version,
        "author": "Magpie",
        "description": "Universal package segmentation",
        "magpie.version": version,
        "magpie.layout": "yolo-seg",
        "magpie.training_data": training_data or sources,
        "magpie.score_min": repr(score_min),
        "magpie.sha256_of_checkpoint": hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
    }
    state_shapes(model, size, len(names))
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def state_shapes(model, size, classes):
    """Readers size their buffers from the graph, so its outputs must not be left open."""
    height, width = size
    anchors = len(anchor_points(height, width)[0])
    shapes = {
        "output0": (1, 4 + classes + PROTOTYPES, anchors),
        "output1": (1, PROTOTYPES, height // 4, width // 4),
    }
    for output in model.graph.output:
        stated = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shapes[output.name])
        output.type.CopyFrom(stated)
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def compare(path, sample, expected, classes):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(["output0", "output1"], {"images": sample})
    table = np.abs(got[0] - expected[0])[0]
    return {
        "boxes": float(table[:4].max()),
        "scores": float(table[4 : 4 + classes].max()),
        "coefficients": float(table[4 + classes :].max()),
        "prototypes": float(np.abs(got[1] - expected[1]).max()),
    }
