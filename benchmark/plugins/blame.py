"""What went wrong in an author's code: the line of it, and advice that fits the error."""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchmark.errors import message_of, short_message

_FROZEN = (
    "The network's parameters are frozen and the images ask for no gradient: begin with "
    "`images.requires_grad_()`, stay outside torch.no_grad(), and take gradients of parameters "
    "from a copy, `classifier.copy().requires_grad_()`."
)
_NO_GRAD = (
    "A `.grad` is None: backward() fills it for leaves that require gradients, which the "
    "network's frozen parameters do not. Take `torch.autograd.grad(score.sum(), images)` after "
    "`images.requires_grad_()`, and gradients of parameters from a copy, "
    "`classifier.copy().requires_grad_()`."
)
_NO_REFERENCES = "Set `needs_references = True` where `batch.references` is used."
_DEVICE = (
    "Create tensors with `.to(images)` or `device=images.device`, and bring them to the CPU with "
    "`.detach().cpu()` before NumPy."
)
_IN_PLACE = (
    "Work on a copy of what you alter, `images.clone()`; where a layer of the network writes in "
    "place, set `inplace = False` on it in `classifier.copy()`."
)
_SCALAR = "A target gives one scalar for each image: take the gradient of `score.sum()`."
_TWICE = "Pass `retain_graph=True` where one graph is gone through several times."
_UNUSED = "The score does not depend on what it is differentiated by: take both from one pass."
_DETACH = "Call `.detach().cpu()` on a tensor before `.numpy()`."

_TARGET = (
    "A target takes the logits and the embedding, which is what the network returns: "
    "`target(*classifier(images))`."
)
_SIGNATURE = "`attribute` is called with three arguments after self: classifier, images and target."
_PAIR = "The network returns logits and embedding: `logits, embedding = classifier(images)`."
_LAYERS = (
    "The network is a Classifier: its layers are in `classifier.trunk`, `classifier.pool` and "
    "`classifier.head`."
)

# The first pattern that an error's message holds decides.
_ADVICE = (
    (r"does not require grad", _FROZEN),
    (r"leaf Variable|inplace operation|modified inplace", _IN_PLACE),
    (r"same device|not on the expected device|device type tensor to numpy", _DEVICE),
    (r"weight type .* should be the same", _DEVICE),
    (r"grad can be implicitly created only for scalar", _SCALAR),
    (r"backward through the graph a second time", _TWICE),
    (r"not have been used in the graph", _UNUSED),
    (r"missing 1 required positional argument: 'embedding'", _TARGET),
    (r"\battribute\(\) (takes \d+ positional|missing \d+ required|got an unexpected)", _SIGNATURE),
    (r"^'tuple' object has no attribute|^tuple indices must be", _PAIR),
    (r"^'Classifier' object has no attribute", _LAYERS),
    (r"Can't call numpy\(\) on Tensor that requires grad", _DETACH),
)


def author_line(error: BaseException, plugin_file: str) -> str:
    """Return the author's line that an error comes from, or nothing where it comes from none.

    Args:
        error: Error that was caught. Where the author's code called something that refused what it
            got from it, such as a network's layer, the line is that of the call.
        plugin_file: File of the plugin's class; the files beside it are the author's, too.

    Returns:
        ``"mine.py:7: return images.grad.abs()"``, with the file as it was named by the user.
    """
    frame = _author_frame(error, plugin_file)
    if frame is None:
        return ""
    file, number = frame
    source = linecache.getline(file, number).strip()
    return f"{file}:{number}" + (f": `{source}`" if source else "")


def located_message(error: BaseException, plugin_file: str) -> str:
    """Return the type and the message of an error in one line, and the author's line behind it."""
    line = author_line(error, plugin_file)
    return short_message(error) + (f", at {line}" if line else "")


def short_author_line(error: BaseException, plugin_file: str) -> str:
    """Return the author's line as ``mine.py:7``, for records, which hold no path of a machine."""
    frame = _author_frame(error, plugin_file)
    return "" if frame is None else f"{Path(frame[0]).name}:{frame[1]}"


def advice_on(error: BaseException) -> str | None:
    """Return how to mend what an explainer's code raised, or None where it can be anything."""
    for each in _chain(error):
        message = message_of(each)
        for pattern, advice in _ADVICE:
            if re.search(pattern, message):
                return advice
        if isinstance(each, AttributeError | TypeError) and "NoneType" in message:
            written = _source_so_far(each)
            if "references" in written:
                return _NO_REFERENCES
            if ".grad" in written:
                return _NO_GRAD
    return None


def advice_on_none() -> str:
    """Return how to mend a method that returns None, as a ``.grad`` that nothing filled is."""
    return f"Return the map from `attribute`. {_NO_GRAD}"


def advice_on_array() -> str:
    """Return how to mend a method that returns an array of NumPy."""
    return "Make a tensor of the map: `torch.as_tensor(array).to(images)`."


def file_of(plugin: type) -> str:
    """Return the file that a plugin's class stands in, or nothing where it stands in none."""
    return str(getattr(sys.modules.get(plugin.__module__), "__file__", None) or "")


def _author_frame(error: BaseException, plugin_file: str) -> tuple[str, int] | None:
    """Return file and line of the deepest frame of an author's files."""
    if not plugin_file or isinstance(error, SyntaxError):  # whose message names the line
        return None
    home, shallow = Path(plugin_file).resolve().parent, None
    for each in _chain(error):
        frames = [*traceback.walk_tb(each.__traceback__)]
        for depth, (frame, number) in enumerate(reversed(frames)):
            file = frame.f_code.co_filename
            if not file.startswith("<") and Path(file).resolve().parent == home:
                if depth == 0:
                    return file, number
                # What the author's code called may tell more in the error's cause.
                shallow = file, number
                break
    return shallow


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    cause: BaseException | None = error
    visited: set[int] = set()
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _source_so_far(error: BaseException) -> str:
    """Return the source of the function that an error was raised in, up to that line."""
    frames: list[tuple[FrameType, int]] = [*traceback.walk_tb(error.__traceback__)]
    if not frames:
        return ""
    code, last = frames[-1][0].f_code, frames[-1][1]
    lines = range(code.co_firstlineno, last + 1)
    return "".join(linecache.getline(code.co_filename, number) for number in lines)
