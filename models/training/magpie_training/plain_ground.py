"""Outlines of single things photographed on a plain ground, where the ground tells them apart.

It turns photographs taken for another purpose into real examples with masks. An outline found
like this may hold a shadow or miss glass-clear film: only pictures whose outline somebody has
looked at belong in a list. Where it is wrong, the list gives the outline's corners.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from . import CLASSES, UserError
from .data import read_image

BORDER_PX = 10
# CIELAB, lightness 0..100. The ground may be this far from its own smooth fit, and a shadow darker.
GROUND_MAX = (6.0, 2.5, 3.0)
SHADOW_LIGHTNESS_MIN, LIT_LIGHTNESS_MAX, SHADOW_COLOUR_MAX = -8.0, 3.5, (4.0, 4.5)


def smooth_fit(lab, ground):
    """Light that falls off as a polynomial of the second degree, fitted where `ground` is true."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width - 0.5, y / height - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)
    chosen = ground.ravel()
    factors, *_ = np.linalg.lstsq(terms[chosen], lab.reshape(-1, 3)[chosen], rcond=None)
    return (terms @ factors).reshape(lab.shape)


def largest(mask):
    """The largest connected part, without holes; `None` where there is none."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    return max(outlines, key=cv2.contourArea)


def outline(image):
    """The contour `[n, 1, 2]` of the one thing in a BGR picture; `None` where it is not plain."""
    smoothed = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32) / 255
    lab = cv2.cvtColor(smoothed, cv2.COLOR_BGR2LAB)
    border = np.ones(lab.shape[:2], bool)
    border[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    away = np.abs(lab - np.median(lab[border], axis=0))
    ground = border & (away < (18, 6, 8)).all(-1)
    if ground.sum() < 0.75 * border.sum():
        return None
    for _ in range(6):
        away = lab - smooth_fit(lab, ground)
        ground = (np.abs(away) < GROUND_MAX).all(-1)
        if ground.mean() < 0.15:
            return None
    lightness = (away[..., 0] > SHADOW_LIGHTNESS_MIN) & (away[..., 0] < LIT_LIGHTNESS_MAX)
    ground = lightness & (np.abs(away[..., 1:]) < SHADOW_COLOUR_MAX).all(-1)
    mask = cv2.morphologyEx(np.uint8(~ground), cv2.MORPH_CLOSE, np.ones((7, 7)))
    found = largest(mask)
    if found is None:
        return None
    return refined(image, cv2.drawContours(np.zeros_like(mask), [found], -1, 1, -1))


def refined(image, mask):
    """The contour after GrabCut (Rother, Kolmogorov and Blake, 2004) from a first mask."""
    labels = np.where(mask > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(mask, np.ones((15, 15))) > 0] = cv2.GC_FGD
    labels[cv2.dilate(mask, np.ones((25, 25))) == 0] = cv2.GC_BGD
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return None
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, labels, None, *models, 4, cv2.GC_INIT_WITH_MASK)
    return largest(np.uint8((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)))


def read_list(path):
    """Lines of `split class file [x,y ...]`, the file without its ending, corners in pixels."""
    if not Path(path).is_file():
        raise UserError(f"read list {path}: no such file")
    entries = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        corners = parse_corners(words[3:])
        if len(words) < 3 or words[1] not in CLASSES or corners is None:
            known = ", ".join(CLASSES)
            raise UserError(
                f"read list {path}, line {number}: want `split class file`, and where the outline "
                f"is given three corners `x,y` or more around an area; classes: {known}"
            )
        entries.append((*words[:3], corners))
    return entries


def parse_corners(words):
    """`[n, 1, 2]` as OpenCV's contours are, empty where none are given, `None` where they are no outline."""
    try:
        corners = np.array([[float(v) for v in word.split(",")] for word in words], np.float32)
    except ValueError:
        return None
    if not words:
        return corners
    if corners.shape != (len(words), 2) or len(words) < 3 or not cv2.contourArea(corners) >= 1.0:
        return None
    return corners[:, None]


def inside(corners, width, height):
    """Those on the picture's edge moved onto its last pixels; `None` where some lie outside."""
    if (corners < 0).any() or (corners > [width, height]).any():
        return None
    return np.minimum(corners, np.float32([width - 1, height - 1]))


def make(pictures_dir, list_path, out):
    """Writes one COCO dataset for each split of the list; returns their pictures' counts."""
    stored = {p.stem: p for p in Path(pictures_dir).rglob("*.jpg")}
    datasets = {}
    for split, name, stem, corners in read_list(list_path):
        if stem not in stored:
            raise UserError(f"read list {list_path}: no picture {stem}.jpg in {pictures_dir}")
        image = read_image(stored[stem])
        height, width = image.shape[:2]
        contour = inside(corners, width, height) if corners.size else outline(image)
        if contour is None and corners.size:
            raise UserError(f"outline {stored[stem]}: corners outside its {width}x{height} pixels")
        if contour is None:
            raise UserError(
                f"outline {stored[stem]}: its ground is not plain; give its outline's corners, or "
                "take it off the list"
            )
        images, annotations = datasets.setdefault(split, ([], []))
        folder = Path(out) / split
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stored[stem], folder / stored[stem].name)
        number = len(images) + 1
        images.append(
            {"id": number, "file_name": stored[stem].name, "width": width, "height": height}
        )
        # From the middles of pixels to the corners that COCO's coordinates count from.
        points = contour[:, 0] + 0.5
        (x0, y0), (x1, y1) = contour[:, 0].min(0), contour[:, 0].max(0) + 1
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": CLASSES.index(name) + 1,
                "segmentation": [points.ravel().tolist()],
                "bbox": [float(v) for v in (x0, y0, x1 - x0, y1 - y0)],
                "area": float(cv2.contourArea(contour)),
                "iscrowd": 0,
            }
        )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    for split, (images, annotations) in datasets.items():
        document = {"images": images, "annotations": annotations, "categories": categories}
        (Path(out) / split / "annotations.json").write_text(json.dumps(document))
    return {split: len(images) for split, (images, _) in datasets.items()}
