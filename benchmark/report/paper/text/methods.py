"""The methods paragraphs: data, models, protocols with their settings, statistics, software."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.records.provenance import Provenance
from benchmark.report.paper.evidence import Evidence
from benchmark.report.paper.text.captions import PERMUTATIONS, RESAMPLES
from benchmark.results.scores import CONTROLS

_HASH = 12  # digits of a hash that a text shows


def methods_of(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the paragraphs, each with its heading."""
    paragraphs = [
        ("Data and models", _data(evidence)),
        ("Explanation methods", _explainers(evidence)),
        ("Protocols", _protocols(evidence)),
        ("Statistics", _statistics(evidence)),
        ("Training", _training(evidence)),
        ("Software, hardware and seeds", _software(evidence)),
    ]
    return [(heading, text) for heading, text in paragraphs if text]


def _data(evidence: Evidence) -> str:
    parts = []
    for section in evidence.sections:
        people = evidence.people.get(section)
        text = (
            f"Model {section.model} (weights {section.weights_sha256[:_HASH]}) on cohort "
            f"{section.cohort} (fingerprint {section.fingerprint[:_HASH]})"
        )
        if people is not None:
            text += (
                f", {people.images} images of {people.subjects} subjects, {people.by_group[0]} of "
                f"the reference group and {people.by_group[1]} cases"
            )
        parts.append(f"{text}.")
    return " ".join(parts)


def _explainers(evidence: Evidence) -> str:
    versions: dict[str, set[str]] = {}
    for cell in evidence.cells:
        versions.setdefault(cell.names.explainer, set()).add(cell.identity.explainer.version)
    if not versions:
        return ""
    named = [f"{name} {'/'.join(sorted(own))}" for name, own in sorted(versions.items())]
    methods = [text for text in named if text.split()[0] not in CONTROLS]
    controls = [text for text in named if text.split()[0] in CONTROLS]
    text = f"{len(methods)} methods by name and version: {', '.join(methods)}."
    if controls:
        text += (
            f" {len(controls)} controls, which look at no model: {', '.join(controls)}. They say "
            "whether a protocol works on a model."
        )
    return text


def _protocols(evidence: Evidence) -> str:
    parts = []
    for name, protocol in sorted(evidence.protocols.items()):
        own = [cell for cell in evidence.cells if cell.names.protocol == name]
        configs = {
            ", ".join(f"{key} {_setting(value)}" for key, value in sorted(
                cell.identity.protocol.config.items()
            ))
            for cell in own
        }  # fmt: skip
        versions = sorted({cell.identity.protocol.version for cell in own})
        settings = f" Settings: {configs.pop()}." if len(configs) == 1 else ""
        parts.append(
            f"{name} {'/'.join(versions)}: {protocol.title} Its score is {protocol.primary}, "
            f"{protocol.statistic(protocol.primary).description}.{settings}"
        )
    return " ".join(parts)


def _statistics(evidence: Evidence) -> str:
    if not evidence.cells:
        return "Intervals are 95 % intervals over the subjects of the test split."
    return (
        "The unit of all statistics is the subject. Intervals are 95 % intervals of a cluster "
        f"bootstrap over subjects with {RESAMPLES:,} resamples, the same for all methods, so that "
        "differences are paired; statistics that a protocol declares as studentised have intervals "
        "of the studentised bootstrap. Where a figure tests scores against 0, it is by one-sided "
        f"sign-flip tests over subjects with {PERMUTATIONS:,} permutations, and p-values are "
        "corrected over all tests of the figure by Holm (1979). Means that are shown without an "
        "interval are means over subjects."
    )


def _training(evidence: Evidence) -> str:
    parts = []
    for card in evidence.cards:
        recipe = card.recipe
        best = "" if card.course is None else f", best epoch {card.course.best}"
        parts.append(
            f"{card.id}: {card.model.name} on {card.cohort.name}, regime {recipe.regime}, refit "
            f"{recipe.refit}, AdamW with learning rates {recipe.head_rate:g} (head) and "
            f"{recipe.encoder_rate:g} (encoder), weight decay {recipe.weight_decay:g}, batches of "
            f"{recipe.batch_size}, at most {recipe.most_epochs} epochs{best}."
        )
    return " ".join(parts)


def _software(evidence: Evidence) -> str:
    provenances = [cell.provenance for cell in evidence.cells]
    provenances += [card.provenance for card in evidence.cards]
    dates = [cell.created[:10] for cell in evidence.cells]
    dates = sorted([*dates, *(card.created[:10] for card in evidence.cards)])
    suites = sorted({cell.identity.suite for cell in evidence.cells})
    seeds = sorted({cell.identity.seed for cell in evidence.cells})
    text = f"Measured {_range(dates)} with {_packages(provenances)}. "
    if suites:
        text += f"Suite {_joined(suites)}, seed {_joined(map(str, seeds))}; all random choices "
        text += "follow from it. "
    devices = sorted({provenance.device for provenance in provenances})
    types = sorted({provenance.dtype for provenance in provenances})
    commits = sorted(
        {
            provenance.git.commit[:_HASH]
            + (" with uncommitted changes" if provenance.git.dirty else "")
            for provenance in provenances
            if provenance.git is not None
        }
    )
    text += f"Devices: {'; '.join(devices)}; {_joined(types)}. "
    text += f"Checkouts: {', '.join(commits)}." if commits else "From an installed package."
    return text


def _packages(provenances: Sequence[Provenance]) -> str:
    versions: dict[str, set[str]] = {"Python": {provenance.python for provenance in provenances}}
    for provenance in provenances:
        for name, version in provenance.packages.items():
            if version is not None:
                versions.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {'/'.join(sorted(own))}" for name, own in versions.items())


def _setting(value: object) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(map(_setting, value)) + ")"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_setting(own)}" for key, own in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _range(dates: Sequence[str]) -> str:
    if not dates:
        return "at an unknown time"
    return f"on {dates[0]}" if dates[0] == dates[-1] else f"from {dates[0]} to {dates[-1]}"
