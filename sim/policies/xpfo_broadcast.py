"""One broadcast instruction reaches every TLB of the machine; the sender waits for it, nobody is interrupted.

Kernel:   arch/arm64/include/asm/tlbflush.h  flush_tlb_kernel_range() (TLBI ... IS, DSB ISH); AMD INVLPGB, TLBSYNC
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  any; hardware answers, interrupts may be off.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.HARDWARE,
    local=Local.NEVER,
    presupposes="hardware that broadcasts flushes, with the kernel using it for its own ranges",
)
