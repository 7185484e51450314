"""Flush here at once; leave every other CPU a note that it honours at its next switch to a user task.

C:       arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8 13/14)
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task. The note is a plain
         read-modify-write of one global mask, so a post may be lost until the next one repairs it.
Legal:   interrupts off, any lock held: it waits for nobody.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)
