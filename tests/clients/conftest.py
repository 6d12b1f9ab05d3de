"""Cells to test against: the program on its demo recording, and publishers that say what a test wants.

The package is put together from its sources and from what `cargo build --workspace --lib --tests`
made.
`MAGPIE_CLIENT_INSTALLED=1` takes the one that is installed instead, as from a wheel."""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
SCRATCH = tempfile.mkdtemp(prefix="magpie-python-")


def put_together():
    library = BUILT / "lib_native.so"
    if not library.exists():
        sys.exit(f"there is no {library}; run `cargo build --workspace --lib --tests` first")
    package = Path(SCRATCH) / "magpie_client"
    shutil.copytree(ROOT / "crates/python/python/magpie_client", package)
    shutil.copy(library, package / "_native.abi3.so")
    sys.path.insert(0, SCRATCH)
    os.environ["PYTHONPATH"] = SCRATCH


def compile_schema():
    from grpc_tools import protoc

    proto = ROOT / "crates/wire/proto"
    files = [str(path) for path in (proto / "magpie/v1").glob("*.proto")]
    assert protoc.main(["protoc", f"-I{proto}", f"--python_out={SCRATCH}", *files]) == 0
    sys.path.append(SCRATCH)


if not os.environ.get("MAGPIE_CLIENT_INSTALLED"):
    put_together()
compile_schema()

import zenoh  # noqa: E402
from magpie.v1 import packages_pb2, status_pb2  # noqa: E402

import magpie_client  # noqa: E402


def pytest_sessionfinish():
    shutil.rmtree(SCRATCH, ignore_errors=True)


NUMBERS = itertools.count(1)


def own_address():
    """An address of loopback that no other test has."""
    process = os.getpid()
    return f"127.{1 + process % 254}.{1 + process // 254 % 254}.{next(NUMBERS)}"


class Publisher:
    """Speaks for a cell, as a daemon does, or as somebody who only claims to be one."""

    def __init__(self, cell="dock", instance_id="true", endpoint=None, connect=None):
        self.cell, self.instance_id = cell, instance_id
        self.endpoint = endpoint or f"tcp/{own_address()}:17447"
        config = zenoh.Config()
        for key, value in {
            "mode": '"client"' if connect else '"peer"',
            "listen/endpoints": "[]" if connect else f'["{self.endpoint}"]',
            "connect/endpoints": f'["{connect}"]' if connect else "[]",
            "scouting/multicast/enabled": "false",
            "scouting/gossip/enabled": "false",
        }.items():
            config.insert_json5(key, value)
        self.session = zenoh.open(config)
        self.token = self.session.liveliness().declare_token(f"magpie/{cell}/alive")
        self.publication = 0
        self.state, self.reasons = packages_pb2.STATE_OK, []
        self.stopping = threading.Event()
        self.beats = threading.Thread(target=self._beat, daemon=True)
        self.beats.start()

    def _beat(self):
        while not self.stopping.wait(0.05):
            status = status_pb2.Status(
                schema_version=1,
                cell=self.cell,
                instance_id=self.instance_id,
                sent_ns=time.time_ns(),
                state=self.state,
                reasons_coded=self.reasons,
            )
            self.put("status", status.SerializeToString())

    def put(self, what, payload):
        self.session.put(f"magpie/{self.cell}/{what}", payload)

    def message(self, clock_ahead_ns=0, valid_ns=1_000_000_000, **changes):
        """A picture of 4x3 pixels that shows one package with one grasp."""
        self.publication += 1
        now_ns = time.time_ns() + clock_ahead_ns
        wire = packages_pb2
        grasp = wire.Grasp(
            pose=wire.Pose(
                position_m=wire.Vector3(x=0.4, y=-0.1, z=0.12),
                # Half a turn about x: the approach goes down.
                orientation=wire.Quaternion(x=1.0),
            ),
            contact_px=wire.PointPx(x_px=2.0, y_px=1.0),
            quality=0.8,
            pose_source=1,
            cups=[0],
            position_sigma_m=0.003,
        )
        package = wire.Package(
            track_id=7,
            type="box",
            score=0.9,
            bbox=wire.BboxPx(x_min_px=1, y_min_px=0, x_max_px=3, y_max_px=2),
            # Column by column: 3 of background, 2 of the package, 2, 2, and 3.
            mask=wire.Mask(width_px=4, height_px=3, counts=coco([3, 2, 2, 2, 3])),
            grasps=[grasp],
        )
        message = wire.Packages(
            schema_version=1,
            cell=self.cell,
            instance_id=self.instance_id,
            publication=self.publication,
            sequence=self.publication,
            stamp_ns=now_ns,
            published_ns=now_ns,
            valid_until_ns=now_ns + valid_ns,
            frame_id="base",
            reference_frame=1,
            image_width_px=4,
            image_height_px=3,
            state=2,
            packages=[package],
        )
        for name, value in changes.items():
            if hasattr(value, "CopyFrom"):
                getattr(message, name).CopyFrom(value)
            else:
                setattr(message, name, value)
        return message

    def publish(self, **changes):
        message = self.message(**changes)
        self.put("packages", message.SerializeToString())
        return message

    def fall_silent(self):
        """The heartbeat stops, and the connection stays."""
        self.stopping.set()
        self.beats.join()

    def leave(self):
        self.fall_silent()
        if not self.session.is_closed():
            self.session.close()


def coco(runs):
    """COCO's string of run lengths that are all small: the first three as they are, the others as
    the difference to the run before the last one."""
    code = ""
    for at, run in enumerate(runs):
        value = run - (runs[at - 2] if at > 2 else 0)
        assert -16 <= value < 16
        code += chr((value & 31) + 48)
    return code.encode()


def until(packages, wanted, publish=lambda: None, rounds=3000):
    """The first state that is wanted, while somebody publishes."""
    state = None
    for _ in range(rounds):
        publish()
        time.sleep(0.01)
        packages.wait(0.02)
        state = packages.latest()
        if wanted(state):
            return state
    raise AssertionError(f"never seen; last was {state!r}")


def is_fresh(state):
    return isinstance(state, magpie_client.Fresh)


def has_code(code):
    return lambda state: getattr(state, "code", None) == code


@pytest.fixture
def publisher():
    publisher = Publisher()
    yield publisher
    publisher.leave()


@pytest.fixture
def client(publisher):
    with magpie_client.connect("dock", endpoint=publisher.endpoint) as client:
        yield client


@pytest.fixture(scope="session")
def demo():
    """The name of a cell that the program publishes on this machine."""
    program = os.environ.get("MAGPIE_PROGRAM", BUILT / "magpie")
    cell = f"python-{os.getpid()}"
    config = Path(SCRATCH) / "demo.toml"
    # A busy machine takes its time.
    config.write_text(
        f'cell = "{cell}"\n[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\n'
        "result_valid_ms = 5000\n"
    )
    with open(Path(SCRATCH) / "demo.log", "w") as log:
        daemon = subprocess.Popen([program, "run", "--config", config], stderr=log)
    try:
        for _ in range(300):
            try:
                magpie_client.connect(cell).close()
                break
            except magpie_client.ConnectError:
                assert daemon.poll() is None, (Path(SCRATCH) / "demo.log").read_text()
                time.sleep(0.2)
        yield cell
    finally:
        daemon.terminate()
        daemon.wait(60)
