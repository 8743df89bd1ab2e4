// ------------------------------------------------------------------ the drawing
const ROOM = 8; // characters, as the drawing has room for
const frame = document.querySelector(".drawing");
const drawings = [frame.innerHTML.trim()]; // of the graphs; the others come with their data
let labels, shapes, edges;

/** Puts the drawing of the graph in its place and finds its parts. */
function setDrawing() {
    drawings[state.graph] ??= page.drawing;
    frame.innerHTML = drawings[state.graph]; // made by gradlang, with names escaped
    labels = [...frame.querySelectorAll("[data-value], [data-slope], [data-branch]")].map(labelOf);
    shapes = [...frame.querySelectorAll("[data-shape]")];
    edges = [...frame.querySelectorAll("[data-line]")];
    for (const element of shapes) element.addEventListener("click", () => clickShape(Number(element.dataset.shape)));
    zoomTo(null);
}

/** A number of the drawing: what it shows, `text` for a program whose numbers do not change, and when it is known. */
function labelOf(element) {
    const { value, slope, branch } = element.dataset;
    if (branch !== undefined) {
        const [, , held, text] = page.lines[branch];
        const total = () => held.map((b) => now.parts[b]).reduce((x, y) => x + y);
        return { element, of: total, text: () => text, known: () => !forwards() && held.every(knowsBranch) };
    }
    const k = value ?? slope;
    const { node, above, below } = page.shapes[k];
    if (value !== undefined) return { element, node, kind: "value", of: () => now.values[node], text: () => above, known: () => knowsValue(node) };
    const text = () => (forwards() ? page.flows[page.sources.indexOf(state.from)].below[k] : below);
    return { element, node, kind: "slope", of: () => slopeOf(node), text, known: () => knowsSlope(node) };
}

function draw() {
    for (const { element, of, text, known, node, kind } of labels) {
        const blank = state.quiz ? answerOf(node, kind) : undefined;
        const yes = blank === undefined && known() && !(state.quiz && kind === undefined);
        put(element, blank ?? (yes ? (page.live ? fitted(of(), shared.digits, ROOM) : text()) : ""));
        element.classList.toggle("blank", blank !== undefined);
    }
    const { nodes: active, edge } = lit();
    const on = new Set(active.map((i) => shapeOf.get(i)));
    const chosen = shapeOf.get(state.node);
    for (const element of shapes) {
        const k = Number(element.dataset.shape);
        element.classList.toggle("now", on.has(k));
        element.classList.toggle("chosen", k === chosen);
        if ((element.getAttribute("aria-pressed") === "true") !== (k === chosen)) element.setAttribute("aria-pressed", String(k === chosen));
    }
    for (const element of edges) {
        const ends = page.lines[element.dataset.line];
        element.classList.toggle("now", Boolean(ends && edge(ends[0], ends[1])));
    }
}

/** What the step is about: nodes, and the edges on which derivatives flow, by their shapes. */
function lit() {
    const { step } = state;
    const none = { nodes: [], edge: () => false };
    if (state.quiz || state.fresh) return none;
    if (step > START) {
        const { user, source } = branches[page.backward[step - START - 1]];
        return { nodes: [user, source], edge: (a, b) => a === shapeOf.get(source) && b === shapeOf.get(user) };
    }
    if (step === START) return { nodes: [page.top], edge: none.edge };
    if (step === 0) return forwards() ? { nodes: [state.from], edge: none.edge } : none;
    const i = page.forward[step - 1];
    const from = new Set(forwards() ? waysOf(i).map((w) => shapeOf.get(w.source)) : []);
    return { nodes: [i], edge: (a, b) => b === shapeOf.get(i) && from.has(a) };
}

/** What stands where, for this mode. */
function setLegend() {
    const parts = { of: page.of, x: forwards() ? nodes[state.from].name : "" };
    const sums = !forwards() && page.lines.some(([, , held]) => held.length);
    const text = forwards() ? words.legend_forward : page.backward.length ? words.legend : words.legend_values;
    put(part("legend"), [say(text, parts), sums ? words.legend_branches : ""].filter(Boolean).join(" "));
}

/** Scrolls the drawing, not the page. */
function bringIntoView(element) {
    if (!element || frame.scrollWidth <= frame.clientWidth + 1 && frame.scrollHeight <= frame.clientHeight + 1) return;
    const [inner, outer] = [element.getBoundingClientRect(), frame.getBoundingClientRect()];
    const margin = 90;
    if (inner.left < outer.left + margin || inner.right > outer.right - margin) frame.scrollLeft += inner.left - outer.left - outer.width / 2;
    if (inner.top < outer.top || inner.bottom > outer.bottom) frame.scrollTop += inner.top - outer.top - outer.height / 2;
}

// ------------------------------------------------------------------ its size
const READABLE = [0.8, 1.4]; // sizes that a drawing takes by itself
let zoom = null; // null: as large as the window has room, within reason

function sizes() {
    const svg = frame.querySelector("svg");
    const { width, height } = svg.viewBox.baseVal;
    return { svg, width, height, fit: Math.min((frame.clientWidth - 14) / width, (0.68 * innerHeight - 14) / height) };
}

function zoomTo(size) {
    zoom = size;
    const { svg, width, height, fit } = sizes();
    const scale = size ?? Math.min(Math.max(fit, READABLE[0]), READABLE[1]);
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
    svg.dataset.zoom = scale;
    part("smaller").disabled = scale <= 0.2;
    part("larger").disabled = scale >= 4;
}

function zoomBy(factor) {
    zoomTo(Math.min(Math.max(Number(sizes().svg.dataset.zoom) * factor, 0.2), 4));
    bringIntoView(shapes[shapeOf.get(state.node)]);
}
