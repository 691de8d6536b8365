"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: BackendCompilerFailed where eager
raises nothing: RuntimeError: mat1 and mat2 must have the same dtype, but got BFloat16 and Float

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: error exception BackendCompilerFailed: RuntimeError: mat# and mat# must have the same dtype, but got
         BFloat# and Float
case:    fuzz.s0.p3533 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a):
    with torch.autocast('cpu'):
        return net(a)


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)


def run(function):
    setup()
    a = torch.randn(1, generator=stream("0/0/a"), dtype=torch.float64).to(torch.bfloat16)
    torch.manual_seed(0)
    function(a)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "BackendCompilerFailed":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)
