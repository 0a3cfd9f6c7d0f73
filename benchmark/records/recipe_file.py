"""The TOML file of a recipe to train by."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path

from benchmark.errors import InputError
from benchmark.records.toml_file import read_toml, shorten
from benchmark.training.regimes import RegimeRecipe


def read_recipe(path: Path | None) -> RegimeRecipe:
    """Return the recipe of a TOML file, whose keys are the settings; defaults where it is None.

    The keys stand at the top of the file, or in a table ``[recipe]``. What is left out has its
    default.

    Raises:
        InputError: If the file cannot be read, has an unknown key, or a value that cannot be used.
    """
    if path is None:
        return RegimeRecipe()
    content = read_toml(path, "recipe", InputError)
    table = content.get("recipe")
    settings = table if isinstance(table, dict) and len(content) == 1 else content
    known = [setting.name for setting in fields(RegimeRecipe)]
    if unknown := [shorten(key) for key in settings if key not in known]:
        nearest = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {nearest[0]!r}? Known" if nearest else "known"
        raise InputError(
            f"The recipe {path} has the unknown key {unknown[0]!r}; {hint}: {', '.join(known)}."
        )
    try:
        return RegimeRecipe(**settings)
    except InputError as error:
        raise InputError(f"{error} It stands in {path}.") from error
