"""Seeds of what is random in a step, an item, a process."""

from __future__ import annotations

import numpy as np


def mixed_seed(*numbers: int) -> int:
    """Return a seed that is a function of the numbers, other ones for other numbers.

    Numbers are at least 0; the seed fits every generator (62 bits).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(2))
