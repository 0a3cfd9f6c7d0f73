"""A headless Chromium, and a board served on this machine alone."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boards
import owed
import pytest
from visits import Visit, Visitor

from leaderboard.board.board import Board
from leaderboard.board.build import build_board
from leaderboard.site import figures as pictures
from leaderboard.site.versions import write_versions
from leaderboard.site.writer import write_site

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")

FEW = ("layercam", "saliency", boards.LONG, "guided_backprop", "half_measured", "oracle")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without one these tests are skipped."""
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        names = ("chromium", "chromium-browser", "google-chrome")
        path = own if Path(own).exists() else next(filter(None, map(shutil.which, names)), None)
        if path is None:
            pytest.skip("needs Chromium")
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of boards: ``v1``, the same ``small``, and ``harmless`` and ``hostile`` in texts.

    ``owed`` is a board of owed scores, with what is kept back.
    """
    root = tmp_path_factory.mktemp("sites")
    board = boards.full_board(("smallresnet", "smallvit"))
    with pytest.MonkeyPatch.context() as patch:
        boards.draw_nothing(patch, pictures.draw_ranks(board.models[0]))
        write_site(board, root / "v1", versioned=True)
        write_site(boards.only(board, *FEW), root / "small", versioned=True)
        owed_board = build_board(owed.owed_records(), kept_back=owed.kept_back({"gradcam": 0.5}))
        write_site(owed_board, root / "owed", versioned=True)
        write_versions(root)
        write_site(_told(board, ("plain words",)), root / "harmless")
        write_site(_told(board, boards.HOSTILE), root / "hostile")
    return root


@pytest.fixture(scope="session")
def address(sites: Path) -> Iterator[str]:
    """Where the boards are served."""
    handler = functools.partial(_Handler, directory=str(sites))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def visit(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Return a function that opens a page: of a file, or of the boards that are served here.

    What is in neither is not fetched.
    """
    contexts = []

    def open_page(
        path: str, *, width: int = 1280, dark: bool = False, script: bool = True
    ) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        contexts.append(context)
        seen = Visit(context.new_page())
        local = path.startswith("file:")
        origin = "file:" if local else f"{request.getfixturevalue('address')}/"
        full = path if local else f"{origin}{path}"

        def route(one: Any) -> None:
            allowed = one.request.url.startswith((origin, "data:"))
            one.continue_() if allowed else one.abort()

        seen.page.on("request", lambda one: seen.asked.append(one.url))
        seen.page.on("console", lambda one: seen.complaints.append(one.text))
        seen.page.on("pageerror", lambda one: seen.complaints.append(str(one)))
        seen.page.on("dialog", lambda one: (seen.complaints.append("a dialog"), one.dismiss()))
        context.route("**/*", route)
        seen.page.goto(full)
        return seen

    yield open_page
    for context in contexts:
        context.close()


def _told(board: Board, phrases: tuple[str, ...]) -> Board:
    return boards.with_texts(board, boards.sayer(phrases))
