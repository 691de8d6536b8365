"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: RuntimeError where eager raises
nothing: A view was created in no_grad mode and its base or another view of its base has been modified inplace
with grad mode enabled. Given that this use case is ambiguous and error-prone, it is forbidden. Yo

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: error exception RuntimeError: A view was created in no_grad mode and its base or another view of its
         base has
case:    fuzz.s0.p1421 [grad=disabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch
from torch.utils import _pytree as pytree


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def cotangent(result, name):
    generator = stream(name)
    signs = torch.randint(0, 2, result.shape, generator=generator) * 2 - 1
    return (torch.randint(1, 33, result.shape, generator=generator) * signs / 16).to(result.dtype)


def differentiable(output):
    """The results that have a history, by path."""
    leaves, _ = pytree.tree_flatten_with_path(output)
    tensors = {"output" + pytree.keystr(path): leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)}
    return {path: leaf for path, leaf in tensors.items() if leaf.requires_grad and leaf.grad_fn is not None}


def backward(output, call):
    """Go backward from all results at once, with random cotangents."""
    results = differentiable(output)
    if results:
        cotangents = [cotangent(leaf, f"{call}/first/{path}") for path, leaf in results.items()]
        torch.autograd.backward(list(results.values()), cotangents)


def program():
    with torch.inference_mode(False):
        v1 = net.weight[2]
    return v1.sin_()


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 4)


def run(function):
    setup()
    torch.manual_seed(0)
    with torch.no_grad():
        output = function()
    backward(output, "0/0")
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "RuntimeError":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)
