"""Connects this process with a Ray cluster, and says within seconds where that is impossible."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from benchmark.errors import InputError, short_message

AUTO = "auto"
_SECONDS = 5.0  # in which a cluster must answer
# What a client of HTTP/2 says first, and what a server that knows it answers with.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4


def resolve_address(address: str | None) -> str | None:
    """Return the address of the cluster to use, or None for one that is started on this machine.

    Args:
        address: ``host:port``, or ``auto`` for the cluster that this machine belongs to; without,
            what the environment variable ``RAY_ADDRESS`` says, which Ray sets for its jobs.

    Raises:
        InputError: If Ray is not installed, or nothing answers at the address.
    """
    if find_spec("ray") is None:
        raise InputError("Ray is not installed; `pip install 'medsanity[ray]'` installs it.")
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address not in (None, AUTO, "local"):
        _check(address)
    return None if address == "local" else address


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected with a cluster inside, unless this process is connected with one already.

    Args:
        address: Address that ``resolve_address`` has returned.

    Raises:
        InputError: If there is no cluster, or one of another version of Ray or Python.
    """
    import ray  # an extra that few installations have

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody else
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (Exception, SystemExit) as error:
        where = f"the cluster at {address}" if address else "Ray on this machine"
        raise InputError(f"Cannot connect with {where}: {short_message(error)}") from error
    # Lost machines are told of by the run; Ray would print pages of their logs between its lines.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Refuse an address at which no cluster answers; Ray itself would try for two minutes.

    Raises:
        InputError: If it is none, or nothing that a cluster would say comes back.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise InputError(
            f"Expected the address of a Ray cluster as HOST:PORT or {AUTO!r}, but got {address!r}."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as connection:
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"No Ray cluster answers at {address}: {reason}.") from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise InputError(f"What answers at {address} is no Ray cluster.")
