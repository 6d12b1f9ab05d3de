"""The asyncio form of the iterator."""

import asyncio

# A wait that was cancelled keeps its thread for that long.
SLICE_S = 0.1


async def next_state(packages, timeout_s):
    """Waits on a thread of the loop's executor. Only the loop hands a result out, so that a cancelled
    wait loses none."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while not packages.closed:
        left = max(end - loop.time(), 0.0)
        has_come = await loop.run_in_executor(None, packages.wait, min(left, SLICE_S))
        if has_come or loop.time() >= end:
            break
    if packages.closed:
        raise StopAsyncIteration
    return packages.latest()
