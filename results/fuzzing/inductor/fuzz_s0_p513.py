"""torch.compile(backend="inductor") does not do what eager does: numbers of call[1].grad(a) are off by up to
0.003662

backend: inductor
torch:   2.13.0+cpu
symptom: calls gradient values
case:    fuzz.s0.p513 [grad=enabled,autocast=bfloat16], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch
import torch.nn.functional as F
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


def perturb(name, *parameters):
    """Double or halve every weight, at random; make 1/16 of zero."""
    generator = stream(name)
    with torch.no_grad():
        for parameter in parameters:
            factor = (torch.randint(0, 2, parameter.shape, generator=generator) * 1.5 + 0.5).to(parameter.dtype)
            parameter.copy_(torch.where(parameter == 0, 0.0625, parameter * factor))


def program(a):
    with torch.autocast('cpu', dtype=torch.float16):
        v1 = net(a)
    return (v1, F.relu(a))


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 4)


def run(function):
    setup()
    a = (torch.rand(4, 4, generator=stream("0/0/a"), dtype=torch.float64) * 2.0 + -1.0).float().requires_grad_()
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = function(a)
    backward(output, "0/0")

    a = (torch.rand(4, 4, generator=stream("0/1/a"), dtype=torch.float64) * 2.0 + -1.0).float().requires_grad_()
    for parameter in [*net.parameters()]:
        parameter.grad = None
    perturb("0/1/perturb", *net.parameters())
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = function(a)
    backward(output, "0/1")
    return a.grad


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="inductor", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if ((compiled - eager).abs() > 0.0018).any() else 0)
