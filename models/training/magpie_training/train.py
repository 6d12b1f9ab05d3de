"""The training loop: interruptible at any time, continued exactly where it stopped.

`torchrun --nproc-per-node N -m magpie_training train ...` runs it in N processes.
"""

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import signal
import time
from pathlib import Path

import cv2
import torch
from torch import nn
from tqdm import tqdm

from . import UserError, loss, processes
from .loader import Stream, batches, collate
from .model import PackageNet
from .weights import read_checkpoint, read_net, revive, unfold, write_checkpoint

# Enough to know the mean and deviation of every channel to some percent.
UNFOLD_BATCHES = 16


class Run:
    """Everything a checkpoint holds: weights, their moving average, optimizer, progress."""

    def __init__(self, recipe, device, init=None, stream=None):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.model = first_net(recipe, init)
        if stream is not None and recipe.unfold and self.model.config.get("folded"):
            if recipe.revive:
                print(f"{revive(self.model, first_images(stream))} dead channels given back")
            self.model = unfold(self.model, first_images(stream))
        self.model.to(device, memory_format=torch.channels_last)
        self.averaging = processes.averaging(self.model, device)
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizer = make_optimizer(self.model, recipe)
        self.step, self.trained_s = 0, 0.0

    def progress(self):
        return progress(self.recipe, self.step, self.trained_s)

    def save(self, path):
        """Written beside and renamed, so that a cut leaves the last checkpoint whole."""
        state = {
            "format": 1,
            "recipe": dataclasses.asdict(self.recipe),
            "config": self.model.config,
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "trained_s": self.trained_s,
        }
        write_checkpoint(state, path)

    def load(self, path):
        state = read_checkpoint(path)
        self.model.load_state_dict(state["model"])
        self.ema = {k: v.to(self.device) for k, v in state["ema"].items()}
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise UserError(
                f"resume {path}: it learned other weights than this recipe does (see frozen_blocks and "
                "lr_backbone); resume with the recipe it was begun with"
            ) from error
        self.step, self.trained_s = state["step"], state["trained_s"]

    def learn(self, batch):
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        images = batch["image"].float().contiguous(memory_format=torch.channels_last)
        self.set_rates()
        generator = torch.Generator(self.device).manual_seed(self.recipe.seed * 1_000_003 + self.step)
        with self.autocast():
            raw = self.averaging(images)
        losses = loss.compute(raw, batch, generator)
        if not torch.isfinite(losses.total):
            raise UserError(f"train step {self.step}: the loss is {losses.total.item()}; lower `lr`")
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        self.update_ema()
        return {k: float(v.detach()) for k, v in losses._asdict().items()}

    def autocast(self):
        # On the CPU bf16 was measured to be more than ten times slower than float32.
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def set_rates(self):
        recipe, progress = self.recipe, self.progress()
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        rate = recipe.lr_final + (1 - recipe.lr_final) * cosine
        rate *= min(1.0, (self.step + 1) / max(1, recipe.warmup_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate

    @torch.no_grad()
    def update_ema(self):
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                self.ema[name].lerp_(value, 1 - decay)
            else:
                self.ema[name].copy_(value)


def progress(recipe, step, trained_s):
    """0 at the start, 1 at the end."""
    if recipe.minutes > 0:
        return min(1.0, trained_s / (60 * recipe.minutes))
    return min(1.0, step / recipe.steps)


def first_net(recipe, init):
    """A new network with ImageNet weights, or the one kept in `init`."""
    if init is None:
        net = PackageNet(recipe.classes, recipe.width, recipe.frozen_blocks)
        net.backbone.load_imagenet()
        return net
    net = read_net(init, recipe.frozen_blocks)
    if net.classes != tuple(recipe.classes):
        known, asked = ", ".join(net.classes), ", ".join(recipe.classes)
        raise UserError(f"start from {init}: it knows the classes {known}, the recipe names {asked}")
    return net


def first_images(stream):
    """Images of the run itself, to measure statistics on."""
    batch = stream.recipe.batch
    for step in range(UNFOLD_BATCHES):
        yield collate([stream[step * batch + i] for i in range(batch)])["image"].float()


def make_optimizer(model, recipe):
    """AdamW; the backbone learns slowly, norms and biases do not decay."""
    groups = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        base_lr = recipe.lr_backbone if name.startswith("backbone.") else recipe.lr
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((base_lr, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": p, "lr": lr, "base_lr": lr, "weight_decay": decay}
            for (lr, decay), p in groups.items()
        ]
    )


def train(recipe, out_dir, *, resume=False, init=None, quiet=False):
    """Runs a recipe to its end; returns the path of the last checkpoint."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = out_dir / "last.pt"
    keep_memory()
    torch.set_num_threads(recipe.threads)
    cv2.setNumThreads(1)
    with processes.joined() as device:
        if checkpoint.exists() and not resume:
            raise UserError(f"start training in {out_dir}: it holds a run; use --resume or another --out")
        processes.together(device)
        stream = Stream(recipe)
        # A checkpoint says itself whether its network is folded.
        run = Run(recipe, device, checkpoint) if resume else Run(recipe, device, init, stream)
        if resume:
            run.load(checkpoint)
        first = processes.rank() == 0
        log_path = out_dir / "log.jsonl" if first else os.devnull
        with stop_signals() as stopped, open(log_path, "a") as log:
            try:
                loop(run, stream, checkpoint if first else None, log, stopped, quiet or not first)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise UserError(
                    f"train step {run.step}: the process that loads pictures was ended (for lack of "
                    "memory?); the last checkpoint is whole: resume"
                ) from error
        if first:
            run.save(checkpoint)
        processes.together(device)
    return checkpoint


def keep_memory():
    """Asks glibc to keep freed buffers: handing them back each step costs page faults."""
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def loop(run, stream, checkpoint, log, stopped, quiet):
    recipe = run.recipe
    set_learning(run.model, recipe.fixed_statistics)
    last_step = 1_000_000 if recipe.minutes > 0 else recipe.steps
    saved = started = time.monotonic()
    bar_format = "{percentage:5.1f} % |{bar:20}| {elapsed} gone, {remaining} left, {postfix}"
    first = round(run.progress(), 4)
    with tqdm(total=1.0, initial=first, disable=quiet, bar_format=bar_format) as bar:
        for batch in batches(stream, run.step, last_step):
            losses = run.learn(batch)
            now = time.monotonic()
            stop, run.trained_s = processes.agreed([stopped(), run.trained_s + now - started], run.device)
            started = now
            line = {"step": run.step, "trained_s": round(run.trained_s, 1), **losses}
            log.write(json.dumps(line) + "\n")
            log.flush()
            bar.set_postfix_str(f"step {run.step}, loss {losses['total']:.2f}")
            bar.update(run.progress() - bar.n)
            if checkpoint and now - saved > 60 * recipe.checkpoint_minutes:
                run.save(checkpoint)
                saved = now
            if stop or run.progress() >= 1.0:
                break


def set_learning(model, fixed_statistics):
    """`train()`, but for statistics that stay as they are."""
    model.train()
    if fixed_statistics:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


@contextlib.contextmanager
def stop_signals():
    """A first SIGTERM or Ctrl-C ends the loop after its step; the run is saved then."""
    caught = []
    before = {s: signal.signal(s, lambda s, _: caught.append(s)) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
