"""What a run on a Ray cluster says where there is none."""

from __future__ import annotations

import socket
import threading

import pytest
from typer.testing import CliRunner

from benchmark.commands.app import app
from benchmark.errors import InputError
from benchmark.running.workers.cluster import connection


def call(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["run", "--explainer", "cam", *options])
    return result.exit_code, result.output


def answer_once(reply: bytes) -> int:
    """Return the port of something that gives one answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        with server, client:
            client.recv(64)
            client.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def test_a_run_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a missing extra is a traceback, or an address is silently ignored."""
    monkeypatch.setattr(connection, "find_spec", lambda _: None)
    code, output = call("--engine", "ray")
    assert (code, output) == (
        2,
        "Ray is not installed; `pip install 'medsanity[ray]'` installs it.\n",
    )
    code, output = call("--address", "127.0.0.1:6379")
    assert (code, output) == (2, "`--address` is of a Ray cluster; it goes with `--engine ray`.\n")


def test_a_wrong_address_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a mistyped address takes two minutes, and ends in a page of Ray's own words."""
    monkeypatch.setattr(connection, "find_spec", lambda _: "installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert connection.resolve_address(None) is None
    assert connection.resolve_address("auto") == "auto"
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    code, output = call("--engine", "ray", "--address", f"127.0.0.1:{free}")
    assert (code, output) == (
        2,
        f"No Ray cluster answers at 127.0.0.1:{free}: Connection refused.\n",
    )
    for mistyped in ("head", "ray://head:10001", "head:gcs"):
        with pytest.raises(InputError, match="Expected the address of a Ray cluster as HOST:PORT"):
            connection.resolve_address(mistyped)
    web = f"127.0.0.1:{answer_once(b'HTTP/1.1 505 ')}"
    monkeypatch.setenv("RAY_ADDRESS", web)
    with pytest.raises(InputError, match=f"What answers at {web} is no Ray cluster"):
        connection.resolve_address(None)
    ray = f"127.0.0.1:{answer_once(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))}"
    assert connection.resolve_address(ray) == ray
