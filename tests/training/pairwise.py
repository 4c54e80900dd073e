"""Combinations of settings in which each pair of two settings' values occurs."""

import itertools
import random

CANDIDATES = 60


def combinations(axes, is_valid, number):
    """Returns distinct valid combinations; the first of them cover all pairs.

    Args:
        axes: Dict, name -> list of values.
        is_valid: Callable, a combination -> whether it can be.
        number: Integer, the least combinations.

    Returns:
        A list of dicts, name -> value, and how many of them cover the pairs.
    """
    draw = random.Random(0)
    pairs = [
        pair
        for one, other in itertools.combinations(axes, 2)
        for pair in itertools.product(
            [(one, v) for v in axes[one]], [(other, v) for v in axes[other]]
        )
    ]
    # Without the pairs that no combination may have.
    missing = {pair for pair in pairs if _complete(axes, is_valid, draw, pair)}
    chosen, needed = [], None
    while missing or len(chosen) < number:
        if not missing and needed is None:
            needed = len(chosen)
        fixed = min(missing, key=repr) if missing else ()
        candidates = CANDIDATES if missing else 1
        found = [_complete(axes, is_valid, draw, fixed) for _ in range(candidates)]
        found = [case for case in found if case and case not in chosen]
        if not found:
            continue
        best = max(found, key=lambda case: len(_pairs(case) & missing))
        missing -= _pairs(best)
        chosen.append(best)
    return chosen, needed or len(chosen)


def _complete(axes, is_valid, draw, pair, tries=400):
    for _ in range(tries):
        case = {name: draw.choice(values) for name, values in axes.items()}
        case.update(pair)
        if is_valid(case):
            return case
    return None


def _pairs(case):
    return set(itertools.combinations(case.items(), 2))
