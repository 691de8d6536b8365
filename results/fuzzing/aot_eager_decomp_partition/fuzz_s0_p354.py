"""torch.compile(backend="aot_eager_decomp_partition") does not do what eager does: is_inference of
call[0].output is True, in eager False

backend: aot_eager_decomp_partition
torch:   2.13.0+cpu
symptom: autograd_flags output is_inference True, not False
case:    fuzz.s0.p354 [grad=inference], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(b):
    with torch.inference_mode(False):
        return b * b


def run(function):
    b = torch.randn((), generator=stream("0/0/b"), dtype=torch.float64).float()
    with torch.inference_mode():
        output = function(b)
    return output.is_inference()


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="aot_eager_decomp_partition", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
