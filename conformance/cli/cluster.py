"""The options of commands that may run on the workers of a dask cluster."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from conformance.execution.engine import Scheduler

__all__ = ["cluster_options", "scheduler_of"]

F = TypeVar("F", bound="Callable[..., Any]")

_FILE = click.Path(exists=True, dir_okay=False)
_OPTIONS = (
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on the workers of a dask scheduler, tcp://host:8786, or on N processes here, local:N.",
    ),
    click.option("--scheduler-file", type=_FILE, help="The same, by the file that dask scheduler wrote."),
    click.option(
        "--allow-mixed",
        is_flag=True,
        help="Take workers with other versions or processors too; records say so.",
    ),
    click.option(
        "--worker-timeout",
        type=click.FloatRange(min=0),
        default=300.0,
        show_default=True,
        help="Seconds to wait while there is no worker.",
    ),
    click.option("--tls-ca-file", type=_FILE, help="Speak to the scheduler with TLS: the certificate that signs all."),
    click.option("--tls-cert", type=_FILE, help="The certificate of this client."),
    click.option("--tls-key", type=_FILE, help="Its key."),
)
_TLS = {"tls_ca_file": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}


def cluster_options(command: F) -> F:
    """Give a command the options of clusters."""
    return reduce(lambda made, option: option(made), reversed(_OPTIONS), command)


def scheduler_of(options: MutableMapping[str, Any]) -> Scheduler | None:
    """Take the options of clusters out of those of a command, and return what they mean; None without a scheduler.

    Raises:
        UsageError: an option has no meaning without another one, or two contradict each other.
    """
    from conformance.model.errors import UsageError

    address, file = options.pop("scheduler"), options.pop("scheduler_file")
    mixed, timeout_s = options.pop("allow_mixed"), options.pop("worker_timeout")
    security = {name: path for option, name in _TLS.items() if (path := options.pop(option))}
    if address and file:
        message = "--scheduler and --scheduler-file name two schedulers"
        raise UsageError(message)
    if not address and not file:
        if mixed or security:
            message = "--allow-mixed and --tls-* are for a cluster: name its --scheduler or --scheduler-file"
            raise UsageError(message)
        return None
    if options.get("jobs"):
        message = "--jobs is for this machine; the workers of a cluster say themselves how much they run at a time"
        raise UsageError(message)
    if (security or (address or "").startswith("tls:")) and len(security) < len(_TLS):
        message = "TLS needs --tls-ca-file, --tls-cert and --tls-key"
        raise UsageError(message)
    from conformance.execution.engine import Scheduler

    return Scheduler(place=address or file, allow_mixed=mixed, worker_timeout_s=timeout_s, security=security)
