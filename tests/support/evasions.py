"""One-line attempts to get past the screen of a source, each as someone would write it.

``classifier``, ``images``, ``target`` and ``batch`` are what a method is given.
"""

from __future__ import annotations

EVASIONS = r"""
import os
import os as torch
import os.path
from os import environ
from os.path import join
import sys, torch
import importlib
import importlib.util
from importlib import import_module
import pickle
import ctypes
import subprocess
import multiprocessing
import threading
import socket
import pathlib
import io
import builtins
import gc
import inspect
import traceback
import torch.hub
import torch.utils.cpp_extension
import numpy.ctypeslib
import numpy.f2py
import scipy.io
import sklearn.datasets
import skimage.io
import skimage.data
import pandas
import nibabel
import nilearn.datasets
import safetensors.torch
import matplotlib.pyplot
import PIL.Image
import cffi
import code
import _io
import posix
import _thread
import weakref
import types; types.FunctionType
from math import *
from torch import *
from torch import load
from torch import hub
from torch import load as relu
from numpy import fromfile
from numpy import load as clip
from functools import _lru_cache_wrapper
from benchmark.plugins.catalogue import Catalogue
from benchmark import trial
from benchmark.cohort import np
from benchmark.explainer import torch
from baselines.explainers.controls import Oracle
from baselines.cohorts.phantom import Phantom
from protocols.roi_pointing import RoiPointing
from leaderboard.published import folder
from . import secret
from torch import sys
from numpy import os
from dataclasses import sys
from warnings import sys
import torch; torch.load('x')
import torch; torch.hub.load('a', 'b')
import torch; torch.sys.modules
import torch; torch.os.environ
import torch; torch.serialization.os.listdir('/')
import torch; torch.utils.data.dataset.os
import torch; torch.ops.load_library('x')
import torch; torch.classes.load_library('x')
import torch; torch.jit.load('x')
import torch; torch.package.PackageImporter('x')
import torch; torch.from_file('x')
import torch; torch.UntypedStorage.from_file('x')
import torch; torch.multiprocessing.spawn(print)
import torch; torch.distributed.init_process_group()
import torch; torch.compile(print)
import torch; torch._C._dlopen
import torch; torch.nn.functional.torch.load('x')
import torch; torch.nn.modules.module.torch.load('x')
import torch; torch.manual_seed(0)
import torch; torch.relu = print
import torch; t = torch; t.load('x')
import torch; f = [torch][0].load
import torch; (lambda m: m.load('x'))(torch)
import torch; f = lambda m=torch: m.load('x')
import torch as math; math.sys
import numpy as np; np.load('x')
import numpy as np; np.fromfile('x')
import numpy as np; np.memmap('x')
import numpy as np; np.ctypeslib.load_library('x', '.')
import numpy as np; np.lib.npyio.os
import numpy as np; np.loadtxt('x')
import numpy as np; np.genfromtxt('x')
import numpy as np; np.DataSource().open('x')
import numpy as np; np.testing.os
import numpy as np; np.average = print
import numpy as np; np.zeros(1).tofile('x')
import numpy as np; np.zeros(1).dump('x')
import numpy as np; np.zeros(1).ctypes.data
import numpy as np; np.random.seed(0)
import scipy; scipy.io.loadmat('x')
import operator; operator.attrgetter('truth')(batch)
from operator import attrgetter
from operator import methodcaller
import functools; functools.reduce(getattr, ['truth'], batch)
import functools; functools.sys
import dataclasses; dataclasses.sys.modules
import dataclasses; dataclasses.asdict(batch)
import dataclasses; dataclasses.fields(batch)
import copy; copy.copy(batch).truth
import warnings; warnings.sys
import contextlib; contextlib.os
import typing; typing.sys
import collections; collections._sys
eval('1')
exec('1')
compile('1', '', 'eval')
open('x')
__import__('os')
input()
breakpoint()
globals()
locals()
vars()
vars(batch)
dir(batch)
exit()
raise SystemExit
help()
__builtins__
__builtins__['open']
__loader__
__spec__
getattr(batch, 'tru' + 'th')
getattr(batch, 'truth')
getattr(batch, name)
getattr(print, '__self__')
setattr(batch, 'truth', None)
setattr(batch, name, None)
hasattr(batch, '_' + name)
g = getattr; g(batch, 'truth')
[getattr][0](batch, 'truth')
(getattr)(batch, f'{"tru"}th')
map(getattr, [batch], ['truth'])
batch.truth
batch.foreground
batch.keys
batch.index
b = batch; b.truth
type(batch).truth
type('X', (), {})
().__class__.__base__.__subclasses__()
(0).__class__.__mro__
''.__class__
print.__self__
print.__module__
images.__reduce_ex__(2)
images.__dict__
classifier.__class__.__call__
classifier.forward.__globals__
classifier.forward.__func__.__code__
classifier.forward.__closure__
(lambda: 0).__globals__
(lambda: 0).__code__
(lambda: 0).__builtins__
(x for x in ()).gi_frame
(x for x in ()).gi_frame.f_back
images.untyped_storage()
images.data_ptr()
images.share_memory_()
images.storage()
'{0.__class__}'.format(batch)
'{0.truth}'.format_map({})
str.format('{0.truth}', batch)
format(batch, '')
class A: __init_subclass__ = print
class A: __getattr__ = print
class A: __class_getitem__ = print
class A: __del__ = print
class A: __reduce__ = print
class A: __set_name__ = print
class A(metaclass=type): pass
class A(object, x=open): pass
@eval
def f(): pass
def __getattr__(name): return open
def f(x=open): pass
def f() -> open: pass
def f():\n    import os
def f():\n    def g():\n        exec('1')
if 0:\n    import os
try:\n    import os\nexcept ImportError:\n    pass
try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame
try:\n    1 / 0\nexcept Exception as e:\n    e.with_traceback(None)
match batch:\n    case object(truth=t):\n        pass
match batch:\n    case object(__class__=t):\n        pass
with open('x') as f: pass
[open for x in ()]
{open: 1}
f'{open("x")}'
f'{batch.truth}'
x = (y := open)
async def f(): await open('x')
lambda: open
*open,
del batch.truth
global open; open('x')
assert open('x')
while open('x'): pass
from benchmark.explainer import Explainer; Explainer.__call__ = print
from benchmark.explainer import Explainer; Explainer.attribute = print
from benchmark.explainer import Explainer; setattr(Explainer, 'name', 'x')
from benchmark.explainer import Explainer; Explainer.__subclasses__()
from benchmark.explainer import Explainer; Explainer.attribute.__globals__
import benchmark.explainer; benchmark.explainer.torch.load('x')
import benchmark.explainer as e; e.torch.load('x')
import benchmark.seeding; benchmark.seeding.np
import captum.attr; captum.attr.os
import zennit.core; zennit.core.torch.load('x')
import pytorch_grad_cam; pytorch_grad_cam.base_cam.np.load('x')
import skimage.util; skimage.util.np.load('x')
from torch.nn import Module; Module.__subclasses__()
from torch import nn; nn.functional.torch
from torch import Tensor as T; T.__base__
images.grad_fn.next_functions[0][0].saved_tensors
classifier.trunk.training
classifier.trunk._forward_hooks
classifier.register_forward_hook(print)
next(classifier.parameters()).data.add_(1)
classifier._modules
target.index
target.__dict__
target.group
type(target).__name__
hash(images)
id(batch)
repr(batch)
str(batch)
f'{batch}'
print(batch)
iter(batch)
images.names
images.is_shared()
images.cpu().numpy().base
images.cpu().numpy().data
object.__getattribute__(batch, 'truth')
super(type(batch), batch).truth
property(batch)
sorted([batch], key=open)
max(batch, key=eval)
"""


def evasions() -> list[str]:
    """Return the attempts as texts of their own."""
    lines = EVASIONS.strip("\n").split("\n")
    joined: list[str] = []
    for line in lines:
        # A decorator needs what it decorates.
        if joined and joined[-1].startswith("@") and "\n" not in joined[-1]:
            joined[-1] += "\n" + line
        else:
            joined.append(line.replace("\\n", "\n"))
    return joined
