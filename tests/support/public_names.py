"""Writes the list of public names that the screen of submissions knows.

``python tests/support/public_names.py > leaderboard/submission/screening/public_names.toml`` asks
the installed libraries for what they publish. What reaches files, processes or the state of the
whole process is left out; the list is committed and read by people, so that an update of a library
opens nothing.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
from types import ModuleType

MODULES = """
    __future__ abc cmath collections collections.abc contextlib copy dataclasses enum fractions
    functools hashlib heapq itertools math numbers operator statistics types typing warnings
    torch torch.autograd torch.autograd.functional torch.distributions torch.fft torch.func
    torch.linalg torch.nn torch.nn.functional torch.nn.init torch.optim torch.optim.lr_scheduler
    torch.overrides torch.special torch.utils.checkpoint torch.utils.hooks torchvision.ops
    torchvision.transforms torchvision.transforms.functional torchvision.transforms.v2
    torchvision.transforms.v2.functional
    numpy numpy.fft numpy.lib.stride_tricks numpy.linalg numpy.polynomial
    numpy.polynomial.legendre numpy.random numpy.typing
    scipy.cluster.hierarchy scipy.cluster.vq scipy.fft scipy.integrate scipy.interpolate
    scipy.linalg scipy.ndimage scipy.optimize scipy.signal scipy.sparse scipy.sparse.linalg
    scipy.spatial scipy.spatial.distance scipy.special scipy.stats
    captum.attr zennit.attribution zennit.canonizers zennit.composites zennit.core zennit.layer
    zennit.rules zennit.torchvision zennit.types
    pytorch_grad_cam pytorch_grad_cam.activations_and_gradients pytorch_grad_cam.base_cam
    pytorch_grad_cam.utils.model_targets pytorch_grad_cam.utils.reshape_transforms
    skimage.color skimage.draw skimage.exposure skimage.feature skimage.filters skimage.filters.rank
    skimage.graph skimage.measure skimage.metrics skimage.morphology skimage.registration
    skimage.restoration skimage.segmentation skimage.transform skimage.util
    sklearn.base sklearn.cluster sklearn.covariance sklearn.decomposition sklearn.ensemble
    sklearn.gaussian_process sklearn.gaussian_process.kernels sklearn.kernel_approximation
    sklearn.kernel_ridge sklearn.linear_model sklearn.manifold sklearn.metrics
    sklearn.metrics.pairwise sklearn.mixture sklearn.model_selection sklearn.neighbors
    sklearn.pipeline sklearn.preprocessing sklearn.svm sklearn.tree einops pydantic
"""
# Files, processes, code made of text, memory that others see, and state of the whole process.
OUTSIDE = re.compile(
    r"load|save|file|memmap|buffer|pickle|dlpack|share|socket|compile|library|^import|_storage"
    r"|Storage|^set_|^use_|seed|rng_state|initial|print|fork|thread|profil|^os$|^sys$|debug"
    r"|attrgetter|methodcaller|^new_class|Module(Type|Spec)|vitals|crash|DataSource|fromregex"
    r"|genfromtxt|loadtxt|savetxt|^test$|^show|^info$|getbuf|export|typename|^chdir|^redirect|^asdict|^astuple|^fields$"
)
KEPT = {"torch": "from_numpy is_grad_enabled set_grad_enabled", "torch.nn": "Buffer"}
# Of these modules nothing else is listed: the rest makes code, or draws from what all share.
ONLY = {
    "numpy.random": "BitGenerator Generator MT19937 PCG64 Philox SeedSequence default_rng",
    "pydantic": "Field",
    "torch.overrides": "TorchFunctionMode handle_torch_function has_torch_function",
    "types": "GenericAlias MappingProxyType ModuleType NoneType SimpleNamespace UnionType",
    "warnings": "catch_warnings filterwarnings simplefilter warn",
}
# torch lists its machinery beside what its manual describes.
TORCH_TYPES = "BoolTensor FloatTensor Generator IntTensor LongTensor Size Tensor"


def names_of(name: str) -> list[str]:
    """Return what a module publishes, without modules and what reaches outside."""
    module = importlib.import_module(name)
    package = name.partition(".")[0]
    if name in ONLY:
        return ONLY[name].split()
    names = []
    # torch lists but a part of what its manual describes.
    listed = dir(module) if name == "torch" else getattr(module, "__all__", dir(module))
    for public in sorted(set(listed)):
        try:
            value = getattr(module, public, None)
        except ImportError:  # a library hides it until it is asked for
            continue
        if isinstance(value, ModuleType) or public.startswith("_"):
            continue
        origin = getattr(value, "__module__", None) or package
        is_code = inspect.isclass(value) or inspect.isroutine(value)
        borrowed = is_code and origin.partition(".")[0] != package
        if borrowed and not hasattr(module, "__all__") and package not in sys.stdlib_module_names:
            continue
        if name == "torch" and public[0].isupper() and public not in TORCH_TYPES.split():
            continue
        if public in KEPT.get(name, "").split() or not OUTSIDE.search(public):
            names.append(public)
    return names


def main() -> None:
    """Print the list as TOML."""
    lines = ["# Written by tests/support/public_names.py.", ""]
    for module in sorted(MODULES.split()):
        text = textwrap.fill(" ".join(names_of(module)), 98, break_long_words=False)
        lines += [f'"{module}" = """', text, '"""']
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
