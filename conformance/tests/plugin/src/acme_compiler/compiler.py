"""AOTAutograd makes graphs of forward and backward, and what a graph computes twice is computed once."""

from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.compile_utils import fx_graph_cse
from torch._functorch.partitioners import default_partition
from torch.fx import GraphModule


def compile_graph(graph, example_inputs):
    """Compile a graph of ATen operators."""
    return make_boxed_func(GraphModule(graph, fx_graph_cse(graph.graph)).forward)


acme = aot_autograd(
    fw_compiler=compile_graph,
    bw_compiler=compile_graph,
    partition_fn=default_partition,
    keep_inference_input_mutations=True,
)
