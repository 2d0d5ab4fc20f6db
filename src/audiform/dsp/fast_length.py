"""Lengths at which a Fourier transform is fast."""

from __future__ import annotations


def fast_length(at_least: int) -> int:
    """Return the smallest product of twos, threes and fives that is no less than asked for.

    >>> fast_length(485101)
    486000
    """
    best = 1
    while best < at_least:
        best *= 2
    five = 1
    while five < best:
        three = five
        while three < best:
            length = three
            while length < at_least:
                length *= 2
            best = min(best, length)
            three *= 3
        five *= 5
    return best
