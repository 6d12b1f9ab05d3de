import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from magpie_training import UserError, processes
from magpie_training.__main__ import main
from magpie_training.loader import Stream, collate
from magpie_training.recipe import read_recipe
from magpie_training.train import Run, read_checkpoint, train

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]


def test_the_loss_falls_on_one_picture(recipe):
    run = Run(dataclasses.replace(recipe, steps=100, warmup_steps=1), CPU)
    run.model.train()
    stream = Stream(recipe)
    batch = collate([stream[0], stream[1]])
    losses = [run.learn(batch) for _ in range(25)]
    assert losses[-1]["total"] < 0.7 * losses[0]["total"]
    assert losses[-1]["mask"] < losses[0]["mask"]


def test_fixed_statistics_stay_while_the_weights_learn(recipe, tmp_path):
    before = Run(recipe, CPU).model.state_dict()
    fixed = dataclasses.replace(recipe, fixed_statistics=True)
    after = read_checkpoint(train(fixed, tmp_path / "run", quiet=True))["model"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.endswith(("running_mean", "running_var")) for name in changed)
    assert any(name.startswith("neck.") for name in changed)


def test_a_picture_that_vanishes_is_told_in_one_line_and_leaves_no_process(recipe, dataset, tmp_path):
    (dataset.parent / "1.png").unlink()
    with pytest.raises(UserError) as caught:
        train(dataclasses.replace(recipe, workers=1), tmp_path / "run", quiet=True)
    assert str(caught.value).startswith("read image ") and "\n" not in str(caught.value)
    assert not multiprocessing.active_children(), "it would be waited for at exit"


def test_a_loading_process_that_is_killed_is_told(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Stream, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="train step 0: the process that loads pictures was ended"):
        train(dataclasses.replace(recipe, workers=1), tmp_path / "run", quiet=True)


def test_masks_are_not_learned_where_only_rectangles_are_known(recipe):
    run = Run(recipe, CPU)
    run.model.train()
    stream = Stream(recipe)
    batch = collate([stream[0], stream[1]])
    batch["mask_weights"].zero_()
    assert run.learn(batch)["mask"] == 0.0


def test_a_confident_find_that_nobody_labelled_costs_less_where_labels_are_incomplete(recipe):
    from magpie_training import loss
    from magpie_training.model import BINS, Raw, anchor_points

    points, _ = anchor_points(96, 96)
    count = len(points)
    scores = torch.full((1, count, 4), -6.0)
    scores[0, 5, 0] = 3.0
    raw = Raw(
        torch.zeros(1, count, 4, BINS), scores, torch.zeros(1, count, 32), torch.zeros(1, 32, 24, 24)
    )
    batch = {
        "image": torch.zeros(1, 3, 96, 96),
        "ids": torch.zeros(1, 48, 48, dtype=torch.long),
        "boxes": torch.zeros(1, 1, 4),
        "classes": torch.tensor([[-1]]),
        "mask_weights": torch.zeros(1, 1),
    }
    known = loss.compute(raw, {**batch, "trusted": torch.ones(1, 48, 48, dtype=torch.bool)})
    unknown = loss.compute(raw, {**batch, "trusted": torch.zeros(1, 48, 48, dtype=torch.bool)})
    assert unknown.score < 0.2 * known.score


def test_a_run_that_was_cut_continues_exactly(recipe, tmp_path):
    train(recipe, tmp_path / "whole", quiet=True)
    half = dataclasses.replace(recipe, steps=2)
    # The first half must follow the whole run's learning rates, so cut it by its step count.
    run = Run(recipe, CPU)
    stream = Stream(recipe)
    run.model.train()
    for step in range(half.steps):
        items = range(step * recipe.batch, (step + 1) * recipe.batch)
        run.learn(collate([stream[i] for i in items]))
    (tmp_path / "cut").mkdir()
    run.save(tmp_path / "cut" / "last.pt")
    train(recipe, tmp_path / "cut", resume=True, quiet=True)
    whole, cut = (read_checkpoint(tmp_path / n / "last.pt") for n in ("whole", "cut"))
    assert whole["step"] == cut["step"] == recipe.steps
    for name, value in whole["ema"].items():
        assert torch.equal(value, cut["ema"][name]), name


def test_a_run_is_resumed_only_by_a_recipe_that_learns_the_same_weights(recipe, tmp_path):
    run = Run(recipe, CPU)
    run.save(tmp_path / "last.pt")
    other = dataclasses.replace(recipe, frozen_blocks=10)
    with pytest.raises(UserError, match="learned other weights than this recipe does"):
        train(other, tmp_path, resume=True, quiet=True)


def test_every_step_is_logged(recipe, tmp_path):
    train(recipe, tmp_path, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


def test_a_run_is_not_overwritten_without_being_asked(recipe, tmp_path):
    train(dataclasses.replace(recipe, steps=1), tmp_path, quiet=True)
    with pytest.raises(UserError, match="use --resume"):
        train(recipe, tmp_path, quiet=True)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(UserError, match="last.pt: damaged or not a checkpoint"):
        read_checkpoint(tmp_path / "last.pt")


def test_a_file_that_is_no_recipe_is_named(dataset):
    with pytest.raises(UserError, match="read recipe .*0.png: 'utf-8' codec"):
        read_recipe(dataset.parent / "0.png")


def test_a_wrong_recipe_ends_in_one_line_and_status_1(tmp_path, capsys):
    status = main(["train", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run")])
    assert status == 1
    assert capsys.readouterr().err == f"error: read recipe {tmp_path / 'none.toml'}: no such file\n"


ONE_OF_TWO = """
import os, sys, torch
from magpie_training import processes
from magpie_training.loader import Stream
from magpie_training.recipe import read_recipe
from magpie_training.train import Run, loop

recipe = read_recipe(sys.argv[1])
with processes.joined() as device:
    run = Run(recipe, device)
    loop(run, Stream(recipe), None, open(os.devnull, "a"), lambda: False, True)
    weights = dict(run.model.named_parameters())
    torch.save(weights, os.path.join(sys.argv[2], f"{processes.rank()}.pt"))
"""


def torchrun(*arguments, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def recipe_file(dataset, path):
    path.write_text(
        f"steps = 3\nbatch = 2\nsizes_px = [96]\nworkers = 0\nthreads = 1\nwarmup_steps = 1\n"
        f'[[sources]]\nannotations = "{dataset}"\n'
    )
    return path


def test_two_processes_end_with_the_same_weights(dataset, tmp_path):
    (tmp_path / "one_of_two.py").write_text(ONE_OF_TWO)
    torchrun("one_of_two.py", recipe_file(dataset, tmp_path / "r.toml"), tmp_path, cwd=tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_write_one_checkpoint_and_one_log(dataset, tmp_path):
    recipe = recipe_file(dataset, tmp_path / "r.toml")
    torchrun("-m", "magpie_training", "train", recipe, "--out", tmp_path / "run", cwd=tmp_path)
    assert read_checkpoint(tmp_path / "run/last.pt")["step"] == 3
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 3


def test_a_batch_that_cannot_be_dealt_out_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(UserError, match="batch of 8 to 3 processes"):
        processes.share(range(8))
