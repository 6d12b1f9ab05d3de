import numpy as np

from magpie_training import audit
from magpie_training.audit import Evidence


def found(count, *, iou=0.9, labelled="box", shift=(0.0, 0.0), seed=0, found_type="box"):
    noise = np.random.default_rng(seed).normal(0, 0.05, (count, 2))
    return [Evidence(n // 4, found_type, labelled, iou, (shift[0] + x, shift[1] + y)) for n, (x, y) in enumerate(noise)]


def test_bundles_that_agree_as_much_as_the_others_are_not_doubted():
    bundles = {name: found(40, seed=n) + found(8, iou=0.1, seed=n) for n, name in enumerate("abc")}
    assert audit.doubts(bundles) == {}


def test_labels_that_lie_beside_the_packages_are_doubted_whoever_else_there_is():
    (reason,) = audit.doubts({"a": found(40, shift=(0.3, 0.0), iou=0.55)})["a"]
    assert "its labels lie beside the packages: 30 % of a package's size to the right (median of 40)" == reason
    # A few that lie anywhere move no median.
    assert audit.doubts({"a": found(40) + found(10, shift=(1.0, 0.4))}) == {}
    assert audit.doubts({"a": found(6, shift=(0.5, 0.0))}) == {}, "too few to tell"


def test_swapped_types_are_doubted_and_named():
    bundles = {"a": found(40), "b": found(40), "c": found(30, labelled="poly_bag") + found(10)}
    ((name, (reason,)),) = audit.doubts(bundles).items()
    assert name == "c" and "25 % have the type that it finds; in the other bundles 100 %" in reason
    assert "30 times poly_bag where it finds box" in reason


def test_unlabelled_packages_are_doubted():
    bundles = {"a": found(40), "b": found(40), "c": found(20) + found(20, iou=0.0, labelled="")}
    assert list(audit.doubts(bundles)) == ["c"]


def test_one_bad_bundle_does_not_speak_for_another():
    bad = found(100, labelled="item")
    bundles = {"a": found(30), "b": found(30), "c": bad, "d": bad}
    assert sorted(audit.doubts(bundles)) == ["c", "d"]


def test_a_model_that_is_sure_of_little_doubts_nobody():
    assert audit.doubts({"a": found(40), "b": found(5, iou=0.0)}) == {}


def test_pictures_in_which_nothing_agrees_are_named():
    good, bare = found(4), [Evidence(9, "box", "", 0.0, (0.0, 0.0))] * 3
    typed = [Evidence(8, "box", "item", 0.9, (0.0, 0.0))] * 3
    why = audit.doubtful_pictures(good + bare + typed + [Evidence(7, "box", "", 0.0, (0.0, 0.0))])
    assert set(why) == {8, 9}
    assert "none of 3 packages" in why[9] and "all 3 packages that the base model is sure of have other types" in why[8]


def test_findings_are_compared_with_the_nearest_label_and_not_with_crowds():
    def annotation(x, crowd=0):
        return {"image_id": 1, "category_id": 1, "bbox": [x, 10, 20, 20], "iscrowd": crowd,
                "segmentation": [[x, 10, x + 20, 10, x + 20, 30, x, 30]]}

    def finding(x, score=0.8):
        mask = np.zeros((60, 100), np.uint8, order="F")
        mask[10:30, x : x + 20] = 1
        coded = audit.coco_mask.encode(mask)
        return {"image_id": 1, "name": "box", "score": score, "bbox": [x, 10, 20, 20], "segmentation": coded}

    document = {"images": [{"id": 1, "height": 60, "width": 100}], "categories": [{"id": 1, "name": "box"}],
                "annotations": [annotation(10), annotation(70, crowd=1)]}
    (one,) = audit.evidence(document, [finding(15), finding(70), finding(40, score=0.3)])
    assert one.labelled == "box" and one.shift == (-0.25, 0.0) and 0.5 < one.iou < 0.7
    (one,) = audit.evidence({**document, "annotations": []}, [finding(15)])
    assert one.labelled == "" and one.iou == 0
