"""Pictures: PNG, JPEG, TIFF and BMP, their grey values as stored.

What a picture says of dots per inch is about paper, so no size in mm is taken from it. One that
says by its EXIF orientation that it is to be shown turned is refused, since nobody knows whether
its mask was drawn before the turn or after it.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

from baselines.cohorts.files.formats.limits import check_index, explain
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_COLOUR = ("RGB", "P", "LA", "PA", "RGBA")
_WHITE_IS_ZERO, _SIGNED = 0, 2  # values of the TIFF tags
# Pillow spreads values of few bits over 0 to 255, for the eye.
_SPREAD = {"L;2": 85, "L;4": 17}
# Files of several pages that stay open, since to find a page Pillow passes all that come before it.
_MOST_STACKS = 8


class PictureReader:
    """Reads pictures; files of several pages stay open in case another page is read."""

    def __init__(self) -> None:
        self._stacks: OrderedDict[Path, Image.Image] = OrderedDict()

    def close(self) -> None:
        """Close all files that stayed open."""
        while self._stacks:
            self._stacks.popitem()[1].close()

    def read(self, source: Source) -> Scan:
        """Return a picture of grey values [H, W] as stored; ``source.index`` is the page of a file.

        Colours are read if red, green and blue agree everywhere, and transparency if nothing is
        transparent. Values of 1, 2 and 4 bits stay 0 to 1, 3 and 15.

        Raises:
            CohortError: If it is unreadable, coloured, transparent, turned, or too large.
        """
        try:
            with warnings.catch_warnings():
                # About tags that break rules; what matters is checked below.
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with self._open(source.path) as image:
                    _choose_page(source, image)
                    values = _read_values(source, image)
        except CohortError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise CohortError(
                f"The {source} has more pixels than are read for one picture: {explain(error)}."
            ) from error
        # Pillow says which formats it tried, at length.
        except UnidentifiedImageError as error:
            raise CohortError(
                f"The {source} is no PNG, JPEG, TIFF or BMP, or of a kind that Pillow cannot read."
            ) from error
        # A damaged picture raises whatever its decoder does, down to SyntaxError and struct.error.
        except Exception as error:
            raise CohortError(
                f"The {source} cannot be read as a picture: {explain(error)}."
            ) from error
        return Scan(source, values)

    @contextmanager
    def _open(self, path: Path) -> Iterator[Image.Image]:
        """Open a picture; one of several pages is kept open."""
        if path in self._stacks:
            self._stacks.move_to_end(path)
            yield self._stacks[path]
            return
        with ExitStack() as closing:
            image = closing.enter_context(Image.open(path, formats=_FORMATS))
            if getattr(image, "is_animated", False):
                closing.pop_all()
                self._stacks[path] = image
                if len(self._stacks) > _MOST_STACKS:
                    self._stacks.popitem(last=False)[1].close()
            yield image


def _choose_page(source: Source, image: Image.Image) -> None:
    count = getattr(image, "n_frames", 1)
    if source.index is None and count > 1:
        raise CohortError(
            f"The {source} has {count} pages, but one picture was expected; say which as "
            '{ path = "…", index = 0 }. Volumes are read from NIfTI, DICOM or .npy.'
        )
    index = check_index(source, count, "pages")
    if count > 1:
        image.seek(index)


def _read_values(source: Source, image: Image.Image) -> npt.NDArray[Any]:
    """Return the grey values of the page that is chosen."""
    packing = _find_packing(image)  # gone once the image is loaded, as reading EXIF may do
    turn = image.getexif().get(Base.Orientation, 1)
    if turn != 1:
        raise CohortError(
            f"The {source} is to be shown turned or mirrored (EXIF orientation {turn}), so nobody "
            "knows how its mask lies; save it as it is to be seen, without that tag."
        )
    if image.mode in _GREY:
        values = np.asarray(image)
        if values.dtype.byteorder not in "=|":
            values = values.astype(values.dtype.newbyteorder("="))
        clear = image.info.get("transparency")
        if clear is not None and (hidden := int((values == clear).sum())):
            _refuse_transparency(source, hidden)
        if isinstance(image, TiffImageFile):
            return _mend_tiff(source, image, values, packing)
        return values // np.uint8(_SPREAD.get(packing, 1)) if image.mode == "L" else values
    if image.mode not in _COLOUR:
        raise CohortError(
            f"The {source} is a picture of the mode {image.mode}, but grey values were expected."
        )
    if "16" in packing:
        raise CohortError(
            f"The {source} has 16 bits for each of several channels, of which Pillow keeps 8; save "
            "it as 16-bit grey."
        )
    return _read_colours(source, image)


def _read_colours(source: Source, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the grey values of a picture whose channels agree."""
    pixels = np.asarray(image.convert("RGBA"))
    if hidden := int((pixels[..., 3] != 255).sum()):
        _refuse_transparency(source, hidden)
    colours = pixels[..., :3].astype(np.int16)
    spread = colours.max(axis=-1) - colours.min(axis=-1)
    if spread.any():
        raise CohortError(
            f"The {source} holds colours: red, green and blue differ in "
            f"{int((spread > 0).sum())} of {spread.size} pixels, by up to {int(spread.max())}; "
            "save it as grey, or labels as numbers without a palette."
        )
    grey: npt.NDArray[np.uint8] = pixels[..., 0].copy()
    return grey


def _refuse_transparency(source: Source, hidden: int) -> None:
    raise CohortError(
        f"The {source} has {hidden} transparent pixels, which have no grey value; save it without "
        "transparency."
    )


def _mend_tiff(
    source: Source, image: TiffImageFile, values: npt.NDArray[Any], packing: str
) -> npt.NDArray[Any]:
    """Return the values of a grey TIFF with the sign and direction that its tags say."""
    tags = image.tag_v2
    kind = tags.get(SAMPLEFORMAT, (1,))[0]
    is_inverted = tags.get(PHOTOMETRIC_INTERPRETATION, 1) == _WHITE_IS_ZERO
    if image.mode == "L":
        if kind == _SIGNED:
            return values.view(np.int8)
        few = packing.removesuffix("R").removesuffix("I")
        return values // np.uint8(_SPREAD.get(few, 1))
    if image.mode == "I" and kind == 1:
        return values.view(np.uint32)
    # Pillow inverts where white is 0 for values of up to 8 bits only.
    if is_inverted and image.mode != "1":
        if values.dtype != np.uint16:
            raise CohortError(
                f"The {source} calls white 0, which says nothing for values of {values.dtype}; "
                "save it with black as 0."
            )
        return np.uint16(65535) - values
    return values


def _find_packing(image: Image.Image) -> str:
    """Return how the file packs its pixels, in Pillow's words; empty if it does not say."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        packing = arguments[0] if isinstance(arguments, tuple) else arguments
        return packing if isinstance(packing, str) else ""
    return ""
