"""What a method cannot do in a worker: each attempt is made by a real one, behind real walls."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.maps import ranking
from benchmark.plugins.examples import build_classifier, build_transformer
from benchmark.target import own_margin
from benchmark.training.threads import torch_threads
from leaderboard.submission.isolation import sandbox
from leaderboard.submission.isolation.availability import available
from leaderboard.submission.isolation.connection import Allowance, Connection, WorkerError
from leaderboard.submission.isolation.host import Host, Source
from leaderboard.submission.isolation.proxy import proxy_of

pytestmark = pytest.mark.skipif(available() is not None, reason=f"no isolation: {available()}")

ATTEMPTS = '''
import ctypes, importlib, os, pathlib, socket, sys, threading
import torch
from benchmark.explainer import Explainer


def network():
    with socket.socket() as made:
        made.connect(("127.0.0.1", 22))


def cohort():
    importlib.import_module("baselines.cohorts.phantom").Phantom().load()


def protocol():
    importlib.import_module("protocols")


def controls():
    return importlib.import_module("baselines.explainers.controls").Oracle


def files():
    """Look for whatever holds the truth, weights or records, wherever it may lie."""
    wanted, seen = ("phantom", "hippocampus", ".safetensors", "icbm", "suite.toml"), []
    for folder in ("/package", "/tmp", "/root", "/home", "/work", *sys.path):
        for path, _, names in os.walk(folder):
            seen += [f"{path}/{name}" for name in names if name.endswith((".npz", ".npy", ".gz"))
                     and any(each in name.lower() for each in wanted)]
            seen += [f"{path}/{name}" for name in names if name.endswith((".safetensors", ".toml"))
                     and path.startswith("/package")]
    raise FileNotFoundError(seen)


def processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def trace():
    library = ctypes.CDLL(None, use_errno=True)
    if library.ptrace(16, os.getppid(), 0, 0):
        raise PermissionError(ctypes.get_errno(), "ptrace")


def parent():
    return pathlib.Path(f"/proc/{os.getppid()}/mem").open("rb").read(1)


def write():
    places = ["/", "/usr", "/etc", "/dev", "/package", "/package/benchmark", sys.prefix, "/root",
              sys.base_prefix, os.path.dirname(torch.__file__), "/package/baselines/models/data"]
    for place in places:
        try:
            pathlib.Path(place, "left_behind").write_text("here")
        except OSError:
            continue
        return place
    raise PermissionError("nowhere")


def disk():
    with pathlib.Path("/dev/shm/large").open("wb") as file:
        for _ in range(600):
            file.write(bytes(2**20))


def hidden_memory():
    return os.memfd_create("hidden")


def fork():
    return os.fork()


def program():
    return os.posix_spawn("/usr/bin/true", ["true"], {})


def threads():
    """Start threads without end; each costs address space."""
    wait = threading.Event()
    try:
        while True:
            threading.Thread(target=wait.wait, daemon=True).start()
    finally:
        wait.set()


def memory():
    return len(bytearray(100 * 2**30))


def secrets():
    raise KeyError(sorted(os.environ))


def user():
    os.setuid(0)


def judge():
    """Replace what scores maps, and what compares them."""
    from benchmark.maps import ranking
    for name in dir(ranking):
        if name.startswith(("average", "mean", "precision", "pointing")):
            setattr(ranking, name, lambda *_, **__: 1.0)
    torch.equal = lambda *_: True


class Mine(Explainer):
    """The gradient, and an attempt."""

    name = "mine"

    def __init__(self, attempt: str = "") -> None:
        self.attempt = attempt

    @property
    def config(self):
        """The attempt."""
        return {"attempt": self.attempt}

    def supports(self, classifier):
        """Make the attempt, and tell what came of it."""
        try:
            return f"made it: {globals()[self.attempt]()}"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:390]

    def attribute_batch(self, classifier, batch, target):
        """Tell all of a batch that is no image."""
        if self.attempt == "batch":
            parts = {name: value for name, value in vars(batch).items() if name != "images"}
            parts["foreground"] = bool(parts["foreground"].all())
            parts["name"] = classifier.name
            raise ValueError(str(parts).replace("\\n", " "))
        return self.attribute(classifier, batch.images, target)

    def attribute(self, classifier, images, target):
        """Return the gradient."""
        leaf = images.detach().clone().requires_grad_()
        return torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0]
'''


class Plain(Explainer):
    """The same gradient in this process."""

    name = "plain"

    def attribute(
        self, classifier: Classifier, images: torch.Tensor, target: object
    ) -> torch.Tensor:
        """Return the gradient."""
        leaf = images.detach().clone().requires_grad_()
        score = target(*classifier(leaf)).sum()  # type: ignore[operator]
        return torch.autograd.grad(score, leaf)[0]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One worker for all attempts that leave it alive."""
    content = ATTEMPTS.encode()
    made = Host(
        Source("mine.py", content, "Mine", sha256(content).hexdigest()), Allowance(60, 300, 4)
    )
    yield made
    made.close()


def batch_of(count: int, classifier: Classifier) -> Batch:
    generator = np.random.default_rng(0)
    shape = (count, 1, *classifier.input_shape)
    images = torch.from_numpy(generator.random(shape, dtype=np.float32))
    marks = images > 0.9
    names = tuple(f"sub-{index:02}" for index in range(count))
    return Batch(np.arange(count) + 40, names, images, marks, marks, None, images, marks, images)


@pytest.mark.parametrize(
    ("attempt", "answers"),
    [
        ("network", ("PermissionError", "OSError")),
        ("cohort", ("ModuleNotFoundError",)),
        ("protocol", ("ModuleNotFoundError",)),
        ("controls", ("AttributeError", "ModuleNotFoundError")),
        ("files", ("FileNotFoundError: []",)),
        ("processes", ("made it: [1, 2]",)),
        ("trace", ("PermissionError",)),
        ("parent", ("PermissionError", "FileNotFoundError")),
        ("write", ("PermissionError: nowhere",)),
        ("disk", ("OSError",)),
        ("hidden_memory", ("PermissionError",)),
        ("fork", ("PermissionError",)),
        ("program", ("PermissionError",)),
        ("memory", ("MemoryError",)),
        ("threads", ("RuntimeError",)),
        # EINVAL where the verifier itself is no root, so that no user 0 exists.
        ("user", ("PermissionError", "OSError")),
    ],
)
def test_an_attempt_comes_to_nothing(attempt: str, answers: tuple[str, ...], host: Host) -> None:
    """If it fails, a submitted file reads the truth, reaches the network or harms the verifier."""
    proxy = proxy_of(host)(attempt=attempt)  # type: ignore[call-arg]
    answer = proxy.supports(build_classifier(2))
    assert answer is not None
    assert answer.startswith(answers), answer


def test_a_worker_holds_no_secret(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin reads the verifier's tokens from the environment."""
    proxy = proxy_of(host)(attempt="secrets")  # type: ignore[call-arg]
    answer = str(proxy.supports(build_classifier(2)))
    known = {"HOME", "TMPDIR", "PATH", "USER", "PYTHONPATH", "PYTHONUTF8", "PWD", "LC_CTYPE"}
    known |= {"PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"}
    told = set(answer.partition("[")[2].rstrip("]").replace("'", "").split(", "))
    # What libraries set for themselves.
    assert {name for name in told if not name.startswith(("TORCH", "KMP_", "MALLOC"))} <= known


def test_what_scores_maps_is_out_of_reach(host: Host) -> None:
    """If it fails, a plugin replaces the score that it is judged by, and is ranked first."""
    before = {name: getattr(ranking, name) for name in dir(ranking)}
    proxy_of(host)(attempt="judge").supports(build_classifier(2))  # type: ignore[call-arg]
    assert {name: getattr(ranking, name) for name in dir(ranking)} == before
    assert not torch.equal(torch.zeros(1), torch.ones(1))


def test_a_batch_holds_nothing_but_images(host: Host) -> None:
    """If it fails, a plugin reads the planted site or the subject off the batch, and scores 1."""
    classifier = build_classifier(2)
    classifier.name = "network~3"
    proxy = proxy_of(host)(attempt="batch")  # type: ignore[call-arg]
    with pytest.raises(AttributionError) as caught:
        proxy(classifier, batch_of(3, classifier), own_margin(0))
    told = str(caught.value)
    for part in ("truth", "change", "regions", "deviation", "references"):
        assert f"'{part}': None" in told
    assert "'foreground': True" in told
    assert "array([0, 0, 0])" in told
    assert "sub-" not in told
    assert "'name': 'network'" in told
    assert "mine.py:" in told


@pytest.mark.parametrize("build", [build_classifier, build_transformer])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_maps_are_those_of_a_plain_run_to_the_bit(build: type, dimensions: int, host: Host) -> None:
    """If it fails, an honest method gets other scores in verify than in run."""
    classifier = build(dimensions)
    batch, target = batch_of(16, classifier), own_margin(1)
    plain = Plain()(classifier, batch, target)
    before = classifier.passes.snapshot()
    proxy = proxy_of(host)()
    assert torch.equal(proxy(classifier, batch, target), plain)
    spent = classifier.passes.since(before)
    assert (spent.forward, spent.backward) == (16, 16)
    # A network that is written into is another one.
    with torch.no_grad():
        next(classifier.head.parameters()).mul_(2)
    assert torch.equal(proxy(classifier, batch, target), Plain()(classifier, batch, target))
    host.ask_again(8)
    assert host.fault is None


def test_maps_are_drawn_by_as_many_threads_as_in_a_plain_run(host: Host) -> None:
    """If it fails, half a lane, which runs on one thread, has other maps in verify than in run."""
    classifier = SmallResNet().load((96, 96))
    batch, target, proxy = batch_of(8, classifier), own_margin(1), proxy_of(host)()
    for threads in (1, 2):
        with torch_threads(threads):
            assert torch.equal(proxy(classifier, batch, target), Plain()(classifier, batch, target))


def children() -> set[int]:
    """Return all descendants of this process that bubblewrap walled in or is."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if fields[0] != "Z":
                parents[int(path.name)] = int(fields[1])
    found = {os.getpid()}
    for _ in range(8):
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found - {os.getpid()}


def test_who_sleeps_for_ever_is_ended_and_nothing_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin keeps the verifier's machine for itself, or lives on there."""
    before = children()
    ready = "sys.stdout.buffer.write(b'\\x02\\0\\0\\0' + bytes(8) + b'{}'); sys.stdout.flush();"
    script = f"import sys, time; sys.stdin.buffer.read(9); {ready} time.sleep(600)"
    monkeypatch.setattr(sandbox, "python", lambda: [sys.executable, "-c", script])
    connection = Connection(Allowance(0.5, 60, 4))
    started = children() - before
    assert started
    start = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        connection.ask("explain", 0)
    assert caught.value.name == "rerun-timeout"
    assert time.monotonic() - start < 30
    for _ in range(100):
        if not started & children():
            break
        time.sleep(0.05)
    assert not started & children()
    with pytest.raises(WorkerError, match="rerun-timeout"):
        connection.ask("explain", 0)
