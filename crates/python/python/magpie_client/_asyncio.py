"""The asyncio form of the iterator."""

import asyncio


async def next_state(packages):
    """Waits on a thread of the loop's executor. Only the loop hands a result out, so that a cancelled
    wait loses none."""
    await asyncio.get_running_loop().run_in_executor(None, packages.wait)
    if packages.closed:
        raise StopAsyncIteration
    return packages.latest()
