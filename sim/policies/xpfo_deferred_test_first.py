"""As xpfo_deferred, and the global mask is read first: it is written only where some CPU's bit is clear.

C:       after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), with cpumask_test_cpu() before each write, as
         switch_mm_irqs_off() would have it too  (review of XPFO v8 13/14)
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task. Bits are set atomically, and a bit
         that is read as set is honoured later, so no post is lost.
Legal:   interrupts off, any lock held: it waits for nobody. The page table is written before the mask is read, with a
         full barrier between them.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.TEST_FIRST))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)
