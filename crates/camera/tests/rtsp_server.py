"""Serves a moving test picture over RTSP on loopback: /cell as H.264, /h265 as H.265.

Usage: rtsp_server.py PORT [USER PASSWORD] (0 picks a free one); prints the port that it listens on.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

SOURCE = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1"
H264 = "openh264enc gop-size=10 ! h264parse ! rtph264pay"
H265 = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! h265parse ! rtph265pay"

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
permissions = GstRtspServer.RTSPPermissions()
for permission in ("access", "construct"):
    permissions.add_permission_for_role("user", f"media.factory.{permission}", True)
for path, encode in (("/cell", H264), ("/h265", H265)):
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(f"( {SOURCE} ! {encode} name=pay0 config-interval=1 )")
    if len(sys.argv) > 2:
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(path, factory)

if len(sys.argv) > 2:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*sys.argv[2:4]), token)
    server.set_auth(auth)
if server.attach(None) == 0:
    sys.exit(f"cannot listen on 127.0.0.1:{sys.argv[1]}")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
