"""One broadcast instruction reaches every TLB of the machine; the sender waits for it, nobody is interrupted.

C:       arch/arm64/include/asm/tlbflush.h  flush_tlb_kernel_range() (TLBI ... IS, DSB ISH); AMD INVLPGB, TLBSYNC
Return:  no CPU holds the old mapping.
Stale:   nobody, once it returns.
Legal:   interrupts off, any lock held: hardware answers.
"""

from sim.abi import Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.HARDWARE, own=Own.NEVER)
