"""Where networks run."""

from __future__ import annotations


def choose_device(given: str | None) -> str:
    """The device to use: the one given, else the GPU if there is one, else the processor.

    Args:
        given: "cpu", "cuda", "cuda:1", ..., or None.

    Raises:
        ValueError: this machine does not have it.
    """
    import torch

    if given is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=torch.device(given))
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ValueError(f"this machine has no device '{given}': try --device cpu") from error
    return given
