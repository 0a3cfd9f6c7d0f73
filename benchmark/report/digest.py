"""The hash of everything that a report is made from, its own code included."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from benchmark.protocol import SanityProtocol
from benchmark.records.files import hash_files
from benchmark.records.identity import sha256_of
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.lookup import Protocols

# The whole engine counts: a list of the files that decide a byte of a report would be forgotten.
PACKAGE = Path(__file__).parents[1]


def report_digest(
    records: Sequence[FinishedCell],
    explained_models: Sequence[ExplainedModel],
    protocols: Protocols,
) -> str:
    """Return the hash of a report's inputs, of the engine's code and of its protocols' code."""
    return sha256_of(
        {
            "engine": hash_files(PACKAGE),
            "matplotlib": matplotlib.__version__,
            "records": [record.checksum for record in records],
            "explained_models": [_describe(model) for model in explained_models],
            # A list, since figures stand in the order of the protocols.
            "protocols": [[name, *_describe_protocol(kind)] for name, kind in protocols.items()],
        }
    )


def _describe_protocol(protocol: type[SanityProtocol[Any]]) -> list[object]:
    """Return a protocol's code, and its values, which a class made on the fly has alone."""
    values = [protocol.primary, protocol.chance, protocol.margin, repr(protocol.statistics)]
    module = sys.modules.get(protocol.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        return [protocol.title, *values]
    # The figures of a protocol may stand in any file of its package.
    return [hash_files(Path(file).parent if module.__package__ else Path(file)), *values]


def _describe(model: ExplainedModel) -> dict[str, object]:
    cohort = model.cohort
    return {
        "cohort": [cohort.name, cohort.fingerprint, cohort.geometry.oriented, *cohort.keys],
        "model": model.model,
        "logits": hash_array(model.evaluation.logits),
        "maps": [
            [name, model.polarities[name], hash_array(maps)]
            for name, maps in model.attributions.items()
        ],
        "exhibits": [
            [identity, {key: hash_array(array) for key, array in sorted(arrays.items())}]
            for identity, arrays in sorted(model.exhibits.items())
        ],
    }


def hash_array(array: npt.NDArray[np.generic]) -> str:
    """Return the SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
