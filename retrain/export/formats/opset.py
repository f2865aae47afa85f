"""Opset of an exported graph, which says what its operators mean: 11 to 20.

``torch.onnx.export`` writes 18 and above; asked for less it keeps 18 without a word. Operators of a
network mean the same in 11 to 18 but for some that took an input for an attribute, or got an
attribute more (https://onnx.ai/onnx/operators); these are spelled in the older way.
"""

from collections.abc import Callable, Mapping

import onnx
from onnx import helper, numpy_helper

from supernet.errors import UserError
from supernet.latency.models.trained_graph import EXPORTED

OPSETS = range(11, 21)

Constants = Mapping[str, list[int]]
"""Whole numbers of a graph by their names."""
Rule = Callable[[onnx.NodeProto, Constants], None]
"""Spells an operator as the opset before did."""


def _axes_to_attribute(node: onnx.NodeProto, constants: Constants) -> None:
    name = node.input.pop()
    if name not in constants:
        raise UserError(f"the axes of {node.op_type} are computed")
    kept = [one for one in node.attribute if one.name != "noop_with_empty_axes"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("axes", constants[name])])


def _without(attribute: str, allowed: Callable[[onnx.NodeProto, Constants], bool]) -> Rule:
    """Drops an attribute, where it says what the operator did without it."""

    def rule(node: onnx.NodeProto, constants: Constants) -> None:
        if not allowed(node, constants):
            raise UserError(f"{node.op_type} needs its attribute {attribute}")
        kept = [one for one in node.attribute if one.name != attribute]
        del node.attribute[:]
        node.attribute.extend(kept)

    return rule


def _has_no_zero(node: onnx.NodeProto, constants: Constants) -> bool:
    return 0 not in constants.get(node.input[1], [0])


def _replaces(node: onnx.NodeProto, constants: Constants) -> bool:
    return all(helper.get_attribute_value(one) == b"none" for one in node.attribute)


def _pads_all_axes(node: onnx.NodeProto, constants: Constants) -> None:
    if len(node.input) > 3:
        raise UserError("Pad names its axes")


RULES: Mapping[str, tuple[int, Rule]] = {
    "ReduceMean": (18, _axes_to_attribute),
    "Pad": (18, _pads_all_axes),
    "ScatterND": (16, _without("reduction", _replaces)),
    "Reshape": (14, _without("allowzero", _has_no_zero)),
    "Unsqueeze": (13, _axes_to_attribute),
}
"""What is to be spelled otherwise below an opset."""
SAME = {
    *("Add", "Cast", "Clip", "Concat", "Div", "Exp", "Expand", "Floor", "Gather", "GatherElements"),
    *("Gemm", "Greater", "Mul", "Relu", "Sigmoid", "Slice", "Sub", "Transpose"),
    # Over the last axis, where ours are, it has always been what it is.
    "Softmax",
}
"""Operators that have got more types of numbers and are otherwise what they were."""


def set_opset(model: onnx.ModelProto, opset: int) -> None:
    """Spell a graph of opset ``EXPORTED`` in an older one, or leave a newer one as it is.

    Raises:
        UserError: naming an operator that the older opset has not.
    """
    if opset < EXPORTED:
        constants = _whole_numbers(model.graph)
        for node in model.graph.node:
            try:
                _respell(node, constants, opset)
            except UserError as error:
                raise UserError(
                    f"opset {opset} does not describe this network: {error}; give --opset"
                    f" {EXPORTED}"
                ) from None
        model.opset_import[0].version = opset
    # Older runtimes ask for older files.
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    _drop_unused(model.graph)


def _respell(node: onnx.NodeProto, constants: Constants, opset: int) -> None:
    name = node.op_type
    if name in SAME or _since(name, opset) == _since(name, EXPORTED):
        return
    below, rule = RULES.get(name, (0, None))
    if rule is None:
        raise UserError(f"{name} has changed since")
    if opset < below:
        rule(node, constants)


def _since(name: str, opset: int) -> int:
    """Opset in which an operator got the meaning that it has in ``opset``; 0 if it has none."""
    try:
        return onnx.defs.get_schema(name, opset).since_version
    except onnx.defs.SchemaError:
        return 0


def _whole_numbers(graph: onnx.GraphProto) -> dict[str, list[int]]:
    whole = (one for one in graph.initializer if one.data_type == onnx.TensorProto.INT64)
    return {one.name: numpy_helper.to_array(one).ravel().tolist() for one in whole}


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Take out constants that no operator reads any more: a runtime warns of them."""
    read = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def opset_of(model: onnx.ModelProto) -> int:
    """Opset of ONNX's own operators that a file says it is written in.

    Raises:
        ValueError: when it uses operators of others too.
    """
    if [one.domain for one in model.opset_import] != [""]:
        named = ", ".join(one.domain or "ONNX's" for one in model.opset_import)
        raise ValueError(f"operators of several domains: {named}")
    return model.opset_import[0].version
