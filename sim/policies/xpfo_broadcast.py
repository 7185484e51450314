"""Flush every TLB of the machine by one broadcast instruction, and wait for it; no CPU is interrupted.

Kernel:   arch/arm64/include/asm/tlbflush.h  flush_tlb_kernel_range() (TLBI ... IS, DSB ISH); AMD INVLPGB, TLBSYNC
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  any; the hardware acknowledges, so interrupts may be off.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.HARDWARE,
    local=Local.NEVER,
    presupposes="hardware that broadcasts flushes, and a kernel that uses it for kernel ranges",
)
