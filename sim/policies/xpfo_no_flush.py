"""XPFO's page bookkeeping without any flush: the lower bound of what XPFO costs.

C:       arch/x86/mm/xpfo.c  xpfo_alloc_pages(), xpfo_kunmap() with xpfo_flush_kernel_tlb() left out
Return:  the page is unmapped; no TLB has forgotten it.
Stale:   every CPU, this one included, for as long as its TLB happens to keep the entry.
Legal:   anywhere.
"""

from sim.abi import Flush, Own


def flush() -> Flush:
    return Flush(own=Own.NEVER)
