"""Outlines: masks as polygons, and how far apart they are."""

import cv2
import numpy as np

# Pieces below this share of a mask are specks, not parts.
PIECE_SHARE_MIN = 0.02


def polygons(mask, tolerance_px):
    """Outlines `[points, 2]` along pixel edges, each within `tolerance_px`; largest first.

    Holes are filled: neither COCO's polygons nor the tools' can have any.
    """
    doubled = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # Pixel j is now 2j and 2j + 1, so its edges j and j + 1 are these, halved upwards.
    edges = sorted(((c + 1) // 2 for c in contours), key=cv2.contourArea, reverse=True)
    area_min = max(1.0, PIECE_SHARE_MIN * np.count_nonzero(mask))
    simple = [cv2.approxPolyDP(e, tolerance_px, closed=True).reshape(-1, 2) for e in edges]
    return [s.astype(float) for s in simple if len(s) >= 3 and cv2.contourArea(s) >= area_min]


def off(points, outlines, distance_px):
    """How many of the points lie farther than `distance_px` from every outline."""
    lines = [np.asarray(o, np.float32).reshape(-1, 1, 2) for o in outlines]
    return sum(
        all(abs(cv2.pointPolygonTest(line, (float(x), float(y)), True)) > distance_px for line in lines)
        for x, y in points
    )


def within(flat, width, height):
    """The part of a polygon `[x, y, x, y, ...]` inside the picture, by Sutherland and Hodgman."""
    corners = list(zip(flat[0::2], flat[1::2], strict=True))
    for axis, edge, sign in ((0, 0.0, 1.0), (0, float(width), -1.0), (1, 0.0, 1.0), (1, float(height), -1.0)):
        kept = []
        for one, other in zip(corners, corners[1:] + corners[:1], strict=True):
            inside = sign * (one[axis] - edge) >= 0
            if inside:
                kept.append(one)
            if inside != (sign * (other[axis] - edge) >= 0):
                share = (edge - one[axis]) / (other[axis] - one[axis])
                across = one[1 - axis] + share * (other[1 - axis] - one[1 - axis])
                kept.append((edge, across) if axis == 0 else (across, edge))
        corners = kept
    return [value for corner in corners for value in corner]
