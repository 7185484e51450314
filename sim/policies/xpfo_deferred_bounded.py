"""As xpfo_deferred, and the periodic tick honours the note too.

C:       arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(); kernel/time  update_process_times()
Return:  this CPU is clean.
Stale:   every other CPU that ticks, for at most one tick (lost posts aside); a nohz_full CPU until it switches.
Legal:   interrupts off, any lock held: it waits for nobody.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)


def tick() -> Look:
    return Look(Line.GLOBAL)
