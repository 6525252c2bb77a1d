"""``torch.nn.Module``: eager, quantized, traced by FX, and TorchScript; nothing in it is called but its own lists."""

from __future__ import annotations

from functools import partial
from operator import getitem
from typing import TYPE_CHECKING, Any

from quantwidget.formats.pytorch.packed import op_type
from quantwidget.live import torch_tensors
from quantwidget.live.found import is_torch_word, joined, kept, torch_if_imported
from quantwidget.live.packed import matches as is_packed

if TYPE_CHECKING:
    from quantwidget.live.found import Get
    from quantwidget.live.walk import Walk

FORMAT = "torch module"


def matches(value: object) -> bool:
    """Tell whether an object is a module."""
    torch = torch_if_imported()
    return torch is not None and isinstance(value, torch.nn.Module)


def visit(path: str, get: Get, walk: Walk) -> None:
    """List parameters and buffers under the names of ``state_dict``, then what else the module itself holds."""
    module = get()
    walk.set_class(path, class_word(module))
    if isinstance(module, torch_if_imported().jit.ScriptModule):
        _visit_script(path, module, walk)
        return
    for held in (module._parameters, module._buffers, module._modules):  # noqa: SLF001 - without copies, as they are now
        for key, value in held.items():
            if value is not None:
                walk.visit_part(path, key, partial(getitem, held, key))
    for key, value in vars(module).items():
        if is_torch_word(value):
            walk.model.words[joined(path, key)] = str(value).removeprefix("torch.")
        elif is_packed(value):
            walk.visit_part(path, key, partial(getattr, module, key))
        elif torch_tensors.is_tensor(value):
            found = torch_tensors.describe(joined(path, key), partial(getattr, module, key))
            if found.identity not in walk.model.identities:
                walk.model.add(found)


def class_word(module: Any) -> str:  # noqa: ANN401 - torch.nn.Module
    """Name the class as people know it: ``quantized.Conv2d``, ``Linear`` for a parametrized one."""
    torch = torch_if_imported()
    if isinstance(module, torch.fx.GraphModule):
        return "GraphModule"
    if isinstance(module, torch.jit.ScriptModule):
        return op_type(module._c._type().qualified_name()) if hasattr(module, "_c") else module.original_name  # noqa: SLF001
    kind = type(module)
    if torch.nn.utils.parametrize.is_parametrized(module):
        kind = kind.__mro__[1]
    return op_type(f"{kind.__module__}.{kind.__name__}")


def _visit_script(path: str, module: Any, walk: Walk) -> None:  # noqa: ANN401 - torch.jit.ScriptModule
    plain = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    for key, _ in plain:
        walk.visit_part(path, key, partial(getattr, module, key))
    for key in module._modules.keys():  # noqa: SIM118, SLF001 - it is no mapping; with the shared ones
        walk.visit_part(path, key, partial(getattr, module, key))
    known = {key for key, _ in plain}
    for key in _script_attributes(module):
        value = getattr(module, key, None)
        if key not in known and (is_packed(value) or torch_tensors.is_tensor(value)):
            walk.visit_part(path, key, partial(getattr, module, key))
    if not path:
        _visit_constants(module, walk)


def _script_attributes(module: Any) -> tuple[str, ...]:  # noqa: ANN401 - torch.jit.ScriptModule
    """Names of all attributes; torch lists them nowhere else."""
    concrete = torch_if_imported()._C.ConcreteModuleType.from_jit_type(module._c._type())  # noqa: SLF001
    return tuple(concrete.get_attributes())


def _visit_constants(module: Any, walk: Walk) -> None:  # noqa: ANN401 - torch.jit.ScriptModule
    """List the constants of the code under the names that it has for them; a frozen model keeps its weights there."""
    try:
        _, constants = module.code_with_constants
    except (AttributeError, RuntimeError):
        return  # there is no forward
    for key, value in constants.const_mapping.items():
        if is_packed(value) or torch_tensors.is_tensor(value):
            walk.visit_part("CONSTANTS", key, kept(value))
