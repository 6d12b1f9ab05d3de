"""A network as one self-contained ONNX file, proven equal to it first; see `deployed`."""

import hashlib
import warnings
from pathlib import Path

import onnx
import onnxruntime
import torch

from . import UserError, deployed
from .weights import fold, net_from_state, read_checkpoint, read_net

OPSET = 18


def export(checkpoint, out, **options):
    """Writes `out` only if ONNX Runtime agrees with PyTorch; returns the differences."""
    out = Path(out)
    partial = out.with_suffix(".part.onnx")
    differences = write(checkpoint, partial, **options)
    for name, value in differences.items():
        allowed = deployed.DIFFERENCE_MAX[name]
        print(f"parity {name}: max abs difference {value:.2e} (allowed {allowed:.0e})")
    if lost := deployed.lost(differences):
        partial.unlink()
        raise UserError(f"export {out}: {lost[0]} of ONNX Runtime and PyTorch differ; not written")
    partial.replace(out)
    height, width = options["size"]
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, input {height}x{width}")
    return differences


def write(checkpoint, out, *, size, version, training_data, score_min, stride=None, notes=()):
    """Writes `out` and returns by how much it differs; `notes`: further metadata, as pairs.

    `checkpoint` may be an exported file: then its network is written for another size.
    """
    height, width = size
    stride = stride or deployed.stride_for(height, width)
    if height % stride or width % stride:
        raise UserError(f"export for an input of {height}x{width}: it is not a multiple of {stride}")
    net, sources = read(Path(checkpoint))
    whole = deployed.Deployed(net, height, width, stride).eval()
    sample = deployed.test_picture(height, width)
    expected = deployed.answers(whole, sample)
    fold(net)
    to_onnx(whole, sample, out)
    properties = {
        "stride": str(stride),
        "magpie.version": version,
        "magpie.layout": "yolo-seg",
        "magpie.training_data": training_data or sources,
        "magpie.score_min": repr(score_min),
        "magpie.sha256_of_checkpoint": hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
        **dict(notes),
    }
    describe(out, net.classes, size, [answer.shape for answer in expected], properties)
    return deployed.differences(out, sample, expected, len(net.classes))


def read(path):
    """The network, and a line on what it learned from."""
    if path.suffix != ".onnx":
        state = read_checkpoint(path)
        return net_from_state(state), ", ".join(s["annotations"] for s in state["recipe"]["sources"])
    properties = {p.key: p.value for p in onnx.load(str(path), load_external_data=False).metadata_props}
    return read_net(path), properties.get("magpie.training_data", "")


def to_onnx(whole, sample, path):
    # The tracer's remarks on what it did not fold; `simplify` folds it, and parity is checked.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace(whole, sample, path)
    simplify(path)


def trace(whole, sample, path):
    torch.onnx.export(
        whole,
        (torch.from_numpy(sample),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["output0", "output1"],
        do_constant_folding=True,
    )


def simplify(path):
    """Constants folded, paddings merged into convolutions: still plain ONNX operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    source = path.read_bytes()
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def describe(path, classes, size, shapes, properties):
    """What readers need to know, in Ultralytics' keys, and our own `properties`."""
    model = onnx.load(str(path))
    common = {
        "task": "segment",
        "names": repr(dict(enumerate(classes))),
        "imgsz": repr(list(size)),
        "batch": "1",
        "license": "Apache-2.0",
        "version": properties["magpie.version"],
        "author": "Magpie",
        "description": "Universal package segmentation",
    }
    state_shapes(model, shapes)
    onnx.helper.set_model_props(model, common | properties)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def state_shapes(model, shapes):
    """Readers size their buffers from the graph, so its outputs must not be left open."""
    for output, shape in zip(model.graph.output, shapes):
        output.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shape))
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
