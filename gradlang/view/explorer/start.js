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
    put(part("heading"), state.quiz ? page.of : say(words.heading, { of: page.of, value: number(now.values[page.top]) }));
    put(part("says"), sentence());
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

function compute() {
    if (page.live) now = computed(page, state.inputs, FORWARD, BACK);
}

function setStep(step) {
    state.step = Math.min(Math.max(step, 0), STEPS);
    const i = state.step > START ? branches[page.backward[state.step - START - 1]].user : state.step < START && state.step ? page.forward[state.step - 1] : -1;
    if (i >= 0) showLine(i);
    show();
    if (i >= 0) bringIntoView(shapes[shapeOf.get(i)]);
}

/** Scrolls the drawing, not the page. */
function bringIntoView(element) {
    const frame = document.querySelector(".drawing");
    if (!element || frame.scrollWidth <= frame.clientWidth + 1 && frame.scrollHeight <= frame.clientHeight + 1) return;
    const [inner, outer] = [element.getBoundingClientRect(), frame.getBoundingClientRect()];
    const margin = 90;
    if (inner.left < outer.left + margin || inner.right > outer.right - margin) frame.scrollLeft += inner.left - outer.left - outer.width / 2;
    if (inner.top < outer.top || inner.bottom > outer.bottom) frame.scrollTop += inner.top - outer.top - outer.height / 2;
}

function choose(i) {
    state.node = i;
    showLine(i);
    show();
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
}

function buildInputs() {
    put(part("hint"), page.live ? words.live : words.still);
    part("reset").hidden = !page.live;
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
    if (state.step !== STEPS) held.set("step", state.step);
    if (state.node >= 0) held.set("node", state.node);
    if (state.quiz) held.set("quiz", "1");
    for (const [i, x] of Object.entries(state.inputs)) held.set(`in.${nodes[i].name}`, x);
    const wanted = `#${held}`;
    if ((location.hash || "#") !== wanted) history.replaceState(null, "", wanted);
}

function restore() {
    const held = new URLSearchParams(location.hash.slice(1));
    const whole = (name, most, otherwise) => {
        const x = Number(held.get(name) ?? NaN);
        return Number.isInteger(x) && x >= 0 && x <= most ? x : otherwise;
    };
    for (const [i, x] of defaults) {
        const given = parsed(held.get(`in.${nodes[i].name}`) ?? "");
        if (page.live) setInput(i, Number.isNaN(given) ? x : given);
    }
    cancelAnimationFrame(drawing);
    compute();
    state.node = whole("node", nodes.length - 1, -1);
    if (!shapeOf.has(state.node) && !rows.has(state.node)) state.node = -1;
    if (state.node >= 0) showLine(state.node);
    state.step = whole("step", STEPS, STEPS);
    setQuiz(held.get("quiz") === "1");
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
for (const element of shapes) {
    element.addEventListener("click", () => {
        const { node } = page.shapes[element.dataset.shape];
        choose(node);
        if (state.quiz) blanks.find((b) => b.node === node)?.input.focus();
    });
}
const CLICKS = {
    first: GOES.Home, back: GOES.ArrowLeft, play, forward: GOES.ArrowRight, last: GOES.End, reset,
    quiz: () => setQuiz(!state.quiz), check: checkQuiz, again: () => fillQuiz(() => ""),
    answers: () => fillQuiz((blank) => number(wantedOf(blank))),
};
for (const [name, run] of Object.entries(CLICKS)) part(name).addEventListener("click", run);
part("scrub").max = STEPS;
part("scrub").addEventListener("input", () => move(Number(part("scrub").value)));
window.addEventListener("hashchange", restore);

buildSource();
buildTable();
buildInputs();
restore();
