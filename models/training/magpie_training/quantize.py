"""INT8 weights and activations for an exported model: static QDQ, convolutions only.

The arithmetic after the network (boxes, scores) stays in float32, and so do the convolutions that
were measured to lose most of what is lost (EXPERIMENTS.md): the first ones, whose channels differ
so much in range that one scale for all of them leaves some with a few steps, and the last ones,
whose outputs are the answer.
"""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from . import CLASSES, UserError
from .data import load_all, read_image
from .decode import letterbox, load_session

# Parts of the names of convolutions' weights.
KEPT_IN_FLOAT = (
    "backbone._conv_stem.", "backbone._blocks.0.", "backbone._blocks.1.",
    ".scores.", ".distances.", ".coefficients.", "net.prototypes.1.",
)
METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}


class Pictures(CalibrationDataReader):
    """The model's input for each picture, one at a time."""

    def __init__(self, paths, name, size):
        self.paths, self.name, self.size = iter(paths), name, size

    def get_next(self):
        path = next(self.paths, None)
        if path is None:
            return None
        height, width = self.size
        return {self.name: letterbox(read_image(path), width, height)[0]}


def quantize(model, datasets, out, *, pictures, method, keep=KEPT_IN_FLOAT):
    """Calibrates on `pictures` of the COCO `datasets`, the same number of each; writes `out`."""
    if pictures < len(datasets):
        raise UserError(f"--pictures {pictures}: {len(datasets)} sets are calibrated on; each gives one at least")
    load_session(model)  # refuses what is no model of ours
    source = onnx.load(str(model))
    stated = source.graph.input[0]
    size = tuple(d.dim_value for d in stated.type.tensor_type.shape.dim[1:3])
    paths = [path for d in datasets for path in pick(d, pictures // len(datasets))]
    out = Path(out)
    partial = out.with_suffix(".part.onnx")
    quantize_static(
        str(model), str(partial), Pictures(paths, stated.name, size),
        quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
        nodes_to_exclude=kept_in_float(source.graph, keep),
        # Without VNNI, sums of two products of 8-bit numbers overflow 16 bits: weights get 7.
        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=METHODS[method],
    )
    describe(partial, source, len(paths))
    partial.replace(out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, calibrated on {len(paths)} pictures")


def kept_in_float(graph, keep):
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return [n.name for n in convolutions if any(part in n.input[1] for part in keep)]


def pick(annotations, count):
    """`count` pictures spread evenly over a dataset."""
    records = load_all(annotations, CLASSES)
    if len(records) < count:
        raise UserError(f"calibrate on {annotations}: it holds {len(records)} pictures, {count} are needed")
    return [records[i].path for i in np.linspace(0, len(records) - 1, count).astype(int)]


def describe(path, source, pictures):
    model = onnx.load(str(path))
    properties = {p.key: p.value for p in source.metadata_props}
    properties["magpie.version"] = properties.get("magpie.version", "0") + "+int8"
    properties["version"] = properties["magpie.version"]
    properties["magpie.quantized"] = f"static QDQ, 7-bit weights, calibrated on {pictures} pictures"
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
