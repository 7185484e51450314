"""Flush here at once; count up a global generation, which every other CPU compares at its next switch to a user task.

C:       after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(), with inc_mm_tlb_gen()'s idea
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task. The increment is atomic and
         nobody clears anything, so no post is lost.
Legal:   interrupts off, any lock held: it waits for nobody.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.ATOMIC))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL, clears=False)
