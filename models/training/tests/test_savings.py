import json

import numpy as np
import pytest

from magpie_training import UserError, savings
from magpie_training.outline import off, polygons
from magpie_training.savings import Found

WIDTH, HEIGHT = 80, 60


def blob(x, y, radius=12):
    ys, xs = np.mgrid[0.5:HEIGHT, 0.5:WIDTH]
    return (xs - x) ** 2 + (ys - y) ** 2 < radius**2


def found(name, mask):
    return Found(name, polygons(mask, 0.5), HEIGHT, WIDTH)


def test_what_the_program_exported_is_read_by_the_pictures_numbers(tmp_path):
    (tmp_path / "annotations").mkdir()
    (piece,) = polygons(blob(30, 30), 1.0)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [piece.ravel().tolist()]}
    document = {
        "images": [
            {"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for n, name in enumerate(("0001_1.png", "0002_0.png"), 1)
        ],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "box"}],
    }
    (tmp_path / "annotations" / "instances_default.json").write_text(json.dumps(document))
    rows = "0001_1.png,pictures/1.png,0.700,1\n0002_0.png,pictures/0.png,0.200,0\n"
    (tmp_path / "order.csv").write_text("image,picture,unsure,packages\n" + rows)
    first, second = savings.read_export(tmp_path, 2)
    assert first == ([], 0.2) and second[1] == 0.7
    (box,) = second[0]
    assert box.name == "box" and iou(box.mask, blob(30, 30)) > 0.85


def iou(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_without_the_program_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(savings, "find_program", lambda asked: None)
    with pytest.raises(UserError, match="cargo build --release -p magpie"):
        savings.savings("m.onnx", tmp_path / "labels.json")


def test_outlines_follow_pixel_edges_within_the_tolerance():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 20:50] = True
    (square,) = polygons(mask, 1.0)
    assert sorted(map(tuple, square)) == [(20, 10), (20, 30), (50, 10), (50, 30)]
    (exact,), (rough,) = polygons(blob(40, 30, 20), 0.0), polygons(blob(40, 30, 20), 2.0)
    assert len(rough) < len(exact) and off(exact, [rough], 2.1) == 0


def counts(truth, findings):
    return savings.summed(savings.compare(truth, findings, accuracy_px=2.0))


def test_a_perfect_finding_needs_no_work_and_a_missed_package_all_of_it():
    truth = [("box", blob(30, 30))]
    perfect = counts(truth, [found("box", blob(30, 30))])
    assert savings.work(perfect) == 0 and perfect["drawn"] > 3
    missed = counts(truth, [])
    assert savings.work(missed) == missed["drawn"] == perfect["drawn"]


def test_wrong_types_and_wrong_findings_cost_one_action_each():
    findings = [found("item", blob(30, 30)), found("box", blob(65, 45, 8))]
    told = counts([("box", blob(30, 30))], findings)
    assert told["retyped"] == 1 and told["deleted"] == 1 and savings.work(told) == 2


def test_correcting_never_costs_more_than_drawing_anew():
    told = counts([("box", blob(30, 30, 16))], [found("box", blob(38, 30, 16))])
    assert 0 < savings.work(told) <= told["drawn"] + 1
    # One that covers a corner of it only is not worth correcting.
    far = counts([("box", blob(30, 30, 16))], [found("box", blob(44, 44, 16))])
    assert far["deleted"] == 1 and savings.work(far) == far["drawn"] + 1


def test_work_is_told_by_the_true_type_and_a_wrong_finding_by_its_own():
    truth = [("box", blob(20, 30)), ("poly_bag", blob(55, 30))]
    told = savings.compare(truth, [found("box", blob(20, 30)), found("item", blob(70, 50, 8))], accuracy_px=2.0)
    assert savings.work(told["box"]) == 0 and told["box"]["matched"] == 1
    assert savings.work(told["poly_bag"]) == told["poly_bag"]["missed"] == told["poly_bag"]["drawn"]
    assert told["item"]["deleted"] == 1 and told["item"]["packages"] == 0
    assert savings.told(told["box"])["saved_share"] == 1.0 and savings.told(told["item"])["saved_share"] is None


def test_where_not_all_is_labelled_a_finding_without_a_label_costs_nothing(monkeypatch, dataset):
    document = json.loads(dataset.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["mask_source"] == "polygon"]
    other = np.zeros((96, 128), bool)
    other[75:95, 5:25] = True
    findings = [Found("box", polygons(other, 0.5), 96, 128)]
    monkeypatch.setattr(savings, "find_program", lambda asked: "magpie")
    monkeypatch.setattr(savings, "prelabelled", lambda program, model, records, refine: [(findings, 0.5)] * len(records))
    for stated, deleted in (({}, 2), ({"all_polygon": False}, 0), ({"all_polygon": True}, 2)):
        document["images"] = [{**{k: v for k, v in i.items() if k != "all_polygon"}, **stated} for i in document["images"]]
        dataset.write_text(json.dumps(document))
        told = savings.savings("m.onnx", dataset)
        assert told["deleted"] == told["types"]["box"]["deleted"] == deleted, stated


def test_ranks_of_equal_values_are_shared():
    assert savings.ranks([3.0, 1.0, 3.0]) == [1.5, 0.0, 1.5]
