"""The formats that ``mnasnet export --formats`` knows."""

from retrain.export.formats.coreml_package import COREML
from retrain.export.formats.executorch_program import EXECUTORCH
from retrain.export.formats.litert_file import LITERT
from retrain.export.formats.onnx_file import ONNX
from retrain.export.formats.openvino_ir import OPENVINO
from retrain.export.formats.torch_program import PT2

FORMATS = {
    "onnx": ONNX,
    "pt2": PT2,
    "executorch": EXECUTORCH,
    "litert": LITERT,
    "openvino": OPENVINO,
    "coreml": COREML,
}
