"""What an experiment of a given size could have found."""

from __future__ import annotations

from statistics import NormalDist

ALPHA = 0.05
POWER = 0.80


def detectable(low: float | None, high: float | None, templates: int, family: int) -> float | None:
    """Smallest true difference that would be found with power 0.8 among ``family`` corrected tests.

    Args:
        low: Lower end of the 95% interval of the difference seen; its width tells the error.
        high: Upper end.
        templates: Independent units, ``>= 1``.
        family: Number of tests that are corrected together, ``>= 1``.

    Returns:
        A difference of rates; None where so few units cannot show any.
    """
    if low is None or high is None or family * 2 ** (1 - templates) >= ALPHA:
        return None
    normal = NormalDist()
    error = (high - low) / 2 / normal.inv_cdf(0.975)
    return error * (normal.inv_cdf(1 - ALPHA / 2 / family) + normal.inv_cdf(POWER))
