"""torch.compile(backend="aot_eager_decomp_partition") does not do what eager does: value of call[1].grad(a) is
None, in eager torch.float32 tensor of shape ()

backend: aot_eager_decomp_partition
torch:   2.13.0+cpu
symptom: calls gradient value None, not tensor
case:    fuzz.s0.p480 [grad=enabled], seed 0

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


def program(a):
    torch.set_grad_enabled(True)
    return a.unsqueeze(0)


def run(function):
    a = torch.randn((), generator=stream("0/0/a"), dtype=torch.float64).float().requires_grad_()
    with torch.enable_grad():
        output = function(a)
    backward(output, "0/0")

    a = torch.randn((), generator=stream("0/1/a"), dtype=torch.float64).float().requires_grad_()
    with torch.no_grad():
        output = function(a)
    backward(output, "0/1")
    return "no gradient" if a.grad is None else "a gradient"


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="aot_eager_decomp_partition", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
