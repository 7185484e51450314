"""Rebuild the tables of a run, without simulating."""

from argparse import Namespace

from sweep.command.options import Parser, add_run, finished, writing


def options(parser: Parser) -> None:
    add_run(parser)


def main(given: Namespace) -> None:
    from sweep.tables.make import tables_and_answer, write

    made, said = tables_and_answer(finished(given.out))
    with writing(given) as into:
        write(into, made, said)
    for name, table in made.items():
        print(f"tables/{name}.csv  {len(table)} rows")
    for note in next(iter(made.values())).attrs.get("notes", []):
        print(note)
    print(said.text)
