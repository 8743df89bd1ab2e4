// ------------------------------------------------------------------ formulas
/** A formula with the names of the arguments of node `i`. */
function inNames(i, text) {
    return filled(texts[text], (k) => {
        const name = nodes[k === "r" ? i : nodes[i].args[k]].name;
        return [name, named(name) ? ATOM : name.startsWith("-") ? SIGNED : LOOSE];
    });
}

/** The same with their numbers; "" where one of them is an array. */
function inNumbers(i, text) {
    const ends = [...nodes[i].args, i].map((a) => now.values[a]);
    if (!ends.every(isNumber)) return "";
    return filled(texts[text], (k) => {
        const made = number(now.values[k === "r" ? i : nodes[i].args[k]]);
        return [made, made.startsWith("-") ? SIGNED : ATOM];
    });
}

/** A formula in MathML. */
function inMaths(i, text) {
    const piece = (k) => {
        const a = k === "r" ? i : nodes[i].args[k];
        return [maths(a), named(nodes[a].name) ? ATOM : LOOSE];
    };
    return filled(texts[text], piece, (t) => `<mrow><mo>(</mo>${t}<mo>)</mo></mrow>`);
}

/** What a node is called in MathML. */
function maths(i) {
    const node = nodes[i];
    if (node.maths !== undefined) return texts[node.maths];
    if (node.title) return `<mi>${escaped(node.name)}</mi>`;
    if (node.mathml === undefined || /^\[\d+\]$/.test(node.name)) return `<mtext>${escaped(node.name)}</mtext>`;
    return `<mrow>${inMaths(i, node.mathml)}</mrow>`;
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const formulaOf = (i) => (nodes[i].mathml === undefined ? texts[nodes[i].formula] : inNames(i, nodes[i].formula));
/** Parts of an equation, without those that say the same again. */
function chained(parts) {
    return parts.filter((p, k) => p !== "" && !parts.slice(k + 1).includes(p)).join(" = ");
}

function forwardChain(i) {
    const node = nodes[i];
    const numbers = node.mathml === undefined ? "" : inNumbers(i, node.formula);
    return chained([node.title ? node.name : "", formulaOf(i), numbers, number(now.values[i])]);
}

/** How a contribution comes about: what comes in, times the local derivative, in names, in numbers, as a value. */
function backChain(b) {
    const { user, formula, summed } = branches[b];
    const value = number(now.parts[b]);
    const local = now.locals[b];
    if (local === undefined) return formula === undefined ? value : chained([inNames(user, formula), value]);
    const above = isNumber(now.slopes[user]) ? number(now.slopes[user]) : "g";
    const times = (text) => (text === "" ? "" : `${above} × ${isWord(text)}`);
    if (summed !== undefined) return chained([say(summed ? words.summed : words.summed_all, { text: times(inNames(user, formula)), shape: summed }), value]);
    return chained([times(inNames(user, formula)), times(inNumbers(user, formula)), isNumber(local) ? times(number(local)) : "", value]);
}

function sumSentence(i) {
    const { name, gets } = nodes[i];
    const parts = { name, count: gets.length, total: number(now.slopes[i]) };
    if (gets.length > 6 || !isNumber(now.slopes[i])) return say(words.sum_short, parts);
    return say(words.sum, { ...parts, terms: gets.map((b) => signed(number(now.parts[b]))).join(" + ") });
}

const MOST_TERMS = 4; // of a chain rule that is written out

/** The formula of a way: a local derivative, or of a `whole` term. */
const wayFormula = (way) => (way.b === undefined ? way : branches[way.b]);

/** How the derivative of a node by the input comes about: the chain rule in names, in numbers, as values. */
function tangentChain(i) {
    const ways = waysOf(i);
    const total = number(slopeOf(i));
    const terms = (each) => {
        const made = ways.map(each);
        return ways.length > MOST_TERMS || made.includes("") ? "" : made.join(" + ");
    };
    const times = (text, t) => (text === "" || t === "" ? "" : `${isWord(text)} × ${t}`);
    const came = (w) => (isNumber(now.tangents[w.source]) ? signed(number(now.tangents[w.source])) : "");
    const local = (w) => (isNumber(localOf(i, w)) ? signed(number(localOf(i, w))) : "");
    return chained([
        slopeName(i),
        terms((w) => (w.whole ? inNames(i, w.formula) : times(inNames(i, wayFormula(w).formula), slopeName(w.source)))),
        terms((w) => (w.whole ? "" : times(inNumbers(i, wayFormula(w).formula), came(w)))),
        terms((w) => (local(w) === "" || came(w) === "" ? "" : `${local(w)} × ${came(w)}`)),
        ways.length > 1 ? terms((w) => (isNumber(w.term) ? signed(number(w.term)) : "")) : "",
        total,
    ]);
}

function tangentSentence(i) {
    const parts = { name: nodes[i].name, x: nodes[state.from].name };
    if (now.tangents[i] !== undefined) return say(words.tangent_says, { chain: tangentChain(i) });
    return say(carries(i) ? words.no_tangent : words.unmoved, parts);
}

/** What happens at the step, as pieces: what an op does in general, and what it does here. */
function sentence() {
    const { step, fresh } = state;
    const x = forwards() ? nodes[state.from].name : "";
    if (fresh) return [say(forwards() ? words.intro_forward : page.backward.length ? words.intro : words.intro_values, { of: page.of, x })];
    if (step === 0) return [forwards() ? say(words.start_forward, { x }) : words.start];
    if (step < START) {
        const i = page.forward[step - 1];
        return [say(words.forward_says, { chain: forwardChain(i) }), forwards() ? tangentSentence(i) : ""];
    }
    if (step === START) return [say(words.seed, { slope: slopeName(page.top), value: number(now.slopes[page.top]) })];
    const b = page.backward[step - START - 1];
    const { user, source } = branches[b];
    const told = say(words.back_says, { user: nodes[user].name, source: nodes[source].name, chain: backChain(b) });
    const sum = nodes[source].d === step && nodes[source].gets.length > 1 ? sumSentence(source) : "";
    return [shared.says[nodes[user].says], told, sum];
}
