"""Names of a submission: those that are taken, look like another's, or mean something else."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmark.records.identity import PluginIdentity
from leaderboard.published.fields import TIERS
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.look_alikes import mixed_word, skeleton
from leaderboard.submission.manifest import Manifest

# Name and detail of a fault, whose location is known to the caller.
NamedFault = tuple[str, str]

_PROJECT = "medsanity"
# ``--explainer all`` is every method; the rest are what a board says of a method.
_WORDS = ("all", "none", "total", "chance", "truth", "control", "kept back", *TIERS)


def name_faults(
    manifest: Manifest,
    built_in: Iterable[str],
    words: Mapping[str, str] | None = None,
    own: PluginIdentity | None = None,
    others: Sequence[PublishedRecord] = (),
) -> Iterator[NamedFault]:
    """Yield what is wrong with the names of a submission.

    Args:
        manifest: Manifest that holds the names.
        built_in: Names of the package's own explainers.
        words: Kind of each name that a suite uses for something else, such as ``cohort``.
        own: Identity of the method, by which its records on the board are known as its own.
        others: Records that are on the board already.
    """
    for key in ("title", "submitter"):
        if (word := mixed_word(getattr(manifest, key))) is not None:
            yield "mixed-script", f"the {key}'s word {word!r} mixes letters of several alphabets"
    yield from _reserved(manifest, words or {})
    yield from _like_built_in(manifest, tuple(built_in))
    yield from _like_another(manifest, own, others)


def _reserved(manifest: Manifest, words: Mapping[str, str]) -> Iterator[NamedFault]:
    meanings = dict.fromkeys(_WORDS, "a word of the board") | dict(words)
    by_look = {skeleton(word): f"{word!r}, {meaning}" for word, meaning in meanings.items()}
    for key in ("explainer", "title"):
        name = getattr(manifest, key)
        if (meaning := by_look.get(skeleton(name))) is not None:
            yield "reserved-name", f"the {key} {name!r} reads like {meaning}"
    if skeleton(_PROJECT) in skeleton(manifest.submitter):
        detail = f"the submitter {manifest.submitter!r} reads like those who keep the board"
        yield "reserved-name", detail


def _like_built_in(manifest: Manifest, built_in: Sequence[str]) -> Iterator[NamedFault]:
    name, title = manifest.explainer, manifest.title
    twins = {skeleton(other): other for other in built_in}
    if name.casefold() in map(str.casefold, built_in):
        yield "name-taken", f"the package has an explainer {name!r} of its own"
    elif (twin := twins.get(skeleton(name))) is not None:
        yield "look-alike", f"the name {name!r} looks like {twin!r}, which the package has"
    if _simplified(title) in map(_simplified, built_in):
        yield "title-taken", f"the package has a method of its own that is called like {title!r}"
    elif (twin := twins.get(skeleton(title))) is not None:
        yield "look-alike", f"the title {title!r} looks like {twin!r}, which the package has"


def _like_another(
    manifest: Manifest, own: PluginIdentity | None, others: Sequence[PublishedRecord]
) -> Iterator[NamedFault]:
    """Yield the first thing in which a submission is called like another one on the board."""
    name, title, submitter = manifest.explainer, manifest.title, manifest.submitter
    looks = skeleton(name), skeleton(title), skeleton(submitter)
    methods = {
        (record.names.explainer, record.method.title, record.submitter): record.identity.explainer
        for record in others
    }
    for (other_name, other_title, other_submitter), identity in methods.items():
        if other_submitter != submitter and skeleton(other_submitter) == looks[2]:
            yield "look-alike", f"the submitter {submitter!r} looks like {other_submitter!r}"
            return
        if own is not None and identity == own and other_submitter == submitter:
            continue
        has = f"{other_submitter!r} has a method"
        if other_name.casefold() == name.casefold():
            yield "name-taken", f"{has} {other_name!r} on the board"
        elif _simplified(other_title) == _simplified(title):
            yield "title-taken", f"{has} {other_title!r} on the board"
        elif skeleton(other_name) == looks[0]:
            yield "look-alike", f"the name {name!r} looks like {other_name!r} on the board"
        elif skeleton(other_title) == looks[1]:
            yield "look-alike", f"the title {title!r} looks like {other_title!r} on the board"
        else:
            continue
        return


def _simplified(title: str) -> str:
    """Return a title without case, spaces and signs."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return "".join(character for character in folded if character.isalnum())
