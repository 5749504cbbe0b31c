"""Weights and KV as a format keeps them, written back as fp32: what quantised bytes mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Format:
    """`group` values along K share a scale (0: the whole row); `centred`: around a midpoint."""

    bits: int
    group: int
    centred: bool


FORMATS = {
    "int8": Format(8, 0, centred=True),
    "int8-g128": Format(8, 128, centred=True),
    "int4-g32": Format(4, 32, centred=False),
    "int4-g64": Format(4, 64, centred=False),
    "int4-g128": Format(4, 128, centred=False),
}


def _bf16_not_below(values: torch.Tensor) -> torch.Tensor:
    """The smallest bfloat16 that is not below each (positive) value."""
    bits = values.to(torch.float32).contiguous().view(torch.int32)
    return ((bits + 0xFFFF) & -0x10000).view(torch.float32)


def _requantise(group: torch.Tensor, form: Format) -> torch.Tensor:
    top = 2**form.bits - 1
    zero = torch.zeros(group.shape[0], 1)
    low, high = torch.minimum(group.amin(1, True), zero), torch.maximum(group.amax(1, True), zero)
    if form.centred:
        offset = torch.full_like(zero, 2 ** (form.bits - 1))
        scale = _bf16_not_below(torch.maximum(high, -low) / (top - offset))
    else:
        scale = _bf16_not_below((high - low) / top)
        offset = torch.clamp(torch.round(-low / scale), 0, top)
    codes = torch.clamp(torch.round(group / scale) + offset, 0, top)
    return scale * (codes - offset)


def requantised(weight: torch.Tensor, form: Format) -> torch.Tensor:
    """A weight [N, K] after a round trip through the format."""
    groups = weight.float().split(form.group or weight.shape[1], dim=1)
    return torch.cat([_requantise(group, form) for group in groups], dim=1)


KV_GROUP = 64


def _bf16_not_above(values: torch.Tensor) -> torch.Tensor:
    bits = values.to(torch.float32).contiguous().view(torch.int32)
    away = torch.where(bits < 0, bits + 0xFFFF, bits)
    return (away & -0x10000).view(torch.float32)


def _stored_group(group: torch.Tensor, bits: int) -> torch.Tensor:
    if bits == 8:
        scale = _bf16_not_below(group.abs().amax(-1, True) / 127)
        return scale * torch.clamp(torch.round(group / scale), -128, 127)
    bias = _bf16_not_above(group.amin(-1, True))
    scale = _bf16_not_below((group.amax(-1, True) - bias) / 15)
    return bias + scale * torch.clamp(torch.round((group - bias) / scale), 0, 15)


def stored_kv(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Keys or values [..., head_dim] after a round trip through an int8 or int4 cache."""
    groups = values.float().split(KV_GROUP, dim=-1)
    return torch.cat([_stored_group(group, bits) for group in groups], dim=-1)
