"""Gradient mode, inference mode and autocast as documented: what a context sets, and what leaving it restores.

Sources: https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation and
https://docs.pytorch.org/docs/stable/amp.html. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Autocast", "Context", "Grad", "Inference", "Modes", "ambient"]


@dataclass(frozen=True, kw_only=True)
class Modes:
    """The modes of a thread; `dtype` is the dtype of autocast where it is enabled."""

    grad: bool = True
    inference: bool = False
    autocast: bool = False
    dtype: str = "bfloat16"

    @property
    def records(self) -> bool:
        """Whether operations on tensors that require grad are recorded."""
        return self.grad and not self.inference


@dataclass(frozen=True, kw_only=True)
class Grad:
    """`no_grad`, `enable_grad` and `set_grad_enabled`."""

    enabled: bool

    def enter(self, modes: Modes) -> Modes:
        """Return the modes inside the context."""
        return replace(modes, grad=self.enabled)

    def leave(self, before: Modes, inside: Modes) -> Modes:
        """Return the modes after the context; other modes set inside stay."""
        return replace(inside, grad=before.grad)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """`inference_mode(mode)`; False enables recording inside any other mode."""

    mode: bool

    def enter(self, modes: Modes) -> Modes:
        """Return the modes inside the context."""
        return replace(modes, inference=self.mode, grad=not self.mode)

    def leave(self, before: Modes, inside: Modes) -> Modes:
        """Return the modes after the context; other modes set inside stay."""
        return replace(inside, inference=before.inference, grad=before.grad)


@dataclass(frozen=True, kw_only=True)
class Autocast:
    """`autocast(device, dtype, enabled)`; without a dtype the current one stays."""

    enabled: bool = True
    dtype: str | None = None

    def enter(self, modes: Modes) -> Modes:
        """Return the modes inside the context."""
        return replace(modes, autocast=self.enabled, dtype=self.dtype or modes.dtype)

    def leave(self, before: Modes, inside: Modes) -> Modes:
        """Return the modes after the context; other modes set inside stay."""
        return replace(inside, autocast=before.autocast, dtype=before.dtype)


Context = Grad | Inference | Autocast


def ambient(grad: str, autocast: str) -> Modes:
    """Return the caller's modes for the `grad` and `autocast` of a variant."""
    modes = Modes() if autocast == "off" else Autocast(dtype=autocast).enter(Modes())
    contexts: dict[str, Context] = {"disabled": Grad(enabled=False), "inference": Inference(mode=True)}
    return contexts[grad].enter(modes) if grad in contexts else modes
