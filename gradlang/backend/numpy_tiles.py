"""A group of a plan as NumPy code: a loop over tiles in which every operation writes into memory that is there."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from gradlang.backend.names import ARRAY_KINDS
from gradlang.plan.tiles import Extents, Group, reduced

if TYPE_CHECKING:
    from gradlang.backend.numpy_planned import Writer

TILE = 128 * 1024  # bytes of one array in a tile: seven of them fill the cache of one core
Class = tuple[Extents, str]


class TileWriter:
    """Where values are: `slices` of whole arrays, or `registers`, which are rooms of the size of a tile."""

    def __init__(self, writer: Writer, group: Group, step: int) -> None:
        self.writer, self.group, self.step = writer, group, step
        self.tape, self.names = writer.tape, writer.names
        shape = (prod(group.shape),) if group.flat else group.shape
        width = 8 if writer.job.dtype == "float64" else 4
        self.shape = shape
        self.rows = min(shape[0], max(1, TILE // (width * prod(shape[1:]))))
        self.count = -(-shape[0] // self.rows)
        self.before: list[str] = []
        self.cuts: list[str] = []
        self.body: list[str] = []
        self.after: list[str] = []
        self.slices: dict[int, str] = {}
        self.whole: set[int] = set()
        self.registers: dict[int, str] = {}
        self.open: dict[Class, list[str]] = {}
        self.made: list[tuple[Class, str]] = []
        self.cut_of: dict[str, str] = {}
        self.masks: dict[int, str] = {}
        self.views: dict[tuple[str, str], str] = {}
        self.members = set(group.members)
        self.last = {a: i for i in group.members for a in writer.plan.sources[i]}

    # -------------------------------------------------------------- memory
    def kind(self, i: int) -> str:
        return ARRAY_KINDS[self.tape.instrs[i].type.dtype]

    def rowwise(self, i: int) -> bool:
        """Whether each row of the group has its own entries of a value."""
        shape = self.writer.shape(i)
        return bool(shape) if self.group.flat else len(shape) == len(self.shape) and shape[0] == self.shape[0]

    def cut(self, name: str) -> str:
        """The part of an array in the tile at hand."""
        return self.sliced(name, "start:stop")

    def sliced(self, name: str, part: str) -> str:
        if self.count == 1:
            return name
        if name not in self.cut_of:
            self.cut_of[name] = made = self.names.fresh()
            self.cuts.append(f"{made} = {name}[{part}]")
        return self.cut_of[name]

    def flat(self, name: str, i: int) -> str:
        if not self.group.flat or len(self.writer.shape(i)) < 2:
            return name
        made = self.names.fresh()
        self.before.append(f"{made} = {name}.reshape(-1)")
        return made

    def operand(self, a: int) -> str:
        if a in self.registers:
            return self.registers[a]
        if a not in self.slices:
            text = self.writer.text(a)
            self.slices[a] = self.cut(self.flat(text, a)) if self.rowwise(a) else text
        return self.slices[a]

    def array(self, i: int) -> str:
        """The whole array of a value that other steps need, or the caller."""
        w = self.writer
        shape = w.shape(i)
        if i in w.results:
            name = w.names.user(self.tape.instrs[i].name or next(n for n, k in self.tape.outputs if k == i))
            self.before.append(f"{name} = empty({shape}, {self.kind(i)})")
            w.own.add(i)
        else:
            name = w.borrow(shape, self.kind(i))
        w.known[i] = name
        return name

    def place(self, i: int) -> str:
        """Where a value goes: into its array, or into a register."""
        if self.writer.plan.used[i] - {self.step} or self.tape.instrs[i].op in ("max", "min", "sum", "sum_to"):
            self.slices[i] = self.cut(self.flat(self.array(i), i))
            return self.slices[i]
        self.registers[i] = made = self.spare((self.inner(i), self.kind(i)))
        return made

    def inner(self, i: int) -> Extents:
        """The shape of a value in a tile."""
        return (self.rows,) if self.group.flat else (self.rows, *self.writer.shape(i)[1:])

    def spare(self, key: Class) -> str:
        """A register that holds nothing."""
        if self.open.get(key):
            return self.open[key].pop()
        name = self.register(key)
        return self.sliced(name, ":stop - start") if self.shape[0] % self.rows else name

    def release(self, i: int) -> None:
        """Gives the registers back that are read for the last time."""
        for a in dict.fromkeys(self.writer.plan.sources[i]):
            if self.last.get(a) != i:
                continue
            if a in self.registers:
                self.open.setdefault((self.inner(a), self.kind(a)), []).append(self.registers[a])
            if a in self.masks:
                self.open.setdefault((self.inner(a), "B"), []).append(self.masks.pop(a))

    # -------------------------------------------------------------- instructions
    def write(self) -> None:
        for i in self.group.members:
            op = self.tape.instrs[i].op
            if op in ("sum", "sum_to", "max", "min"):
                self.reduction(i)
            elif op == "where":
                self.choice(i)
            else:
                self.entrywise(i)
        w = self.writer
        w.lines += self.before
        if self.count == 1:
            w.lines += self.body
        else:
            n = self.shape[0]
            w.lines.append(f"for tile in range({self.count}):")
            w.lines += [f"    start = tile * {self.rows}", f"    stop = min(start + {self.rows}, {n})"]
            w.lines += ["    " + line for line in [*self.cuts, *self.body]]
        w.lines += self.after
        for key, name in self.made:
            w.give_back(*key, name)

    def entrywise(self, i: int) -> None:
        from gradlang.backend.numpy_planned import ufunc

        instr = self.tape.instrs[i]
        args = [self.operand(a) for a in self.writer.plan.sources[i]]
        self.release(i)
        out = self.place(i)
        if instr.op == "real":
            self.body.append(f"np.copyto({out}, {args[0]})")
            return
        name = ufunc(self.writer.table, instr)
        self.body.append(f"{name}({', '.join(args[:1] if name == 'np.square' else args)}, out={out})")

    def choice(self, i: int) -> None:
        """np.where cannot write into given memory, and copies with a mask are slow where it changes often: b ^ ((a ^ b) & mask)
        over the bits is the same value."""
        c, a, b = self.writer.plan.sources[i]
        if self.kind(i) != "F" or not self.like(c, i):
            self.copied(i, c, a, b)
        elif self.number(a, 1.0) and self.number(b, 0.0):
            condition = self.operand(c)
            self.body.append(f"np.copyto({self.place(i)}, {condition})")
            self.release(i)
        elif (self.ours(b, i) and (self.like(a, i) or self.number(a, 0.0))) or (self.number(b, 0.0) and self.like(a, i)):
            self.chosen(i, c, a, b)
        else:
            self.copied(i, c, a, b)

    def chosen(self, i: int, c: int, a: int, b: int) -> None:
        mask, first, second = self.mask(c), self.operand(a), self.operand(b)
        name = self.place(i)  # no operand may lie there
        out = self.view(name, "B")
        if self.number(a, 0.0):
            other = self.view(second, "B")
            self.body.append(f"np.bitwise_and({other}, {mask}, out={out})")
        else:
            if self.ours(a, i):
                bits = self.view(first, "B")
            else:  # what the caller gave may be of another kind
                self.body.append(f"np.copyto({name}, {first})")
                bits = out
            if self.number(b, 0.0):
                self.body.append(f"np.bitwise_and({bits}, {mask}, out={out})")
                self.release(i)
                return
            other = self.view(second, "B")
            self.body.append(f"np.bitwise_xor({bits}, {other}, out={out})")
            self.body.append(f"np.bitwise_and({out}, {mask}, out={out})")
        self.body.append(f"np.bitwise_xor({out}, {other}, out={out})")
        self.release(i)

    def copied(self, i: int, c: int, a: int, b: int) -> None:
        condition, first, second = (self.operand(k) for k in (c, a, b))
        out = self.place(i)
        self.body += [f"np.copyto({out}, {second})", f"np.copyto({out}, {first}, where={condition})"]
        self.release(i)

    def like(self, a: int, i: int) -> bool:
        return self.writer.shape(a) == self.writer.shape(i)

    def ours(self, a: int, i: int) -> bool:
        """Whether a value is an array of this group, which is sure to be of our kind."""
        return self.like(a, i) and a in self.members

    def number(self, i: int, number: float) -> bool:
        instr = self.tape.instrs[i]
        return instr.op == "const" and repr(float(instr.attrs[0])) == repr(number)

    def view(self, name: str, kind: str) -> str:
        """The same memory as whole numbers: `B` of the size of a real."""
        if (name, kind) not in self.views:
            self.views[name, kind] = made = self.names.fresh()
            lines = self.cuts if self.count > 1 else self.before
            lines.append(f"{made} = {name}.view({kind})")
        return self.views[name, kind]

    def mask(self, c: int) -> str:
        """All bits of an entry where a condition holds."""
        if c not in self.masks:
            self.masks[c] = made = self.spare((self.inner(c), "B"))
            self.body.append(f"np.negative({self.view(self.operand(c), 'np.int8')}, out={made})")
        return self.masks[c]

    def reduction(self, i: int) -> None:
        instr = self.tape.instrs[i]
        (a,) = instr.args
        axes = reduced(self.tape, i)
        rank = self.tape.instrs[a].type.rank
        source, shape = self.operand(a), self.writer.shape(i)
        name = {"max": "np.maximum", "min": "np.minimum"}.get(instr.op, "np.add")
        if 0 not in axes:
            thin = len(shape) == rank
            self.release(i)
            out = self.place(i)
            self.body.append(f"{name}.reduce({source}, axis={axes}, keepdims={thin}, out={out})")
            return
        self.release(i)
        made = self.names.user(instr.name) if instr.name else self.names.fresh()
        if len(axes) == rank:
            parts = self.register(((self.count,), "F"))
            self.body.append(f"{parts}[{'tile' if self.count > 1 else 0}] = np.add.reduce({source}, axis=None)")
            self.after.append(f"{made} = np.add.reduce({parts})" + (f".reshape({shape})" if shape else ""))
        else:
            kept = tuple(1 if k in axes else d for k, d in enumerate(self.writer.shape(a)))
            part = self.register((kept, "F"))
            self.before.append(f"{made} = np.full({kept}, -0.0, F)")  # -0.0 + x is x, also for zeros
            self.body.append(f"np.add.reduce({source}, axis={axes}, keepdims=True, out={part})")
            self.body.append(f"np.add({made}, {part}, out={made})")
            self.after += [f"{made} = {made}.reshape({shape})"] if shape != kept else []
        self.writer.known[i] = made
        self.writer.own.add(i)

    def register(self, key: Class) -> str:
        name = self.writer.borrow(*key)
        self.made.append((key, name))
        return name
