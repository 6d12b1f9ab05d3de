import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from magpie_training import UserError, prelabel, savings
from magpie_training.data import decode_mask
from magpie_training.labels import read_labels
from magpie_training.outline import correctable, off, polygons
from magpie_training.prelabel import Found

WIDTH, HEIGHT = 80, 60


def blob(x, y, radius=12):
    ys, xs = np.mgrid[0.5:HEIGHT, 0.5:WIDTH]
    return (xs - x) ** 2 + (ys - y) ** 2 < radius**2


def halves():
    """One package in two pieces, as if something lay across it."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:50, 10:25] = mask[10:50, 40:60] = True
    return mask


class Seer:
    """A detector whose findings are known."""

    score_min = 0.3

    def __init__(self, findings):
        self.findings = findings

    def __call__(self, path, _image):
        return self.findings[path.stem]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    findings = {
        "sure": [Found("box", 0.95, blob(30, 30))],
        "unsure": [Found("poly_bag", 0.5, halves()), Found("item", 0.25, blob(70, 50, 6))],
        "empty": [],
    }
    for shade, stem in enumerate(findings):
        image = np.full((HEIGHT, WIDTH, 3), 20 * shade, np.uint8)
        cv2.imwrite(str(tmp_path / "in" / f"{stem}.png"), image)
    monkeypatch.setattr(prelabel, "detector", lambda model, magpie: Seer(findings))
    return tmp_path / "in"


@pytest.fixture
def written(folder, tmp_path):
    prelabel.export_labels(folder, tmp_path / "out", model="m.onnx")
    return tmp_path / "out"


def iou(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_the_least_sure_picture_comes_first_in_every_tool(written):
    names = ["0001_empty.png", "0002_unsure.png", "0003_sure.png"]
    assert sorted(p.name for p in (written / "images").iterdir()) == names
    coco = json.loads((written / "annotations/instances_default.json").read_text())
    assert [i["file_name"] for i in coco["images"]] == names
    tasks = json.loads((written / "label_studio.json").read_text())
    scores = [t["predictions"][0]["score"] for t in tasks]
    assert scores == sorted(scores) and scores[0] == 0.0
    assert [t["data"]["image"] for t in tasks] == [f"images/{n}" for n in names]
    assert (written / "order.csv").read_text().splitlines()[1].startswith("0001_empty.png,")


def test_pycocotools_reads_the_masks_back(written):
    coco = COCO(str(written / "annotations/instances_default.json"))
    found = {coco.cats[a["category_id"]]["name"]: a for a in coco.loadAnns(coco.getAnnIds())}
    assert set(found) == {"box", "poly_bag"}, "doubts are ordered by, not drawn"
    assert all(a["iscrowd"] == 0 and isinstance(a["segmentation"], list) for a in found.values())
    assert iou(coco.annToMask(found["box"]) > 0, blob(30, 30)) > 0.9
    assert iou(coco.annToMask(found["poly_bag"]) > 0, halves()) > 0.97


@pytest.mark.parametrize("part", ["annotations/instances_default.json", "labelme"])
def test_finetune_reads_the_labels_back(written, part):
    reading = read_labels(written / part)
    assert reading.problems == []
    packages = {p[0]: p[1] for picture in reading.pictures for p in picture.packages}
    assert iou(decode_mask(packages["box"], HEIGHT, WIDTH), blob(30, 30)) > 0.85
    assert iou(decode_mask(packages["poly_bag"], HEIGHT, WIDTH), halves()) > 0.9


def test_label_studio_gets_percent_of_the_picture_and_its_labels(written):
    tasks = json.loads((written / "label_studio.json").read_text())
    pieces = tasks[1]["predictions"][0]["result"]
    points = np.concatenate([p["value"]["points"] for p in pieces])
    assert points.min(0) == pytest.approx([12.5, 100 / 6], abs=0.01)
    assert points.max(0) == pytest.approx([75.0, 500 / 6], abs=0.01)
    config = (written / "label_studio.xml").read_text()
    assert all(f'value="{p["value"]["polygonlabels"][0]}"' in config for p in pieces)


def test_outlines_follow_pixel_edges_within_the_tolerance():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 20:50] = True
    (square,) = polygons(mask, 1.0)
    assert sorted(map(tuple, square)) == [(20, 10), (20, 30), (50, 10), (50, 30)]
    (exact,), (rough,) = polygons(blob(40, 30, 20), 0.0), polygons(blob(40, 30, 20), 2.0)
    assert len(rough) < len(exact) and off(exact, [rough], 2.1) == 0


def test_outlines_to_correct_have_few_points_whatever_their_size():
    small, large = (blob(40, 30, radius) for radius in (7, 28))
    scaled = np.kron(large, np.ones((8, 8), bool))
    counts = [len(correctable(mask)[0]) for mask in (small, large, scaled)]
    assert max(counts) <= 12 < len(polygons(scaled, 1.5)[0])
    assert off(polygons(scaled, 0.0)[0], correctable(scaled), 0.05 * np.sqrt(scaled.sum()) + 0.1) == 0


def test_folders_that_cannot_be_used_are_named(folder, tmp_path, capsys):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        prelabel.export_labels(tmp_path / "nowhere", tmp_path / "o", model="m.onnx")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="bare: no .jpg, .jpeg, .png in it"):
        prelabel.export_labels(tmp_path / "bare", tmp_path / "o", model="m.onnx")
    with pytest.raises(UserError, match="it is not empty; use another --out"):
        prelabel.export_labels(folder, folder, model="m.onnx")
    (folder / "sure.png").write_bytes(b"not a picture")
    assert len(prelabel.export_labels(folder, tmp_path / "o", model="m.onnx")) == 2
    assert "sure.png does not decode" in capsys.readouterr().out


def counts(truth, found):
    return savings.compare(truth, found, accuracy_px=2.0)


def test_a_perfect_finding_needs_no_work_and_a_missed_package_all_of_it():
    truth = [("box", blob(30, 30))]
    perfect = counts(truth, [Found("box", 0.9, blob(30, 30))])
    assert savings.work(perfect) == 0 and perfect["drawn"] > 3
    missed = counts(truth, [])
    assert savings.work(missed) == missed["drawn"] == perfect["drawn"]


def test_wrong_types_and_wrong_findings_cost_one_action_each():
    found = [Found("item", 0.9, blob(30, 30)), Found("box", 0.5, blob(65, 45, 8))]
    told = counts([("box", blob(30, 30))], found)
    assert told["retyped"] == 1 and told["deleted"] == 1 and savings.work(told) == 2


def test_correcting_never_costs_more_than_drawing_anew():
    told = counts([("box", blob(30, 30, 16))], [Found("box", 0.9, blob(38, 30, 16))])
    assert told["matched"] == 1 or told["deleted"] == 1
    assert 0 < savings.work(told) <= told["drawn"] + 1


def test_ranks_of_equal_values_are_shared():
    assert savings.ranks([3.0, 1.0, 3.0]) == [1.5, 0.0, 1.5]
