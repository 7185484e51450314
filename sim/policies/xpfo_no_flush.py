"""XPFO's page bookkeeping without any flush: the lower bound of what XPFO costs.

Kernel:   arch/x86/mm/xpfo.c  xpfo_alloc_pages(), xpfo_kunmap() with xpfo_flush_kernel_tlb() left out
Return:   the page is unmapped; every TLB may still hold it.
Stale:    every CPU, this one included, for as long as its TLB happens to keep the entry.
Context:  any.
"""

from sim.policy import Local, Policy

POLICY = Policy(local=Local.NEVER)
