"""Meta-learning and training techniques: inner loops, episodes, optimisers, averaging and regularisers."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.optim.swa_utils import AveragedModel

net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def forward_with(params, x):
    w1, b1, w2, b2 = params
    return F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2)


def maml_loss(x_support, y_support, x_query, y_query):
    """Two inner steps with second-order gradients."""
    fast = list(net.parameters())
    for _ in range(2):
        loss = F.mse_loss(forward_with(fast, x_support), y_support)
        grads = torch.autograd.grad(loss, fast, create_graph=True)
        fast = [p - 0.1 * g for p, g in zip(fast, grads)]
    return F.mse_loss(forward_with(fast, x_query), y_query)


def regression_task_inputs():
    return torch.randn(5, 3), torch.randn(5, 1), torch.randn(6, 3), torch.randn(6, 1)


maml_loss_inputs = regression_task_inputs


def first_order_maml(x_support, y_support, x_query, y_query):
    """The first-order approximation: inner gradients are constants."""
    fast = list(net.parameters())
    loss = F.mse_loss(forward_with(fast, x_support), y_support)
    fast = [p - 0.1 * g.detach() for p, g in zip(fast, torch.autograd.grad(loss, fast))]
    return F.mse_loss(forward_with(fast, x_query), y_query)


first_order_maml_inputs = regression_task_inputs


def almost_no_inner_loop(x_support, y_support, x_query, y_query):
    """ANIL: only the head adapts."""
    body, head = net[0], list(net[2].parameters())
    support, query = torch.tanh(body(x_support)), torch.tanh(body(x_query))
    loss = F.mse_loss(F.linear(support, *head), y_support)
    head = [p - 0.1 * g for p, g in zip(head, torch.autograd.grad(loss, head, create_graph=True))]
    return F.mse_loss(F.linear(query, *head), y_query)


almost_no_inner_loop_inputs = regression_task_inputs


def functional_maml(x_support, y_support, x_query, y_query):
    """An inner step by torch.func over a dictionary of parameters."""
    params = dict(net.named_parameters())

    def loss(p, x, y):
        return F.mse_loss(functional_call(net, p, (x,)), y)

    grads = grad(loss)(params, x_support, y_support)
    return loss({name: p - 0.1 * grads[name] for name, p in params.items()}, x_query, y_query)


functional_maml_inputs = regression_task_inputs


def per_sample_gradients(x, y):
    """Gradients of every sample by vmap over grad, with their norms."""
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(p, sample, target):
        return F.mse_loss(functional_call(net, p, (sample,)), target)

    grads = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, y)
    return torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()]).norm(dim=0)


def per_sample_gradients_inputs():
    return torch.randn(4, 3), torch.randn(4, 1)


def prototypical_loss(support, query, labels):
    """Distances to the means of classes."""
    prototypes = support.view(3, 4, -1).mean(1)
    logits = -torch.cdist(query, prototypes).pow(2)
    return F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()


def prototypical_loss_inputs():
    return torch.randn(12, 5, requires_grad=True), torch.randn(6, 5, requires_grad=True), torch.randint(0, 3, (6,))


def matching_network(support, labels, query):
    """Attention over cosine similarities to labelled examples."""
    attention = (F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).t()).softmax(-1)
    return (attention @ F.one_hot(labels, 3).float()).clamp(1e-6, 1 - 1e-6).log()


def matching_network_inputs():
    return torch.randn(9, 5, requires_grad=True), torch.randint(0, 3, (9,)), torch.randn(4, 5, requires_grad=True)


relation = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())


def relation_scores(prototypes, query):
    """All pairs of a query and a class through a relation module."""
    q, n = query.shape[0], prototypes.shape[0]
    pairs = torch.cat([query[:, None].expand(q, n, -1), prototypes[None].expand(q, n, -1)], -1)
    return relation(pairs).squeeze(-1)


def relation_scores_inputs():
    return torch.randn(3, 5), torch.randn(4, 5)


def triplet_batch_hard(embeddings, labels):
    """The batch-hard triplet loss."""
    dist = (embeddings[:, None] - embeddings[None]).pow(2).sum(-1).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    hardest_positive = (dist * same).max(1).values
    hardest_negative = dist.masked_fill(same, float("inf")).min(1).values
    return F.relu(hardest_positive - hardest_negative + 0.3).mean()


def triplet_batch_hard_inputs():
    return torch.randn(8, 4, requires_grad=True), torch.arange(8) % 4


def supervised_contrastive(features, labels):
    """The supervised contrastive loss."""
    features = F.normalize(features, dim=1)
    logits = features @ features.t() / 0.1
    logits = logits - logits.max(1, keepdim=True).values.detach()
    mask = 1 - torch.eye(features.shape[0])
    positives = (labels[:, None] == labels[None]).float() * mask
    log_prob = logits - (logits.exp() * mask).sum(1, keepdim=True).log()
    return -((positives * log_prob).sum(1) / positives.sum(1).clamp(min=1)).mean()


def supervised_contrastive_inputs():
    return torch.randn(8, 4, requires_grad=True), torch.arange(8) % 3


reptile_net = nn.Linear(3, 1)


def reptile_outer_update(x, y):
    """Reptile: three inner steps on a copy, then interpolation in place."""
    w, b = (p.detach().clone().requires_grad_() for p in reptile_net.parameters())
    for _ in range(3):
        gw, gb = torch.autograd.grad(F.mse_loss(F.linear(x, w, b), y), (w, b))
        w, b = (w - 0.1 * gw).detach().requires_grad_(), (b - 0.1 * gb).detach().requires_grad_()
    with torch.no_grad():
        for p, q in zip(reptile_net.parameters(), (w, b)):
            p.add_(q - p, alpha=0.5)
    return reptile_net(x).detach()


def reptile_outer_update_inputs():
    return torch.randn(5, 3), torch.randn(5, 1)


sam_net = nn.Linear(4, 2)


def sharpness_aware_gradient(x, y):
    """The gradient at the point of steepest ascent, with parameters moved there and back in place."""
    params = list(sam_net.parameters())
    grads = torch.autograd.grad(F.cross_entropy(sam_net(x), y), params)
    scale = 0.05 / (torch.stack([g.norm() for g in grads]).norm() + 1e-12)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p.add_(g * scale)
    second = torch.autograd.grad(F.cross_entropy(sam_net(x), y), params)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p.sub_(g * scale)
    return second


def sharpness_aware_gradient_inputs():
    return torch.randn(6, 4), torch.randint(0, 2, (6,))


accumulating = nn.Linear(4, 2)


def accumulated_gradients(batches):
    """Gradients accumulated over micro batches by backward."""
    accumulating.zero_grad()
    for batch in batches.unbind(0):
        loss = accumulating(batch).pow(2).mean() / batches.shape[0]
        loss.backward()
    return [p.grad.clone() for p in accumulating.parameters()]


def accumulated_gradients_inputs():
    return torch.randn(3, 5, 4)


averaged_from = nn.Linear(4, 2)
averaged = AveragedModel(averaged_from, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))


def evaluate_average(x):
    """Inference with torch's averaged model."""
    averaged.eval()
    with torch.no_grad():
        return averaged(x)


def evaluate_average_inputs():
    return torch.randn(3, 4)


def ridge_head(support, targets, query):
    """A closed-form ridge regression head (R2-D2)."""
    gram = support @ support.transpose(-1, -2) + torch.eye(support.shape[0])
    weights = support.transpose(-1, -2) @ torch.linalg.solve(gram, targets)
    return query @ weights


def ridge_head_inputs():
    return torch.randn(5, 8, requires_grad=True), torch.randn(5, 2), torch.randn(4, 8, requires_grad=True)


hyper = nn.Linear(4, 3 * 2 + 2)


def hypernetwork(task, x):
    """A linear layer whose weights another network makes for each task."""
    w, b = hyper(task).split([6, 2], dim=-1)
    return torch.baddbmm(b.unsqueeze(1), x, w.view(-1, 3, 2)).tanh()


def hypernetwork_inputs():
    return torch.randn(2, 4), torch.randn(2, 5, 3)


def film(x, gamma, beta):
    """Feature-wise linear modulation of normalised features."""
    x = F.batch_norm(x, None, None, training=True)
    return F.relu(gamma[:, :, None, None] * x + beta[:, :, None, None])


def film_inputs():
    return torch.randn(3, 4, 5, 5, requires_grad=True), torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)


def elastic_weight_penalty(w, anchor, fisher):
    """Elastic weight consolidation over two tensors of parameters."""
    return sum((f * (p - a).pow(2)).sum() for p, a, f in zip(w, anchor, fisher)) * 0.5


def elastic_weight_penalty_inputs():
    shapes = ((3, 4), (4,))
    make = lambda fill: [fill(*shape) for shape in shapes]  # noqa: E731
    return [each.requires_grad_() for each in make(torch.randn)], make(torch.randn), make(torch.rand)


def meta_sgd_learned_rates(x, y, rate):
    """An inner step with a learned rate for every weight."""
    w = torch.ones(3, 1, requires_grad=True)
    (g,) = torch.autograd.grad(F.mse_loss(x @ w, y), w, create_graph=True)
    return F.mse_loss(x @ (w - rate * g), y)


def meta_sgd_learned_rates_inputs():
    return torch.randn(6, 3), torch.randn(6, 1), torch.full((3, 1), 0.1, requires_grad=True)


def hessian_vector_product(x, v):
    """A product with the Hessian by differentiating twice."""
    loss = (x.sin() * x.roll(1)).sum()
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    (hv,) = torch.autograd.grad((g * v).sum(), x)
    return hv


def hessian_vector_product_inputs():
    return torch.randn(6, requires_grad=True), torch.randn(6)


def jacobian_of_network(x):
    """The Jacobian of a small network by torch.func."""
    return jacrev(lambda v: forward_with([p.detach() for p in net.parameters()], v))(x)


def jacobian_of_network_inputs():
    return torch.randn(3)


lookahead_net = nn.Linear(3, 2)
slow_weights = [p.detach().clone() for p in lookahead_net.parameters()]
lookahead_optimizer = torch.optim.SGD(lookahead_net.parameters(), lr=0.1)


def lookahead_step(x):
    """SGD and a step of the slow weights of Lookahead."""
    lookahead_optimizer.zero_grad()
    lookahead_net(x).pow(2).mean().backward()
    lookahead_optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(slow_weights, lookahead_net.parameters()):
            slow.add_(fast - slow, alpha=0.5)
            fast.copy_(slow)
    return slow_weights[0].norm()


def lookahead_step_inputs():
    return torch.randn(4, 3)


def manifold_mixup(h, y):
    """Mixup of hidden features against a flipped batch, with soft targets."""
    mixed = 0.6 * h + 0.4 * h.flip(0)
    target = 0.6 * F.one_hot(y, 3).float() + 0.4 * F.one_hot(y.flip(0), 3).float()
    return -(target * mixed.log_softmax(-1)).sum(-1).mean()


def manifold_mixup_inputs():
    return torch.randn(6, 3, requires_grad=True), torch.randint(0, 3, (6,))


def mean_teacher_consistency(student, teacher):
    """The consistency of two distributions above a threshold of confidence."""
    with torch.no_grad():
        confidence, pseudo = teacher.softmax(-1).max(-1)
        mask = confidence.ge(0.5).float()
    return (F.cross_entropy(student, pseudo, reduction="none") * mask).mean(), mask.mean()


def mean_teacher_consistency_inputs():
    return torch.randn(8, 4, requires_grad=True), torch.randn(8, 4) * 2


def concrete_dropout_kl(logit_p, x):
    """Concrete dropout with a relaxed Bernoulli mask."""
    p = torch.sigmoid(logit_p)
    u = torch.rand_like(x)
    z = torch.sigmoid(
        (torch.log(p + 1e-7) - torch.log(1 - p + 1e-7) + torch.log(u + 1e-7) - torch.log(1 - u + 1e-7)) / 0.1
    )
    return x * (1 - z) / (1 - p)


def concrete_dropout_kl_inputs():
    return torch.tensor([-1.0], requires_grad=True), torch.randn(5, 4, requires_grad=True)
