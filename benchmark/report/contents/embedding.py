"""Figures as a page carries them: small, legible in the dark, and without a request.

Every figure becomes an SVG whose greys turn when the reader's screen is dark. In a figure with
images, everything but its texts is one picture of pixels inside that SVG. So texts stay sharp and
change their colour, and the pixels are there once.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image

from benchmark.report.figures.style import DARK, DPI, write_svg

# Lossy, since the files beside the page have every pixel. Many pixels of less quality show thin
# rims better than few of more, in as many bytes.
_QUALITY = 50
_SCALE, _MOST_PIXELS = 2.0, 1.4e6
_POINTS = 72 / DPI  # SVG's unit is a point
_SAFE = " !'()*+,-./:;=?@_~{}|[]^`$&"
_DIGITS = re.compile(r"-?\d+\.\d\d+")
_PLACES = re.compile(r'(?<= d=")[^"]*|(?<= [xy]=")[^"]*|translate\([^)]*\)')
# Matplotlib draws a letter in 64ths of a hundredth of its size; a half of a hundredth is as sharp.
_LETTER = re.compile(r'(?<= )d="([^"]*)" transform="scale\(0\.015625\)"')
_STEP = re.compile(r"[A-Za-z]|-?[\d.]+")
_FINENESS = 2
_POINTS_OF = {"m": 1, "l": 1, "q": 2, "c": 3}
_GLYPH = re.compile(r'(<use href="#[^"]*") transform="translate\(([-\d.]+) ([-\d.]+)\)"/>')
_NAME = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:(?<=href="#)|(?<=url\(#))[^)"]+')
_SPACED = re.compile(r'(?<= d=")[^"]*|(?<= style=")[^"]*')
_SPACE = re.compile(r" ?([A-Za-z]) (?=[-\d])| (?=z)|(?<=[:;]) | $")
_CORNER = re.compile(r' x="([^"]*)" y="([^"]*)"')
_GROUP = re.compile(r"</g>|<g/>|<g(?:>| [^>]*[^>/]>)")
# Opaque lines of one style, which look alike drawn as one.
_LINES = re.compile(
    r'<path d="[^"]*"(?P<style> (?:clip-path="[^"]*" )?'
    r'style="fill:none;(?![^"]*(?:opacity|marker))[^"]*")/>'
    r'(?:<path d="[^"]*"(?P=style)/>)+'
)
_MARKS = re.compile(
    r'<use href="#([^"]*)" x="[^"]*" y="[^"]*" style="([^"]*)"/>'
    r'(?:<use href="#\1" x="[^"]*" y="[^"]*" style="\2"/>)+'
)


def embed_drawing(figure: Figure) -> bytes:
    """Return a ``styled`` figure of lines and texts as an SVG for the page."""
    return _compact(write_svg(figure))


def embed_images(figure: Figure) -> bytes:
    """Return a ``styled`` figure that shows images as an SVG for the page.

    The figure cannot be drawn afterwards, since its parts are hidden or gone.
    """
    width, height = figure.get_size_inches() * 72
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    # Letters over an image have a casing, and the colours of the image whatever the screen.
    cased = [text for text in texts if text.get_path_effects()]
    plain = [text for text in texts if not text.get_path_effects()]
    _show(plain, False)
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    pixels = base64.b64encode(_pixels(figure)).decode()
    _show(plain, True)
    _show([*cased, *figure.findobj(_is_drawn)], False)
    for picture in figure.findobj(AxesImage):
        picture.remove()  # matplotlib draws images that lie upon each other though they are hidden
    image = (
        f'<image width="{width:g}" height="{height:g}" preserveAspectRatio="none" '
        f'href="data:image/webp;base64,{pixels}"/>'
    )
    return _compact(write_svg(figure), image)


def embed_file(svg: bytes) -> bytes:
    """Return an SVG file that was written before, for the page."""
    return _compact(svg)


def address_of(svg: bytes) -> Markup:
    """Return an SVG as a data URI for an attribute in double quotes, shorter than in base64."""
    text = svg.decode("utf-8").replace('"', "'")
    # What could end the attribute is quoted; to escape each ' would make a page a tenth larger.
    return Markup(f"data:image/svg+xml,{quote(text, safe=_SAFE)}")


def _compact(svg: bytes, behind: str = "") -> bytes:
    """Return an SVG that follows the reader's screen, with an image behind what it holds.

    Left out are its comments, which repeat labels, digits beyond a tenth of a point, names that
    nothing refers to, what marks and lines of one look repeat, and what of letters nobody sees.
    """
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg.decode("utf-8"), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = _PLACES.sub(lambda match: _DIGITS.sub(_round, match[0]), text)
    text = re.sub(r"\s*\n\s*", " ", text).replace("> <", "><").replace(" />", "/>")
    text = text.replace("xlink:href", "href").replace("DejaVuSans-", "d")
    text = _SPACED.sub(lambda match: _SPACE.sub(r"\1", match[0]), text)
    text = _LETTER.sub(_coarsen, text)
    text = _GLYPH.sub(r'\1 x="\2" y="\3"/>', text).replace(' y="0"/>', "/>")
    text = _string_marks(text)
    text = _LINES.sub(_join_lines, _drop_groups(_shorten_names(text)))
    end = text.index(">") + 1
    return f"{text[:end]}<style>{_dark_rules(text)}</style>{behind}{text[end:]}".encode()


def _round(number: re.Match[str]) -> str:
    """Return a number with one digit behind the point at most."""
    return f"{round(float(number[0]), 1):g}"


def _coarsen(letter: re.Match[str]) -> str:
    """Return the outline of a letter in steps from point to point, on a coarser grid.

    Points and not steps are rounded, so that errors do not add up.
    """
    outline, last, at, start = [], "", (0, 0), (0, 0)
    steps = _STEP.findall(letter[1])
    while steps:
        if steps[0].isalpha():
            command = steps.pop(0).lower()
            if command == "z":
                outline.append(command)
                at, last = start, ""
                continue
        count = 2 * _POINTS_OF[command]
        values = [round(float(step) * _FINENESS / 64) for step in steps[:count]]
        del steps[:count]
        points = list(zip(values[::2], values[1::2], strict=True))
        numbers = [axis for x, y in points for axis in (x - at[0], y - at[1])]
        text = " ".join(map(str, numbers)).replace(" -", "-")
        joint = " " if command == last and text[0] != "-" else ""
        outline.append(f"{joint if command == last else command}{text}")
        at, last = points[-1], command
        start = at if command == "m" else start
    return f'd="{"".join(outline)}" transform="scale({1 / _FINENESS:g})"'


def _string_marks(svg: str) -> str:
    """Return an SVG in which a row of marks of one look is a line without a colour of its own.

    The mark stands at each of its corners, which takes a quarter of the bytes.
    """
    looks: dict[tuple[str, str], str] = {}

    def string(row: re.Match[str]) -> str:
        shape, style = row[1], row[2]
        is_new = (shape, style) not in looks
        name = looks.setdefault((shape, style), f"look-{len(looks)}")
        look = (
            f'<marker id="{name}" overflow="visible" markerUnits="userSpaceOnUse" style="{style}">'
            f'<use href="#{shape}"/></marker>'
        )
        corners = " ".join(f"{x} {y}" for x, y in _CORNER.findall(row[0]))
        line = f'<path d="M{corners}" style="fill:none;stroke:none;marker:url(#{name})"/>'
        return f"{look}{line}" if is_new else line

    return _MARKS.sub(string, svg)


def _join_lines(lines: re.Match[str]) -> str:
    """Return one line that runs along all of several."""
    courses = "".join(re.findall(r' d="([^"]*)"', lines[0]))
    return f'<path d="{courses}"{lines["style"]}/>'


def _drop_groups(svg: str) -> str:
    """Return an SVG without those groups that give their parts nothing."""
    kept: list[bool] = []  # of the groups that are open

    def keep(tag: re.Match[str]) -> str:
        if tag[0] == "<g/>":
            return ""
        if tag[0] == "</g>":
            return tag[0] if kept.pop() else ""
        kept.append(tag[0] != "<g>")
        return tag[0] if kept[-1] else ""

    return _GROUP.sub(keep, svg)


def _shorten_names(svg: str) -> str:
    """Return an SVG whose parts have short names, and only those that are referred to."""
    used = dict.fromkeys(_REFERENCE.findall(svg))
    short = {name: f"i{number}" for number, name in enumerate(used)}
    svg = _NAME.sub(lambda match: f' id="{short[match[1]]}"' if match[1] in short else "", svg)
    return _REFERENCE.sub(lambda match: short[match[0]], svg)


def _dark_rules(svg: str) -> str:
    """Return the rules that turn the greys of a figure on a dark screen, and not on paper."""
    rules = "".join(
        f"[style*='{kind}:{light}']{{{kind}:{dark}!important}}"
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
        if f"{kind}:{light}" in svg
    )
    return f"@media screen and (prefers-color-scheme: dark){{{rules}}}"


def _pixels(figure: Figure) -> bytes:
    """Return what a figure shows now as WebP, clear where it shows nothing."""
    png, webp = io.BytesIO(), io.BytesIO()
    width, height = figure.get_size_inches() * DPI
    scale = min(_SCALE, math.sqrt(_MOST_PIXELS / (width * height)))
    figure.savefig(png, dpi=scale * DPI, transparent=True)
    with Image.open(png) as image:
        image.save(webp, "WEBP", quality=_QUALITY, method=4, use_sharp_yuv=True)
    return webp.getvalue()


def _is_drawn(artist: Artist) -> bool:
    return isinstance(artist, Line2D | Patch | Collection)


def _show(artists: Sequence[Artist], visible: bool) -> None:
    for artist in artists:
        artist.set_visible(visible)
