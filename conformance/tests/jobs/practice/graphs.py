"""Graph networks and sets: message passing by scatter, pooling, attention on edges, point clouds, recommenders."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def graph():
    """Six nodes and ten edges, sources and targets."""
    return torch.tensor([[0, 1, 2, 3, 4, 5, 0, 2, 4, 1], [1, 2, 3, 4, 5, 0, 3, 5, 1, 4]])


def scatter_sum(src, index, size):
    return src.new_zeros(size, *src.shape[1:]).index_add_(0, index, src)


def scatter_softmax(src, index, size):
    top = src.new_full((size, src.shape[1]), float("-inf"))
    top = top.scatter_reduce(0, index[:, None].expand_as(src), src, "amax", include_self=True)
    out = (src - top[index]).exp()
    return out / (scatter_sum(out, index, size)[index] + 1e-16)


class GraphConv(nn.Module):
    """The symmetrically normalised convolution of Kipf and Welling."""

    def __init__(self, n_in=4, n_out=5):
        super().__init__()
        self.lin, self.bias = nn.Linear(n_in, n_out, bias=False), nn.Parameter(torch.zeros(n_out))

    def forward(self, x, edge_index):
        loops = torch.arange(x.size(0))
        row, col = torch.cat([edge_index[0], loops]), torch.cat([edge_index[1], loops])
        deg = torch.zeros(x.size(0)).scatter_add_(0, col, torch.ones(col.size(0)))
        norm = deg[row].pow(-0.5) * deg[col].pow(-0.5)
        return scatter_sum(norm[:, None] * self.lin(x)[row], col, x.size(0)) + self.bias


def node_inputs():
    return torch.randn(6, 4, requires_grad=True), graph()


GraphConv_inputs = node_inputs


class SageConv(nn.Module):
    """Mean aggregation of GraphSAGE."""

    def __init__(self):
        super().__init__()
        self.lin_l, self.lin_r = nn.Linear(4, 5), nn.Linear(4, 5, bias=False)

    def forward(self, x, edge_index):
        row, col = edge_index
        total = scatter_sum(x[row], col, x.size(0))
        count = torch.bincount(col, minlength=6).clamp(min=1).unsqueeze(-1)
        return F.normalize(self.lin_l(total / count) + self.lin_r(x), dim=-1)


SageConv_inputs = node_inputs


class GraphAttention(nn.Module):
    """Attention over edges with a softmax for each target."""

    def __init__(self, heads=2, dim=3):
        super().__init__()
        self.heads, self.dim = heads, dim
        self.lin = nn.Linear(4, heads * dim, bias=False)
        self.att_src, self.att_dst = (nn.Parameter(torch.randn(1, heads, dim) * 0.3) for _ in range(2))

    def forward(self, x, edge_index):
        row, col = edge_index
        h = self.lin(x).view(-1, self.heads, self.dim)
        a = (h * self.att_src).sum(-1)[row] + (h * self.att_dst).sum(-1)[col]
        alpha = scatter_softmax(F.leaky_relu(a, 0.2), col, x.size(0))
        return scatter_sum(h[row] * alpha.unsqueeze(-1), col, x.size(0)).flatten(1)


GraphAttention_inputs = node_inputs


class GinConv(nn.Module):
    """The sum aggregation of GIN with a learned epsilon."""

    def __init__(self):
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(1))
        self.nn = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x, edge_index):
        out = torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])
        return self.nn((1 + self.eps) * x + out)


GinConv_inputs = node_inputs


class EdgeConv(nn.Module):
    """Maxima over the edges of a dynamic graph CNN."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))

    def forward(self, x, edge_index):
        row, col = edge_index
        messages = self.mlp(torch.cat([x[col], x[row] - x[col]], dim=-1))
        out = messages.new_zeros(x.size(0), 4)
        return out.scatter_reduce(0, col[:, None].expand_as(messages), messages, "amax", include_self=False)


EdgeConv_inputs = node_inputs

gated = nn.GRUCell(4, 4)
gated_message = nn.Linear(4, 4, bias=False)


def gated_graph_steps(x, edge_index):
    """Two steps of a gated graph network."""
    for _ in range(2):
        m = scatter_sum(gated_message(x)[edge_index[0]], edge_index[1], x.size(0))
        x = gated(m, x)
    return x


gated_graph_steps_inputs = node_inputs


class EquivariantLayer(nn.Module):
    """The E(n)-equivariant layer over all pairs, for features and coordinates."""

    def __init__(self, dim=4):
        super().__init__()
        self.edge = nn.Sequential(nn.Linear(2 * dim + 1, 8), nn.SiLU(), nn.Linear(8, 8))
        self.coord, self.node = nn.Linear(8, 1), nn.Linear(dim + 8, dim)

    def forward(self, feats, coors):
        rel = coors[:, None] - coors[None]
        dist = rel.pow(2).sum(-1, keepdim=True)
        n = feats.shape[0]
        pairs = torch.cat([feats[:, None].expand(n, n, -1), feats[None].expand(n, n, -1), dist], -1)
        m = self.edge(pairs)
        coors = coors + (self.coord(m) * rel / (dist.sqrt() + 1)).sum(1)
        return feats + self.node(torch.cat([feats, m.sum(1)], -1)), coors


def EquivariantLayer_inputs():
    points = torch.randn(5, 3)
    return torch.randn(5, 4, requires_grad=True), points


class RadialBasis(nn.Module):
    """Smeared distances under a cosine cut-off, as in SchNet."""

    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.linspace(0, 5, 8))
        self.lin = nn.Linear(8, 4)

    def forward(self, dist):
        smeared = torch.exp(-2.0 * (dist[:, None] - self.offset[None]).pow(2))
        cutoff = 0.5 * (torch.cos(dist * math.pi / 5.0) + 1.0) * (dist < 5.0)
        return F.softplus(self.lin(smeared)) * cutoff[:, None]


def RadialBasis_inputs():
    return (torch.rand(7) * 6).requires_grad_()


def forces_from_energy(positions):
    """Forces as the negative gradient of a pair potential."""
    positions = positions.detach().requires_grad_()
    i, j = torch.triu_indices(4, 4, offset=1)
    r = (positions[i] - positions[j]).norm(dim=-1)
    energy = (r.pow(-2) - r.reciprocal()).sum()
    return energy.detach(), -torch.autograd.grad(energy, positions)[0]


def forces_from_energy_inputs():
    return torch.randn(4, 3) * 2


def mean_pool_readout(x, batch):
    """Mean, sum and max of the nodes of each graph."""
    size = 3
    total = scatter_sum(x, batch, size)
    count = scatter_sum(torch.ones(x.size(0), 1), batch, size)
    top = torch.full((size, x.size(1)), -1e9).scatter_reduce(0, batch[:, None].expand_as(x), x, "amax")
    return torch.cat([total / count, total, top], dim=1)


def mean_pool_readout_inputs():
    return torch.randn(8, 4, requires_grad=True), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def topk_pool(x, weight):
    """The nodes with the largest projection, gated by it."""
    score = torch.tanh((x * weight).sum(-1) / weight.norm(p=2, dim=-1))
    values, perm = score.topk(3)
    return x[perm] * values[:, None], perm


def topk_pool_inputs():
    return torch.randn(7, 4, requires_grad=True), torch.randn(4, requires_grad=True)


def dense_diff_pool(x, adj, s):
    """Soft assignment of nodes to clusters, with its two regularisers."""
    s = s.softmax(-1)
    out, out_adj = s.t() @ x, s.t() @ adj @ s
    link = torch.norm(adj - s @ s.t(), p=2) / adj.numel()
    entropy = (-s * torch.log(s + 1e-15)).sum(-1).mean()
    return out, out_adj, link, entropy


def dense_diff_pool_inputs():
    adj = (torch.rand(6, 6) > 0.5).float()
    return torch.randn(6, 4, requires_grad=True), adj, torch.randn(6, 3, requires_grad=True)


def laplacian_smoothing(x, edge_index):
    """Label propagation with a symmetric normalised dense adjacency."""
    adj = torch.zeros(6, 6)
    adj[edge_index[0], edge_index[1]] = 1.0
    adj = torch.maximum(adj, adj.t())
    d = adj.sum(-1).clamp(min=1).rsqrt()
    smooth = d[:, None] * adj * d[None]
    out = x
    for _ in range(3):
        out = 0.9 * smooth @ out + 0.1 * x
    return out


laplacian_smoothing_inputs = node_inputs

node_embedding = nn.Embedding(12, 4)


def skip_gram_negative_sampling(center, context, negatives):
    """The loss of node2vec with handed-in negatives."""
    c = node_embedding(center)
    positive = (c * node_embedding(context)).sum(-1)
    negative = torch.bmm(node_embedding(negatives), c.unsqueeze(-1)).squeeze(-1)
    return -(F.logsigmoid(positive) + F.logsigmoid(-negative).sum(-1)).mean()


def skip_gram_negative_sampling_inputs():
    return torch.randint(0, 12, (5,)), torch.randint(0, 12, (5,)), torch.randint(0, 12, (5, 3))


def link_prediction_scores(z, edge_index):
    """Inner products of both ends of every edge, and their loss."""
    row, col = edge_index.unbind(0)
    score = (z[row] * z[col]).sum(-1)
    labels = (torch.arange(score.numel()) % 2).float()
    return score, F.binary_cross_entropy_with_logits(score, labels)


link_prediction_scores_inputs = node_inputs

entity, relation_real = nn.Embedding(8, 6), nn.Embedding(3, 6)


def complex_knowledge_score(head, rel, tail):
    """ComplEx: the real part of a product of complex embeddings."""
    hr, hi = entity(head).chunk(2, -1)
    rr, ri = relation_real(rel).chunk(2, -1)
    tr, ti = entity(tail).chunk(2, -1)
    return (hr * rr * tr + hi * rr * ti + hr * ri * ti - hi * ri * tr).sum(-1)


def complex_knowledge_score_inputs():
    return torch.randint(0, 8, (5,)), torch.randint(0, 3, (5,)), torch.randint(0, 8, (5,))


def margin_ranking_transe(h, r, t, t_bad):
    """TransE with a margin between true and corrupted triples."""
    good, bad = (h + r - t).norm(p=1, dim=-1), (h + r - t_bad).norm(p=1, dim=-1)
    return F.margin_ranking_loss(good, bad, -torch.ones_like(good), margin=1.0)


def margin_ranking_transe_inputs():
    return (*(torch.randn(5, 4, requires_grad=True) for _ in range(3)), torch.randn(5, 4))


class PointNetTorso(nn.Module):
    """Shared MLPs over points, a maximum over all, and global features beside local ones."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv1d(3, 6, 1), nn.BatchNorm1d(6), nn.Conv1d(6, 8, 1)

    def forward(self, points):
        local = F.relu(self.bn1(self.conv1(points)))
        pooled = self.conv2(local).max(2, keepdim=True)[0]
        return torch.cat([local, pooled.expand(-1, -1, points.shape[2])], 1)


def PointNetTorso_inputs():
    return torch.randn(2, 3, 7)


@torch.no_grad()
def farthest_points(xyz):
    """Farthest point sampling in a Python loop with in-place distances."""
    distance, chosen = torch.full((xyz.shape[0],), 1e10), torch.zeros(4, dtype=torch.long)
    farthest = torch.zeros((), dtype=torch.long)
    for i in range(4):
        chosen[i] = farthest
        d = (xyz - xyz[farthest]).pow(2).sum(-1)
        distance = torch.minimum(distance, d)
        farthest = distance.argmax(-1)
    return chosen, xyz[chosen]


def farthest_points_inputs():
    return torch.randn(9, 3)


def knn_features(points, features, k=3):
    """Features of the nearest neighbours, gathered."""
    with torch.no_grad():
        index = torch.cdist(points, points).topk(k + 1, largest=False).indices[:, 1:]
    neighbours = features[index]
    return (neighbours - features[:, None]).amax(1)


def knn_features_inputs():
    return torch.randn(8, 3), torch.randn(8, 4, requires_grad=True)


def chamfer_distance(a, b):
    """The distance from each point to the nearest of the other cloud, both ways."""
    d = (a[:, None] - b[None]).pow(2).sum(-1)
    return d.min(1).values.mean() + d.min(0).values.mean()


def chamfer_distance_inputs():
    return torch.randn(6, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)


class SetAttention(nn.Module):
    """Pooling by attention of learned seeds, with torch's multi-head attention."""

    def __init__(self, dim=8):
        super().__init__()
        self.seeds = nn.Parameter(torch.randn(1, 2, dim))
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)

    def forward(self, x, padding):
        seeds = self.seeds.expand(x.shape[0], -1, -1)
        out, weights = self.attention(seeds, x, x, key_padding_mask=padding)
        return seeds + out, weights


def SetAttention_inputs():
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    return torch.randn(2, 5, 8), padding


bag = nn.EmbeddingBag(12, 4, mode="mean")


def bag_of_items(items, offsets, other):
    """A recommender: an embedding bag against a dense feature."""
    return (bag(items, offsets) * other).sum(-1).sigmoid()


def bag_of_items_inputs():
    return torch.randint(0, 12, (9,)), torch.tensor([0, 4, 6]), torch.randn(3, 4)


def factorisation_machine(x, v, w):
    """The second-order interactions of a factorisation machine."""
    linear = x @ w
    square_of_sum, sum_of_square = (x @ v).pow(2), x.pow(2) @ v.pow(2)
    return linear + 0.5 * (square_of_sum - sum_of_square).sum(1, keepdim=True)


def factorisation_machine_inputs():
    return torch.randn(5, 6), torch.randn(6, 3, requires_grad=True), torch.randn(6, 1, requires_grad=True)


graph_net = nn.Linear(4, 3)
graph_optimizer = torch.optim.RMSprop(graph_net.parameters(), lr=1e-2)


def node_classification_step(x, edge_index, labels, mask):
    """A step of RMSprop on the labelled nodes only."""
    graph_optimizer.zero_grad()
    out = scatter_sum(graph_net(x)[edge_index[0]], edge_index[1], x.size(0)).log_softmax(-1)
    loss = F.nll_loss(out[mask], labels[mask])
    loss.backward()
    graph_optimizer.step()
    return loss.detach(), out.argmax(-1)


def node_classification_step_inputs():
    mask = torch.tensor([True, True, False, True, False, True])
    return torch.randn(6, 4), graph(), torch.randint(0, 3, (6,)), mask
