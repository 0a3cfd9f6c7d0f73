"""The gate as a pytest fixture, found by pytest through an entry point.

::

    def test_my_cam_is_as_faithful_as_before(medsanity_gate):
        medsanity_gate("my_method.py:MyCAM", baseline="baseline", protocols=["roi_pointing"])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.fixture
def medsanity_gate() -> Callable[..., None]:
    """Return ``fail_if_worse``."""
    return fail_if_worse


def fail_if_worse(
    explainer: str,
    baseline: str | Path,
    protocols: Sequence[str] = (),
    model: str | None = None,
    margin: float = 0.1,
    suite: str = "v1",
    device: str = "auto",
    allow_missing: bool = False,
) -> None:
    """Fail the test where an explainer got worse than its baseline, or that is not certain.

    Args:
        explainer: Name, or path/to/file.py:Class.
        baseline: Folder of published records, or a store.
        protocols: Names of protocols; the suite's unless given.
        model: Name or path of a model; the suite's unless given.
        margin: Largest loss that is no regression, as a share of what the method had above noise.
        suite: Version, or path of a ``.toml`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
        allow_missing: Whether cells without a baseline are left out; else they are an error.

    Raises:
        InputError: If something is unknown, or there is no baseline.
    """
    # Here, since pytest imports this file whether or not a test asks for the gate.
    from benchmark.running import device as devices
    from benchmark.running import engine
    from benchmark.running import suite as suites
    from leaderboard.gate import measure, report

    models = () if model is None else (model,)
    selection = suites.Selection((explainer,), models=models, protocols=tuple(protocols))
    settings = engine.Settings(devices.resolve_device(device))
    request = measure.Request(
        Path(baseline), suites.load_suite(suite), selection, settings, None, margin, allow_missing
    )
    compared = measure.compare(request)
    if report.exit_code(compared) != 0:
        pytest.fail("\n".join(report.lines(compared)), pytrace=False)
