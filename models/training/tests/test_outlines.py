import json

import numpy as np
import pytest

from magpie_training import CLASSES, UserError
from magpie_training.__main__ import main
from magpie_training.data import load_coco
from magpie_training.decode import Instances
from magpie_training.outlines import ious, outline


class Finder:
    """Finds the small box of `dataset` a pixel too wide, and something else with a higher score."""

    def __init__(self, _path):
        self.boxes = np.array([[40.0, 50, 60, 60], [94, 10, 120, 40]])

    def __call__(self, image, score_min):
        assert score_min == 0.3
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, 50:60, 40:60] = masks[1, 12:40, 95:120] = True
        return Instances(self.boxes, np.array([0.9, 0.5]), np.zeros(2, int), masks)


def test_a_rectangle_takes_the_outline_of_the_finding_with_its_box(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("magpie_training.outlines.Model", Finder)
    out = tmp_path / "elsewhere" / "outlined.json"
    assert outline("model", dataset, out, 0.3, 0.8) == {"rectangles": 2, "outlined": 2}
    sources = [a["mask_source"] for a in json.loads(out.read_text())["annotations"]]
    assert sources == ["polygon", "model", "polygon", "model"]
    records = load_coco(out, CLASSES)
    assert all(r.path.is_file() for r in records)
    drawn = np.reshape(records[0].instances[1].segmentation[0], (-1, 2))
    assert (drawn.min(0).tolist(), drawn.max(0).tolist()) == ([95, 12], [120, 40])


def test_what_no_finding_covers_stays_a_rectangle(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("magpie_training.outlines.Model", Finder)
    out = tmp_path / "outlined.json"
    assert outline("model", dataset, out, 0.3, 0.99)["outlined"] == 0
    assert load_coco(out, CLASSES)[0].instances[1].segmentation is None


def test_boxes_overlap_as_their_areas_say():
    box = np.array([0.0, 0, 2, 2])
    assert ious(box, np.array([[0.0, 0, 2, 1], [3, 3, 4, 4]])).tolist() == pytest.approx([0.5, 0])
    assert ious(box, np.empty((0, 4))).shape == (0,)


def test_labels_are_not_written_over(dataset, capsys):
    assert main(["outlines", "model.onnx", str(dataset), "--out", str(dataset)]) == 1
    assert "would replace the labels" in capsys.readouterr().err


def test_the_file_of_outlines_refuses_what_is_no_coco_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        outline("model", tmp_path / "none.json", tmp_path / "out.json", 0.3, 0.8)
