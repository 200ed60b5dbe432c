"""Export: a run folder -> one ONNX file that says what it is and computes what Keras computes.

Errors:
    ExportError
        BackendError      Keras does not run on TensorFlow, so there is no graph to convert
        ConversionError   the converted graph is not that of `chroma.signature`
        ToleranceError    ONNX Runtime computes something else than Keras or NumPy; nothing was written
"""


class ExportError(Exception):
    """The run cannot be exported."""


class BackendError(ExportError):
    """Keras does not run on TensorFlow, so there is no graph to convert."""


class ConversionError(ExportError):
    """The converted graph is not that of `chroma.signature`."""


class ToleranceError(ExportError):
    """ONNX Runtime computes something else than Keras or NumPy."""
