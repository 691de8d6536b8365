"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: state of call[0].after_call.grad_mode
is False, in eager True

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: ambient grad_mode state False, not True
case:    fuzz.s0.p9 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a):
    with torch.inference_mode():
        with torch.enable_grad():
            pass
    return a


def run(function):
    a = torch.randn((), generator=stream("0/0/a"), dtype=torch.float64).float()
    function(a)
    return torch.is_grad_enabled()


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
