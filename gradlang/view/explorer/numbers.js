/** A number of JSON; those that it lacks are lists of their names. */
function decoded(x) {
    return Array.isArray(x) ? { nan: NaN, inf: Infinity, "-inf": -Infinity }[x[0]] : x;
}

/** A value with so many significant digits, as Python's format `g` writes it. */
function shown(x, digits) {
    if (typeof x !== "number") return String(x ?? "");
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
    if (x === 0) return Object.is(x, -0) ? "-0" : "0";
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    const power = Number(exponent);
    const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
    if (power >= -4 && power < digits) return trimmed(x.toFixed(Math.max(digits - 1 - power, 0)));
    return `${trimmed(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** The same in so many characters, with fewer digits where it has to be. */
function fitted(x, digits, room) {
    for (let n = digits; n > 1; n--) {
        const text = shown(x, n);
        if (text.length <= room) return text;
    }
    return shown(x, 1);
}

const [ATOM, SIGNED, LOOSE] = [0, 1, 2];

/** A formula with holes, filled by `piece(k)`: the text of argument k, or of the result for "r", and whether it is a name,
 * number or call, has a sign in front, or is loose. The marks of a hole say what is grouped there. */
function filled(text, piece, group = (t) => `(${t})`) {
    return text.replace(/(-?)\uE000(\w+)(!*)\uE001/g, (_, sign, k, marks) => {
        const [made, kind] = piece(k);
        const most = sign || marks === "!!" ? ATOM : marks === "!" ? SIGNED : LOOSE;
        return sign + (kind > most ? group(made) : made);
    });
}

/** What a person typed as a number: decimal comma, fraction and minus sign are understood; NaN for anything else. */
function parsed(text) {
    const plain = text.trim().replace(/\u2212/g, "-").replace(",", ".");
    const number = (t) => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(t.trim()) ? Number(t) : { inf: Infinity, "-inf": -Infinity }[t] ?? NaN);
    const [up, down, ...more] = plain.split("/");
    return more.length ? NaN : down === undefined ? number(up) : number(up) / number(down);
}

/** Whether an answer is right within a relative tolerance. */
function agrees(answer, wanted, tolerance) {
    if (typeof wanted === "boolean") return answer === Number(wanted);
    return answer === wanted || Math.abs(answer - wanted) <= tolerance * Math.abs(wanted);
}

/** All numbers of a page for its inputs, in the order of the trace: values and derivatives of nodes, contributions and local
 * derivatives of branches. What no derivative reaches stays undefined. */
function computed(page, inputs, forward, back) {
    const { nodes, branches } = page;
    const values = new Array(nodes.length);
    const slopes = new Array(nodes.length);
    const parts = new Array(branches.length);
    const locals = new Array(branches.length);
    nodes.forEach((node, i) => {
        if (node.f === undefined) values[i] = i in inputs ? inputs[i] : decoded(node.value);
        else values[i] = forward[node.f](...node.args.map((a) => values[a]));
    });
    if (nodes[page.top].slope !== undefined) slopes[page.top] = decoded(page.seed);
    for (let i = nodes.length - 1; i >= 0; i--) {
        const node = nodes[i];
        if (node.b === undefined) continue;
        const made = back[node.b](...node.args.map((a) => values[a]), slopes[i]);
        node.gives.forEach((b, k) => {
            const to = branches[b].source;
            parts[b] = made[2 * k];
            locals[b] = made[2 * k + 1];
            slopes[to] = slopes[to] === undefined ? parts[b] : slopes[to] + parts[b];
        });
    }
    return { values, slopes, parts, locals };
}

/** Forward mode: the derivatives of all nodes by the input `from`, for their values, and of each node the terms that its ways
 * bring, in their order. What the input does not reach stays undefined. */
function moved(page, values, from, move) {
    const tangents = new Array(values.length);
    const terms = new Array(values.length);
    const exact = new Array(values.length).fill(false); // whether a zero is that of a branch not taken
    tangents[from] = 1;
    page.nodes.forEach((node, i) => {
        if (node.ways === undefined) return;
        const operands = node.args.map((a) => values[a]);
        let all = true;
        terms[i] = node.ways.map(({ k, f, z, e }) => {
            const a = node.args[k];
            if (tangents[a] === undefined) return undefined;
            if (!exact[a] && e === undefined) all = false;
            return move[exact[a] ? z ?? f : f](...operands, tangents[a]);
        });
        const found = terms[i].filter((x) => x !== undefined);
        if (!found.length) return;
        tangents[i] = found.reduce((x, y) => x + y);
        exact[i] = all;
    });
    return { tangents, terms };
}

/** The numbers of the run that a page was made from. */
function recorded(page) {
    return {
        values: page.nodes.map((n) => decoded(n.value)),
        slopes: page.nodes.map((n) => decoded(n.slope)),
        parts: page.branches.map((b) => decoded(b.value)),
        locals: page.branches.map((b) => decoded(b.local)),
    };
}

/** Those of forward mode from its input number `n`. */
function recordedFlow(page, n) {
    const { tangents, terms } = page.flows[n];
    const listed = (found, each) => page.nodes.map((_, i) => (found[i] === undefined ? undefined : each(found[i])));
    return { tangents: listed(tangents, decoded), terms: listed(terms, (t) => t.map((x) => (x === null ? undefined : decoded(x)))) };
}

/** The ends and the step of a slider: what the program declares, or from zero to twice the number. */
function span(value, range) {
    let [low, high] = (range ?? []).map(decoded);
    const size = Math.abs(value) || 1;
    if (!Number.isFinite(low)) low = Math.min(value < 0 ? 2 * value : value === 0 ? -1 : 0, (high ?? Infinity) - size);
    if (!Number.isFinite(high)) high = Math.max(value > 0 ? 2 * value : value === 0 ? 1 : 0, low + size);
    if (!Number.isFinite(high - low)) [low, high] = [-1, 1];
    return [low, high, 10 ** Math.floor(Math.log10((high - low) / 100))];
}
