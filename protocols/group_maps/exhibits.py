"""Images of the population: what is kept of a method's maps for pictures and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from benchmark.cohort import Geometry
from benchmark.protocol import Exhibit, Volume
from protocols.group_maps.findings import Findings

_DESCRIPTIONS = {
    "D": "mean map of A minus B, in units of T",
    "t": "t of A minus B given covariates",
    "p_fwe": "p, family-wise error rate (max-T)",
    "p_tfce": "p, family-wise error rate (TFCE)",
    "q_fdr": "q, false discovery rate",
}


def exhibit_of(findings: Findings) -> dict[str, npt.NDArray[np.generic]]:
    """Return images in the common space, each [1, 1, *S], for pictures and files.

    Maps and differences are in units of T. ``p_fwe``, ``p_tfce`` and ``q_fdr`` are 1 where nothing
    was tested; ``p_tfce`` is left out where it is not asked for.
    """
    people, test = findings.setting.people, findings.tests["adjusted"]
    groups, geometry, unit = people.groups, people.cohort.geometry, findings.separation
    adjusted = findings.adjusted
    values = {
        "D": findings.own.recovery.difference / unit,
        "t": test.t,
        "mean_A": adjusted[groups == 0].mean(0) / unit,
        "mean_B": adjusted[groups == 1].mean(0) / unit,
        "change": people.change.astype(np.float64),
    }
    copies = [arm for name, arm in findings.arms.items() if name.startswith("copy")]
    if copies:
        values["D_copy"] = copies[0].recovery.difference / unit
    placed: dict[str, npt.NDArray[np.generic]] = {
        name: people.in_place(array) for name, array in values.items()
    }
    tested = {"p_fwe": test.p_fwe, "q_fdr": test.q}
    if findings.p_tfce is not None:
        tested["p_tfce"] = findings.p_tfce
    placed |= {name: people.in_place(p, beyond=1.0) for name, p in tested.items()}
    return {
        **placed,
        "image": people.mean_image[None, None].astype(np.float32),
        "inside": people.voxels[None, None],
        "affines": geometry.affine[None],
        "oriented": np.array(geometry.oriented),
    }


def group_volumes(exhibits: Mapping[str, Exhibit]) -> Iterator[Volume]:
    """Yield D, t, FWE p and FDR q of each method, and p by TFCE where it was asked for."""
    for method, exhibit in exhibits.items():
        if "D" not in exhibit:
            continue
        spacing = tuple(np.asarray(exhibit["spacing"], dtype=np.float64).tolist())
        affine = np.asarray(exhibit["affines"], dtype=np.float64)[0]
        geometry = Geometry(spacing, affine, oriented=bool(exhibit["oriented"]))
        for name, description in _DESCRIPTIONS.items():
            if name not in exhibit:
                continue
            values = np.asarray(exhibit[name], dtype=np.float32)
            yield Volume(f"{method}_{name}", f"{method}: {description}", values, geometry)
