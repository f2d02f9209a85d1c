"""What the declarations say of a model's requests: which names may be there, which may be null, which values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from policies.declarations.drift import Column, SchemaDrift
from tools.serving.features import LARGEST, FeatureSchema, Limits

if TYPE_CHECKING:
    from policies.declarations import Operations


@dataclass(frozen=True)
class Contract:
    """The declared columns, by name, and the names beside the model's features that a caller may send, unread."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    carried: frozenset[str] = frozenset()

    @classmethod
    def of(cls, operations: Operations, model: str) -> Contract:
        """The schemas that the model's monitors validate, and its binding. Raises InputError for an unknown model."""
        binding = operations.model(model)
        columns: dict[str, Column] = {}
        for monitor in operations.monitors_of(model):
            for check in operations.drift_monitors[monitor].monitors:
                if isinstance(check, SchemaDrift):
                    columns |= operations.schemas[check.expected_schema].columns
        return cls(columns, frozenset({*columns, *binding.features.names, binding.id, binding.time}))

    def bound_to(self, schema: FeatureSchema) -> FeatureSchema:
        """The model's schema with what the contract adds to it. A number is never beyond single precision."""
        declared = {name: self.columns[name] for name in schema.order if name in self.columns}
        limits = Limits(
            known=self.carried.union(schema.order),
            not_null=frozenset(name for name, column in declared.items() if not column.nullable),
            whole=frozenset(name for name in schema.numeric if name in declared and declared[name].type == "integer"),
            ranges=tuple(_range(declared.get(name)) for name in schema.numeric),
            categories=tuple(_categories(declared.get(name)) for name in schema.categorical),
        )
        return replace(schema, limits=limits)


def _range(column: Column | None) -> tuple[float, float]:
    low, high = (column.range if column else None) or (None, None)
    return -LARGEST if low is None else low, LARGEST if high is None else high


def _categories(column: Column | None) -> frozenset[str] | None:
    return None if column is None or column.categories is None else frozenset(column.categories)
