"""Write one word that all CPUs share, as get_user_pages() does with FOLL_PIN; flush nothing and never wait.

Kernel:   mm/gup.c  mm_set_has_pinned_flag(), before the test for a flag that is set (5.12)
Return:   the word is written.
Stale:    no TLB entry: no mapping changes.
Context:  any; never waits.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.NEVER, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL), build=False)
