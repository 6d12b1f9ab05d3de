import json
import os

# Read when OpenMP loads: threads that wait by spinning only disturb each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from magpie_training.merge_proof import make_key
from magpie_training.recipe import Recipe, Source

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """A secret key; its public half lies beside it."""
    return make_key(tmp_path_factory.mktemp("keys") / "ours")


@pytest.fixture
def dataset(tmp_path):
    """Two pictures, 128x96: a bright box with an RLE mask, a polygon, and a bare rectangle."""
    images, annotations = [], []
    for index in range(2):
        picture = np.full((96, 128, 3), 60, np.uint8)
        picture[20:70, 30:90] = (40, 160, 220)
        picture[10:40, 95:120] = (200, 80, 40)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
        images.append({"id": index, "file_name": f"{index}.png", "width": 128, "height": 96})
    mask = np.zeros((96, 128), np.uint8, order="F")
    mask[20:70, 30:90] = 1
    rle = coco_mask.encode(mask)
    rle["counts"] = rle["counts"].decode()
    outline = [30, 20, 90, 20, 90, 70, 30, 70]
    rectangle = [95, 10, 120, 10, 120, 40, 95, 40]
    for image_id, shape in ((0, rle), (1, [outline])):
        annotations.append(annotation(len(annotations) + 1, image_id, [30, 20, 60, 50], shape, "polygon"))
        annotations.append(
            annotation(len(annotations) + 1, image_id, [95, 10, 25, 30], [rectangle], "bbox")
        )
    path = tmp_path / "annotations.json"
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "box"}],
    }
    path.write_text(json.dumps(document))
    return path


def annotation(number, image_id, bbox, segmentation, mask_source):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
        "segmentation": segmentation,
        "mask_source": mask_source,
    }


@pytest.fixture
def recipe(dataset):
    return Recipe(
        sources=(Source(str(dataset), zoom=(0.9, 1.1)),),
        steps=4,
        batch=2,
        sizes_px=(96,),
        width=16,
        warmup_steps=2,
        mosaic_share=0.25,
        paste_share=0.5,
        workers=0,
    )
