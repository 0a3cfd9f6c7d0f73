"""What a worker answers is read as what a stranger wrote: bounded, checked, never unpickled."""

from __future__ import annotations

import pickle
import struct
import sys
from hashlib import sha256

import numpy as np
import pytest
import torch
from direct_worker import DirectConnection

from benchmark.cohort import Batch
from benchmark.errors import PluginError
from benchmark.plugins.examples import build_classifier
from benchmark.target import own_margin
from leaderboard.submission.isolation import host as hosts
from leaderboard.submission.isolation import sandbox
from leaderboard.submission.isolation.connection import Allowance, Connection, WorkerError
from leaderboard.submission.isolation.host import Host, Source
from leaderboard.submission.isolation.proxy import proxy_of
from leaderboard.submission.isolation.system_calls import build_filter
from leaderboard.submission.isolation.wire import REPLY

HEADER = b'{"passes": [1, 1]}'
READY = REPLY.pack(2, 0) + b"{}"
MAPS = 64


def reply(header: bytes, payload: bytes = b"") -> bytes:
    return REPLY.pack(len(header), len(payload)) + header + payload


def connect(answer: bytes, monkeypatch: pytest.MonkeyPatch, then: str = "") -> Connection:
    """Return a connection to a process that answers every request in the same way."""
    script = (
        "import sys, time\nfrom_parent, out = sys.stdin.buffer, sys.stdout.buffer\n"
        "size = int.from_bytes(from_parent.read(8), 'little'); from_parent.read(size)\n"
        f"out.write({READY!r}); out.flush()\n"
        "size = int.from_bytes(from_parent.read(8), 'little'); from_parent.read(size)\n"
        f"out.write({answer!r}); out.flush()\n{then}\n"
    )
    monkeypatch.setattr(sandbox, "python", lambda: [sys.executable, "-c", script])
    return Connection(Allowance(2, 60, 4), walled=False)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff" * 100,
        REPLY.pack(2**32 - 1, 0),
        REPLY.pack(len(HEADER), 2**63) + HEADER,
        reply(HEADER, bytes(MAPS - 1)),
        reply(HEADER, bytes(MAPS + 1)),
        reply(b"[]", bytes(MAPS)),
        reply(b"\xff\xfe", bytes(MAPS)),
        reply(b'{"passes": [NaN, 1]}', bytes(MAPS)),
        reply(b"[" * 60_000, bytes(MAPS)),
        reply(b'{"a": ' + b"9" * 9_000 + b"}", bytes(MAPS)),
        reply(pickle.dumps(print), bytes(MAPS)),
    ],
    ids=[
        *("noise", "endless header", "endless maps", "short maps", "long maps", "no object"),
        *("no text", "NaN", "nested", "long number", "a pickle"),
    ],
)
def test_an_answer_that_is_none_ends_the_worker(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, what a plugin writes steers, fills or crashes whoever judges it."""
    connection = connect(answer, monkeypatch, "time.sleep(60)")
    with pytest.raises(WorkerError) as caught:
        connection.ask("explain", MAPS)
    assert caught.value.name == "worker-garbage"
    assert connection.fault is caught.value


def test_half_an_answer_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin that stops in the middle of a map stops the verifier."""
    half = reply(HEADER, bytes(MAPS))[:-10]
    slow = connect(half, monkeypatch, "time.sleep(60)")
    with pytest.raises(WorkerError) as caught:
        slow.ask("explain", MAPS)
    assert caught.value.name == "rerun-timeout"
    gone = connect(half, monkeypatch)
    with pytest.raises(WorkerError) as caught:
        gone.ask("explain", MAPS)
    assert caught.value.name == "rerun-failed"


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("sys.stderr.write('\\x1b[31mout of ideas\\n'); sys.exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os._exit(0)", "exit code 0"),
    ],
)
def test_a_worker_that_ends_is_told_with_its_last_words(
    then: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, nobody learns why a cell could not be run again, or a crash passes."""
    connection = connect(b"", monkeypatch, then)
    with pytest.raises(WorkerError) as caught:
        connection.ask("explain", MAPS)
    assert caught.value.name == "rerun-failed"
    assert told in caught.value.detail
    assert caught.value.detail.isprintable()


METHOD = '''
import torch
from benchmark.explainer import Explainer


class Mine(Explainer):
    """The image, and whatever the test says."""

    name = "mine"
    calls = [0]

    {body}
'''
STATEFUL = """def attribute(self, classifier, images, target):
        classifier.feature_maps(images)
        self.calls[0] += 1
        return images * (1 if self.calls[0] < 2 else -1)
"""
HONEST = """def attribute(self, classifier, images, target):
        classifier.feature_maps(images)
        return images * 2.0
"""


def open_method(source: str, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(hosts, "Connection", DirectConnection)
    content = source.encode()
    method = Source("mine.py", content, "Mine", sha256(content).hexdigest())
    return Host(method, Allowance(60, 60, 4))


def batch_of(count: int) -> Batch:
    images = torch.from_numpy(np.random.default_rng(0).random((count, 1, 24, 24), dtype=np.float32))
    keys = tuple(map(str, range(count)))
    return Batch(np.arange(count), keys, images, images > 0, None)


def test_a_map_that_depends_on_when_it_is_asked_for_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, a plugin tells protocols apart by counting, and serves each another map."""
    classifier, target = build_classifier(2), own_margin(0)
    honest = open_method(METHOD.format(body=HONEST), monkeypatch)
    proxy = proxy_of(honest)()
    proxy(classifier, batch_of(6), target)
    honest.ask_again(6)
    assert honest.fault is None
    stateful = open_method(METHOD.format(body=STATEFUL), monkeypatch)
    monkeypatch.setattr(hosts, "_BETWEEN_REPEATS", 10**9)
    proxy = proxy_of(stateful)()
    proxy(classifier, batch_of(6), target)
    with pytest.raises(WorkerError, match="map-differs"):
        stateful.ask_again(6)


def test_images_reach_a_worker_in_an_order_that_it_cannot_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, a plugin tells subjects apart by their place."""
    host = open_method(METHOD.format(body=HONEST), monkeypatch)
    orders: list[bytes] = []
    asked = DirectConnection.ask

    def listen(self: DirectConnection, name: str, expected: int = 0, /, **given: object) -> object:
        if name == "explain":
            orders.append(np.asarray(given["images"]).tobytes())
        return asked(self, name, expected, **given)

    monkeypatch.setattr(DirectConnection, "ask", listen)
    batch = batch_of(12)
    for _ in range(3):
        maps = proxy_of(host)()(build_classifier(2), batch, own_margin(0))
        assert torch.equal(maps, batch.images * 2.0)
    assert len(set(orders)) == len(orders)
    assert batch.images.numpy().tobytes() not in orders


@pytest.mark.parametrize(
    "body",
    [
        'name = "../../etc/passwd"',
        'name = "mine\\u202e"',
        "version = 7",
        f'version = "{"9" * 1000}"',
        'polarity = "both"',
        "passes = (-1, 10**30)",
        "dimensions = (4,)",
        'family = "\\ud800"',
    ],
)
def test_what_a_method_says_of_itself_is_checked(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a record, a folder or a page is called by what a stranger chose."""
    with pytest.raises(PluginError) as caught:
        open_method(METHOD.format(body=f"{body}\n    {HONEST}"), monkeypatch)
    assert str(caught.value).isprintable()


def test_a_config_that_no_record_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin writes a gigabyte, or a tensor, into a record."""
    for config in ('{"a": "b" * 10_000}', '{"a": [1]}', "{str(i): i for i in range(99)}"):
        body = f"config = {config}\n    {HONEST}"
        host = open_method(METHOD.format(body=body), monkeypatch)
        with pytest.raises(PluginError, match="cannot be used"):
            proxy_of(host)()


def test_the_filter_of_system_calls_is_whole() -> None:
    """If it fails, a jump of the filter leads past a refusal, and a worker may fork."""
    assert build_filter("a machine of tomorrow") is None
    for machine in ("x86_64", "aarch64"):
        program = build_filter(machine)
        assert program is not None
        steps = [struct.unpack("<HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
        assert verdict(steps, machine, 0) == "allow"
        fork, thread = (56, 220)[machine != "x86_64"], 0x10000
        assert verdict(steps, machine, fork, 17) == "refuse"
        assert verdict(steps, machine, fork, thread | 17) == "allow"
        assert verdict(steps, machine, 435) == "refuse"
        assert verdict(steps, machine, (101, 117)[machine != "x86_64"]) == "refuse"
        assert verdict(steps, "i386", 2) == "kill"


def verdict(
    steps: list[tuple[int, int, int, int]], machine: str, number: int, flags: int = 0
) -> str:
    """Return what a filter says to a call, step by step as the kernel takes them."""
    data = {0: number, 4: {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(machine, 0), 16: flags}
    at, value = 0, 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x20:
            value = data[operand]
        elif code == 0x06:
            kinds = {0x7FFF0000: "allow", 0x80000000: "kill", 0x00050000: "refuse"}
            return kinds[operand & 0xFFFF0000]
        else:
            is_true = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            at += if_true if is_true[code] else if_false
