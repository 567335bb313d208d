"""Published learned methods, a file each, and the table that finds them."""

from fastqmri.methods.registry import (
    METHODS,
    LearnedMethod,
    RecipeEntry,
    Trained,
    choose,
    learned,
    load,
    method,
    recipe_entry,
    weights_folder,
)

__all__ = [
    "METHODS",
    "LearnedMethod",
    "RecipeEntry",
    "Trained",
    "choose",
    "learned",
    "load",
    "method",
    "recipe_entry",
    "weights_folder",
]
