"""`python -m xailib COMMAND`."""

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xailib", description="The course's commands.")
    commands = parser.add_subparsers(dest="command", title="commands")
    commands.add_parser("doctor", help="say in plain sentences what is right and wrong with the installation")
    commands.add_parser("benchmark", help="judge methods with metrics on a data set, as one table", add_help=False)
    commands.add_parser("train", help="train a network by name: the course's own, or the thesis'", add_help=False)
    commands.add_parser("study", help="train and judge several networks, as one table", add_help=False)
    commands.add_parser("grade", help="judge a folder of handed-in exercises, each shut in", add_help=False)
    commands.add_parser("handout", help="copies of the exercises with numbers of each student's own", add_help=False)
    options, rest = parser.parse_known_args(arguments)
    if options.command == "benchmark":  # it reads its own options, so that the doctor needs no torch
        from xailib.benchmark.command import main as benchmark

        return benchmark(rest)
    if options.command == "grade":
        from xailib.grading.command import main as grade

        return grade(rest)
    if options.command == "handout":
        from xailib.grading.handout import main as handout

        return handout(rest)
    if options.command in ("train", "study"):
        from xailib.runs.command import main as run

        return run(options.command, rest)
    parser.parse_args(rest)  # refuses what is left over
    if options.command == "doctor":
        from xailib.doctor import main as doctor

        return doctor()
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
