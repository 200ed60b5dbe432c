"""Export: a run folder -> one ONNX file that says what it is and computes what Keras computes.

Errors:
    ExportError
        BackendError      Keras does not run on TensorFlow, so there is no graph to convert
        ConversionError   the converted graph is not that of `chroma.signature`
        PrecisionError    the precision asked for and the rest of what was asked for do not go together
        ToleranceError    ONNX Runtime computes something else than Keras or NumPy; nothing was written
"""


class ExportError(Exception):
    """The run cannot be exported."""


class BackendError(ExportError):
    """Keras does not run on TensorFlow, so there is no graph to convert."""


class ConversionError(ExportError):
    """The converted graph is not that of `chroma.signature`."""


class PrecisionError(ExportError):
    """The precision asked for and the rest of what was asked for do not go together."""


class ToleranceError(ExportError):
    """ONNX Runtime computes something else than Keras or NumPy."""
