const part = (name) => document.querySelector(`[data-part=${name}]`);
const shared = JSON.parse(part("data").textContent);
const { words, graphs, texts, files } = shared;
const state = { graph: 0, from: -1, step: 0, node: -1, quiz: false, fresh: true, inputs: {}, playing: null };

// of the result that is shown: its graph, and what is worked out of it once
let page, nodes, branches, shapeOf, defaults, stepOf;
let now; // the numbers of the moment
let STEPS, START; // how many steps there are, and that at which the backward pass starts

/** Takes a result and a mode: `from` is the input that derivatives flow from, -1 for reverse mode. */
function setGraph(k) {
    state.graph = k;
    page = graphs[k];
    ({ nodes, branches } = page);
    shapeOf = new Map(page.shapes.flatMap((s, n) => s.members.map((i) => [i, n])));
    defaults = new Map(nodes.flatMap((n, i) => (n.kind === "input" ? [[i, decoded(n.value)]] : [])));
    now = recorded(page);
}

function setMode(from) {
    state.from = from;
    const back = from < 0 ? page.backward : [];
    STEPS = page.forward.length + (back.length ? 1 + back.length : 0);
    START = back.length ? page.forward.length + 1 : Infinity;
    stepOf = new Map(back.map((b, k) => [b, START + 1 + k]));
}

function compute() {
    if (page.live) now = computed(page, state.inputs, FORWARD, BACK);
    if (!forwards()) return;
    Object.assign(now, page.live ? moved(page, now.values, state.from, MOVE) : recordedFlow(page, page.sources.indexOf(state.from)));
}

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

function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

/** A sentence of the catalogue with its parts filled in. */
function say(text, parts) {
    return text.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
}

const number = (x) => shown(x, shared.digits);
const isNumber = (x) => typeof x === "number" || typeof x === "boolean";
const named = (text) => /^[\p{L}\p{N}_.]+(\(.*\)|\[.*\])?$|^\[\d+\]$/u.test(text);
const isWord = (text) => (named(text) ? text : `(${text})`);
const signed = (text) => (text.startsWith("-") ? `(${text})` : text);

// ------------------------------------------------------------------ what is known, and at which step
const forwards = () => state.from >= 0;
const carries = (i) => nodes[i].ways !== undefined || page.sources.includes(i) || now.tangents[i] !== undefined; // derivatives by inputs
const hasSlope = (i) => (forwards() ? carries(i) : nodes[i].d !== undefined);

/** The derivative that is shown with a node: of the result by it, or in forward mode its own by the input. */
function slopeOf(i) {
    if (!forwards()) return now.slopes[i];
    return now.tangents[i] ?? (carries(i) ? 0 : undefined);
}

const ratio = (top, below) => `∂${isWord(top)}/∂${isWord(below)}`;
const slopeName = (i) => (forwards() ? ratio(nodes[i].name, nodes[state.from].name) : ratio(page.of, nodes[i].name));
const knowsValue = (i) => state.step >= nodes[i].v;
const knowsSlope = (i) => hasSlope(i) && (forwards() ? knowsValue(i) : state.step >= nodes[i].d);
const knowsBranch = (b) => state.step >= (stepOf.get(b) ?? nodes[branches[b].source].d);

/** The local derivative of node `i` that one of its ways goes by; undefined where it is no number. */
function localOf(i, way) {
    if (page.live) return MOVE[way.f](...nodes[i].args.map((a) => now.values[a]), 1);
    return way.b === undefined ? undefined : now.locals[way.b];
}

/** The ways of a node with what they bring; in `all` also those through which nothing comes. */
function waysOf(i, all = false) {
    const found = (nodes[i].ways ?? []).map((way, n) => ({ ...way, source: nodes[i].args[way.k], term: now.terms[i]?.[n] }));
    return found.filter((w) => all || w.term !== undefined);
}
