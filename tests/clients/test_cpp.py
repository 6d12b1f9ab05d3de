"""The C library and its C++ face: compiled with warnings as errors, and run."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BUILT, ROOT, SCRATCH
from magpie.v1 import outcomes_pb2
from test_python_outcomes import hear, next_report

C = ROOT / "crates/c"
HARD = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def compile(compiler, source, *options):
    program = Path(SCRATCH) / Path(source).name.replace(".", "_")
    link = [f"-L{BUILT}", "-lmagpie", f"-Wl,-rpath,{SCRATCH}"]
    soname = Path(SCRATCH) / "libmagpie.so.0"
    if not soname.exists():
        soname.symlink_to(BUILT / "libmagpie.so")
    command = [compiler, *HARD, *options, f"-I{C}/include", str(source), *link, "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(*command, timeout=120):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def checks():
    return compile("c++", ROOT / "tests/clients/checks.cpp", "-std=c++17", "-pthread")


def test_the_header_is_one_of_c():
    source = Path(SCRATCH) / "header.c"
    source.write_text("#include <magpie.h>\nint main(void) { return *magpie_last_error(); }\n")
    run(compile("cc", source, "-std=c99"))


def test_the_example_holds_what_the_demo_shows(demo):
    example = compile("c++", C / "examples/subscribe.cpp", "-std=c++17")
    lines = run(example, demo).splitlines()
    assert len(lines) == 10 and not any(line.startswith("stop") for line in lines), lines
    assert any(line.startswith("hold it at 0.") for line in lines), lines
    wrong = subprocess.run([example, "nowhere"], capture_output=True, text=True)
    assert wrong.returncode == 1 and "nowhere" in wrong.stderr and demo in wrong.stderr


def test_everything_of_a_running_cell(checks, demo):
    assert run(checks, "demo", demo) == "ok\n"


def publish_until_it_ends(publisher, process, changes):
    end = time.monotonic() + 120
    while process.poll() is None:
        if time.monotonic() > end:
            process.kill()
            pytest.fail("it hangs")
        publisher.publish(**changes)
        publisher.stopping.wait(0.02)


@pytest.mark.parametrize("what", ["whole", "expired", "frames", "threads", "silence", "freed", "arguments"])
def test_against_a_publisher(checks, publisher, what):
    changes = {"valid_ns": 5 * 10**9}
    if what == "expired":
        changes["valid_ns"] = 10**9
    if what == "frames":
        changes.update(reference_frame=3, frame_id="gripper")
    process = subprocess.Popen(
        [checks, what, publisher.endpoint], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    publish_until_it_ends(publisher, process, changes)
    said = process.stdout.read()
    assert (process.returncode, said) == (0, "ok\n")


@pytest.mark.parametrize(
    "code, changes",
    [
        ("clock_ahead", {"clock_ahead_ns": 3 * 10**9}),
        ("arrived_expired", {"clock_ahead_ns": -3 * 10**9}),
        ("refused", {"schema_version": 2}),
        ("refused", {"valid_ns": 3600 * 10**9}),
        ("rival", {"instance_id": "forged"}),
    ],
)
def test_what_must_not_be_acted_upon(checks, publisher, code, changes):
    process = subprocess.Popen(
        [checks, "never", publisher.endpoint, code], stdout=subprocess.PIPE, text=True
    )
    publish_until_it_ends(publisher, process, changes)
    assert (process.returncode, process.stdout.read()) == (0, "ok\n")


def test_a_report_names_the_result_that_was_acted_upon(checks, publisher):
    heard = hear(publisher)
    process = subprocess.Popen(
        [checks, "reported", publisher.endpoint], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    publish_until_it_ends(publisher, process, {"valid_ns": 10**9})
    assert (process.returncode, process.stdout.read()) == (0, "ok\n")
    first, last = next_report(heard), next_report(heard)
    assert (first.instance_id, first.track_id, first.outcome) == ("true", 7, outcomes_pb2.OUTCOME_DROPPED)
    assert not first.HasField("weight_kg") and not first.type
    assert (last.publication, last.stamp_ns) == (first.publication, first.stamp_ns)
    assert (last.outcome, last.weight_kg) == (outcomes_pb2.OUTCOME_HELD, 0.41)
    assert (last.type, last.reporter) == ("box", "checks") and not last.HasField("vacuum_pa")


def test_the_library_is_one_of_its_own():
    symbols = run("nm", "-D", "--defined-only", BUILT / "libmagpie.so")
    ours = {line.split()[-1] for line in symbols.splitlines() if " T " in line}
    header = (C / "include/magpie.h").read_text()
    assert {name for name in ours if name.startswith("magpie_")} == {
        word.strip("*").split("(")[0] for line in header.splitlines() for word in line.split() if
        word.strip("*").startswith("magpie_") and "(" in word and not line.startswith("//")
    }
    version = re.search(r'(?m)^version = "(.+)"', (ROOT / "Cargo.toml").read_text())[1]
    assert f"\nVersion: {version}\n" in (C / "magpie.pc").read_text()
