"""Flush here at once; leave a note in the current task's own mask, honoured where that task arrives.

C:       arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off() with the mask in task_struct  (XPFO v7)
Return:  this CPU is clean.
Stale:   every other CPU, until some task with its bit set migrates there; a CPU that no such task visits, for ever.
Legal:   interrupts off, any lock held: it waits for nobody. The line is the task's own, so nobody contends for it.
"""

from sim.abi import Flush, How, Line, Look, Own, Post


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.TASK, How.PLAIN))


def migration() -> Look:
    return Look(Line.TASK)
