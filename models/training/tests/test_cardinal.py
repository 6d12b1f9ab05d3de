import json

import pytest

from magpie_training import UserError
from magpie_training.cardinal import SCORE, plot, row, subset, table


def test_a_subset_keeps_the_first_pictures_and_their_labels(dataset, tmp_path):
    path = subset(dataset, 1, tmp_path / "one.json")
    document = json.loads(path.read_text())
    assert [i["id"] for i in document["images"]] == [0]
    assert {a["image_id"] for a in document["annotations"]} == {0}
    assert document["images"][0]["file_name"] == str(dataset.parent / "0.png")


def test_a_subset_larger_than_the_dataset_is_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="it holds 2"):
        subset(dataset, 3, tmp_path / "three.json")


def test_the_table_and_the_plot_show_every_row(tmp_path):
    scores = {"mask AP": 20.0, SCORE: 31.5, "mask AP50, types ignored": 50.0}
    rows = [
        row("universal", 0, 0, 0, scores),
        row("universal, taught", 10, 0, 120, scores, 0.4),
        row("bespoke", 10, 250, 600, scores),
    ]
    lines = list(table(rows))
    assert len(lines) == 5
    assert "| -0.4 |" in lines[3]
    assert "31.5" in lines[4]
    plot(rows, tmp_path / "plot.svg")
    assert "production cell" in (tmp_path / "plot.svg").read_text()
