"""The public names that a method may use, and what to use instead of others."""

from __future__ import annotations

import ast
import importlib.resources
import importlib.util
import tomllib
from functools import cache
from pathlib import Path

import benchmark


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# All of this package that a method may import; the rest holds the truth, the scores or the run.
DOOR = _words("""
    baselines.adapters baselines.canonical baselines.explainers benchmark.arrays
    benchmark.classifier benchmark.cohort benchmark.errors benchmark.explainer
    benchmark.feature_grid benchmark.model_source benchmark.seeding benchmark.target
""")
PACKAGES = _words("baselines benchmark leaderboard protocols")
# Controls are told the truth, and a method could ask one.
_CONTROLS = "baselines.explainers.controls"

BUILT_IN = _words("""
    abs all any bin bool bytes callable chr classmethod complex dict divmod enumerate filter float
    format frozenset hash hex id int isinstance issubclass iter len list map max min next object ord
    pow print property range repr reversed round set slice sorted staticmethod str sum super tuple
    type zip ArithmeticError AssertionError AttributeError Ellipsis Exception FloatingPointError
    ImportError IndexError KeyError LookupError MemoryError NotImplemented NotImplementedError
    OverflowError RuntimeError RuntimeWarning StopIteration TypeError UserWarning ValueError
    ZeroDivisionError __debug__ __doc__ __file__ __name__
""")
# Names in double underscores that a method may read, and define.
SPECIAL = _words("""
    __add__ __all__ __bool__ __call__ __contains__ __doc__ __enter__ __eq__ __exit__
    __float__ __ge__ __getitem__ __gt__ __hash__ __init__ __int__ __iter__ __le__ __len__ __lt__
    __mul__ __name__ __ne__ __neg__ __next__ __post_init__ __radd__ __repr__ __rmul__ __rsub__
    __setitem__ __slots__ __str__ __sub__ __torch_function__ __truediv__ __version__
""")
# Private by their name, and described in torch's manual.
DESCRIBED = frozenset(("_base",))
# Public attributes of objects that lead to files, frames, memory or code made of text.
OUTSIDE = _words("""
    ag_frame cr_frame ctypes data_ptr dump dumps f_back f_builtins f_code f_globals f_locals format
    format_map from_file gi_frame register_parametrization save share_memory share_memory_ storage
    tb_frame tb_next tofile untyped_storage with_traceback
""")
TRUTH = _words("truth foreground")
# Of a batch, whatever tells nothing about who is shown and where the truth lies.
OF_BATCH = _words("images references")

_GIVEN = "use what attribute() is given: the network, the images and the target"
_ADVICE = {
    "write constants as numbers into the source; where a method runs there are no files": """
        os pathlib io open numpy.load numpy.fromfile numpy.loadtxt numpy.genfromtxt numpy.memmap
        numpy.save numpy.savez torch.load torch.save torch.from_file pickle marshal shelve shutil
        tempfile glob mmap linecache fileinput zipfile tarfile gzip bz2 lzma sqlite3 joblib h5py
        nibabel nilearn pandas safetensors PIL pydicom skimage.io scipy.io sklearn.datasets
        skimage.data importlib pkgutil zipimport runpy
    """,
    "write the network's weights as numbers into the source; there is no network to load from": """
        torch.hub torchvision.models torchvision.datasets timm transformers urllib requests http
        socket ssl smtplib ftplib huggingface_hub asyncio
    """,
    "use benchmark.seeding.torch_stream(purpose, ...), which gives everyone the same numbers": """
        random secrets uuid time datetime torch.manual_seed torch.seed numpy.random.seed
        numpy.random.rand numpy.random.randn numpy.random.random
    """,
    "a method runs in one process; use batches of tensors": """
        multiprocessing threading concurrent subprocess signal torch.multiprocessing pty
        torch.distributed joblib queue sched
    """,
    "write the code itself": """
        eval exec compile __import__ code codeop torch.jit torch.compile types
    """,
    "write the name out, as in x.name": """
        getattr setattr delattr hasattr vars dir globals locals operator.attrgetter
        operator.methodcaller
    """,
    "raise ValueError": "SystemExit KeyboardInterrupt BaseException exit quit GeneratorExit",
    _GIVEN: """
        sys inspect gc traceback tracemalloc builtins ctypes faulthandler atexit site platform
        resource benchmark protocols leaderboard baselines weakref numpy.ctypeslib
    """,
}
_ADVICE_OF = {name: advice for advice, names in _ADVICE.items() for name in names.split()}
_UNLISTED = "it is not on the list of public names; a few lines of your own may replace it"


def advice_on(name: str) -> str:
    """Return what to use instead of a name, by the longest part of it that is known."""
    parts = name.split(".")
    known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_ADVICE_OF[part] for part in known if part in _ADVICE_OF), _UNLISTED)


def is_module(name: str) -> bool:
    """Return whether a module may be imported, or leads to one that may."""
    if name.partition(".")[0] in PACKAGES:
        return name in _leading() or (_is_open(name) and _file_of(name) is not None)
    return name in _names() or name in _leading()


def is_public(module: str, name: str) -> bool:
    """Return whether a name of a module may be used."""
    if name.startswith("_"):
        return False
    if module == "benchmark":
        # A name of the package itself stands for the module that it comes from.
        origin = getattr(getattr(benchmark, name, None), "__module__", "")
        return _is_open(origin)
    if module.partition(".")[0] in PACKAGES:
        return _is_open(module) and name in _own_names(module)
    return name in _names().get(module, frozenset())


def _is_open(module: str) -> bool:
    return ".".join(module.split(".")[:2]) in DOOR and not module.startswith(_CONTROLS)


@cache
def _names() -> dict[str, frozenset[str]]:
    """Return the public names of each module of other libraries."""
    text = importlib.resources.files(__package__).joinpath("public_names.toml").read_text("utf-8")
    return {module: _words(names) for module, names in tomllib.loads(text).items()}


@cache
def _leading() -> frozenset[str]:
    """Return the packages that only lead to modules, such as ``scipy``."""
    modules = [*_names(), *DOOR]
    parts = (module.split(".")[:length] for module in modules for length in range(1, 5))
    return frozenset(map(".".join, parts))


def _file_of(module: str) -> Path | None:
    package, *below = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]).joinpath(*below)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def _own_names(module: str) -> frozenset[str]:
    """Return what a module of this package defines or publishes, without importing it.

    What a file imports is a name of its own where its ``__all__`` lists it.
    """
    file = _file_of(module)
    names: set[str] = set()
    for node in ast.parse(file.read_bytes()).body if file is not None else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = {target.id for target in targets if isinstance(target, ast.Name)}
            names |= assigned
            if "__all__" in assigned and isinstance(node.value, ast.List):
                names |= {
                    str(element.value)
                    for element in node.value.elts
                    if isinstance(element, ast.Constant)
                }
    return frozenset(names)
