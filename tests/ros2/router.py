"""A zenoh router, as rmw_zenohd is one: router.py ENDPOINT. Ends with its standard input."""

import json
import sys

import zenoh

config = zenoh.Config()
config.insert_json5("mode", '"router"')
config.insert_json5("listen/endpoints", json.dumps([sys.argv[1]]))
config.insert_json5("scouting/multicast/enabled", "false")
session = zenoh.open(config)
print("listens", flush=True)
sys.stdin.read()
session.close()
