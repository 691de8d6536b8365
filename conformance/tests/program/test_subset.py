from __future__ import annotations

import builtins

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.program.build import problems
from conformance.tests.programs import AUTOGRAD_FUNCTION, MODULE, case_of, found

HOSTILE = {
    "import os\nreturn a": "20:7: import is not part",
    "from os import system\nreturn a": "20:7: import is not part",
    "return __import__('os').system('true')": "20:14: unknown name '__import__'",
    "return eval('a')": "20:14: unknown name 'eval'",
    "return exec('a')": "20:14: unknown name 'exec'",
    "return compile('a', 'b', 'eval')": "20:14: unknown name 'compile'",
    "return open('marker', 'w')": "20:14: unknown name 'open'",
    "return input()": "20:14: unknown name 'input'",
    "return breakpoint()": "20:14: unknown name 'breakpoint'",
    "return getattr(a, 'x')": "20:14: unknown name 'getattr'",
    "setattr(a, 'x', 1)\nreturn a": "20:7: unknown name 'setattr'",
    "return globals()": "20:14: unknown name 'globals'",
    "return vars(a)": "20:14: unknown name 'vars'",
    "return type(a)": "20:14: unknown name 'type'",
    "return object()": "20:14: unknown name 'object'",
    "return __builtins__": "20:14: unknown name '__builtins__'",
    "return torch": "20:14: 'torch' alone is not allowed",
    "t = F\nreturn t.torch": "20:11: 'F' alone is not allowed",
    "return [torch][0].os": "20:15: 'torch' alone is not allowed",
    "return torch.load('marker')": "20:14: 'torch.load' is not among",
    "torch.save(a, 'marker')\nreturn a": "20:7: 'torch.save' is not among",
    "return torch.os.system('true')": "20:14: 'torch.os.system' is not among",
    "return torch.sys.modules": "20:14: 'torch.sys.modules' is not among",
    "return torch.from_file('marker')": "20:14: 'torch.from_file' is not among",
    "return torch.jit.load('marker')": "20:14: 'torch.jit.load' is not among",
    "return torch.hub.load('x', 'y')": "20:14: 'torch.hub.load' is not among",
    "return torch.ops.load_library('x')": "20:14: 'torch.ops.load_library' is not among",
    "return torch.nn": "20:14: 'torch.nn' is not among",
    "return torch._C": "20:14: 'torch._C' is not among",
    "return F.torch": "20:14: 'F.torch' is not among",
    "return math.__loader__": "20:14: 'math.__loader__' is not among",
    "torch.sin = a\nreturn a": "20:7: 'torch.sin' is not among",
    "torch = a\nreturn a": "20:7: 'torch' cannot be given another meaning",
    "for math in a:\n    pass\nreturn a": "20:11: 'math' cannot be given another meaning",
    "def torch():\n    pass\nreturn a": "20:7: 'torch' cannot be given another meaning",
    "return (lambda F: F)(a)": "20:22: 'F' cannot be given another meaning",
    "del torch\nreturn a": "20:11: 'torch' cannot be given another meaning",
    "try:\n    pass\nexcept ValueError as sum:\n    pass\nreturn a": "22:7: 'sum' cannot be given another meaning",
    "return a.__class__": "20:14: the attribute '__class__' starts with an underscore",
    "return ().__class__.__bases__[0].__subclasses__()": "20:14: the attribute '__bases__' starts with an underscore",
    "return a._grad": "20:14: the attribute '_grad' starts with an underscore",
    "return a.numpy()": "20:14: the attribute 'numpy' is not allowed",
    "return a.data_ptr()": "20:14: the attribute 'data_ptr' is not allowed",
    "return a.share_memory_()": "20:14: the attribute 'share_memory_' is not allowed",
    "return '{0.__class__}'.format(a)": "20:14: the attribute 'format' is not allowed",
    "return '{x}'.format_map(a)": "20:14: the attribute 'format_map' is not allowed",
    "return (x for x in a).gi_frame.f_builtins": "20:14: the attribute 'f_builtins' is not allowed",
    "def f():\n    pass\nreturn f.func_globals": "22:14: the attribute 'func_globals' is not allowed",
    "try:\n    pass\nexcept ValueError as e:\n    return e.tb_frame\nreturn a": "23:18: the attribute 'tb_frame'",
    "try:\n    a.x\nexcept AttributeError as e:\n    return e.obj\nreturn a": "23:18: the attribute 'obj'",
    "a.gi_frame = 1\nreturn (x for x in a).gi_frame": "20:7: the attribute 'gi_frame' is not allowed",
    "class C:\n    os = 1\nreturn C.os.system": "22:14: the attribute 'os' is not allowed",
    "class C:\n    def mro(self):\n        pass\nreturn C.mro()": "23:14: the attribute 'mro' is not allowed",
    "class C(torch.Tensor):\n    pass\nreturn a": "20:15: not a class that a program may derive from",
    "class C(metaclass=a):\n    pass\nreturn a": "20:25: a class takes no keyword arguments",
    "class C:\n    def __getattr__(self, x):\n        pass\nreturn a": "21:11: the name '__getattr__' starts with",
    "class C:\n    __slots__ = ()\nreturn a": "21:11: the name '__slots__' starts with an underscore",
    "_x = a\nreturn a": "20:7: the name '_x' starts with an underscore",
    "def __init__():\n    pass\nreturn a": "20:7: the name '__init__' starts with an underscore",
    "return super().__reduce__()": "20:14: the attribute '__reduce__' starts with an underscore",
    "global b\nreturn a": "20:7: global is not part of the subset",
    "async def f():\n    pass\nreturn a": "20:7: async def is not part of the subset",
    "match a:\n    case 1:\n        pass\nreturn a": "20:7: match is not part of the subset",
    "with open('marker'):\n    pass\nreturn a": "20:12: not a context that a program may enter",
    "with torch.no_grad:\n    pass\nreturn a": "20:12: not a context that a program may enter",
    "with torch.autograd.profiler.profile():\n    pass\nreturn a": "20:12: not a context that a program may enter",
    "@eval\ndef f():\n    pass\nreturn a": "20:8: not a decorator that a program may use",
    "@torch.compile\ndef f():\n    pass\nreturn a": "20:8: not a decorator that a program may use",
    "return f'{a.__class__}'": "20:17: the attribute '__class__' starts with an underscore",
    "return \uff45\uff56\uff41\uff4c('a')": "20:14: unknown name 'eval'",
    "return a.\u200b__class__": "20:16: the character '\\u200b' is not allowed",
    "x = 1 #\x0cimport os\nreturn a": "20:14: the character '\\x0c' is not allowed",
    "x = 1\rimport os\nreturn a": "20:12: the character '\\r' is not allowed",
    "return a\n    b": "21:10: not Python: unexpected indent",
    "return (": "20:14: not Python: '(' was never closed",
    "return " + "(" * 300 + ")" * 300: "20:214: not Python: too many nested parentheses",
    "return " + "-" * 100_000 + "a": "20:7: nested too deeply: at most 200 levels",
    "return " + "+".join("a" * 250): "20:7: nested too deeply: at most 200 levels",
    "break\nreturn a": "20:7: not Python: 'break' outside loop",
    "def f(x, x):\n    pass\nreturn a": "20:16: not Python: duplicate argument 'x'",
    "b = a": "20:7: the program must return something",
    "": "20:7: the program must return something",
    "def f():\n    return a": "20:7: the program must return something",
    "yield a\nreturn a": "20:7: the program itself must not yield",
    "return ${b}": "20:14: unknown param '${b}'",
}


@pytest.mark.parametrize(("program", "message"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_what_is_outside_the_subset_is_refused_and_nothing_runs(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile or broken program is a problem at its place in the YAML file; nothing of it is executed."""

    def forbidden(*_: object) -> None:
        pytest.fail("a program was executed while it was checked")

    monkeypatch.setattr(builtins, "exec", forbidden)
    messages = found(program)

    assert any(each.startswith(message) for each in messages), messages


ACCEPTED = {
    "modes": "with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16) as m:\n    b = a * 2\nreturn b",
    "nested functions": "@torch.no_grad()\ndef f(x, *rest, k=1, **more):\n    return x + k\nreturn f(a)",
    "local decorators": (
        "def twice(f):\n    return lambda x: f(f(x))\n@twice\ndef g(x):\n    return x.sin()\nreturn g(a)"
    ),
    "loops": (
        "b = []\nfor i, _ in enumerate(range(3)):\n    b.append(a * i)\nwhile len(b) > 2:\n    b.pop()\nreturn sum(b)"
    ),
    "exceptions": (
        "try:\n    raise ValueError('x')\nexcept (ValueError, KeyError) as e:\n    b = e.args\n"
        "finally:\n    c = a\nreturn c"
    ),
    "comprehensions": "return {k: v for k, v in zip('ab', [x * 2 for x in a])}, {1, 2}, (y for y in a)",
    "generators": "def g():\n    x = yield a\n    yield from [x]\nreturn list(g())",
    "containers": "d = {'x': a, **{}}\nd['y'] = d.pop('x')[..., 0:1]\ndel d['y']\nreturn [*d.items()], d.get('z')",
    "nonlocal": "n = 0\ndef f():\n    nonlocal n\n    n += 1\nf()\nreturn a if n else -a",
    "f-strings": "b = f'{a.dim():>{4}}'\nassert b, 'x'\nreturn a, b",
    "context classes": (
        "class Off:\n    def __enter__(self):\n        self.was = torch.is_grad_enabled()\n"
        "        torch.set_grad_enabled(False)\n        return self\n    def __exit__(self, *error):\n"
        "        torch.set_grad_enabled(self.was)\nwith Off() as off:\n    b = a * 2\nwith off:\n    pass\nreturn b"
    ),
    "functions of autograd": f"{AUTOGRAD_FUNCTION}return Double.apply(a)",
    "exceptions of its own": "class Odd(ValueError):\n    pass\nclass Odder(Odd):\n    pass\nraise Odder('x')",
    "walrus, conditions and math": "return b if (b := a.sum()) is not None and math.pi > 3 else None",
    "annotations and assertions": "b: int = 1\nassert isinstance(a, torch.Tensor)\npass\nreturn a @ a + b",
    "a graph break": "b = a * 2\ntorch._dynamo.graph_break()\nreturn b",
    "properties": "class P:\n    @property\n    def size(self):\n        return 1\nreturn P().size * a",
    "attributes of tensors": "a.grad = None\na.requires_grad = True\nreturn a.grad_fn, a.T, a.is_leaf, a.device.type",
}


@pytest.mark.parametrize("program", ACCEPTED.values(), ids=ACCEPTED)
def test_what_programs_need_is_accepted(program: str) -> None:
    """Ordinary Python over torch passes."""
    assert found(program) == []


def test_the_program_knows_what_the_setup_defines() -> None:
    """Names, attributes and registered buffers of the setup may be used by the program."""
    assert found("return net(a) + net.seen + net.lin.weight", MODULE) == []


def test_the_setup_does_not_know_the_inputs() -> None:
    """The setup runs before any call, so an input is an unknown name there; its place is its own."""
    assert found("return b", "c = 1\nb = a + 1\n") == [
        "11:11: unknown name 'a'\n  A program names its inputs, what it binds, torch, F, math and a few builtins."
    ]


def test_a_name_that_is_nearly_right_gets_a_hint() -> None:
    """Close matches are offered for names, dotted names and attributes."""
    assert "Did you mean 'enumerate'" in found("return enumerat(a)")[0]
    assert "Did you mean 'torch.sinh' or" in found("return torch.sinhh(a)")[0]
    assert "Did you mean 'requires_grad'" in found("return a.require_grad")[0]


@settings(deadline=None)  # other work on the machine is no failure
@given(st.text("_abcx", max_size=8))
def test_underscored_attributes_are_never_accepted(name: str) -> None:
    """No attribute that starts with an underscore passes, whatever follows."""
    assert found(f"return a._{name}")


@settings(deadline=None)  # other work on the machine is no failure
@given(st.text(max_size=60))
def test_any_text_is_checked_without_an_exception(text: str) -> None:
    """Whatever the text of a program, the result is a list of problems."""
    assert all(problem.message for problem in problems(case_of(text, text)))
