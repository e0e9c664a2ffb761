"""The story of a training run: begin or resume, step by step through the stages, leave weights to use."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch

from evaluation.datasets import ReidDataset
from models.checkpoint import save_checkpoint
from models.preprocess import Preprocessing
from models.ste_nvan import EmbeddingModel, build
from pipeline.hooks import Hooks
from training.average import start_average
from training.checkpoints import load_state, save_state
from training.clips import StageBatches, TrainingSet, load_batches
from training.distil import Teacher
from training.imprint import imprint
from training.initialise import from_checkpoint, from_imagenet
from training.logs import METRICS, TrainingLogs
from training.recipe import Recipe, Stage, changed_keys, parse_recipe
from training.schedule import Plan, learning_rate, make_plan
from training.step import (
    Run,
    classifier,
    enter_stage,
    fit_height,
    is_half,
    make_heads,
    make_optimizer,
    train_step,
)

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Job:
    """What a run needs besides its recipe.

    Attributes:
        recipe: How to train.
        training_set: What to train on.
        output: Folder of the run; what is there already is gone on with.
        device: Where the network runs.
        imagenet: File for `training.initialise.from_imagenet`, used when the run begins.
        checkpoint: File for `training.initialise.from_checkpoint`, used when the run begins.
        packed: File of `training.packed`, or None.
        teacher: Features for distillation, or None.
        evaluations: Data sets to evaluate on.
        deadline: Value of `time.monotonic()` at which to stop and save, or None.
        tensorboard: Write TensorBoard events.
    """

    recipe: Recipe
    training_set: TrainingSet
    output: Path
    device: str = "cpu"
    imagenet: Path | None = None
    checkpoint: Path | None = None
    packed: Path | None = None
    teacher: Teacher | None = None
    evaluations: tuple[ReidDataset, ...] = ()
    deadline: float | None = None
    tensorboard: bool = True


@dataclass(frozen=True)
class Outcome:
    """How far a run came: steps done and wanted, seconds spent on them, and the weights it wrote."""

    step: int
    num_steps: int
    seconds: float
    model: Path


def train(job: Job, hooks: Hooks) -> Outcome:
    """Train until the recipe's last step, the deadline, or an interrupt; then save what a later start needs.

    A run that is stopped and resumed computes what it would have computed in one go, bit by bit on a CPU.

    Args:
        job: What to do.
        hooks: Told of progress.

    Returns:
        How far it came. `output` then holds `checkpoint.pt`, `model.safetensors`, and the logs.

    Raises:
        ValueError: The folder holds a run of another recipe, data or teacher; the data is too small for the
            recipe; the loss is no longer finite.
        KeyboardInterrupt: SIGINT or SIGTERM came; the state is saved.
    """
    recipe, plan = job.recipe, make_plan(job.recipe, job.training_set.num_identities)
    job.output.mkdir(parents=True, exist_ok=True)
    run = _resumed(job, hooks) or _begun(job, hooks)
    with (
        _kernels(recipe),
        _stop_requests(job.deadline) as stop_reason,
        TrainingLogs(job.output, run.step, tensorboard=job.tensorboard) as logs,
    ):
        reason = None
        while run.step < plan.num_steps and reason is None:
            index = plan.stage(run.step)
            stage, start, end = recipe.stages[index], plan.starts[index], plan.starts[index + 1]
            hooks.on_note(f"stage {index}: steps {run.step} to {end} at {stage.height}x{stage.width}")
            batches, on_gpu = _stage_batches(job, index), job.device.startswith("cuda")
            if run.step == 0 and recipe.losses.identity and recipe.losses.identity_scale is not None:
                fit_height(run.average, recipe, stage.height)
                imprint(classifier(run.heads), run.average, batches, hooks, half=is_half(recipe))
            enter_stage(run.model, recipe, stage)
            begin = perf_counter()
            loaded = load_batches(batches, run.step - start, end - start, workers=recipe.workers, pin=on_gpu)
            for batch in loaded:
                train_step(run, recipe, batch, learning_rate(recipe, plan, run.step))
                reason, last = stop_reason(), run.step == end
                to_log, to_evaluate, to_save = (
                    last or run.step % every == 0
                    for every in (recipe.log_every, recipe.evaluate_every, recipe.save_every)
                )
                if to_log or to_evaluate or to_save or reason:
                    _check_finite(run)  # also waits for the GPU, so that its time is counted here
                run.seconds += perf_counter() - begin
                if to_log:
                    logs.add_steps(_log_line(run, recipe, plan))
                hooks.on_step("training", run.step, plan.num_steps)
                if to_evaluate and not reason:
                    _evaluate(run, job, stage, logs, hooks)
                if to_save or reason:
                    _save(run, job)
                if reason:
                    break
                begin = perf_counter()
        model = _write_model(run, job, plan)
    if reason == "signal":
        raise KeyboardInterrupt
    return Outcome(run.step, plan.num_steps, run.seconds, model)


def _stage_batches(job: Job, stage: int) -> StageBatches:
    teacher = None if job.teacher is None else job.teacher.features
    return StageBatches(job.training_set, job.recipe, stage, job.packed, teacher)


def _begun(job: Job, hooks: Hooks) -> Run:
    """A run before its first step."""
    recipe, teacher = job.recipe, job.teacher
    if recipe.losses.need_teacher and teacher is None:
        raise ValueError("the recipe's losses relational and direct need a teacher: give --teacher")
    generator = torch.Generator().manual_seed(recipe.seed)
    model = build(recipe.network(), generator=generator)
    if job.imagenet is not None:
        hooks.on_note(f"{job.imagenet.name}: {from_imagenet(model, job.imagenet)}")
    if job.checkpoint is not None:
        hooks.on_note(f"{job.checkpoint.name}: {from_checkpoint(model, job.checkpoint)}")
    heads = make_heads(recipe, model.dimension, job.training_set.num_identities, teacher, generator)
    model, heads = model.to(job.device), heads.to(job.device)
    return Run(
        model, heads, start_average(model), make_optimizer(recipe, model, heads),
        torch.zeros(len(METRICS), device=job.device),
    )  # fmt: skip


def _packed_size(packed: Path) -> list[int]:
    """Height and width of packed crops: a later stage that shrinks them anew sees other pixels."""
    return list(np.load(packed, mmap_mode="r").shape[1:3])


def _save(run: Run, job: Job) -> None:
    """All that a resumed run needs. No random state: every draw is a function of seed, stage and step."""
    state = {
        "recipe": job.recipe.model_dump(mode="json"),
        "training_set": job.training_set.summary(),
        "teacher": None if job.teacher is None else job.teacher.name,
        "packed": None if job.packed is None else _packed_size(job.packed),
        "model": run.model.state_dict(),
        "heads": run.heads.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "sums": run.sums,
        "counts": [run.step, run.num_summed, run.seconds, run.logged_s],
    }
    save_state(state, job.output)


def _resumed(job: Job, hooks: Hooks) -> Run | None:
    """The run that the output folder holds, checked to be this job's; None where there is none."""
    state = load_state(job.output)
    if state is None:
        return None
    keys = changed_keys(parse_recipe(state["recipe"]), job.recipe)
    if keys:
        raise ValueError(
            f"{job.output} holds a run of another recipe ({', '.join(keys)} changed): give --output a new "
            "folder, and --init-from to begin with these weights"
        )
    for what, now in (
        ("training_set", job.training_set.summary()),
        ("teacher", None if job.teacher is None else job.teacher.name),
        ("packed", None if job.packed is None else _packed_size(job.packed)),
    ):
        if state[what] != now:
            raise ValueError(
                f"{job.output} holds a run with another {what} ({state[what]}, now {now}): give --output "
                "a new folder"
            )
    for beginning in filter(None, (job.imagenet, job.checkpoint)):
        hooks.on_note(
            f"{job.output} goes on at step {state['counts'][0]}; {beginning.name} is not read again"
        )
    run = _begun(replace(job, imagenet=None, checkpoint=None), Hooks())
    run.model.load_state_dict(state["model"])
    run.heads.load_state_dict(state["heads"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.sums.copy_(state["sums"])
    run.step, run.num_summed, run.seconds, run.logged_s = state["counts"]
    return run


def _write_model(run: Run, job: Job, plan: Plan) -> Path:
    """The average as a checkpoint to use, for pictures of the size that it saw last."""
    stage = job.recipe.stages[plan.stage(max(run.step, 1) - 1)]
    with torch.device("meta"):
        model = EmbeddingModel(job.recipe.at(stage.height), Preprocessing(stage.height, stage.width))
    model.load_state_dict(run.average.state_dict(), assign=True)
    path = job.output / MODEL_FILE
    training = {
        "recipe": job.recipe.model_dump(mode="json"),
        "training_set": job.training_set.summary(),
        "teacher": None if job.teacher is None else job.teacher.name,
        "steps": run.step,
        "of_steps": plan.num_steps,
        "seconds": round(run.seconds, 1),
    }
    save_checkpoint(model, path, {"training": training})
    return path


def _evaluate(run: Run, job: Job, stage: Stage, logs: TrainingLogs, hooks: Hooks) -> None:
    from training.evaluations import ModelEmbedder, evaluate_sets

    fit_height(run.average, job.recipe, stage.height)
    dtype = torch.bfloat16 if is_half(job.recipe) else torch.float32
    embedder = ModelEmbedder(run.average, Preprocessing(stage.height, stage.width), dtype)
    for row in evaluate_sets(embedder, job.evaluations, hooks):
        logs.add_evaluation({"step": run.step, "height": stage.height, "width": stage.width, **row})
        hooks.on_note(f"step {run.step}, {row['set']}: Rank-1 {row['rank1']:.1%}, mAP {row['mAP']:.1%}")


def _log_line(run: Run, recipe: Recipe, plan: Plan) -> dict[str, Any]:
    """The means since the last line, which are then begun anew."""
    index = plan.stage(run.step - 1)
    stage = recipe.stages[index]
    crops = run.num_summed * stage.identities * stage.tracklets * stage.clip_length
    means = (run.sums / run.num_summed).tolist()
    line = {
        "step": run.step,
        "stage": index,
        "lr": learning_rate(recipe, plan, run.step - 1),
        **dict(zip(METRICS, means, strict=True)),
        "seconds": round(run.seconds, 1),
        "crops_per_s": crops / max(run.seconds - run.logged_s, 1e-9),
    }
    run.sums.zero_()
    run.num_summed, run.logged_s = 0, run.seconds
    return line


def _check_finite(run: Run) -> None:
    if not bool(run.sums.isfinite().all()):
        raise ValueError(
            f"the loss is not finite any more at step {run.step}: begin anew elsewhere with a lower lr"
        )


@contextmanager
def _stop_requests(deadline: float | None) -> Iterator[Callable[[], str | None]]:
    """Gives a function that says why to stop after this step: `signal`, `time`, or None.

    The first SIGINT or SIGTERM is only noted; a second one ends the process as it would have.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        caught.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    def reason() -> str | None:
        if caught:
            return "signal"
        return "time" if deadline is not None and monotonic() >= deadline else None

    before |= {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reason
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _kernels(recipe: Recipe) -> Iterator[None]:
    """Numbers too small to matter become 0 (they are slow on a CPU); cuDNN as the recipe says."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    torch.set_flush_denormal(True)
    cudnn.benchmark, cudnn.deterministic = not recipe.deterministic, recipe.deterministic
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        cudnn.benchmark, cudnn.deterministic = before
