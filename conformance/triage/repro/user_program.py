"""The program of a script that calls a function of a user: its file is run anew for each side, as the suite does."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from conformance.model.errors import UsageError
from conformance.model.user_function import PICKLE
from conformance.triage.repro.program_text import ProgramText, local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.request import Request
    from conformance.model.user_function import UserFunction

__all__ = ["program_text"]

_OF_FILE = '''\
sys.path.insert(0, {folder})  # as if Python ran the file


def load():
    """The file of the function, run anew."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location({name}, {path})
    loaded = sys.modules[{name}] = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
'''
_OF_MODULE = '''\
def load():
    """The module of the function, run anew."""
    from importlib import import_module, reload

    return reload(import_module({module}))
'''
_MADE = '''\
def made(call):
    """The arguments of a call by name."""
    seed = zlib.crc32(call.encode())
    torch.manual_seed(seed)
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    given = user.{maker}()
    if not isinstance(given, dict):
        given = dict(zip({names}, given if isinstance(given, (tuple, list)) else [given]))
    for leaf in pytree.tree_leaves(given):
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad and not leaf.is_leaf:
            leaf.retain_grad()
    return given
'''


def program_text(request: Request) -> ProgramText:
    """The program of a request, taken apart.

    Raises:
        UsageError: a name of its setup is one that the script needs, or Python handed its function over.
    """
    case = request.case
    user = case.function
    if user is None:
        return ProgramText.of(request)
    if user.home.endswith(PICKLE):
        message = f"{case.id} was handed over by Python, and a script needs a file to find it in"
        raise UsageError(message)
    body = case.program.replace(user.callee, local(user.callee), 1)
    made = [_MADE.format(maker=_name(user.maker), names=json.dumps(user.arguments))] if user.maker else []
    return ProgramText(
        fixed="\n\n".join([_loading(user), *made]),
        state="\n".join(_bindings(user)),
        function=f"def program({', '.join(case.inputs)}):\n{indent(body, '    ')}",
        holders=tuple(_holders(user)),
        is_opaque=True,
    )


def _loading(user: UserFunction) -> str:
    if not user.home.endswith(".py"):
        return _OF_MODULE.format(module=json.dumps(user.home))
    path = Path(user.home)
    texts = {"folder": str(path.parent), "name": path.stem, "path": str(path)}
    return _OF_FILE.format(**{name: json.dumps(text) for name, text in texts.items()})


def _bindings(user: UserFunction) -> Iterator[str]:
    """The function, and the names that paths into its state begin with."""
    yield "user = load()"
    yield f"{local(user.callee)} = user.{user.name}{'()' * user.is_factory}"
    for head in dict.fromkeys(path.partition(".")[0].partition("[")[0] for path in user.state):
        if head == "self":
            yield f"self = {local(user.callee)}.__self__"
        elif head != user.callee:
            yield f"{local(head)} = user.{head}"


def _holders(user: UserFunction) -> Iterator[str]:
    """Modules and tensors, in the order in which the suite changes weights."""
    yield from [local(user.callee)] if user.is_module else []
    for path in user.state:
        head = path.partition(".")[0].partition("[")[0]
        yield local(head) + path.removeprefix(head)


def _name(ref: str) -> str:
    return ref.rpartition(":")[2]
