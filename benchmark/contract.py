"""Contracts of plugins as a library: what ``check`` does, for anyone's own tests.

Under pytest it is one parametrised test::

    @pytest.mark.parametrize("check", checks_of(MyCAM), ids=str)
    def test_contract(check):
        check()

Each check is one clause of the contract. Calling it raises ``ContractError``, which says what is
broken and how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.cohort_source import CohortSource
from benchmark.errors import PluginError
from benchmark.explainer import Explainer
from benchmark.model_source import ModelSource
from benchmark.plugins.blame import file_of
from benchmark.plugins.clause import Check, Finding
from benchmark.plugins.examples import Example, build_examples
from benchmark.plugins.explainer_contract import ExplainerContract
from benchmark.plugins.protocol_contract import ProtocolContract
from benchmark.plugins.source_contract import CohortContract, ModelContract
from benchmark.protocol import SanityProtocol

__all__ = ["checks_of", "run_checks"]


def checks_of(plugin: type, examples: Sequence[Example] | None = None) -> tuple[Check, ...]:
    """Return the clauses of a plugin's contract, each to be called by itself.

    Args:
        plugin: Class of an explainer, model source, cohort source or protocol.
        examples: Models and images that an explainer is checked on; a small conv net and a small
            transformer, for images and for volumes, unless given.

    Raises:
        PluginError: If it is none of these.
    """
    name, file = getattr(plugin, "name", plugin.__name__), file_of(plugin)

    def build(*config: object) -> Any:  # noqa: ANN401 - of the plugin's own kind
        instance = plugin(*config)
        # The catalogue names a class that does not do so itself.
        instance.name = name
        return instance

    if issubclass(plugin, Explainer):
        examples = build_examples() if examples is None else examples
        return ExplainerContract(build, name, examples, file).checks
    if issubclass(plugin, ModelSource):
        return ModelContract(build, name, file).checks
    if issubclass(plugin, CohortSource):
        return CohortContract(build, name, file).checks
    if issubclass(plugin, SanityProtocol):
        return ProtocolContract(lambda: build(plugin.Config()), name, file).checks
    raise PluginError(
        f"{plugin.__name__} is no plugin: subclass Explainer, ModelSource, CohortSource or "
        "SanityProtocol."
    )


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Return what each check finds; after a broken basis the others are not asked."""
    findings: list[Finding] = []
    broken = ""
    for check in checks:
        finding = Finding(check, "not asked", f"{broken!r} is broken") if broken else check.find()
        if finding.state == "broken" and check.clause.basis and not finding.partial:
            broken = check.name
        findings.append(finding)
    return findings
