"""The table of all methods, in Markdown."""

from benchmarks.balancing.registry import METHODS


def markdown(rows, settings, problem):
    """Returns the table of all finished rows.

    Args:
        rows: Dict, name of a method -> what `measuring.run` returned.
        settings: Dict of what the rows were measured with.
        problem: `Problem`.
    """
    done = [method for method in METHODS if method.name in rows]
    minutes = sum(row["processor_seconds"] for row in rows.values()) / 60
    return "\n".join(
        [
            *_heading(settings, problem, minutes),
            *_units(problem),
            "| method | rate | distortion | -ELBO | NLL | active units |",
            "|---|---|---|---|---|---|",
            *(_line(method, rows[method.name]) for method in done),
            "",
            "(d): a Gaussian is a density over real numbers. Its nats do not compare "
            "with the probabilities of binary images in the other rows, and at a small "
            "scale they fall below 0; rate and active units do compare.",
            "",
            "## Targets",
            "",
            "Reached on the training data, on which the target is defined.",
            "",
            "| method | target of | target | reached | relative error |",
            "|---|---|---|---|---|",
            *(
                _target_line(method, rows[method.name])
                for method in done
                if method.target
            ),
            "",
            "## What theory says of the rows",
            "",
            *(f"* {method.name}: {method.note}." for method in done if method.note),
            "",
        ]
    )


def _heading(settings, problem, minutes):
    images = f"{len(problem.train):,} training and {len(problem.test):,} test images"
    sizes = "-".join(map(str, [*problem.hidden, problem.latent_dim]))
    return [
        "# Every method on one network",
        "",
        f"{settings['dataset']}, {images}; MLP {sizes} of tanh units, "
        f"{problem.epochs} epochs in batches of {problem.batch_size}, Adam "
        f"{problem.learning_rate:g} with "
        f"cosine decay, seed {problem.seed}, one run per row. Written by",
        "",
        f"    {settings['command']}",
        "",
        f"on {settings['machine']}, in {minutes:.0f} minutes of processor time.",
        "",
    ]


def _units(problem):
    return [
        "Test data, nats per example, summed over pixels and units. Rate, "
        "distortion and -ELBO have no weight, whatever the method's loss is. NLL "
        "is -ELBO less its gap to -log p(x), which was measured with "
        f"{problem.importance_samples} importance samples from q(z|x) on the first "
        f"{problem.nll_images:,} test images. A unit is active if the variance of "
        "its posterior mean exceeds "
        "0.01.",
        "",
    ]


def _line(method, row):
    mark = "" if method.comparable else " (d)"
    nats = [f"{row[key]:.2f}{mark}" for key in ("distortion", "negative_elbo", "nll")]
    cells = [method.name, f"{row['rate']:.2f}", *nats, str(row["active_units"])]
    return f"| {' | '.join(cells)} |"


def _target_line(method, row):
    error = row["reached"] / row["target"] - 1
    cells = [method.target, f"{row['target']:g}", f"{row['reached']:.2f}"]
    return f"| {method.name} | {' | '.join(cells)} | {100 * error:+.2f} % |"
