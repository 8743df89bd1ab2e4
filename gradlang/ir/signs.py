"""What is known about the sign of a value by the ops that make it; a nan has no sign here."""

from __future__ import annotations

from math import copysign

from gradlang.ir.tape import UNIFORM, Instr, Tape

DEEP = 16  # instructions that are followed
SELECTED = frozenset({*UNIFORM, "slice", "mark"})  # ops whose entries are entries of their first argument
POSITIVE = frozenset({"abs", "exp", "square", "sigmoid", "sqrt", "softplus", "tanh_slope"})


def never_positive(tape: Tape, i: int) -> bool:
    """Whether an entry of a value is 0 or less, or nan, whatever the arguments are."""
    return signed(tape, i, -1)


def signed(tape: Tape, i: int, sign: int) -> bool:
    """Whether `sign` times a value is 0 or more, or nan."""
    for _ in range(DEEP):
        instr = tape.instrs[i]
        if instr.op == "const":
            return not sign * instr.attrs[0] < 0
        if instr.op in POSITIVE:
            return sign > 0
        if instr.op == "neg":
            sign = -sign
        elif instr.op == "mul":
            others = [factor(tape, instr, k) for k in (0, 1)]
            known = next((k for k, s in enumerate(others) if s), None)
            if known is None:
                return squared(tape, instr) == sign
            sign *= others[known]
            i = instr.args[1 - known]
            continue
        elif instr.op not in UNIFORM:
            return False
        i = instr.args[0]
    return False


def never_negative_zero(tape: Tape, i: int) -> bool:
    """Whether no entry of a value is -0.0, whatever the arguments are. A sum is that only if all its terms are, and a
    difference only if it begins with it and takes 0.0 away."""
    open_, seen = [i], 0
    while open_ and seen < DEEP:
        instr = tape.instrs[open_.pop()]
        seen += 1
        if instr.op == "const":
            if copysign(1.0, instr.attrs[0]) > 0.0 or instr.attrs[0] != 0:
                return True
        elif instr.op in ("size", "abs", "exp", "square") or (instr.op == "mul" and instr.args[0] == instr.args[1]):
            return True
        elif instr.op == "add":
            open_ += instr.args
        elif instr.op == "sub":
            last = tape.instrs[instr.args[1]]
            if last.op == "const" and last.attrs[0] != 0:
                return True
            open_.append(instr.args[0])
        elif instr.op in SELECTED:
            open_.append(instr.args[0])
    return False


def factor(tape: Tape, instr: Instr, k: int) -> int:
    """The sign of an argument that is a constant, else 0."""
    at = tape.instrs[instr.args[k]]
    return 0 if at.op != "const" or at.attrs[0] != at.attrs[0] else 1 if at.attrs[0] >= 0 else -1


def squared(tape: Tape, instr: Instr) -> int:
    """The sign of a product of a value with itself, or with its negative; 0 of others."""
    signs, values = 1, []
    for a in instr.args:
        while tape.instrs[a].op == "neg":
            signs, a = -signs, tape.instrs[a].args[0]
        values.append(a)
    return signs if values[0] == values[1] else 0
