"""Reductions, scans, and what they are fused with."""

import torch
import torch.nn.functional as F

import conformance

torch._dynamo.config.capture_scalar_outputs = True


def issue_178964(a, b):
    return (a + b).max(dim=1)


def issue_178964_inputs():
    return torch.randn(8, 8).t(), torch.randn(8, 8)


def issue_180848(x):
    return F.adaptive_avg_pool2d(x, 7).flatten(1).sum(dim=-1)


def issue_180848_inputs():
    return torch.randn(2, 33, 8, 8, dtype=torch.float64)


def issue_183082(x):
    x = x.clone()
    x.sin_()
    return x.t().argmax()


def issue_183082_inputs():
    return torch.randn(5, 7)


def issue_183121(x):
    return x.norm(dim=-1)


def issue_183121_inputs():
    return torch.rand(4, 6, 1)


def issue_189518(x):
    return x + torch.ones((2, 4, 4), dtype=torch.bool).cumsum(1, dtype=torch.bfloat16)


def issue_189518_inputs():
    return torch.zeros(2, 4, 4, dtype=torch.int64)


def issue_189895(mask):
    lengths = mask.sum(dim=-1, dtype=torch.int32)
    return F.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))


def issue_189895_inputs():
    return torch.ones(1, 16384, dtype=torch.bool)


def issue_193661(x):
    return torch.argmax(torch.mean(x, dim=-1))


def issue_193661_inputs():
    return torch.rand(2, 4, 4, 8).transpose(0, 1).contiguous().transpose(0, 1)[..., ::2]


def issue_194062(x):
    return torch.full((2,), x.item(), dtype=torch.bool).sum()


def issue_194062_inputs():
    return torch.tensor(3)


class Attention(torch.nn.Module):
    """Attention whose keys are permuted into the layout of their transpose."""

    def __init__(self):
        super().__init__()
        self.query = torch.nn.Linear(64, 64, bias=False)
        self.key = torch.nn.Linear(64, 64, bias=False)
        self.value = torch.nn.Linear(64, 64, bias=False)

    def forward(self, x):
        rows, length, _ = x.shape
        query = self.query(x).view(rows, length, 8, 8).permute(0, 2, 1, 3)
        key = self.key(x).view(rows, length, 8, 8).permute(0, 2, 3, 1)
        value = self.value(x).view(rows, length, 8, 8).permute(0, 2, 1, 3)
        weights = (torch.matmul(query, key) * 8**-0.5).softmax(dim=-1)
        return (weights @ value).permute(0, 2, 1, 3).reshape(rows, length, 64)


attention = Attention().eval()


@conformance.case(grad=["disabled"])
def issue_195320(x):
    return attention(x)


def issue_195320_inputs():
    return torch.randn(1, 8, 64)


@torch.no_grad()
def issue_195320_shows(compiled):
    x = issue_195320_inputs()
    return not torch.allclose(compiled(x), attention(x), atol=1e-4, rtol=1e-3)


class Shrinking(torch.nn.Module):
    """Batch normalization whose result is cut by a pad of negative size."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 50, (2, 2))
        self.norm = torch.nn.BatchNorm2d(50)
        self.linear = torch.nn.Linear(50, 10)

    def forward(self, x):
        x = self.norm(self.conv(x)).view(x.shape[0], -1)
        return self.linear(F.pad(x, (0, 50 - x.shape[-1])))


shrinking = Shrinking().eval()


@conformance.case(grad=["disabled"])
def issue_195582(x):
    return shrinking(x)


def issue_195582_inputs():
    return torch.randn(3, 1, 4, 4)


@torch.no_grad()
def issue_195582_shows(compiled):
    x = issue_195582_inputs()
    return not torch.allclose(compiled(x), shrinking(x), atol=1e-4, rtol=1e-3)
