"""One step of training: the network and its heads, what they lose, and the optimizer over both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.non_local import NonLocalBlock
from models.ste_nvan import EmbeddingModel
from training.average import update_average
from training.clips import Batch, normalised
from training.distil import Teacher, direct_loss, relational_loss
from training.logs import METRICS
from training.losses import soft_margin_batch_hard_triplet, supervised_contrastive
from training.recipe import Recipe, Stage

_NEVER_TRAINED = "head.norm.bias"  # the paper's batch norm has none
_CLASSIFIER_STD = 0.001


@dataclass
class Run:
    """What changes from step to step; all of it goes into the checkpoint.

    Attributes:
        model: The network that learns.
        heads: `identity`, and `relational` and `direct` with a teacher; part of training only.
        average: Moving average of the model, which is evaluated and saved.
        optimizer: Over model and heads.
        step: Steps done.
        seconds: Spent on them.
        sums: `(len(METRICS),)` since the last line of the log.
        num_summed: Steps in `sums`.
        logged_s: Value of `seconds` at that line.
    """

    model: EmbeddingModel
    heads: nn.ModuleDict
    average: EmbeddingModel
    optimizer: torch.optim.Optimizer
    sums: Tensor
    step: int = 0
    seconds: float = 0.0
    num_summed: int = 0
    logged_s: float = 0.0


def train_step(run: Run, recipe: Recipe, batch: Batch, rate: float) -> None:
    """One batch forward and back, one step of the optimizer and of the average."""
    device = run.sums.device
    clips, labels, teacher = (tensor.to(device, non_blocking=True) for tensor in batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=is_half(recipe)):
        before, after = run.model.pool(normalised(clips, run.model.preprocessing))
    values = batch_losses(recipe, run.heads, before, after, labels, teacher)
    values["loss"].backward()  # type: ignore[no-untyped-call]
    if recipe.clip_gradient is not None:
        parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, recipe.clip_gradient)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    update_average(run.average, run.model, recipe.average_decay, run.step)
    run.sums += torch.stack([values[name].detach() for name in METRICS])  # read at the log's lines only
    run.num_summed += 1
    run.step += 1


def is_half(recipe: Recipe) -> bool:
    return recipe.precision == "bfloat16"


def batch_losses(
    recipe: Recipe, heads: nn.ModuleDict, before: Tensor, after: Tensor, labels: Tensor, teacher: Tensor
) -> dict[str, Tensor]:
    """The losses of a batch, those left out as 0, their weighted sum, and the classifier's accuracy.

    Args:
        recipe: Weights and settings of the losses.
        heads: As in `Run`.
        before: `(B, D)` feature before the batch norm.
        after: `(B, D)` feature after it.
        labels: `(B,)` identities.
        teacher: `(B, E)` unit vectors; E may be 0 where no loss needs them.
    """
    weights = recipe.losses
    values = dict.fromkeys(METRICS, before.new_zeros(()))
    logits = _logits(classifier(heads).weight, after, weights.identity_scale)
    values["identity"] = functional.cross_entropy(logits, labels, label_smoothing=weights.label_smoothing)
    values["accuracy"] = (logits.argmax(1) == labels).float().mean()
    if weights.triplet:
        values["triplet"] = soft_margin_batch_hard_triplet(before, labels).mean()
    if weights.contrastive:
        values["contrastive"] = supervised_contrastive(after, labels, weights.contrastive_temperature).mean()
    if weights.relational:
        values["relational"] = relational_loss(
            heads["relational"](before), teacher, weights.relational_temperature, weights.relational_smooth_l1
        )
    if weights.direct:
        values["direct"] = direct_loss(heads["direct"](before), teacher)
    terms = ("identity", "triplet", "contrastive", "relational", "direct")
    values["loss"] = sum((getattr(weights, name) * values[name] for name in terms), before.new_zeros(()))
    return values


def classifier(heads: nn.ModuleDict) -> nn.Linear:
    return cast(nn.Linear, heads["identity"])


def _logits(weight: Tensor, after: Tensor, scale: float | None) -> Tensor:
    """`(B, D)` features to `(B, identities)`; with a scale by cosine (Wang et al., "NormFace", 2017).

    Few steps an identity suffice then: products with a small random matrix pull at nothing for a long time.
    """
    if scale is None:
        return functional.linear(after, weight)
    return scale * functional.linear(functional.normalize(after), functional.normalize(weight))


def enter_stage(model: EmbeddingModel, recipe: Recipe, stage: Stage) -> None:
    """Fits a network to a stage's input and freezes what the stage freezes.

    Raises:
        ValueError: `frozen` names a part that the network does not have.
    """
    fit_height(model, recipe, stage.height)
    names = {name for name, _ in model.named_modules()}
    for prefix in stage.frozen:
        if prefix not in names:
            raise ValueError(f"frozen: the network has no part {prefix!r}; it has backbone.stages.0 and such")
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name != _NEVER_TRAINED and not _is_in(name, stage.frozen))
    for name, module in model.named_modules():
        if _is_in(name, stage.frozen):
            module.eval()  # a frozen batch norm keeps its statistics, too


def _is_in(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def fit_height(model: EmbeddingModel, recipe: Recipe, height: int) -> None:
    model.architecture = recipe.at(height)
    for module in model.modules():
        if isinstance(module, NonLocalBlock):
            module.stripes = model.architecture.stripes


def make_heads(
    recipe: Recipe, dimension: int, identities: int, teacher: Teacher | None, generator: torch.Generator
) -> nn.ModuleDict:
    heads = {"identity": nn.Linear(dimension, identities, bias=False)}
    std = _CLASSIFIER_STD if recipe.losses.identity_scale is None else dimension**-0.5
    nn.init.normal_(heads["identity"].weight, std=std, generator=generator)
    projections = {
        "relational": recipe.losses.relational_dimension,
        "direct": None if teacher is None else teacher.dimension,
    }
    for name, size in projections.items():
        if getattr(recipe.losses, name) and size is not None:
            heads[name] = nn.Linear(dimension, size)
            nn.init.normal_(heads[name].weight, std=dimension**-0.5, generator=generator)
            nn.init.zeros_(heads[name].bias)
    return nn.ModuleDict(heads)


def make_optimizer(recipe: Recipe, model: nn.Module, heads: nn.Module) -> torch.optim.Optimizer:
    parameters = [*model.named_parameters(), *heads.named_parameters()]
    trained = [value for name, value in parameters if name != _NEVER_TRAINED]
    matrices = [value for value in trained if value.ndim > 1 or recipe.decay_norms]
    vectors = [value for value in trained if value.ndim <= 1 and not recipe.decay_norms]
    groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": recipe.weight_decay}]
    if vectors:
        groups.append({"params": vectors, "weight_decay": 0.0})
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, fused=True)
