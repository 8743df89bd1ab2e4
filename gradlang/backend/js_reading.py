"""JavaScript that every generated module brings along: inputs by name, checked, to the arguments of its functions."""

from __future__ import annotations

TAKEN = """/** The inputs in order: what they are, their values and whether these are given, not defaults. */
function taken(inputs) {
    if (typeof inputs !== "object" || inputs === null) throw new Error("the inputs are given by name, as an object");
    const names = meta.inputs.map((input) => input.name);
    const every = new Set(names);
    const unknown = Object.keys(inputs).find((name) => !every.has(name));
    if (unknown !== undefined) {
        const known = names.length > 0 ? `inputs are ${names.join(", ")}` : "this program has no inputs";
        throw new Error(`there is no input named \\`${unknown}\\`: ${known}`);
    }
    const found = meta.inputs.map((input) => {
        const own = Object.hasOwn(inputs, input.name) && inputs[input.name] !== undefined;
        return { input, own, value: own ? inputs[input.name] : input.default };
    });
    const missing = found.filter((f) => !f.own && f.value === null).map((f) => `\\`${f.input.name}\\``);
    if (missing.length === 1) throw new Error(`a value is missing for ${missing[0]}`);
    if (missing.length > 1) throw new Error(`values are missing for ${missing.join(", ")}`);
    return found;
}

function described(value) {
    return typeof value === "string" ? "text" : value === null ? "null" : typeof value;
}"""

NUMBERS = """/** The arguments of the functions above. */
function read(inputs) {
    return taken(inputs).map(({ input, value }) => {
        if (typeof value === "number" || typeof value === "boolean") return Number(value);
        const list = Array.isArray(value) || ArrayBuffer.isView(value);
        if (list) throw new Error(`\\`${input.name}\\` must be a scalar, but an array is given`);
        throw new Error(`\\`${input.name}\\` must be numbers, but ${described(value)} is given`);
    });
}"""

ARRAYS = """/** The arguments of the functions above: numbers, arrays as typed arrays in C order, and then the sizes. */
function read(inputs) {
    const found = taken(inputs).map(({ input, own, value }) => ({ input, own, ...listed(input, value) }));
    const known = measured(found);
    const wanted = shaped(...known);
    const values = found.map(({ input, own, data, shape }, k) => {
        const full = wanted[k];
        const count = full.reduce((a, b) => a * b, 1);
        if (!own && shape.length === 0) return full.length === 0 ? data[0] : new data.constructor(count).fill(data[0]);
        if (shape.length !== full.length || shape.some((n, axis) => n !== full[axis])) {
            const inside = (name) => input.shape.some((n) => String(n).split(/[-+* ]+/).includes(name));
            const told = sizes.map((name, s) => (inside(name) ? `${name} = ${known[s]}` : "")).filter((text) => text);
            throw misfit(input, shape, told.length > 0 ? ` (${told.join(", ")})` : "");
        }
        return full.length === 0 ? data[0] : data;
    });
    return [...values, ...known];
}

/** The sizes, from the shapes of what is given and then of defaults. */
function measured(found) {
    const known = sizes.map(() => undefined);
    for (const own of [true, false]) {
        for (const [size, k, axis, factor, offset] of places) {
            const { input, shape } = found[k];
            if (found[k].own !== own || known[size] !== undefined || (!own && shape.length === 0)) continue;
            if (shape.length !== input.shape.length) throw misfit(input, shape, "");
            const number = (shape[axis] - offset) / factor;
            if (!Number.isInteger(number) || number < 0) throw misfit(input, shape, "");
            known[size] = number;
        }
    }
    const open = sizes.find((name, size) => known[size] === undefined);
    if (open !== undefined) throw new Error(`the size \\`${open}\\` is not known: no array that is given has it`);
    return known;
}

function misfit(input, shape, because) {
    const wanted = input.shape.length > 0 ? `[${input.shape.join(", ")}]` : "a scalar";
    const have = shape.length > 0 ? `an array [${shape.join(", ")}]` : "a single number";
    return new Error(`\\`${input.name}\\` must be ${wanted}, but ${have} is given${because}`);
}

function isList(value) {
    return Array.isArray(value) || (ArrayBuffer.isView(value) && typeof value.length === "number");
}

/** A value as numbers side by side and their shape: a number, nested arrays, a typed array, or { data, shape }. */
function listed(input, value) {
    if (typeof value === "object" && value !== null && isList(value.data) && Array.isArray(value.shape)) {
        const count = value.shape.reduce((a, b) => a * b, 1);
        if (count === value.data.length) return { data: converted(input, value.data), shape: value.shape };
        throw new Error(`the shape of \\`${input.name}\\` has ${count} entries, but ${value.data.length} are given`);
    }
    let level = [value];
    const shape = [];
    while (level.length > 0 && isList(level[0]) && shape.length <= input.shape.length) {
        const length = level[0].length;
        if (level.some((row) => !isList(row) || row.length !== length)) {
            throw new Error(`the value of \\`${input.name}\\` is no array of numbers: its rows differ`);
        }
        shape.push(length);
        level = level.length === 1 ? level[0] : level.flatMap((row) => Array.from(row));
    }
    if (level.length > 0 && isList(level[0])) throw misfit(input, shape, "");
    return { data: converted(input, level), shape };
}

/** Numbers as a typed array of the right kind. An array that is of this kind already is only read, never copied. */
function converted(input, list) {
    if (input.kind === "real" && list instanceof @REAL@) return list;
    const data = new { real: @REAL@, int: Float64Array, bool: Uint8Array }[input.kind](list.length);
    for (let k = 0; k < list.length; k++) {
        const entry = list[k];
        const x = typeof entry === "boolean" || typeof entry === "bigint" ? Number(entry) : entry;
        if (typeof x !== "number") throw new Error(`\\`${input.name}\\` must be numbers, but ${described(x)} is given`);
        if (input.kind === "int" && !Number.isSafeInteger(x)) throw new Error(`\\`${input.name}\\` must be whole numbers`);
        if (input.kind === "bool" && x !== 0 && x !== 1) {
            throw new Error(`\\`${input.name}\\` must be true or false (or 0 and 1)`);
        }
        data[k] = input.kind === "int" ? x + 0 : x;
    }
    return data;
}"""


def reading(scalar: bool, real: str) -> list[str]:
    """`read` and what it calls; `real` is the type of arrays of reals."""
    return [NUMBERS, TAKEN] if scalar else [ARRAYS.replace("@REAL@", real), TAKEN]
