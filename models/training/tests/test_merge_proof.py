import tarfile

import minisign

from magpie_training import merge_proof
from magpie_training.data import decode_mask
from magpie_training.merge import JUDGED_BY


def labels():
    outline = [[10, 10, 40, 10, 40, 30, 10, 30]]
    edge = [[90, 10, 99, 10, 99, 30, 90, 30]]
    return {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 60}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": s}
            for n, s in enumerate((outline, edge), 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(merge_proof.SWAPPED, 1)],
    }


def test_masks_are_shifted_and_do_not_come_back_on_the_other_side():
    was, now = labels(), labels()
    merge_proof.shift(now)
    (one,) = now["annotations"]
    before, after = (decode_mask(a["segmentation"], 60, 100) for a in (was["annotations"][0], one))
    assert (after[:, merge_proof.SHIFT_PX :] == before[:, : -merge_proof.SHIFT_PX]).all() and after.sum() == before.sum()
    assert one["bbox"][0] == 10 + merge_proof.SHIFT_PX


def test_types_are_swapped_for_good():
    now = labels()
    merge_proof.swap(now)
    assert [c["name"] for c in now["categories"]] == ["poly_bag", "box", "item", "padded_mailer"]


def test_bad_bundles_are_what_they_are_called(tmp_path):
    (tmp_path / "bundles").mkdir()
    whole = tmp_path / "bundles/whole.tar"
    for name in ("manifest.json", "manifest.json.minisig", "labels.json"):
        (tmp_path / name).write_text(name)
    with tarfile.open(whole, "w") as tar:
        for name in ("manifest.json", "manifest.json.minisig", "labels.json"):
            tar.add(tmp_path / name, name)
    with tarfile.open(merge_proof.unsigned(whole, tmp_path)) as tar:
        assert tar.getnames() == ["manifest.json", "labels.json"]
    assert merge_proof.cut(whole, tmp_path).stat().st_size == whole.stat().st_size // 2
    key = merge_proof.make_key(tmp_path / "keys/ours")
    signed = minisign.SecretKey.from_file(key).sign(b"text")
    minisign.PublicKey.from_file(key.with_suffix(".pub")).verify(b"text", signed)
    assert merge_proof.make_key(tmp_path / "keys/ours").read_bytes() == key.read_bytes(), "made once"


def test_the_curve_has_a_row_for_each_number_of_projects(tmp_path, monkeypatch, capsys):
    def merge(plan):
        parts = plan.out / "merged/held_back"
        parts.mkdir(parents=True)
        for number in range(len(plan.bundles)):
            (parts / f"{number}.json").write_text("{}")
        return len(plan.bundles) != 2

    def scores(_, model, part):
        count = int(model.parent.name) if model.parent.name.isdecimal() else 0
        return dict.fromkeys(JUDGED_BY, 40.0 + count)

    monkeypatch.setattr(merge_proof, "merge", merge)
    monkeypatch.setattr(merge_proof.judge, "find_program", lambda _: None)
    monkeypatch.setattr(merge_proof.judge.Judge, "scores", scores)
    plan = {"trust": (), "base": tmp_path / "universal.onnx", "teaching": (), "only_merge": False}
    assert merge_proof.print_curve(tmp_path, ["a.tar", "b.tar", "c.tar"], plan)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert rows == ["| 0 | yes | 40.0 | 40.0 |", "| 1 | yes | 41.0 | 41.0 |", "| 2 | no | 42.0 | 42.0 |", "| 3 | yes | 43.0 | 43.0 |"]
