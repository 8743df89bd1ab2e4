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


def tile_rows(group: Group, shape: Extents, dtype: str) -> int:
    """How many rows of arrays of a shape are in a tile of a group. A single operation has nothing to keep in the cache."""
    width = 8 if dtype == "float64" else 4
    return shape[0] if len(group.members) == 1 else min(shape[0], max(1, TILE // (width * prod(shape[1:]))))


class TileWriter:
    """Where values are: `slices` of whole arrays, or `registers`, which are rooms of the size of a tile."""

    def __init__(self, writer: Writer, group: Group, step: int) -> None:
        self.writer, self.group, self.step = writer, group, step
        self.tape, self.names = writer.tape, writer.names
        shape = (prod(group.shape),) if group.flat else group.shape
        self.shape = shape
        self.rows = tile_rows(group, shape, writer.job.dtype)
        self.columns = step in writer.column_steps
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
        self.flats: dict[int, str] = {}  # places in rows -> places in the tile as one long axis
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
        text = self.writer.view(name, "reshape(-1)")
        if text.isidentifier():
            return text
        made = self.names.fresh()
        self.before.append(f"{made} = {text}")
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
            name, line = w.result_array(i)
            self.before.append(line)
        else:
            name = w.borrow(shape, w.kind(i))
        w.known[i] = name
        return name

    def place(self, i: int) -> str:
        """Where a value goes: into its array, or into a register."""
        if self.writer.plan.used[i] - {self.step} or self.tape.instrs[i].op in ("max", "min", "sum", "sum_to"):
            self.slices[i] = self.cut(self.flat(self.array(i), i))
            return self.slices[i]
        self.registers[i] = made = self.spare(self.register_of(i))
        return made

    def register_of(self, i: int) -> Class:
        return self.inner(i), self.writer.kind(i)

    def mask_of(self, i: int) -> Class:
        return self.inner(i), "B" + (".T" if i in self.writer.columns else "")

    def line(self, name: str) -> str:
        """An array of the group as one long axis."""
        return self.writer.view(name, "T.reshape(-1)" if self.columns else "reshape(-1)")

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
                self.open.setdefault(self.register_of(a), []).append(self.registers[a])
            if a in self.masks:
                self.open.setdefault(self.mask_of(a), []).append(self.masks.pop(a))

    # -------------------------------------------------------------- instructions
    def write(self) -> None:
        for i in self.group.members:
            op = self.tape.instrs[i].op
            if op in ("sum", "sum_to", "max", "min"):
                self.reduction(i)
            elif op == "where":
                self.choice(i)
            elif op == "take_along":
                self.picked(i)
            elif i in self.writer.plan.lessened:
                self.lessened(i)
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

    def picked(self, i: int) -> None:
        """One entry of each row. All places are inside: "clip" is the mode that writes straight to `out`."""
        a, index = self.writer.plan.sources[i]
        where, source = self.flat_places(index, a), self.operand(a)
        self.release(i)
        out = self.place(i)
        self.body.append(f"{self.line(source)}.take({where}, out={self.writer.view(out, 'reshape(-1)')}, mode='clip')")

    def lessened(self, i: int) -> None:
        """A difference with an array with one 1 in each row: x - 0 is x."""
        a, index = self.writer.plan.sources[i]
        where, source = self.flat_places(index, i), self.operand(a)
        self.release(i)
        out = self.place(i)
        if out != source:
            self.body.append(f"np.copyto({out}, {source})")
        self.body.append(f"{self.line(out)}[{where}] -= {self.writer.constant('np.array(1.0, F)')}")

    def flat_places(self, index: int, i: int) -> str:
        """Places in the rows of an array of the group as places in the array seen as one long axis."""
        if index not in self.flats:
            *rows, n = self.inner(i)
            count = prod(rows)
            first = self.writer.constant(f"np.arange({count})" if self.columns else f"np.arange(0, {count * n}, {n})")
            made = self.register(((count,), "np.int64"))
            if self.shape[0] % self.rows:
                part = f":(stop - start) * {count // self.rows}"
                first, made = self.sliced(first, part), self.sliced(made, part)
            self.flats[index] = made
            at = f"{self.operand(index)}.reshape(-1)"
            if self.columns:
                self.body.append(f"np.multiply({at}, {count}, out={made})")
                at = made
            self.body.append(f"np.add({first}, {at}, out={made})")
        return self.flats[index]

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
        """Whether a value is an array that we made, which is sure to be of our kind."""
        return self.like(a, i) and (a in self.members or a in self.writer.products)

    def number(self, i: int, number: float) -> bool:
        instr = self.tape.instrs[i]
        return instr.op == "const" and repr(float(instr.attrs[0])) == repr(number)

    def view(self, name: str, kind: str) -> str:
        """The same memory as whole numbers: `B` of the size of a real."""
        text = self.writer.view(name, f"view({kind})")
        if text.isidentifier():
            return text
        if (name, kind) not in self.views:
            self.views[name, kind] = made = self.names.fresh()
            lines = self.cuts if self.count > 1 else self.before
            lines.append(f"{made} = {text}")
        return self.views[name, kind]

    def mask(self, c: int) -> str:
        """All bits of an entry where a condition holds."""
        if c not in self.masks:
            self.masks[c] = made = self.spare(self.mask_of(c))
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
        if self.count == 1 and (not shape or (len(axes) < rank and len(shape) in (rank, rank - len(axes)))):
            self.whole_sum(i, source, axes, len(shape) == rank)
            return
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

    def whole_sum(self, i: int, source: str, axes: tuple[int, ...], thin: bool) -> None:
        """A sum over rows that are all in one tile."""
        w, shape = self.writer, self.writer.shape(i)
        if not shape:
            made = w.known[i] = self.names.fresh()
            self.body.append(f"{made} = np.add.reduce({source}, axis=None)")
        elif len(shape) == 1 and axes == (0,) and not self.group.flat and len(self.shape) == 2:
            ones = w.constant(f"np.ones({self.shape[0]}, F)")  # a BLAS adds columns faster
            self.body.append(f"np.dot({ones}, {source}, out={self.array(i)})")
        else:
            self.body.append(f"np.add.reduce({source}, axis={axes}, keepdims={thin}, out={self.array(i)})")

    def register(self, key: Class) -> str:
        name = self.writer.borrow(*key)
        self.made.append((key, name))
        return name
