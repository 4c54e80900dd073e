"""Which flags of `python -m trainers.weigh` do not go together, or with the data."""

from trainers import _settings


def check_report(settings):
    """Checks what is asked of the trained models, once likelihood and range are known.

    Args:
        settings: `_settings.Settings`, resolved.

    Raises:
        _settings.FlagError: If a weight lies outside or cannot be exported, or a target
            does not suit the likelihood.
    """
    weigh = settings.weigh
    unsuitable = (
        ("target_distortion", "target_rmse")
        if settings.model.likelihood == "normal"
        else ("target_rmse", "target_distortion")
    )
    if getattr(weigh, unsuitable[0]) is not None:
        raise _settings.FlagError(
            f"`--{unsuitable[0]}` must be left out with --likelihood="
            f"{settings.model.likelihood}, which has --{unsuitable[1]}. Received: "
            f"--{unsuitable[0]}={getattr(weigh, unsuitable[0]):g}"
        )
    low, high = weigh.beta_range
    for name in ("betas", "export_beta"):
        value = getattr(weigh, name)
        listed = value if name == "betas" else [] if value is None else [value]
        if any(not low <= beta <= high for beta in listed):
            raise _settings.FlagError(
                f"`--{name}` must lie within the weights that are trained, "
                f"{low:.4g} to {high:.4g}; set --beta_range to train others. "
                f"Received: --{name}={_text(listed)}"
            )
    if weigh.mode == "sweep" and weigh.export_beta not in (
        None,
        *weigh.betas,
    ):
        raise _settings.FlagError(
            "`--export_beta` must be one of --betas with --mode=sweep, which trains "
            f"no other. Received: --export_beta={weigh.export_beta:g} and "
            f"--betas={_text(weigh.betas)}"
        )


def check_range(settings):
    """Checks the flags of the range, before the data are known.

    Args:
        settings: `_settings.Settings`.

    Raises:
        _settings.FlagError: If they cannot be followed.
    """
    weigh = settings.weigh
    if weigh.beta_range is None:
        return
    if weigh.mode == "sweep" and weigh.betas is not None:
        raise _settings.FlagError(
            "`--beta_range` must be left out where --mode=sweep has --betas, which "
            f"are what is trained. Received: --beta_range={_text(weigh.beta_range)}"
        )
    if len(weigh.beta_range) != 2 or weigh.beta_range[0] >= weigh.beta_range[1]:
        raise _settings.FlagError(
            "`--beta_range` must be two weights, the smaller one first, such as "
            f"--beta_range=0.01,10. Received: --beta_range={_text(weigh.beta_range)}"
        )


def check_processes(settings):
    """Checks that there are several models to train where several processes are to."""
    number = settings.weigh.num_processes
    several = settings.weigh.check or settings.weigh.mode == "sweep"
    if number > 1 and not several:
        raise _settings.FlagError(
            "`--num_processes` must be left out where one model is trained; it needs "
            f"--mode=sweep or --check. Received: --num_processes={number}"
        )


def _text(betas):
    return ",".join(f"{beta:g}" for beta in betas)
