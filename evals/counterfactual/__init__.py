"""Counterfactual replay: one's own evidence judged once more, under other declarations."""
