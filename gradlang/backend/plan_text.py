"""Plans as text: the loops of each kernel as C, and the library calls between them."""

from __future__ import annotations

from gradlang.backend.c import kernel_text
from gradlang.backend.llvm_ops import Width
from gradlang.backend.units import with_routines
from gradlang.plan.plan import Library, Plan, Source
from gradlang.types import show_shape


def plan_text(plan: Plan, width: Width) -> str:
    """The steps in order. Functions such as `gl_exp` are left out."""
    parts = ["/* The plan: what runs in one loop, what is read once, where values lie between the loops. */"]
    shown: set[str] = set()
    for step in plan.steps:
        if isinstance(step, Library):
            parts.append("\n".join(f"/* NumPy: {describe(plan, i)} */" for i in step.instrs))
            continue
        told = [f"   {b.name:6} {where(plan, s)}" for b, s in zip(step.kernel.buffers, step.sources, strict=False)]
        parts.append("\n".join([f"/* {step.kernel.name}:", *told, "*/"]))
        for kernel in with_routines([step.kernel]):
            if kernel.name not in shown:
                shown.add(kernel.name)
                parts.append(kernel_text(width, {}, kernel))
    return "\n\n".join(parts) + "\n"


def called(plan: Plan, i: int) -> str:
    """What a value is called: as the user calls it, or by its number."""
    instr = plan.tape.instrs[i]
    output = next((name for name, k in plan.tape.outputs if k == i), None)
    leaf = instr.attrs[0] if instr.op == "input" else None
    return str(leaf or instr.name or output or f"value {i}")


def describe(plan: Plan, i: int) -> str:
    instr = plan.tape.instrs[i]
    args = ", ".join(called(plan, a) for a in instr.args)
    return f"{called(plan, i)} {show_shape(instr.type.shape)} = {instr.op}({args})"


def where(plan: Plan, s: Source) -> str:
    shape = show_shape(s.shape) if s.shape else ""
    if s.kind == "input":
        return f"the input {s.key} {shape}"
    if s.kind == "value":
        order = plan.layout.get(s.key)
        return f"{called(plan, s.key)} {shape}" + (f", its axes in the order {order}" if order else "")
    if s.kind == "scalars":
        names = [
            f"{called(plan, i)} [{k}]" for i, (kind, k) in sorted(plan.scalars.items(), key=lambda p: p[1]) if kind == s.key
        ]
        return f"single numbers: {', '.join(names)}"
    return f"room for values between loops {shape}" if s.kind == "temp" else "whether an index is outside"
