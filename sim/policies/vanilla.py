"""No XPFO: the kernel's direct map is never flushed for user pages.

Kernel:   Linux 4.20 without the XPFO series
Return:   no page is unmapped.
Stale:    no TLB entry; the kernel can always access every user page. This is the baseline of every ratio.
Context:  any.
"""

import numpy as np

from sim.policy import Build, Events, Local, Policy


def _events(build: Build) -> Events:
    return Events(np.zeros_like(build.kunmap_events), build.pages, 0.0 * build.weights)


POLICY = Policy(local=Local.NEVER, events=_events)
