"""What the declarations say of a model's requests: which columns may come along, which may be null, which values.

A request that is wrong whatever the world does (an unknown name, a null that is declared impossible, a number no
model computes with) is refused. A value outside its declared range and a category that is not declared are something
else: often the first sign that the world or an upstream system changed, for every caller at once, and to refuse them
would turn drift into an outage. They are served, counted by variant and field, and named in the prediction log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from policies.declarations.drift import Column, SchemaDrift
from tools.serving.features import LARGEST, FeatureSchema, Limits

if TYPE_CHECKING:
    from policies.declarations import Operations


@dataclass(frozen=True)
class Contract:
    """The declared columns, by name, and the names beside the features that a caller may send without harm."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    carried: frozenset[str] = frozenset()

    @classmethod
    def of(cls, operations: Operations, model: str) -> Contract:
        """The contracts that the model's monitors validate, and its binding. Raises InputError for an unknown model."""
        binding = operations.model(model)
        columns: dict[str, Column] = {}
        for monitor in operations.monitors_of(model):
            for check in operations.drift_monitors[monitor].monitors:
                if isinstance(check, SchemaDrift):
                    columns |= operations.schemas[check.expected_schema].columns
        return cls(columns, frozenset({*columns, *binding.features.names, binding.id, binding.time}))

    def bound_to(self, schema: FeatureSchema) -> FeatureSchema:
        """The model's schema with what the contract adds to it."""
        columns = self.columns
        strict = frozenset(name for name in schema.order if name in columns and not columns[name].nullable)
        return replace(
            schema,
            limits=Limits(
                carried=frozenset({*self.carried, *schema.order}),
                not_null=strict,
                ranges=tuple(self._range(name) for name in schema.numeric),
                categories=tuple(self._categories(name) for name in schema.categorical),
            ),
        )

    def _range(self, name: str) -> tuple[float, float]:
        declared = self.columns[name].range if name in self.columns else None
        low, high = declared or (None, None)
        return -LARGEST if low is None else low, LARGEST if high is None else high

    def _categories(self, name: str) -> frozenset[str] | None:
        declared: Iterable[str] | None = self.columns[name].categories if name in self.columns else None
        return None if declared is None else frozenset(declared)
