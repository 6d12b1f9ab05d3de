"""A training run as written in a TOML file; unknown keys are refused."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from . import CLASSES, UserError


@dataclass(frozen=True)
class Source:
    """One or several COCO datasets and their share of the pictures."""

    # A file, or a pattern with `*`.
    annotations: str
    share: float = 1.0
    # Every package is labelled (images marked `all_polygon` always count as such).
    complete: bool = True
    # Weight of the mask loss; annotations with `mask_source = "bbox"` never have one.
    mask_weight: float = 1.0
    # Masks show whole packages, so they can be cut out and pasted elsewhere.
    whole: bool = True
    # Nothing in the pictures is a package: no labels, and they keep their ground (`ground_share`).
    empty: bool = False
    # Scale around "the picture fits the canvas", least and most.
    zoom: tuple = (0.6, 2.0)


@dataclass(frozen=True)
class Recipe:
    sources: tuple
    classes: tuple = CLASSES
    seed: int = 1
    # A run ends after this many steps, or, where `minutes` is above 0, after that much training
    # time; the learning rate follows whichever of the two it is.
    steps: int = 1000
    minutes: float = 0.0
    batch: int = 16
    # Sides of the square canvas in pixels, one drawn per step; multiples of 32.
    sizes_px: tuple = (320,)
    width: int = 96
    frozen_blocks: int = 3
    # A run from a model file learns with the batch normalisation that was folded in given back.
    unfold: bool = False
    # And with dead channels of the backbone given back their ImageNet weights.
    revive: bool = False
    # Every batch normalisation keeps the statistics it began with.
    fixed_statistics: bool = False
    lr: float = 1.5e-3
    lr_backbone: float = 3e-4
    lr_final: float = 0.02
    warmup_steps: int = 60
    weight_decay: float = 0.03
    ema_decay: float = 0.998
    mosaic_share: float = 0.3
    paste_share: float = 0.4
    paste_max: int = 4
    # Share of the pictures in which one package is made to fill much of the canvas.
    fill_share: float = 0.0
    # Share of the pictures whose packages get prints, partly from the pictures in the folders
    # `prints`, and of those laid on another ground (complete pictures with all outlines only):
    # a smooth one, or one of `backgrounds`.
    reprint_share: float = 0.0
    prints: tuple = ()
    ground_share: float = 0.0
    workers: int = 1
    threads: int = 2
    cache_dir: str = ""
    checkpoint_minutes: float = 3.0
    # Annotation files of pictures that judge: a run that learns from one of them, or from the same
    # recording day, does not begin.
    held_out: tuple = ()
    # Folders of pictures without packages, or COCO files of them, and the share of pictures that consist of a ground with
    # few cut-outs or none.
    backgrounds: tuple = field(default=())
    background_share: float = 0.0
    # Share of the grounds that become the floor of a painted room.
    room_share: float = 0.0


def read_recipe(path):
    path = Path(path)
    if not path.is_file():
        raise UserError(f"read recipe {path}: no such file")
    try:
        table = tomllib.loads(path.read_text())
    except ValueError as error:  # of TOML or of UTF-8
        raise UserError(f"read recipe {path}: {error}") from error
    return parse_recipe(table, path)


def parse_recipe(table, origin):
    sources = tuple(build(Source, source, origin) for source in table.get("sources", ()))
    recipe = build(Recipe, {**table, "sources": sources}, origin)
    if not sources:
        raise UserError(f"read recipe {origin}: it names no [[sources]]")
    if recipe.batch < 1 or (recipe.minutes <= 0 and recipe.steps < 1) or not recipe.sizes_px:
        raise UserError(f"read recipe {origin}: batch, sizes_px, and steps or minutes, must be above 0")
    if recipe.workers < 0:
        raise UserError(f"read recipe {origin}: workers is {recipe.workers}; 0 loads in the main process")
    if recipe.paste_max < 1:
        raise UserError(f"read recipe {origin}: paste_max is {recipe.paste_max}; paste_share = 0 pastes nothing")
    if recipe.revive and not recipe.unfold:
        raise UserError(f"read recipe {origin}: revive goes with unfold = true")
    for source in sources:
        if source.share < 0:
            raise UserError(f"read recipe {origin}: share is {source.share} for {source.annotations}")
        if len(source.zoom) != 2 or not 0 < source.zoom[0] <= source.zoom[1]:
            raise UserError(f"read recipe {origin}: zoom is {list(source.zoom)}, want least and most, above 0")
    wrong = [s for s in recipe.sizes_px if not isinstance(s, int) or s % 32 or s < 64]
    if wrong:
        raise UserError(f"read recipe {origin}: sizes_px {wrong[0]} is not a multiple of 32")
    return recipe


def build(kind, table, origin):
    known = {f.name: f.type for f in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UserError(f"read recipe {origin}: unknown key {unknown[0]!r}")
    tupled = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    for name, value in tupled.items():
        fits = (int, float) if known[name] is float else known[name]
        if not isinstance(value, fits) or isinstance(value, bool) != (known[name] is bool):
            raise UserError(f"read recipe {origin}: {name} is {value!r}, want a value like {known[name].__name__}")
    try:
        return kind(**tupled)
    except TypeError as error:
        raise UserError(f"read recipe {origin}: {error}") from error
