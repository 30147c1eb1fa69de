"""The default detector beside its neighbours, on the same splits.

    VAEISO_DATA=/data python -m benchmarks.detection --out out/detection
    VAEISO_DATA=/data python -m benchmarks.detection --methods k-nn-5,lof --protocol G --seeds 3
    VAEISO_DATA=/data python -m benchmarks.detection --recipe model.beta=0.1   # an ablation
    python -m benchmarks.detection --protocol C   # needs no data but scikit-learn's

Protocol G: the 14 sets of VAEISO_DATA/adbench, 3 seeds. Protocol Z: KDDCUP99 and its reverse
(5 seeds), Thyroid and Arrhythmia (20). Protocol C: sets that come with scikit-learn, each of whose
classes is the anomalies once (17 of them, 3 seeds), split as in G. results.jsonl in the folder gets
a line for each run that ends; what is there and was made with the recipe of today is not run again.
detection.json and detection.md show all that is there.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Shown

from benchmarks.detection import report
from benchmarks.detection.methods import System, asked, missing, neighbours
from benchmarks.detection.ours import ours
from benchmarks.detection.problems import PROTOCOLS, Problem, chosen, problem, read, seeds_of
from benchmarks.detection.results import Run, Store, fingerprint, run_of
from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.records import write_json

console = Console(stderr=True)
Todo = tuple[System, tuple[str, ...]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and not there yet; return the exit status, 1 if some of it failed."""
    args = _parsed(arguments)
    try:
        failures = [] if args.report_only else benchmark(args)
        write(args.out, args.threads)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def benchmark(args: argparse.Namespace) -> list[str]:
    """Run the methods that are asked for; return in words which of them failed."""
    protocols = PROTOCOLS if args.protocol == "all" else (args.protocol,)
    places = chosen(protocols, args.sets)
    systems, methods = _systems(args)
    store = Store(args.out / "results.jsonl")
    failures: list[str] = []
    seeds = {place: seeds_of(*place, args.seeds) for place in places}
    total = sum(len(each) for each in seeds.values()) * len(systems)
    with _bar() as bar, _limited(args.threads):
        whole = bar.add_task("all", total=total)
        step = bar.add_task("", total=None)
        for protocol, name in places:
            dataset = None
            for seed in seeds[protocol, name]:
                todo = _todo(store, systems, methods, (protocol, name, seed))
                bar.advance(whole, len(systems) - len(todo))
                if not todo:
                    continue
                dataset = dataset or read(protocol, name)
                one = problem(
                    protocol,
                    dataset,
                    seed,
                    lambda done, of: bar.update(step, completed=done, total=of),
                )
                for system, wanted in todo:
                    what = f"{protocol} {name}, {' and '.join(wanted)}, seed {seed}"
                    bar.reset(step, description=what, total=None)
                    try:
                        runs = _finished(one, system, wanted)
                    except (ValueError, RuntimeError, MemoryError) as error:
                        failures.append(f"{what}: {type(error).__name__}: {error}")
                    else:
                        store.append(runs)
                        bar.console.print(f"{what}: {_words(runs[0])}", soft_wrap=True)
                    bar.advance(whole)
    return failures


def _finished(one: Problem, system: System, wanted: Sequence[str]) -> list[Run]:
    """Run a system; beside what it gives, keep what share of a core it had meanwhile."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = system.run(one)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return [run_of(one, system, method, found[method], share) for method in wanted]


def _words(run: Run) -> str:
    seconds = f"{run.fit_seconds:.1f} + {run.score_seconds:.1f} s"
    return f"AUROC {100 * run.auroc:.1f}, F1 {100 * run.f1:.1f}, {seconds}"


def write(out: Path, threads: int) -> None:
    """Write detection.json and detection.md of all that ``out`` holds, and show the means."""
    stored = list(Store(out / "results.jsonl").read().values())
    runs = report.current(stored)
    if len(runs) < len(stored):
        print(f"{len(stored) - len(runs)} runs of other recipes are left out of the tables")
    about = report.about(threads)
    write_json(out / "detection.json", report.document(runs, about))
    (out / "detection.md").write_text(report.markdown(runs, about), encoding="utf-8")
    for protocol in PROTOCOLS:
        table = report.Table(protocol, runs)
        if table.sets:
            Console().print(_means(table))
    print(f"written: {out / 'detection.json'}, {out / 'detection.md'}")


def _means(table: report.Table) -> Shown:
    shown = Shown(title=f"protocol {table.protocol}: means over the sets, percent")
    for title in ("method", "sets", *report.SHOWN[table.protocol]):
        shown.add_column(title)
    for method in table.methods:
        names = [name for name in table.sets if (name, method) in table.runs]
        cells = [report.TITLES.get(method, method), str(len(names))]
        for key in report.SHOWN[table.protocol]:
            means = [table.mean((name, method), key) or 0.0 for name in names]
            cells.append(f"{100 * sum(means) / len(means):.1f}")
        shown.add_row(*cells)
    return shown


def _systems(args: argparse.Namespace) -> tuple[list[System], set[str]]:
    """Return the systems to be run, and of which methods results are kept."""
    mine = ours(args.recipe or ())
    if args.recipe and args.methods is None:
        return [mine], set(mine.methods)
    systems = [ours(), *neighbours()]
    wanted = asked(systems, args.methods)
    here = []
    for system in wanted:
        if why := missing(system):
            print(why, file=sys.stderr)
        else:
            here.append(mine if system.methods == ("ours",) else system)
    kept = {method for system in here for method in system.methods}
    return here, kept if args.methods is None else kept & {*args.methods, *mine.methods}


def _todo(
    store: Store, systems: Sequence[System], methods: set[str], place: tuple[str, str, int]
) -> list[Todo]:
    """Return what is not finished; another process may have finished some of it meanwhile."""
    done = store.read()
    todo = []
    for system in systems:
        mark = fingerprint(system)
        kept = [method for method in system.methods if method in methods]
        wanted = [method for method in kept if (*place[:2], method, place[2], mark) not in done]
        if wanted:
            todo.append((system, tuple(wanted)))
    return todo


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    """Let every library compute with so many threads, and keep their warnings to itself."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(before)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    names = partial(parser.add_argument, type=lambda text: text.split(","), metavar="A,B,...")
    parser.add_argument("--protocol", choices=(*PROTOCOLS, "all"), default="all")
    names("--sets", help="these sets only")
    names("--methods", help="these methods only, such as ours,k-nn-5")
    parser.add_argument("--seeds", type=int, help="seeds 0 to this less one, on every set")
    parser.add_argument(
        "--recipe",
        action="append",
        metavar="PART.KEY=VALUE",
        help="change ours, such as training.max_steps=500; may be repeated.\n"
        "Without --methods, only the changed detector is run",
    )
    parser.add_argument("--threads", type=int, default=1, help="for every method (1)")
    parser.add_argument("--out", type=Path, default=Path("out/detection"), help="(out/detection)")
    parser.add_argument("--report-only", action="store_true", help="run nothing, write the tables")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
