"""Flush here at once; set a flag of each other CPU's own, only where it is clear.

C:       arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range() with test before set, as the review of XPFO v8 13/14 asks
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task. No post is lost: a flag has one
         clearer, its owner.
Legal:   interrupts off, any lock held: it waits for nobody, but it reads one line per online CPU.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.PER_CPU, How.TEST_FIRST))


def switch_to_user() -> Look:
    return Look(Line.PER_CPU)
