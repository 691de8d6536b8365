"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: state of call[0].after_call.grad_mode
is False, in eager True

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: ambient grad_mode state False, not True
case:    fuzz.s0.p1124 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys

import torch


def program():
    with torch.inference_mode(False):
        torch.set_grad_enabled(False)
        return None


def run(function):
    with torch.enable_grad():
        function()
        return torch.is_grad_enabled()


eager = run(program)
print("eager:   ", eager)
compiled = run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False))
print("compiled:", compiled)
sys.exit(1 if compiled != eager else 0)
