"""Where MLflow's module-level functions go: one URI for the whole process."""

from __future__ import annotations

import os
import threading

_VARIABLE = "MLFLOW_TRACKING_URI"
_pointing = threading.Lock()


def point_mlflow(uri: str) -> None:
    """Points MLflow's module-level functions at `uri`, and leaves the environment as the user set it.

    MLflow writes the URI to the environment too, where it would rule the next systems that are opened.
    """
    import mlflow

    with _pointing:
        outer = os.environ.get(_VARIABLE)
        try:
            mlflow.set_tracking_uri(uri)
        finally:
            if outer is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = outer
