"""`python -m xailib train` and `python -m xailib study`: trainings by name on the command line.

    python -m xailib train smallcnn_shape                         as the lessons do it, on a laptop
    python -m xailib train resnet18_cifar100_denoised --profile full --root DATA
    python -m torch.distributed.run --nproc-per-node 8 -m xailib train ca_stream_resnet50 --profile full --root DATA
    python -m xailib study denoising                              many runs, as one table

Killed at any moment, the same command goes on from the last whole epoch. Runs are kept in build/runs/, or in the folder
that XAILIB_RUNS names; their histories and tables go to results/.
"""

import argparse
import os
from pathlib import Path

from xailib import course
from xailib.models import shipped
from xailib.runs.catalogue import RUNS
from xailib.runs.report import summary
from xailib.runs.studies import STUDIES, study
from xailib.runs.train import Trained, train
from xailib.training import parallel


def main(command: str, arguments: list[str] | None = None) -> int:
    parser = _parser(command)
    given = parser.parse_args(arguments)
    os.environ["XAILIB_PROFILE"] = given.profile
    try:
        (_train if command == "train" else _study)(given)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    named = RUNS if command == "train" else STUDIES
    listed = "\n".join(f"  {name:30} {one.about}" for name, one in named.items())
    parser = argparse.ArgumentParser(
        prog=f"python -m xailib {command}",
        description="Trains a network." if command == "train" else "Trains and judges several networks, as one table.",
        epilog=f"names:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=named, metavar="NAME", help="see below")
    add("--profile", choices=course.PROFILES, default=os.environ.get("XAILIB_PROFILE", "laptop"))
    add("--root", type=Path, help="the folder of a data set that does not come with the course")
    add("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    if command == "train":
        add("--seed", type=int, default=0)
        add("--ship", action="store_true", help="put the weights among those that come with the course")
    else:
        add("--seeds", type=int, help="so many runs of each row (default: as many as the study says)")
    return parser


def _folder() -> Path:
    """Where runs are kept."""
    return Path(os.environ.get("XAILIB_RUNS") or course.ROOT / "build" / "runs")


def _train(given: argparse.Namespace) -> None:
    if given.ship and given.name not in shipped.SHIPPED:
        raise ValueError(f"only these come with the course: {', '.join(shipped.SHIPPED)}")
    folder = _folder() / f"{given.name}-{course.profile()}-{given.seed}"
    where = {"root": given.root, "device": given.device or course.device()}
    trained = train(RUNS[given.name], course.profile(), seed=given.seed, folder=folder, **where)
    if parallel.rank() > 0:
        return
    facts = _facts(given, trained)
    file = course.save_results(f"train_{given.name}", trained.history, seed=given.seed, **facts)
    print(
        f"accuracy {', '.join(f'{name}: {value:.1%}' for name, value in trained.accuracy.items())}; history in {file}"
    )
    if given.ship:
        print(shipped.ship(given.name, trained.model, course.facts() | {"seed": given.seed} | facts))


def _facts(given: argparse.Namespace, trained: Trained) -> dict[str, object]:
    """What is to be known of a run, beside where and when it ran."""
    return {
        "command": f"python -m xailib train {given.name} --profile {given.profile} --seed {given.seed}",
        "data": trained.data,
        "accuracy": trained.accuracy,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "seconds": round(trained.seconds),
        "recipe": trained.recipe,
    }


def _study(given: argparse.Namespace) -> None:
    where = {"root": given.root, "device": given.device or course.device(), "folder": _folder()}
    print(summary(study(given.name, course.profile(), seeds=given.seeds, **where)).to_string())
