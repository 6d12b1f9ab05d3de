"""Predictions drawn on pictures, to be looked at."""

from pathlib import Path

import cv2
import numpy as np

from .data import read_image, write_encoded
from .decode import Model

COLOURS = ((60, 180, 255), (80, 220, 80), (255, 120, 60), (220, 80, 220))


def draw(model_path, images, out, score_min):
    model = Model(model_path)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(images):
        picture = read_image(path)
        found = model(picture, score_min)
        drawn = overlay(picture, found, model.names)
        write_encoded(out / f"{number:03d}_{Path(path).stem}.jpg", drawn)


def overlay(picture, found, names):
    picture = picture.copy()
    for order, (box, score, class_id, mask) in enumerate(zip(*found)):
        colour = np.array(COLOURS[int(class_id) % len(COLOURS)]) * (0.6 + 0.4 * (order % 3) / 2)
        picture[mask] = (0.5 * picture[mask] + 0.5 * colour).astype(np.uint8)
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour.tolist(), 2)
        corner = (int(box[0]) + 3, int(box[1]) + 14)
        label = f"{names[int(class_id)]} {score:.2f}"
        cv2.putText(picture, label, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
    return picture
