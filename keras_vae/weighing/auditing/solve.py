"""Solves for the coefficient of a known gradient in a measured one."""

import numpy as np

# Relative distance within which a gradient is that of a known term. Half precision
# rounds each gradient by some 1e-3.
TOLERANCE = {"float16": 3e-2, "bfloat16": 1e-1}
FLOAT32_TOLERANCE = 2e-3
# For what is put together of several gradients.
JOINT_TOLERANCE = 5 * FLOAT32_TOLERANCE


def tolerance(tensor):
    """The distance that the precision of a tensor asks for."""
    return TOLERANCE.get(tensor.dtype.name, FLOAT32_TOLERANCE)


def flat(arrays):
    """Arrays behind one another, as one float64 vector."""
    return np.concatenate([np.ravel(a).astype("float64") for a in arrays])


def project(gradient, reference):
    """Solves gradient = c reference by least squares.

    Args:
        gradient: Array.
        reference: Array of the same size.

    Returns:
        Tuple (c, relative residual), the residual infinite where nothing can be said.
    """
    gradient, reference = flat([gradient]), flat([reference])
    square = reference @ reference
    norm = np.linalg.norm(gradient)
    if not (np.isfinite(square) and np.isfinite(norm)) or square == 0:
        return 0.0, np.inf
    c = gradient @ reference / square
    return c, relative(gradient - c * reference, gradient)


def relative(rest, gradient):
    """Size of a rest relative to the gradient."""
    norm = np.linalg.norm(gradient)
    return np.linalg.norm(rest) / norm if norm > 0 else 0.0


def terms(step, sides):
    """Finds the coefficients of a KL in each added loss.

    Args:
        step: `Step`.
        sides: List of (tensor, gradient of the KL by it, where in its last axis).

    Returns:
        List of (`Added`, coefficient), those without it left out.
    """
    found = []
    reference = flat([side[1] for side in sides])
    for added in step.trace.added:
        gradients = [
            step.gradient(added.tensor, tensor).numpy()[..., where]
            for tensor, _, where in sides
        ]
        c, residual = project(flat(gradients), reference)
        if c and residual < JOINT_TOLERANCE:
            found.append((added, float(c)))
    return found
