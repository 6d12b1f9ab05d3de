"""YOLO, Pascal VOC and Label Studio: read as the same packages, and converted there and back."""

import json
import re

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from magpie_training import CLASSES, UserError, convert, label_studio
from magpie_training.__main__ import main
from magpie_training.data import decode_mask, load_coco
from magpie_training.labels import coco_document, read_labels

WIDTH, HEIGHT = 80, 60
SQUARE = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]
DATA = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['box', 'poly_bag']\n"
BOX_LINE = "0 0.3125 0.33333333333 0.375 0.33333333333\n"
OUTLINE_LINE = "0 0.125 0.16666666667 0.5 0.16666666667 0.5 0.5 0.125 0.5\n"
OBJECT = "<object><name>box</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>"


def picture(path, shade=60):
    image = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    image[10:30, 10:40] = (40, 160, 220)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def voc(name="a.png", objects=OBJECT, size=(WIDTH, HEIGHT)):
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>{name}</filename>{sides}{objects}</annotation>"


def region(kind, value, **more):
    return {
        "id": "Kx1", "type": f"{kind}labels", "original_width": WIDTH, "original_height": HEIGHT,
        "value": {**value, f"{kind}labels": ["box"]}, **more,
    }


POLYGON = region("polygon", {"points": [[12.5, 100 / 6], [50, 100 / 6], [50, 50], [12.5, 50]]})
RECTANGLE = region("rectangle", {"x": 12.5, "y": 100 / 6, "width": 37.5, "height": 100 / 3, "rotation": 0})


def task(*regions, image="/data/upload/7/0a1b2c3d-a.png", **more):
    return {"id": 3, "data": {"image": image}, "annotations": [{"result": list(regions)}], **more}


def square_mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 10:40] = True
    return mask


def yolo_by_roboflow(folder, line=OUTLINE_LINE):
    write(folder / "data.yaml", DATA)
    write(folder / "README.dataset.txt", "made by us\n")
    picture(folder / "train/images/a.png")
    write(folder / "train/labels/a.txt", line)


def yolo_by_ultralytics(folder):
    write(folder / "data.yaml", "path: ../datasets/ours\ntrain: images/train\nval: images/val\nnames:\n  0: box\n")
    picture(folder / "images/train/a.png")
    write(folder / "labels/train/a.txt", OUTLINE_LINE)


def yolo_by_cvat(folder):
    write(folder / "obj.names", "box\n")
    write(folder / "train.txt", "obj_train_data/a.png\n")
    picture(folder / "obj_train_data/a.png")
    write(folder / "obj_train_data/a.txt", OUTLINE_LINE)


def voc_with_a_polygon(folder):
    corners = "".join(f"<{a}{n}>{v}</{a}{n}>" for n in (1, 2, 3, 4) for a, v in zip("xy", SQUARE[2 * n - 2 :]))
    picture(folder / "a.png")
    write(folder / "a.xml", voc(objects=OBJECT.replace("</object>", f"<polygon>{corners}</polygon></object>")))


def label_studio_polygon(folder):
    picture(folder / "images/a.png")
    write(folder / "project.json", json.dumps([task(POLYGON)]))


def label_studio_brush(folder):
    picture(folder / "a.png")
    write(folder / "project.json", json.dumps([task(region("brush", {"format": "rle", "rle": label_studio.packed(square_mask())}))]))


@pytest.mark.parametrize(
    "lay",
    [yolo_by_roboflow, yolo_by_ultralytics, yolo_by_cvat, voc_with_a_polygon, label_studio_polygon, label_studio_brush],
)
def test_every_tool_gives_the_same_outline(tmp_path, lay):
    lay(tmp_path)
    reading = read_labels(tmp_path)
    assert reading.problems == []
    ((name, segmentation, bbox, outlined),) = reading.pictures[0].packages
    assert name == "box" and outlined
    np.testing.assert_allclose(bbox, (10, 10, 40, 30), atol=1e-6)
    assert (decode_mask(segmentation, HEIGHT, WIDTH) != square_mask()).mean() < 0.02


def yolo_box(folder):
    yolo_by_roboflow(folder, BOX_LINE)


def voc_box(folder):
    picture(folder / "JPEGImages/a.png")
    write(folder / "Annotations/a.xml", voc())


def label_studio_box(folder):
    picture(folder / "a.png")
    write(folder / "project.json", json.dumps([task(RECTANGLE)]))


@pytest.mark.parametrize("lay", [yolo_box, voc_box, label_studio_box])
def test_boxes_teach_no_outline(tmp_path, lay):
    lay(tmp_path)
    reading = read_labels(tmp_path)
    assert reading.problems == []
    ((name, _, bbox, outlined),) = reading.pictures[0].packages
    assert name == "box" and not outlined
    np.testing.assert_allclose(bbox, (10, 10, 40, 30), atol=1e-6)


def test_names_are_found_above_a_part_of_a_yolo_folder_and_mapped(tmp_path):
    yolo_by_roboflow(tmp_path)
    assert read_labels(tmp_path / "train").pictures[0].packages[0][0] == "box"
    (tmp_path / "data.yaml").write_text("nc: 1\nnames: [carton]\n")
    with pytest.raises(UserError, match="unknown label names 'carton'"):
        read_labels(tmp_path)
    assert read_labels(tmp_path, {"carton": "poly_bag"}).pictures[0].packages[0][0] == "poly_bag"
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(UserError, match="unknown label names 'class 0' .*--map 'class 0=box'"):
        read_labels(tmp_path)


def test_empty_files_show_no_package_and_missing_ones_were_never_labelled(tmp_path):
    yolo_by_roboflow(tmp_path)
    for name in "bc":
        picture(tmp_path / f"train/images/{name}.png")
    write(tmp_path / "train/labels/b.txt", "")
    reading = read_labels(tmp_path, keep_empty=True)
    assert sorted(p.path.name for p in reading.pictures) == ["a.png", "b.png"]
    assert "1 pictures were never labelled (" in reading.notes[-1] and "c.png" in reading.notes[-1]
    write(tmp_path / "project.json", json.dumps([task(POLYGON), task(image="b.png"), {"data": {"image": "c.png"}}]))
    reading = read_labels(tmp_path / "project.json", keep_empty=True)
    assert sorted(p.path.name for p in reading.pictures) == ["a.png", "b.png"]
    assert "submit their tasks" in reading.notes[-1]


def test_pictures_may_lie_in_a_folder_of_their_own(tmp_path):
    picture(tmp_path / "shots/a.png")
    for number, (name, text) in enumerate((("set/a.xml", voc()), ("set2/labels/a.txt", BOX_LINE), ("set3/p.json", json.dumps([task(POLYGON)])))):
        write(tmp_path / name, text)
        folder = (tmp_path / name).parents[0 if number != 1 else 1]
        assert "missing" in read_problem(folder, {"class 0": "box"} if number == 1 else {})
        reading = read_labels(folder, {"class 0": "box"} if number == 1 else {}, images=tmp_path / "shots")
        assert reading.problems == [] and reading.pictures[0].path == (tmp_path / "shots/a.png").resolve()
    # Label Studio's names of uploaded pictures.
    (tmp_path / "set2/labels/a.txt").rename(tmp_path / "set2/labels/0a1b2c3d-a.txt")
    assert read_labels(tmp_path / "set2", {"class 0": "box"}, images=tmp_path / "shots").problems == []
    with pytest.raises(UserError, match="read pictures .*nowhere: no such folder"):
        read_labels(tmp_path / "set", images=tmp_path / "nowhere")


def test_a_date_before_a_name_is_no_upload(tmp_path):
    """20261002-0001.png is missing, and 0001.png another picture."""
    picture(tmp_path / "shots/0001.png")
    write(tmp_path / "voc/a.xml", voc(name="20261002-0001.png"))
    write(tmp_path / "yolo/labels/20261002-0001.txt", BOX_LINE)
    write(tmp_path / "tasks/p.json", json.dumps([task(POLYGON, image="/data/upload/7/20261002-0001.png")]))
    for folder, mapping in (("voc", {}), ("yolo", {"class 0": "box"}), ("tasks", {})):
        assert "missing" in read_problem(tmp_path / folder, mapping, tmp_path / "shots"), folder
    picture(tmp_path / "shots/20261002-0001.png")
    for folder, mapping in (("voc", {}), ("yolo", {"class 0": "box"}), ("tasks", {})):
        (one,) = read_labels(tmp_path / folder, mapping, images=tmp_path / "shots").pictures
        assert one.path.name == "20261002-0001.png"


def test_pictures_are_sought_first_in_the_folder_that_is_named_for_them(tmp_path):
    picture(tmp_path / "shots/a.png", shade=90)
    picture(tmp_path / "yolo/images/a.png")
    write(tmp_path / "yolo/labels/a.txt", BOX_LINE)
    for name, text in (("voc/a.xml", voc()), ("tasks/p.json", json.dumps([task(POLYGON)]))):
        write(tmp_path / name, text)
        picture((tmp_path / name).with_name("a.png"))
    for folder, mapping in (("voc", {}), ("yolo", {"class 0": "box"}), ("tasks", {})):
        (one,) = read_labels(tmp_path / folder, mapping, images=tmp_path / "shots").pictures
        assert one.path == (tmp_path / "shots/a.png").resolve(), folder
        (one,) = read_labels(tmp_path / folder, mapping).pictures
        assert one.path.is_relative_to((tmp_path / folder).resolve())


def test_the_folder_of_pictures_is_walked_once_for_all_labels(tmp_path, monkeypatch):
    for number in range(5):
        picture(tmp_path / f"shots/{number}.png")
        write(tmp_path / f"yolo/labels/{number}.txt", BOX_LINE)
    walks, walk = [], type(tmp_path).rglob
    monkeypatch.setattr(type(tmp_path), "rglob", lambda path, *a, **k: walks.append(path) or walk(path, *a, **k))
    assert len(read_labels(tmp_path / "yolo", {"class 0": "box"}, images=tmp_path / "shots").pictures) == 5
    assert walks.count(tmp_path / "shots") == 1


def test_the_number_of_a_class_is_that_of_its_line(tmp_path):
    write(tmp_path / "classes.txt", "\nitem\n\nbox\n")
    picture(tmp_path / "a.png")
    write(tmp_path / "a.txt", BOX_LINE.replace("0 ", "3 ", 1))
    (one,) = read_labels(tmp_path).pictures
    assert one.packages[0][0] == "box"
    write(tmp_path / "a.txt", BOX_LINE.replace("0 ", "2 ", 1))
    assert "class 2 is not among the 2 names" in read_problem(tmp_path)


def test_key_points_are_not_taken_for_outlines(tmp_path):
    yolo_by_roboflow(tmp_path, "0 0.3 0.3 0.4 0.3 0.1 0.1 0.5 0.1\n")
    write(tmp_path / "data.yaml", DATA + "kpt_shape: [2, 2]\n")
    for named in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(UserError, match=r"it has key points \(kpt_shape\).*export outlines or boxes"):
            read_labels(named)


def test_pictures_of_coco_lie_beside_the_folder_of_annotations(tmp_path):
    yolo_by_roboflow(tmp_path / "yolo")
    document = coco_document(read_labels(tmp_path / "yolo").pictures, names=["a.png"])
    write(tmp_path / "coco/annotations/instances_val.json", json.dumps(document))
    picture(tmp_path / "coco/val2017/a.png")
    for labels in ("coco", "coco/annotations/instances_val.json"):
        assert read_labels(tmp_path / labels).pictures[0].path.parent.name == "val2017"


def read_problem(folder, mapping=None, images=None):
    """The only problem, or why nothing is read."""
    try:
        (problem,) = read_labels(folder, mapping, images=images).problems
    except UserError as error:
        return str(error)
    return problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.2\n", r"a.txt, line 1 \('box'\): has 3 numbers after its class; 4 make a box"),
        ("0 0.5 0.5 0.2 0.2 0.9\n", "has 5 numbers after its class"),
        ("\n0 0.1 0.1 0.2 x 0.3 0.3\n", "line 2 .*could not convert string to float: 'x'"),
        ("0 320 240 100 80\n", "320 is no share of the picture's side; write numbers from 0 to 1"),
        ("0 nan 0.5 0.2 0.2\n", "nan is no share"),
        ("0 0.5 0.5 0 0.2\n", "encloses nothing inside the picture"),
        ("0 1.4 1.4 0.2 0.2\n", "encloses nothing inside the picture"),
        ("7 0.5 0.5 0.2 0.2\n", "a.txt: line 1: class 7 is not among the 2 names"),
        ("box 0.5 0.5 0.2 0.2\n", "line 1: 'box' is no number of a class"),
    ],
)
def test_what_yolo_files_get_wrong_is_named(tmp_path, line, expected):
    yolo_by_roboflow(tmp_path, line + "1 0.5 0.5 0.2 0.2\n")
    picture(tmp_path / "train/images/b.png")
    write(tmp_path / "train/labels/b.txt", BOX_LINE)
    assert re.search(expected, read_problem(tmp_path))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("nc: 3\nnames: [box]\ntrain: x\n", "nc is 3, and names has 1"),
        ("nc: 0\nnames: []\n", "it has no names of classes"),
        ("names: [box\n", "no YAML"),
        ("nc: 1\nnames: [box]\ntrain: ../../elsewhere\n", "train: ../../elsewhere leads out of"),
        ("nc: 1\nnames: [box]\npath: /\nval: usr\n", "val: usr leads out of"),
    ],
)
def test_what_data_yaml_gets_wrong_is_named(tmp_path, data, expected):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "one/set"
    yolo_by_roboflow(folder)
    (folder / "data.yaml").write_text(data)
    with pytest.raises(UserError, match=expected):
        read_labels(folder)


def test_two_pictures_of_one_name_and_labels_without_a_picture_are_named(tmp_path):
    yolo_by_roboflow(tmp_path)
    picture(tmp_path / "train/images/a.jpg")
    assert "a.txt: a.jpg and a.png share this label file" in read_problem(tmp_path)
    (tmp_path / "train/images/a.jpg").unlink()
    (tmp_path / "train/images/a.png").rename(tmp_path / "train/images/b.png")
    assert "a.txt: its picture is missing" in read_problem(tmp_path)
    with pytest.raises(UserError, match="a.txt is one file of YOLO's; name its data.yaml, or the folder"):
        read_labels(tmp_path / "train/labels/a.txt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (voc(name=""), "it has no filename"),
        (voc(name="b.png"), "its picture b.png is missing"),
        (voc(name="../out/a.png"), r"a.png is missing \(a path out of their folder is not followed\)"),
        (voc(size=(60, 80)), "it is 80x60, .* labels it at 60x80"),
        (voc()[:-20], "a.xml: no whole XML"),
        (voc(objects=OBJECT.replace("<xmin>10", "<xmin>ten")), r"object 1 \('box'\): its xmin is 'ten', no number"),
        (voc(objects=OBJECT.replace("<xmin>10", "<xmin>50")), "its box goes from 50, 10 to 40, 30"),
        (voc(objects="<object><name>box</name></object>"), "has neither a bndbox nor a polygon"),
        (voc(objects=OBJECT.replace("40", "95").replace("10", "90")), "encloses nothing inside the picture|goes from"),
    ],
)
def test_what_voc_files_get_wrong_is_named(tmp_path, text, expected):
    picture(tmp_path / "out/a.png")
    folder = tmp_path / "set"
    if "../out" not in text:
        picture(folder / "a.png")
    picture(folder / "other.png")
    write(folder / "a.xml", text)
    write(folder / "other.xml", voc("other.png"))
    assert re.search(expected, read_problem(folder))


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([task(POLYGON, image="../out/a.png")], "a path out of their folder is not followed"),
        ([{**task(POLYGON), "data": {"text": "hello"}}], "task 3 names no picture"),
        ([task(POLYGON, annotations=[{"result": []}, {"result": [POLYGON]}])], "has 2 annotations; keep one, or star one"),
        ([task(region("keypoint", {"x": 1, "y": 1, "width": 1}))], "keypointlabels is no outline; draw a polygon"),
        ([task({**POLYGON, "original_width": 40})], "it is 80x60, .* labels it at 40x60"),
        ([task({**POLYGON, "image_rotation": 90})], "was drawn on a picture turned by 90 degrees"),
        ([task(region("brush", {"rle": label_studio.packed(square_mask())[:30]}))], "its brush is cut or damaged"),
        ([task(region("brush", {"rle": label_studio.packed(square_mask()[:9])}))], "its brush does not fill 80x60"),
        ([task({**POLYGON, "original_width": None})], "does not say on how many pixels"),
    ],
)
def test_what_label_studio_files_get_wrong_is_named(tmp_path, tasks, expected):
    picture(tmp_path / "out/a.png")
    folder = tmp_path / "set"
    picture(folder / "b.png")
    if "../out" not in json.dumps(tasks):
        picture(folder / "a.png")
    write(folder / "p.json", json.dumps([*tasks, task(POLYGON, image="b.png")]))
    assert re.search(expected, read_problem(folder))


def test_label_studios_rectangles_turn_around_their_first_corner(tmp_path):
    picture(tmp_path / "a.png")
    turned = region("rectangle", {"x": 50, "y": 50, "width": 25, "height": 10, "rotation": 90})
    write(tmp_path / "p.json", json.dumps([task(turned)]))
    ((_, _, bbox, _),) = read_labels(tmp_path).pictures[0].packages
    np.testing.assert_allclose(bbox, (34, 30, 40, 50), atol=1e-9)


def test_brushes_are_packed_as_label_studio_unpacks_them():
    # Values of one pixel, in the order of the format: count 4, width 8, lengths 3, 8, 12, 16 bits.
    assert label_studio.packed(np.array([[True]]))[:7] == [0, 0, 0, 4, 0b00111_001, 0b0_0111_101, 0b1_1111_100]
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    values = label_studio.unpacked(label_studio.packed(mask)).reshape(HEIGHT, WIDTH, 4)
    assert ((values[:, :, 3] > 0) == mask).all()


def mixed_set(folder):
    """A mask with a hole, an outline in two pieces, a box, and a picture without packages."""
    for number, name in enumerate(("one/a.png", "two/a.png", "none.png", "boxes.png")):
        picture(folder / name, 20 * number)
    ring = square_mask()
    ring[15:20, 15:30] = False
    rle = coco_mask.encode(np.asfortranarray(ring, np.uint8))
    shapes = [
        (1, 1, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}, "bbox": [10, 10, 30, 20]}),
        (1, 3, {"segmentation": [[1.25, 40, 20, 40, 20, 55.5], [40, 40, 60, 40, 60, 50]], "bbox": [1, 40, 59, 16]}),
        (2, 2, {"segmentation": [[3, 3, 20, 3, 11.7, 20]], "bbox": [3, 3, 17, 17]}),
        (4, 4, {"segmentation": [], "bbox": [5.5, 6.25, 20, 10]}),
    ]
    document = {
        "images": [
            {"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for n, name in enumerate(("one/a.png", "two/a.png", "none.png", "boxes.png"), 1)
        ],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "iscrowd": 0, **more} for n, (i, c, more) in enumerate(shapes, 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, 1)],
    }
    write(folder / "labels.json", json.dumps(document))


def contents(reading):
    return [
        (p.path.read_bytes(), p.width, p.height, [(name, mask_of(s), bbox, outlined) for name, s, bbox, outlined in p.packages])
        for p in sorted(reading.pictures, key=lambda p: p.path.read_bytes())
    ]


def mask_of(segmentation):
    return decode_mask(segmentation, HEIGHT, WIDTH)


@pytest.mark.parametrize("to", sorted(convert.WRITERS))
def test_what_is_converted_says_the_same(tmp_path, to):
    source, out = tmp_path / "set", tmp_path / "out"
    mixed_set(source)
    told = "\n".join(convert.convert(source, out, to))
    was, now = (contents(read_labels(path, keep_empty=True)) for path in (source, out))
    assert len(was) == len(now) == 4
    for (data, *size, packages), (data_now, *size_now, packages_now) in zip(was, now):
        assert data == data_now and size == size_now
        assert [p[0] for p in packages] == [p[0] for p in packages_now]
        for (_, mask, bbox, outlined), (_, mask_now, bbox_now, outlined_now) in zip(packages, packages_now):
            np.testing.assert_allclose(bbox, bbox_now, atol=1e-5)
            assert outlined_now == (outlined and to != "voc")
            if to in ("coco", "label-studio"):
                assert (mask == mask_now).all()
            elif to == "yolo" and outlined:
                assert (mask != mask_now).sum() < 150  # the hole, and edges
    assert "two/a.png becomes a-2.png" in told
    if to == "voc":
        assert "3 outlines become boxes" in told
    if to == "yolo":
        assert "1 masks become outlines: holes are filled" in told and "1 packages in several pieces" in told
    again = tmp_path / "again"
    convert.convert(out, again, to)
    if to != "label-studio":  # which holds per cent, and these are rounded
        assert texts(out) and texts(again) == texts(out), "what a format holds is exact"


def texts(folder):
    return {p.name: p.read_text().replace(str(folder), "") for p in folder.rglob("*") if p.suffix in (".txt", ".xml", ".yaml", ".json")}


def test_a_file_of_coco_leaves_pictures_where_they_are_and_is_read_for_training(tmp_path, capsys):
    yolo_by_roboflow(tmp_path / "set", OUTLINE_LINE + BOX_LINE.replace("0 ", "1 ", 1))
    out = tmp_path / "labels.json"
    assert main(["convert", str(tmp_path / "set"), "--out", str(out), "--to", "coco"]) == 0
    assert f"{out}: 1 pictures, which stay where they are" in capsys.readouterr().out
    (record,) = load_coco(out, CLASSES)
    assert record.path == (tmp_path / "set/train/images/a.png").resolve()
    assert [(CLASSES[i.class_id], i.segmentation is None) for i in record.instances] == [("box", False), ("poly_bag", True)]
    (same,) = load_coco(tmp_path / "set", CLASSES)
    assert same.instances == record.instances
    (same,) = load_coco(tmp_path / "set/data.yaml", CLASSES)
    assert same.instances == record.instances
    (tmp_path / "set/train/labels/a.txt").write_text("0 1\n")
    with pytest.raises(UserError, match="1 wrong, the first is .*a.txt, line 1"):
        load_coco(tmp_path / "set", CLASSES)


def test_nothing_is_written_over_and_wrong_labels_stop_it(tmp_path, capsys):
    source, out = tmp_path / "set", tmp_path / "out"
    yolo_by_roboflow(source, OUTLINE_LINE)
    picture(source / "train/images/b.png")
    write(source / "train/labels/b.txt", "0 2 2\n")
    command = ["convert", str(source), "--out", str(out), "--to", "voc"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "b.txt, line 1 ('box'): has 2 numbers" in said.out
    assert "1 labels are wrong, listed above; correct them, or leave them out by --skip-bad-labels" in said.err
    assert not out.exists()
    assert main([*command, "--skip-bad-labels"]) == 0
    assert [p.name for p in (out / "JPEGImages").iterdir()] == ["a.png"]
    for wrong, expected in ((out, "it is there already"), (source / "x", "it lies within"), (tmp_path / "x.xml", "voc needs a folder")):
        with pytest.raises(UserError, match=expected):
            convert.convert(source, wrong, "voc", skip_bad_labels=True)


def test_a_file_of_coco_is_whole_or_not_there_and_not_among_what_is_read(tmp_path, monkeypatch):
    yolo_by_roboflow(tmp_path / "set")
    with pytest.raises(UserError, match="it lies within"):
        convert.convert(tmp_path / "set", tmp_path / "set/labels.json", "coco")
    monkeypatch.setattr(type(tmp_path), "replace", lambda *_: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception, match="stopped"):
        convert.convert(tmp_path / "set", tmp_path / "labels.json", "coco")
    assert not (tmp_path / "labels.json").exists()


def test_crowds_have_no_counterpart_and_are_told(tmp_path):
    mixed_set(tmp_path / "set")
    path = tmp_path / "set/labels.json"
    document = json.loads(path.read_text())
    document["annotations"][2]["iscrowd"] = 1
    path.write_text(json.dumps(document))
    told = "\n".join(convert.convert(tmp_path / "set", tmp_path / "out", "yolo"))
    assert "1 pictures with crowds are left out (a.png): yolo has none" in told
    assert len(read_labels(tmp_path / "out", keep_empty=True).pictures) == 3
    told = "\n".join(convert.convert(tmp_path / "set", tmp_path / "all", "yolo", without_crowds=True))
    assert "the crowds of 1 pictures are dropped" in told
    assert len(read_labels(tmp_path / "all", keep_empty=True).pictures) == 4
