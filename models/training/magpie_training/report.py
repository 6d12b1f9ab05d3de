"""The verdict on a fine-tuned model: as a table, as JSON, as its card, and in its file's name."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from . import difference


@dataclass(frozen=True)
class Verdict:
    name: str
    cell: dict
    base: dict
    judge: str
    replay: list
    replay_share: float
    before: dict  # set: {score: points of 100}
    after: dict
    latency_ms: list  # before, after
    differences: dict
    mask_iou_min: float
    masks: int
    reasons: list
    compared: difference.Comparison | None
    forgotten_points_max: float
    options: dict
    taken_s: float

    @property
    def accepted(self):
        return not self.reasons


def hand_over(verdict, partial, out):
    """Gives the file its name, writes card and JSON, prints the verdict; whether it is accepted."""
    blessed, rejected = out / f"{verdict.name}.onnx", out / f"{verdict.name}.rejected.onnx"
    for old in (blessed, rejected):
        for path in (old, old.with_suffix(".md")):
            path.unlink(missing_ok=True)
    model = blessed if verdict.accepted else rejected
    partial.replace(model)
    model.with_suffix(".md").write_text(card(verdict, model))
    word = difference.word(verdict.compared, verdict.reasons)
    document = {**dataclasses.asdict(verdict), "accepted": verdict.accepted, "verdict": word}
    (out / "verdict.json").write_text(json.dumps(document, indent=1, default=str) + "\n")
    print()
    print("\n".join(table(verdict)))
    print()
    for line in conclusion(verdict):
        print(line)
    print(f"{model}\n{model.with_suffix('.md')}")
    return verdict.accepted


def table(verdict):
    """Markdown that also reads well in a terminal."""
    rows = [("", "before", "after", "change")]
    held_out = f"new cell, {verdict.cell['held_out']} held-out pictures"
    sizes = {"new cell": held_out, "base set": "base set"}
    for name, before in verdict.before.items():
        for score, was in before.items():
            now = verdict.after[name][score]
            if was is None or now is None:
                continue
            rows.append((f"{sizes[name]}: {score}", f"{was:.1f}", f"{now:.1f}", f"{now - was:+.1f}"))
    was, now = verdict.latency_ms
    change = f"x {now / was:.2f}"
    rows.append(("latency of the model, CPU, 2 threads, fastest run", f"{was:.1f} ms", f"{now:.1f} ms", change))
    iou, masks = f"{verdict.mask_iou_min:.4f}", f"{verdict.masks} masks"
    rows.append(("parity: least mask IoU of export and trained network", "", iou, masks))
    largest = max(verdict.differences, key=verdict.differences.get)
    difference = f"{verdict.differences[largest]:.1e}"
    rows.append(("parity: largest difference of their outputs", "", difference, largest))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def conclusion(verdict):
    if verdict.accepted:
        limit = f"{verdict.forgotten_points_max:g} point of mask AP"
        yield f"accepted: no more than {limit} was forgotten, and the export is the trained network"
    for reason in verdict.reasons:
        yield f"refused: {reason}"
    known = max(v or 0.0 for v in verdict.before["base set"].values())
    if known < verdict.forgotten_points_max:
        yield "nothing could be forgotten: the base model knows nothing of the base set; name another --base-check"
    yield from difference.lines(verdict.compared, verdict.reasons)


def card(verdict, model):
    cell, base = verdict.cell, verdict.base
    types = ", ".join(f"{count} {name}" for name, count in cell["types"].items())
    licence = cell["licence"] or "not stated"
    source = cell["source"] or "pictures of the cell; their source was not stated"
    learned_before = base["training_data"] or "not stated"
    replayed = round(100 * verdict.replay_share)
    state = "accepted" if verdict.accepted else "**refused**: " + "; ".join(verdict.reasons)
    return f"""---
license: {json.dumps(cell['licence'] or 'unknown')}
pipeline_tag: image-segmentation
library_name: onnx
tags: [instance-segmentation, onnx, robotics, packages]
base_model: {Path(base['path']).name} {base['version']}
---

# {model.name}

{Path(base['path']).name} (version {base['version']}), taught the cell {verdict.name}.
SHA-256 of the file it started from: `{base['sha256']}`.
Verdict: {state}.

## What it learned from

| what | pictures | licence |
|---|---|---|
| what the base model learned from: {learned_before} | | see the base model's card |
| {source} ({cell['kind']} labels: {types}) | {cell['learned']} | {licence} |
| replayed beside them, {replayed} % of what was shown: {', '.join(verdict.replay)} | | not stated |

{cell['held_out']} further pictures of the cell were held out: {cell['rule']}.

## Scores

In points of 100, by {verdict.judge}.
A model that loses more than {verdict.forgotten_points_max:g} point of mask AP on the base set is refused, and one whose export is not the trained network.

{chr(10).join(table(verdict))}

## The held-out pictures

Both models on the same pictures, drawn anew {difference.DRAWS} times; findings count from the base's least score on, at IoU 0.5.

{chr(10).join(difference.page(verdict.compared, verdict.reasons))}
Settings: {', '.join(f'{k} {v}' for k, v in verdict.options.items())}.
"""
