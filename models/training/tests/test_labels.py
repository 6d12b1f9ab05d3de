import base64
import json
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from magpie_training import CLASSES, UserError
from magpie_training.data import decode_mask, load_coco
from magpie_training.label_formats import whole_rle
from magpie_training.labels import divide, read_labels, write_coco

WIDTH, HEIGHT = 80, 60
SQUARE = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]


def picture(folder, name, shade=60):
    image = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    image[10:30, 10:40] = (40, 160, 220)
    cv2.imwrite(str(folder / name), image)


def square_mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 10:40] = True
    return mask


def coco(folder, annotations, categories=("box",), file_name="a.png"):
    document = {
        "images": [{"id": 1, "file_name": file_name, "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 10, 30, 20], **a}
            for n, a in enumerate(annotations, 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, 1)],
    }
    (folder / "labels.json").write_text(json.dumps(document))


def labelme(folder, shapes, stem="a"):
    filled = [{"group_id": None, "flags": {}, "shape_type": "polygon", **s} for s in shapes]
    document = {
        "version": "5.5.0", "flags": {}, "shapes": filled, "imagePath": f"{stem}.png",
        "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }
    (folder / f"{stem}.json").write_text(json.dumps(document))


def cvat(folder, shapes):
    (folder / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>'
        f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image></annotations>'
    )


def points(flat):
    return np.reshape(flat, (-1, 2)).tolist()


def masks(reading):
    (only,) = reading.pictures
    return [(name, decode_mask(s, HEIGHT, WIDTH)) for name, s, _, _ in only.packages]


def png_text(part):
    return base64.b64encode(cv2.imencode(".png", part * 255)[1]).decode()


def as_coco_polygon(folder):
    coco(folder, [{"segmentation": [SQUARE]}])


def as_coco_mask_of_cvat(folder):
    # Columns from above: 10 empty ones, then 20 of 60 rows in each of 30 columns.
    counts = [10 * HEIGHT + 10, *([20, 40] * 29), 20]
    counts.append(HEIGHT * WIDTH - sum(counts))
    shape = {"size": [HEIGHT, WIDTH], "counts": counts}
    coco(folder, [{"segmentation": shape, "iscrowd": 1, "attributes": {"occluded": False}}])


def as_labelme_polygon(folder):
    labelme(folder, [{"label": "box", "points": points(SQUARE)}])


def as_labelme_mask(folder):
    part = np.ones((20, 30), np.uint8)
    corners = [[10, 10], [39, 29]]
    labelme(folder, [{"label": "box", "points": corners, "shape_type": "mask", "mask": png_text(part)}])


def as_cvat_polygon(folder):
    pairs = ";".join(f"{x},{y}" for x, y in points(SQUARE))
    cvat(folder, f'<polygon label="box" points="{pairs}" occluded="0" z_order="0"/>')


def as_cvat_mask(folder):
    runs = ", ".join(["5"] + ["30, 5"] * 19 + ["30"])
    cvat(folder, f'<mask label="box" rle="{runs}" left="5" top="10" width="35" height="20"/>')


@pytest.mark.parametrize(
    "write",
    [
        as_coco_polygon, as_coco_mask_of_cvat, as_labelme_polygon, as_labelme_mask,
        as_cvat_polygon, as_cvat_mask,
    ],
)
def test_every_tool_gives_the_same_package(tmp_path, write):
    picture(tmp_path, "a.png")
    write(tmp_path)
    reading = read_labels(tmp_path)
    assert reading.problems == []
    ((name, mask),) = masks(reading)
    assert name == "box"
    assert (mask != square_mask()).mean() < 0.02
    assert mask.sum() > 0


def test_what_is_written_for_training_is_what_was_read(tmp_path):
    picture(tmp_path, "a.png")
    rectangle = {"label": "poly_bag", "points": [[50, 5], [70, 25]], "shape_type": "rectangle"}
    leaving = {"label": "item", "points": [[60, 40], [95, 40], [95, 55], [60, 55]]}
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}, rectangle, leaving])
    path = write_coco(read_labels(tmp_path).pictures, tmp_path / "out" / "train.json")
    (record,) = load_coco(path, CLASSES)
    box, bag, item = record.instances
    assert [CLASSES[i.class_id] for i in record.instances] == ["box", "poly_bag", "item"]
    assert bag.segmentation is None and bag.bbox == (50, 5, 70, 25)
    assert box.bbox == (10, 10, 40, 30)
    # What leaves the picture is cut off at its edge.
    assert decode_mask(item.segmentation, HEIGHT, WIDTH)[45, 79]
    assert item.bbox[2] == WIDTH


def test_parts_of_one_package_share_a_group(tmp_path):
    picture(tmp_path, "a.png")
    left, right = [[2, 2], [20, 2], [20, 20], [2, 20]], [[40, 2], [60, 2], [60, 20], [40, 20]]
    other = [[2, 40], [20, 40], [20, 55], [2, 55]]
    shapes = [
        {"label": "box", "points": left, "group_id": 1},
        {"label": "box", "points": right, "group_id": 1},
        {"label": "box", "points": other, "group_id": 2},
    ]
    labelme(tmp_path, shapes)
    first, second = masks(read_labels(tmp_path))
    assert first[1][10, 10] and first[1][10, 50] and not first[1][10, 30]
    assert second[1][50, 10] and not second[1][10, 10]


def test_parts_of_one_package_may_overlap(tmp_path):
    picture(tmp_path, "a.png")
    part = {"label": "box", "group_id": 4}
    labelme(tmp_path, [
        {**part, "points": [[10, 10], [30, 10], [30, 30], [10, 30]]},
        {**part, "points": [[20, 10], [40, 10], [40, 30], [20, 30]]},
    ])
    reading = read_labels(tmp_path)
    ((_, mask),) = masks(reading)
    assert np.mean(mask != square_mask()) < 0.02 and mask[12:28, 12:38].all()
    document = json.loads(write_coco(reading.pictures, tmp_path / "out/train.json").read_text())
    assert document["annotations"][0]["area"] == mask.sum()


@pytest.mark.parametrize("name", [None, 5, ""])
def test_labels_that_name_no_picture_are_a_problem(tmp_path, name):
    picture(tmp_path, "a.png")
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}])
    document = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps({**document, "imagePath": name}))
    (problem,) = read_labels(tmp_path).problems
    assert "b.json: it names no picture" in problem


def test_pictures_beside_their_labels_come_before_others_of_that_name(tmp_path):
    for folder, shade in (("images", 60), ("more/images", 90)):
        (tmp_path / folder).mkdir(parents=True)
        picture(tmp_path / folder, "a.png", shade)
    (tmp_path / "more/annotations").mkdir()
    coco(tmp_path / "more/annotations", [{"segmentation": [SQUARE]}])
    (found,) = read_labels(tmp_path).pictures
    assert found.path == (tmp_path / "more/images/a.png").resolve()


def test_names_are_matched_mapped_or_refused_with_the_remedy(tmp_path):
    picture(tmp_path, "a.png")
    square = points(SQUARE)
    named = ("Padded Mailer", "carton", "hand")
    labelme(tmp_path, [{"label": n, "points": square} for n in named])
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path)
    told = str(caught.value)
    assert "'carton' (1), 'hand' (1)" in told and "box, padded_mailer, poly_bag, item" in told
    assert "--map carton=box" in told and "\n" not in told
    reading = read_labels(tmp_path, {"carton": "box", "hand": "none"})
    assert [name for name, _ in masks(reading)] == ["padded_mailer", "box"]
    with pytest.raises(UserError, match="'crate' is none of box"):
        read_labels(tmp_path, {"carton": "crate"})
    notes = read_labels(tmp_path, {"carton": "box", "hand": "none", "parcel": "box"}).notes
    assert "no label of" in notes[0] and "is named 'parcel'; there are Padded Mailer" in notes[0]


def test_the_remedy_for_a_name_with_a_space_can_be_typed(tmp_path):
    picture(tmp_path, "a.png")
    labelme(tmp_path, [{"label": "hand truck", "points": points(SQUARE)}])
    with pytest.raises(UserError, match="--map 'hand truck=box', .* --map 'hand truck=none'"):
        read_labels(tmp_path)


def test_folders_without_labels_or_with_several_kinds_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read_labels(tmp_path / "nowhere")
    picture(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"no labels there; expected COCO, .* or YOLO"):
        read_labels(tmp_path)
    labelme(tmp_path, [])
    with pytest.raises(UserError, match="1 pictures, none labelled"):
        read_labels(tmp_path)
    as_cvat_polygon(tmp_path)
    with pytest.raises(UserError, match="a.json is labelme, .*annotations.xml is cvat"):
        read_labels(tmp_path)


def one_problem(folder):
    (problem,) = read_labels(folder).problems
    return problem


def test_missing_broken_and_resized_pictures_are_named(tmp_path):
    as_labelme_polygon(tmp_path)
    assert "a.json: its picture a.png is missing" in one_problem(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    assert "a.png: is no JPEG, PNG, WebP" in one_problem(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    assert "it is 40x30" in one_problem(tmp_path) and "labels it at 80x60" in one_problem(tmp_path)


@pytest.mark.parametrize(
    "drawn",
    [
        [[10, 10], [20, 20]],
        [[10, 10], [20, 20], [30, 30]],
        [[200, 10], [220, 10], [220, 30]],
        [[float("nan"), 10], [20, 20], [30, 10]],
    ],
)
def test_shapes_that_enclose_nothing_are_named(tmp_path, drawn):
    picture(tmp_path, "a.png")
    labelme(tmp_path, [{"label": "box", "points": drawn}, {"label": "box", "points": points(SQUARE)}])
    reading = read_labels(tmp_path)
    (problem,) = reading.problems
    assert "a.json, shape 1 ('box'): encloses nothing" in problem
    assert len(masks(reading)) == 1


def test_shapes_that_cannot_be_read_are_named_and_leave_their_picture_out(tmp_path):
    for stem in "ab":
        picture(tmp_path, f"{stem}.png")
        labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}], stem=stem)
    line = {"label": "box", "points": [[1, 1], [9, 9]], "shape_type": "line"}
    lost = {"label": "box", "points": [[1, 1], [9, 9]], "shape_type": "mask", "mask": "aGk="}
    hand = {"label": "hand", "points": [[1, 1]], "shape_type": "point"}
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}, line, lost, hand])
    reading = read_labels(tmp_path, {"hand": "none"})
    first, second = reading.problems
    assert "a.json, shape 2 ('box'): line is no outline; draw a polygon" in first
    assert "a.json, shape 3 ('box'): its mask does not decode" in second
    assert [picture.path.name for picture in reading.pictures] == ["b.png"]


def edited_coco(folder, change):
    picture(folder, "a.png")
    as_coco_polygon(folder)
    document = json.loads((folder / "labels.json").read_text())
    change(document, document["images"][0], document["annotations"][0])
    (folder / "labels.json").write_text(json.dumps(document))


def runs(*counts, size=(HEIGHT, WIDTH)):
    return {"size": list(size), "counts": list(counts)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d, i, a: a.update(image_id=9), "annotation 1 is on image 9, which is not among its images"),
        (lambda d, i, a: d["images"].append({**i, "file_name": "b.png"}), "a.png and b.png have the same id, 1"),
        (lambda d, i, a: i.pop("file_name"), "image 1 has no file_name"),
        (lambda d, i, a: i.update(file_name="."), "its picture . is missing"),
        (lambda d, i, a: a.update(segmentation=[], bbox=[]), "has neither an outline nor a box"),
        (lambda d, i, a: a.update(segmentation=SQUARE), "not made of lists of x, y pairs"),
        (lambda d, i, a: a.update(segmentation=[[*SQUARE, 1]]), "not made of lists of x, y pairs"),
        (lambda d, i, a: a.update(segmentation=[["x"] * 8]), "not made of lists of x, y pairs"),
        (lambda d, i, a: a.update(segmentation={"counts": [1]}), "has no size or no counts"),
        (lambda d, i, a: a.update(segmentation=runs(100, 50)), "its runs do not fill 80x60"),
        (lambda d, i, a: a.update(segmentation={**runs(), "counts": "zzz"}), "its runs do not fill"),
        (lambda d, i, a: a.update(segmentation=runs(100, 4700, size=(80, 60))), "its mask is 60x80, its picture 80x60"),
    ],
)
def test_what_coco_files_get_wrong_is_named(tmp_path, change, expected):
    edited_coco(tmp_path, change)
    reading = read_labels(tmp_path)
    (problem,) = reading.problems
    assert re.search(expected, problem) and "labels.json" in problem and not reading.pictures


@pytest.mark.parametrize(
    "change",
    [
        lambda d, i, a: (a.update(category_id=17), d["categories"][0].update(id=17)),
        lambda d, i, a: i.update(id=1.0),
        lambda d, i, a: (i.pop("width"), i.pop("height")),
        lambda d, i, a: i.update(file_name="C:\\shift 3\\a.png"),
        lambda d, i, a: a.update(bbox=None),
        lambda d, i, a: a.update(segmentation=[points(SQUARE)]),
        lambda d, i, a: a.update(iscrowd="0"),
    ],
)
def test_what_coco_files_may_vary_in_changes_nothing(tmp_path, change):
    edited_coco(tmp_path, change)
    reading = read_labels(tmp_path)
    ((name, mask),) = masks(reading)
    assert reading.problems == [] and name == "box" and (mask != square_mask()).mean() < 0.02


def test_a_category_that_is_not_listed_is_an_unknown_name(tmp_path):
    edited_coco(tmp_path, lambda d, i, a: a.update(category_id=7))
    with pytest.raises(UserError, match="unknown label names 'category_id 7'"):
        read_labels(tmp_path)
    edited_coco(tmp_path, lambda d, i, a: d.pop("categories"))
    with pytest.raises(UserError, match=r"labels.json: not a coco file \(no 'categories'\)"):
        read_labels(tmp_path)


def test_compressed_runs_are_read_as_pycocotools_writes_them():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < share, np.uint8)
        again = whole_rle({**coco_mask.encode(mask), "counts": coco_mask.encode(mask)["counts"].decode()})
        assert (coco_mask.decode(again) == mask).all()


def test_what_cvat_turned_is_turned(tmp_path):
    picture(tmp_path, "a.png")
    ellipse = '<ellipse label="box" cx="30" cy="30" rx="20" ry="5" rotation="90"/>'
    box = '<box label="item" xtl="10" ytl="25" xbr="50" ybr="35" rotation="90"/>'
    cvat(tmp_path, f'<tag label="blurred"/>{ellipse}{box}')
    (only,) = read_labels(tmp_path).pictures
    for _, _, bbox, _ in only.packages:
        np.testing.assert_allclose(bbox, (25, 10, 35, 50), atol=1e-9)


def test_old_and_new_labelme_files_are_read(tmp_path):
    picture(tmp_path, "a.png")
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE), "shape_type": "oriented_rectangle"}])
    ((_, _, bbox, outlined),) = read_labels(tmp_path).pictures[0].packages
    assert list(bbox) == [10, 10, 40, 30] and not outlined
    document = json.loads((tmp_path / "a.json").read_text())
    document["shapes"] = [{"label": "box", "points": points(SQUARE)}]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(document), "utf-8")
    ((_, mask),) = masks(read_labels(tmp_path))
    assert (mask != square_mask()).mean() < 0.02


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '[{"id": 1, "data": {}, "annotations": []}]', "a.json is Label Studio's tasks without an annotation"),
        ("a.json", '[{"id": 1, "image": "a.png", "annotation_id": 2}]', "a.json is Label Studio's JSON_MIN"),
        ("a.json", '[{"image_id": 1, "bbox": [1, 2, 3, 4]}]', "a.json is COCO results without pictures"),
        ("a.json", '{"_via_img_metadata": {}}', "a.json is VIA"),
        ("a.json", '{"images": [', "a.json is no whole JSON"),
        ("a.txt", "notes of the shift\n", "no labels there"),
    ],
)
def test_labels_of_another_format_are_named(tmp_path, name, text, expected):
    picture(tmp_path, "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=expected):
        read_labels(tmp_path)


def test_one_damaged_file_among_labels_is_a_problem(tmp_path):
    picture(tmp_path, "a.png")
    as_labelme_polygon(tmp_path)
    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text()[:50])
    assert "b.json: no whole JSON; save it again" in one_problem(tmp_path)


def test_pictures_of_one_name_in_several_folders_are_told_apart_by_their_labels(tmp_path):
    as_labelme_polygon(tmp_path)
    for folder in ("shift_1", "shift_2"):
        (tmp_path / folder).mkdir()
        picture(tmp_path / folder, "a.png")
    assert "a.png is missing; put it beside the labels (2 others have that name)" in one_problem(tmp_path)
    (tmp_path / "a.json").rename(tmp_path / "shift_2" / "a.json")
    assert read_labels(tmp_path).pictures[0].path == (tmp_path / "shift_2/a.png").resolve()


def exif(order, orientation):
    """A JPEG's segment that says how the camera was held."""
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    body = b"Exif\0\0" + start + struct.pack(order + "H", 1) + entry + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("order", "<>")
def test_labels_are_of_pictures_as_their_exif_orientation_shows_them(tmp_path, order):
    jpeg = cv2.imencode(".jpg", np.zeros((WIDTH, HEIGHT, 3), np.uint8))[1].tobytes()
    coco(tmp_path, [{"segmentation": [SQUARE]}], file_name="a.jpg")
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + exif(order, 6) + jpeg[2:])
    reading = read_labels(tmp_path)
    assert reading.problems == [] and "1 pictures are turned by their EXIF orientation" in reading.notes[0]
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + exif(order, 1) + jpeg[2:])
    assert "it is 60x80, " in one_problem(tmp_path)
    lying = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(lying[:2] + exif(order, 8) + lying[2:])
    assert "it is 60x80, turned as its EXIF orientation says" in one_problem(tmp_path)


def grey():
    return cv2.imencode(".png", np.zeros((HEIGHT, WIDTH), np.uint8))[1].tobytes()


def noise(ending):
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.imencode(ending, image)[1].tobytes()


def damaged():
    data = bytearray(noise(".jpg"))
    data[len(data) // 2 : len(data) // 2 + 24] = b"\x55" * 24
    return bytes(data)


def huge():
    """A PNG's header of 60000 by 40000 pixels."""
    data = bytearray(grey())
    data[16:24] = struct.pack(">II", 60_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (grey(), ""),
        (noise(".jpg"), ""),
        (noise(".jpg")[:-400], "is cut short; copy it again"),
        (noise(".png")[:-4000], "does not decode"),
        *((noise(ending), "") for ending in (".bmp", ".tiff", ".webp", ".ppm")),
        (b"GIF89a", "is no JPEG, PNG, WebP, TIFF, BMP or PGM; save it again as one of them"),
        (b"", "is no JPEG"),
        (cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint16))[1].tobytes(), ""),
        (damaged(), "is damaged; copy it again"),
        (huge(), "is too large to decode; scale it down"),
    ],
)
def test_pictures_that_the_program_would_not_read_are_named(tmp_path, data, expected):
    as_coco_polygon(tmp_path)
    (tmp_path / "a.png").write_bytes(data)
    problems = read_labels(tmp_path).problems
    assert problems == [] if not expected else expected in problems[0]


def test_pictures_without_labels_are_learned_from_only_if_asked(tmp_path):
    for stem in "ab":
        picture(tmp_path, f"{stem}.png")
    labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}])
    labelme(tmp_path, [], stem="b")
    reading = read_labels(tmp_path)
    assert len(reading.pictures) == 1 and "1 pictures without any label" in reading.notes[0]
    assert len(read_labels(tmp_path, keep_empty=True).pictures) == 2


def test_crowds_are_not_learned_but_kept_for_judging(tmp_path):
    picture(tmp_path, "a.png")
    coco(tmp_path, [{"segmentation": [SQUARE]}, {"segmentation": [SQUARE], "iscrowd": 1}])
    reading = read_labels(tmp_path)
    assert len(masks(reading)) == 1 and "1 crowds" in reading.notes[0]
    coco(tmp_path, [{"segmentation": [SQUARE], "iscrowd": 1}])
    with pytest.raises(UserError, match=r"none labelled: all 1 annotations are crowds"):
        read_labels(tmp_path)
    path = write_coco(reading.pictures, tmp_path / "out" / "held_out.json")
    assert [a["iscrowd"] for a in json.loads(path.read_text())["annotations"]] == [0, 1]
    (record,) = load_coco(path, CLASSES)
    assert len(record.instances) == 1


def test_pictures_are_divided_by_their_contents_alone(tmp_path):
    def divided(folder, names):
        folder.mkdir()
        for shade, name in enumerate(names):
            picture(folder, f"{name}.png", shade=10 * shade)
            labelme(folder, [{"label": "box", "points": points(SQUARE)}], stem=name)
        learned, held_out = divide(read_labels(folder).pictures, 0.2)
        assert (len(learned), len(held_out)) == (8, 2)
        return {p.path.read_bytes() for p in held_out}

    assert divided(tmp_path / "one", "abcdefghij") == divided(tmp_path / "two", "jihgfedcba")


def test_copies_of_one_picture_are_not_on_both_sides(tmp_path):
    for number in range(10):
        picture(tmp_path, f"{number}.png", shade=10 * (number // 2))
        labelme(tmp_path, [{"label": "box", "points": points(SQUARE)}], stem=str(number))
    learned, held_out = divide(read_labels(tmp_path).pictures, 0.3)
    sides = [{p.path.read_bytes() for p in side} for side in (learned, held_out)]
    assert not sides[0] & sides[1] and len(held_out) == 3 and len(learned) == 6


def test_too_few_pictures_are_refused(tmp_path):
    picture(tmp_path, "a.png")
    as_labelme_polygon(tmp_path)
    with pytest.raises(UserError, match="1 labelled pictures are too few: label 8 or more"):
        divide(read_labels(tmp_path).pictures, 0.2)


SHARED = Path(__file__).parents[3] / "tests/labels"


def normal_form(file, mapping):
    """What `file` says, a line for each thing; the Rust side writes the very same lines."""
    def numbers(values):
        return " ".join(f"{value:.2f}" for value in values)

    def shape(segmentation, bbox, outlined):
        if isinstance(segmentation, list):
            pieces = " | ".join(map(numbers, segmentation))
            return f"{'outline' if outlined else 'rectangle'} {numbers(bbox)}: {pieces}"
        counts = segmentation["counts"]
        return f"runs {numbers(bbox)}: {counts.decode() if isinstance(counts, bytes) else counts}"

    try:
        reading = read_labels(file, mapping, keep_empty=True)
    except UserError as error:
        return f"refused {str(error).removeprefix(f'read labels {file}: ')}\n"
    lines = [f"map {name}={target}" for name, target in mapping.items()]
    for picture in reading.pictures:
        lines.append(f"picture {picture.path} {picture.width}x{picture.height}")
        lines += [f"  {name} {shape(*placed)}" for name, *placed in picture.packages]
        lines += [f"  crowd {shape(*placed, True)}" for placed in picture.crowds]
    lines += [f"problem {problem}" for problem in reading.problems]
    lines += [f"note {note}" for note in reading.notes if "iscrowd" not in note]
    return "\n".join(lines).replace(f"{file.parent}/", "") + "\n"


@pytest.mark.parametrize("file", sorted(SHARED.glob("*.json")), ids=lambda file: file.stem)
def test_labels_are_read_as_the_program_reads_them(file):
    expected = (SHARED / f"expected/{file.stem}.txt").read_text()
    asked = [line[4:].split("=", 1) for line in expected.splitlines() if line.startswith("map ")]
    assert normal_form(file, dict(asked)) == expected
