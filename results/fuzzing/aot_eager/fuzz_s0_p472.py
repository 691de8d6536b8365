"""torch.compile(backend="aot_eager") does not do what eager does: TorchRuntimeError where eager raises nothing:
RuntimeError when making fake tensor call

backend: aot_eager
torch:   2.13.0+cpu
symptom: error exception TorchRuntimeError: RuntimeError when making fake tensor call
case:    fuzz.s0.p472 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys

import torch


def program():
    with torch.inference_mode():
        with torch.enable_grad():
            return net.mul_(0.5)


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Parameter()


def run(function):
    setup()
    torch.manual_seed(0)
    function()
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="aot_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "TorchRuntimeError":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)
