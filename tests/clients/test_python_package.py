"""What a stranger sees before running anything: names, docstrings, stubs."""

import inspect
import subprocess
import sys

import magpie_client


def test_everything_public_says_what_it_is():
    for name in magpie_client.__all__:
        thing = getattr(magpie_client, name)
        assert inspect.getdoc(thing), name
        if not inspect.isclass(thing) or issubclass(thing, Exception):
            continue
        for member in vars(thing):
            if not member.startswith("_"):
                assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


def test_the_stubs_are_of_this_package():
    checked = [sys.executable, "-m", "mypy.stubtest", "magpie_client"]
    result = subprocess.run(checked, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
