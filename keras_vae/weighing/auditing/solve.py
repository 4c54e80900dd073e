"""Solves for the coefficient of a known gradient in a measured one."""

import numpy as np

# Largest relative distance between a gradient and a multiple of a known one that still
# counts as equality. Half precision rounds each gradient by some 1e-3.
TOLERANCE = {"float16": 3e-2, "bfloat16": 1e-1}
FLOAT32_TOLERANCE = 2e-3
# The same for several gradients at once.
JOINT_TOLERANCE = 5 * FLOAT32_TOLERANCE


def tolerance(tensor):
    """Returns the relative distance that the precision of a tensor needs."""
    return TOLERANCE.get(tensor.dtype.name, FLOAT32_TOLERANCE)


def flat(arrays):
    """Returns arrays joined to one float64 vector."""
    return np.concatenate([np.ravel(a).astype("float64") for a in arrays])


def project(gradient, reference):
    """Solves gradient = c reference by least squares.

    Args:
        gradient: Array.
        reference: Array of the same size.

    Returns:
        Tuple (c, relative residual). The residual is infinite if the reference is zero
        or a number is not finite.
    """
    gradient, reference = flat([gradient]), flat([reference])
    square = reference @ reference
    norm = np.linalg.norm(gradient)
    if not (np.isfinite(square) and np.isfinite(norm)) or square == 0:
        return 0.0, np.inf
    c = float(gradient @ reference / square)
    return c, relative(gradient - c * reference, gradient)


def relative(rest, gradient):
    """Returns the norm of a rest, relative to that of the gradient."""
    norm = np.linalg.norm(gradient)
    return np.linalg.norm(rest) / norm if norm > 0 else 0.0


def weigh_in_added(step, sides):
    """Finds the coefficients of a KL in each added loss.

    Args:
        step: `Step`.
        sides: List of (tensor, gradient of the KL by it, slice of its last axis).

    Returns:
        Tuple of (`Added`, coefficient), for the added losses that hold the KL.
    """
    found = []
    tensors, references, slices = zip(*sides, strict=True)
    for added in step.added:
        gradients = zip(step.gradient(added.tensor, tensors), slices, strict=True)
        gradient = flat([values.numpy()[..., where] for values, where in gradients])
        c, residual = project(gradient, flat(references))
        if c and residual < JOINT_TOLERANCE:
            found.append((added, c))
    return tuple(found)
