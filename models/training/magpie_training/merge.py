"""Small projects' bundles merged into a better base: checked, compared, divided, taught, judged.

Each step leaves files in `--out`, and the same command goes on from them:
- `bundles/`: what was unpacked, `findings/`: what the base model is sure of there,
- `quarantine/`: what is doubted, with pictures to look at; nothing of it is learned,
- `merged/`: what is learned from, and each contributor's held-back part, with where it is from,
- `report.json`: what became of every bundle and of every picture that was left out,
- `taught/`: the run of `finetune`, and the new base beside it with its card.
"""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import UserError, audit, difference, judge
from .box_beside import iou
from .bundle import LABELS, read_public_keys, unpack
from .data import decode_mask, read_image
from .evaluate import detect_all
from .finetune import Options, cached_scores, finetune, read_base, sha256, write_json
from .label_formats import read_json
from .label_kinds import kind_of
from .labels import coco_document, read_labels

# Licences under which a base may be given to anybody; others are named by --licence.
LICENCES = ("CC0-1.0", "CC-BY-4.0", "CDLA-Permissive-2.0", "Apache-2.0", "MIT")
HELD_BACK_SHARE = 0.2
JUDGED_BY = ("mask AP", "mask AP, types ignored")
# Hashes of `HASH_SIDE` squared bits that differ in fewer may show one scene; thumbnails confirm it by the
# cell that differs most: one package that was moved changes few of them, and the mean says nothing.
HASH_SIDE, HASH_BITS_MAX = 16, 24
THUMBNAIL_SIDE, THUMBNAIL_DIFFERENCE_MAX = 32, 20.0
DRAWN_MAX = 8


@dataclass(frozen=True)
class Plan:
    bundles: tuple
    trust: tuple
    out: Path
    base: Path
    licences: tuple = ()
    accept: tuple = ()  # doubted bundles that a person looked at
    name: str = "base"
    only_merge: bool = False
    teaching: tuple = ()  # options of finetune


@dataclass
class Bundle:
    name: str
    folder: Path
    manifest: dict
    pictures: list  # of `Kept`


@dataclass
class Kept:
    """A picture with its labels, and what tells copies of it apart from others."""

    bundle: str
    picture: object  # labels.Labelled
    group: str
    hash: np.ndarray
    thumbnail: np.ndarray
    part: str = ""


def merge(plan):
    """Returns whether there is a new base, `None` if the run was stopped, to be continued."""
    out = plan.out
    out.mkdir(parents=True, exist_ok=True)
    keys = read_public_keys(plan.trust)
    program = judge.find_program(dict(plan.teaching).get("magpie"))
    base = read_base(plan.base)
    settle(plan, base, keys)
    report = {"refused": {}, "quarantined": {}, "left_out": {}, "bundles": {}}
    print(f"bundles: {len(plan.bundles)} to check", flush=True)
    bundles = open_all(plan, keys, report)
    quarantine(plan, bundles, report)  # first: a copy in a bad bundle says nothing against a good one
    drop_copies(bundles, report)
    held_back = divide_all(bundles, report)
    write_merged(plan, bundles, report)
    write_json(out / "report.json", report)
    for line in told(report):
        print(line)
    if not bundles:
        raise UserError(f"merge: no bundle is left; see {out / 'report.json'}")
    learned = sum(k.part == "train" for b in bundles for k in b.pictures)
    print(f"merged: {learned} pictures to learn from, {sum(held_back.values())} held back, of {len(bundles)} bundles", flush=True)
    if plan.only_merge:
        return True
    umpire = judge.Judge(program)
    parts = {b.name: out / f"merged/held_back/{b.name}.json" for b in bundles}
    before = {name: cached_scores(out, umpire, plan.base, path)["scores"] for name, path in parts.items()}
    accepted = finetune(teaching(plan, bundles))
    if accepted is None:
        return None
    model = out / "taught" / (f"{plan.name}.onnx" if accepted else f"{plan.name}.rejected.onnx")
    after = {name: cached_scores(out, umpire, model, path)["scores"] for name, path in parts.items()}
    compared = {name: difference.compare_both(plan.base, model, path, base.score_min) for name, path in parts.items()}
    reasons = json.loads((out / "taught/verdict.json").read_text())["reasons"] + gate(before, after, compared)
    return hand_over(plan, bundles, model, before, after, compared, reasons, umpire)


def settle(plan, base, keys):
    """A folder belongs to one set of bundles and options, so that going on means going on with the same.

    What is accepted may change until it is taught; `finetune` holds its folder to one set of labels.
    """
    settings = {
        # What was unpacked is not verified again: it holds as long as the same keys are trusted.
        "trust": sorted(hashlib.sha256(key.to_base64()).hexdigest() for key in keys.values()),
        "bundles": sorted(sha256(path) for path in plan.bundles if path.is_file()),
        "base": base.sha256, "name": plan.name,
        "licences": list(plan.licences), "teaching": dict(plan.teaching),
    }
    settings = json.loads(json.dumps(settings, default=str))
    path = plan.out / "settings.json"
    if not path.is_file():
        strange = sorted(p.name for p in plan.out.iterdir() if p.suffix != ".part")
        if strange:
            raise UserError(f"--out {plan.out}: it holds something else ({strange[0]}); use a new folder")
        write_json(path, settings)
    known = json.loads(path.read_text())
    other = next((k for k in settings if settings[k] != known.get(k)), None)
    if other:
        raise UserError(f"go on in {plan.out}: it was begun with other {other}; use another --out")


def open_all(plan, keys, report):
    """The bundles that are signed, whole and of the right kind; the others are told in the report."""
    bundles, seen = [], {}
    for path in plan.bundles:
        try:
            if not path.is_file():
                raise UserError(f"read bundle {path}: no such file")
            digest = sha256(path)
            if digest in seen:
                raise UserError(f"read bundle {path}: it is the same as {seen[digest]}; it counts once")
            folder = plan.out / "bundles" / digest[:12]
            manifest = read_unpacked(folder) or unpack(path, keys, folder)
            seen[digest] = path
            allowed = (*LICENCES, *plan.licences)
            if manifest["licence"] not in allowed:
                raise UserError(
                    f"read bundle {path}: its licence is {manifest['licence']}, which is not among {', '.join(allowed)}; "
                    f"if the base may have it, say --licence {manifest['licence']!r}"
                )
        except UserError as error:
            report["refused"][str(path)] = str(error)
            continue
        taken = {b.name for b in bundles} | report["quarantined"].keys()
        name = manifest["project"] if manifest["project"] not in taken else f"{manifest['project']}-{digest[:6]}"
        try:
            bundles.append(Bundle(name, folder, manifest, read_pictures(name, folder)))
        except UserError as error:
            set_aside(report, name, [str(error)], f"ask {manifest['contributor']} for a corrected one")
    return bundles


def set_aside(report, name, why, remedy):
    report["quarantined"][name] = {"why": why, "remedy": remedy}


def read_unpacked(folder):
    """Of an earlier call, which renamed the folder when it was whole."""
    path = folder / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else None


def read_pictures(name, folder):
    """All that a bundle labels; one label that cannot be read puts the whole bundle aside."""
    document = read_named(folder)
    reading = read_labels(folder / LABELS, keep_empty=True)
    if reading.problems:
        raise UserError(f"{len(reading.problems)} of its labels are wrong, the first is {reading.problems[0]}")
    groups = {(folder / i["file_name"]).resolve(): str(i.get("group", "")) for i in document["images"]}
    kept = []
    for picture in reading.pictures:
        image = read_image(picture.path)
        group = groups.get(picture.path.resolve(), "") or "one recording"
        kept.append(Kept(name, picture, f"{name}/{group}", picture_hash(image), thumbnail(image)))
    if len({k.group for k in kept}) < 2:
        raise UserError("all its pictures are of one recording, so none can be held back; contribute several")
    return kept


def read_named(folder):
    """A bundle's labels, which name nothing but the bundle's own pictures: others are not even looked for."""
    kind = kind_of(folder / LABELS)
    if kind != "coco":
        raise UserError(f"its {LABELS} is {kind or 'of no known kind'}, and not COCO")
    document, files = read_json(folder / LABELS), read_unpacked(folder)["files"]
    try:
        names = [image["file_name"] for image in document["images"]]
        strange = [n for n in names if not isinstance(n, str) or n == LABELS or n not in files]
    except (TypeError, KeyError) as error:
        raise UserError(f"its {LABELS} has an image without a file_name") from error
    if strange:
        raise UserError(f"its {LABELS} names {strange[0]!r}, which is none of the bundle's pictures")
    return document


def picture_hash(image):
    """Whether it gets lighter from left to right, at each of `HASH_SIDE` squared places."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(int)
    return (small[:, 1:] > small[:, :-1]).ravel()


def thumbnail(image):
    """Without its mean and spread: a copy may be lighter."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return 50 * (small - small.mean()) / max(float(small.std()), 1.0)


def same_scene(one, others):
    """Indices of `others` that show what `one` shows, whatever their size and compression."""
    if not others:
        return []
    different = (np.array([o.hash for o in others]) != one.hash).sum(1)
    near = np.flatnonzero(different <= HASH_BITS_MAX)
    return [i for i in near if np.abs(others[i].thumbnail - one.thumbnail).max() <= THUMBNAIL_DIFFERENCE_MAX]


def drop_copies(bundles, report):
    """A picture that is in several bundles counts once, for the earliest; if their labels differ, for none."""
    counted, dead = [], []  # `dead`: about which bundles do not agree
    for bundle in bundles:
        new = []
        for kept in bundle.pictures:
            disputed = [dead[i] for i in same_scene(kept, dead)]
            twins = [counted[i] for i in same_scene(kept, counted)]
            differing = [t for t in twins if not agree(kept.picture, t.picture)]
            shown = "shows what {} of {} shows".format
            if disputed or differing:
                first = (disputed or differing)[0]
                why = shown(first.picture.path.name, first.bundle) + ", and their labels differ"
                leave_out(report, kept, why)
                for twin in twins:
                    leave_out(report, twin, shown(kept.picture.path.name, kept.bundle) + ", and their labels differ")
                counted = [k for k in counted if not any(k is t for t in twins)]
                dead += [kept, *twins]
            elif twins:
                leave_out(report, kept, shown(twins[0].picture.path.name, twins[0].bundle))
            else:
                new.append(kept)
        counted += new  # copies within a bundle are no others' word
    left = {id(k) for k in counted}
    for bundle in list(bundles):
        bundle.pictures = [k for k in bundle.pictures if id(k) in left]
        if not bundle.pictures:
            set_aside(report, bundle.name, ["none of its pictures is left"], "report.json says under left_out why")
            bundles.remove(bundle)


def leave_out(report, kept, why):
    report["left_out"].setdefault(kept.bundle, {})[kept.picture.path.name] = why


def agree(one, other):
    """Whether two sets of labels say the same: each package has its counterpart of the same type."""
    if len(one.packages) != len(other.packages):
        return False
    sides = [[(p[0], np.divide(p[2], (q.width, q.height) * 2)) for p in q.packages] for q in (one, other)]
    free = sides[1]
    for name, box in sides[0]:
        best = max((f for f in free if f[0] == name), key=lambda f: iou(box, f[1]), default=None)
        if best is None or iou(box, best[1]) < 0.5:
            return False
        free = [f for f in free if f is not best]
    return True


def quarantine(plan, bundles, report):
    """Puts aside what disagrees with the base model and with everybody else."""
    for name in plan.accept:
        if not any(b.name == name for b in bundles):
            why = report["quarantined"].get(name, {"why": [f"no such bundle; there are {', '.join(b.name for b in bundles)}"]})
            raise UserError(f"--accept {name}: {why['why'][0]}")
    # What an earlier call put there may have been accepted since, or the other way round.
    for stale in ("quarantine", "merged"):
        shutil.rmtree(plan.out / stale, ignore_errors=True)
    print(f"audit: {sum(len(b.pictures) for b in bundles)} pictures against {plan.base.name}", flush=True)
    documents = {b.name: document_of(b.pictures) for b in bundles}
    results = {b.name: findings(plan, b) for b in bundles}
    evidence = {name: audit.evidence(document, results[name](document)) for name, document in documents.items()}
    doubted = audit.doubts(evidence)
    for bundle in list(bundles):
        found = evidence[bundle.name]
        others = sum(len(some) for name, some in evidence.items() if name != bundle.name and name not in doubted)
        report["bundles"][bundle.name] = {
            "contributor": bundle.manifest["contributor"], "licence": bundle.manifest["licence"],
            "signed_by": bundle.manifest["signed_by"], "labelled_by": bundle.manifest["labelled_by"],
            "sure_findings": len(found), "agree": round(audit.places(found).value, 3),
            "same_type": round(audit.types(found).value, 3),
            "checked": min(len(found), others) >= audit.FINDINGS_MIN, "doubts": doubted.get(bundle.name, []),
        }
        pictures = list(bundle.pictures)
        if bundle.name in plan.accept:
            continue
        if bundle.name in doubted:
            remedy = f"look at quarantine/{bundle.name}; if it is right, say --accept {bundle.name}"
            set_aside(report, bundle.name, doubted[bundle.name], remedy)
            bundles.remove(bundle)
        else:
            why = audit.doubtful_pictures(found)
            names = {i["id"]: i["file_name"] for i in documents[bundle.name]["images"]}
            bad = {names[image_id]: reason for image_id, reason in why.items()}
            pictures = [k for k in bundle.pictures if str(k.picture.path) in bad]
            for kept in pictures:
                leave_out(report, kept, bad[str(kept.picture.path)])
            bundle.pictures = [k for k in bundle.pictures if k not in pictures]
        if pictures:
            put_aside(plan.out / "quarantine" / bundle.name, pictures, results[bundle.name])


def document_of(pictures):
    """COCO with where each picture is from."""
    document = coco_document([k.picture for k in pictures])
    for image, kept in zip(document["images"], pictures):
        image["group"], image["bundle"] = kept.group, kept.bundle
    return document


def findings(plan, bundle):
    """What the base model is sure of, computed once; a function of the document, whose ids it takes.

    They are kept by names relative to the bundle's folder, so that `--out` may be moved.
    """
    path, folder = plan.out / "findings" / f"{bundle.folder.name}.json", bundle.folder.resolve()

    def inner(image):
        return Path(image["file_name"]).relative_to(folder).as_posix()

    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        read = folder / "read.json"  # as it was checked, not as somebody wrote it
        write_json(read, document_of(bundle.pictures))
        whole, results = detect_all(plan.base, read)
        names = {i["id"]: inner(i) for i in whole["images"]}
        sure = [{**r, "image_id": names[r["image_id"]]} for r in results if r["score"] >= audit.CONFIDENT]
        write_json(path, sure)
    by_name = json.loads(path.read_text())

    def of(document):
        ids = {inner(i): i["id"] for i in document["images"]}
        return [{**r, "image_id": ids[r["image_id"]]} for r in by_name if r["image_id"] in ids]

    return of


def put_aside(folder, pictures, results):
    """Their labels, and some pictures: labels in green, what the base model is sure of in red."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    document = document_of(pictures)
    (folder / "labels.json").write_text(json.dumps(document))
    sure = results(document)
    for image, kept in list(zip(document["images"], pictures))[:DRAWN_MAX]:
        drawn = read_image(kept.picture.path)
        shapes = [(s, (0, 200, 0), name) for name, s, _, _ in kept.picture.packages]
        shapes += [(r["segmentation"], (0, 0, 230), r["name"]) for r in sure if r["image_id"] == image["id"]]
        for shape, color, name in shapes:
            mask = decode_mask(shape, kept.picture.height, kept.picture.width).astype(np.uint8)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(drawn, contours, -1, color, 2)
            if contours:
                x, y, _, _ = cv2.boundingRect(max(contours, key=cv2.contourArea))
                cv2.putText(drawn, name, (x + 2, y + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1)
        cv2.imwrite(str(folder / f"{kept.picture.path.stem}.jpg"), drawn)


def divide_all(bundles, report):
    """Whole recordings to learn from or held back; copies within a bundle make two recordings one."""
    held_back = {}
    for bundle in list(bundles):
        groups = joined_groups(bundle.pictures)
        counts = Counter(groups[k.group] for k in bundle.pictures)
        packages = Counter()
        for kept in bundle.pictures:
            packages[groups[kept.group]] += len(kept.picture.packages)
        half = len(bundle.pictures) / 2
        order = sorted(counts, key=lambda g: (counts[g] > half, hashlib.sha256(g.encode()).hexdigest()))
        # The last one is always learned from, and what is held back must show packages.
        chosen, share = set(), HELD_BACK_SHARE * len(bundle.pictures)
        for group in order:
            enough = sum(counts[g] for g in chosen) >= share and any(packages[g] for g in chosen)
            if not enough and len(chosen) < len(order) - 1:
                chosen.add(group)
        learned = [g for g in order if g not in chosen]
        if not any(packages[g] for g in chosen) or not any(packages[g] for g in learned):
            why = "too few recordings with packages are left to learn from and to hold back"
            set_aside(report, bundle.name, [why], "contribute more recordings")
            bundles.remove(bundle)
            continue
        for kept in bundle.pictures:
            kept.part = "held_back" if groups[kept.group] in chosen else "train"
        held_back[bundle.name] = sum(k.part == "held_back" for k in bundle.pictures)
    return held_back


def joined_groups(pictures):
    """From a recording to the one that stands for it and for those that show the same scenes."""
    leader = {k.group: k.group for k in pictures}

    def find(group):
        while leader[group] != group:
            group = leader[group]
        return group

    for number, kept in enumerate(pictures):
        for other in same_scene(kept, pictures[:number]):
            leader[find(kept.group)] = find(pictures[other].group)
    return {group: find(group) for group in leader}


def write_merged(plan, bundles, report):
    folder = plan.out / "merged"
    (folder / "held_back").mkdir(parents=True, exist_ok=True)
    learned = [k for b in bundles for k in b.pictures if k.part == "train"]
    held_back = {b.name: [k for k in b.pictures if k.part == "held_back"] for b in bundles}
    about = {b.name: {k: b.manifest[k] for k in ("contributor", "licence", "camera", "place", "labelled_by")} for b in bundles}
    parts = {"train": learned, "held_back": [k for some in held_back.values() for k in some]}
    parts |= {f"held_back/{name}": some for name, some in held_back.items()}
    for name, some in parts.items():
        document = document_of(some)
        document["info"] = {"bundles": about}
        write_json(folder / f"{name}.json", document)
    for bundle in bundles:
        entry = report["bundles"][bundle.name]
        entry["learned"] = sum(k.part == "train" for k in bundle.pictures)
        entry["held_back"] = len(held_back[bundle.name])


def told(report):
    for path, why in report["refused"].items():
        yield f"refused: {path}: {why.removeprefix(f'read bundle {path}: ')}"
    for name, why in report["quarantined"].items():
        yield f"quarantined: {name}: {'; '.join(why['why'])}; {why['remedy']}"
    for name, pictures in report["left_out"].items():
        first, why = next(iter(pictures.items()))
        yield f"left out: {len(pictures)} pictures of {name}; {first} {why}"
    for name, entry in report["bundles"].items():
        if entry["checked"] or name in report["quarantined"]:
            continue
        why = "no other bundle has as much to compare it with"
        if entry["sure_findings"] < audit.FINDINGS_MIN:
            why = f"the base model is sure of {entry['sure_findings']} packages there, too few to compare"
        yield f"not checked: {name}: {why}; look at it"


def teaching(plan, bundles):
    licences = sorted({b.manifest["licence"] for b in bundles})
    return Options(
        labels=plan.out / "merged/train.json", held_out=plan.out / "merged/held_back.json", out=plan.out / "taught",
        base=plan.base, name=plan.name, keep_empty=True,
        data_source=f"{len(bundles)} contributed projects: {', '.join(b.name for b in bundles)}",
        data_licence=" AND ".join(licences), **dict(plan.teaching),
    )


def gate(before, after, compared):
    """Why there is no new base; empty if there is one. A contributor lost where chance does not explain it."""
    reasons, changes = [], []
    for name, both in compared.items():
        if None in both:
            reasons.append(f"{name} cannot be judged: no held-back picture shows a package; drop its bundle")
            continue
        reasons += [f"{name} lost: {difference.interval(one)}" for one in both if difference.lost(one)]
        score = judged_by(both)
        was, now = before[name][score], after[name][score]
        if was is not None and now is not None:
            changes.append(now - was)
    mean = float(np.mean(changes)) if changes else 0.0
    if not mean > 0:
        reasons.append(f"nothing was gained: the mean of AP over {len(changes)} contributors changed by {mean:+.1f}")
    return reasons


def judged_by(both):
    """Where nothing is outlined, boxes count."""
    return JUDGED_BY[0] if both[0].kind == "mask" else "box AP"


def undecided(compared):
    return [name for name, both in compared.items() if None not in both and len(both[0].pictures) < difference.PICTURES_MIN]


def hand_over(plan, bundles, model, before, after, compared, reasons, umpire):
    """The base under its name with its card, or marked as rejected; whether it is accepted."""
    out = plan.out
    new = out / f"{plan.name}.onnx" if not reasons else out / f"{plan.name}.rejected.onnx"
    for old in (f"{plan.name}.onnx", f"{plan.name}.rejected.onnx", f"{plan.name}.md", f"{plan.name}.rejected.md"):
        (out / old).unlink(missing_ok=True)
    partial = out / "base.part"
    shutil.copyfile(model, partial)
    partial.replace(new)
    rows = table(bundles, before, after, compared)
    new.with_suffix(".md").write_text(card(plan, bundles, new, rows, reasons, umpire))
    verdict = {"accepted": not reasons, "reasons": reasons, "before": before, "after": after, "judge": umpire.name()}
    write_json(out / "verdict.json", verdict)
    print("\n".join(["", *rows, ""]))
    for reason in reasons:
        print(f"refused: {reason}")
    if not reasons:
        print("accepted: no contributor lost beyond chance, and the mean gained")
    for name in undecided(compared):
        print(f"not decided: {name}: fewer than {difference.PICTURES_MIN} pictures are held back, and no loss is told from chance")
    print(f"{new}\n{new.with_suffix('.md')}")
    return not reasons


def table(bundles, before, after, compared):
    scores = (*JUDGED_BY, "box AP")
    lines = ["| held back by | pictures | " + " | ".join(f"{s}, before | after" for s in scores) + " | change, 95 % |"]
    lines.append("|---" * (3 + 2 * len(scores)) + "|")

    def cell(value):
        return "" if value is None else f"{value:.1f}"

    for bundle in bundles:
        held = sum(k.part == "held_back" for k in bundle.pictures)
        cells = [cell(part[bundle.name][s]) for s in scores for part in (before, after)]
        change = compared[bundle.name][0]
        bounds = "" if change is None else f"{change.kind} AP {change.low:+.1f} to {change.high:+.1f}"
        lines.append(f"| {bundle.name} | {held} | {' | '.join(cells)} | {bounds} |")
    return lines


def card(plan, bundles, model, rows, reasons, umpire):
    state = "accepted" if not reasons else "**refused**: " + "; ".join(reasons)
    licences = " AND ".join(sorted({b.manifest["licence"] for b in bundles}))
    credits = [
        f"- {b.manifest['contributor']}: {b.name}, {sum(k.part == 'train' for k in b.pictures)} pictures learned "
        f"({b.manifest['licence']}; {b.manifest['camera']}; {b.manifest['place']}; labels by {b.manifest['labelled_by']})"
        for b in bundles
    ]
    return f"""---
license: {json.dumps(licences)}
pipeline_tag: image-segmentation
library_name: onnx
tags: [instance-segmentation, onnx, robotics, packages]
base_model: {plan.base.name}
---

# {model.name}

{plan.base.name} (SHA-256 `{sha256(plan.base)}`), taught what {len(bundles)} projects contributed.
Verdict: {state}.
How it was taught, and what it kept of the base set, stands in `taught/{plan.name}.md`.

## Credits

{chr(10).join(credits)}

## What each contributor's held-back part says

In points of 100, by {umpire.name()}.
The last column bounds the change with types, by pictures drawn anew (paired bootstrap).
A base is refused if a contributor's interval lies below 0, with types or without, or if the mean does not gain.
With fewer than {difference.PICTURES_MIN} held-back pictures nothing is decided.

{chr(10).join(rows)}
"""
