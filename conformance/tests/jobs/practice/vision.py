"""Vision: blocks, losses, training steps and evaluation as image libraries write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class SqueezeExcite(nn.Module):
    """Channel attention from a global average pool."""

    def __init__(self, channels=8, reduction=4):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x):
        scale = F.adaptive_avg_pool2d(x, 1)
        scale = F.relu(self.fc1(scale), inplace=True)
        return x * self.fc2(scale).sigmoid()


def SqueezeExcite_inputs():
    return torch.randn(2, 8, 6, 6, requires_grad=True)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection with a skip connection."""

    def __init__(self, channels=4, expand=2):
        super().__init__()
        hidden = channels * expand
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return x + self.conv(x)


def InvertedResidual_inputs():
    return torch.randn(2, 4, 8, 8, requires_grad=True)


class BasicBlock(nn.Module):
    """The residual block of a small ResNet, with a strided shortcut."""

    def __init__(self, inplanes=3, planes=6, stride=2):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


def BasicBlock_inputs():
    return torch.randn(4, 3, 8, 8)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of NCHW tensors."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, channels-last MLP and layer scale."""

    def __init__(self, dim=6):
        super().__init__()
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(1e-6 * torch.ones(dim))

    def forward(self, x):
        shortcut = x
        x = self.conv_dw(x).permute(0, 2, 3, 1)
        x = self.fc2(F.gelu(self.fc1(self.norm(x))))
        x = x.mul(self.gamma).permute(0, 3, 1, 2)
        return x + shortcut


def ConvNeXtBlock_inputs():
    return torch.randn(2, 6, 7, 7, requires_grad=True)


class PatchEmbed(nn.Module):
    """Patches of an image as tokens, with a class token and learned positions."""

    def __init__(self, img=8, patch=4, dim=8):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, (img // patch) ** 2 + 1, dim) * 0.02)

    def forward(self, x):
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        return x + self.pos_embed


def PatchEmbed_inputs():
    return torch.randn(2, 3, 8, 8)


class VitBlock(nn.Module):
    """A pre-norm transformer block with fused qkv."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, dim * 3, bias=False), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Linear(dim * 2, dim))

    def attention(self, x):
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(B, N, C))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def VitBlock_inputs():
    return torch.randn(2, 5, 8, requires_grad=True)


def window_partition(x, size):
    B, H, W, C = x.shape
    x = x.view(B, H // size, size, W // size, size, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, C)


class WindowAttention(nn.Module):
    """Shifted-window attention with a table of relative position biases."""

    def __init__(self, dim=8, size=2, heads=2):
        super().__init__()
        self.size, self.heads, self.scale = size, heads, (dim // heads) ** -0.5
        self.table = nn.Parameter(torch.randn((2 * size - 1) ** 2, heads) * 0.02)
        coords = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
        relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0) + size - 1
        self.register_buffer("index", relative[..., 0] * (2 * size - 1) + relative[..., 1])
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)

    def forward(self, x):
        B, H, W, C = x.shape
        shifted = torch.roll(x, shifts=(-1, -1), dims=(1, 2))
        windows = window_partition(shifted, self.size)
        n = windows.shape[1]
        q, k, v = self.qkv(windows).reshape(-1, n, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        attn = (q * self.scale) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1)
        attn = (attn + bias.unsqueeze(0)).softmax(dim=-1)
        out = self.proj((attn @ v).transpose(1, 2).reshape(-1, n, C))
        out = out.view(B, H // self.size, W // self.size, self.size, self.size, C)
        out = out.permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)
        return torch.roll(out, shifts=(1, 1), dims=(1, 2))


def WindowAttention_inputs():
    return torch.randn(2, 4, 4, 8)


def drop_path(x, drop_prob=0.3):
    """Stochastic depth: whole samples of a residual branch are dropped."""
    keep = 1 - drop_prob
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
    mask.div_(keep)
    return x + F.gelu(x) * mask


def drop_path_inputs():
    return torch.randn(8, 4, 6, requires_grad=True)


backbone = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def mixup_loss(images, labels):
    """Mixup: the loss of mixed images against both labels."""
    lam = 0.7
    index = torch.randperm(images.size(0), device=images.device)
    mixed = lam * images + (1 - lam) * images[index]
    logits = backbone(mixed)
    return lam * F.cross_entropy(logits, labels) + (1 - lam) * F.cross_entropy(logits, labels[index])


def mixup_loss_inputs():
    return torch.randn(6, 3, 8, 8), torch.randint(0, 5, (6,))


def cutmix_images(images, targets):
    """CutMix: a box of every image comes from its neighbour, and soft targets follow the area."""
    H, W = images.shape[-2:]
    images = images.clone()
    rolled = images.roll(1, 0)
    images[..., 2:6, 1:5] = rolled[..., 2:6, 1:5]
    lam = 1.0 - 16 / (H * W)
    one_hot = F.one_hot(targets, 5).to(images.dtype)
    return images, one_hot * lam + one_hot.roll(1, 0) * (1.0 - lam)


def cutmix_images_inputs():
    return torch.randn(4, 3, 8, 8), torch.randint(0, 5, (4,))


def label_smoothing_loss(logits, target):
    """Cross entropy with smoothed labels, written by hand."""
    logprobs = F.log_softmax(logits, dim=-1)
    nll = -logprobs.gather(dim=-1, index=target.unsqueeze(1)).squeeze(1)
    smooth = -logprobs.mean(dim=-1)
    return (0.9 * nll + 0.1 * smooth).mean()


def label_smoothing_loss_inputs():
    return torch.randn(8, 10, requires_grad=True), torch.randint(0, 10, (8,))


classifier = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))
classifier_optimizer = torch.optim.SGD(classifier.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)


def classifier_train_step(images, labels):
    """One step of SGD with momentum and weight decay."""
    classifier.train()
    classifier_optimizer.zero_grad()
    loss = F.cross_entropy(classifier(images), labels, label_smoothing=0.1)
    loss.backward()
    classifier_optimizer.step()
    return loss.detach()


def classifier_train_step_inputs():
    return torch.randn(8, 3, 4, 4), torch.randint(0, 5, (8,))


@torch.no_grad()
def topk_accuracy(images, labels):
    """Top-1 and top-3 accuracy of a batch in evaluation mode."""
    classifier.eval()
    output = classifier(images)
    _, pred = output.topk(3, 1, largest=True, sorted=True)
    correct = pred.t().eq(labels.view(1, -1).expand_as(pred.t()))
    return [correct[:k].reshape(-1).float().sum(0).mul(100.0 / labels.size(0)) for k in (1, 3)]


def topk_accuracy_inputs():
    return torch.randn(8, 3, 4, 4), torch.randint(0, 5, (8,))


def box_area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def generalized_box_iou(boxes1, boxes2):
    """Pairwise generalised intersection over union."""
    lt = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    rb = torch.min(boxes1[:, None, 2:], boxes2[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[..., 0] * wh[..., 1]
    union = box_area(boxes1)[:, None] + box_area(boxes2) - inter
    outer = torch.max(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.min(boxes1[:, None, :2], boxes2[:, :2])
    area = outer.clamp(min=0).prod(-1)
    return inter / union - (area - union) / area


def generalized_box_iou_inputs():
    def boxes(n):
        corner = torch.rand(n, 2) * 8
        return torch.cat([corner, corner + 1 + torch.rand(n, 2) * 6], 1).requires_grad_()

    return boxes(5), boxes(3)


def sigmoid_focal_loss(inputs, targets, alpha=0.25, gamma=2.0):
    """Focal loss of a dense detector."""
    p = torch.sigmoid(inputs)
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return (alpha_t * ce * (1 - p_t) ** gamma).sum() / targets.sum().clamp(min=1)


def sigmoid_focal_loss_inputs():
    return torch.randn(6, 12, requires_grad=True), (torch.rand(6, 12) > 0.8).float()


class FeaturePyramid(nn.Module):
    """Lateral connections and nearest up-sampling over two levels."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([nn.Conv2d(4, 6, 1), nn.Conv2d(8, 6, 1)])
        self.layer = nn.ModuleList([nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])

    def forward(self, features):
        top = self.inner[1](features["c4"])
        lateral = self.inner[0](features["c3"])
        merged = lateral + F.interpolate(top, size=lateral.shape[-2:], mode="nearest")
        return {"p3": self.layer[0](merged), "p4": self.layer[1](top)}


def FeaturePyramid_inputs():
    return ({"c3": torch.randn(1, 4, 8, 8), "c4": torch.randn(1, 8, 4, 4)},)


class TinyUNet(nn.Module):
    """One level of a U-Net, with transposed convolution and concatenation."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU())
        self.mid = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        skip = self.down(x)
        x = self.up(self.mid(F.max_pool2d(skip, 2)))
        return self.head(torch.cat([x, skip], dim=1))


def TinyUNet_inputs():
    return torch.randn(2, 1, 8, 8)


def dice_loss(logits, target):
    """Soft dice over classes, from logits and integer masks."""
    probs = logits.softmax(1)
    one_hot = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).type_as(probs)
    dims = (0, 2, 3)
    intersection = (probs * one_hot).sum(dims)
    cardinality = (probs + one_hot).sum(dims)
    return 1 - (2.0 * intersection / (cardinality + 1e-6)).mean()


def dice_loss_inputs():
    return torch.randn(2, 3, 6, 6, requires_grad=True), torch.randint(0, 3, (2, 6, 6))


class BlurPool(nn.Module):
    """Anti-aliased down-sampling with a fixed binomial filter."""

    def __init__(self, channels=4):
        super().__init__()
        coeffs = torch.tensor([1.0, 2.0, 1.0])
        filt = (coeffs[:, None] * coeffs[None, :]) / 16
        self.register_buffer("filt", filt[None, None].repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


def BlurPool_inputs():
    return torch.randn(2, 4, 8, 8, requires_grad=True)


class StdConv2d(nn.Conv2d):
    """Convolution with standardised weights, as in BiT."""

    def __init__(self):
        super().__init__(4, 6, 3, padding=1)
        self.norm = nn.GroupNorm(3, 6)

    def forward(self, x):
        var, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(var + 1e-5)
        return F.relu(self.norm(F.conv2d(x, weight, self.bias, self.stride, self.padding)))


def StdConv2d_inputs():
    return torch.randn(2, 4, 6, 6)


@torch.inference_mode()
def preprocess_and_predict(images):
    """Inference on uint8 images: scale, normalise, classify."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x = images.to(torch.float32).div(255)
    x = (x - mean) / std
    scores = backbone(x).softmax(-1)
    return scores.max(-1)


def preprocess_and_predict_inputs():
    return torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)


def nt_xent(z1, z2, temperature=0.5):
    """The contrastive loss of SimCLR."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = z1.shape[0]
    sim = z @ z.t() / temperature
    sim.fill_diagonal_(float("-inf"))
    target = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, target)


def nt_xent_inputs():
    return torch.randn(6, 8, requires_grad=True), torch.randn(6, 8, requires_grad=True)


online, ema_target = nn.Linear(8, 4), nn.Linear(8, 4).requires_grad_(False)


def byol_step(view1, view2, momentum=0.99):
    """A BYOL loss against a momentum encoder, which is updated in place."""
    with torch.no_grad():
        for p, q in zip(online.parameters(), ema_target.parameters()):
            q.data.mul_(momentum).add_(p.data, alpha=1 - momentum)
        target = F.normalize(ema_target(view2), dim=-1)
    pred = F.normalize(online(view1), dim=-1)
    return (2 - 2 * (pred * target).sum(-1)).mean()


def byol_step_inputs():
    return torch.randn(4, 8), torch.randn(4, 8)


class SubPixelUpsampler(nn.Module):
    """Super resolution by pixel shuffle on top of a bicubic base."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x):
        base = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return (base + F.pixel_shuffle(self.conv(x), 2)).clamp(0, 1)


def SubPixelUpsampler_inputs():
    return torch.rand(1, 3, 6, 6, requires_grad=True)


class SpatialTransformer(nn.Module):
    """An affine warp that a small network predicts, as in PyTorch's tutorial."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 6))
        self.loc[3].weight.data.mul_(0.1)
        self.loc[3].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))

    def forward(self, x):
        theta = self.loc(x).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


def SpatialTransformer_inputs():
    return torch.randn(2, 1, 6, 6)


def sine_position_encoding(mask, dim=4, temperature=10000.0):
    """DETR's two-dimensional position encoding of a padding mask."""
    not_mask = ~mask
    y = not_mask.cumsum(1, dtype=torch.float32)
    x = not_mask.cumsum(2, dtype=torch.float32)
    y = y / (y[:, -1:, :] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    freq = torch.arange(dim, dtype=torch.float32)
    freq = temperature ** (2 * torch.div(freq, 2, rounding_mode="floor") / dim)
    pos = [torch.stack(((p := v[..., None] / freq)[..., 0::2].sin(), p[..., 1::2].cos()), 4).flatten(3) for v in (y, x)]
    return torch.cat(pos, 3).permute(0, 3, 1, 2)


def sine_position_encoding_inputs():
    mask = torch.zeros(2, 5, 6, dtype=torch.bool)
    mask[1, 4:, :] = True
    return mask


def gem_pool(x, p):
    """Generalised-mean pooling with a learned exponent."""
    return F.avg_pool2d(x.clamp(min=1e-6).pow(p), (x.size(-2), x.size(-1))).pow(1.0 / p).flatten(1)


def gem_pool_inputs():
    return torch.rand(2, 4, 6, 6, requires_grad=True), torch.full((1,), 3.0, requires_grad=True)
