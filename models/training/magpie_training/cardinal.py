"""What a universal model saves: taught a cell by few pictures, against a model made for the cell.

Two simulated cells, `recipes/cells/prototype.toml` and `production.toml`, in which the universal
model never learned. On the same test pictures of the production cell:
- (a) the universal model as it is,
- (b) the universal model taught by N pictures of the production cell (`finetune`),
- (c) a bespoke model: from ImageNet weights on 25 N prototype and N production pictures.

Or on labelled photographs of real cells: `prototype`, `production` and `test` name them.

Named after the station for which the comparison was first made with 1,000 and 25,000 pictures.
"""

import dataclasses
import json
from pathlib import Path

from . import CLASSES, UserError, export, judge
from .data import load_all
from .divide import refuse_shared_groups
from .finetune import (
    CHECK_FRAMES,
    CHECK_SEED,
    REPLAY_FRAMES,
    REPLAY_SEED,
    Options,
    finetune,
    read_base,
    sha256,
    write_json,
)
from .frames import CELLS, simulated
from .recipe import Recipe, Source
from .train import train
from .weights import read_checkpoint

# Nobody trains on these seeds elsewhere.
SEEDS = {"prototype": 880_001, "production": 880_002, "test": 880_003}
PROTOTYPE_PER_PRODUCTION = 25
SCORE = "mask AP, types ignored"


@dataclasses.dataclass(frozen=True)
class Plan:
    base: Path
    out: Path
    counts: tuple
    bespoke_counts: tuple
    test_frames: int
    teach_steps: int
    bespoke_steps: int
    textures: Path | None = None
    magpie: str | None = None
    # COCO files of photographs, all three or none.
    prototype: Path | None = None
    production: Path | None = None
    test: Path | None = None

    def __post_init__(self):
        given = [name for name in ("prototype", "production", "test") if getattr(self, name)]
        if given and len(given) < 3:
            raise UserError(f"cardinal: --{given[0]} goes with --prototype, --production and --test")
        if given:
            pools = [load_all(str(p), CLASSES, complete=False) for p in (self.prototype, self.production)]
            refuse_shared_groups(pools, (self.prototype, self.production), (self.test,))

    @property
    def real(self):
        return self.test is not None

    @property
    def most(self):
        return max((1, *self.counts, *self.bespoke_counts))


def cardinal(plan):
    """Runs what is not done yet; returns the rows of the table."""
    plan.out.mkdir(parents=True, exist_ok=True)
    program = judge.find_program(plan.magpie)
    if program is None:
        raise UserError("simulate the cells: build the program (cargo build --release -p magpie)")
    umpire = judge.Judge(program)
    read_base(plan.base)  # refuses what cannot be taught, before anything is simulated
    settle(plan)
    test = cell(plan, program, "production", "test", plan.test_frames)
    frames = cell(plan, program, "production", "production", plan.most)
    base = sha256(plan.base)[:8]
    scores = cached(plan, f"universal_{base}", lambda: umpire.scores(plan.base, test))
    rows = [row("universal", 0, 0, 0, scores)]
    if plan.counts:
        base_sets = (
            simulated(program, plan.out / "base/replay", REPLAY_SEED, REPLAY_FRAMES),
            simulated(program, plan.out / "base/check", CHECK_SEED, CHECK_FRAMES),
        )
    for count in plan.counts:
        name = f"taught_{count}_{base}"
        rows.append(cached(plan, name, lambda: taught(plan, name, count, frames, test, base_sets)))
        report(plan, rows)
    if plan.bespoke_counts:
        most = PROTOTYPE_PER_PRODUCTION * max(plan.bespoke_counts)
        prototype = cell(plan, program, "prototype", "prototype", most)
    for count in plan.bespoke_counts:
        rows.append(cached(
            plan, f"bespoke_{count}", lambda: bespoke(plan, umpire, count, prototype, frames, test)
        ))
        report(plan, rows)
    return rows


def settle(plan):
    """Rows of one folder belong to one set of settings; counts and base may change."""
    kept = ("test_frames", "teach_steps", "bespoke_steps", "textures", "prototype", "production", "test")
    settings = {name: str(getattr(plan, name)) for name in kept}
    path = plan.out / "settings.json"
    if not path.is_file():
        write_json(path, settings)
    known = json.loads(path.read_text())
    for name in kept:
        if known.get(name, "None") != settings[name]:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"go on in {plan.out}: it was begun with {option} {known.get(name)}, now {settings[name]}; "
                "use another --out"
            )


def cached(plan, name, make):
    path = plan.out / f"{name}.json"
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text())


def cell(plan, program, recipe, name, frames):
    """The annotations of `frames` simulated pictures, made once, or of those that were named."""
    if plan.real:
        return getattr(plan, name)
    arguments = ["--recipe", CELLS / f"{recipe}.toml"]
    arguments += ["--textures", plan.textures] if plan.textures else []
    return simulated(program, plan.out / "cells" / f"{name}_{frames}", SEEDS[name], frames, *arguments)


def subset(annotations, count, out, spread=False):
    """The first `count` pictures of a dataset, as a dataset, or as many spread evenly over it."""
    document = json.loads(annotations.read_text())
    images = sorted(document["images"], key=lambda image: image["id"])
    if len(images) < count:
        raise UserError(f"take {count} pictures of {annotations}: it holds {len(images)}")
    step = len(images) / count if spread else 1
    images = [images[int(n * step)] for n in range(count)]
    for image in images:
        image["file_name"] = str(annotations.resolve().parent / image["file_name"])
    kept = {image["id"] for image in images}
    document["images"] = images
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in kept]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, document)
    return out


def taught(plan, name, count, frames, test, base_sets):
    folder = plan.out / name
    labels = subset(frames, count, plan.out / f"pictures_{count}.json", plan.real)
    finetune(Options(
        labels=labels, held_out=test, out=folder, base=plan.base, steps=plan.teach_steps,
        base_set=(str(base_sets[0]),), base_check=base_sets[1],
        magpie=plan.magpie, name=f"production_{count}", data_source="photographs" if plan.real else "simulated",
        incomplete=plan.real,
    ))
    if not (folder / "verdict.json").is_file():
        raise UserError(f"teach {name}: stopped; the same command goes on from there")
    verdict = json.loads((folder / "verdict.json").read_text())
    forgotten = verdict["before"]["base set"][SCORE] - verdict["after"]["base set"][SCORE]
    return row("universal, taught", count, 0, plan.teach_steps, verdict["after"]["new cell"], forgotten)


def bespoke(plan, umpire, count, prototype, frames, test):
    folder = plan.out / f"bespoke_{count}"
    production = subset(frames, count, folder / "production.json", plan.real)
    pictures = subset(prototype, PROTOTYPE_PER_PRODUCTION * count, folder / "prototype.json", plan.real)
    recipe = Recipe(
        # Half of each: with 1 in 26, the production pictures would be drowned.
        sources=tuple(Source(str(p), share=0.5, complete=not plan.real) for p in (pictures, production)),
        steps=plan.bespoke_steps, batch=8, sizes_px=(320, 352, 384), ema_decay=0.995,
        mosaic_share=0.15, paste_share=0.35, cache_dir=str(folder / "cache"), checkpoint_minutes=1.0,
    )
    checkpoint = train(recipe, folder / "run", resume=(folder / "run/last.pt").is_file())
    if read_checkpoint(checkpoint)["step"] < recipe.steps:
        raise UserError(f"train {folder.name}: stopped; the same command goes on from there")
    model = folder / "bespoke.onnx"
    export.export(
        checkpoint, model, size=(512, 512), version="0", training_data="simulated", score_min=0.3
    )
    scores = umpire.scores(model, test)
    return row("bespoke", count, PROTOTYPE_PER_PRODUCTION * count, plan.bespoke_steps, scores)


def row(model, production, prototype, steps, scores, forgotten=None):
    return {
        "model": model, "production": production, "prototype": prototype, "steps": steps,
        "scores": scores, "forgotten": forgotten,
    }


def report(plan, rows):
    """`cardinal.md` and `cardinal.svg`, after every row."""
    (plan.out / "cardinal.md").write_text("\n".join(table(rows)) + "\n")
    plot(rows, plan.out / "cardinal.svg")


def table(rows):
    yield "| model | production pictures | prototype pictures | steps | mask AP | types ignored | AP50, types ignored | base set |"
    yield "|---|---|---|---|---|---|---|---|"
    for r in rows:
        scores = r["scores"]
        base = "" if r["forgotten"] is None else f"{-r['forgotten']:+.1f}"
        yield (
            f"| {r['model']} | {r['production']} | {r['prototype']:,} | {r['steps']} "
            f"| {scores['mask AP']:.1f} | {scores[SCORE]:.1f} | {scores['mask AP50, types ignored']:.1f} | {base} |"
        )


def plot(rows, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    untaught = rows[0]["scores"][SCORE]
    axes.axhline(untaught, color="0.5", linestyle=":", label="universal, as it is")
    for model, label, style in (
        ("universal, taught", "universal, taught N pictures", "o-"),
        ("bespoke", "bespoke, 25 N prototype + N pictures", "s--"),
    ):
        points = [(r["production"], r["scores"][SCORE]) for r in rows if r["model"] == model]
        if points:
            axes.plot(*zip(*points), style, label=label)
    axes.set(
        xscale="log", ylim=(0, None), xlabel="N, pictures of the production cell",
        ylabel="mask AP on the production cell, points",
    )
    axes.legend(frameon=False)
    figure.savefig(path)
    pyplot.close(figure)
