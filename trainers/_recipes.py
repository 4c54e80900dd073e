"""Recipes: files that set flags."""

import difflib
import pathlib
import runpy

from trainers._settings import FlagError

RECIPES = pathlib.Path(__file__).parent / "recipes"
# They say where a run is or how to treat it, and not what is trained.
_NOT_IN_RECIPES = ("config", "resume")


def apply(values, names):
    """Sets the flags that a recipe names and the command line does not.

    Args:
        values: Parsed `absl.flags.FlagValues`.
        names: List of the flags that a recipe may set.

    Returns:
        The recipe's name, or None if there is none.

    Raises:
        FlagError: If the recipe cannot be read or has an unknown or illegal entry.
    """
    if values.config is None:
        return None
    path = _recipe_path(values.config)
    allowed = sorted(set(names) - set(_NOT_IN_RECIPES))
    for name, value in _read_recipe(path).items():
        if name not in allowed:
            close = difflib.get_close_matches(str(name), allowed) or allowed
            raise FlagError(
                f"`--config` must set known flags only. Received: {name!r} in {path}. "
                f"Did you mean {' or '.join(map(repr, close))}?"
            )
        if values[name].using_default_value:
            text = (
                ",".join(map(str, value))
                if isinstance(value, list | tuple)
                else str(value)
            )
            try:
                values[name].value = values[name].parser.parse(text)
            except ValueError as error:
                raise FlagError(
                    f"`--{name}` has an illegal value in {path}: {error}. "
                    f"Received: {value!r}"
                ) from error
    return path.stem


def _recipe_path(config):
    path = pathlib.Path(config)
    if path.suffix != ".py":
        path = RECIPES / f"{config}.py"
    if not path.is_file():
        known = sorted(p.stem for p in RECIPES.glob("[!_]*.py"))
        raise FlagError(
            f"`--config` must be one of {known} or the path of a .py file. "
            f"Received: --config={config}"
        )
    return path


def _read_recipe(path):
    try:
        recipe = runpy.run_path(str(path)).get("FLAGS")
    except Exception as error:
        raise FlagError(
            f"`--config` must be a Python file that runs. Received: {path}, which "
            f"raises {type(error).__name__}: {error}"
        ) from error
    if not isinstance(recipe, dict):
        raise FlagError(
            "`--config` must define a dict FLAGS of flags and their values. "
            f"Received: {path}, where it is {recipe!r}"
        )
    return recipe
