"""A site: two secured cells, the router that joins them, and somebody who reads both through it.

Certificates and configurations are those that scripts/certificates makes (docs/fleet.md)."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import zenoh
from conftest import BUILT, ROOT, has_code, is_fresh, own_address, until

import magpie_client
from magpie_client import Lost

CELLS = ("dock-7", "dock-8")
# As zenohd does with its --config.
ROUTER = """import sys, zenoh
with zenoh.open(zenoh.Config.from_file(sys.argv[1])):
    print("listens", flush=True)
    sys.stdin.read()
"""
COUNTED_S = 10


class Link:
    """A wire between the router and a cell, that can be cut and mended."""

    def __init__(self, address, port, to_port):
        self.address, self.to_port = address, to_port
        self.listener = socket.create_server((address, port))
        self.whole, self.ended = threading.Event(), threading.Event()
        self.whole.set()
        self.pairs = []
        self.thread = threading.Thread(target=self.accept, name="link", daemon=True)
        self.thread.start()

    def accept(self):
        while not self.ended.is_set():
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            near = self.listener.accept()[0]
            try:
                if not self.whole.is_set():
                    raise OSError("cut")
                far = socket.create_connection((self.address, self.to_port), 5)
            except OSError:
                near.close()
                continue
            self.pairs.append((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=pair, name="carry", daemon=True).start()

    @staticmethod
    def carry(one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.whole.clear()
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def mend(self):
        self.whole.set()

    def close(self):
        self.ended.set()
        self.cut()
        self.thread.join()
        self.listener.close()


def edit(path, *changes):
    text = path.read_text()
    for before, after in changes:
        assert before in text, f"{before} is not in {path}"
        text = text.replace(before, after)
    path.write_text(text)
    return path


def make(*arguments):
    done = subprocess.run([ROOT / "scripts/certificates", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.addresses = {cell: own_address() for cell in CELLS}
        self.address = own_address()
        for cell, address in self.addresses.items():
            make(cell, address, folder)
        make("--site", "north", self.address, folder, *(f"{cell}={address}" for cell, address in self.addresses.items()))
        for cell in CELLS:
            for who in ("daemon", "arm"):
                self.file(cell, who)
            # As scripts/certificates --site says.
            edit(
                folder / f"{cell}/daemon/{cell}-daemon.json5",
                ("subjects: [\n", 'subjects: [\n      { id: "north", cert_common_names: ["north-router"] },\n'),
                ('subjects: ["arm", "viewer"]', 'subjects: ["arm", "viewer", "north"]'),
            )
        router = self.file("north", "router")
        self.viewer = self.file("north", "viewer")
        self.links = {cell: Link(address, 17448, 17447) for cell, address in self.addresses.items()}
        edit(router, (":17447", ":17448"))
        command = [sys.executable, "-c", ROUTER, str(router)]
        self.router = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.router.stdout.readline() == "listens\n"
        self.daemons = {cell: self.start(cell) for cell in CELLS}

    def file(self, name, who):
        folder = self.folder / name / who
        return edit(folder / f"{name}-{who}.json5", ("/etc/magpie/tls", str(folder)))

    def start(self, cell):
        config = self.folder / f"{cell}.toml"
        zenoh_file = self.folder / f"{cell}/daemon/{cell}-daemon.json5"
        # A busy machine takes its time.
        config.write_text(
            f'cell = "{cell}"\n[zenoh]\nconfig = "{zenoh_file}"\n'
            "[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\nresult_valid_ms = 5000\n"
        )
        program = os.environ.get("MAGPIE_PROGRAM", BUILT / "magpie")
        with open(self.folder / f"{cell}.log", "w") as log:
            return subprocess.Popen([program, "run", "--config", config], stderr=log)

    def close(self):
        for daemon in self.daemons.values():
            daemon.terminate()
            daemon.wait(60)
        self.router.communicate(timeout=60)
        for link in self.links.values():
            link.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


def connected(cell, zenoh_file, rounds=60):
    for _ in range(rounds):
        try:
            return magpie_client.connect(cell, zenoh_file=zenoh_file)
        except magpie_client.ConnectError as error:
            last = error
    raise last


def test_one_link_is_cut_and_the_other_cell_and_the_arm_notice_nothing(site):
    arm_file = site.folder / "dock-7/arm/dock-7-arm.json5"
    with connected("dock-7", arm_file) as arm, connected("dock-7", site.viewer) as seven, connected("dock-8", site.viewer) as eight:
        of_arm, of_seven, of_eight = arm.packages(), seven.packages(), eight.packages()
        for packages in (of_arm, of_seven, of_eight):
            until(packages, is_fresh)
        site.links["dock-7"].cut()
        lost = until(of_seven, lambda state: isinstance(state, Lost))
        assert lost.code in ("silent", "gone"), lost
        # The last result is not fresh for ever: nobody acts on it.
        first, second = (until(packages, is_fresh) for packages in (of_eight, of_arm))
        until(of_eight, lambda state: is_fresh(state) and state.sequence > first.sequence)
        until(of_arm, lambda state: is_fresh(state) and state.sequence > second.sequence)
        assert not is_fresh(of_seven.latest())
        site.links["dock-7"].mend()
        until(of_seven, is_fresh)
        until(of_eight, is_fresh)


def test_who_reads_at_the_site_publishes_nothing_there(site):
    with connected("dock-8", site.viewer) as client:
        packages = client.packages()
        until(packages, is_fresh)
        config = zenoh.Config.from_file(str(site.viewer))
        with zenoh.open(config) as forger:
            for _ in range(100):
                forger.put("magpie/dock-8/packages", b"forged")
                packages.wait(0.02)
                assert getattr(packages.latest(), "code", None) not in ("refused", "rival")
        until(packages, is_fresh)


def test_a_cell_publishes_in_its_own_name_alone(site):
    """The daemon's certificate of one cell is no ticket to speak for another."""
    folder = site.folder / "dock-7/daemon"
    config = zenoh.Config()
    for key, value in {
        "mode": '"client"', "connect/endpoints": f'["tls/{site.address}:7447"]', "scouting/multicast/enabled": "false",
        "transport/link/tls/root_ca_certificate": f'"{folder}/ca.pem"', "transport/link/tls/enable_mtls": "true",
        "transport/link/tls/connect_private_key": f'"{folder}/dock-7-daemon.key"',
        "transport/link/tls/connect_certificate": f'"{folder}/dock-7-daemon.pem"',
    }.items():
        config.insert_json5(key, value)
    with connected("dock-8", site.viewer) as client, zenoh.open(config) as forger:
        packages = client.packages()
        until(packages, is_fresh)
        for _ in range(100):
            forger.put("magpie/dock-8/packages", b"forged")
            packages.wait(0.02)
            assert getattr(packages.latest(), "code", None) not in ("refused", "rival")
        # In the name of its own cell it is heard, so that what was tried above could have been.
        with connected("dock-7", site.viewer) as seven:
            own = seven.packages()
            until(own, has_code("refused"), lambda: forger.put("magpie/dock-7/packages", b"forged"))


def test_a_reader_of_one_cell_is_no_reader_of_the_site(site):
    own = site.folder / "dock-7/arm/dock-7-arm.json5"
    there = Path(str(own).replace(".json5", "-site.json5"))
    there.write_text(own.read_text().replace(f"tls/{site.addresses['dock-7']}:17447", f"tls/{site.address}:7447"))
    with connected("dock-7", site.viewer) as viewer, connected("dock-7", there) as stranger:
        of_viewer, of_stranger = viewer.packages(), stranger.packages()
        for _ in range(5):
            seen = until(of_viewer, is_fresh).sequence
            until(of_viewer, lambda state: is_fresh(state) and state.sequence > seen)
            of_stranger.wait(0.05)
            assert isinstance(of_stranger.latest(), Lost), of_stranger.latest()


def processor_s(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_what_a_cell_costs_the_router_is_counted(site):
    """`-s` prints the figures of docs/fleet.md; a cell's message is as large as what it sees."""
    count, size = Counter(), Counter()

    def counted(sample):
        key = str(sample.key_expr).rpartition("/")[2]
        count[key] += 1
        size[key] += len(sample.payload.to_bytes())

    with zenoh.open(zenoh.Config.from_file(str(site.viewer))) as reader:
        subscribers = [reader.declare_subscriber(f"magpie/{cell}/{key}", counted) for cell in CELLS for key in ("packages", "status")]
        end = time.monotonic() + 60
        while len(count) < 2:
            assert time.monotonic() < end, count
            time.sleep(0.05)
        count.clear()
        size.clear()
        before = processor_s(site.router)
        time.sleep(COUNTED_S)
        spent, messages = processor_s(site.router) - before, count.total()
        for subscriber in subscribers:
            subscriber.undeclare()
    assert count["packages"] and 5 < count["status"] / len(CELLS) / COUNTED_S < 15, count
    for key in count:
        print(f"{key}: {count[key] / len(CELLS) / COUNTED_S:.1f} a second and cell, {size[key] / count[key]:.0f} bytes each")
    print(f"router: {1e3 * spent / messages:.2f} ms of a core for each message to one reader")
