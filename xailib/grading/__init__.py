"""Grading of handed-in exercise notebooks: `python -m xailib grade FOLDER`.

    command      the command line; it reads files and starts judges, and runs nothing that a student wrote
    submissions  the students' folders and notebooks, read as data
    questions    what the course's own exercise asks, and what it hands to each check
    session      one notebook: a fresh process that judges, with a time and a memory limit
    judge        that process; it starts the student's process, calls the checks, and believes nothing but answers
    student      the student's process: runs the notebook's cells, then serves its answers
    sandbox      what shuts the student's process in: Landlock for files, seccomp for network and processes
    wire         how answers travel: as JSON, so that reading one runs nothing
    table        the CSV file

A check runs in the judge. An answer that is a function stays in the student's process: the check calls it from the
judge, its arguments go over, and only numbers, texts and tensors come back. So a notebook can change its own copy of
the checks as it likes.
"""
