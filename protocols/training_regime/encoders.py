"""Other encoders of the same recipe, on which a regime is to show the same."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import InputError
from benchmark.model_source import load_fitted
from benchmark.trial import Trial


def checksums_of(files: Sequence[str]) -> tuple[str, ...]:
    """Return the SHA-256 of each model file together with the weights that it names.

    Raises:
        InputError: If a file is no ``model.toml`` that can be read, or its weights are not there.
    """
    return tuple(_checksum(Path(file)) for file in files)


def _checksum(file: Path) -> str:
    if file.suffix != ".toml":
        raise InputError(
            f"The setting 'encoders' of training_regime names {str(file)!r}, but expected paths of "
            "model files such as encoder_2.toml."
        )
    try:
        text = file.read_bytes()
        weights = tomllib.loads(text.decode()).get("weights")
        kept = file.parent / weights if isinstance(weights, str) else None
        digest = hashlib.sha256(text)
        if kept is not None and kept.is_file():
            digest.update(kept.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"The setting 'encoders' of training_regime names {str(file)!r}, which cannot be read: "
            f"{error}."
        ) from error
    return digest.hexdigest()


def other_trials(trial: Trial, files: Sequence[str]) -> dict[str, Trial]:
    """Return the trial on the model of each file, by the file's name without ending.

    Raises:
        InputError: If a model cannot be loaded, or its encoder is one that is there already.
    """
    if not files:
        return {}
    # Here, since they import all plugins, and all that trains an experiment.
    from benchmark.plugins.catalogue import Catalogue
    from benchmark.running.experiment import encoder_sha256

    known = {encoder_sha256(trial.classifier): "the model on trial"}
    trials: dict[str, Trial] = {}
    for file in files:
        source = Catalogue().models.find(file).plugin()
        classifier = load_fitted(source, trial.cohort, trial.runtime.device)
        first = known.setdefault(encoder_sha256(classifier), file)
        if first != file or Path(file).stem in trials:
            raise InputError(
                f"The setting 'encoders' of training_regime names {file!r}, whose encoder or name "
                f"is that of {first}; each must be another training of the same recipe."
            )
        trials[Path(file).stem] = trial.on(classifier=classifier)
    return trials
