"""XPFO's page bookkeeping without any flush: the lower bound of the cost of XPFO.

Kernel:   arch/x86/mm/xpfo.c  xpfo_alloc_pages(), xpfo_kunmap() without xpfo_flush_kernel_tlb()
Return:   the page is unmapped; every TLB may still have its old entry.
Stale:    every CPU, including this one, until its TLB evicts the entry.
Context:  any.
"""

from sim.policy import Local, Policy

POLICY = Policy(local=Local.NEVER)
