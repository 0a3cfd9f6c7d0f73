"""The pages of a board as text; whatever comes from a record is escaped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from leaderboard.board.board import Board
from leaderboard.site import view
from leaderboard.site.view import ModelView, RowView

_TIER_MARKS = {
    "self-reported": "○",
    "checked": "◔",
    "sampled": "◔",
    "reproduced": "◐",
    "audited": "●",
}


class Pages:
    """Renders the pages of one board.

    Args:
        board: Board to show.
        versioned: Whether it stands beside boards of other versions, and links to their page.
        sizes: Width and height of every figure, by its address below the site.
    """

    def __init__(self, board: Board, versioned: bool, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._board = board
        self._views = [view.view_model(model, board) for model in board.models]
        self._environment = make_environment()
        self._environment.filters.update(
            number=view.format_number,
            range=view.format_range,
            count=view.format_count,
            seconds=view.format_seconds,
        )
        self._environment.globals.update(
            board=board,
            versioned=versioned,
            sizes=sizes,
            marks=view.MARKS,
            tier_marks=_TIER_MARKS,
            many_cohorts=board.has_many_cohorts,
            later_tiers=board.owed or board.has_later_tiers,
        )

    def index(self) -> str:
        """Return the page of all methods."""
        template = self._environment.get_template("index.html.j2")
        return template.render(root="", views=self._views, families=view.families_of(self._board))

    def method(
        self, name: str, entries: Sequence[tuple[ModelView, RowView]], pictures: Collection[str]
    ) -> str:
        """Return the page of one method.

        Args:
            name: Name of the method.
            entries: Rows of the method, with the models that they are of.
            pictures: Addresses of pictures of maps, below the site.
        """
        models = [model_view.model for model_view, _ in entries]
        addresses = [(model, f"overlays/{name}.{model.model}.webp") for model in models]
        overlays = [(model, address) for model, address in addresses if address in pictures]
        template = self._environment.get_template("method.html.j2")
        return template.render(root="../", entries=entries, overlays=overlays)


def make_environment() -> Environment:
    """Return where templates of the package are rendered; everything is escaped."""
    return Environment(
        autoescape=True,
        loader=FunctionLoader(read_part),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def read_part(name: str) -> str:
    """Return the text of a template, style sheet or script of the package."""
    return (resources.files("leaderboard.site") / "page" / name).read_text("utf-8")
