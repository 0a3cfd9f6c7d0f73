"""Equal parts of many records, each of which is kept in memory once."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from typing import TypeVar

from benchmark.records.identity import StrictModel

ModelT = TypeVar("ModelT", bound=StrictModel)
# A suite has some hundred methods and protocols; a part that one record alone has is forgotten.
_MOST_PARTS = 1000


class SharedParts:
    """Parts that records have in common, such as provenance, plugins and names.

    A record that is read from a file has copies of its own of them, which take more memory than
    what differs between records.
    """

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[type[StrictModel], bytes], StrictModel] = OrderedDict()
        self._field_names: dict[frozenset[str], set[str]] = {}

    def with_shared_fields(self, model: ModelT) -> ModelT:
        """Return an equal model whose texts, and models within it, are those of earlier ones."""
        values = {name: self._shared(value) for name, value in model}
        # Pydantic keeps the names of fields that were set, in a set of its own for each model.
        fields = frozenset(model.model_fields_set)
        names = self._field_names.setdefault(fields, set(fields))
        return type(model).model_construct(_fields_set=names, **values)

    def _shared(self, value: object) -> object:
        if isinstance(value, str):
            return sys.intern(value)
        if isinstance(value, tuple):
            return tuple(map(self._shared, value))
        if not isinstance(value, StrictModel):
            return value
        key = type(value), hashlib.sha256(value.model_dump_json().encode()).digest()
        if key not in self._parts:
            self._parts[key] = self.with_shared_fields(value)
            if len(self._parts) > _MOST_PARTS:
                self._parts.popitem(last=False)
        self._parts.move_to_end(key)
        return self._parts[key]
