"""From which similarity on a hit is called a match, and how often that is wrong.

Measured on real people by `benchmarks/feedback.py`: pairs of tracklets of Market-1501 in different cameras.
No default weights were trained on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage.case_records import SearchRecord, model_identity
from storage.records import EmbedderSpec


@dataclass(frozen=True)
class ErrorRate:
    """A measured point.

    Attributes:
        similarity: cosine, in [-1, 1].
        false_match_rate: share of the pairs of different people that reach it.
        true_match_share: share of the pairs of one person that reach it.
    """

    similarity: float
    false_match_rate: float
    true_match_share: float


DEFAULT_THRESHOLDS = {
    (
        "ste_nvan",
        "f86de0c056ce25256dcfecbcfbe15171c6c00b3ea4b9840f2c02d4ebfaa52c49",
    ): (ErrorRate(0.656, 0.001, 0.40), ErrorRate(0.536, 0.01, 0.71)),  # ste_nvan_r50_synthetic
    ("colour_stripes", ""): (ErrorRate(0.938, 0.001, 0.11), ErrorRate(0.913, 0.01, 0.27)),
}
"""Embedder and hash of its weights -> measured points, the strictest first (`benchmarks/feedback.py`)."""

UNMEASURED_THRESHOLD = 0.7
"""For any other embedder: a guess, which `describe_errors` says."""


def threshold_of(spec: EmbedderSpec) -> float:
    """The similarity from which on a hit is called a match unless somebody chose another one.

    It is the one that 0.1 % of the pairs of different people reached when the model was measured: a search of
    1,000 strangers finds one false match, and up to three if it knows the person by four tracklets. It is
    meant to be strict: below it lie more than half of the true pairs, shown as candidates. A model that was
    not measured gets `UNMEASURED_THRESHOLD`.
    """
    rates = error_rates(spec)
    return rates[0].similarity if rates else UNMEASURED_THRESHOLD


def threshold_in_use(record: SearchRecord, spec: EmbedderSpec) -> tuple[float, str | None]:
    """The threshold that a search has where `spec` compares; and a sentence if it is not the search's own.

    A threshold says nothing about another model's similarities: after a re-index the present model's default
    takes its place until somebody chooses one. After a rollback the search's own applies again.
    """
    if record.model == model_identity(spec):
        return record.threshold, None
    threshold = threshold_of(spec)
    before = record.model.split(" ")[0] or "no model yet"
    return threshold, (
        f"The model was exchanged since this search's threshold of {record.threshold:.3f} was chosen for "
        f"{before}: the default of the present one, {threshold:.3f}, applies instead."
    )


def error_rates(spec: EmbedderSpec) -> tuple[ErrorRate, ...]:
    """Measured points of a model, the strictest first; none if it was not measured."""
    return DEFAULT_THRESHOLDS.get((spec.name, spec.weights_hash), ())


def rates_json(spec: EmbedderSpec) -> list[dict[str, Any]]:
    """`error_rates` as JSON values."""
    return [
        {
            "similarity": rate.similarity,
            "false_match_rate": rate.false_match_rate,
            "true_match_share": rate.true_match_share,
        }
        for rate in error_rates(spec)
    ]


def describe_errors(spec: EmbedderSpec, num_tracklets: int, where: str) -> str:
    """The model's errors in plain words.

    Args:
        num_tracklets: how many are searched.
        where: they are.
    """
    rates = error_rates(spec)
    if not rates:
        return (
            "How often this model is wrong was not measured: its threshold is a guess, and each result "
            "must be judged by eye."
        )
    points = "; ".join(
        f"at similarity {rate.similarity:.3f} or more, {_share(rate.false_match_rate)} pairs of different "
        f"people are taken for one, and {1 - rate.true_match_share:.0%} of the pairs of one person are missed"
        for rate in rates
    )
    expected = round(num_tracklets * rates[0].false_match_rate)
    number = f"about {expected:,}" if expected else "fewer than one"
    return (
        f"Measured on people who walked past six cameras in daylight (Market-1501): {points}. So, of "
        f"{num_tracklets:,} tracklets {where}, {number} of other people reach the stricter "
        "of these lines in each search, and up to three times as many where a person is known by several "
        "tracklets. With your cameras it can be better or worse."
    )


def _share(rate: float) -> str:
    return f"1 of {round(1 / rate):,}"
