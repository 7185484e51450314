"""As xpfo_concurrent, but an isolated CPU in user mode is marked pending, and flushes at its next kernel entry.

Kernel:   as xpfo_concurrent; after "context_tracking,x86: Defer some IPIs until a user->kernel transition" (not merged)
Return:   no housekeeping CPU holds the old mapping, and no isolated CPU in the kernel.
Stale:    an isolated CPU in user mode until the flush at its next kernel entry, which ends the stale window. User mode
          cannot use the old entry, since it is of a kernel address.
Context:  interrupts on, no spinlock held that a handler may take: it waits for the CPUs that it interrupts.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.OTHER_HOUSEKEEPING,
    local=Local.AFTER_SENDS,
    presupposes="a kernel that knows which CPUs are in user mode",
)
