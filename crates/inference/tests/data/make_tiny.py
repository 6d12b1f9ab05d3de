"""Writes the tiny models of this folder: `python make_tiny.py` (needs `onnx` alone).

Arithmetic, which `tests/session.rs` repeats in Rust, for an image of 64x32 px (width x height):
- `mean(c, s)[i, j]` is the mean of channel `c` (red, green, blue as 0, 1, 2, each 0..1) over the
  cell of `s` x `s` px in row `i` and column `j`;
- prototype `k` is `(k + 1) * mean(k % 3, 4)`;
- prediction `k` is `(k + 1) * mean(k % 3, s)` over the cells of strides 8, 16, 32, row by row;
- end to end, a cell of stride 16 is a row of them, and its class is 0.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

HEIGHT_PX, WIDTH_PX = 32, 64
STRIDES = (8, 16, 32)
ANCHORS = sum((HEIGHT_PX // s) * (WIDTH_PX // s) for s in STRIDES)
NAMES = "{0: 'box', 1: \"driver's parcel\"}"
CHANNELS = 4 + 2 + 32
METADATA = {
    "task": "segment",
    "names": NAMES,
    "imgsz": f"[{HEIGHT_PX}, {WIDTH_PX}]",
    "stride": str(max(STRIDES)),
    "magpie.score_min": "0.3",
}


def mixing_weights(name, channels):
    """A 1x1 convolution that sends channel `k % 3`, times `k + 1`, to output `k`."""
    weights = np.zeros((channels, 3, 1, 1), np.float32)
    for k in range(channels):
        weights[k, k % 3] = k + 1
    return numpy_helper.from_array(weights, name)


def pooled(source, stride, weights, name):
    """Nodes that make `name` from the means over cells of `stride` px."""
    return [
        helper.make_node(
            "AveragePool", [source], [f"mean{stride}"],
            kernel_shape=[stride, stride], strides=[stride, stride],
        ),
        helper.make_node("Conv", [f"mean{stride}", weights], [name], kernel_shape=[1, 1]),
    ]


def bgr8_input():
    nodes = [
        helper.make_node("Cast", ["images"], ["bgr_f32"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bgr_f32", "levels"], ["bgr_unit"]),
        helper.make_node("Transpose", ["bgr_unit"], ["bgr_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["bgr_nchw", "rgb_of_bgr"], ["rgb"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.float32(255.0), "levels"),
        numpy_helper.from_array(np.array([2, 1, 0], np.int64), "rgb_of_bgr"),
    ]
    shape = [1, HEIGHT_PX, WIDTH_PX, 3]
    return helper.make_tensor_value_info("images", TensorProto.UINT8, shape), nodes, constants


def rgb_f32_input():
    shape = [1, 3, HEIGHT_PX, WIDTH_PX]
    info = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    return info, [helper.make_node("Identity", ["images"], ["rgb"])], []


def rgb_f16_input():
    shape = [1, 3, HEIGHT_PX, WIDTH_PX]
    info = helper.make_tensor_value_info("images", TensorProto.FLOAT16, shape)
    return info, [helper.make_node("Cast", ["images"], ["rgb"], to=TensorProto.FLOAT)], []


def with_metadata(nodes, image, outputs, constants):
    graph = helper.make_graph(nodes, "tiny", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA)
    return model


def end_to_end(*, names_the_class):
    image, nodes, constants = rgb_f32_input()
    kept = np.ones(CHANNELS, np.float32)
    kept[5] = 0 if names_the_class else 1
    constants += [
        mixing_weights("to_predictions", CHANNELS),
        mixing_weights("to_prototypes", 32),
        numpy_helper.from_array(kept, "kept"),
        numpy_helper.from_array(np.array([1, CHANNELS, -1], np.int64), "flat"),
    ]
    nodes += pooled("rgb", 4, "to_prototypes", "prototypes")
    nodes += pooled("rgb", 16, "to_predictions", "grid16")
    nodes += [
        helper.make_node("Reshape", ["grid16", "flat"], ["cells16"]),
        helper.make_node("Transpose", ["cells16"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["rows", "kept"], ["predictions"]),
    ]
    rows = (HEIGHT_PX // 16) * (WIDTH_PX // 16)
    shapes = {
        "predictions": [1, rows, CHANNELS],
        "prototypes": [1, 32, HEIGHT_PX // 4, WIDTH_PX // 4],
    }
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    return with_metadata(nodes, image, outputs, constants)


def endless_addend():
    """Nodes that make `addend` by a loop whose condition, taken from the picture, always holds."""
    scalar = lambda name, kind: helper.make_tensor_value_info(name, kind, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on_in"], ["goes_on_out"]),
            helper.make_node("Identity", ["sum_in"], ["sum_out"]),
        ],
        "endless",
        [
            scalar("round", TensorProto.INT64),
            scalar("goes_on_in", TensorProto.BOOL),
            scalar("sum_in", TensorProto.FLOAT),
        ],
        [scalar("goes_on_out", TensorProto.BOOL), scalar("sum_out", TensorProto.FLOAT)],
    )
    return [
        helper.make_node("ReduceMax", ["rgb"], ["brightest"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["brightest", "zero"], ["goes_on"]),
        helper.make_node("Loop", ["", "goes_on", "zero"], ["addend"], body=body),
    ], numpy_helper.from_array(np.float32(0.0), "zero")


def tiny(
    make_input, *, prototypes_first=False, anchors_declared=ANCHORS, addend=0.0,
    element_type=TensorProto.FLOAT, endless=False,
):
    image, nodes, constants = make_input()
    constants += [
        mixing_weights("to_predictions", CHANNELS),
        mixing_weights("to_prototypes", 32),
        numpy_helper.from_array(np.array([1, CHANNELS, -1], np.int64), "flat"),
    ]
    if endless:
        loop, zero = endless_addend()
        nodes += loop
        constants.append(zero)
    else:
        constants.insert(-1, numpy_helper.from_array(np.float32(addend), "addend"))
    half = element_type != TensorProto.FLOAT
    whole = {name: f"{name}_f32" if half else name for name in ("predictions", "prototypes")}
    nodes += pooled("rgb", 4, "to_prototypes", whole["prototypes"])
    for stride in STRIDES:
        nodes += pooled("rgb", stride, "to_predictions", f"grid{stride}")
        nodes.append(helper.make_node("Reshape", [f"grid{stride}", "flat"], [f"cells{stride}"]))
    cells = [f"cells{stride}" for stride in STRIDES]
    nodes.append(helper.make_node("Concat", cells, ["all_cells"], axis=2))
    nodes.append(helper.make_node("Add", ["all_cells", "addend"], [whole["predictions"]]))
    if half:
        nodes += [
            helper.make_node("Cast", [source], [name], to=element_type)
            for name, source in whole.items()
        ]
    outputs = [
        helper.make_tensor_value_info(
            "predictions", element_type, [1, CHANNELS, anchors_declared]
        ),
        helper.make_tensor_value_info(
            "prototypes", element_type, [1, 32, HEIGHT_PX // 4, WIDTH_PX // 4]
        ),
    ]
    if prototypes_first:
        outputs.reverse()
    return with_metadata(nodes, image, outputs, constants)


def main():
    folder = Path(__file__).parent
    models = {
        "tiny_bgr8.onnx": tiny(bgr8_input),
        "tiny_rgb_f32.onnx": tiny(rgb_f32_input, prototypes_first=True),
        # Halves, as a GPU exports them, which only a Cast tells from floats here.
        "tiny_half.onnx": tiny(rgb_f16_input, element_type=TensorProto.FLOAT16),
        "tiny_end_to_end.onnx": end_to_end(names_the_class=True),
        # Its classes are those of blue cells: more than `names` has.
        "tiny_unnamed.onnx": end_to_end(names_the_class=False),
        # Says nothing but numbers that are not numbers.
        "tiny_nan.onnx": tiny(bgr8_input, addend=float("nan")),
        # Never ends.
        "tiny_endless.onnx": tiny(bgr8_input, endless=True),
    }
    for name, model in models.items():
        checker.check_model(model, full_check=True)
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))
    # Declares one stride less than it computes, which the checker would not pass.
    lying = tiny(bgr8_input, anchors_declared=ANCHORS - (HEIGHT_PX // 8) * (WIDTH_PX // 8))
    (folder / "tiny_lying.onnx").write_bytes(lying.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
