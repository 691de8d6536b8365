"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: requires_grad of call[0].output[1] is
False, in eager True

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: autograd_flags output requires_grad False, not True
case:    fuzz.s0.p838 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch
import torch.nn.functional as F


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(b):
    with torch.set_grad_enabled(False):
        with torch.inference_mode(False):
            v2 = F.mse_loss(b, b)
    return (b.clone(), v2)


def run(function):
    b = torch.randn((), generator=stream("0/0/b"), dtype=torch.float64).float().requires_grad_()
    with torch.enable_grad():
        output = function(b)
    return output[1].requires_grad


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
