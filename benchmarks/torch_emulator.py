"""The recurrent emulator and its training in PyTorch, eager: the peer of `emulation.py`, with the weights of ours.

Written as one would write it there: members of a kind are one batched product, sequences go through `torch.nn.GRU`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinloop.learning import LEVELS, Emulator, RecurrentNetwork

RATES = (0.7, 0.45, 0.3, 0.15, 0.07, 0.03, 0.0)
NORMAL = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS))
MIDDLE = len(LEVELS) // 2


def tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


@dataclass
class State:
    """Past and hidden states, as in `twinloop.learning.EmulatorState`."""

    lags: Tensor
    levels: Tensor
    running: dict[str, Tensor]
    reports: Tensor
    age: Tensor
    hidden: list[Tensor]

    @property
    def last(self) -> Tensor:
        return self.lags[:, 0]


class TorchNetworks:
    """All members of one kind."""

    def __init__(self, net: RecurrentNetwork) -> None:
        self.cell, self.head_kind, self.width = net.structure.cell, net.structure.head, net.structure.hidden
        names = ("shift", "spread", "linear", "offset", "into", "within", "bias", "head")
        self.weights = {name: tensor(getattr(net, name)) for name in names}
        self.carried, self.members = net.structure.carried, net.bias.shape[0]

    def normalised(self, inputs: Tensor) -> Tensor:
        w = self.weights
        scaled = (inputs - w["shift"][:, None]) / w["spread"][:, None]
        return torch.nan_to_num(scaled.clamp(-6.0, 6.0), nan=0.0)

    def advance(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        w, width = self.weights, self.width
        projected = torch.baddbmm(w["bias"][:, None], inputs, w["into"])
        state = hidden[..., :width]
        recurrent = torch.bmm(state, w["within"])
        if self.cell == "gru":
            gates = torch.sigmoid(projected[..., : 2 * width] + recurrent[..., : 2 * width])
            update, reset = gates[..., :width], gates[..., width:]
            new = torch.tanh(projected[..., 2 * width :] + reset * recurrent[..., 2 * width :])
            return new + update * (state - new)
        enter, leave, keep, new = (projected + recurrent).chunk(4, dim=-1)
        memory = torch.sigmoid(keep + 1.0) * hidden[..., width:] + torch.sigmoid(enter) * torch.tanh(new)
        return torch.cat([torch.sigmoid(leave) * torch.tanh(memory), memory], dim=-1)

    def says(self, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and quantiles by member, user and horizon, in running scales."""
        w = self.weights
        said = torch.bmm(torch.cat([hidden[..., : self.width], inputs], dim=-1), w["head"])
        said = said.unflatten(-1, w["offset"].shape[1:]) + w["offset"][:, None]
        return mixture(said) if self.head_kind == "mixture" else from_gaps(said)


class TorchEmulator:
    """`twinloop.learning.Emulator`."""

    def __init__(self, emulator: Emulator) -> None:
        self.quantity, self.horizons = emulator.quantity, emulator.horizons
        if self.quantity.wanders or self.quantity.periods:
            raise ValueError("written for quantities with a mean and without seasons")
        names = ("linear", "residual", "relative", "mean_share", "share", "factor")
        self.weights = {name: tensor(getattr(emulator, name)) for name in names}
        self.networks = [TorchNetworks(net) for net in emulator.networks]
        self.low, self.high = emulator.low, emulator.high

    def start(self, users: int) -> State:
        zero = torch.zeros(users)
        running = dict.fromkeys(("change", "spread", "surprise", "bias"), zero)
        hidden = [torch.zeros(net.members, users, net.carried) for net in self.networks]
        return State(
            torch.zeros(users, self.quantity.kept), torch.zeros(users, len(RATES)), running, zero, zero, hidden
        )

    @torch.inference_mode()
    def step(self, state: State, value: Tensor, measured: Tensor, covariates: Tensor) -> tuple[State, Tensor, Tensor]:
        after = remember(state, value, measured)
        least, w = self.quantity.resolution, self.weights
        scale = torch.sqrt((after.running["change"] + least) * (after.running["spread"] + least))
        inputs = self.inputs(after, scale, covariates)
        lags = after.lags[:, 1 : self.quantity.lags]
        last = after.last[:, None]
        linear = torch.cat([lags - last, after.levels - last, torch.ones_like(last), last], dim=1)
        base = last + linear @ w["linear"].T
        means, quantiles = [base, base], [base[..., None] + w["residual"]]
        quantiles.append(base[..., None] + scale[:, None, None] * w["relative"])
        for place, net in enumerate(self.networks):
            own = net.normalised(inputs)
            after.hidden[place] = net.advance(state.hidden[place], own)
            mean, spread = net.says(after.hidden[place], own)
            centre = last + torch.einsum("ef,mhf->meh", linear, net.weights["linear"])
            means.append((centre + scale[:, None] * mean).mean(dim=0))
            quantiles.append((centre[..., None] + scale[:, None, None] * spread).mean(dim=0))
        mean = torch.einsum("ech,hc->eh", torch.stack(means, dim=1), w["mean_share"])
        whole = torch.einsum("echq,hc->ehq", torch.stack(quantiles, dim=1), w["share"])
        middle = whole[..., MIDDLE, None]
        ordered = torch.sort(middle + w["factor"] * (whole - middle), dim=-1).values
        return after, mean.clamp(self.low, self.high), ordered.clamp(self.low, self.high)

    def inputs(self, state: State, scale: Tensor, covariates: Tensor) -> Tensor:
        least, last = self.quantity.resolution, state.last[:, None]
        near = state.lags[:, 1 : min(6, self.quantity.lags)] - last
        relative = torch.cat([near, state.levels - last, state.running["bias"][:, None], last], dim=1)
        sizes = [state.running[name] + least for name in ("change", "spread", "surprise")]
        logs = [torch.log(scale / least), *(torch.log(size / scale) for size in sizes)]
        counts = [torch.log1p(state.age), 1.0 / state.reports.clamp(min=1.0)]
        return torch.cat([torch.asinh(relative / scale[:, None]), torch.stack([*logs, *counts], 1), covariates], dim=1)


def remember(state: State, value: Tensor, measured: Tensor) -> State:
    count = state.reports + measured
    first = measured & (state.reports == 0)
    later = 1.0 / (count - 1.0).clamp(min=1.0)
    rate = torch.maximum(torch.tensor(RATES), (1.0 / count.clamp(min=1.0))[:, None])
    levels = torch.where(measured[:, None], state.levels + rate * (value[:, None] - state.levels), state.levels)
    miss = value - state.levels[:, 1]
    new = {
        "change": (torch.abs(value - state.last), 0.15),
        "spread": (torch.abs(value - state.levels[:, 5]), 0.04),
        "surprise": (torch.abs(miss), 0.15),
        "bias": (miss, 0.1),
    }
    running = {
        name: torch.where(measured & ~first, old + later.clamp(min=new[name][1]) * (new[name][0] - old), old)
        for name, old in state.running.items()
    }
    held = torch.where(measured, value, state.last)
    moved = torch.cat([held[:, None], state.lags[:, :-1]], dim=1)
    lags = torch.where(first[:, None], value[:, None], moved)
    return State(lags, levels, running, count, torch.where(measured, 0.0, state.age + 1.0), list(state.hidden))


def from_gaps(said: Tensor) -> tuple[Tensor, Tensor]:
    gaps = torch.nn.functional.softplus(said[..., 3:])
    down = -gaps[..., :MIDDLE].flip(-1).cumsum(-1).flip(-1)
    spread = torch.cat([down, torch.zeros_like(down[..., :1]), gaps[..., MIDDLE:].cumsum(-1)], dim=-1)
    width = torch.exp(said[..., 1].clamp(-5.0, 5.0))
    return said[..., 0], width[..., None] * (said[..., 2, None] + spread)


def mixture(said: Tensor) -> tuple[Tensor, Tensor]:
    weight, mean, size = said.chunk(3, dim=-1)
    weight, std = torch.softmax(weight, dim=-1), torch.exp(size.clamp(-7.0, 5.0))
    levels = torch.tensor(LEVELS)
    parts = [
        (w[..., None], m[..., None], 1.0 / s[..., None])
        for w, m, s in zip(weight.unbind(-1), mean.unbind(-1), std.unbind(-1), strict=True)
    ]
    own = torch.stack([m + NORMAL / p for _, m, p in parts])
    low, high = own.amin(dim=0), own.amax(dim=0)
    value, step = 0.5 * (low + high), 0.25 * (high - low)

    def excess(at: Tensor) -> Tensor:
        return 0.5 + 0.5 * sum(w * torch.erf((at - m) * (p * math.sqrt(0.5))) for w, m, p in parts) - levels

    for _ in range(10):
        value, step = torch.where(excess(value) < 0, value + step, value - step), 0.5 * step
    low, high = value - 2.0 * step, value + 2.0 * step
    for _ in range(2):
        density = sum(w * p * torch.exp(-0.5 * ((value - m) * p) ** 2) for w, m, p in parts) / math.sqrt(2 * math.pi)
        value = torch.clamp(value - excess(value) / density.clamp(min=1e-9), low, high)
    return (weight * mean).sum(dim=-1), value


class TorchTraining:
    """A GRU with quantiles, `ExcerptLoss` and what `twinloop.learning.fit` does, step by step."""

    def __init__(self, net: RecurrentNetwork, excerpts: Any, *, burn_in: int, span: int) -> None:
        if net.structure.cell != "gru" or net.structure.head != "quantiles":
            raise ValueError("written for a GRU with quantiles")
        width = net.structure.hidden
        self.order = np.r_[width : 2 * width, :width, 2 * width : 3 * width]
        self.gru = torch.nn.GRU(net.structure.inputs, width, batch_first=True)
        with torch.no_grad():
            self.gru.weight_ih_l0.copy_(tensor(net.into).T[self.order])
            self.gru.weight_hh_l0.copy_(tensor(net.within).T[self.order])
            self.gru.bias_ih_l0.copy_(tensor(net.bias)[self.order])
            self.gru.bias_hh_l0.zero_().requires_grad_(False)
        self.gru.bias_hh_l0.requires_grad_(False)
        self.head = torch.nn.Parameter(tensor(net.head))
        self.offset = torch.nn.Parameter(tensor(net.offset))
        self.shift, self.spread, self.linear = tensor(net.shift), tensor(net.spread), tensor(net.linear)
        self.cut = {name: tensor(getattr(excerpts, name)) for name in ("inputs", "linear", "change", "scale", "unit")}
        self.burn_in, self.span = burn_in, span

    def trained(self) -> Iterator[torch.nn.Parameter]:
        yield from (self.gru.weight_ih_l0, self.gru.weight_hh_l0, self.gru.bias_ih_l0, self.head, self.offset)

    def loss(self, picked: Tensor) -> Tensor:
        entity = picked[:, :1]
        at = picked[:, 1:] + torch.arange(self.burn_in + self.span)
        late = at[:, self.burn_in :]
        scaled = ((self.cut["inputs"][entity, at] - self.shift) / self.spread).clamp(-6.0, 6.0)
        inputs = torch.nan_to_num(scaled, nan=0.0)
        hidden, _ = self.gru(inputs)
        said = torch.cat([hidden, inputs], dim=-1)[:, self.burn_in :] @ self.head
        mean, quantiles = from_gaps(said.unflatten(-1, self.offset.shape) + self.offset)
        ahead = torch.einsum("bthf,hf->bth", self.cut["linear"][entity, late], self.linear)
        truth = (self.cut["change"][entity, late] - ahead) / self.cut["scale"][entity, late][..., None]
        unit, levels = self.cut["unit"][entity, late], torch.tensor(LEVELS)
        miss = truth[..., None] - quantiles
        score = 2.0 * torch.maximum(levels * miss, (levels - 1.0) * miss).sum(dim=-1) / (len(LEVELS) + 1)
        total = (unit * score + 0.5 * unit**2 * (truth - mean) ** 2).sum()
        decayed = (self.gru.weight_ih_l0, self.gru.weight_hh_l0, self.head)
        return total / (unit > 0).sum().clamp(min=1) + 1e-4 * sum((w**2).sum() for w in decayed)

    def fit(
        self, examples: Tensor, held_out: Tensor, *, steps: int, batch: int, learning_rate: float, checks: int
    ) -> float:
        """Adam with a cosine and clipped gradients; the lowest loss on `held_out`, whose parameters are kept."""
        rule = torch.optim.Adam(self.trained(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(rule, steps)
        lowest, kept = math.inf, [p.detach().clone() for p in self.trained()]
        for number in range(steps):
            rule.zero_grad()
            self.loss(examples[torch.randint(len(examples), (batch,))]).backward()
            torch.nn.utils.clip_grad_norm_(self.trained(), 1.0)
            rule.step()
            schedule.step()
            if (number + 1) % (steps // checks) == 0:
                with torch.no_grad():
                    now = float(self.loss(held_out))
                if now < lowest:
                    lowest, kept = now, [p.detach().clone() for p in self.trained()]
        with torch.no_grad():
            for parameter, best in zip(self.trained(), kept, strict=True):
                parameter.copy_(best)
        return lowest
