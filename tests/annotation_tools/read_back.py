"""Reads what `magpie export` wrote by the annotation tools' own libraries.

Prints, as JSON, for each tool the packages it sees: picture, label, and mask as COCO RLE.
What a library refuses ends the script.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

# labelme's reader imports its windows and networks as well; it uses none of them.
for name in ("PyQt5", "imgviz", "imgviz.io", "onnxruntime"):
    sys.modules[name] = mock.MagicMock()

import labelme  # noqa: E402
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402


def seen(picture, label, mask):
    coded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"picture": picture, "label": label, "counts": coded["counts"].decode()}


def by_pycocotools(out):
    coco = COCO(str(out / "annotations" / "instances_default.json"))
    for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=False)):
        picture = coco.imgs[annotation["image_id"]]["file_name"]
        assert (out / "images" / picture).is_file(), picture
        label = coco.cats[annotation["category_id"]]["name"]
        yield seen(picture, label, coco.annToMask(annotation))


def by_labelme(out):
    for path in sorted((out / "labelme").glob("*.json")):
        # Opens the picture, too, and checks its size.
        file = labelme.LabelFile(str(path))
        size = json.loads(path.read_text())
        packages = defaultdict(list)
        for number, shape in enumerate(file.shapes):
            group = shape["group_id"]
            points = [list(point) for point in shape["points"]]
            drawn = labelme.utils.shape_to_mask(
                (size["imageHeight"], size["imageWidth"]), points, shape["shape_type"]
            )
            packages[(group, None) if group is not None else (None, number)].append(
                (shape["label"], drawn)
            )
        for pieces in packages.values():
            (label,) = {label for label, _ in pieces}
            yield seen(file.imagePath, label, np.any([drawn for _, drawn in pieces], axis=0))


def by_label_studio(out):
    interface = LabelInterface((out / "label_studio.xml").read_text())
    for task in json.loads((out / "label_studio.json").read_text()):
        interface.validate_task({"data": task["data"]})
        picture = unquote(task["data"]["image"].rpartition("/")[2])
        packages = defaultdict(list)
        for prediction in task["predictions"]:
            problems = interface.validate_prediction(prediction, return_errors=True)
            assert not problems, problems
            for region in prediction["result"]:
                packages[region["id"].partition("-")[0]].append(region)
        for regions in packages.values():
            width, height = regions[0]["original_width"], regions[0]["original_height"]
            flat = [
                (np.array(region["value"]["points"]) / 100 * (width, height)).ravel().tolist()
                for region in regions
            ]
            mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width)))
            (label,) = {region["value"]["polygonlabels"][0] for region in regions}
            yield seen(picture, label, mask)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.stdout, printed = sys.stderr, sys.stdout  # pycocotools prints as it reads
    tools = {"coco": by_pycocotools, "labelme": by_labelme, "label_studio": by_label_studio}
    print(json.dumps({name: list(read(folder)) for name, read in tools.items()}), file=printed)
