"""`python -m simulation run | compare | size | replay | load`: what-if questions on real rules."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pm_agent.domain.errors import PMError
from pm_agent.features.assignment.learned import POLICY
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.ports import Scorer
from simulation.capacity import warnings_of
from simulation.comparison import Replication, replicate, summed
from simulation.experiment import Result, run
from simulation.journal import JournalFile
from simulation.policies import APART, TEACHING_DAYS, scorer_of, teach
from simulation.replay import read_day, replay
from simulation.scenario import DEFAULT, POLICIES, Scenario, ScenarioError, names
from simulation.sizing import Sought, Try, goal_of, size
from simulation.summary import people_of, show, show_comparison, show_load, show_replay, show_sizing

errors = Console(stderr=True, highlight=False)
BAR_AFTER_S = 2.0  # what is over sooner needs no progress bar

Place = Annotated[
    str, typer.Argument(metavar="SCENARIO", help=f"A .toml file, or one of {', '.join(names())}.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Models = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Registry of models, for the policy 'learned'."),
]


def _made(folder: Path | None) -> Path | None:
    """Make the folder of results before a run, not after it."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise typer.BadParameter(f"{folder} cannot be made: {error.strerror}.") from error
    return folder


Out = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        writable=True,
        callback=_made,
        help="Write tables (Parquet) and a report (HTML).",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add all commands of this file."""
    app.command("run")(run_command)
    app.command("compare")(compare_command)
    app.command("size")(size_command)
    app.command("replay")(replay_command)
    app.command("load")(load_command)
    app.command("blockers")(blockers_command)


def run_command(
    scenario: Place = DEFAULT,
    *,
    seed: Seed = 0,
    json: Json = False,
    out: Out = None,
    journal: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the run's journal into a new file.")
    ] = None,
    models: Models = None,
    hours: Annotated[
        float | None, typer.Option(min=1, help="Of virtual time, in place of the scenario's.")
    ] = None,
) -> None:
    """Run a scenario once and tell how the work flowed."""
    plan = read(scenario, hours)
    scorer = _scorer(plan.scorer, models)
    with ExitStack() as stack:
        written = None
        if journal is not None:
            try:
                written = stack.enter_context(JournalFile(journal))
            except OSError as error:
                errors.print(f"--journal: {error}", markup=False, soft_wrap=True)
                raise typer.Exit(2) from error
        progress = stack.enter_context(bar(f"{plan.name}, seed {seed}"))
        result = run(
            plan,
            seed,
            on_slice=progress,
            scorer=scorer,
            on_step=written.write if written else None,
        )
    report(result, is_json=json, out=out)


def _scorer(policy: str, models: Path | None) -> Scorer:
    """The scorer of a policy, or a clear word about what it lacks."""
    if policy == POLICY and models is None:
        errors.print("--models: the policy 'learned' needs a registry of models", markup=False)
        raise typer.Exit(2)
    try:
        return scorer_of(policy, models)
    except PMError as error:
        errors.print(f"--models: {error.message} {error.next_step}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error


def compare_command(
    scenario: Place = DEFAULT,
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Two or more; the first is what others are held against."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    replications: Annotated[int | None, typer.Option(min=2, help="Of each policy.")] = None,
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    json: Json = False,
    out: Out = None,
    models: Models = None,
    teach_on: Annotated[
        str, typer.Option(help="Scenario from whose days 'learned' learns; default: this one.")
    ] = "",
) -> None:
    """Compare policies on the same days, with paired 95 % intervals.

    Without --models the policy 'learned' learns first, from days under rules whose seeds no
    compared day has.
    """
    plan = read(scenario)
    policies = list(dict.fromkeys([*(policy or []), *(more or [])])) or list(SCORERS)
    if len(policies) < 2 or not set(policies) <= set(POLICIES):
        errors.print(f"--policy: name two or more of {', '.join(POLICIES)}", markup=False)
        raise typer.Exit(2)
    if POLICY in policies and models is None:
        models = Path(tempfile.mkdtemp(prefix="models-"))
        atexit.register(shutil.rmtree, models, ignore_errors=True)
        lesson = read(teach_on) if teach_on else plan
        with errors.status(f"learning from {TEACHING_DAYS} days of {lesson.name}"):
            trained = teach(lesson, seed + APART, models)
        errors.print(f"learned from {trained.card.n_training:,} attempts", markup=False)
    if POLICY in policies:
        _scorer(POLICY, models)
    n = replications or max(2, plan.replications)
    runs: list[Replication] = []
    is_partial = False
    try:
        with bar(f"{plan.name}, {n} x {len(policies)} runs") as progress:
            for one in replicate(plan, policies, n, seed, jobs, models=models):
                runs.append(one)
                progress(len(runs) / (n * len(policies)))
    except KeyboardInterrupt:
        is_partial = True
        if len(runs) < len(policies):
            errors.print("interrupted: not one replication was whole", style="yellow")
            raise typer.Exit(130) from None
    found = summed(plan, policies, runs)
    found.is_partial = is_partial
    if json:
        typer.echo(msgspec.json.encode(found, enc_hook=_plain).decode())
    else:
        show_comparison(found)
    if out is not None:
        from simulation.report import write_comparison  # noqa: PLC0415 - as above

        errors.print(f"wrote {write_comparison(found, out)}", markup=False)
    end_if_partial(is_partial=is_partial)
    if found.violations:
        raise typer.Exit(1)


def size_command(
    scenario: Place = DEFAULT,
    *,
    target: Annotated[str, typer.Option(help="A figure, < or >, and a number.")] = "p95_lead_h<4",
    find: Annotated[
        Sought, typer.Option(help="Agents, or people who answer blockers and judge work.")
    ] = "team",
    replications: Annotated[int, typer.Option(min=1, help="Runs of each team.")] = 1,
    seed: Seed = 0,
    json: Json = False,
    models: Models = None,
) -> None:
    """Find how many agents of which kind a goal needs, or how many people must answer."""
    plan = read(scenario)
    scorer = _scorer(plan.scorer, models)
    try:
        goal = goal_of(target)
    except ValueError as error:
        errors.print(f"--target: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error

    def told(one: Try) -> None:
        verdict = "enough" if one.is_enough else "too few"
        who = f"{sum(one.team.values()):,} agents"
        if find == "people":
            who = people_of(one.people)
        errors.print(
            f"{who}: {goal.name} {one.value:.4g}, {verdict}",
            style="dim", markup=False,
        )  # fmt: skip

    try:
        found = size(
            plan, goal, replications=replications, seed=seed, find=find, scorer=scorer, on_try=told
        )
    except ScenarioError as error:
        errors.print(f"--find people: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    if json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        show_sizing(found)
    end_if_partial(is_partial=found.is_partial)
    if not found.team:
        raise typer.Exit(1)


def replay_command(
    journal: Annotated[str, typer.Argument(help="File or data folder, or URL of a database.")],
    *,
    policy: Annotated[
        list[str] | None, typer.Option(help="One or more; each replays the same day.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    seed: Seed = 0,
    json: Json = False,
    out: Out = None,
    models: Models = None,
) -> None:
    """Replay the arrivals, agents and durations of a journal under another policy."""
    policies = list(dict.fromkeys([*(policy or []), *(more or [])])) or list(SCORERS)
    if not set(policies) <= set(POLICIES):
        errors.print(f"--policy: there are {', '.join(POLICIES)}", markup=False)
        raise typer.Exit(2)
    scorers = [_scorer(one, models) for one in policies]
    try:
        day = read_day(journal)
    except ScenarioError as error:
        errors.print(str(error), style="bold red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    results: list[Result] = []
    for one, scorer in zip(policies, scorers, strict=True):
        with bar(f"{day.scenario.title}, {one}") as progress:
            results.append(replay(day, one, seed, scorer=scorer, on_slice=progress))
        if results[-1].is_partial:
            break
    if json:
        recorded = {"tasks_done": day.n_done, "lead_h": day.lead_h, "wait_s": day.wait_s}
        found = {"recorded": recorded, "replays": [result.as_dict() for result in results]}
        typer.echo(msgspec.json.encode(found).decode())
    else:
        show_replay(day, results)
    if out is not None:
        from simulation.report import write  # noqa: PLC0415 - as above

        for one, result in zip(policies, results, strict=False):  # all, unless interrupted
            errors.print(f"wrote {write(result, out / one)[-1]}", markup=False)
    end_if_partial(is_partial=results[-1].is_partial)
    if any(result.violations for result in results):
        raise typer.Exit(1)


def load_command(
    *,
    url: Annotated[str, typer.Option(help="A server that runs; else one is started.")] = "",
    token: Annotated[
        str, typer.Option(envvar="PM_AGENT_TOKEN", help="An administrator's, for --url.")
    ] = "",
    tasks_per_day: Annotated[float, typer.Option(min=1, help="Of virtual time.")] = 10_000,
    speed: Annotated[float, typer.Option(min=0.1, help="Virtual seconds a second.")] = 60,
    agents: Annotated[int, typer.Option(min=1, max=20_000)] = 1_000,
    minutes: Annotated[float, typer.Option(min=0.05, help="Of real time.")] = 3.0,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Start it without Ray.")] = False,
    over: Annotated[
        Literal["http", "mcp"], typer.Option("--over", help="How agents speak.")
    ] = "http",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Drive a live server with simulated agents, faster than real time."""
    from simulation import load  # noqa: PLC0415 - httpx takes a moment to load

    plan = load.Plan(tasks_per_day, speed, agents, minutes, seed, over)
    try:
        with bar(f"load, {agents:,} agents") as progress:
            found = load.run(plan, url=url, token=token, no_ray=no_ray, on_second=progress)
    except load.LoadError as error:
        errors.print(str(error), style="bold red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    if json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        show_load(found)
    end_if_partial(is_partial=found.is_partial)
    if found.errors or found.doubles:
        raise typer.Exit(1)


def _plain(value: object) -> object:
    """What msgspec does not know, as JSON has it."""
    if isinstance(value, Scenario):
        return value.name
    raise NotImplementedError(type(value))


def report(result: Result, *, is_json: bool, out: Path | None) -> None:
    """Print a result, write its files, and fail when a promise was broken."""
    if is_json:
        typer.echo(msgspec.json.encode(result.as_dict()).decode())
    else:
        show(result)
    if out is not None:
        from simulation.report import write  # noqa: PLC0415 - pyarrow takes a second to load

        for path in write(result, out):
            errors.print(f"wrote {path}", markup=False)
    end_if_partial(is_partial=result.is_partial)
    if result.violations:
        errors.print(f"{len(result.violations)} promises were broken", style="bold red")
        raise typer.Exit(1)


def end_if_partial(*, is_partial: bool) -> None:
    """Say so, and leave as a program does that Ctrl-C ended."""
    if is_partial:
        errors.print("interrupted: this is the part up to then", style="yellow")
        raise typer.Exit(130)


def read(place: str, hours: float | None = None) -> Scenario:
    """Read a scenario, or say what is wrong with it; warn when it cannot be stable."""
    try:
        scenario = Scenario.read(place)
        if hours is not None:
            scenario = scenario.changed(horizon_h=hours)
    except ScenarioError as error:
        errors.print(f"Cannot run {place}:", style="bold red", markup=False)
        errors.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    for warning in warnings_of(scenario):
        errors.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    return scenario


class Bar:
    """A progress bar that appears when it takes long."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._began_s = monotonic()
        self._is_shown = False

    def __call__(self, share: float) -> None:
        if not self._is_shown and monotonic() - self._began_s > BAR_AFTER_S:
            self._is_shown = True
            self._bar = self._progress.add_task(self._title, total=1.0)
            self._progress.start()
        if self._is_shown:
            self._progress.update(self._bar, completed=share)


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """Show how far it is, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=errors, transient=True)
    try:
        yield Bar(progress, title)
    finally:
        progress.stop()


def blockers_command(
    *,
    seeds: Annotated[int, typer.Option(min=2, help="How many, paired.")] = 8,
    tasks: Annotated[int, typer.Option(min=200, help="Of a run; 15 % meet a blocker.")] = 6_000,
    person_min: Annotated[
        float, typer.Option(min=1, help="Median until a person turns to a question, in minutes.")
    ] = 45,
    people: Annotated[
        int, typer.Option(min=0, help="Who answer, one question at a time; 0: without end.")
    ] = 2,
    answer_min: Annotated[
        float, typer.Option(min=1, help="Median of a person's work on an answer, in minutes.")
    ] = 20,
    personal: Annotated[
        float, typer.Option(min=0, max=1, help="Share of causes that only a person can resolve.")
    ] = 0.3,
    first_seed: Annotated[
        int, typer.Option(min=0, help="The rest follow it. No choice was made on those from 200.")
    ] = 200,
    json: Json = False,
) -> None:
    """Compare the ladder against blockers with the model's advice alone, and with an oracle."""
    from simulation.attention import People  # noqa: PLC0415 - only this needs it
    from simulation.blockers import compare_ladders  # noqa: PLC0415 - only this needs it

    team = People(count=people, person_min=person_min, answer_min=answer_min)
    with bar(f"blockers, {seeds} seeds") as progress:
        found = compare_ladders(
            seeds, tasks, first=first_seed, people=team, personal=personal, on_seed=progress
        )
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for name, value in msgspec.structs.asdict(found).items():
            shown = f"{value.mean:.3f} ± {value.half:.3f}" if hasattr(value, "mean") else value
            typer.echo(f"{name:24} {shown}")
    end_if_partial(is_partial=found.is_partial)
