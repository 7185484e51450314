"""As xpfo_deferred, and every entry to the kernel honours the note too: user space cannot use a stale mapping.

C:       arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(); arch/x86/entry  (review of v7 to v9)
Return:  this CPU is clean.
Stale:   only CPUs that are in the kernel already, until they leave and come again, or switch.
Legal:   interrupts off, any lock held: it waits for nobody. Every entry touches the shared line.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)


def kernel_entry() -> Look:
    return Look(Line.GLOBAL)
