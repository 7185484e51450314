"""As xpfo_deferred_test_first, with one mask for the CPUs of each socket, on a line of its own.

C:       after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(), with one mask per node as
         kernel/sched/fair.c  has for idle CPUs
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task. Bits are set atomically, and a bit
         that is read as set is honoured later, so no post is lost.
Legal:   interrupts off, any lock held: it waits for nobody, but it reads one line per socket, its own first.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.NODE, How.TEST_FIRST))


def switch_to_user() -> Look:
    return Look(Line.NODE)
