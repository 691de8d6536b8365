"""Gradients, of inputs and by torch.func."""

import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

import conformance


def issue_180771(x, y):
    return torch.slice_scatter(x, y, dim=0, start=0, end=2).sum()


def issue_180771_inputs():
    return torch.randn(5, requires_grad=True), torch.randn(2, requires_grad=True)


def issue_181581(x, w):
    (gradient,) = torch.autograd.grad(torch.mm(x, w).sum(), x, create_graph=True)
    return gradient.sum()


def issue_181581_inputs():
    return torch.randn(3, 5, requires_grad=True), torch.randn(5, 5, requires_grad=True)


def issue_182765(x, source):
    return torch.diagonal_scatter(x, source, 0).sum()


def issue_182765_inputs():
    return torch.randn(6, 6, requires_grad=True), torch.randn(6, requires_grad=True)


def issue_185464(x, target):
    return F.multilabel_margin_loss(x, target)


def issue_185464_inputs():
    target = torch.tensor([[0, 1, -1, -1, -1]])
    return torch.tensor([[1.0, -1.0, 0.5, 0.25, -0.25]], requires_grad=True), target


def issue_185472(x):
    return F.hardtanh(x, min_val=-0.7, max_val=0.7)


def issue_185472_inputs():
    return torch.tensor([0.7, 0.2, -0.7], dtype=torch.bfloat16, requires_grad=True)


def issue_185509(x, weight, bias, mask):
    y = F.interpolate(x, scale_factor=(1.5, 1.25), mode="bilinear", align_corners=False)[:, :, 1:7, 1:8]
    y = F.conv2d(y, weight, bias, padding=1)
    return torch.where(mask, y, F.max_pool2d(y, kernel_size=3, stride=1, padding=1))


def issue_185509_inputs():
    x, weight = torch.randn(2, 3, 6, 7, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    return x, weight, torch.zeros(4, requires_grad=True), torch.rand(2, 4, 6, 7) > 0.5


def issue_185543(x):
    return torch.nan_to_num(torch.quantile(x, 0.0, dim=1, keepdim=True), nan=0.0).sum()


def issue_185543_inputs():
    return torch.tensor([[float("nan")] * 3, [0.0] * 3, [1.0, 0.5, 0.5]], requires_grad=True)


def issue_186799(x, y):
    return torch.atan2(x, y).amin(dim=-1)


def issue_186799_inputs():
    return torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)


def issue_187284(x):
    return (x**2).sum()


def issue_187284_inputs():
    return torch.randn(3)


def issue_187284_shows(compiled):
    x, tangent = torch.randn(3), torch.ones(3)
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(compiled(forward_ad.make_dual(x, tangent))).tangent is None


_PICKED = torch.tensor([0, 2])
_WEIGHT = torch.tensor([1.0, -1.0])


def _row(x):
    stacked = torch.stack([x[..., column] for column in range(4)], dim=-1)
    return (torch.index_select(stacked, -1, _PICKED) * _WEIGHT).sum(-1).reshape(())


@conformance.case(dynamic=[True])
def issue_188084(x):
    return torch.func.vmap(torch.func.grad_and_value(_row))(x)


def issue_188084_inputs():
    return torch.randn(4, 4)


def issue_188084_shows(_compiled):
    x = issue_188084_inputs()
    actual, expected = torch.compile(issue_188084, dynamic=True)(x), issue_188084(x)
    return not all(map(torch.allclose, actual, expected))


def _of_trace(x):
    return torch.mean(1.0 / (x + torch.trace(x) * torch.eye(3, dtype=x.dtype)))


def issue_190855(x):
    return torch.func.hessian(_of_trace)(x)


def issue_190855_inputs():
    return torch.rand(3, 3, dtype=torch.float64) + 0.5


class ConstantSine(torch.autograd.Function):
    """A sine whose derivatives are declared to be zero."""

    @staticmethod
    def forward(x):
        return torch.sin(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)

    @staticmethod
    def jvp(ctx, tangent):
        return torch.zeros_like(tangent)


def issue_192985(x, tangent):
    return torch.func.jvp(ConstantSine.apply, (x,), (tangent,))[1]


def issue_192985_inputs():
    return torch.randn(4), torch.randn(4)


class FlatSine(torch.autograd.Function):
    """A sine whose gradient is declared to be zero."""

    @staticmethod
    def forward(x):
        return torch.sin(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


def _loss(x):
    return FlatSine.apply(x).sum()


def issue_193279(x):
    return torch.func.grad(_loss)(x)


def issue_193279_inputs():
    return torch.randn(4)
