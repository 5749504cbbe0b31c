"""The search for a policy: shares by linear programming, the rest by enumeration and dry runs.

For each choice of the whole numbers (rows in flight, launches, where attention runs) the shares
of weights, keys and values, and hidden rows on the tiers are a linear program, solved by HiGHS
(https://highs.dev, through highspy): minimise the time of the job, which is the time of its
busiest lane in each phase, within the memory of every tier. The best few are run through sweep by
sweep in a dry run, and the fastest is taken. All sizes and seconds come from the native
``Planning``, which counts the program that runs.
"""

from penstock.planner.search import Choice, choose
from penstock.planner.whatif import what_if

__all__ = ["Choice", "choose", "what_if"]
