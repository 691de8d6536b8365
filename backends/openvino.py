"""OpenVINO as its package registers it: subgraphs converted to OpenVINO models, the rest run by PyTorch."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from conformance.backend import Backend, Capability

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backend", "engaged", "listening"]

_HOME = "openvino.frontend.pytorch.torchdynamo"


class _Heard(logging.Handler):
    """Counts what the package says about each graph, which it says only at the level DEBUG."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a message by how it begins."""
        text = record.getMessage()
        if text.startswith(("OpenVINO execution failed", "Failed in OpenVINO execution")):
            self.told[text.splitlines()[0]] += 1
        elif text == "OpenVINO graph execution successful":
            self.told[""] += 1


_heard = _Heard()


def listening() -> Callable[..., Any]:
    """The registered compiler; from now on what becomes of its graphs is heard, and what was before is forgotten."""
    from torch._dynamo import lookup_backend

    _heard.told.clear()
    compiler: Callable[..., Any] = lookup_backend("openvino")
    for name in ("backend", "execute"):
        logger = logging.getLogger(f"{_HOME}.{name}")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(_heard)
    return compiler


def engaged() -> str | None:
    """None where OpenVINO ran every graph that it took since the compiler was made; it falls back without a word."""
    failed = [text for text in _heard.told if text]
    if failed:
        return failed[0]
    return None if _heard.told[""] else "no graph was run by OpenVINO"


backend = Backend(
    name="openvino",
    # Its documentation: "The aot_autograd graph capture is needed to enable dynamic shapes or to finetune a model.
    # [...] By default, aot_autograd is set to False." (docs.openvino.ai, PyTorch Deployment via torch.compile)
    capabilities=Capability.all()
    - {
        Capability.TRAINING,
        Capability.DOUBLE_BACKWARD,
        Capability.FORWARD_DERIVATIVES,
        Capability.RETAIN_GRAPH,
        Capability.DYNAMIC_SHAPES,
    },
    factory=listening,
    engaged=engaged,
    packages=("openvino",),
    tags=frozenset({"slow_compile"}),
    description="OpenVINO on CPU, default options",
)
