"""The page: complete, self-contained, honest about weak directions, and safe whatever the label says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.errors import FileFormatError
from pullback.measure.report import ComparisonRow, from_plain, read_images, render, to_plain
from tests.measure.pages import SCALES, a_card, a_report

VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Elements with attributes; complains about anything that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(page: bytes) -> Outline:
    parsed = Outline()
    parsed.feed(page.decode())
    assert parsed.open == []
    return parsed


def test_every_direction_has_a_card_a_slider_and_its_strips() -> None:
    page = outline(render(a_report(3)))
    assert [a["id"] for a in page.all("article")] == ["d0", "d1", "d2"]
    sliders = [a for a in page.all("input") if a.get("data-scales") and a.get("id") != "master"]
    assert [a["data-scales"] for a in sliders] == ["-2,-1,0,1,2"] * 3
    assert [a["value"] for a in sliders] == ["2"] * 3
    assert all(a["aria-label"] for a in sliders)
    assert sum("data-strip" in a for a in page.all("img")) == 6
    assert all("alt" in a for a in page.all("img"))


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    page = outline(render(a_report(4)))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for a in page.all("a") if (a["href"] or "").startswith("#")]
    assert targets
    assert {(t or "")[1:] for t in targets} <= set(ids)


def test_the_page_needs_no_network_and_forbids_it() -> None:
    page = render(a_report(3))
    parsed = outline(page)
    for _, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert not re.search(rb"url\(|@import", page)
    policy = next(a["content"] for a in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:")
    script = re.search(rb"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1)).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_a_weak_direction_looks_weak() -> None:
    weak = a_card(1, agreement=0.3, agreement_null=0.3)
    page = outline(render(a_report(cards=(a_card(0), weak))))
    kinds = {a["id"]: a["class"] for a in page.all("article")}
    assert kinds == {"d0": "card", "d1": "card weak"}
    assert page.texts.count("weak: agreement not above its null") == 1
    assert any(a.get("id") == "weak" for a in page.all("input"))


def sections(page: bytes) -> dict[str, str]:
    """The words of each section, by its id."""
    parts = re.findall(r'<section id="(\w+)"(.*?)</section>', page.decode(), re.DOTALL)
    return {key: " ".join(re.sub(r"<[^>]*>", " ", f"<{body}").split()) for key, body in parts}


def test_everything_that_was_measured_stands_in_its_section() -> None:
    ours = ComparisonRow("ours", {"purity": (0.27, 0.25, 0.29)}, is_ours=True)
    rival = ComparisonRow("pca of h", {"purity": (0.21,)})
    cards = (a_card(0, cluster=(0, 1)), a_card(1, cluster=(0, 1)), a_card(2, cluster=(2,)))
    page = render(a_report(cards=cards, comparisons=(ours, rival)))
    shown = sections(page)
    assert shown.keys() >= {"effects", "comparison", "spectra", "factors", "cost"}
    assert re.search(r"yaw smile 0 yaw \+\.4 rad \+\.8 −\.1", shown["effects"])
    assert re.search(r"method purity ours \.27 \.25 to \.29 pca of h \.21", shown["comparison"])
    assert b"2 samples; the median falls from 2.75 to .75" in page
    assert re.search(r"gain recall in x recall in h yaw 20 % 1\.30 \.50 null \.002 \.90 null \.004", shown["factors"])
    assert re.search(r"Jacobian products.* local bases 1\.5 s 300 4 all 1\.5 s 300 4", shown["cost"])
    assert "pullback discover toy --out here" in shown["settings"]
    terms = ("Singular value s", "Agreement, and its matched null", "Usable range", "Symmetry", "Nearly equal s")
    assert all(term in shown["words"] for term in terms)


def test_a_card_says_s_its_cluster_agreement_beside_its_null_usable_range_and_symmetry() -> None:
    cards = (a_card(0, cluster=(0, 1)), a_card(1, cluster=(0, 1)), a_card(2, cluster=(2,)))
    text = sections(render(a_report(cards=cards)))["directions"]
    small_print = re.findall(r"agreement .*?scale 1 in x", text)
    assert small_print[0] == (
        "agreement .70 null .30 singular value s 12.5 nearly equal s with 1 usable range −1.5 … +2 symmetry .90"
        " scale 1 in x"
    )
    assert "singular value s 6.25 nearly equal s with 0 " in small_print[1]
    assert "nearly equal" not in small_print[2]


def test_no_figure_is_shown_that_is_not_there() -> None:
    bare = a_card(0, agreement=None, agreement_null=None, usable=None, symmetry=None, step=None, effects=())
    page = outline(render(a_report(cards=(bare,), factors=(), spectra=(), stages=())))
    text = " ".join(page.texts)
    assert "usable range" not in [t.strip() for t in page.texts]
    assert "nan" not in text.lower().split()
    assert "None" not in text
    assert not any(a.get("id") in ("effects", "spectra", "factors", "cost", "comparison") for a in page.all("section"))


@pytest.mark.parametrize("cards", [(), (a_card(0, strips=()),)])
def test_pages_without_directions_or_without_pictures(cards: tuple[object, ...]) -> None:
    outline(render(a_report(cards=cards)))


def test_the_usable_range_lies_where_the_scales_are() -> None:
    page = render(a_report(1)).decode()
    assert "--from:0.1250;--to:1.0000" in page  # -1.5 is an eighth of the way from -2 to 2


def test_failed_frames_are_marked_by_stop() -> None:
    page = outline(render(a_report(1)))
    assert [a["data-passed"] for a in page.all("figure")] == ["11111", "01111"]


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><svg onload=alert(1)>",
    "$script ${css} $$",
    "<!-- --> ]]>",
    "&lt;b&gt; &amp;",
    "\u202egnp.exe \u0000 \x1b[31m",
    "{0} {scale} %s",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    plain = outline(render(a_report(2)))
    data = a_report(
        cards=(a_card(0, label=text), a_card(1, name=text, facts={text: 1.0})),
        model=text,
        command=text,
        settings={text: text},
        notes=(text,),
        factor_names=(text, text),
    )
    page = outline(render(data))
    assert [a.get("src", "")[:5] if a.get("src") else None for a in page.all("img")].count(None) == 0
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements} | {"li", "h3", "ul", "span"}
    shown = "".join(c if c.isprintable() else " " for c in text)
    assert shown in page.texts


@given(st.text(max_size=60))
@settings(max_examples=30, deadline=None)
def test_any_label_survives_rendering_and_reading_back(label: str) -> None:
    data = a_report(1).with_label(0, label)
    outline(render(data))
    assert from_plain(json.loads(json.dumps(to_plain(data)))).cards[0].label == label


def test_strips_are_read_back_from_the_page() -> None:
    data = a_report(2)
    images = read_images(render(data))
    assert images == {(c.index, k): s.image for c in data.cards for k, s in enumerate(c.strips)}
    bare = from_plain(to_plain(data))
    assert bare != data
    assert bare.with_images(images) == data


def test_a_page_that_is_too_large_is_refused() -> None:
    big = a_report(1).with_images({(0, 0): bytes(12_000_000)})
    with pytest.raises((FileFormatError, OSError)):
        render(big)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.pop("cards"),
        lambda plain: plain.update(format="other"),
        lambda plain: plain.update(surplus=1),
        lambda plain: plain["cards"][0].pop("strips"),
        lambda plain: plain["cards"][0].update(index="x"),
        lambda plain: plain["cards"][0].update(usable=[1]),
        lambda plain: plain.update(scales=["a"]),
        lambda plain: plain.update(cards=3),
        lambda plain: plain["stages"][0].update(surplus=1),
    ],
)
def test_a_damaged_report_is_refused_by_name(damage: object) -> None:
    plain = to_plain(a_report(1))
    assert callable(damage)
    damage(plain)
    with pytest.raises(FileFormatError, match=r"report\.json of this version"):
        from_plain(plain)


@pytest.mark.parametrize("plain", [None, [], 3, "x", {}])
def test_something_else_is_no_report(plain: object) -> None:
    with pytest.raises(FileFormatError):
        from_plain(plain)


def test_scales_are_stops_of_equal_distance() -> None:
    assert len(SCALES) == len(a_report(1).scales)
    text = render(a_report(1)).decode()
    assert 'left:25.00%">−1</span>' in text
