"""The model contract in NumPy: letterbox in, instances out. The reference for other decoders."""

import ast
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime

from . import UserError

PAD_VALUE = 114


class Letterbox(NamedTuple):
    """Where the picture lies in the model's input."""

    scale: float
    width: int
    height: int
    left: int
    top: int


class Instances(NamedTuple):
    """In pixels of the picture; `masks` `[n, h, w]` bool."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray


def fit(width, height, input_width, input_height):
    scale = min(input_width / width, input_height / height)
    new_width, new_height = round(width * scale), round(height * scale)
    left = round((input_width - new_width) / 2 - 0.1)
    top = round((input_height - new_height) / 2 - 0.1)
    return Letterbox(scale, new_width, new_height, left, top)


def letterbox(image, input_width, input_height):
    """`uint8 [1, H, W, 3]` and how it was made."""
    box = fit(image.shape[1], image.shape[0], input_width, input_height)
    canvas = np.full((input_height, input_width, 3), PAD_VALUE, np.uint8)
    resized = image
    if (box.height, box.width) != image.shape[:2]:
        resized = cv2.resize(image, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = resized
    return canvas[None], box


def suppress(boxes, scores, iou_max):
    """Greedy NMS over all classes; returns indices, best first."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        inner = np.clip(high - low, 0, None).prod(1)
        iou = inner / (areas[best] + areas[rest] - inner + 1e-9)
        order = rest[iou <= iou_max]
    return np.array(kept, int)


def decode(output0, output1, box, size, *, score_min, iou_max=0.6, count_max=100):
    """Instances on a picture of `size` (width, height) from the two outputs of the model."""
    width, height = size
    table = output0[0].T
    classes = table.shape[1] - 4 - output1.shape[1]
    best = table[:, 4 : 4 + classes].max(1)
    table, best = table[best >= score_min], best[best >= score_min]
    centre, extent = table[:, :2], table[:, 2:4]
    boxes = np.concatenate((centre - extent / 2, centre + extent / 2), 1)
    kept = suppress(boxes, best, iou_max)[:count_max]
    table, boxes, best = table[kept], boxes[kept], best[kept]
    offset = np.array([box.left, box.top] * 2)
    # The resized picture has whole pixels, so the true scales differ a little per axis.
    ratio = np.array([width / box.width, height / box.height] * 2)
    on_picture = np.clip((boxes - offset) * ratio, 0, [width, height] * 2)
    logits = np.tensordot(table[:, 4 + classes :], output1[0], 1)
    masks = [
        picture_mask(one, edges, box, size) for one, edges in zip(logits, on_picture)
    ]
    masks = np.array(masks, bool).reshape(-1, height, width)
    return Instances(on_picture, best, table[:, 4 : 4 + classes].argmax(1), masks)


def picture_mask(logits, edges, box, size):
    """Logits at stride 4, bilinear to the picture (pixel centres aligned), above 0 in the box."""
    width, height = size
    x0, y0 = np.floor(edges[:2]).astype(int)
    x1, y1 = np.minimum(np.ceil(edges[2:]).astype(int), [width, height])
    mask = np.zeros((height, width), bool)
    if x1 <= x0 or y1 <= y0:
        return mask
    xs = ((np.arange(x0, x1) + 0.5) * box.width / width + box.left) / 4 - 0.5
    ys = ((np.arange(y0, y1) + 0.5) * box.height / height + box.top) / 4 - 0.5
    grid_x, grid_y = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
    values = cv2.remap(
        np.ascontiguousarray(logits, dtype=np.float32), grid_x, grid_y,
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )
    inside_x = (np.arange(x0, x1) + 0.5 >= edges[0]) & (np.arange(x0, x1) + 0.5 < edges[2])
    inside_y = (np.arange(y0, y1) + 0.5 >= edges[1]) & (np.arange(y0, y1) + 0.5 < edges[3])
    mask[y0:y1, x0:x1] = (values > 0) & inside_y[:, None] & inside_x[None]
    return mask


def load_session(path, provider="CPUExecutionProvider", threads=2):
    """Of a model of the contract in which pixels are `uint8`, on the provider that was asked for."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise UserError(f"load model {path}: {str(error).strip()}") from error
    # A provider that is missing is replaced by the CPU, with a warning.
    if session.get_providers()[0] != provider:
        present = ", ".join(onnxruntime.get_available_providers())
        raise UserError(f"load model {path} on {provider}: not installed; there are {present}")
    stated = session.get_inputs()[0]
    if stated.type != "tensor(uint8)" or "names" not in session.get_modelmeta().custom_metadata_map:
        raise UserError(f"load model {path}: it does not take uint8 pixels; name a file that `export` wrote")
    return session


class Model:
    """An exported model on ONNX Runtime's CPU provider."""

    def __init__(self, path, threads=2):
        self.session = load_session(path, threads=threads)
        properties = self.session.get_modelmeta().custom_metadata_map
        self.names = ast.literal_eval(properties["names"])
        self.height, self.width = ast.literal_eval(properties["imgsz"])

    def __call__(self, image, score_min, count_max=100):
        tensor, box = letterbox(image, self.width, self.height)
        outputs = self.session.run(["output0", "output1"], {"images": tensor})
        size = (image.shape[1], image.shape[0])
        return decode(*outputs, box, size, score_min=score_min, count_max=count_max)
