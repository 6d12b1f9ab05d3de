import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from magpie_training import finetune_options
from magpie_training.finetune import Options

TRAINING = Path(__file__).parents[1]


def test_the_help_needs_nothing_but_pythons_standard_library():
    # -I and -S: no installed packages, no folder of the user's.
    code = f"import sys; sys.path.insert(0, {str(TRAINING)!r}); from magpie_training import finetune_options as o; o.main()"
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code, "--help"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "--lr-backbone" in told.stdout


def test_the_help_shows_every_default():
    parser = argparse.ArgumentParser()
    finetune_options.add_options(parser)
    for action in parser._actions[1:]:
        told = any(words in action.help for words in ("(default: %(default)", "(absent: "))
        assert action.required or told, action.option_strings


def test_the_command_line_has_the_defaults_of_the_code():
    parser = argparse.ArgumentParser()
    finetune_options.add_options(parser)
    given = vars(parser.parse_args(["labels", "--out", "o"]))
    given = {**given, "mapping": dict(given["mapping"]), "base_set": tuple(given["base_set"])}
    assert Options(**given) == Options(labels=Path("labels"), out=Path("o"), base=finetune_options.UNIVERSAL)


def test_a_file_that_is_missing_is_told_before_anything_is_installed(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        finetune_options.main([str(tmp_path / "none"), "--out", "o"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {tmp_path / 'none'}: no such file or folder\n")
    finetune_options.main([str(tmp_path), "--out", "o"])
    assert capsys.readouterr() == ("", "")
