"""The bibliography: every entry complete, every key that the code cites listed."""

from __future__ import annotations

import re
import string

import pytest

from fastqmri.core import UnknownNameError
from fastqmri.core.references import REFERENCES, author_year, bibtex, citation, doi
from fastqmri.estimators import CATALOGUE

REQUIRED = {
    "article": {"author", "title", "journal", "volume", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
}


def is_well_braced(text: str) -> bool:
    """Whether braces pair up, and no accent has lost the backslash that Python takes from a plain string."""
    depth = 0
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0 and not re.search(r"""\{["'`^~=.][A-Za-z]\}""", text)


@pytest.mark.parametrize("key", REFERENCES)
def test_entry_is_complete_bibtex(key):
    text = REFERENCES[key]
    kind, named = re.match(r"@(\w+)\{(\w+),\n", text).groups()
    assert named == key
    assert set(re.findall(r"^  (\w+) *=", text, flags=re.MULTILINE)) >= REQUIRED[kind]
    assert is_well_braced(text)
    assert text.endswith("\n}")
    year = re.search(r"year *= \{(\d{4})\}", text)[1]
    assert key.endswith(year)


@pytest.mark.parametrize("text", ["}{", "{MRI", 'Sch{"a}r', "Andr{'e}"])
def test_bad_braces_are_noticed(text):
    assert is_well_braced(r"Sch{\"a}r and {MRI}")
    assert not is_well_braced(text)


@pytest.mark.parametrize("key", REFERENCES)
def test_citation_is_one_plain_line(key):
    line = citation(key)
    assert not set("{}\n") & set(line)
    assert author_year(key).split()[-1] in line
    surname = author_year(key).split()[0].lower()
    assert key[0] == surname.translate(str.maketrans("", "", string.punctuation))[0]


def test_citation_reads_well():
    assert citation("deoni2003") == "Deoni et al., Magnetic Resonance in Medicine 49:515-526, 2003"
    assert citation("kay1993").startswith("Kay, Fundamentals of Statistical Signal Processing")
    assert author_year("golub1973") == "Golub and Pereyra 1973"
    assert doi("deoni2003") == "10.1002/mrm.10237"
    assert doi("kay1993") is None


def test_bibtex_keeps_order_and_drops_repeats():
    text = bibtex(["zhu2023", "kay1993", "zhu2023"])
    assert re.findall(r"@\w+\{(\w+)", text) == ["zhu2023", "kay1993"]


def test_unknown_key_is_named():
    with pytest.raises(UnknownNameError, match="nobody1900"):
        bibtex(["nobody1900"])


def test_everything_the_catalogue_cites_is_listed():
    cited = {key for entry in CATALOGUE.values() for method in entry.methods for key in method.references}
    cited |= {key for entry in CATALOGUE.values() for key in getattr(entry.build, "references", ())}
    assert cited
    assert cited <= set(REFERENCES)
