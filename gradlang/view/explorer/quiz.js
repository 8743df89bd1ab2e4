const TOLERANCE = 1e-3;
let blanks = []; // { node, kind, input, mark }

function wantedOf({ node, kind }) {
    return kind === "value" ? now.values[node] : slopeOf(node);
}

/** What stands in the drawing for a blank: the answer so far. Nothing is returned for what is given. */
function answerOf(node, kind) {
    const blank = blanks.find((b) => b.node === node && b.kind === kind);
    return blank ? blank.input.value || "?" : undefined;
}

function buildQuiz() {
    blanks = [];
    for (const [i, cells] of rows) {
        const asked = [["value", nodes[i].kind === "op", now.values[i]], ["slope", hasSlope(i), slopeOf(i)]];
        for (const [kind, yes, x] of asked) {
            if (!yes || !isNumber(x)) {
                cells[kind].replaceChildren(kind === "value" ? number(x) : "");
                continue;
            }
            const text = kind === "value" ? words.blank_value : forwards() ? words.blank_tangent : words.blank_slope;
            const label = say(text, { name: nodes[i].name, of: page.of, x: nodes[state.from]?.name });
            const input = make("input", { type: "text", inputMode: "decimal", autocomplete: "off", "aria-label": label });
            const mark = make("span", { className: "mark" });
            const blank = { node: i, kind, input, mark };
            input.oninput = () => {
                unmark(blank);
                draw();
            };
            blanks.push(blank);
            cells[kind].replaceChildren(input, mark);
        }
    }
}

function unmark({ input, mark }) {
    mark.textContent = "";
    mark.className = "mark";
    input.removeAttribute("aria-invalid");
}

function checkQuiz() {
    let right = 0;
    for (const blank of blanks) {
        const { input, mark } = blank;
        unmark(blank);
        if (input.value.trim() === "") continue;
        const yes = agrees(parsed(input.value), wantedOf(blank), TOLERANCE);
        right += yes;
        mark.classList.add(yes ? "right" : "wrong");
        mark.append(yes ? "✓" : "✗", make("span", { className: "spoken" }, yes ? words.right : words.wrong));
        if (!yes) input.setAttribute("aria-invalid", "true");
    }
    part("score").textContent = say(words.score, { right, count: blanks.length });
}

function fillQuiz(text) {
    for (const blank of blanks) {
        unmark(blank);
        blank.input.value = text(blank);
    }
    part("score").textContent = "";
    draw();
}

function setQuiz(on) {
    state.quiz = on;
    document.body.classList.toggle("quiz", on);
    part("quiz").setAttribute("aria-pressed", String(on));
    part("quizbar").hidden = !on;
    part("player").hidden = on;
    part("says").hidden = on;
    part("score").textContent = "";
    if (on) {
        pause();
        buildQuiz();
    } else {
        blanks = [];
        for (const cells of rows.values()) for (const kind of ["value", "slope"]) cells[kind].replaceChildren();
    }
    show();
}
