"""Serves a moving test picture as H.264 over RTSP on loopback.

Usage: rtsp_server.py PORT (0 picks a free one); prints the port that it listens on.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! openh264enc gop-size=10 ! h264parse ! rtph264pay name=pay0 config-interval=1 )"
)
server.get_mount_points().add_factory("/cell", factory)
if server.attach(None) == 0:
    sys.exit(f"cannot listen on 127.0.0.1:{sys.argv[1]}")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
