"""No XPFO: the kernel's direct map is never flushed for user pages.

C:       Linux 4.20 without the XPFO series
Return:  nothing was unmapped, so nothing is stale.
Stale:   the baseline of every ratio; the kernel keeps reaching every user page.
Legal:   anywhere.
"""

import numpy as np

from sim.abi import Build, Events, Flush, Own


def events(build: Build) -> Events:
    return Events(np.zeros_like(build.kunmap_events), build.pages, 0.0 * build.weights)


def flush() -> Flush:
    return Flush(own=Own.NEVER)
