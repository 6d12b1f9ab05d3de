"""COCO scores of an exported model: the developer's judge; `magpie eval` is the final one."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from . import UserError
from .data import read_image, rectangle
from .decode import Model

SCORE_MIN = 0.01


def evaluate(model_path, annotations, class_agnostic=False, limit=0):
    """Boxes against all annotations; masks only against outlined ones (rectangles are ignored)."""
    document, results = detect_all(model_path, annotations, limit)
    if not results:
        raise UserError(f"evaluate {model_path}: it found nothing at all")
    return scores(document, results, class_agnostic)


def detect_all(model_path, annotations, limit=0):
    """The annotations, and everything the model finds on their pictures; `name` is its type."""
    annotations = Path(annotations)
    document = read_dataset(annotations)
    model = Model(model_path)
    if limit:
        document["images"] = document["images"][:limit]
        kept = {i["id"] for i in document["images"]}
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] in kept]
    if not document["images"]:
        raise UserError(f"read annotations {annotations}: no images in it")
    results = []
    for image in tqdm(document["images"], desc="images"):
        path = annotations.parent / image["file_name"]
        picture = read_image(path)
        if picture.shape[:2] != (image["height"], image["width"]):
            drawn, stated = f"{picture.shape[1]}x{picture.shape[0]}", f"{image['width']}x{image['height']}"
            raise UserError(f"read image {path}: it is {drawn}, its annotations say {stated}")
        for box, confidence, class_id, mask in zip(*model(picture, SCORE_MIN)):
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            x0, y0, x1, y1 = (float(v) for v in box)
            results.append(
                {
                    "image_id": image["id"],
                    "name": model.names[int(class_id)],
                    "score": float(confidence),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    return document, results


def read_dataset(path):
    """A COCO file with everything that scoring asks of it."""
    if not path.is_file():
        raise UserError(f"read annotations {path}: no such file")
    try:
        document = json.loads(path.read_text())
        sizes = {i["id"]: (i["file_name"], i["height"], i["width"]) for i in document["images"]}
        names = {c["id"]: c["name"] for c in document["categories"]}
        for annotation in document["annotations"]:
            _, _, w, h = annotation["bbox"]
            annotation.setdefault("iscrowd", 0)
            annotation.setdefault("area", w * h)
            annotation["id"], sizes[annotation["image_id"]], names[annotation["category_id"]]
            if not annotation.get("segmentation"):
                x, y, w, h = annotation["bbox"]
                annotation["segmentation"] = [rectangle((x, y, x + w, y + h))]
                annotation["mask_source"] = "bbox"
            shape = annotation["segmentation"]
            if isinstance(shape, list) and any(len(piece) < 6 or len(piece) % 2 for piece in shape):
                raise ValueError(f"annotation {annotation['id']} has an outline of no corners")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"read annotations {path}: not a COCO file ({error!r})") from error
    return document


def scores(document, results, class_agnostic):
    category_of = {c["name"]: c["id"] for c in document["categories"]}
    fallback = document["categories"][0]["id"] if class_agnostic else None
    placed = [{**r, "category_id": category_of.get(r["name"], fallback)} for r in results]
    # A type that the dataset does not know can be neither right nor wrong there.
    placed = [r for r in placed if r["category_id"] is not None]
    out = {"images": len(document["images"]), "instances": len(document["annotations"])}
    for kind, name in (("segm", "mask"), ("bbox", "bbox")):
        out[name] = score(document, placed, kind, class_agnostic)
    return out


def score(document, results, kind, class_agnostic):
    judge = judged(document, results, kind, class_agnostic)
    if judge is None:
        return {"ap": 0.0, "ap50": 0.0, "ap75": 0.0, "ar": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
        judge.summarize()
    ap, ap50, ap75 = judge.stats[:3]
    out = {"ap": ap, "ap50": ap50, "ap75": ap75, "ar": judge.stats[8]}
    if not class_agnostic:
        precision = judge.eval["precision"][:, :, :, 0, -1]
        names = {c["id"]: c["name"] for c in document["categories"]}
        for index, category in enumerate(judge.params.catIds):
            values = precision[:, :, index]
            if (values > -1).any():
                out[names[category]] = {"ap": values.mean(), "ap50": values[0].mean()}
    return rounded(out)


def judged(document, results, kind, class_agnostic):
    """Which finding matches which label, picture by picture; `None` where nothing is found."""
    if not results:
        return None
    # Numbered anew: pycocotools takes a label with the id 0 for one that nothing matched.
    annotations = [{**a, "id": n} for n, a in enumerate(document["annotations"], 1)]
    for annotation in annotations:
        rectangle = annotation.get("mask_source") == "bbox"
        annotation["iscrowd"] = int(annotation["iscrowd"] or (kind == "segm" and rectangle))
        if annotation["iscrowd"] and isinstance(annotation["segmentation"], list):
            height, width = size_of(document, annotation["image_id"])
            rle = coco_mask.frPyObjects(annotation["segmentation"], height, width)
            annotation["segmentation"] = coco_mask.merge(rle)
    if not class_agnostic:
        annotations += crowds_of_other_types(annotations, document["categories"])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**document, "annotations": annotations}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes([dict(r) for r in results]), kind)
        judge.params.useCats = 0 if class_agnostic else 1
        judge.evaluate()
    return judge


def crowds_of_other_types(annotations, categories):
    """A crowd hides packages of any type: with types, it stands in each category."""
    first_free = 1 + max((a["id"] for a in annotations), default=0)
    copies = [
        {**a, "category_id": c["id"]}
        for a in annotations
        if a["iscrowd"]
        for c in categories
        if c["id"] != a["category_id"]
    ]
    return [{**copy, "id": first_free + n} for n, copy in enumerate(copies)]


def size_of(document, image_id):
    image = next(i for i in document["images"] if i["id"] == image_id)
    return image["height"], image["width"]


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(float(value), 4)
