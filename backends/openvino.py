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
    """The registered compiler; from now on what becomes of its graphs is heard."""
    from torch._dynamo import lookup_backend

    compiler: Callable[..., Any] = lookup_backend("openvino")
    for name in ("backend", "execute"):
        logger = logging.getLogger(f"{_HOME}.{name}")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(_heard)
    return compiler


def engaged() -> str | None:
    """None where OpenVINO ran every graph that it took since this was last asked; it falls back without a word."""
    told, _heard.told = _heard.told, Counter()
    failed = [text for text in told if text]
    if failed:
        return failed[0]
    return None if told[""] else "no graph was run by OpenVINO"


backend = Backend(
    name="openvino",
    factory=listening,
    engaged=engaged,
    # Its documentation: "The aot_autograd graph capture is needed to enable dynamic shapes or to finetune a model."
    capabilities=Capability.all() - {Capability.TRAINING, Capability.DYNAMIC_SHAPES, Capability.DOUBLE_BACKWARD},
    packages=("openvino",),
    tags=frozenset({"slow_compile"}),
    description="OpenVINO on CPU, default options",
)
