"""Whether the box beside an outline is that outline's.

A contradiction gives away which of COCO's conventions a file does not keep.
`crates/magpie/src/commands/eval/labels/beside.rs` tells the same.
"""

import numpy as np
from pycocotools import mask as coco_mask

# A box that overlaps its outline's by less is not drawn around it.
SAME_IOU_MIN = 0.5
# Read in another way, it is.
MEANT_IOU_MIN = 0.8
# A box may reach this share of the picture beyond it: tools round, and draw past its border.
BEYOND_SHARE_MAX = 0.02


def contradiction(segmentation, edges, outlined, box, width, height):
    """`kind, doubt`: which convention is not kept, or what nobody knows; `box` is as it is read."""
    x, y, x_max, y_max = box
    if not outlined:
        if x_max > (1 + BEYOND_SHARE_MAX) * width or y_max > (1 + BEYOND_SHARE_MAX) * height:
            return "", "its box ends beyond the picture, and is cut there; COCO's is x, y, width, height"
        return "", ""

    def overlap(outline, box):
        return iou(outline, np.clip(box, 0, [width, height] * 2).tolist())

    as_read = overlap(edges, box)
    if as_read >= SAME_IOU_MIN:
        return "", ""
    w, h = x_max - x, y_max - y
    x0, y0, x1, y1 = edges
    readings = [
        (
            edges,
            (x, y, w, h),
            "its box is x_min, y_min, x_max, y_max, by its outline; COCO's is x, y, width, height",
        ),
        (
            edges,
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
            "its box is its centre, width and height, by its outline; COCO's begins at its corner",
        ),
        (
            edges,
            (x * width, y * height, (x + w) * width, (y + h) * height),
            "its box is in shares of the picture, by its outline; COCO's is in pixels",
        ),
        ((y0, x0, y1, x1), box, "its outline is y, x, by its box; COCO's is x, y"),
    ]
    if not isinstance(segmentation, list):
        along = edges_along_rows(segmentation)
        readings.append((along, box, "its runs go along rows, by its box; COCO's go down columns"))
    for outline, box, told in readings:
        if overlap(outline, box) >= MEANT_IOU_MIN:
            return f"{told}; export it again", ""
    return "", f"its box and its outline hardly overlap (IoU {as_read:.2f}); one of them is wrong"


def iou(one, other):
    def area(x0, y0, x1, y1):
        return max(x1 - x0, 0) * max(y1 - y0, 0)

    common = area(max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    union = area(*one) + area(*other) - common
    return common / union if union > 0 else 0


def edges_along_rows(rle):
    """The box around runs that are read along rows instead of down columns."""
    mask = coco_mask.decode(rle)
    rows, columns = np.nonzero(mask.ravel(order="F").reshape(mask.shape))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
