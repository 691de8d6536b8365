"""torch.compile(backend="aot_eager_decomp_partition") does not do what eager does: requires_grad of
call[0].output is True, in eager False

backend: aot_eager_decomp_partition
torch:   2.13.0+cpu
symptom: autograd_flags output requires_grad True, not False
case:    fuzz.s0.p2166 [grad=inference], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys

import torch


def program():
    net.weight.sin_()
    with torch.enable_grad():
        return torch.cat((net.weight,))


def setup():
    global net
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)


def run(function):
    setup()
    torch.manual_seed(0)
    with torch.inference_mode():
        output = function()
    return output.requires_grad


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="aot_eager_decomp_partition", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
