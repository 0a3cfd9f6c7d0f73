"""The engine of medsanity: it knows no concrete explainer, model, cohort or protocol.

What is public can be imported from here as well as from its module: ``docs/api.md`` lists it. The
module is imported when a name of it is first used, so that ``import benchmark`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers see of what is imported on first use
    from benchmark.classifier import *  # noqa: F403
    from benchmark.cohort import *  # noqa: F403
    from benchmark.cohort_source import *  # noqa: F403
    from benchmark.concept import *  # noqa: F403
    from benchmark.contract import *  # noqa: F403
    from benchmark.errors import *  # noqa: F403
    from benchmark.explainer import *  # noqa: F403
    from benchmark.feature_grid import *  # noqa: F403
    from benchmark.model_source import *  # noqa: F403
    from benchmark.protocol import *  # noqa: F403
    from benchmark.reading import *  # noqa: F403
    from benchmark.seeding import *  # noqa: F403
    from benchmark.target import *  # noqa: F403
    from benchmark.training import *  # noqa: F403
    from benchmark.trial import *  # noqa: F403

_PUBLIC = {
    "explainer": "Control Explainer Polarity importance",
    "protocol": "Badge Drawing Exhibit ProtocolConfig SanityProtocol Table Volume",
    "reading": (
        "Aggregate Condition Direction Plot Reading Sample State Statistic Verdict "
        "distributions find interval statistic subject_means summarise summarise_all"
    ),
    "contract": "checks_of run_checks",
    "feature_grid": "FeatureGrid trace_grid upsample upsample_aligned",
    "cohort": "SPLITS Anatomy Batch Cohort Geometry References Source split_by_subject",
    "cohort_source": "CohortSource",
    "concept": "Concept ConceptImages DeferredConcepts",
    "model_source": "ModelSource",
    "target": "ClassLogit Margin Projection Target own_margin",
    "errors": (
        "AttributionError ClassifierError CohortError ContractError DeviceError InputError "
        "NotAssessableError PluginError SanityError StoreError SuiteError UnknownNameError "
        "UnsupportedError"
    ),
    "seeding": "seed_of stream torch_stream",
    "classifier": "Classifier GlobalAveragePool PassCounter PrefixMemory Preprocessing Stage",
    "training": (
        "LONGEST_MEMORISING Recipe fine_tune fit_probe load_weights logistic_regression "
        "memorise permuted recipe_card save_weights train_from_scratch training_accuracy"
    ),
    "trial": (
        "LABEL_MODEL NULL_COPIES RANDOM_COPIES REESTIMATION_IMAGES ArrayArchive Keeping Memorised "
        "Memory Need NullMaps Peers Retrained Runtime Study Trial null_maps remembered"
    ),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = [*_MODULE_OF]


def __getattr__(name: str) -> Any:  # noqa: ANN401 # whatever is public
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
