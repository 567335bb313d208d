"""The table of learned methods: names, weights, and which network a protocol gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastqmri.core import FileError, MultiEchoSpinEcho, UnknownNameError, ValidityError, VariableFlipAngle
from fastqmri.estimators import CATALOGUE
from fastqmri.learning.recipe import Recipe
from fastqmri.methods import METHODS, choose, learned, load, method, recipe_entry, weights_folder
from recipes import Decay, DecaySlow


def echoes(*times: float) -> MultiEchoSpinEcho:
    return MultiEchoSpinEcho(echo_time=times)


def test_every_method_is_declared_whole() -> None:
    from fastqmri.core.references import citation

    for name, one in METHODS.items():
        assert name == one.name
        for key in one.references:
            assert citation(key)
        for entry in one.recipes:
            recipe = entry.make()
            assert isinstance(recipe, Recipe)
            assert recipe.name == entry.name
            assert (entry.model in CATALOGUE) if one.stage != "qsm" else entry.model is None
    names = [entry.name for one in METHODS.values() for entry in one.recipes]
    assert len(names) == len(set(names))


def test_weights_are_shipped_for_all_and_small() -> None:
    """And a card's command makes the recipe's network as it is now."""
    for one in METHODS.values():
        for entry in one.recipes:
            trained = load(entry.name)
            card, recipe = trained.card, trained.recipe
            assert card.method == one.name
            assert card.settings == recipe.settings.model_dump()
            assert card.validity == recipe.validity()
            assert card.classical.startswith(f"fastqmri {one.stage} ")
            assert card.results
            program, command, name, *more = card.command.split()
            assert (program, command) == ("fastqmri", "train")
            assert name == entry.name or (name == one.name and more == ["--recipe", entry.name])
    sizes = [path.stat().st_size for path in weights_folder().iterdir()]
    assert 0 < sum(sizes) < 30e6


def test_importing_the_table_reads_no_method() -> None:
    code = (
        "import sys, fastqmri.methods; print([m for m in sys.modules if m.startswith('fastqmri.learning')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_method_is_found_by_its_name_and_by_its_recipes(decay: Path) -> None:
    assert method("decay") is method("decay-slow")
    assert recipe_entry("decay-4").model == "mese"
    with pytest.raises(UnknownNameError, match=r"decay-slow"):
        method("dronn")
    with pytest.raises(UnknownNameError, match="decay-4"):
        recipe_entry("decay")


def test_commands_are_offered_what_serves_them(decay: Path) -> None:
    assert {"decay", "decay-4", "decay-slow"} <= set(learned("fit", "mese"))
    assert "decay" not in learned("fit", "vfa")
    assert "decay" not in learned("recon", "mese")
    assert "decay" in learned("fit")


def test_the_recipe_of_the_protocol_is_chosen(decay: Path) -> None:
    assert choose("decay", echoes(*Decay.echo_time)).name == "decay-4"
    assert choose("decay", echoes(*DecaySlow.echo_time)).name == "decay-slow"
    assert choose("decay", echoes(0.0203, 0.0609, 0.1218, 0.203)).name == "decay-slow"  # near: 1.5 % off


def test_another_protocol_is_refused_with_the_classical_method(decay: Path) -> None:
    with pytest.raises(ValidityError) as error:
        choose("decay", echoes(0.01, 0.02, 0.03, 0.04))
    text = str(error.value)
    for part in ("decay-4 for MultiEchoSpinEcho", "decay-slow", "0.02, 0.06, 0.12, 0.2", "nlls"):
        assert part in text
    with pytest.raises(ValidityError, match="number of values of echo_time 2 "):
        choose("decay", echoes(0.01, 0.02))
    with pytest.raises(ValidityError, match="the acquisition is VariableFlipAngle"):
        choose("decay", VariableFlipAngle(flip_angle=(0.1, 0.2), repetition_time=0.01))
    with pytest.raises(ValidityError, match="decay-4"):
        choose("decay-4", echoes(*DecaySlow.echo_time))
    with pytest.raises(UnknownNameError, match="it maps mese"):
        choose("decay", echoes(*Decay.echo_time), "vfa")


def test_weights_are_read_once_and_again_when_they_change(decay: Path) -> None:
    first = load("decay-4")
    assert load("decay-4") is first
    assert not any(p.requires_grad for p in first.network.parameters())
    path = decay / "decay-4.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "title": "another title, longer"}))
    assert load("decay-4").card.title == "another title, longer"


def test_own_folder_goes_before_the_package(decay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_folder("decay-4") == decay
    assert weights_folder("another") == weights_folder() != decay
    monkeypatch.delenv("FASTQMRI_WEIGHTS")
    with pytest.raises(FileError, match="without its card"):
        load("decay-4")
