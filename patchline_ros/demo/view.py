"""What the terminal shows while a demo runs."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.progress import Plan, Progress
from patchline_ros.demo.records import Split
from patchline_ros.demo.report_text import road_name
from patchline_ros.graph.description import NODE_OF_TASK

STEPS = {
    "start": "Start the nodes",
    "source": "Drive on the clear road",
    "drift": "Conditions change; notice it",
    "answer": "Answer without labels",
    "collect": "Collect labelled frames",
    "train": "Train patches",
    "swap": "Swap them in between two frames",
    "test": "Measure on frames never labelled",
}


def steps(plan: Plan) -> dict[str, str]:
    """The steps that the demo will take, in words, by their keys."""
    left_out = set() if plan.answers else {"answer"}
    if not plan.trains:
        left_out |= {"collect", "train"}
    return {key: words for key, words in STEPS.items() if key not in left_out}


def current_step(progress: Progress) -> str:
    """Key of the step that the demo is at."""
    if progress.position is None:
        return "start"
    if progress.settled:
        return "test"
    if progress.last_episode is not None:
        return "swap"
    if progress.adaptation.get("state") == "training":
        return "train"
    if progress.frames_to_detect is not None:
        waits = progress.plan.answers and progress.episodes.answer is None
        return "answer" if waits else "collect"
    return "source" if progress.position.split is Split.SOURCE else "drift"


class View:
    """A live panel in a terminal; elsewhere a line whenever a step begins."""

    def __init__(self, console: Console) -> None:
        """Nothing is shown before the `with` block begins."""
        self._console = console
        self._began = time.monotonic()
        self._step_seconds: dict[str, float] = {}
        self._step = ""
        self._live = Live(console=console, refresh_per_second=6, transient=True)

    def __enter__(self) -> View:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        if self._console.is_terminal:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Bring what is shown up to date."""
        step = current_step(progress)
        if step != self._step:
            self._step = step
            self._step_seconds[step] = time.monotonic() - self._began
            if not self._console.is_terminal:
                words = f"{self._step_seconds[step]:6.1f} s  {STEPS[step]}"
                self._console.print(words, style="")
        if self._console.is_terminal:
            self._live.update(Group(self._steps(progress), Text(), self._figures(progress)))

    def _steps(self, progress: Progress) -> Table:
        table = Table.grid(padding=(0, 2))
        shown = steps(progress.plan)
        at = list(shown).index(self._step)
        for place, (key, words) in enumerate(shown.items()):
            if place < at:
                table.add_row(Text("✓", style="green"), words, Text(said(key, progress)))
            elif place == at:
                row = Text(said(key, progress), style="cyan")
                table.add_row(Spinner("dots"), Text(words, style="bold"), row)
            else:
                table.add_row("", Text(words, style="dim"), "")
        return table

    def _figures(self, progress: Progress) -> Table:
        table = Table.grid(padding=(0, 2))
        elapsed = time.monotonic() - self._began
        table.add_row("time", f"{elapsed:.0f} s")
        table.add_row("frames", f"{progress.published} published")
        if progress.mmd2 is not None and progress.threshold is not None:
            over = progress.mmd2 > progress.threshold
            words = f"{progress.mmd2:.3f} (threshold {progress.threshold:.3f})"
            table.add_row("MMD²", Text(words, style="yellow" if over else "green"))
        for task, node in NODE_OF_TASK.items():
            state = progress.patch_states.get(task, "starting")
            words = {"source": "source model", "active": "patched"}.get(state, state)
            table.add_row(node, Text(words, style="green" if state == "active" else ""))
        if self._step == "train":
            done = float(progress.adaptation.get("progress", 0.0))
            table.add_row("training", ProgressBar(total=1.0, completed=done, width=32))
        return table


def said(step: str, progress: Progress) -> str:
    """What there is to say about a step, done or under way."""
    plan, adaptation = progress.plan, progress.adaptation
    if step == "source":
        return f"{min(progress.published, plan.source_frames)} of {plan.source_frames} frames"
    if step == "drift":
        if progress.frames_to_detect is None:
            return f"{progress.drift_published} frames since"
        return f"after {progress.frames_to_detect} frames"
    if step == "answer":
        answer = progress.episodes.answer
        if answer is None:
            return f"{adaptation.get('collected', 0)} pictures"
        return f"{_accepted(answer)}: {sum(answer.seconds.values()):.1f} s"
    if step == "collect":
        return f"{adaptation.get('collected', 0)} labels"
    if step == "train":
        training = progress.episodes.training
        if training is not None:
            seconds = sum(training.seconds.values())
            return f"{', '.join(map(road_name, training.order))}: {seconds:.0f} s"
        if not adaptation.get("task"):
            return "choosing frames"
        return f"{road_name(adaptation['task'])}, patches a model: {adaptation['patches']}"
    if step == "swap" and progress.last_episode is not None:
        return _accepted(progress.last_episode)
    if step == "test":
        return f"{progress.remaining_tests} answers to come"
    return ""


def _accepted(episode: EpisodeReport) -> str:
    accepted = [road_name(task) for task, yes in episode.accepted.items() if yes]
    return ", ".join(accepted) or "none passed the gate"
