const page = JSON.parse(document.querySelector("[data-part=data]").textContent);
const { nodes, branches, words } = page;
const part = (name) => document.querySelector(`[data-part=${name}]`);
const STEPS = page.forward.length + (page.backward.length ? 1 + page.backward.length : 0);
const START = page.backward.length ? page.forward.length + 1 : Infinity; // the step at which the backward pass starts
const shapeOf = new Map(page.shapes.flatMap((s, k) => s.members.map((i) => [i, k])));
const defaults = new Map(nodes.flatMap((n, i) => (n.kind === "input" ? [[i, decoded(n.value)]] : [])));
const state = { step: STEPS, node: -1, quiz: false, inputs: {}, playing: null };
let now = recorded(page);

/** An element; `data-` and `aria-` names are attributes, others properties. */
function make(tag, more = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(more)) {
        if (name.includes("-") || name === "for" || name === "role" || name === "scope") made.setAttribute(name, value);
        else made[name] = value;
    }
    made.append(...children);
    return made;
}

/** A sentence of the catalogue with its parts filled in. */
function say(text, parts) {
    return text.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
}

const number = (x) => shown(x, page.digits);
const isNumber = (x) => typeof x === "number" || typeof x === "boolean";
const named = (text) => /^[\p{L}\p{N}_.]+(\(.*\)|\[.*\])?$|^\[\d+\]$/u.test(text);
const slopeName = (i) => `∂${page.of}/∂${named(nodes[i].name) ? nodes[i].name : `(${nodes[i].name})`}`;
const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

// ------------------------------------------------------------------ what is known at a step
const knowsValue = (i) => state.step >= nodes[i].v;
const knowsSlope = (i) => nodes[i].d !== undefined && state.step >= nodes[i].d;
const stepOf = new Map(page.backward.map((b, k) => [b, START + 1 + k]));
const knowsBranch = (b) => state.step >= (stepOf.get(b) ?? nodes[branches[b].source].d);

// ------------------------------------------------------------------ formulas
/** A formula with the names of the arguments of node `i`. */
function inNames(i, text) {
    return filled(page.texts[text], (k) => {
        const name = nodes[k === "r" ? i : nodes[i].args[k]].name;
        return [name, named(name) ? ATOM : name.startsWith("-") ? SIGNED : LOOSE];
    });
}

/** The same with their numbers; "" where one of them is an array. */
function inNumbers(i, text) {
    const ends = [...nodes[i].args, i].map((a) => now.values[a]);
    if (!ends.every(isNumber)) return "";
    return filled(page.texts[text], (k) => {
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
    return filled(page.texts[text], piece, (t) => `<mrow><mo>(</mo>${t}<mo>)</mo></mrow>`);
}

/** What a node is called in MathML. */
function maths(i) {
    const node = nodes[i];
    if (node.maths !== undefined) return page.texts[node.maths];
    if (node.title) return `<mi>${escaped(node.name)}</mi>`;
    if (node.mathml === undefined || /^\[\d+\]$/.test(node.name)) return `<mtext>${escaped(node.name)}</mtext>`;
    return `<mrow>${inMaths(i, node.mathml)}</mrow>`;
}

const formulaOf = (i) => (nodes[i].mathml === undefined ? page.texts[nodes[i].formula] : inNames(i, nodes[i].formula));
const isWord = (text) => (named(text) ? text : `(${text})`);

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

const signed = (text) => (text.startsWith("-") ? `(${text})` : text);

function sentence() {
    const { step } = state;
    if (step === 0) return words.start;
    if (step < START) return say(words.forward_says, { chain: forwardChain(page.forward[step - 1]) });
    if (step === START) return say(words.seed, { slope: slopeName(page.top), value: number(now.slopes[page.top]) });
    const b = page.backward[step - START - 1];
    const { user, source } = branches[b];
    const says = page.says[nodes[user].says];
    const told = say(words.back_says, { says, user: nodes[user].name, source: nodes[source].name, chain: backChain(b) });
    return nodes[source].d === step && nodes[source].gets.length > 1 ? `${told} ${sumSentence(source)}` : told;
}

// ------------------------------------------------------------------ the drawing
const labels = [...document.querySelectorAll("[data-value], [data-slope], [data-branch]")].map((element) => {
    const { value, slope, branch } = element.dataset;
    const first = element.textContent;
    if (branch !== undefined) {
        const [, , held] = page.lines[branch];
        const total = () => held.map((b) => now.parts[b]).reduce((x, y) => x + y);
        return { element, first, of: total, known: () => held.every(knowsBranch) };
    }
    const { node } = page.shapes[value ?? slope];
    if (value !== undefined) return { element, first, node, kind: "value", of: () => now.values[node], known: () => knowsValue(node) };
    return { element, first, node, kind: "slope", of: () => now.slopes[node], known: () => knowsSlope(node) };
});
const shapes = [...document.querySelectorAll("[data-shape]")];
const edges = [...document.querySelectorAll("[data-line]")];
const ROOM = 8; // characters, as the drawing has room for

function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

function draw() {
    for (const { element, first, of, known, node, kind } of labels) {
        const blank = state.quiz ? answerOf(node, kind) : undefined;
        const text = page.live ? fitted(of(), page.digits, ROOM) : first;
        put(element, blank ?? (state.quiz && kind === undefined ? "" : known() ? text : ""));
        element.classList.toggle("blank", blank !== undefined);
    }
    const { step } = state;
    const b = step > START && !state.quiz ? branches[page.backward[step - START - 1]] : null;
    const active = b ? [b.user, b.source] : step === START ? [page.top] : step > 0 ? [page.forward[step - 1]] : [];
    const lit = new Set(state.quiz ? [] : active.map((i) => shapeOf.get(i)));
    const chosen = shapeOf.get(state.node);
    for (const element of shapes) {
        const k = Number(element.dataset.shape);
        element.classList.toggle("now", lit.has(k));
        element.classList.toggle("chosen", k === chosen);
        if ((element.getAttribute("aria-pressed") === "true") !== (k === chosen)) element.setAttribute("aria-pressed", String(k === chosen));
    }
    for (const element of edges) {
        const ends = page.lines[element.dataset.line];
        const on = b && ends && ends[0] === shapeOf.get(b.source) && ends[1] === shapeOf.get(b.user);
        element.classList.toggle("now", Boolean(on));
    }
}
