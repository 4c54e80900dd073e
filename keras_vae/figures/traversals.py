"""Latent vectors that vary along one axis at a time."""

import numpy as np


def traversal(latent_dim: int, num_steps: int = 9, limit: float = 2.5, dims=None):
    """Latent vectors that vary along one axis of a standard normal prior at a time.

    Args:
        latent_dim: Integer, the number of latent units.
        num_steps: Integer, latent vectors per unit. Defaults to 9.
        limit: Float, each unit moves from -limit to limit while the others are 0.
            Defaults to 2.5.
        dims: List of integers, the units to vary. Defaults to None: all.

    Returns:
        (len(dims) * num_steps, latent_dim) float32 array, one unit after the other.

    Raises:
        ValueError: If a number in `dims` is not a unit.

    Example:
        >>> kv.figures.traversal(2, num_steps=3, limit=1.0, dims=[1]).tolist()
        [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]
    """
    dims = np.arange(latent_dim) if dims is None else np.asarray(dims, int)
    if ((dims < 0) | (dims >= latent_dim)).any():
        raise ValueError(
            f"`dims` must be in [0, {latent_dim}). Received: dims={dims.tolist()}"
        )
    latents = np.zeros((len(dims), num_steps, latent_dim), np.float32)
    latents[np.arange(len(dims)), :, dims] = np.linspace(-limit, limit, num_steps)
    return latents.reshape(-1, latent_dim)
