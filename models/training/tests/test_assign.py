import torch

from magpie_training.assign import REACH_STRIDES, assign
from magpie_training.model import anchor_points

POINTS, STRIDES = anchor_points(512, 512)


def owners(*targets):
    """Where every cell predicts the first target rightly and with one score: strides that own it."""
    boxes = torch.tensor(targets, dtype=torch.float32)[None]
    scores = torch.full((1, len(POINTS), 1), 0.5)
    predicted = boxes[:, :1].expand(1, len(POINTS), 4)
    classes = torch.zeros(1, len(targets), dtype=torch.long)
    owner, strength, _ = assign(scores, predicted, POINTS, STRIDES, boxes, classes)
    assert ((strength > 0) == (owner >= 0)).all()
    return set(STRIDES[owner[0] == 0].squeeze(-1).tolist())


def test_a_package_that_fills_the_picture_is_learned_by_the_largest_cells_alone():
    assert owners([20, 30, 500, 490]) == {32.0}


def test_cells_learn_no_side_that_they_could_not_reach():
    side = 2 * 8 * REACH_STRIDES + 1
    assert 8.0 not in owners([100, 100, 100 + side, 100 + side])
    assert 8.0 in owners([100, 100, 140, 140])


def test_a_long_narrow_package_between_the_largest_cells_is_still_learned():
    assert owners([2, 18, 510, 30]) == {8.0}
