"""What TensorBoard shows of the levels of a hierarchy."""

import numpy as np

from keras_vae import figures


def what_each_level_adds(model, x, originals):
    """Decodes examples from their top level alone, from the top two, and so on.

    Args:
        model: `keras_vae.HierarchicalVAE`.
        x: Batch of examples, as the model takes them.
        originals: Array of the same examples (examples, *event_shape).

    Returns:
        An array of events, rows of a picture: the examples, and then one row for each
        level from the top; and the number of columns.
    """
    names = [latent.name for latent in reversed(model.latents)]
    kept = [names[:number] for number in range(1, len(names) + 1)]
    rows = [model.reconstruct(x, keep_levels=some).numpy() for some in kept]
    if originals.shape == rows[0].shape:
        rows = [np.where(np.isnan(originals), np.inf, originals), *rows]
    return np.concatenate(rows), len(rows[0])


def rates_over_time(model, rates):
    """Draws the KL of each unit at some epochs, the levels apart.

    Args:
        model: `keras_vae.HierarchicalVAE`.
        rates: Dict of epochs, counted from 1, to arrays (units,), nats.

    Returns:
        An array of pixels (height, width, channels).
    """
    sizes = {latent.name: latent.units for latent in model.latents}
    values = np.stack(list(rates.values()))
    return figures.pixels(figures.unit_rates(values, sizes, list(rates)))
