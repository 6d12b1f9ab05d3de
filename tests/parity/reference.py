"""The model contract in plain NumPy: letterbox, box decode, NMS, masks.

    python reference.py golden/decode.json

writes seeded tensors and what must come of them; `decode_parity.rs` compares magpie's own decode
with that. Written for reading, one definition after the other, without regard for speed.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco

PAD_VALUE = 114


class Letterbox:
    """How a camera image sits in the model's input: scaled evenly, centred, padded with grey."""

    def __init__(self, image_size, input_size):
        """Sizes are (width, height)."""
        self.image, self.input = np.array(image_size), np.array(input_size)
        fit = (self.input / self.image).min()
        self.content = np.maximum(np.round(self.image * fit), 1).astype(int)
        # One scale for each axis: rounding the content makes them differ.
        self.scale = self.content / self.image
        # An odd remainder goes to the right and the bottom.
        self.pad = (self.input - self.content) // 2

    def apply(self, bgr):
        content = cv2.resize(bgr, tuple(map(int, self.content)), interpolation=cv2.INTER_LINEAR)
        canvas = np.full((self.input[1], self.input[0], 3), PAD_VALUE, np.uint8)
        (left, top), (width, height) = self.pad, self.content
        canvas[top : top + height, left : left + width] = content
        return canvas

    def corners_to_image(self, corners):
        """`[n, 4]` x_min, y_min, x_max, y_max from input pixels to image pixels, clipped."""
        points = (corners.reshape(-1, 2, 2) - self.pad) / self.scale
        return np.clip(points, 0, self.image).reshape(-1, 4)

    def resampling(self, axis, prototype_count):
        """`[image, prototype]`: row x holds the bilinear weights of image pixel x's centre."""
        size, stride = self.image[axis], self.input[axis] / prototype_count
        in_input = (np.arange(size) + 0.5) * self.content[axis] / size + self.pad[axis]
        position = np.clip(in_input / stride - 0.5, 0, prototype_count - 1)
        weights = np.zeros((size, prototype_count))
        left = np.minimum(np.floor(position).astype(int), prototype_count - 2)
        weights[np.arange(size), left] = 1 - (position - left)
        weights[np.arange(size), left + 1] = position - left
        return weights


def iou(a, b):
    overlap = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    intersection = np.prod(np.maximum(overlap, 0))
    return intersection / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - intersection)


def non_maximum_suppression(corners, scores, iou_max):
    """Indices kept, best first; one class for all."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(iou(corners[i], corners[j]) <= iou_max for j in kept):
            kept.append(int(i))
    return kept


def decode(predictions, prototypes, classes, letterbox, score_min, iou_max):
    """Predictions `[4 + classes + k, anchors]`, prototypes `[k, h, w]` -> list of instances."""
    boxes, scores, coefficients = np.split(predictions.astype(np.float64), [4, 4 + classes])
    (cx, cy, w, h), best = boxes, scores.max(0)
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)
    passing = np.flatnonzero(best >= score_min)
    kept = passing[non_maximum_suppression(corners[passing], best[passing], iou_max)]
    findings = [
        (corners[anchor], float(best[anchor]), int(scores[:, anchor].argmax()), coefficients[:, anchor])
        for anchor in kept
    ]
    return drawn(findings, prototypes, letterbox)


def decode_end_to_end(predictions, prototypes, letterbox, score_min):
    """Predictions `[findings, 6 + k]`, prototypes `[k, h, w]` -> list of instances."""
    best_first = predictions[np.argsort(-predictions[:, 4], kind="stable")]
    findings = [
        (row[:4], float(row[4]), int(row[5]), row[6:]) for row in best_first if row[4] >= score_min
    ]
    return drawn(findings, prototypes, letterbox)


def drawn(findings, prototypes, letterbox):
    """Of corners in input pixels, score, class, coefficients; those that show a pixel."""
    rows = letterbox.resampling(1, prototypes.shape[1])
    columns = letterbox.resampling(0, prototypes.shape[2])
    x, y = np.arange(letterbox.image[0]), np.arange(letterbox.image[1])
    instances = []
    for corners, score, class_id, coefficients in findings:
        bbox = letterbox.corners_to_image(corners)[0]
        logits = np.tensordot(coefficients, prototypes.astype(np.float64), 1)
        inside_x = (x >= bbox[0]) & (x < bbox[2])
        inside_y = (y >= bbox[1]) & (y < bbox[3])
        mask = (rows @ logits @ columns.T > 0) & inside_x[None, :] & inside_y[:, None]
        if mask.any():
            coded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            instances.append({
                "class_id": class_id,
                "score": score,
                "bbox_px": [float(v) for v in bbox],
                "mask": coded["counts"].decode(),
            })
    return instances


def seeded_case(name, seed, image_size, input_size, end_to_end=False):
    """Tensors that are whole multiples of 1/256, so that JSON holds them exactly."""
    random = np.random.default_rng(seed)
    classes, coefficients, anchors = 4, 6, 80
    (input_w, input_h), letterbox = input_size, Letterbox(image_size, input_size)
    box_w, box_h = random.uniform(6, 40, (2, anchors))
    cx, cy = random.uniform(0, input_w, anchors), random.uniform(0, input_h, anchors)
    # Distinct scores: no order rests on how ties are broken.
    scores = np.minimum(random.uniform(0, 0.2, (classes, anchors)), 0.2)
    scores[random.integers(0, classes, anchors), np.arange(anchors)] = random.permutation(
        np.linspace(0.22, 0.98, anchors)
    )
    predictions = np.concatenate(
        [[cx, cy, box_w, box_h], scores, random.normal(0, 1, (coefficients, anchors))]
    )
    prototypes = random.normal(0, 1, (coefficients, input_h // 4, input_w // 4))
    # Smoothed: outlines, not noise.
    prototypes = np.stack([cv2.GaussianBlur(p, (0, 0), 1.5) for p in prototypes]) + 0.1
    predictions, prototypes = (np.round(t * 256).astype(int) for t in (predictions, prototypes))
    score_min, iou_max = 0.25, 0.5
    if end_to_end:
        predictions = as_rows(predictions, classes)
        instances = decode_end_to_end(predictions / 256, prototypes / 256, letterbox, score_min)
    else:
        instances = decode(
            predictions / 256, prototypes / 256, classes, letterbox, score_min, iou_max
        )
    assert len(instances) >= 40, len(instances)
    return {
        "name": name,
        "end_to_end": end_to_end,
        "image_size_px": image_size,
        "input_size_px": input_size,
        "classes": classes,
        "score_min": score_min,
        "iou_max": iou_max,
        "predictions_per_256": predictions.tolist(),
        "prototypes_per_256": prototypes.tolist(),
        "instances": instances,
    }


def as_rows(predictions, classes):
    """The same findings as an end-to-end model gives them, and as many empty rows behind."""
    (cx, cy, w, h), scores, coefficients = np.split(predictions, [4, 4 + classes])
    rows = np.concatenate([
        [cx - w // 2, cy - h // 2, cx + w // 2, cy + h // 2],
        [scores.max(0), 256 * scores.argmax(0)],
        coefficients,
    ]).T
    return np.concatenate([rows, np.zeros_like(rows)])


def seeded_picture(seed, image_size, input_size):
    random = np.random.default_rng(seed)
    width, height = image_size
    coarse = random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    bgr = cv2.resize(coarse, image_size, interpolation=cv2.INTER_CUBIC)
    letterboxed = Letterbox(image_size, input_size).apply(bgr)
    return {
        "image_size_px": image_size,
        "input_size_px": input_size,
        "bgr": bgr.tobytes().hex(),
        "letterboxed": letterboxed.tobytes().hex(),
    }


def main():
    golden = {
        "cases": [
            seeded_case("padded above and below", 1, (213, 119), (96, 64)),
            seeded_case("padded left and right", 2, (131, 187), (96, 96)),
            seeded_case("end to end", 5, (187, 131), (96, 96), end_to_end=True),
        ],
        "pictures": [
            seeded_picture(3, (53, 30), (32, 32)),
            seeded_picture(4, (20, 29), (32, 32)),
        ],
    }
    Path(sys.argv[1]).write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
