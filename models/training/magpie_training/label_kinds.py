"""Which format a label file has, and who reads it."""

from . import label_studio, yolo
from .label_formats import read_coco, read_cvat, read_json, read_labelme
from .label_studio import read_label_studio
from .voc import read_voc
from .yolo import read_yolo

DAMAGED = "damaged"
SUFFIXES = (".json", ".xml", ".yaml", ".yml")
READERS = {
    "coco": read_coco,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "yolo": read_yolo,
    "voc": read_voc,
    "label-studio": read_label_studio,
}


def kind_of(path):
    """One of `READERS`; another format's name, `DAMAGED`, or `None` for no labels at all."""
    suffix = path.suffix.lower()
    if suffix == ".xml":
        start = path.read_bytes()[:4096]
        if b"<annotations" in start:
            return "cvat"
        return "voc" if b"<annotation" in start else None
    if suffix in (".yaml", ".yml"):
        return "yolo" if yolo.is_data(path) else None
    try:
        document = read_json(path)
    except (ValueError, RecursionError):
        return DAMAGED if suffix == ".json" else None
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(first, dict):
        if "data" in first:
            return label_studio.kind_of_tasks(document)
        if "annotation_id" in first or "lead_time" in first:
            return "Label Studio's JSON_MIN"
        return "COCO results without pictures" if "image_id" in first else None
    if not isinstance(document, dict):
        return None
    if "images" in document and "annotations" in document:
        return "coco"
    if "_via_img_metadata" in document:
        return "VIA"
    return "labelme" if "shapes" in document and "imagePath" in document else None
