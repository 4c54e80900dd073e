"""Which flags of `python -m trainers.weigh` do not go together, or with the data."""

from trainers import _settings


def check_report(settings, remedy):
    """Checks what is asked of the trained models, once likelihood and range are known.

    Args:
        settings: `_settings.Settings`, resolved.
        remedy: String, how the run gets weights that it does not train.

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
    _check_trained(weigh, remedy)


def _check_trained(weigh, remedy):
    """Checks that there is a model of each weight that is asked for."""
    if weigh.mode == "sweep":
        check_exported(weigh.export_beta, weigh.betas)
    low, high = weigh.beta_range
    for name in ("betas", "export_beta"):
        value = getattr(weigh, name)
        listed = value if name == "betas" else [] if value is None else [value]
        if any(not low <= beta <= high for beta in listed):
            raise _settings.FlagError(
                f"`--{name}` must lie within the weights that are trained, "
                f"{low:.4g} to {high:.4g}: {remedy}. "
                f"Received: {_settings.written(name, value)}"
            )


def check_longer(run):
    """Checks that models that were trained one by one need no more epochs.

    Args:
        run: `_run.Run` of all of them.

    Raises:
        _settings.FlagError: If they do.
    """
    if run.is_longer and (run.path / "models").is_dir():
        raise _settings.FlagError(
            f"`--epochs` must stay {run.planned_epochs} where {run.path / 'models'} "
            "holds models that were trained one by one for so long, or choose another "
            f"--name. Received: --epochs={run.settings['epochs']}"
        )


def check_exported(beta, betas):
    """Checks that a sweep trains the weight that is exported.

    Args:
        beta: Float, or None for the advised one.
        betas: Tuple of floats, the weights that are trained.

    Raises:
        _settings.FlagError: If it does not.
    """
    if beta not in (None, *betas):
        raise _settings.FlagError(
            "`--export_beta` must be one of --betas with --mode=sweep, which trains no "
            "other: name it among --betas. Received: "
            f"{_settings.written('export_beta', beta)} and "
            f"{_settings.written('betas', betas)}"
        )


def check_levels(settings):
    """Checks that a hierarchy is trained at each weight alone.

    Args:
        settings: `_settings.Settings`.

    Raises:
        _settings.FlagError: If one is to be trained at all weights.
    """
    model, mode = settings.model, settings.weigh.mode
    if model.levels is not None and mode != "sweep":
        raise _settings.FlagError(
            f"`--mode` must be sweep with --model={model.model}: one model of all "
            f"weights has one latent. Received: --mode={mode}"
        )


def check_range(beta_range, mode, betas):
    """Checks the flags of the range, before the data are known.

    Args:
        beta_range: Tuple of floats, or None.
        mode: String, --mode.
        betas: Tuple of floats, or None.

    Raises:
        _settings.FlagError: If they cannot be followed.
    """
    if beta_range is None:
        return
    received = _settings.written("beta_range", beta_range)
    if mode == "sweep" and betas is not None:
        raise _settings.FlagError(
            "`--beta_range` must be left out where --mode=sweep has --betas, which "
            f"are what is trained. Received: {received}"
        )
    if len(beta_range) != 2 or beta_range[0] >= beta_range[1]:
        raise _settings.FlagError(
            "`--beta_range` must be two weights, the smaller one first, such as "
            f"--beta_range=0.01,10. Received: {received}"
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
