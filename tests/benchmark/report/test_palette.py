"""The colours of figures: told apart with any colour vision, on paper and on a dark screen.

Colour vision is simulated as in Machado, Oliveira and Fernandes (2009), at its full severity, with
the matrices of their table for linear RGB; differences are CIEDE2000.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from benchmark.report.figures.style import CHANCE, COLOURS, DARK, INK, MUTED

VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# A difference of 2 is seen side by side; lines and bars of one figure need a multiple of it.
LEAST = 12.0
SCREEN = DARK["#ffffff"]
PALETTES = {"paper": COLOURS, "dark": tuple(DARK[colour.lower()] for colour in COLOURS)}


def linear(colour: str) -> np.ndarray:
    """Return the linear RGB of a colour in sRGB."""
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> np.ndarray:
    """Return in CIELAB how a colour looks to somebody."""
    values = np.clip(VISIONS[vision] @ linear(colour), 0, 1)
    coded = np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(np.clip(coded, 0, 1)))


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours by WCAG, from 1 to 21."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    light, dark = sorted((float(linear(each) @ weights) for each in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("palette", PALETTES)
def test_no_two_colours_of_a_figure_look_alike(palette: str, vision: str) -> None:
    """If it fails, one reader in twelve cannot tell which line is whose."""
    alike = {
        (first, second): distance
        for first, second in combinations(PALETTES[palette], 2)
        if (distance := deltaE_ciede2000(seen(first, vision), seen(second, vision))) < LEAST
    }
    assert alike == {}


def test_red_and_green_would_not_do() -> None:
    """If it fails, the simulation lets through what it is there to find."""
    pair = [seen(colour, "deuteranopia") for colour in ("#b08000", "#7a9a00")]
    assert deltaE_ciede2000(*pair) < LEAST
    normal = [seen(colour, "normal") for colour in ("#b08000", "#7a9a00")]
    assert deltaE_ciede2000(*normal) > LEAST


@pytest.mark.parametrize("ink", [INK, MUTED, CHANCE, *(colour.lower() for colour in COLOURS)])
def test_what_is_drawn_stands_out_from_a_dark_screen(ink: str) -> None:
    """If it fails, a figure fades away at night."""
    assert contrast(DARK[ink], SCREEN) >= 4.5
