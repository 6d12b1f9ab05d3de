"""What a project contributes: pictures, labels and how they were made, in one signed file.

A bundle is a tar of `manifest.json`, its signature by minisign, `labels.json` (COCO) and `images/`.
The manifest names the SHA-256 of every other file, so that one signature holds for all.
Pictures are numbered and encoded anew: neither names nor EXIF data (places, times) leave the project.
"""

import getpass
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import minisign

from . import CLASSES, UserError, privacy
from .data import read_image
from .labels import coco_document, read_labels

FORMAT, VERSION = "magpie-bundle", 1
MANIFEST, SIGNATURE, LABELS = "manifest.json", "manifest.json.minisig", "labels.json"
FILE_NAME = re.compile(r"labels\.json|images/[0-9]{6}\.(png|jpg)")
JPEG_QUALITY = 95
TEXT_BYTES_MAX, FILE_BYTES_MAX, FILES_MAX = 64 << 20, 256 << 20, 200_000
LABELLED_BY = ("hand", "correction", "model", "simulation")
RECORDINGS_MIN = 2


@dataclass(frozen=True)
class About:
    """What a bundle says of itself, in words; none may be empty."""

    contributor: str
    project: str
    place: str
    camera: str
    labelled_by: str
    licence: str
    consent: str


def contribute(labels, out, key, about, *, blur=(), no_blur="", recording="", mapping=None, images=None,
               skip_bad_labels=False, keep_empty=False, finder=None):
    """Writes a bundle, whole or not at all; returns what there is to tell, a line each."""
    labels, out = Path(labels), Path(out)
    check_about(about)
    if out.exists():
        raise UserError(f"--out {out}: it is there already; name a new file")
    secret = read_secret_key(key)
    if finder is None and blur:
        finder = privacy.load_finder(blur)
    if finder is None and not no_blur.strip():
        raise UserError(
            "contribute: say by --blur which models find faces and text, or by --no-blur why nothing has to be "
            f"blurred; {privacy.how_to_get()}"
        )
    reading = read_labels(labels, mapping, keep_empty, images=images)
    told = [f"note: {note}" for note in reading.notes] + [f"wrong label: {problem}" for problem in reading.problems]
    if reading.problems and not skip_bad_labels:
        print("\n".join(told), flush=True)
        raise UserError(
            f"contribute {labels}: {len(reading.problems)} labels are wrong, listed above; correct them, or leave "
            "them out by --skip-bad-labels"
        )
    groups = recordings(reading.pictures, labels, recording)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        files, blurred = write_pictures(reading.pictures, finder, Path(scratch))
        manifest = describe(about, reading, groups, files, blurred if finder else None, no_blur.strip())
        write_tar(Path(scratch) / "bundle", manifest, secret, files).replace(out)
    listed = ", ".join(f"{count} {name}" for name, count in manifest["types"].items())
    told.append(f"{out}: {len(groups)} pictures of {manifest['recordings']} recordings, {listed}")
    told.append(
        f"blurred: {blurred['faces']} faces, {blurred['texts']} pieces of text, {blurred['codes']} codes; some are missed"
        if finder else
        f"nothing was blurred: {no_blur.strip()}"
    )
    told.append(f"look at the pictures before you send them: mkdir look && tar -xf {out} -C look")
    return told


def describe(about, reading, groups, files, blurred, reason):
    """The manifest; adds `labels.json` to the files."""
    document = describe_pictures(reading.pictures, groups, files)
    add_file(files, LABELS, json.dumps(document).encode())
    types = Counter(p[0] for picture in reading.pictures for p in picture.packages)
    models = {what: sha256 for what, (_, sha256, _) in privacy.WANTED.items()}
    return {
        "format": FORMAT, "format_version": VERSION, **asdict(about),
        "pictures": len(reading.pictures), "recordings": len(set(groups)), "types": dict(types.most_common()),
        "label_format": reading.kind,
        "privacy": {"blurred": blurred, "models": models} if blurred is not None else {"blurred": None, "reason": reason},
        "files": {name: digest for name, (digest, _) in sorted(files.items())},
    }


def write_tar(path, manifest, secret, files):
    text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    signature = bytes(secret.sign(text, trusted_comment=f"{FORMAT} {manifest['project']}"))
    with tarfile.open(path, "w") as tar:
        add_member(tar, MANIFEST, text)
        add_member(tar, SIGNATURE, signature + b"\n")
        for name, (_, data) in sorted(files.items()):
            add_member(tar, name, data if isinstance(data, bytes) else data.read_bytes())
    return path


def check_about(about):
    for name, value in asdict(about).items():
        if not value.strip() or not value.isprintable() or len(value) > 300:
            raise UserError(f"--{name.replace('_', '-')}: say it in one line of up to 300 letters")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", about.project):
        raise UserError(f"--project {about.project}: up to 64 letters, digits, dots and dashes only")
    if about.labelled_by not in LABELLED_BY:
        raise UserError(f"--labelled-by {about.labelled_by}: one of {', '.join(LABELLED_BY)}")


def recordings(pictures, labels, pattern):
    """The recording of each picture: what `pattern` finds in its path, else its folder."""
    root = labels if labels.is_dir() else labels.parent
    found = []
    for picture in pictures:
        path = os.path.relpath(picture.path, root.resolve())
        if not pattern:
            found.append(os.path.dirname(path))
            continue
        try:
            match = re.search(pattern, path)
        except re.error as error:
            raise UserError(f"--recording {pattern}: no regular expression ({error})") from error
        if not match:
            raise UserError(f"--recording {pattern}: it finds nothing in {path}; say what tells recordings apart")
        found.append(match.group(0))
    if len(set(found)) < RECORDINGS_MIN:
        raise UserError(
            f"contribute {labels}: all {len(found)} pictures are of one recording ({found[0] or 'one folder' if found else 'none'}), "
            "and whole recordings are held back to judge by; say by --recording PATTERN what in a picture's path "
            "tells recordings apart, as in --recording '2026-[0-9]{2}-[0-9]{2}'"
        )
    return found


def write_pictures(pictures, finder, folder):
    """Numbered copies without metadata; by name their hash and where they lie, and what was blurred."""
    files, blurred = {}, Counter(dict.fromkeys(privacy.BLOCKS, 0))
    for number, picture in enumerate(pictures, 1):
        image = read_image(picture.path)
        if finder:
            image, counts = privacy.blur(image, finder(image))
            blurred.update(counts)
        jpeg = picture.path.suffix.lower() in (".jpg", ".jpeg")
        name = f"images/{number:06}{'.jpg' if jpeg else '.png'}"
        data = cv2.imencode(Path(name).suffix, image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if jpeg else [])[1].tobytes()
        path = folder / Path(name).name
        path.write_bytes(data)
        add_file(files, name, path, data)
    return files, dict(blurred)


def describe_pictures(pictures, groups, files):
    names = sorted(name for name in files)
    document = coco_document(pictures, CLASSES, names)
    numbers = {group: n for n, group in enumerate(dict.fromkeys(groups), 1)}
    for image, group in zip(document["images"], groups):
        image["group"] = f"recording {numbers[group]}"
        image["sha256"] = files[image["file_name"]][0]
    return document


def add_file(files, name, kept, data=None):
    """`kept`: its bytes, or the path that they lie at."""
    files[name] = hashlib.sha256(kept if data is None else data).hexdigest(), kept


def add_member(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def read_secret_key(path):
    try:
        key = minisign.SecretKey.from_file(Path(path).expanduser())
        if key.is_encrypted():
            key.decrypt(getpass.getpass(f"password of {path}: "))
        return key
    except OSError as error:
        raise UserError(f"read key {path}: {error.strerror}; make one by `minisign -G`") from error
    except (minisign.Error, UnicodeDecodeError, EOFError) as error:
        raise UserError(f"read key {path}: {error}; name the secret key that `minisign -G` made") from error


def read_public_keys(paths):
    """Of files, or of all `.pub` files in folders; by name."""
    files = [f for p in map(Path, paths) for f in (sorted(p.glob("*.pub")) if p.is_dir() else [p])]
    if not files:
        raise UserError("--trust: no .pub file there; name the public keys of those whose bundles you take")
    keys = {}
    for file in files:
        try:
            keys[file.name] = minisign.PublicKey.from_bytes(file.read_bytes())
        except OSError as error:
            raise UserError(f"read key {file}: {error.strerror}; name a public key of minisign's") from error
        except (minisign.Error, UnicodeDecodeError) as error:
            raise UserError(f"read key {file}: no public key of minisign's ({error})") from error
    return keys


def unpack(path, keys, out):
    """Checks a bundle and unpacks it into `out`, whole or not at all; returns its manifest.

    Nothing of it is written before its signature was checked.
    """
    partial = out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(path, "r:") as tar:
            members = iter(tar)
            manifest = read_signed(path, tar, members, keys)
            write_members(path, tar, members, manifest["files"], partial)
    # What stands in a tar's own headers may be anything: chains without end, numbers that are none.
    except (tarfile.TarError, EOFError, RecursionError, ValueError) as error:
        raise UserError(f"read bundle {path}: it is cut, or no bundle ({error}); copy it again") from error
    except OSError as error:
        if error.filename is not None and Path(error.filename) == path:
            raise UserError(f"read bundle {path}: {error.strerror}") from error
        raise
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return manifest


def read_signed(path, tar, members, keys):
    text, signature = (read_text_member(tar, next(members, None), name) for name in (MANIFEST, SIGNATURE))
    if text is None:
        raise UserError(f"read bundle {path}: it does not begin with {MANIFEST}; make it by contribute")
    if signature is None:
        raise UserError(f"read bundle {path}: it is not signed; make it by contribute --key")
    try:
        signed = minisign.Signature.from_bytes(signature)
    except (minisign.Error, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"read bundle {path}: its signature is none of minisign's ({error})") from error
    signer = next((name for name, key in keys.items() if is_signed(key, text, signed)), None)
    if signer is None:
        raise UserError(
            f"read bundle {path}: no key of --trust ({', '.join(keys)}) signed it: it was changed since, or its maker "
            "is not among those you trust"
        )
    return {**read_manifest(path, text), "signed_by": signer}


def is_signed(key, text, signature):
    try:
        key.verify(text, signature)
    except minisign.VerifyError:
        return False
    return True


def read_text_member(tar, member, name):
    if member is None or member.name != name or not member.isreg() or member.size > TEXT_BYTES_MAX:
        return None
    return tar.extractfile(member).read()


def read_manifest(path, text):
    try:
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format is {manifest['format']!r}")
        version, files = manifest["format_version"], manifest["files"]
        if not isinstance(version, int) or not all(isinstance(d, str) for d in files.values()):
            raise ValueError("its files have no hashes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"read bundle {path}: its manifest is none ({error}); make it by contribute") from error
    if version != VERSION:
        raise UserError(f"read bundle {path}: it has format {version}, and this program reads {VERSION}; update the program")
    strange = next((name for name in files if not FILE_NAME.fullmatch(name)), None)
    if strange is not None or LABELS not in files or len(files) > FILES_MAX:
        raise UserError(f"read bundle {path}: it names {strange or 'no ' + LABELS}; make it by contribute")
    check_manifest(path, manifest)
    return manifest


def check_manifest(path, manifest):
    try:
        said = {name: manifest.get(name) for name in About.__dataclass_fields__}
        check_about(About(**{name: text if isinstance(text, str) else "" for name, text in said.items()}))
    except UserError as error:
        option = str(error).split(":")[0].lstrip("-").split()[0]
        raise UserError(f"read bundle {path}: it says nothing of its {option}; make it anew with --{option}") from error
    privacy_said = manifest.get("privacy")
    privacy_said = privacy_said if isinstance(privacy_said, dict) else {}
    if not privacy_said.get("blurred") and not str(privacy_said.get("reason") or "").strip():
        raise UserError(f"read bundle {path}: it does not say how faces and text were blurred; make it anew with --blur")


def write_members(path, tar, members, files, folder):
    (folder / "images").mkdir(parents=True)
    left = dict(files)
    for member in members:
        if member.name not in left or not member.isreg() or member.size > FILE_BYTES_MAX:
            raise UserError(f"read bundle {path}: it holds {member.name}, which its manifest does not name; do not use it")
        data = tar.extractfile(member).read()
        if hashlib.sha256(data).hexdigest() != left.pop(member.name):
            raise UserError(f"read bundle {path}: {member.name} is not what its manifest signs; do not use it")
        (folder / member.name).write_bytes(data)
    if left:
        raise UserError(f"read bundle {path}: it is cut: {min(left)} and {len(left) - 1} others are missing; copy it again")
