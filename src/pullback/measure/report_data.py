"""What a report shows, as plain data: no tensors, no models; numbers that are missing are None.

Everything but the pictures goes to ``report.json`` and comes back from it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pullback.errors import FileFormatError

Plain = str | int | float | bool | None
FORMAT = "pullback-report-1"


@dataclass(frozen=True)
class Strip:
    """One sample edited at every scale: frames side by side in one picture.

    Attributes:
        seed: Seed of the held-out sample.
        image: An encoded picture (WebP), as wide as all frames together; empty until it is rendered.
        passed: For each frame, whether the realism gate was passed; empty if there is no gate.
    """

    seed: int
    image: bytes = b""
    passed: tuple[bool, ...] = ()


@dataclass(frozen=True)
class DirectionCard:
    """One direction as the page shows it.

    Attributes:
        index: Counted from 0, the number that ``pullback edit --direction`` takes.
        name: What was measured, "unclear" when nothing stands out.
        label: What a person called it.
        s: Mean singular value.
        cluster: Indices of directions whose singular values are nearly equal to this one's, itself included.
        agreement: Mean over held-out samples of the largest |cos| with their local directions, 0 to 1.
        agreement_null: 95 % of its matched null.
        usable: Smallest and largest scale at which the edit still behaves.
        symmetry: |odd part|^2 / (|odd|^2 + |even|^2) of the picture change, 0 to 1.
        step: Latent length of scale 1.
        facts: Further figures of this direction, by name.
        effects: Mean effect on each known factor, standard units, at `ReportData.effect_scale`; may be empty.
        strips: One a held-out sample.
    """

    index: int
    name: str
    s: float
    agreement: float | None
    agreement_null: float | None
    label: str = ""
    cluster: tuple[int, ...] = ()
    usable: tuple[float, float] | None = None
    symmetry: float | None = None
    step: float | None = None
    facts: Mapping[str, float | None] = field(default_factory=dict)
    effects: tuple[float, ...] = ()
    strips: tuple[Strip, ...] = ()

    @property
    def is_weak(self) -> bool:
        """True when the agreement is not above the 95 % of its null: other samples do not know this direction."""
        return self.agreement is not None and self.agreement_null is not None and self.agreement <= self.agreement_null

    @property
    def title(self) -> str:
        """The label if a person gave one, else the measured name."""
        return self.label or self.name


@dataclass(frozen=True)
class Stage:
    """One stage of the run: wall-clock seconds, Jacobian products (each sample counted), network calls (batches)."""

    name: str
    seconds: float
    num_products: int = 0
    num_calls: int = 0


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one sample, decreasing."""

    seed: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class FactorRow:
    """How well one known factor can be found at all; shares and recalls from 0 to 1, a null beside each recall."""

    name: str
    energy_share: float | None
    gain: float | None
    recall_x: float | None
    recall_x_null: float | None
    recall_h: float | None
    recall_h_null: float | None


@dataclass(frozen=True)
class ComparisonRow:
    """One method's figures; each value with an optional interval ``(value, low, high)``."""

    method: str
    figures: Mapping[str, tuple[float, ...] | None]
    is_ours: bool = False


@dataclass(frozen=True)
class ReportData:
    """Everything on the page.

    Attributes:
        model: Name or path of the model, as given.
        command: What to type to get the same page.
        version: Of this package.
        num_samples: How many samples the directions were found in.
        num_held_out: How many other samples agreement was measured on.
        scales: Increasing; the slider's stops, the same in every strip.
        effect_scale: The scale whose effects are shown and named.
        cards: Sorted as the directions are.
        settings: All that determined the result, as plain values.
        plan: What was said before the run (products, seconds, bytes).
        stages: What it took.
        spectra: One a discovery sample.
        factor_names: Columns of `DirectionCard.effects`.
        factors: Gain and recall of known factors; empty for other models.
        comparisons: Controls that went through the same measurement.
        notes: Sentences that the reader must know (duplicates merged, a basis not verified ...).
    """

    model: str
    command: str
    version: str
    num_samples: int
    num_held_out: int
    scales: tuple[float, ...]
    cards: tuple[DirectionCard, ...]
    settings: Mapping[str, Plain]
    effect_scale: float = 1.0
    plan: Mapping[str, Plain] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    spectra: tuple[Spectrum, ...] = ()
    factor_names: tuple[str, ...] = ()
    factors: tuple[FactorRow, ...] = ()
    comparisons: tuple[ComparisonRow, ...] = ()
    notes: tuple[str, ...] = ()

    def with_label(self, index: int, label: str) -> ReportData:
        """Returns the same report with direction ``index`` called ``label`` (empty: the measured name again)."""
        return replace(self, cards=tuple(replace(c, label=label) if c.index == index else c for c in self.cards))

    def with_images(self, images: Mapping[tuple[int, int], bytes]) -> ReportData:
        """Returns the same report with pictures, by (direction, position of the strip)."""

        def filled(card: DirectionCard) -> DirectionCard:
            strips = tuple(replace(s, image=images.get((card.index, k), s.image)) for k, s in enumerate(card.strips))
            return replace(card, strips=strips)

        return replace(self, cards=tuple(filled(card) for card in self.cards))


def to_plain(data: ReportData) -> dict[str, Any]:
    """Returns the report as JSON values, without its pictures.

    Example:
        >>> empty = ReportData("m", "c", "0", 2, 1, (0.0,), (), {})
        >>> from_plain(to_plain(empty)) == empty
        True
    """
    plain = asdict(data)
    for card in plain["cards"]:
        for strip in card["strips"]:
            del strip["image"]
    return {"format": FORMAT, **plain}


def from_plain(plain: object) -> ReportData:
    """Reads back what `to_plain` made.

    Raises:
        FileFormatError: If it is something else; the message names the first field that is wrong.
    """
    try:
        if not isinstance(plain, dict) or plain["format"] != FORMAT:
            raise ValueError(f"format is not {FORMAT!r}")
        fields = {key: value for key, value in plain.items() if key != "format"}
        fields["cards"] = tuple(_card(card) for card in fields["cards"])
        fields["stages"] = tuple(Stage(**stage) for stage in fields["stages"])
        fields["spectra"] = tuple(Spectrum(s["seed"], _floats(s["values"])) for s in fields["spectra"])
        fields["factors"] = tuple(FactorRow(**row) for row in fields["factors"])
        fields["comparisons"] = tuple(_comparison(row) for row in fields["comparisons"])
        fields["scales"] = _floats(fields["scales"])
        for key in ("factor_names", "notes"):
            fields[key] = tuple(str(item) for item in fields[key])
        return ReportData(**fields)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            wanted="a report.json of this version",
            got=f"{type(error).__name__}: {error}",
            hint="run `pullback discover` again to write a new one",
        ) from error


def _card(plain: Mapping[str, Any]) -> DirectionCard:
    usable = plain["usable"]
    return DirectionCard(
        **{
            **plain,
            "name": str(plain["name"]),
            "label": str(plain["label"]),
            "index": int(plain["index"]),
            "cluster": tuple(int(i) for i in plain["cluster"]),
            "usable": None if usable is None else (float(usable[0]), float(usable[1])),
            "facts": dict(plain["facts"]),
            "effects": _floats(plain["effects"]),
            "strips": tuple(Strip(int(s["seed"]), passed=tuple(bool(p) for p in s["passed"])) for s in plain["strips"]),
        }
    )


def _comparison(plain: Mapping[str, Any]) -> ComparisonRow:
    figures = {str(name): None if value is None else _floats(value) for name, value in plain["figures"].items()}
    return ComparisonRow(str(plain["method"]), figures, is_ours=bool(plain["is_ours"]))


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
