"""What a Magpie cell sees, for programs that move an arm.

    import magpie_client
    from magpie_client import Fresh, Lost, Stale

    with magpie_client.connect("dock-7") as client:
        for state in client.packages():
            if isinstance(state, Fresh):
                grasp = state.best_grasp()
                if grasp is not None:
                    print("hold it at", grasp.base_from_grasp)
            elif isinstance(state, Stale):
                print("wait:", state.why)
            elif isinstance(state, Lost):
                print("stop:", state.why)

A result is `Fresh` until its time is over. Whatever an arm could act upon is asked of the result,
which looks at the clock each time and raises `Expired` from then on. Ask right before each motion: an
array that you keep does not expire.

Lengths are metres, times are nanoseconds since 1970 (`_ns`) or seconds (`_s`), and poses are
homogeneous `float64` 4x4 matrices that are named `target_from_source`.
"""

from ._errors import ConnectError, Expired, MagpieError, QueryError, Unanswered, WrongFrame
from ._native import (
    CameraInfo,
    Client,
    Fresh,
    Grasp,
    Lost,
    Package,
    Packages,
    PoseAt,
    Reason,
    Stale,
    Status,
    connect,
)

__all__ = [
    "CameraInfo",
    "Client",
    "ConnectError",
    "Expired",
    "Fresh",
    "Grasp",
    "Lost",
    "MagpieError",
    "Package",
    "Packages",
    "PoseAt",
    "QueryError",
    "Reason",
    "Stale",
    "Status",
    "Unanswered",
    "WrongFrame",
    "connect",
]
