"""Command lines and files as people mistype them, and as attackers write them: `python -m tests.fuzz N SEED`.

Each input goes through the whole door, up to an opened plan that is not simulated; every tenth is a verb. An input
passes if it opens or is refused with one BadInput, within a few seconds, and leaves nothing behind.
"""

import contextlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from sweep.__main__ import main as command
from sweep.command import usage
from sweep.command.verbs import VERBS
from sweep.errors import BadInput
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.conf import conf_dir
from sweep.plan.open import open_plan
from sweep.plan.points import NAMES

SLOW_S = 10.0
KEYS = [*QUANTITIES, *settings.NAMES, *NAMES, "draws", "runner", "runner.cpus", "runner.kind", "runner.stall_s", "grid"]
WORDS = """null true false nan inf -inf 0 1 -1 0.5 1e3 1e308 -1e308 010 0x10 1_000 1:30 1,5 4 8 33 33.0 512 1e15 1e16
~ . .. / ~/x a=b a,b "" '' "a b" 'a"b' [] [1] [1,2] [1,1] [[1]] [1,[2]] {} {1:2} {a:1} {1:0.5,512:0.5} {from:1,to:2}
{from:1,to:4,steps:4} {from:1,to:4,steps:1} {from:4,to:4,steps:3} {from:1,to:2,steps:1000000000}
{from:0,to:1,steps:3,log:true} xpfo xpfo* !xpfo [xpfo,xpfo] ["xpfo*","!xpfo"] vanilla mm_shootdown nope
4790 i5_3550 xeon_8160 kernel_build literature
calibrated auto serial ray flat tick range(1,5) choice(1,2) glob(*) interval(1,2) ${jobs} ${oc.env:HOME} $(id) `id`
1\\ x\\ cores 0.5\\ x\\ sockets 1\\ x\\ jobs 1\\ x\\ apic 1e400\\ x\\ cores 0:2 0:0 5:2
:3 1:1e9 Müller ☃ \x00 \ud800 -- - + =
s3:/bucket s3://no:such@bucket/x http://127.0.0.1:8265 ray://127.0.0.1:1 127.0.0.1:1 6379
99999999999999999999999""".split()
GRIDS = ["smoke", "patch", "point", "cores", "ceiling", "exposure", "jobs", "next_experiment"]


class Fuzzer:
    """Inputs of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.files = [path for group in ("grid", "machine", "workload") for path in (conf_dir() / group).glob("*.yaml")]

    def word(self) -> str:
        roll = self.random.random()
        if roll < 0.75:
            return self.random.choice(WORDS).replace("\\ ", " ")
        if roll < 0.85:
            return "9" * self.random.choice([1, 20, 400, 5000])
        if roll < 0.93:
            return f"[{','.join(self.random.choice(WORDS) for _ in range(self.random.randrange(4)))}]"
        letters = [*range(32, 127), 233, 0x2603]
        return "".join(chr(self.random.choice(letters)) for _ in range(self.random.randrange(12)))

    def override(self) -> str:
        key = self.random.choice(KEYS)
        if self.random.random() < 0.15:
            at = self.random.randrange(len(key))
            mistyped = [key[:at] + key[at + 1 :], key + "s", "+" + key, "++" + key, "~" + key, key + ".x", key + "@a"]
            key = self.random.choice([*mistyped, key.upper(), "grid.zip.cores", "grid.fit.draws", "hydra.run.dir"])
        return f"{key}={self.word()}" if self.random.random() < 0.97 else key

    def command_line(self) -> list[str]:
        grid = f"+grid={self.random.choice(GRIDS)}" if self.random.random() < 0.95 else f"+grid={self.word()}"
        return [grid, *(self.override() for _ in range(self.random.randrange(4)))]

    def verb(self) -> list[str]:
        verb = self.random.choice([name for name in VERBS if name not in ("explore", "measure", "profile")])
        options = ["--help", "--frob", "--metric", "--rows", "--predict", "--no-plots", "--config-dir"]
        count = self.random.randrange(4)
        words = [self.random.choice([self.word(), self.random.choice(options)]) for _ in range(count)]
        return [verb, *(word for word in words if "://" not in word)]

    def file(self, folder: Path) -> list[str]:
        """A file of the user's own, damaged, and a command line that uses it."""
        path = self.random.choice(self.files)
        group, text = path.parent.name, path.read_text(encoding="utf-8")
        for _ in range(self.random.randrange(1, 4)):
            text = self.damaged(text)
        target = folder / group / "mine.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8", "surrogatepass"))
        use = ["+grid=mine"] if group == "grid" else ["+grid=smoke", f"{group}=mine"]
        return ["--config-dir", str(folder), *use, "max_points=1e6"]

    def damaged(self, text: str) -> str:
        lines = text.splitlines() or [""]
        at = self.random.randrange(len(lines))
        kind = self.random.randrange(8)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[self.random.randrange(len(lines))])
        elif kind == 2:
            key, colon, _ = lines[at].partition(":")
            lines[at] = f"{key}{colon} {self.word()}"
        elif kind == 3:
            marks = "{}[],:#\"'"
            lines[at] = lines[at].replace(self.random.choice(marks), self.random.choice(marks + "&*!\t"))
        elif kind == 4:
            lines.insert(at, f"{self.random.choice(KEYS)}: {self.word()}")
        elif kind == 5:
            cut = self.random.randrange(len(lines[at]) + 1)
            odd = self.random.choice(["\x00", "\t", "\ud8ff", "💥", "&a ", "*a", "<<: "])
            lines[at] = lines[at][:cut] + odd + lines[at][cut:]
        elif kind == 6:
            lines.append("zip: " + self.random.choice(["[]", "{}", "{cores: [1, 2]}", "[{jobs: [1, 2]}]", "3", "null"]))
        else:
            lines = ["b0: &b0 [x, x]"]
            lines += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 12)]
        return "\n".join(lines) + "\n"


def attempt(arguments: list[str]) -> None:
    """Go through the door with a command line; raises what is no answer to a user."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        if arguments[0] in VERBS:
            with contextlib.suppress(SystemExit):  # --help
                code = command(arguments)
                assert code in (0, 2), f"exit code {code}"
                assert code == 0 or said.getvalue().startswith("sweep: "), said.getvalue()
            return
        try:
            request = usage.read(arguments)
            if request is not None:
                open_plan(request.composition)
        except SystemExit:
            pass  # --help, --version
        except BadInput as error:
            if not str(error).strip():
                raise ValueError("an empty message") from None


def fuzz(count: int, seed: int) -> Counter[str]:
    """Try so many inputs; what was wrong, by kind, with how often. Every fault is printed."""
    fuzzer, wrong = Fuzzer(seed), Counter[str]()
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as own:
        os.chdir(work)
        try:
            for number in range(count):
                kind = number % 10
                arguments = fuzzer.command_line()
                if kind == 9:
                    arguments = fuzzer.verb()
                elif kind % 3 == 2:
                    arguments = fuzzer.file(Path(own))
                begun, fault = time.monotonic(), ""
                try:
                    attempt(arguments)
                except BaseException as error:  # whatever it is, it is no answer
                    fault = f"{type(error).__name__}: {traceback.format_exc().splitlines()[-3].strip()}"
                if time.monotonic() - begun > SLOW_S:
                    fault = fault or f"took {time.monotonic() - begun:.0f} s"
                left = list(Path(work).rglob("*"))
                if left:
                    fault = fault or f"left {left[0].name}"
                    for path in sorted(left, reverse=True):
                        path.rmdir() if path.is_dir() else path.unlink()
                if fault:
                    wrong[fault] += 1
                    mine = [path.read_bytes() for path in Path(own).rglob("mine.yaml")] if kind % 3 == 2 else ""
                    print(f"{arguments!r} {mine!r}\n  {fault}", file=sys.stderr)
                for path in Path(own).rglob("*.yaml"):
                    path.unlink()
        finally:
            os.chdir(before)
    return wrong


def main() -> int:
    count, seed = (int(word) for word in (*sys.argv[1:], "1000", "0")[:2])
    wrong = fuzz(count, seed)
    print(f"{count} inputs of seed {seed}: {sum(wrong.values())} without an answer")
    for fault, often in wrong.most_common(20):
        print(f"  {often} x {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
