// ------------------------------------------------------------------ state
const REST = 200; // milliseconds
const waiting = {};

/** Runs when nothing has asked for it for a while. */
function later(name, run) {
    clearTimeout(waiting[name]);
    waiting[name] = setTimeout(run, REST);
}

/** Shows everything as it is at the moment; while a slider moves a long table waits until it rests. */
function show(moving = false) {
    put(part("heading"), heading());
    const told = sentence().filter(Boolean).map((text, k) => make("span", { className: k === 1 ? "chain" : "" }, text));
    part("says").replaceChildren(...told.flatMap((piece, k) => (k ? [" ", piece] : [piece])));
    part("says").classList.toggle("fresh", state.fresh);
    put(part("place"), say(words.place, { step: state.step, count: STEPS }));
    part("scrub").value = state.step;
    part("scrub").setAttribute("aria-valuetext", `${state.step} / ${STEPS}`);
    for (const name of ["first", "back"]) part(name).disabled = state.step === 0;
    for (const name of ["forward", "last"]) part(name).disabled = state.step === STEPS;
    draw();
    showNode();
    if (moving && rows.size > 200) later("table", fillTable);
    else fillTable();
    later("address", keep);
}

function heading() {
    const top = { of: page.of, value: number(now.values[page.top]) };
    if (state.quiz || !knowsValue(page.top)) return page.of;
    if (!forwards() || !hasSlope(page.top)) return say(words.heading, top);
    return say(words.heading_forward, { ...top, slope: slopeName(page.top), number: number(slopeOf(page.top)) });
}

/** Has a screen reader say it, once nothing has changed for a while. */
function announce(text) {
    later("announce", () => put(part("spoken"), text()));
}

/** The node that the step is about; -1 for none. */
function activeNode() {
    const { step } = state;
    if (step > START) return branches[page.backward[step - START - 1]].user;
    return step > 0 && step < START ? page.forward[step - 1] : -1;
}

function setStep(step) {
    state.step = Math.min(Math.max(step, 0), STEPS);
    state.fresh = false;
    const i = activeNode();
    if (i >= 0) showLine(i);
    show();
    if (i >= 0) bringIntoView(shapes[shapeOf.get(i)]);
    announce(() => sentence().filter(Boolean).join(" "));
}

function choose(i) {
    state.node = i;
    showLine(i);
    show();
    const { name } = nodes[i];
    const of = (yes, x) => (yes ? number(x) : words.pending);
    const slope = hasSlope(i) ? `, ${slopeName(i)} = ${of(knowsSlope(i), slopeOf(i))}` : "";
    if (!state.quiz) announce(() => `${name} = ${of(knowsValue(i), now.values[i])}${slope}`);
}

function clickShape(k) {
    const { node } = page.shapes[k];
    choose(node);
    if (state.quiz) blanks.find((b) => b.node === node)?.input.focus();
}

// ------------------------------------------------------------------ results and modes
/** Shows another result, with the inputs, the mode and the place in the passes that are asked for. */
function openGraph(k) {
    setGraph(k);
    setDrawing();
    buildSource();
    buildTable();
    buildInputs();
    const title = say(words.graph, { of: page.of });
    for (const element of [frame, document.querySelector(".stage"), frame.querySelector("svg")]) element.setAttribute("aria-label", title);
    document.title = `${page.of} – ${words.file}`;
    const found = page.sources.map((i) => make("option", { value: String(i) }, say(words.forward_mode, { name: nodes[i].name })));
    part("mode").replaceChildren(make("option", { value: "-1" }, say(words.reverse_mode, { of: page.of })), ...found);
    part("modebox").hidden = !found.length;
}

function openMode(from) {
    setMode(from);
    part("mode").value = String(from);
    part("scrub").max = STEPS;
    const ahead = page.forward.length;
    const phases = from >= 0 ? [[words.phase_both, STEPS]] : [[words.phase_forward, ahead], [words.phase_backward, STEPS - ahead]];
    part("phases").replaceChildren(...phases.filter(([, n]) => n).map(([text, n]) => {
        const made = make("span", { title: text }, text);
        made.style.flexGrow = n;
        return made;
    }));
    put(part("ratio"), from >= 0 ? `∂…/∂${nodes[from].name}` : `∂${isWord(page.of)}/∂…`);
    setLegend();
}

/** Goes to another mode, to the same part of its passes: to the end, or to the step of the forward pass. */
function changeMode(from) {
    pause();
    const end = state.step === STEPS;
    openMode(from);
    compute();
    state.step = end ? STEPS : Math.min(state.step, page.forward.length);
    state.fresh = end;
    setQuiz(state.quiz);
    announce(() => part("says").textContent);
}

function changeGraph(k) {
    pause();
    keep();
    const held = new URLSearchParams(location.hash.slice(1));
    for (const name of ["step", "node"]) held.delete(name);
    held.set("of", graphs[k].of);
    history.replaceState(null, "", `#${held}`);
    restore();
    announce(() => part("heading").textContent);
}

function buildResults() {
    const some = graphs.map(({ of }, k) => make("option", { value: String(k) }, of));
    const none = shared.left.map((name) => make("option", { disabled: true }, say(words.left_out, { name })));
    part("result").replaceChildren(...some, ...none);
    part("resultbox").hidden = some.length + none.length < 2;
}

// ------------------------------------------------------------------ playing
const PAUSE = 1500; // milliseconds

function pause() {
    clearInterval(state.playing);
    state.playing = null;
    part("play").classList.remove("playing");
    part("play").setAttribute("aria-label", words.play);
}

function play() {
    if (state.playing !== null) return pause();
    if (state.step === STEPS) setStep(0);
    part("play").classList.add("playing");
    part("play").setAttribute("aria-label", words.pause);
    state.playing = setInterval(() => (state.step < STEPS ? setStep(state.step + 1) : pause()), PAUSE);
}

function move(step) {
    pause();
    setStep(step);
}

// ------------------------------------------------------------------ inputs
const controls = new Map();
let drawing = 0;

function setInput(i, x) {
    state.inputs[i] = x;
    if (Object.is(x, defaults.get(i))) delete state.inputs[i];
    const { box, slider, misfit } = controls.get(i);
    if (parsed(box.value) !== x) box.value = String(x);
    slider.value = x;
    const [low, high] = (nodes[i].range ?? [-Infinity, Infinity]).map(decoded);
    put(misfit, x < low || x > high ? words.outside : "");
    box.removeAttribute("aria-invalid");
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(refresh);
}

function refresh() {
    compute();
    if (state.quiz) buildQuiz();
    show(true);
    if (knowsValue(page.top)) announce(heading);
}

function buildInputs() {
    put(part("hint"), page.live ? words.live : words.still);
    part("reset").hidden = !page.live;
    document.body.classList.toggle("still", !page.live);
    part("inputs").replaceChildren();
    controls.clear();
    if (!page.live) return;
    for (const [i, value] of defaults) {
        const { name, label, range } = nodes[i];
        const [low, high, step] = span(value, range);
        const more = say(words.range, { low: number(low), high: number(high) });
        const slider = make("input", { type: "range", "aria-label": `${name}: ${more}` });
        Object.assign(slider, { min: low, max: high, step, value });
        const box = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", value: String(value), "aria-label": name });
        const misfit = make("span", { className: "misfit", role: "status" });
        slider.oninput = () => setInput(i, Number(slider.value));
        box.onchange = () => {
            const x = parsed(box.value);
            if (!Number.isNaN(x)) return setInput(i, x);
            box.setAttribute("aria-invalid", "true");
            put(misfit, words.not_a_number);
        };
        controls.set(i, { slider, box, misfit });
        const title = make("span", { className: "name" }, name, label ? make("small", {}, label) : "");
        part("inputs").append(make("div", { className: "input" }, title, slider, box, misfit));
    }
}

function reset() {
    for (const [i, x] of defaults) setInput(i, x);
}

// ------------------------------------------------------------------ the address
function keep() {
    const held = new URLSearchParams();
    if (state.graph !== 0) held.set("of", page.of);
    if (state.from !== startOf(page)) held.set("mode", forwards() ? nodes[state.from].name : "reverse");
    if (state.step !== STEPS) held.set("step", state.step);
    if (state.node !== page.top) held.set("node", state.node);
    if (state.quiz) held.set("quiz", "1");
    for (const [i, x] of Object.entries(state.inputs)) held.set(`in.${nodes[i].name}`, x);
    const wanted = `#${held}`;
    if ((location.hash || "#") !== wanted) history.replaceState(null, "", wanted);
}

/** The mode that a graph opens in: that of the command, where it can. */
function startOf({ nodes, sources }) {
    return sources.find((i) => nodes[i].name === shared.start) ?? -1;
}

function restore() {
    const held = new URLSearchParams(location.hash.slice(1));
    const whole = (name, most, otherwise) => {
        const x = Number(held.get(name) ?? NaN);
        return Number.isInteger(x) && x >= 0 && x <= most ? x : otherwise;
    };
    const k = Math.max(graphs.findIndex(({ of }) => of === held.get("of")), 0);
    if (page !== graphs[k]) openGraph(k);
    part("result").value = String(k);
    const mode = held.get("mode");
    openMode(mode === "reverse" ? -1 : page.sources.find((i) => nodes[i].name === mode) ?? startOf(page));
    state.inputs = {};
    for (const [i, x] of defaults) {
        const given = parsed(held.get(`in.${nodes[i].name}`) ?? "");
        if (page.live) setInput(i, Number.isNaN(given) ? x : given);
    }
    cancelAnimationFrame(drawing);
    compute();
    state.node = whole("node", nodes.length - 1, page.top);
    if (!shapeOf.has(state.node) && !rows.has(state.node)) state.node = page.top;
    showLine(state.node);
    state.step = whole("step", STEPS, STEPS);
    state.fresh = !held.has("step");
    setQuiz(held.get("quiz") === "1");
    if (!state.fresh) bringIntoView(shapes[shapeOf.get(lit().nodes[0])]);
}

// ------------------------------------------------------------------ events
const GOES = {
    ArrowRight: () => move(state.step + 1), ArrowLeft: () => move(state.step - 1), Home: () => move(0), End: () => move(STEPS),
    " ": play,
};

document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.("input, select, textarea")) return;
    const shape = target.closest?.("[data-shape]");
    if (shape && (key === "Enter" || key === " ")) shape.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    else if (state.quiz || !(key in GOES) || (key === " " && target.closest?.("button"))) return;
    else GOES[key]();
    event.preventDefault();
});
const CLICKS = {
    first: GOES.Home, back: GOES.ArrowLeft, play, forward: GOES.ArrowRight, last: GOES.End, reset,
    quiz: () => setQuiz(!state.quiz), check: checkQuiz, again: () => fillQuiz(() => ""),
    answers: () => fillQuiz((blank) => number(wantedOf(blank))),
    skip: () => document.getElementById("inputs-title").focus(),
    smaller: () => zoomBy(0.8), larger: () => zoomBy(1.25), fit: () => zoomTo(Math.min(sizes().fit, READABLE[1])),
};
for (const [name, run] of Object.entries(CLICKS)) part(name).addEventListener("click", run);
part("scrub").addEventListener("input", () => move(Number(part("scrub").value)));
part("mode").addEventListener("change", () => changeMode(Number(part("mode").value)));
part("result").addEventListener("change", () => changeGraph(Number(part("result").value)));
window.addEventListener("hashchange", restore);
window.addEventListener("resize", () => zoom === null && zoomTo(null));

buildResults();
restore();
