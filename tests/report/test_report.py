"""The report is whole, true to its input, safe against hostile text, and needs nothing but itself."""

from __future__ import annotations

import csv
import json
import re
import struct
import zlib
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import torch

from fastqmri.core import Flag, MultiEchoSpinEcho, OutputError, UnknownNameError, VariableFlipAngle
from fastqmri.report import InputRecord, metrics_paths, write_report
from fastqmri.report.png import encode
from report.samples import DIFFUSION, FLIP_ANGLES, GRADIENT_ECHOES, flagged, sample

HOSTILE = """<script>alert(1)</script> "quoted" 'single' & $x_1^2$ {{ 7 * 7 }} </pre></title>"""
# Elements without an end tag.
VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Collects what the checks need, and refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.addresses: list[tuple[str, str]] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.named_by: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        self.ids += [values["id"]] if "id" in values else []
        self.named_by += values.get("aria-labelledby", "").split()
        self.addresses += [(tag, values[key]) for key in ("src", "href", "srcset", "action") if key in values]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def written(tmp_path, content):
    path = tmp_path / "report.html"
    verdict = write_report(path, content)
    text = path.read_text(encoding="utf-8")
    return verdict, text, Outline(text)


def regions(shape):
    labels = torch.zeros(shape, dtype=torch.int16)
    labels[: shape[0] // 2] = 1
    return labels


CASES = {
    "one voxel": lambda: sample(shape=(1,)),
    "no voxel axis": lambda: sample(shape=()),
    "a column": lambda: sample(shape=(9, 1, 1)),
    "a slice": lambda: sample(shape=(14, 11)),
    "a volume": lambda: sample(affine=torch.diag(torch.tensor([-2.0, 2.0, 3.0, 1.0]))),
    "masked": lambda: sample(mask=torch.arange(360).view(12, 10, 3) % 3 == 0),
    "known B1": lambda: sample(shape=(8, 8), known={"B1": torch.full((8, 8), 0.9, dtype=torch.float64)}),
    "exact": lambda: sample(
        acquisition=VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.015), shape=(14, 14)
    ),
    "complex": lambda: sample("megre-complex", GRADIENT_ECHOES, (8, 9)),
    "tensor": lambda: sample("dti", DIFFUSION, (6, 7, 2)),
    "echo train": lambda: sample(
        "mese", MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33))), (7, 6)
    ),
    "all flagged": lambda: flagged(sample(shape=(6, 6)), int(Flag.AT_BOUND | Flag.LOW_SNR)),
    "all masked": lambda: flagged(sample(shape=(6, 6)), int(Flag.MASKED)),
    "nothing estimated": lambda: without_values(sample(shape=(6, 6))),
    "regions": lambda: replace(sample(), regions=regions((12, 10, 3)), region_names={1: HOSTILE}),
}


def without_values(content):
    nothing = torch.full_like(content.maps.value, torch.nan)
    maps = replace(content.maps, value=nothing, standard_deviation=nothing, residual=None, noise=None)
    return flagged(replace(content, maps=maps), int(Flag.INVALID_INPUT))


@pytest.mark.parametrize("case", CASES)
def test_report_is_sound(tmp_path, case):
    content = CASES[case]()
    _, text, page = written(tmp_path, content)
    assert len(text.encode()) < 5e6
    assert page.images
    check_sound(text)


def check_sound(text: str) -> None:
    """A page that needs nothing but itself, and that a screen reader can find its way through."""
    page = Outline(text)
    assert text.startswith("<!DOCTYPE html>")
    for tag, address in page.addresses:
        allowed = ("data:", "#") if tag != "a" else ("https://doi.org/", "#")
        assert address.startswith(allowed), f"<{tag}> loads {address[:80]}"
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest", text)
    assert all(image["alt"].strip() for image in page.images)
    assert all(valid_png(image["src"]) for image in page.images)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(page.headings))
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.named_by) <= set(page.ids)
    assert {a.removeprefix("#") for _, a in page.addresses if a.startswith("#")} <= set(page.ids)


@pytest.mark.parametrize(
    "planted",
    [
        '<img src="https://example.org/a.png" alt="a map">',
        '<img src="data:image/png;base64,AAAA" alt="no picture at all">',
        '<link href="https://example.org/style.css">',
        "<style>@import 'other.css'</style>",
        "<h4>two levels down</h4>",
        '<h2 id="maps">twice</h2>',
        '<a href="#nowhere">lost</a>',
        "<p><b>crossed</p></b>",
    ],
)
def test_soundness_check_bites(tmp_path, planted):
    _, text, _ = written(tmp_path, sample(shape=(1,)))
    check_sound(text)
    with pytest.raises(AssertionError):
        check_sound(text.replace("</header>", f"</header>{planted}"))


def valid_png(uri: str) -> bool:
    data = b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")


def test_report_says_what_was_done(tmp_path):
    content = replace(
        sample(),
        inputs=(
            InputRecord("sub-01_flip-1_VFA.nii.gz", "image", "1 volume", "given"),
            InputRecord("sub-01_flip-1_VFA.json", "echo time", "3 ms", "file name", guessed=True),
        ),
        warnings=("The mask was made from the images.",),
    )
    verdict, text, page = written(tmp_path, content)
    assert verdict.level == "check"
    for reason in verdict.reasons:
        assert reason in page.text
    for expected in (
        "Sample scan",
        "Spoiled gradient echo",
        "nlls: non-linear least squares",
        "fastqmri fit sample.nii.gz",
        "The mask was made from the images.",
        "flip angle 2, 5, 12, 20 deg; repetition time 15 ms",
        "S = M0 * sin(B1*FA)",
        "@article{deoni2003,",
        "Fuderer et al.",
        "360 voxels",
    ):
        assert expected in page.text
    assert '<tr class="guessed"><th scope="row">echo time' in text
    for section in ("inputs", "maps", "uncertainty", "fit", "distributions", "methods", "command"):
        assert f'<h2 id="{section}">' in text


def test_files_that_share_a_value_share_a_row(tmp_path):
    records = [InputRecord(f"{i}.nii.gz", "repetition time", "15 ms", "VFA.json") for i in range(5)]
    _, text, page = written(
        tmp_path, replace(sample(shape=(3,)), inputs=(*records, replace(records[0], value="9 ms")))
    )
    assert text.count('<th scope="row">repetition time</th>') == 2
    assert "5 files" in page.text
    assert "0.nii.gz, 1.nii.gz, 2.nii.gz, 3.nii.gz, 4.nii.gz" in page.text
    assert "shaded rows" not in page.text


def test_sections_come_in_reading_order(tmp_path):
    _, text, _ = written(tmp_path, sample(shape=(5, 5)))
    places = [
        text.index(f'id="{name}"')
        for name in ("verdict", "inputs", "maps", "uncertainty", "fit", "distributions", "methods", "command")
    ]
    assert places == sorted(places)


def test_hostile_text_stays_text(tmp_path):
    content = replace(
        sample(shape=(5, 5)),
        title=HOSTILE,
        command=HOSTILE,
        method=HOSTILE,
        warnings=(HOSTILE,),
        inputs=(InputRecord(HOSTILE, HOSTILE, HOSTILE, HOSTILE, guessed=True),),
        regions=torch.ones(5, 5, dtype=torch.int64),
        region_names={1: HOSTILE},
    )
    _, text, page = written(tmp_path, content)
    assert text.count("<script>") == 1, "only the page's own"
    assert "<script>alert(1)</script>" in page.text
    assert page.text.count("{{ 7 * 7 }}") > 5
    table = metrics_paths(tmp_path / "report.html")[1].read_text(encoding="utf-8")
    assert len({line.count("\t") for line in table.splitlines()}) == 1


def test_report_holds_nothing_of_the_machine(tmp_path):
    import socket

    _, text, _ = written(tmp_path, sample(shape=(5, 5)))
    assert str(tmp_path) not in text
    host = socket.gethostname()
    assert not re.search(rf"\b{re.escape(host)}\b", re.sub(r"base64,[^\"]+", "", text))


def test_same_input_gives_the_same_bytes(tmp_path):
    content = sample(shape=(6, 6))
    pages = []
    for name in ("a", "b"):
        write_report(tmp_path / name / "report.html", content)
        pages.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert pages[0] == pages[1]
    assert len(pages[0]) == 3


def test_metrics_match_the_maps(tmp_path):
    content = replace(sample(), regions=regions((12, 10, 3)), region_names={1: "front"})
    verdict, _, _ = written(tmp_path, content)
    record = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert record["verdict"]["level"] == verdict.level
    assert record["shown"] == list(content.shown)
    found = {(row["parameter"], row["region"]): row for row in record["maps"]}
    t1 = np.asarray(content.maps["T1"].value)[np.asarray(content.maps.trusted)]
    assert found["T1", "mask"]["median"] == pytest.approx(np.median(t1))
    assert found["T1", "front"]["voxels"] == 180
    assert record["flags"]["mask"]["OK"] == int(content.maps.trusted.sum())
    with (tmp_path / "metrics.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == len(record["maps"])
    assert float(rows[1]["median"]) == pytest.approx(record["maps"][1]["median"], rel=1e-5)
    assert int(rows[0]["flag_at_bound"]) == record["flags"]["mask"]["AT_BOUND"]


def test_unknown_numbers_are_null_and_na(tmp_path):
    written(tmp_path, without_values(sample(shape=(3, 3))))
    record = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert record["maps"][0]["median"] is None
    assert "\tn/a\t" in (tmp_path / "metrics.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("report.html", "metrics.json"),
        ("sub-01_report.html", "sub-01_metrics.json"),
        ("sub-01.html", "sub-01_metrics.json"),
    ],
)
def test_metrics_lie_beside_the_page(tmp_path, page, expected):
    assert metrics_paths(tmp_path / page)[0] == tmp_path / expected


def test_complex_and_exact_fits_are_explained(tmp_path):
    _, _, page = written(tmp_path, CASES["complex"]())
    assert "Measured magnitudes" in page.text
    _, _, page = written(tmp_path, CASES["exact"]())
    assert "as many unknowns as images" in page.text


def test_colours_of_directions_are_shown_for_tensors(tmp_path):
    _, _, page = written(tmp_path, CASES["tensor"]())
    assert "Main diffusion direction" in page.text
    assert "Further maps: S0, Dxx" in page.text


def test_large_volumes_stay_small(tmp_path):
    """Nine full slices of pure noise are the worst case for compression."""
    content = sample(shape=(2, 2, 2))
    shape = (192, 192, 12)
    generator = torch.Generator().manual_seed(0)

    def noise(rows: int) -> torch.Tensor:
        return 0.5 + torch.rand((rows, *shape), generator=generator)

    maps = replace(
        content.maps,
        value=noise(3),
        standard_deviation=0.1 * noise(3),
        flags=torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8) * int(Flag.LOW_SNR),
        residual=noise(1)[0],
        noise=torch.tensor(1.0),
    )
    measurement = replace(content.measurement, data=noise(FLIP_ANGLES.contrasts))
    write_report(tmp_path / "report.html", replace(content, maps=maps, measurement=measurement))
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_unknown_names_are_refused(tmp_path):
    content = sample(shape=(3, 3))
    with pytest.raises(UnknownNameError, match="T7"):
        write_report(tmp_path / "report.html", replace(content, shown=("T7",)))
    with pytest.raises(UnknownNameError, match="nobody1900"):
        write_report(tmp_path / "report.html", replace(content, references=("nobody1900",)))
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_unwritable_place_is_said(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(tmp_path / "report.html", sample(shape=(3, 3)))


def test_pngs_hold_exactly_their_palette():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = np.linspace(0, 1, 36).reshape(12, 3)
    chunks = dict(chunks_of(encode(pixels, palette)))
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (4, 3, 8, 3, 0, 0, 0)
    assert chunks[b"PLTE"] == np.round(palette * 255).astype(np.uint8).tobytes()
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(rows[:, 1:], pixels)
    colour = dict(chunks_of(encode(np.zeros((2, 2, 3), np.uint8))))
    assert struct.unpack(">IIBBBBB", colour[b"IHDR"])[3] == 2
    assert b"PLTE" not in colour


def chunks_of(png: bytes):
    place = 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        content = png[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(name + content)
        yield name, content
        place += 12 + length
