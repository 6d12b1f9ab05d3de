"""The smallest arm controller: waits for the best grasp of a cell and prints it.

python subscribe.py demo
"""

import itertools
import sys

import magpie_client
from magpie_client import Fresh, Stale

with magpie_client.connect(sys.argv[1] if len(sys.argv) > 1 else "demo") as client:
    for state in itertools.islice(client.packages(timeout_s=1.0), 10):
        if isinstance(state, Fresh):
            grasp = state.best_grasp()
            print("hold it at", grasp.base_from_grasp.tolist() if grasp else "no place")
        else:
            print("wait:" if isinstance(state, Stale) else "stop:", state.why)
