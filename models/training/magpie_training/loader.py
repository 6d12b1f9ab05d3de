"""The endless, reproducible stream of training items: item N depends on the seed and on N alone."""

import signal
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from . import UserError, augment, processes
from .data import load_all, load_coco, read_image, read_sample
from .divide import refuse_shared_groups
from .rooms import painted_room

# Batches with more packages than this lose some at random; it bounds the memory of a step.
TARGETS_MAX = 160


class Stream(Dataset):
    def __init__(self, recipe):
        self.recipe = recipe
        self.cache_dir = recipe.cache_dir or None
        if self.cache_dir:
            Path(self.cache_dir).mkdir(parents=True, exist_ok=True)
        self.pools = [
            load_all(
                s.annotations, recipe.classes,
                complete=s.complete, mask_weight=s.mask_weight, whole=s.whole, empty=s.empty,
            )
            for s in recipe.sources
        ]
        refuse_shared_groups(self.pools, [s.annotations for s in recipe.sources], recipe.held_out)
        self.weights = [np.array([r.weight for r in pool]) for pool in self.pools]
        shares = np.array([s.share for s in recipe.sources])
        if shares.sum() <= 0:
            raise UserError("read recipe: the shares of all sources are zero")
        self.shares = shares / shares.sum()
        whole = np.array([s.share * (s.whole and not s.empty) for s in recipe.sources])
        self.whole_shares = whole / whole.sum() if whole.sum() > 0 else None
        self.backgrounds = pictures(recipe.backgrounds, recipe.classes)
        self.prints = pictures(recipe.prints)

    def size_px(self, step):
        rng = np.random.default_rng([self.recipe.seed, 7, step])
        return int(rng.choice(self.recipe.sizes_px))

    def __getitem__(self, item):
        step = item // self.recipe.batch
        rng = np.random.default_rng([self.recipe.seed, 11, item])
        return self.tensors(self.canvas(self.size_px(step), rng), rng)

    def pick(self, shares, rng):
        source = int(rng.choice(len(self.pools), p=shares))
        pool = self.pools[source]
        weights = self.weights[source]
        if (weights == weights[0]).all():
            index = rng.integers(len(pool))
        else:
            index = rng.choice(len(pool), p=weights / weights.sum())
        record = pool[index]
        return read_sample(record, self.cache_dir), self.recipe.sources[source].zoom

    def canvas(self, side, rng):
        recipe = self.recipe
        pastes = self.whole_shares is not None and rng.random() < recipe.paste_share
        count = int(rng.integers(1, recipe.paste_max + 1)) if pastes else 0
        if self.backgrounds and rng.random() < recipe.background_share:
            canvas, keeps_ground = self.background(side, rng), True
            count = max(count, int(rng.integers(0, recipe.paste_max + 1)))
        elif rng.random() < recipe.mosaic_share:
            picked = [self.pick(self.shares, rng) for _ in range(4)]
            canvas = augment.mosaic([p[0] for p in picked], side, side, picked[0][1], rng)
            keeps_ground = any(not p[0].record.instances for p in picked)
        else:
            sample, zoom = self.pick(self.shares, rng)
            canvas = augment.render(sample, side, side, zoom, rng, recipe.fill_share)
            keeps_ground = not sample.record.instances
        known = canvas.trusted.all()
        for _ in range(count):
            sample, _ = self.pick(self.whole_shares, rng)
            cut = augment.cut_out(sample, rng)
            if cut is not None:
                augment.paste(canvas, cut, sample.record.mask_weight, rng)
        if rng.random() < recipe.reprint_share:
            photographs = (lambda r: one_of(self.prints, r)) if self.prints else None
            augment.reprint(canvas, rng.uniform(0.2, 0.8), photographs, rng)
        outlined = all(t.mask_weight > 0 for t in canvas.targets)
        if outlined and known and not keeps_ground and rng.random() < recipe.ground_share:
            augment.lay_on(canvas, self.ground(side, rng), rng)
        canvas.image = augment.photograph(canvas.image, rng)
        return canvas

    def ground(self, side, rng):
        if self.backgrounds and rng.random() < 0.75:
            ground = augment.photographed_ground(one_of(self.backgrounds, rng), side, side, rng)
        else:
            ground = augment.plain_ground(side, side, rng)
        in_room = self.recipe.room_share > 0 and rng.random() < self.recipe.room_share
        return painted_room(ground, rng) if in_room else ground

    def background(self, side, rng):
        canvas = augment.blank(side, side, rng)
        canvas.image[:] = np.clip(self.ground(side, rng), 0, 255)
        return canvas

    def tensors(self, canvas, rng):
        targets = list(enumerate(canvas.targets))
        if len(targets) > TARGETS_MAX:
            chosen = rng.choice(len(targets), TARGETS_MAX, replace=False)
            targets = [targets[i] for i in sorted(chosen)]
        renumber = np.zeros(len(canvas.targets) + 1, np.int64)
        renumber[[i + 1 for i, _ in targets]] = np.arange(1, len(targets) + 1)
        # What is left out is a package still, no ground.
        trusted = canvas.trusted & ~((canvas.ids > 0) & (renumber[canvas.ids] == 0))
        kept = {i for i, _ in targets}
        for index, target in enumerate(canvas.targets):
            if index not in kept:
                x0, y0, x1, y1 = (target.bbox / 2).round().astype(int)
                trusted[y0:y1, x0:x1] = False
        return {
            "image": torch.from_numpy(canvas.image[:, :, ::-1].copy()).permute(2, 0, 1),
            "ids": torch.from_numpy(renumber[canvas.ids]),
            "trusted": torch.from_numpy(trusted),
            "boxes": torch.tensor(np.array([t.bbox for _, t in targets]), dtype=torch.float32)
            .reshape(-1, 4),
            "classes": torch.tensor([t.class_id for _, t in targets], dtype=torch.long),
            "mask_weights": torch.tensor(
                [t.mask_weight for _, t in targets], dtype=torch.float32
            ),
        }


def one_of(paths, rng):
    return read_image(paths[rng.integers(len(paths))])


def pictures(folders, classes=()):
    """All JPEG pictures below the folders, in a fixed order, and those of COCO files that hold no package."""
    found = []
    for folder in folders:
        if Path(folder).suffix == ".json":
            found += [r.path for r in load_coco(folder, classes, complete=False, empty=True) if r.complete]
            continue
        here = sorted(Path(folder).rglob("*.jpg"))
        if not here:
            raise UserError(f"read recipe: no .jpg in {folder}")
        found += here
    return found


def collate(items):
    """Pads the targets to the largest count; padding has class -1."""
    count = max(1, max(len(i["classes"]) for i in items))

    def padded(name, fill):
        shape = (len(items), count, *items[0][name].shape[1:])
        out = torch.full(shape, fill, dtype=items[0][name].dtype)
        for row, item in zip(out, items):
            row[: len(item[name])] = item[name]
        return out

    batch = {name: torch.stack([i[name] for i in items]) for name in ("image", "ids", "trusted")}
    batch["boxes"] = padded("boxes", 0.0)
    batch["classes"] = padded("classes", -1)
    batch["mask_weights"] = padded("mask_weights", 0.0)
    return batch


def batches(stream, first_step, last_step):
    """Batches of steps `first_step` up to, not including, `last_step`.

    What is wrong with a picture is told in one line, as if no other process had met it.
    """
    batch, workers = stream.recipe.batch, stream.recipe.workers
    plan = [
        processes.share(range(s * batch, (s + 1) * batch)) for s in range(first_step, last_step)
    ]
    loader = DataLoader(
        stream,
        batch_sampler=plan,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=one_thread,
        prefetch_factor=4 if workers else None,
    )
    loaded = iter(loader)
    try:
        yield from loaded
    except UserError as error:
        last = str(error).splitlines()[-1]
        raise UserError(last.removeprefix(f"{UserError.__module__}.UserError: ")) from error
    finally:
        # They ignore SIGTERM, by which Python would end them at its exit, and wait for ever.
        if workers:
            loaded._shutdown_workers()


def one_thread(_worker):
    # A stop signal to the whole group is the main process's business.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
