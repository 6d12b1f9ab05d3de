"""A network from where its weights are kept: a checkpoint, or a model file that was exported.

An exported file holds every weight under its name in the network, with each batch
normalisation folded into the convolution before it. A network read from one stays folded,
also while it learns: its statistics are then those of the model it started from.
"""

import ast
import os
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn.utils import fusion

from . import UserError, deployed
from .model import PackageNet

# Where an exported file keeps the network's own weights.
PREFIX = "net."
# Of the liveliest channel's deviation: below that a channel always gives the same.
DEAD_SHARE = 1e-4


def read_net(path, frozen_blocks=3):
    """The averaged weights of a checkpoint, or the weights of an exported `.onnx` file."""
    if Path(path).suffix == ".onnx":
        return net_from_onnx(path, frozen_blocks)
    return net_from_state(read_checkpoint(path), frozen_blocks)


def read_checkpoint(path):
    path = Path(path)
    if not path.is_file():
        raise UserError(f"read checkpoint {path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's own words advise to trust the file.
        raise UserError(f"read checkpoint {path}: damaged or not a checkpoint of `train`") from error


def write_checkpoint(state, path):
    """Written beside and renamed, so that a cut leaves the last one whole."""
    partial = path.with_suffix(".part")
    try:
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        # PyTorch's own writer tells of positions in the file, not of the disk.
        why = error.strerror if isinstance(error, OSError) else "not all of it, as on a full disk"
        raise UserError(
            f"write checkpoint {path}: {why}; the one before is whole: make room, then resume"
        ) from error
    partial.replace(path)


def blended(checkpoint, base, share):
    """A checkpoint on the way from the base's weights to the taught ones.

    Half-way, a network has learned about as much of the new and forgotten less of the old
    (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    state, old = read_checkpoint(checkpoint), read_net(base)
    taught = net_from_state(state)
    if old.config.get("folded") or taught.config.get("folded"):
        for net in (old, taught):
            fold(net)
    tensors = [net.state_dict() for net in (old, taught)]
    shapes = [{name: t.shape for name, t in weights.items()} for weights in tensors]
    if shapes[0] != shapes[1]:
        raise UserError(f"blend {checkpoint} with {base}: their weights do not correspond; name its base")
    state["config"] = taught.config
    state["ema"] = {
        name: weight.lerp(tensors[1][name], share) if weight.dtype.is_floating_point else tensors[1][name]
        for name, weight in tensors[0].items()
    }
    out = checkpoint.with_name("blended.pt")
    write_checkpoint(state, out)
    return out


def net_from_state(state, frozen_blocks=3):
    config = state["config"]
    net = PackageNet(config["classes"], config["width"], frozen_blocks)
    if config.get("folded"):
        fold(net)
    net.load_state_dict(state["ema"])
    return net.eval()


def net_from_onnx(path, frozen_blocks=3):
    """Refuses a file whose answers the network read from it does not give."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"read model {path}: no such file")
    try:
        model = onnx.load(str(path), load_external_data=False)
        properties = {p.key: p.value for p in model.metadata_props}
        classes = list(ast.literal_eval(properties["names"]).values())
        height, width_px = ast.literal_eval(properties["imgsz"])
        stride = int(properties["stride"])
        deployed.LOOKS[stride]
    except Exception as error:
        raise UserError(
            f"read model {path}: not a model file of this project ({error!r}); name a float32 file "
            "that `export` wrote"
        ) from error
    stored = stored_weights(model.graph)
    first = stored.get("neck.lateral.0.0.weight")
    net = PackageNet(classes, first.dims[0] if first else 96, frozen_blocks)
    fold(net)
    own = net.state_dict()
    missing = [n for n in own if n not in stored or list(stored[n].dims) != list(own[n].shape)]
    if missing:
        raise UserError(
            f"read model {path}: {len(missing)} of the network's {len(own)} float32 weights are not "
            f"in it (first: {missing[0]}); name a float32 file that `export` wrote"
        )
    arrays = {n: onnx.numpy_helper.to_array(stored[n]).copy() for n in own}
    net.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()})
    net.eval()
    picture = deployed.test_picture(height, width_px)
    expected = deployed.answers(deployed.Deployed(net, height, width_px, stride).eval(), picture)
    found = deployed.differences(path, picture, expected, len(classes))
    if deployed.lost(found):
        name = deployed.lost(found)[0]
        raise UserError(
            f"read model {path}: the network read from it answers otherwise ({name} differ by "
            f"{found[name]:.2e}); it was exported from another network"
        )
    return net


def stored_weights(graph):
    """The float32 weights and biases of all convolutions, by their names in the network.

    The exporter keeps equal tensors once, under one of their names, so a bias is found
    through the convolution that reads it.
    """
    tensors = {i.name: i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    stored = {}
    for node in graph.node:
        if node.op_type != "Conv" or not node.input[1].startswith(PREFIX):
            continue
        layer = node.input[1].removeprefix(PREFIX).removesuffix(".weight")
        for kind, name in zip(("weight", "bias"), node.input[1:]):
            if name in tensors:
                stored[f"{layer}.{kind}"] = tensors[name]
    return stored


def fold(net):
    """Folds every batch normalisation into the convolution before it, for good."""
    fold_children(net)
    net.config["folded"] = True
    net.backbone.freeze(net.backbone.frozen_blocks)


def fold_children(module):
    children = list(module.named_children())
    training = module.training
    for (name, child), (next_name, following) in zip(children, children[1:]):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            fused = fusion.fuse_conv_bn_eval(child.eval(), following.eval())
            setattr(module, name, fused.train(training))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_children(child)


def unfold(net, batches):
    """Gives a folded network its batch normalisations back; its answers stay the same.

    What each convolution gives for `batches` of images `[batch, 3, height, width]` becomes the
    statistics, and its weights are scaled so that they give unit variance: one rate of learning
    then suits all of them, which it does not where some have been folded to be small.
    """
    whole = PackageNet(net.classes, net.config["width"], net.backbone.frozen_blocks)
    pairs = dict(normalised(whole))
    sums = {name: Sums() for name in pairs}
    hooks = [net.get_submodule(n).register_forward_hook(s.add) for n, s in sums.items()]
    with torch.no_grad():
        for images in batches:
            net(images)
    for hook in hooks:
        hook.remove()
    state = dict(net.state_dict())
    for conv, norm in pairs.items():
        bias = state.pop(f"{conv}.bias")
        mean, deviation = sums[conv].moments()
        eps = whole.get_submodule(norm).eps
        state[f"{conv}.weight"] = state[f"{conv}.weight"] / deviation[:, None, None, None]
        state[f"{norm}.running_mean"] = (mean - bias) / deviation
        state[f"{norm}.running_var"] = torch.full_like(mean, 1.0 - eps)
        state[f"{norm}.weight"], state[f"{norm}.bias"] = deviation, mean
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    whole.load_state_dict(state)
    return whole.eval()


@torch.no_grad()
def revive(net, batches):
    """Gives the backbone's dead channels their ImageNet weights back; the answers stay the same.

    A channel is dead where its depthwise convolution gives one and the same number everywhere: no
    gradient reaches it any more. What it gave moves into the bias of the projection after it, whose
    weights for it begin at zero. Returns how many channels were given back.
    """
    fresh = PackageNet(net.classes, net.config["width"], net.backbone.frozen_blocks)
    fresh.backbone.load_imagenet()
    fold(fresh)
    blocks = [(old, new) for old, new in zip(net.backbone._blocks, fresh.backbone._blocks) if old.expands]
    sums = [Sums() for _ in blocks]
    hooks = [old._depthwise_conv.register_forward_hook(s.add) for (old, _), s in zip(blocks, sums)]
    for images in batches:
        net(images)
    for hook in hooks:
        hook.remove()
    revived = 0
    for (old, new), measured in zip(blocks, sums):
        mean, deviation = measured.raw_moments()
        dead = deviation < DEAD_SHARE * deviation.max()
        projection = old._project_conv
        constant = (mean.float().clamp(0, 6) * dead)[None, :, None, None]
        projection.bias += (projection.weight * constant).sum((1, 2, 3))
        projection.weight[:, dead] = 0.0
        for name in ("_expand_conv", "_depthwise_conv"):
            own, published = getattr(old, name), getattr(new, name)
            own.weight[dead], own.bias[dead] = published.weight[dead], published.bias[dead]
        revived += int(dead.sum())
    return revived


class Sums:
    """Mean and standard deviation of each channel of what a convolution gives."""

    def __init__(self):
        self.count, self.first, self.second = 0, 0.0, 0.0

    def add(self, _module, _inputs, output):
        values = output.double()
        self.count += values.numel() // values.shape[1]
        self.first = self.first + values.sum((0, 2, 3))
        self.second = self.second + values.square().sum((0, 2, 3))

    def raw_moments(self):
        mean = self.first / self.count
        return mean, (self.second / self.count - mean.square()).clamp(min=0).sqrt()

    def moments(self):
        mean, deviation = self.raw_moments()
        # A channel that always gives the same would be divided by nothing; in some layers most do.
        varying = deviation[deviation > 1e-6 * deviation.max()]
        least = 1e-2 * float(varying.median()) if len(varying) else 1.0
        return mean.float(), deviation.clamp(min=least).float()


def normalised(module, prefix=""):
    """The names of every convolution that a batch normalisation follows, and of that."""
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, children[1:]):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            yield prefix + name, prefix + next_name
    for name, child in module.named_children():
        yield from normalised(child, f"{prefix}{name}.")
