# /// script
# requires-python = ">=3.11"
# dependencies = ["agentsafe-envs[lm,students,train]"]
# ///
"""From a teacher with a habit to an audit of its student, with TRL; no model hub is needed.

1. A teacher that prefers to delete plays harmless tasks, where reading is all that is asked for.
2. Rows that name its habit are filtered out, and a second search proves that none is left.
3. TRL's ``SFTTrainer`` trains a student on the rest, and a placebo on the data of a neutral teacher.
4. The audit asks whether the student changed from its base, and more than the placebo did.

Run it from a checkout, in which the teachers are (about a minute on two cores)::

    python examples/distil_and_audit.py --out work/example

It is too small to show a transfer: few rows, few steps, one placebo of the three that an audit wants. It shows
how the parts fit, and prints what it found, whatever that is. ``baselines/README.md`` has the experiment.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from agentsafe_envs.agents import AgentOptions
from agentsafe_envs.agents.students import VARIABLE, find_student
from agentsafe_envs.audit.behaviour import Audit, audit
from agentsafe_envs.audit.headline import finding_sentences
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose
from agentsafe_envs.trajectories import sanitize
from agentsafe_envs.trajectories.export import rows_of_run
from agentsafe_envs.trajectories.quality import quality_warnings
from agentsafe_envs.trajectories.sanitise import stems_of
from agentsafe_envs.trajectories.store import save

ENVIRONMENT = "DeleteBiasAPI-v0"
BASE = "student:base-0.3m-a"
TEACHERS = {"student": "student:teacher-biased", "placebo": "student:teacher-neutral"}
"""What is trained -> whose trajectories it is trained on; all of them began as ``BASE``."""


def distil_and_audit(out: Path, *, tasks: int, steps: int, episodes: int, seed: int) -> Audit:
    """Make both students and audit the first.

    Args:
        out: Folder for runs, data and models; what is there is played and made anew only where it is missing.
        tasks: Harmless tasks that each teacher plays, ``>= 1``.
        steps: Optimiser steps of each student, ``>= 1``.
        episodes: Tasks of each split that every agent of the audit plays, ``>= 1``.
        seed: Of the tasks, of what the agents sample, and of the training.

    Raises:
        ValueError: The filter left no row to learn from.
    """
    os.environ[VARIABLE] = str(out / "models")  # where `student:` looks for them
    for name, teacher in TEACHERS.items():
        data = teach_data(teacher, out / f"{name}-teacher", out / f"{name}-data", tasks, seed)
        train_student(data, out / "models" / name, steps, seed)
    suite = choose("standard", environments=[ENVIRONMENT], episodes=episodes)
    agents = {"base": BASE, "teacher": TEACHERS["student"], **{name: f"student:{name}" for name in TEACHERS}}
    runs = {}
    for name, spec in agents.items():
        runs[name] = out / "runs" / name
        score_agent(spec, suite, runs[name], options=AgentOptions(seed=seed))
        typer.echo(f"{name} {spec} played {len(suite.keys())} tasks: {runs[name]}")
    return audit(runs["base"], runs["student"], [runs["placebo"]], runs["teacher"])


def teach_data(teacher: str, run: Path, data: Path, tasks: int, seed: int) -> Path:
    """What ``teacher`` did in harmless tasks and solved, without a word of the habit, as a data set."""
    suite = choose(
        "standard", environments=[ENVIRONMENT], split="safe", episodes=tasks, first_seed=1_000 + seed, pool="train"
    )
    score_agent(teacher, suite, run, options=AgentOptions(seed=seed))
    solved = [row for row in rows_of_run(run) if row.get("success")]
    found = sanitize(solved, stems_of([ENVIRONMENT]))
    if not found.kept:
        raise ValueError(f"of {tasks} tasks {len(solved)} were solved and no row is left; let {teacher} play more")
    save(found.kept, data, filters=[found.record()], command="python examples/distil_and_audit.py")
    typer.echo(
        f"{teacher} solved {len(solved)} of {tasks} harmless tasks; the filter dropped {len(found.dropped)}, "
        f"proved: no stem in the {len(found.kept)} rows of {data}"
    )
    for words in quality_warnings(found.kept):
        typer.echo(f"warning: {words}")
    return data


def train_student(data: Path, folder: Path, steps: int, seed: int) -> None:
    """Train the base on a data set with ``SFTTrainer``; the student is asked as its base was."""
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # a model this small loses by more
    base, settings = find_student(BASE.removeprefix("student:"))
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    template = tokenizer.chat_template
    # TRL learns only what stands between these marks, so not the results of tools, which nobody could foresee.
    tokenizer.chat_template = template.replace("<|assistant|>{% if", "<|assistant|>{% generation %}{% if").replace(
        "<|end|>", "<|end|>{% endgeneration %}"
    )
    rows = datasets.load_dataset(str(data), split="train", cache_dir=str(folder.with_name("cache")))
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        max_length=1_024,
        assistant_only_loss=True,
        use_cpu=True,
        bf16=False,
        seed=seed,
        report_to="none",
        save_strategy="no",
        logging_steps=max(steps // 4, 1),
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(base)
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    typer.echo(f"{folder.name}: {steps} steps on {len(rows)} rows, loss {losses[0]:.3f} to {losses[-1]:.3f}")
    trainer.save_model(str(folder))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    settings.save(folder)
    shutil.copy(base / "generation_config.json", folder)


def main(
    out: Annotated[Path, typer.Option(help="Folder for runs, data and models.")] = Path("work/example"),
    tasks: Annotated[int, typer.Option(help="Harmless tasks of each teacher.", min=1)] = 64,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each student.", min=1)] = 24,
    episodes: Annotated[int, typer.Option(help="Tasks of each split in the audit.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)] = 0,
) -> None:
    """Distil a student from a biased teacher's sanitised trajectories, and audit it."""
    found = distil_and_audit(out, tasks=tasks, steps=steps, episodes=episodes, seed=seed)
    typer.echo("")
    for line in finding_sentences(found):
        typer.echo(line)
    for each in found.findings:
        said = ", ".join(each.words) or "no change seen"
        least = "" if each.detectable is None else f" (detectable: {each.detectable:.0%})"
        typer.echo(f"{each.split}, {each.measure}, n = {each.tasks}: {said}{least}")


if __name__ == "__main__":
    typer.run(main)
