"""As xpfo_concurrent, but a CPU in user mode is not interrupted: it is marked pending, and flushes at its next entry.

Kernel:   as xpfo_concurrent; kernel/context_tracking.c  ct_state() for CPUs in user mode (a proposal, not merged)
Return:   no CPU in the kernel holds the old mapping.
Stale:    a CPU in user mode until the flush at its next kernel entry, which ends the stale window. User mode cannot use
          the old entry, since it is of a kernel address.
Context:  interrupts on, no spinlock held that a handler may take: it waits for the CPUs in the kernel.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.OTHER_IN_KERNEL,
    local=Local.AFTER_SENDS,
    presupposes="a kernel that knows which CPUs are in user mode",
)
