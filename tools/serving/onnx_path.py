"""The ONNX path: rows as the array path takes them, scored by ONNX Runtime. Microseconds where Python takes hundreds.

Needs the extra `onnx`. What is not understood, and a graph that disagrees with the pipeline (`scorer`), is not taken.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tools.serving.arithmetic import NotConvertible
from tools.serving.array_path import ArrayPath, Matrix, Scores
from tools.serving.features import FeatureSchema
from tools.serving.onnx_graph import MATRIX, SCORE, Converter

PROVIDERS = ["CPUExecutionProvider"]


def compile_onnx(pipeline: Any, schema: FeatureSchema) -> ArrayPath:
    """The path of a fitted pipeline. Raises NotConvertible with the reason, also where the extra is not installed."""
    require_onnx()
    converter = Converter(pipeline, schema)
    session = open_session(converter.matrix_graph())

    def final(matrix: Matrix) -> Scores:
        scores: Scores = session.run(names, {MATRIX: matrix})[0]
        return scores

    names = [SCORE]
    return ArrayPath(schema, converter.columns(), final)


def require_onnx() -> None:
    """Raises NotConvertible where the extra is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise NotConvertible("the extra onnx is not installed: pip install 'mlops-guardian[onnx]'") from None


def import_runtime() -> None:
    """Imports what a load needs while there is time for it; where the extra is not installed, nothing."""
    with suppress(NotConvertible):
        require_onnx()


def open_session(model: Any) -> Any:
    """A session of one thread. Raises NotConvertible where this runtime lacks an operator of the graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=PROVIDERS)
    except Exception as error:
        raise NotConvertible(f"ONNX Runtime {onnxruntime.__version__}: {str(error).splitlines()[0]}") from error
