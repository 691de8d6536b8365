"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: requires_grad of call[0].output[1] is
True, in eager False

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: autograd_flags output requires_grad True, not False
case:    fuzz.s0.p276 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys

import torch


def program():
    with torch.inference_mode():
        v4 = net.clone()
    return (net * net, v4)


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Parameter()


def run(function):
    setup()
    torch.manual_seed(0)
    output = function()
    return output[1].requires_grad


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
