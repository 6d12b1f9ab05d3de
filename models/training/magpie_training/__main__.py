"""`python -m magpie_training train | export | evaluate | draw`."""

import argparse
import os
import sys

from . import UserError

# Read when OpenMP loads. On shared cores, threads that wait by spinning made a step take
# three times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="magpie_training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="run a recipe")
    train.add_argument("recipe", help="TOML file, see recipes/")
    train.add_argument("--out", required=True, help="folder for checkpoints and the log of losses")
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.add_argument("--init", help="start from this checkpoint's averaged weights, or this .onnx file's")

    export = commands.add_parser("export", help="write a checkpoint as one ONNX file")
    export.add_argument("checkpoint")
    export.add_argument("--out", required=True)
    export.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"))
    export.add_argument("--version", required=True, help="version of the model, kept in the file")
    export.add_argument("--training-data", default="", help="one line for the model's users")
    export.add_argument("--score-min", type=float, default=0.3)

    evaluate = commands.add_parser("evaluate", help="score an ONNX model on a COCO dataset")
    evaluate.add_argument("model")
    evaluate.add_argument("annotations")
    evaluate.add_argument("--class-agnostic", action="store_true")
    evaluate.add_argument("--limit", type=int, default=0, help="only the first N images")

    draw = commands.add_parser("draw", help="draw a model's predictions on pictures")
    draw.add_argument("model")
    draw.add_argument("images", nargs="+")
    draw.add_argument("--out", required=True, help="folder for the pictures")
    draw.add_argument("--score-min", type=float, default=0.3)

    options = vars(parser.parse_args(arguments))
    try:
        return COMMANDS[options.pop("command")](**options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run_train(recipe, out, resume, init):
    from .recipe import read_recipe
    from .train import train

    print(train(read_recipe(recipe), out, resume=resume, init=init))
    return 0


def run_export(checkpoint, out, **options):
    from .export import export

    export(checkpoint, out, **options)
    return 0


def run_evaluate(model, annotations, class_agnostic, limit):
    import json

    from .evaluate import evaluate

    print(json.dumps(evaluate(model, annotations, class_agnostic, limit), indent=1))
    return 0


def run_draw(model, images, out, score_min):
    from .draw import draw

    draw(model, images, out, score_min)
    return 0


COMMANDS = {"train": run_train, "export": run_export, "evaluate": run_evaluate, "draw": run_draw}

if __name__ == "__main__":
    sys.exit(main())
