"""Pages about a trained model."""

import numpy as np

from keras_vae.figures import epochs
from keras_vae.figures import image_sections
from keras_vae.figures import pages
from keras_vae.figures import tiles
from keras_vae.figures import vector_sections


def training_report(
    path,
    originals,
    reconstructions,
    samples,
    traversals,
    history: dict,
    *,
    title: str = "Training report",
    dims=None,
    limit: float = 2.5,
    columns=None,
    across: int | None = None,
):
    """Writes one PNG about a trained model and its training.

    It shows data above their reconstructions, samples from the prior and latent
    traversals, and below them distortion, rate and KL weight over the epochs. Events
    that are not images are drawn as lines over the index of the flattened event, or
    over its `columns`. The file appears complete or not at all.

    Args:
        path: String or path, the PNG to write; its directory is created.
        originals: (N, *event) array, images in [0, 1]. The first 16 images or 8 vectors
            are drawn.
        reconstructions: (N, *event) array, the decoded `originals`.
        samples: (M, *event) array, decoded draws from the prior; the first 64 are
            drawn. Or None.
        traversals: (units, steps, *event) array, the decoded `traversal`; the first 8
            units are drawn. Or None.
        history: Dict of lists, one number per epoch, as `fit(...).history`: any of
            `reconstruction_loss`, `kl_loss`, `negative_elbo` in nats, `kl_weight`, and
            the same keys with the prefix `val_`. Other keys are ignored.
        title: String, the heading. Defaults to "Training report".
        dims: List of integers, the units of `traversals`. Defaults to None: the first
            units.
        limit: Float, the `limit` of the traversal. Defaults to 2.5.
        columns: Sequence of strings, the names of the numbers of an event, such as
            those of a table. Defaults to None.
        across: Integer, images of `samples` in a row, such as one of each class.
            Defaults to None: about the number of rows.

    Raises:
        ValueError: If `originals` and `reconstructions` differ in shape, or there is
            not one of `columns` for each number of an event.

    Example:
        >>> x = np.random.default_rng(0).uniform(size=(8, 8, 8, 1))
        >>> history = {"kl_loss": [1.0, 3.0], "val_kl_loss": [1.5, 3.5]}
        >>> kv.figures.training_report("report.png", x, x, x, x[None], history)
    """
    originals, reconstructions = np.asarray(originals), np.asarray(reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`reconstructions` must have the shape of `originals`. Received: "
            f"reconstructions.shape={reconstructions.shape}, "
            f"originals.shape={originals.shape}"
        )
    history = {key: list(values) for key, values in history.items()}
    draw, named = _sections_of(originals.shape[1:], columns)
    sections = [draw.reconstructions(originals, reconstructions, **named)]
    examples = []
    if samples is not None:
        wide = {} if across is None or named else {"across": across}
        examples.append(draw.samples(np.asarray(samples)[:64], **wide, **named))
    if traversals is not None:
        traversals = np.asarray(traversals)[:8]
        dims = range(len(traversals)) if dims is None else dims
        names = [f"$z_{{{dim}}}$" for dim in dims][:8]
        examples.append(draw.traversals(traversals, names, limit, **named))
    if examples:
        sections.append(pages.side_by_side(examples))
    sections += epochs.sections(history)
    pages.write(path, sections, title, epochs.summary(history))


def by_weight(
    path,
    originals,
    reconstructions,
    samples,
    names,
    *,
    title: str = "Reconstructions and samples by weight of the KL",
    subtitle: str = "",
    columns=None,
):
    """Writes one PNG with the effect of the KL weight on reconstructions and samples.

    It has one row for each weight, with reconstructions on the left and samples on the
    right. With images, a row of data stands above each side. Events that are not images
    are drawn as lines over the index of the flattened event, or over its `columns`. The
    file appears complete or not at all.

    Args:
        path: String or path, the PNG to write; its directory is created.
        originals: (N, *event) array, images in [0, 1], the data of the
            reconstructions.
        reconstructions: (weights, N, *event) array, the decoded `originals`.
        samples: (weights, M, *event) array, decoded draws from the prior.
        names: List of strings, one for each weight.
        title: String, the heading.
        subtitle: String, the line below the title.
        columns: See `training_report`.

    Raises:
        ValueError: If the shapes or `columns` do not fit.

    Example:
        >>> x = np.random.default_rng(0).uniform(size=(2, 4, 8, 8, 1))
        >>> kv.figures.by_weight("weights.png", x[0], x, x, ["beta 0.1", "beta 1"])
    """
    originals = np.asarray(originals)
    rows = np.asarray(reconstructions), np.asarray(samples)
    if rows[0].shape != (len(names), *originals.shape) or (
        rows[1].shape[:1] + rows[1].shape[2:] != (len(names), *originals.shape[1:])
    ):
        raise ValueError(
            "`reconstructions` must have shape (weights, *originals.shape) and "
            "`samples` shape (weights, M, *event), with one of `names` per weight. "
            "Received: "
            f"shapes {rows[0].shape} and {rows[1].shape}, originals "
            f"{originals.shape}, {len(names)} names"
        )
    draw, named = _sections_of(originals.shape[1:], columns)
    sections = draw.by_weight(originals, *rows, list(names), **named)
    pages.write(path, sections, title, subtitle)


def _sections_of(event_shape, columns):
    """Returns the module that draws such events, and its further arguments."""
    if columns is not None and len(columns) != np.prod(event_shape):
        raise ValueError(
            "`columns` must be one name for each number of an event. Received: "
            f"{len(columns)} names for events of shape {event_shape}"
        )
    if tiles.is_image(event_shape):
        return image_sections, {}
    return vector_sections, {"columns": columns}
