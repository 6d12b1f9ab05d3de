"""What keeps a program from acting on what is no answer: in C, in Python, and in CMake."""

import re
import shutil
import subprocess
import time

import pytest
from conftest import ROOT, SCRATCH, Publisher, has_code, is_fresh, own_address, until
from magpie.v1 import packages_pb2, status_pb2
from pathlib import Path
from test_cpp import HARD, compile, publish_until_it_ends

import magpie_client
from magpie_client import Lost, Reason

BELT = packages_pb2.Velocity(linear_m_s=packages_pb2.Vector3(x=0.5), sigma_m_s=0.04)


@pytest.fixture(scope="module")
def guards():
    return compile("cc", ROOT / "tests/clients/guards.c", "-std=c11", "-lm")


@pytest.mark.parametrize(
    "what, changes",
    [
        ("nothing_left", {"valid_ns": 4 * 10**9, "velocity": BELT}),
        ("limits", {"valid_ns": 4 * 10**9, "clock_ahead_ns": 10**9}),
        ("fork", {"valid_ns": 4 * 10**9}),
    ],
)
def test_a_c_program_gets_an_answer_or_nothing(guards, publisher, what, changes):
    process = subprocess.Popen([guards, what, publisher.endpoint], stdout=subprocess.PIPE, text=True)
    publish_until_it_ends(publisher, process, changes)
    assert (process.returncode, process.stdout.read()) == (0, "ok\n")


@pytest.mark.parametrize("compiler, name", [("cc", "ignored.c"), ("c++", "ignored.cpp")])
def test_a_compiler_asks_for_the_result_of_a_call(compiler, name):
    source = Path(SCRATCH) / name
    source.write_text(
        "#include <magpie.h>\n"
        "void f(const MagpieView *view, double *pose);\n"
        "void f(const MagpieView *view, double *pose) { magpie_base_from_grasp(view, 0, 0, pose); }\n"
    )
    command = [compiler, *HARD, f"-I{ROOT}/crates/c/include", "-c", source, "-o", source.with_suffix(".o")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode != 0 and "magpie_base_from_grasp" in ended.stderr, ended.stderr


def cmake_finds(wanted):
    """Whether find_package takes the version file for one that serves `wanted`."""
    parts = wanted.split(".")
    script = Path(SCRATCH) / "version.cmake"
    numbers = dict(zip(["MAJOR", "MINOR", "PATCH"], parts + ["0"] * 3))
    script.write_text(
        f"set(PACKAGE_FIND_VERSION {wanted})\nset(PACKAGE_FIND_VERSION_COUNT {len(parts)})\n"
        + "".join(f"set(PACKAGE_FIND_VERSION_{name} {value})\n" for name, value in numbers.items())
        + f'include("{ROOT}/crates/c/cmake/magpie-config-version.cmake")\n'
        "if(PACKAGE_VERSION_COMPATIBLE)\nmessage(STATUS yes)\nelse()\nmessage(STATUS no)\nendif()\n"
    )
    ended = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, check=True)
    return ended.stdout.strip() == "-- yes"


@pytest.mark.skipif(not shutil.which("cmake"), reason="there is no cmake")
def test_cmake_finds_this_version_and_no_other():
    version = re.search(r'(?m)^version = "(.+)"', (ROOT / "Cargo.toml").read_text())[1]
    said = (ROOT / "crates/c/cmake/magpie-config-version.cmake").read_text()
    assert f'set(PACKAGE_VERSION "{version}")' in said
    series = version.rsplit(".", 1)[0]
    assert cmake_finds(version) and cmake_finds(series) and cmake_finds("0")
    assert not any(cmake_finds(other) for other in ["0.0.9", f"{series}.99", "0.99", "1.0", "1"])


def test_every_document_of_the_package_finds_what_the_subscriber_s_page_links_to():
    assets = re.findall(r'\["\.\./\.\./([^"]+)", "usr/share/magpie/([^"]*)"', (ROOT / "crates/magpie/Cargo.toml").read_text())
    shipped = {folder + file.name for pattern, folder in assets for file in ROOT.glob(pattern)}
    page = (ROOT / "docs/subscribe.md").read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page):
        path = str((ROOT / "docs" / link).resolve().relative_to(ROOT))
        assert path in shipped or any(name.startswith(path + "/") for name in shipped), path


def test_a_reason_is_shown_without_what_a_terminal_would_act_on(client, publisher):
    publisher.state = packages_pb2.STATE_DEGRADED
    publisher.reasons = [status_pb2.Reason(code="\x1b[2Jcode", text="\x1b[2Jtext\u202e")]
    view = until(client.packages(), lambda state: is_fresh(state) and state.degraded, publisher.publish)
    shown = [repr(reason) for reason in [*view.degraded, *client.status().reasons]]
    assert all(isinstance(reason, Reason) for reason in view.degraded)
    assert shown and all(text.isprintable() for text in [*shown, repr(client.status())]), shown


def test_a_moment_minutes_away_is_no_question(client, publisher):
    view = until(
        client.packages(),
        lambda state: is_fresh(state) and state.best_grasp().pose_at(state.stamp_ns) is not None,
        lambda: publisher.publish(valid_ns=4 * 10**9, velocity=BELT),
    )
    grasp = view.best_grasp()
    for away_ns in [-61 * 10**9, 61 * 10**9, 3600 * 10**9]:
        with pytest.raises(ValueError, match="exposure"):
            grasp.pose_at(view.stamp_ns + away_ns)
    for stamp_ns in [0, 1, 2**64 - 1]:
        with pytest.raises(ValueError, match="Unix time"):
            grasp.pose_at(stamp_ns)


@pytest.mark.parametrize(
    "broken",
    [
        lambda m: setattr(m.packages[0], "score", float("nan")),
        lambda m: setattr(m.packages[0], "score", 7),
        lambda m: setattr(m.packages[0], "occluded_share", float("inf")),
        lambda m: setattr(m.packages[0], "height_m", float("nan")),
        lambda m: setattr(m.packages[0].bbox, "x_max_px", 1e9),
        lambda m: setattr(m.packages[0].size, "width_m", float("nan")),
        lambda m: setattr(m.packages[0].deepest_px, "x_px", float("nan")),
        lambda m: setattr(m.packages[0].grasps[0], "quality", 9),
        lambda m: setattr(m.packages[0].grasps[0], "position_sigma_m", -1),
        lambda m: setattr(m.packages[0].grasps[0].contact_px, "y_px", 1e9),
        lambda m: setattr(m.velocity, "sigma_m_s", -1),
        lambda m: m.ClearField("reference_frame"),
        lambda m: m.ClearField("image_width_px") or m.ClearField("packages"),
    ],
)
def test_a_number_that_is_none_refuses_its_message(client, publisher, broken):
    packages = client.packages()
    until(packages, is_fresh, publisher.publish)

    def publish():
        message = publisher.message()
        broken(message)
        publisher.put("packages", message.SerializeToString())

    until(packages, has_code("refused"), publish)


def test_a_result_that_was_late_blames_its_daemon(client, publisher):
    def publish():
        now_ns = time.time_ns()
        publisher.publish(stamp_ns=now_ns - 3 * 10**9, valid_until_ns=now_ns - 10**9)

    late = until(client.packages(), has_code("late"), publish)
    assert "before it was published" in late.why


def test_a_newer_daemon_is_told_by_its_version():
    endpoint = f"tcp/{own_address()}:17447"
    newer = Publisher(endpoint=endpoint)
    newer.fall_silent()
    with magpie_client.connect("dock", endpoint=endpoint) as client:
        packages = client.packages()

        def beat():
            newer.put("status", status_pb2.Status(schema_version=2, cell="dock").SerializeToString())

        lost = until(packages, has_code("schema_version"), beat)
        assert isinstance(lost, Lost) and "version 2" in lost.why and "knows 1" in lost.why
        beat()
        with pytest.raises(magpie_client.QueryError, match="schema version 2"):
            beat()
            client.capture(timeout_s=0.1)
    newer.leave()


def test_what_an_error_asks_for_are_arguments_of_python():
    with pytest.raises(magpie_client.ConnectError) as raised:
        magpie_client.connect("nowhere-at-all")
    assert "--" not in str(raised.value) and "endpoint" in str(raised.value)
