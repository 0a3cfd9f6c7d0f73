"""Figures inside a page: small, alike each time, and legible on a dark screen."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmark.report.contents.embedding import address_of, embed_drawing, embed_images
from benchmark.report.figures.marks import write_cased
from benchmark.report.figures.style import COLOURS, DARK, INK, styled, write_svg

HOSTILE = "a--><script>alert(1)</script>&\"'#%"
NAMES = {"svg": "http://www.w3.org/2000/svg"}


@styled
def draw_lines(figure: Figure) -> None:
    """Draw a line and a name."""
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.plot([0, 1], [0, 1], color=COLOURS[0])
    axes.text(0.5, 0.5, HOSTILE, color=INK)


@styled
def draw_cloud(figure: Figure, points: int) -> None:
    """Draw points along the diagonal of a figure that is an inch wide and high."""
    figure.set_size_inches(1, 1)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    places = np.linspace(0, 1, points)
    axes.plot(places, places, "o", color=COLOURS[0], clip_on=False)


@styled
def draw_pixels(figure: Figure) -> None:
    """Draw two images that lie side by side, a letter over one, and a name."""
    figure.set_size_inches(4, 2)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    noise = np.random.Generator(np.random.PCG64(0)).uniform(size=(64, 64))
    for left in (0, 1):
        axes.imshow(noise, extent=(left, left + 1, 0, 1), interpolation="nearest")
    axes.set_xlim(0, 2)
    write_cased(axes, 0.1, 0.5, "L")
    axes.text(1.0, 1.0, "a name", color=INK)


def parse(svg: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(svg.decode())


@pytest.mark.parametrize(
    "embed",
    [lambda: embed_drawing(draw_lines()), lambda: embed_images(draw_pixels())],
    ids=["lines", "images"],
)
def test_a_figure_is_a_document_of_the_same_bytes_each_time(embed: object) -> None:
    """If it fails, equal results make unequal pages, or a figure stays blank."""
    assert callable(embed)
    first = embed()
    assert parse(first).tag == "{http://www.w3.org/2000/svg}svg"
    assert embed() == first


def test_what_a_plugin_calls_itself_stays_out_of_the_page() -> None:
    """If it fails, a method's name ends the attribute that holds a figure, or runs in it."""
    svg = embed_drawing(draw_lines())
    address = address_of(svg)
    assert not set(address) & set('<>"#')
    assert "<!--" not in svg.decode()
    assert unquote(address).removeprefix("data:image/svg+xml,") == svg.decode().replace('"', "'")
    parse(unquote(address).removeprefix("data:image/svg+xml,").encode())


def test_each_mark_of_a_row_is_drawn() -> None:
    """If it fails, a scatter on the page lacks points, or holds a mark for each in full."""
    figure = draw_cloud(300)
    svg = embed_drawing(figure).decode()
    (line,) = re.findall(r'<path d="M([^"L]*)" style="fill:none;stroke:none;marker:', svg)
    corners = np.array(line.split(), dtype=float).reshape(-1, 2)
    ys = 72 - np.linspace(0, 72, 300)
    assert corners[:, 1] == pytest.approx(ys, abs=0.0501)
    assert len(svg) < 300 * 20


def test_greys_turn_on_a_dark_screen_and_not_on_paper() -> None:
    """If it fails, dark texts stand on a dark page, or pale ones are printed."""
    for figure, embed in ((draw_lines(), embed_drawing), (draw_pixels(), embed_images)):
        style = embed(figure).decode().split("<style>")[1].split("</style>")[0]
        assert style.startswith("@media screen and (prefers-color-scheme: dark){")
        assert f"[style*='fill:{INK}']{{fill:{DARK[INK]}!important}}" in style
    assert COLOURS[0].lower() in embed_drawing(draw_lines()).decode().split("</style>")[0]


def test_pixels_are_there_once_and_texts_beside_them() -> None:
    """If it fails, a page carries each picture twice, or a letter turns dark on a dark image."""
    svg = embed_images(draw_pixels())
    images = parse(svg).findall(".//svg:image", NAMES)
    assert len(images) == 1
    assert images[0].attrib["href"].startswith("data:image/webp;base64,")
    # The letter has a casing, and belongs to the pixels.
    assert not re.search(r"stroke:#222222;stroke-width", svg.decode())
    assert len(parse(svg).findall(".//svg:use", NAMES)) >= len("aname")


def test_letters_keep_their_outlines() -> None:
    """If it fails, errors of rounding add up along a letter, or the hole of one is filled."""
    drawn = outlines_of(write_svg(draw_lines()))
    embedded = outlines_of(embed_drawing(draw_lines()))
    assert len(drawn) == len(embedded) > len(set(HOSTILE)) - 3
    for letter, coarse in zip(drawn, embedded, strict=True):
        assert [command for command, _ in letter] == [command for command, _ in coarse]
        for (_, point), (_, near) in zip(letter, coarse, strict=True):
            np.testing.assert_allclose(near, point, atol=0.25001)  # hundredths of a letter's size


def outlines_of(svg: bytes) -> list[list[tuple[str, tuple[float, float]]]]:
    """Return the points of each letter in hundredths of its size, with the command of each."""
    letters = []
    for path in parse(svg).iter(f"{{{NAMES['svg']}}}path"):
        if not (turn := re.fullmatch(r"scale\((.*)\)", path.get("transform", ""))):
            continue
        outline, start, at = [], (0.0, 0.0), (0.0, 0.0)
        for command, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path.get("d", "")):
            numbers = [float(number) * float(turn[1]) for number in re.findall(r"-?[\d.]+", text)]
            size = {"m": 1, "l": 1, "q": 2, "z": 0}[command.lower()]
            if size == 0:
                at = start
            origin = at if command.islower() else (0.0, 0.0)
            for number in range(len(numbers) // 2):
                x, y = numbers[2 * number : 2 * number + 2]
                point = (origin[0] + x, origin[1] + y)
                outline.append((command.lower(), point))
                if number % size == size - 1:
                    at = point
                    origin = at if command.islower() else origin
            if size and command.lower() == "m":
                start = at
        letters.append(outline)
    return letters
