import json
from pathlib import Path

import numpy as np
import pytest

from magpie_training import CLASSES, UserError
from magpie_training.data import draw_ids, load_all, load_coco, read_sample
from magpie_training.loader import Stream, collate
from magpie_training.recipe import parse_recipe, read_recipe


def edited(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_rectangles_have_no_outline_and_outlines_have(dataset):
    for record in load_coco(dataset, CLASSES):
        outlined, rectangle = record.instances
        assert outlined.segmentation is not None
        assert rectangle.segmentation is None


def test_polygons_and_rle_of_the_same_shape_give_the_same_map(dataset):
    first, second = (read_sample(r).ids for r in load_coco(dataset, CLASSES))
    assert first.sum() == 50 * 60
    assert np.mean(first != second) < 0.02


def test_what_several_pieces_of_a_package_cover_is_covered(dataset):
    pieces = [[30, 20, 60, 20, 60, 70, 30, 70], [50, 20, 90, 20, 90, 70, 50, 70]]
    edited(dataset, lambda d: d["annotations"][2].update(segmentation=pieces))
    first, second = (read_sample(r).ids for r in load_coco(dataset, CLASSES))
    assert (first == second).mean() > 0.98 and second[45, 55] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [0, 0, 0, 0]},
        {"iscrowd": "0"},
        {"iscrowd": 1, "attributes": {}},
        {"segmentation": [[[30, 20], [90, 20], [90, 70], [30, 70]]]},
    ],
)
def test_a_package_may_be_written_in_other_ways(dataset, change):
    usual = load_coco(dataset, CLASSES)[1]
    edited(dataset, lambda d: d["annotations"][2].update(change))
    assert load_coco(dataset, CLASSES)[1] == usual


def test_a_mask_whose_box_was_left_at_zero_has_its_own(dataset):
    usual = load_coco(dataset, CLASSES)[0]
    edited(dataset, lambda d: d["annotations"][0].update(bbox=[0, 0, 0, 0]))
    assert load_coco(dataset, CLASSES)[0] == usual


def test_images_are_complete_only_if_the_recipe_or_the_image_says_so(dataset):
    edited(dataset, lambda d: d["images"][1].update(all_polygon=True))
    records = load_coco(dataset, CLASSES, complete=False)
    assert [r.complete for r in records] == [False, True]


def test_polygons_without_area_are_left_out(dataset):
    edited(dataset, lambda d: d["annotations"][2].update(segmentation=[[5, 5, 9, 9, 5, 5]]))
    assert [len(r.instances) for r in load_coco(dataset, CLASSES)] == [2, 1]


def test_rectangles_learn_no_mask_and_outlines_do(recipe):
    item = Stream(recipe)[0]
    for number, weight in enumerate(item["mask_weights"], start=1):
        assert (weight > 0) == bool((item["ids"] == number).any())


def test_items_depend_on_their_number_alone(recipe):
    first, again = Stream(recipe), Stream(recipe)
    again[3]
    for name, value in first[5].items():
        assert (value == again[5][name]).all(), name


def test_boxes_lie_tight_around_their_masks(recipe):
    stream = Stream(recipe)
    for index in range(20):
        item = stream[index]
        for number, box in enumerate(item["boxes"], start=1):
            ys, xs = np.nonzero((item["ids"] == number).numpy())
            if len(xs) == 0:
                continue
            tight = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) * 2
            assert np.abs(tight - box.numpy()).max() <= 3


def test_batches_are_padded_with_class_minus_one(recipe):
    stream = Stream(recipe)
    batch = collate([stream[0], stream[1]])
    counts = [len(stream[i]["classes"]) for i in (0, 1)]
    assert [(row >= 0).sum().item() for row in batch["classes"]] == counts


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update(images=[]), "no images"),
        (lambda d: d.update(annotations=[]), "no annotations"),
        (lambda d: d.pop("categories"), "not a COCO file"),
        (lambda d: d["categories"][0].update(name="crate"), "unknown class 'crate'"),
        (lambda d: d["annotations"][0].pop("bbox"), r"those of image 0.png \(KeyError\('bbox'\)"),
        (lambda d: d["annotations"][0].update(category_id=7), "those of image 0.png"),
        (lambda d: d["annotations"][2].update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "those of image 1.png"),
        (lambda d: d["images"][0].pop("width"), "those of image 0.png"),
        (lambda d: d["annotations"][0].update(image_id="0"), "annotations of image '0', which is not among"),
        (lambda d: d["images"][0].update(width=64), r"a mask of \[96, 128\] in a picture of \[96, 64\]"),
    ],
)
def test_wrong_datasets_are_refused_in_one_line(dataset, change, expected):
    edited(dataset, change)
    with pytest.raises(UserError, match=expected) as caught:
        load_coco(dataset, CLASSES)
    assert str(dataset) in str(caught.value) and "\n" not in str(caught.value)


def test_a_pattern_joins_datasets(dataset):
    copy = dataset.with_name("annotations_too.json")
    copy.write_text(dataset.read_text())
    assert len(load_all(str(dataset.with_name("annotations*.json")), CLASSES)) == 4


def test_a_missing_annotation_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.json: no such file"):
        load_coco(tmp_path / "nowhere.json", CLASSES)


def test_what_lies_on_top_is_what_is_smaller(dataset):
    def stacked(document):
        for number, side in enumerate((60, 90, 30, 60), 1):
            square = [[0, 0, side, 0, side, side, 0, side]]
            document["annotations"][number - 1].update(
                image_id=1, segmentation=square, bbox=[0, 0, side, side], mask_source="polygon"
            )

    edited(dataset, stacked)
    ids = draw_ids(load_coco(dataset, CLASSES)[1])
    # Of two of one size, the later one.
    assert (ids[10, 10], ids[10, 45], ids[10, 75], ids[10, 110]) == (3, 4, 2, 0)


def test_a_full_disk_leaves_no_half_copies(dataset, tmp_path, monkeypatch):
    record, cache = load_coco(dataset, CLASSES)[0], tmp_path / "cache"
    cache.mkdir()

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="No space left on device; make room, then go on"):
            read_sample(record, cache)
    assert not list(cache.iterdir())
    assert (read_sample(record, cache).ids == read_sample(record).ids).all()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_copy_that_was_left_empty_is_made_again(dataset, tmp_path, ending):
    record, cache = load_coco(dataset, CLASSES)[0], tmp_path / "cache"
    cache.mkdir()
    whole = read_sample(record, cache)
    (copy,) = cache.glob("*" + ending)
    copy.write_bytes(b"")
    again = read_sample(record, cache)
    assert (again.ids == whole.ids).all() and (again.image == whole.image).all()
    assert copy.stat().st_size > 0


def test_an_image_that_does_not_decode_is_named(dataset):
    (dataset.parent / "0.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match="0.png: is no JPEG, PNG"):
        read_sample(load_coco(dataset, CLASSES)[0])


def test_an_image_of_another_size_is_named(dataset):
    edited(dataset, lambda d: d["images"][1].update(width=64))
    with pytest.raises(UserError, match="it is 128x96, its annotations say 64x96"):
        read_sample(load_coco(dataset, CLASSES)[1])


def test_recipes_refuse_unknown_keys_and_odd_sizes(tmp_path):
    source = {"annotations": "a.json"}
    with pytest.raises(UserError, match="unknown key 'learning_rate'"):
        parse_recipe({"sources": [source], "learning_rate": 1}, "r.toml")
    with pytest.raises(UserError, match="sizes_px 300 is not a multiple of 32"):
        parse_recipe({"sources": [source], "sizes_px": [300]}, "r.toml")
    for name, value in (("batch", "8"), ("sizes_px", 320), ("lr", True), ("cache_dir", 1)):
        with pytest.raises(UserError, match=f"{name} is {value!r}, want a value like"):
            parse_recipe({"sources": [source], name: value}, "r.toml")
    for wrong in ({"steps": 0}, {"batch": 0}, {"sizes_px": []}):
        with pytest.raises(UserError, match="batch, sizes_px, and steps or minutes, must be above 0"):
            parse_recipe({"sources": [source], **wrong}, "r.toml")
    with pytest.raises(UserError, match="paste_max is 0; paste_share = 0 pastes nothing"):
        parse_recipe({"sources": [source], "paste_max": 0}, "r.toml")
    with pytest.raises(UserError, match="share is -0.5 for a.json"):
        parse_recipe({"sources": [{**source, "share": -0.5}]}, "r.toml")
    for zoom in ([0.0, 2.0], [0.9], [2.0, 1.0]):
        with pytest.raises(UserError, match=r"zoom is .*, want least and most, above 0"):
            parse_recipe({"sources": [{**source, "zoom": zoom}]}, "r.toml")
    with pytest.raises(UserError, match="workers is -1"):
        parse_recipe({"sources": [source], "workers": -1}, "r.toml")
    with pytest.raises(UserError, match="sizes_px 96 is not"):
        parse_recipe({"sources": [source], "sizes_px": ["96"]}, "r.toml")
    with pytest.raises(UserError, match="no such file"):
        read_recipe(tmp_path / "missing.toml")
