"""Language: attention in its many forms, transformer blocks, caches, sampling and training steps."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def exists(val):
    return val is not None


def default(val, d):
    return val if exists(val) else d


class CausalSelfAttention(nn.Module):
    """Masked attention of a small GPT, with the mask in a buffer."""

    def __init__(self, n_embd=8, n_head=2, block_size=8):
        super().__init__()
        self.n_head = n_head
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.register_buffer("bias", torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


def CausalSelfAttention_inputs():
    return torch.randn(2, 6, 8, requires_grad=True)


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def apply_rotary(q, k, positions):
    """Rotary embeddings in the half-rotated layout."""
    inv_freq = 1.0 / (10000 ** (torch.arange(0, q.shape[-1], 2).float() / q.shape[-1]))
    freqs = torch.einsum("i,j->ij", positions.float(), inv_freq)
    emb = torch.cat((freqs, freqs), dim=-1)
    cos, sin = emb.cos(), emb.sin()
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def apply_rotary_inputs():
    q, k = torch.randn(2, 2, 5, 8, requires_grad=True), torch.randn(2, 2, 5, 8, requires_grad=True)
    return q, k, torch.arange(5)


def complex_rotary(xq, freqs_cis):
    """Rotary embeddings by complex multiplication, as in the LLaMA reference."""
    xq_ = torch.view_as_complex(xq.float().reshape(*xq.shape[:-1], -1, 2))
    return torch.view_as_real(xq_ * freqs_cis).flatten(3).type_as(xq)


def complex_rotary_inputs():
    angles = torch.outer(torch.arange(4).float(), 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8))
    return torch.randn(2, 2, 4, 8), torch.polar(torch.ones_like(angles), angles)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation that computes in float32."""

    def __init__(self, dim=16, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        dtype = x.dtype
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * x.to(dtype)


def RMSNorm_inputs():
    return torch.randn(2, 4, 16, requires_grad=True)


class SwiGLU(nn.Module):
    """The gated feed-forward layer of LLaMA."""

    def __init__(self, dim=8, hidden=16):
        super().__init__()
        self.w1, self.w3 = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def SwiGLU_inputs():
    return torch.randn(2, 4, 8, requires_grad=True)


def geglu(x):
    """Gated GELU of a doubled projection."""
    x, gate = x.chunk(2, dim=-1)
    return F.gelu(gate) * x


def geglu_inputs():
    return torch.randn(2, 4, 16, requires_grad=True)


class GroupedQueryAttention(nn.Module):
    """Attention whose key and value heads are shared by groups of query heads."""

    def __init__(self, dim=16, heads=4, kv_heads=2):
        super().__init__()
        self.heads, self.kv_heads, self.d = heads, kv_heads, dim // heads
        self.wq = nn.Linear(dim, heads * self.d, bias=False)
        self.wkv = nn.Linear(dim, 2 * kv_heads * self.d, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        q = self.wq(x).view(b, n, self.heads, self.d).transpose(1, 2)
        k, v = self.wkv(x).view(b, n, 2, self.kv_heads, self.d).permute(2, 0, 3, 1, 4)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(b, n, -1))


def GroupedQueryAttention_inputs():
    return torch.randn(2, 5, 16)


def alibi_attention(q, k, v):
    """Attention with linear biases that grow with the distance."""
    n, heads = q.shape[-2], q.shape[1]
    slopes = torch.tensor([2.0 ** (-8 * (i + 1) / heads) for i in range(heads)])
    pos = torch.arange(n)
    bias = -(pos[None, :] - pos[:, None]).abs()[None] * slopes[:, None, None]
    sim = torch.einsum("b h i d, b h j d -> b h i j", q, k) * q.shape[-1] ** -0.5 + bias
    mask = torch.ones(n, n, dtype=torch.bool).triu(1)
    sim = sim.masked_fill(mask, -torch.finfo(sim.dtype).max)
    return torch.einsum("b h i j, b h j d -> b h i d", sim.softmax(dim=-1), v)


def alibi_attention_inputs():
    return tuple(torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3))


class CrossAttention(nn.Module):
    """Attention to a padded context with a key mask, and a learned null key."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.to_q, self.to_kv = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim * 2, bias=False)
        self.null_kv = nn.Parameter(torch.randn(2, heads, 1, dim // heads))
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x, context=None, mask=None):
        b, h = x.shape[0], self.heads
        context = default(context, x)
        q = self.to_q(x)
        k, v = self.to_kv(context).chunk(2, dim=-1)
        q, k, v = (t.reshape(b, t.shape[1], h, -1).transpose(1, 2) for t in (q, k, v))
        nk, nv = (t.unsqueeze(0).expand(b, -1, -1, -1) for t in self.null_kv)
        k, v = torch.cat((nk, k), dim=-2), torch.cat((nv, v), dim=-2)
        sim = torch.einsum("bhid,bhjd->bhij", q * self.scale, k)
        if exists(mask):
            mask = F.pad(mask, (1, 0), value=True)[:, None, None, :]
            sim = sim.masked_fill(~mask, -torch.finfo(sim.dtype).max)
        out = torch.einsum("bhij,bhjd->bhid", sim.softmax(-1), v)
        return self.to_out(out.transpose(1, 2).reshape(b, x.shape[1], -1))


def CrossAttention_inputs():
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 3:] = False
    return torch.randn(2, 4, 8), torch.randn(2, 6, 8), mask


embedding = nn.Embedding(20, 8, padding_idx=0)
lm_head = nn.Linear(8, 20, bias=False)
lm_head.weight = embedding.weight


def tied_language_model_loss(tokens):
    """Next-token loss with tied embeddings and ignored padding."""
    x, y = tokens[:, :-1], tokens[:, 1:]
    logits = lm_head(embedding(x))
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1), ignore_index=0)


def tied_language_model_loss_inputs():
    tokens = torch.randint(1, 20, (3, 7))
    tokens[1, 5:] = 0
    return tokens


encoder_layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)


def encoder_layer_with_padding(src, padding):
    """PyTorch's own encoder layer in training mode, with a padding mask."""
    return encoder_layer(src, src_key_padding_mask=padding).mean(dim=1)


def encoder_layer_with_padding_inputs():
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    return torch.randn(2, 5, 8), padding


decoder_layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, norm_first=True)


def decoder_layer_causal(tgt, memory):
    """PyTorch's own decoder layer with a square subsequent mask."""
    mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(0))
    return decoder_layer(tgt, memory, tgt_mask=mask)


def decoder_layer_causal_inputs():
    return torch.randn(4, 2, 8, requires_grad=True), torch.randn(3, 2, 8)


def sinusoidal_positions(x):
    """The sinusoidal positions of the original transformer, added in place of a slice."""
    length, dim = x.shape[-2:]
    position = torch.arange(length).unsqueeze(1)
    div_term = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    pe = torch.zeros(length, dim)
    pe[:, 0::2] = torch.sin(position * div_term)
    pe[:, 1::2] = torch.cos(position * div_term)
    return x + pe


def sinusoidal_positions_inputs():
    return torch.randn(2, 5, 8, requires_grad=True)


kv_proj = nn.Linear(8, 24)
k_cache, v_cache = torch.zeros(1, 2, 6, 4), torch.zeros(1, 2, 6, 4)


@torch.no_grad()
def decode_with_cache(x, input_pos):
    """One step of decoding that writes keys and values into a static cache."""
    q, k, v = (t.view(1, 1, 2, 4).transpose(1, 2) for t in kv_proj(x).chunk(3, -1))
    k_cache[:, :, input_pos] = k
    v_cache[:, :, input_pos] = v
    mask = (torch.arange(6) <= input_pos)[None, None, None]
    y = F.scaled_dot_product_attention(q, k_cache, v_cache, attn_mask=mask)
    return y.transpose(1, 2).reshape(1, 1, 8)


def decode_with_cache_inputs():
    return torch.randn(1, 1, 8), torch.tensor([2])


@torch.no_grad()
def top_k_filter(logits, k=3, temperature=0.8):
    """Logits with all but the k largest removed, as probabilities."""
    logits = logits / temperature
    values, _ = torch.topk(logits, min(k, logits.size(-1)))
    logits = torch.where(logits < values[..., -1, None], torch.full_like(logits, float("-inf")), logits)
    return F.softmax(logits, dim=-1)


def top_k_filter_inputs():
    return torch.randn(2, 12)


@torch.no_grad()
def top_p_filter(logits, p=0.9):
    """Nucleus filtering by sorted cumulative probabilities."""
    sorted_logits, indices = torch.sort(logits, descending=True)
    cumulative = torch.cumsum(F.softmax(sorted_logits, dim=-1), dim=-1)
    remove = cumulative > p
    remove[..., 1:] = remove[..., :-1].clone()
    remove[..., 0] = 0
    sorted_logits[remove] = float("-inf")
    return sorted_logits.gather(1, indices.argsort(1))


def top_p_filter_inputs():
    return torch.randn(2, 12)


@torch.no_grad()
def sample_top_k(logits):
    """The exponential trick of gpt-fast: sampling without a synchronisation."""
    v, _ = torch.topk(logits, 4)
    pivot = v.select(-1, -1).unsqueeze(-1)
    logits = torch.where(logits < pivot, -float("Inf"), logits)
    probs = F.softmax(logits, dim=-1)
    q = torch.empty_like(probs).exponential_(1)
    return torch.argmax(probs / q, dim=-1, keepdim=True).to(dtype=torch.int)


def sample_top_k_inputs():
    return torch.randn(3, 12)


gru = nn.GRU(6, 8, batch_first=True)


def gru_language_model(x, hidden):
    """A GRU over a sequence, with its last hidden state."""
    output, hidden = gru(x, hidden)
    return output, hidden


def gru_language_model_inputs():
    return torch.randn(2, 4, 6), torch.zeros(1, 2, 8)


lstm_cell = nn.LSTMCell(6, 8)


def lstm_cell_unrolled(inputs):
    """An LSTM cell unrolled over time by a Python loop."""
    h = c = inputs.new_zeros(inputs.shape[1], 8)
    outputs = []
    for x in inputs.unbind(0):
        h, c = lstm_cell(x, (h, c))
        outputs.append(h)
    return torch.stack(outputs), (h, c)


def lstm_cell_unrolled_inputs():
    return torch.randn(3, 2, 6, requires_grad=True)


class DropoutFeedForward(nn.Module):
    """A feed-forward layer with two dropouts, in training mode."""

    def __init__(self, dim=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, dim * 2),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(dim * 2, dim),
            nn.Dropout(0.2),
        )

    def forward(self, x):
        return self.net(x) + x


def DropoutFeedForward_inputs():
    return torch.randn(4, 8, 16, requires_grad=True)


checkpointed = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))


def checkpointed_block(x):
    """Gradient checkpointing around a residual branch."""
    return x + checkpoint(checkpointed, x, use_reentrant=False)


def checkpointed_block_inputs():
    return torch.randn(4, 8, requires_grad=True)


bf16_net = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 10))


def autocast_loss(x, target):
    """A loss whose network runs under bfloat16 autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = bf16_net(x)
    return F.cross_entropy(logits.float(), target)


def autocast_loss_inputs():
    return torch.randn(6, 16), torch.randint(0, 10, (6,))


adam_net = nn.Linear(6, 4)
adam_optimizer = torch.optim.AdamW(adam_net.parameters(), lr=1e-2, weight_decay=0.1)


def adamw_step_with_clipping(x, y):
    """A step of AdamW after clipping the norm of the gradients."""
    adam_optimizer.zero_grad(set_to_none=True)
    loss = F.mse_loss(adam_net(x), y)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(adam_net.parameters(), 0.5)
    adam_optimizer.step()
    return loss.detach(), norm


def adamw_step_with_clipping_inputs():
    return torch.randn(5, 6), torch.randn(5, 4)


class Mixture(nn.Module):
    """A dense mixture of experts with a top-2 router."""

    def __init__(self, dim=8, experts=4):
        super().__init__()
        self.gate = nn.Linear(dim, experts, bias=False)
        self.w1 = nn.Parameter(torch.randn(experts, dim, dim) * 0.1)
        self.w2 = nn.Parameter(torch.randn(experts, dim, dim) * 0.1)

    def forward(self, x):
        weights, chosen = torch.topk(self.gate(x).softmax(-1), 2)
        weights = weights / weights.sum(-1, keepdim=True)
        hidden = F.silu(torch.einsum("ti,taio->tao", x, self.w1[chosen]))
        out = torch.einsum("tao,taoi->tai", hidden, self.w2[chosen])
        return torch.einsum("tai,ta->ti", out, weights)


def Mixture_inputs():
    return torch.randn(5, 8, requires_grad=True)


def distillation_loss(student, teacher, labels, T=2.0):
    """The KL loss between softened distributions, with the hard loss beside it."""
    soft = F.kl_div(F.log_softmax(student / T, -1), F.softmax(teacher / T, -1), reduction="batchmean") * T * T
    return 0.5 * soft + 0.5 * F.cross_entropy(student, labels)


def distillation_loss_inputs():
    return torch.randn(6, 10, requires_grad=True), torch.randn(6, 10), torch.randint(0, 10, (6,))


def dpo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, beta=0.1):
    """Direct preference optimisation over summed log probabilities."""
    logits = (policy_chosen - policy_rejected) - (ref_chosen - ref_rejected)
    losses = -F.logsigmoid(beta * logits)
    rewards = beta * (policy_chosen - ref_chosen).detach()
    return losses.mean(), rewards


def dpo_loss_inputs():
    return (*(torch.randn(6, requires_grad=True) for _ in range(2)), torch.randn(6), torch.randn(6))


class LowRankLinear(nn.Module):
    """A frozen linear layer with a low-rank adapter."""

    def __init__(self, dim=8, r=2):
        super().__init__()
        self.base = nn.Linear(dim, dim).requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(r, dim) * 0.1)
        self.lora_b = nn.Parameter(torch.zeros(dim, r))

    def forward(self, x):
        return self.base(x) + (x @ self.lora_a.T @ self.lora_b.T) * 2.0


def LowRankLinear_inputs():
    return torch.randn(4, 8)
