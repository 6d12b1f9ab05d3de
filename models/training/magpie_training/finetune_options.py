"""What `finetune` can be told on the command line.

Imports nothing but the standard library: `scripts/finetune` checks a command line with the
system's Python before it installs PyTorch.
"""

import argparse
import re
import sys
from pathlib import Path

UNIVERSAL = Path(__file__).parents[2] / "universal.onnx"


def main(arguments=None):
    """Prints the help that was asked for, ends on a wrong command line, and else says nothing."""
    parser = argparse.ArgumentParser(
        prog="scripts/finetune",
        description="Teaches the universal model a new cell from labelled pictures, judges the result, "
        "and accepts or refuses it.",
        epilog="example: scripts/finetune prelabelled/labelme --held-out other_day/labelme --out dock-7. "
        "The first run installs PyTorch, 6 GB, into models/training/.venv.",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    for path in filter(None, (options.labels, options.images, options.held_out, options.base, options.base_check)):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")


def add_options(parser):
    """A default is written as `%(default)`, so that the help always shows the true one."""
    add = parser.add_argument
    add("labels", type=Path, metavar="LABELS", help="folder or file of labels: COCO, LabelMe, CVAT, YOLO, Pascal VOC or Label Studio")
    add("--out", required=True, type=Path, help="folder for the new model; the same command goes on in it")
    add("--minutes", type=positive, default=20.0, help="length of the training, without scoring (default: %(default)g)")
    add("--steps", type=count, default=0, help="length of the training in steps (absent: --minutes decides)")
    add("--base", type=Path, default=UNIVERSAL, help="exported .onnx file to start from (default: %(default)s)")
    add("--base-set", action="append", default=[], metavar="COCO",
        help="pictures to replay, may be given again (absent: simulated frames)")
    add("--base-check", type=Path, metavar="COCO", help="pictures that show forgetting (absent: simulated frames)")
    add("--replay-share", type=share, default=0.5, help="share of the training that replays the base set "
        "(default: %(default)g)")
    add("--map", action="append", type=pair, default=[], metavar="NAME=TYPE", dest="mapping",
        help="what a name in the labels stands for (`none`: nothing to learn), may be given again "
        "(absent: names are those of the types)")
    add("--images", type=Path, metavar="FOLDER", help="where the pictures of the labels are (absent: beside them, or in "
        "images/ or JPEGImages/ there)")
    add("--held-out", type=Path, metavar="LABELS", help="labels to judge by (absent: a part of LABELS)")
    add("--held-out-share", type=share, default=0.2, help="part of LABELS to judge by where --held-out is absent "
        "(default: %(default)g)")
    add("--keep-empty", action="store_true",
        help="pictures without labels show no package: learn that too (absent: they are left out)")
    add("--incomplete", action="store_true",
        help="not every package is labelled (absent: what is not labelled is background)")
    add("--skip-bad-labels", action="store_true",
        help="leave out labels that cannot be read (absent: they are listed, and nothing is learned)")
    add("--name", type=name, help="name of the new model (absent: the name of --out)")
    add("--data-source", default="", help="for the model's card: where the pictures are from (absent: not stated)")
    add("--data-licence", default="", help="for the model's card: their licence (absent: not stated)")
    add("--magpie", help="program that simulates and judges (absent: $MAGPIE, target/release/magpie, magpie)")
    add("--lr", type=positive, default=1.5e-4, help="learning rate of neck and heads (default: %(default)g)")
    add("--lr-backbone", type=float, default=0.0,
        help="learning rate of the backbone; 0 freezes it (default: %(default)g)")
    add("--blend", type=blend, default=0.5,
        help="how far from the base's weights to the taught ones; 1: all the way (default: %(default)g)")
    add("--seed", type=int, default=1, help="seed of the training's random numbers (default: %(default)d)")


def share(text):
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def blend(text):
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def positive(text):
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def count(text):
    if not 0 < int(text):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return int(text)


def pair(text):
    written, _, meant = text.rpartition("=")
    if not written or not meant:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TYPE")
    return written, meant


def name(text):
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits, dots and dashes only")
    return text


if __name__ == "__main__":
    sys.exit(main())
