import dataclasses

import onnx
import pytest
import torch

from magpie_training import UserError, deployed, export, weights
from magpie_training.loader import Stream, collate
from magpie_training.train import Run, train

CPU = torch.device("cpu")
OPTIONS = {"size": (128, 128), "version": "0", "training_data": "test", "score_min": 0.3}


@pytest.fixture
def learned(recipe):
    """A run whose batch normalisation is no longer the identity."""
    run = Run(dataclasses.replace(recipe, ema_decay=0.0), CPU)
    run.model.train()
    stream = Stream(recipe)
    for step in range(2):
        run.learn(collate([stream[2 * step], stream[2 * step + 1]]))
    return run


@pytest.fixture
def exported(learned, tmp_path):
    learned.save(tmp_path / "last.pt")
    export.export(tmp_path / "last.pt", tmp_path / "model.onnx", **OPTIONS)
    return tmp_path / "model.onnx"


def raw_of(net, picture=None):
    if picture is None:
        picture = torch.from_numpy(deployed.test_picture(96, 128)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return net.eval()(picture)


def test_a_network_read_from_a_model_file_answers_as_the_one_that_was_exported(learned, exported):
    net = weights.read_net(exported)
    assert net.config["folded"] and net.classes == learned.model.classes
    for wanted, got in zip(raw_of(learned.model), raw_of(net)):
        assert torch.allclose(wanted, got, atol=1e-3, rtol=1e-4)


def test_a_file_that_looks_once_is_read_and_exported_as_such(learned, tmp_path):
    learned.save(tmp_path / "last.pt")
    once = {**OPTIONS, "size": (96, 128), "stride": 32}
    export.export(tmp_path / "last.pt", tmp_path / "once.onnx", **once)
    net = weights.read_net(tmp_path / "once.onnx")
    for wanted, got in zip(raw_of(learned.model), raw_of(net)):
        assert torch.allclose(wanted, got, atol=1e-3, rtol=1e-4)
    graph = onnx.load(str(tmp_path / "once.onnx")).graph
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 4 + 4 + 32, 252]


def test_a_run_that_starts_from_a_model_file_learns_resumes_and_is_exported(recipe, exported, tmp_path):
    whole = train(recipe, tmp_path / "whole", init=exported, quiet=True)
    run = Run(recipe, CPU, exported)
    stream = Stream(recipe)
    run.model.train()
    for step in range(2):
        run.learn(collate([stream[i] for i in range(step * recipe.batch, (step + 1) * recipe.batch)]))
    (tmp_path / "cut").mkdir()
    run.save(tmp_path / "cut" / "last.pt")
    cut = train(recipe, tmp_path / "cut", resume=True, quiet=True)
    before = weights.read_net(exported).state_dict()
    first, second = (weights.read_checkpoint(p)["model"] for p in (whole, cut))
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], before[n]) for n in first if n.startswith("heads"))
    export.export(whole, tmp_path / "again.onnx", **OPTIONS)
    again = weights.read_net(tmp_path / "again.onnx").state_dict()
    ema = weights.read_checkpoint(whole)["ema"]
    assert all(torch.equal(again[n], ema[n]) for n in ema)


def test_a_network_that_gets_its_normalisation_back_answers_as_before(recipe, exported):
    net = weights.read_net(exported)
    stream = Stream(recipe)
    images = [collate([stream[i]])["image"].float() for i in range(4)]
    whole = weights.unfold(net, images)
    assert "folded" not in whole.config
    for wanted, got in zip(raw_of(net), raw_of(whole)):
        assert torch.allclose(wanted, got, atol=1e-3, rtol=1e-3)
    values = []
    first = whole.neck.lateral[0]
    first[0].register_forward_hook(lambda _module, _inputs, output: values.append(output))
    with torch.no_grad():
        for picture in images:
            whole(picture)
    assert torch.allclose(torch.cat(values).std((0, 2, 3)), torch.ones(len(first[0].weight)), atol=0.05)


@torch.no_grad()
def kill(net, block, share):
    """Makes a share of the channels of a block's expansion give nothing, wherever one looks."""
    bias = net.backbone._blocks[block]._expand_conv.bias
    bias[: int(share * len(bias))] = -1e3


def images_of(recipe, count=4):
    stream = Stream(recipe)
    return [collate([stream[i]])["image"].float() for i in range(count)]


def test_a_layer_whose_channels_are_mostly_dead_gets_its_normalisation_back(recipe, exported):
    net, images = weights.read_net(exported), images_of(recipe)
    kill(net, 14, 0.7)
    whole = weights.unfold(net, images)
    assert all(t.isfinite().all() for t in whole.state_dict().values())
    for wanted, got in zip(raw_of(net), raw_of(whole)):
        assert torch.allclose(wanted, got, atol=1e-3, rtol=1e-3)


def test_dead_channels_get_weights_back_and_the_answers_stay_the_same(recipe, exported):
    net, images = weights.read_net(exported), images_of(recipe)
    kill(net, 14, 0.7)
    before = raw_of(net, images[1])
    revived = weights.revive(net, images)
    assert revived >= int(0.7 * 1152)
    for wanted, got in zip(before, raw_of(net, images[1])):
        assert torch.allclose(wanted, got, atol=1e-3, rtol=1e-3)
    # A gradient reaches what was given back.
    projection = net.backbone._blocks[14]._project_conv.weight
    net(images[0]).scores.sum().backward()
    assert projection.grad[:, : int(0.7 * 1152)].abs().sum() > 0


def test_a_run_from_a_model_file_gets_its_dead_channels_back(recipe, exported, tmp_path, capsys):
    train(dataclasses.replace(recipe, unfold=True, revive=True), tmp_path / "run", init=exported, quiet=True)
    assert "dead channels given back" in capsys.readouterr().out


def test_a_run_from_a_model_file_learns_with_its_normalisation(recipe, exported, tmp_path):
    unfolding = dataclasses.replace(recipe, unfold=True)
    whole = train(unfolding, tmp_path / "run", init=exported, quiet=True)
    state = weights.read_checkpoint(whole)
    assert "neck.lateral.0.1.running_var" in state["ema"]
    export.export(whole, tmp_path / "again.onnx", **OPTIONS)
    resumed = Run(unfolding, CPU, whole)
    assert resumed.model.config == state["config"]


def test_a_frozen_backbone_does_not_learn(recipe, exported):
    run = Run(dataclasses.replace(recipe, frozen_blocks=16), CPU, exported)
    run.model.train()
    before = {n: v.clone() for n, v in run.model.state_dict().items()}
    stream = Stream(recipe)
    run.learn(collate([stream[0], stream[1]]))
    changed = {n.split(".")[0] for n, v in run.model.state_dict().items() if not torch.equal(v, before[n])}
    assert "heads" in changed and "backbone" not in changed


def test_equal_weights_that_a_file_holds_once_are_all_found(recipe, tmp_path):
    Run(recipe, CPU).save(tmp_path / "new.pt")  # its biases are all zero
    export.export(tmp_path / "new.pt", tmp_path / "new.onnx", **OPTIONS)
    names = {i.name for i in onnx.load(str(tmp_path / "new.onnx")).graph.initializer}
    net = weights.read_net(tmp_path / "new.onnx")
    assert len([n for n in net.state_dict() if f"net.{n}" not in names]) > 0


def test_files_that_hold_no_weights_to_teach_are_refused(recipe, exported, tmp_path):
    model = onnx.load(str(exported))
    name = "net.neck.reduce8.0.weight"
    stored = next(i for i in model.graph.initializer if i.name == name)
    for node in model.graph.node:
        renamed = ["renamed" if i == name else i for i in node.input]
        del node.input[:]
        node.input.extend(renamed)
    stored.name = "renamed"
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(UserError, match="2 of the network's .* not in it .first: neck.reduce8.0.weight"):
        weights.read_net(tmp_path / "foreign.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="broken.onnx: not a model file"):
        weights.read_net(tmp_path / "broken.onnx")
    with pytest.raises(UserError, match="none.onnx: no such file"):
        weights.read_net(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="knows the classes box, .* the recipe names box$"):
        Run(dataclasses.replace(recipe, classes=("box",)), CPU, exported)


def test_a_file_that_computes_something_else_is_refused(exported):
    model = onnx.load(str(exported))
    clip = next(n for n in model.graph.node if n.op_type == "Relu")
    clip.op_type = "Abs"
    onnx.save(model, str(exported))
    with pytest.raises(UserError, match="the network read from it answers otherwise"):
        weights.read_net(exported)
