"""Published learned methods, a file each, and the table that finds them."""

from fastqmri.methods.registry import (
    METHODS,
    LearnedMethod,
    RecipeEntry,
    Trained,
    choose,
    has_weights,
    is_learned,
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
    "has_weights",
    "is_learned",
    "learned",
    "load",
    "method",
    "recipe_entry",
    "weights_folder",
]
