"""One run: open the plan, check it completely, carry it out, make tables and the page."""

import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sweep.errors import BadInput, Stopped
from sweep.messages import say
from sweep.plan.checks import check_hours
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan
from sweep.report.caveats import basis
from sweep.report.page import read_plots, write_page
from sweep.run import dry_run
from sweep.run.ray import reach
from sweep.run.record import check, claimed, describe
from sweep.run.request import Request
from sweep.run.reuse import Old
from sweep.run.signals import Signals
from sweep.run.work import Work
from sweep.store import lock
from sweep.store.folder import Folder, look, open_folder, reason
from sweep.store.journal import Journal
from sweep.tables.frame import load
from sweep.tables.make import check_answer, tables_and_answer, write
from sweep.tables.text import as_text, breakdown, terminal_width
from sweep.tables.words import Answer

MOST_ROWS = 3_000_000  # of results with automatic tables and page, which take memory

Finish = Callable[[Folder], None]  # makes tables and page from a run's results


def run(request: Request) -> int:
    """Run the request; return the exit code."""
    check_answer(request.composition.answer, request.composition.grid)
    plan = open_plan(request.composition)
    for name in request.composition.policies.hidden:
        request.say(f"policy {name}: the file in {plan.policy_path} replaces the one of sweep")
    out = request.settings.out or default_out(plan)
    if request.settings.dry_run:
        print(dry_run.describe(plan, request.runner, out))
        return 0

    def finish(folder: Folder) -> None:
        if len(plan) * plan.replicas > MOST_ROWS:
            request.say(f"more than {MOST_ROWS} rows: no tables and no page; see sweep tables {folder}")
            return
        tables, said = tables_and_answer(folder)
        write(folder, tables, said)
        text = "" if request.settings.quiet else report(plan, folder, tables, said)
        del tables, said  # for many points they are as large as the page's data
        if request.settings.report:
            write_page([folder], read_plots(folder), folder)
        if text:
            print(text)

    return carry_out(request, plan, out, finish)


def carry_out(request: Request, plan: Plan, out: str, finish: Finish = lambda folder: None) -> int:
    """Simulate a plan into a folder, then `finish` it; return the exit code. A refused run leaves no files."""
    check_hours(plan, request.settings.max_cpu_hours)
    described = describe(plan, request)
    check(look(out_of(out)), described)
    old = Old(look(request.settings.reuse), plan) if request.settings.reuse else None
    if request.runner.choose(float(plan.chunk_cost_s().sum()))[0] == "ray":
        reach(request.runner)
    with Signals() as signals:
        folder = open_folder(out)
        with lock.Lock(folder) as held, closing(Journal(folder)) as journal:
            work = Work(request, plan, described, old, folder, held, journal, signals)
            code = _carry(work, finish)
    if work.cluster.hung:
        sys.stdout.flush()
        os._exit(code)
    return code


def _carry(work: Work, finish: Finish) -> int:
    """Carry and finish a run whose lock is held; return the exit code."""
    folder = work.folder
    try:
        with claimed(folder, work.run):
            failed = work.carry()
        work.journal.note("end", failed=failed)
        if failed:
            say(f"sweep: {failed} points failed; {folder}/failures.parquet has the reasons{work.where_logs()}")
        _finish(finish, folder, 3 if failed else 1)
    except (Stopped, SystemError) as raised:
        stop = raised if isinstance(raised, Stopped) else raised.__cause__ or raised.__context__
        if not isinstance(stop, Stopped):  # a signal inside Ray's C code arrives wrapped
            raise
        why, code = str(stop), stop.code
    except OSError as error:  # the folder, or a file in it, is missing
        why, code = reason(error), 1
    else:
        return 3 if failed else 0
    work.stop(why)
    return code


def _finish(finish: Finish, folder: Folder, code: int) -> None:
    """Make tables and page; a failure there changes neither the results nor the failed points."""
    try:
        finish(folder)
    except (BadInput, OSError, Stopped):
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise Stopped(
            code, f"results.parquet is complete, but its tables or page cannot be made: {type(error).__name__}: "
            f"{' '.join(str(error).split())} ({Path(at.filename).name}:{at.lineno})"
        ) from error  # fmt: skip


def out_of(out: str) -> str:
    """The output folder; a relative one is refused inside a Ray job, whose working folder is deleted."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and "://" not in out and not os.path.isabs(out):
        raise BadInput(
            f"out={out!r}: inside a Ray job this folder is deleted with the job; give an absolute path shared by all "
            f"drivers, or a URI, like out=/shared/{out}"
        )
    return out


def report(plan: Plan, folder: Folder, made: Mapping[str, Any], said: Answer) -> str:
    """The answer, its table, and the run's folder."""
    name, table = next(iter(made.items()))
    lines = [f"\n{plan.question}"]
    if name == "reproduction":
        lines.append(textwrap.fill(basis(list(plan.space.costs), plan.draws, plan.measured_costs), 100))
        if plan.draws:
            lines.append("Brackets are 90 % prediction intervals, run spread and the model's error included.")
    lines += paragraphs(said)
    if len(plan) == 1 + plan.draws and folder.local:
        text = breakdown(load(folder.path))
    else:
        shown = table if said.table is None else said.table
        shown.attrs["notes"] = table.attrs.get("notes", [])  # an answer's table has those of the main one
        text = as_text(shown, width=min(terminal_width(), 200))
    return "\n".join([*lines, f"\n{text}\n\n{folder}"])


def paragraphs(said: Answer) -> list[str]:
    """Sentences and doubts, each a paragraph."""
    return [textwrap.fill(sentence, min(terminal_width(), 100)) for sentence in [*said.sentences, *said.doubts]]


def default_out(plan: Plan) -> str:
    """outputs/<grid>/<first 8 of the plan's hash>: the same command continues there."""
    return str(Path("outputs") / plan.name / plan.hash[:8])
