import pytest

from magpie_training import frames, judge
from magpie_training.__main__ import main


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes what it was asked for; cannot simulate seed 13."""
    path = tmp_path / "magpie"
    path.write_text(
        '#!/bin/sh\n[ "$3" = 13 ] && { echo "disk full" >&2; exit 1; }\n'
        'mkdir -p "$7" && echo "$@" > "$7/annotations.json"\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("MAGPIE", str(path))
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "sim"


def run(tmp_path, out, text, *more):
    path = tmp_path / "frames.txt"
    path.write_text(text)
    return main(["frames", "--list", str(path), "--out", str(out), *more])


def test_the_listed_folders_are_made_once(program, tmp_path, out, capsys):
    text = "# two\nany 7 30\nsoft 8 20 near_soft  # of its own recipe\n"
    assert not run(tmp_path, out, text, "--textures", "pictures")
    told = capsys.readouterr().out
    assert f"{out}/any/annotations.json: 30 pictures" in told and f"{out}/soft/annotations.json: 20 pictures" in told
    assert (out / "any/annotations.json").read_text() == (
        f"simulate --seed 7 --frames 30 --out {out}/any.part --textures pictures\n"
    )
    recipe = frames.CELLS / "near_soft.toml"
    assert f"--recipe {recipe} --textures pictures" in (out / "soft/annotations.json").read_text()
    (out / "any/annotations.json").write_text("kept")
    assert not run(tmp_path, out, text)
    assert (out / "any/annotations.json").read_text() == "kept"


def test_a_failure_leaves_what_is_whole_and_names_itself(program, tmp_path, out, capsys):
    assert run(tmp_path, out, "any 7 30\nbad 13 20\nnext 14 5\n") == 1
    assert "simulate: disk full" in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == ["any"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("any 7\n", "line 1: want `folder seed frames [recipe]`, found 'any 7'"),
        ("any 7 0\n", "line 1: want"),
        ("\nany 7 -3\n", "line 2: want"),
        ("any 7 30 moon\n", "line 1: no recipe moon; there are close, few,"),
        ("any 7 30\nany 8 30\n", "line 2: a second any"),
        ("# nothing\n", "it names no frames"),
    ],
)
def test_a_wrong_list_makes_nothing(program, tmp_path, out, capsys, text, told):
    assert run(tmp_path, out, text) == 1
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_the_shipped_list_is_whole():
    sets = frames.read_list(frames.CELLS.parent / "frames.txt")
    assert len(sets) == 20 and sum(s[2] for s in sets) == 8240


def test_without_a_program_it_says_how_to_get_one(tmp_path, out, capsys, monkeypatch):
    monkeypatch.delenv("MAGPIE", raising=False)
    monkeypatch.setattr(judge, "PROGRAM", tmp_path / "not_built")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path, out, "any 7 30\n") == 1
    assert "cargo build --release -p magpie" in capsys.readouterr().err
