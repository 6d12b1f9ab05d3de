"""Frames of the simulated cell, made by `magpie simulate`."""

import shutil
from pathlib import Path

from . import UserError, judge

CELLS = Path(__file__).parents[1] / "recipes" / "cells"


def simulated(program, folder, seed, frames, *more):
    """The annotations of a folder of frames, whole or not there; made once."""
    annotations = folder / "annotations.json"
    if not annotations.is_file():
        partial = folder.with_name(folder.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        print(f"    simulating {frames} frames into {folder}", flush=True)
        judge.run_program(program, "simulate", "--seed", seed, "--frames", frames, "--out", partial, *more)
        partial.rename(folder)
    return annotations.resolve()


def read_list(path):
    """Lines of `folder seed frames [recipe]`, the recipe by its name in `recipes/cells`."""
    if not path.is_file():
        raise UserError(f"read list {path}: no such file")
    sets = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) not in (3, 4) or not all(w.isdecimal() for w in words[1:3]) or not int(words[2]):
            raise UserError(f"read list {path}, line {number}: want `folder seed frames [recipe]`, found {line!r}")
        cell = CELLS / f"{words[3]}.toml" if len(words) == 4 else None
        if cell and not cell.is_file():
            known = ", ".join(sorted(p.stem for p in CELLS.glob("*.toml")))
            raise UserError(f"read list {path}, line {number}: no recipe {words[3]}; there are {known}")
        if words[0] in (s[0] for s in sets):
            raise UserError(f"read list {path}, line {number}: a second {words[0]}")
        sets.append((words[0], int(words[1]), int(words[2]), cell))
    if not sets:
        raise UserError(f"read list {path}: it names no frames")
    return sets


def make(list_path, out, textures=None, magpie=None):
    """Makes what is missing of the listed folders; returns how many pictures each holds."""
    sets = read_list(list_path)
    program = judge.find_program(magpie)
    if program is None:
        raise UserError("simulate frames: build the program (cargo build --release -p magpie)")
    counts = {}
    for folder, seed, frames, cell in sets:
        more = ("--recipe", cell) if cell else ()
        more += ("--textures", textures) if textures else ()
        simulated(program, out / folder, seed, frames, *more)
        counts[folder] = frames
    return counts
