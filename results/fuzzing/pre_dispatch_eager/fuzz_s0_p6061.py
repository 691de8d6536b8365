"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: RuntimeError where eager raises
nothing: self and mat2 must have the same dtype, but got Half and BFloat16

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: error exception RuntimeError: self and mat# must have the same dtype, but got Half and BFloat#
case:    fuzz.s0.p6061 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch
import torch.nn.functional as F


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a):
    v1 = F.linear(a, net.weight)
    with torch.inference_mode():
        with torch.autocast('cpu', dtype=torch.float16):
            return net(v1)


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)


def run(function):
    setup()
    a = torch.randn(1, generator=stream("0/0/a"), dtype=torch.float64).float()
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        function(a)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "RuntimeError":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)
