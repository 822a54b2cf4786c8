"""What one would use instead: PEFT with transformers' Trainer, as documented and tuned by somebody who knows how."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.rounds import Gate
from benchmarks.workload import LABELS, LEARNING_RATE, MANY, Job, Stopwatch

if TYPE_CHECKING:
    from loracle.training.batching import Tokens

ATTENTIONS = ("eager", "sdpa")
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "attention_dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the Trainer is used. As documented: float32, the checkpoint's dropout and LoRA's, batches in random order.

    Tuned: bf16 where the hardware has it, no dropout, batches of similar length, and an attention chosen by hand;
    `base_in_bf16` holds the frozen base of LoRA in bf16 too.
    """

    tuned: bool
    attention: str = ""
    base_in_bf16: bool = False

    @property
    def name(self) -> str:
        """What the contestant is called."""
        return f"PEFT + Trainer tuned, {self.attention}" if self.tuned else "PEFT + Trainer as documented"


DOCUMENTED = Recipe(tuned=False)


def train(gate: Gate, job: Job, recipe: Recipe) -> None:
    """Train by the Trainer; a round is an epoch, from its beginning to the end of its last step."""
    from transformers import TrainerCallback

    network = build_network(job, recipe)
    watch = Stopwatch(gate, lambda: describe(network, recipe))

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            watch.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.end()

    with tempfile.TemporaryDirectory() as folder:
        build_trainer(job, recipe, network, folder, [Turns()]).train()


def describe(network: Any, recipe: Recipe) -> str:
    """Say in which precision and with which attention the network is trained."""
    return f"{'bf16' if _in_bf16(recipe) else 'fp32'}, {network.config._attn_implementation} attention"


def build_network(job: Job, recipe: Recipe) -> Any:
    """Return the network as PEFT leaves it, or where the job is no LoRA with the same parameters frozen as here."""
    import torch

    from loracle.methods.registry import find_methods

    torch.manual_seed(job.seed)
    base = _build_random(job, recipe) if job.random else None
    network: Any = base.network if base else _load_pretrained(job, recipe)
    if job.method == "lora" and recipe.base_in_bf16 and _in_bf16(recipe):
        network = network.to(torch.bfloat16)
    if job.method == "lora":
        return _wrap(network, job, recipe)
    assert base, "only LoRA is compared on a pretrained network"
    prepare = find_methods([job.method])[0].prepare
    assert prepare is not None
    prepare(base, job.setup())
    return network


def build_trainer(
    job: Job, recipe: Recipe, network: Any, folder: str, callbacks: list[Any], *, epochs: int = MANY
) -> Any:
    """Return the Trainer; nothing is logged, saved or evaluated."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    cpu = not torch.cuda.is_available()
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=job.batch_size,
        num_train_epochs=epochs,
        learning_rate=LEARNING_RATE,
        seed=job.seed,
        use_cpu=cpu,
        bf16=_in_bf16(recipe),
        train_sampling_strategy="sequential" if recipe.tuned else "random",
        logging_strategy="no",
        logging_nan_inf_filter=not recipe.tuned,  # it would wait for the GPU in each step
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        label_names=["labels"],
    )
    collate = (
        transformers.default_data_collator
        if job.random and _of_one_length(job.train)
        else transformers.DataCollatorWithPadding(_load_tokenizer(job))
    )
    trainer = transformers.Trainer(
        model=network,
        args=arguments,
        train_dataset=list_rows(job.train, job.batch_size, grouped=recipe.tuned),
        data_collator=collate,
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def list_rows(tokens: Tokens, batch_size: int, *, grouped: bool) -> list[dict[str, Any]]:
    """Return the tokens as the Trainer takes them, similar lengths together on request.

    They are grouped by the function behind "group_by_length", in one group of all texts: that option itself sorts a
    quarter of so few texts at a time, while over a whole data set its batches are as even as these.
    """
    from transformers.trainer_pt_utils import get_length_grouped_indices

    assert tokens.labels is not None
    lengths = tokens.lengths.tolist()
    groups = -(-len(tokens) // batch_size)
    order = get_length_grouped_indices(lengths, batch_size, mega_batch_mult=groups) if grouped else range(len(tokens))
    starts = tokens.starts
    ids = [tokens.flat[starts[row] : starts[row + 1]].tolist() for row in order]
    labels = tokens.labels[list(order)].tolist()
    return [
        {"input_ids": own, "attention_mask": [1] * len(own), "labels": label}
        for own, label in zip(ids, labels, strict=True)
    ]


def _load_pretrained(job: Job, recipe: Recipe) -> Any:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from loracle.models.loading import reading, resolve_base

    place = resolve_base(job.model)
    options: dict[str, Any] = {"attn_implementation": recipe.attention} if recipe.attention else {}
    with reading(job.model):
        known = vars(AutoConfig.from_pretrained(place))
        options |= {name: value for name, value in _NO_DROPOUT.items() if recipe.tuned and name in known}
        return AutoModelForSequenceClassification.from_pretrained(place, num_labels=len(LABELS), **options)


def _build_random(job: Job, recipe: Recipe) -> Any:
    """Return a Base with random weights on the device that is trained on."""
    from loracle.models.blueprint import build_blueprint
    from loracle.planning.forecasting import load_known_sizes
    from loracle.training.precision import choose_path

    sizes = load_known_sizes(job.model)
    sizes |= _NO_DROPOUT if recipe.tuned else {}
    attention, device = recipe.attention or "sdpa", choose_path().device
    return build_blueprint(job.model, sizes, LABELS, attention=attention, device=device)


def _wrap(network: Any, job: Job, recipe: Recipe) -> Any:
    import peft

    from loracle.models.families import resolve_targets

    config = peft.LoraConfig(
        task_type=peft.TaskType.SEQ_CLS,
        r=job.lora.rank,
        lora_alpha=job.lora.alpha,
        lora_dropout=0.0 if recipe.tuned else 0.1,
        target_modules=list(resolve_targets(job.lora.targets, network.config.model_type)),
    )
    return peft.get_peft_model(network, config)


def _in_bf16(recipe: Recipe) -> bool:
    """Say whether the recipe uses bf16: tuned, and where the hardware multiplies in it."""
    from loracle.training.precision import choose_path

    return recipe.tuned and choose_path().precision == "bf16"


def _of_one_length(tokens: Tokens) -> bool:
    return len(set(tokens.lengths.tolist())) == 1


def _load_tokenizer(job: Job) -> Any:
    from loracle.models.loading import MINILM, load_tokenizer

    return load_tokenizer(MINILM if job.random else job.model)
