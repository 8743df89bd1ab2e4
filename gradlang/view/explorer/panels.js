/** A cell or piece of text with a number, or with the words for one that is not computed yet. */
function pending() {
    return make("span", { className: "pending" }, "–", make("span", { className: "spoken" }, words.pending));
}

/** A number of the panel; in a quiz it is what is asked for. */
const known = (yes, x, asked = true) => (state.quiz && asked ? "?" : yes ? number(x) : pending());

function mathElement(inside) {
    const made = make("span", { className: "maths" });
    made.innerHTML = `<math>${inside}</math>`; // made by gradlang, with names escaped
    return made;
}

const LONGEST = 48; // characters of a formula in mathematics, which browsers do not break into lines

function formulaElement(i, formula, mathml) {
    const text = inNames(i, formula);
    return text.length > LONGEST ? make("code", {}, text) : mathElement(inMaths(i, mathml));
}

// ------------------------------------------------------------------ a node
function goTo(i) {
    return make("button", { type: "button", className: "link", onclick: () => choose(i) }, nodes[i].name);
}

function row(...cells) {
    return make("tr", {}, ...cells.map((c) => make("td", {}, c)));
}

function tableOf(heads, rows) {
    const head = make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function lineButton(i) {
    const [file, line] = nodes[i].at;
    const text = say(words.line, { file: files[file].name, line });
    return make("button", { type: "button", className: "link", onclick: () => showLine(i, true) }, text);
}

function about(i) {
    const node = nodes[i];
    const kind = node.kind === "op" ? `${words.operation} ${node.op}` : words[node.kind] ?? "";
    const out = [make("h3", {}, mathElement(maths(i)), make("small", {}, [kind, node.label].filter(Boolean).join(": ")))];
    const value = make("p", {}, `${words.value}: `);
    if (node.mathml !== undefined) {
        const numbers = state.quiz ? "" : inNumbers(i, node.formula);
        value.append(formulaElement(i, node.formula, node.mathml));
        if (knowsValue(i) && numbers !== "" && numbers !== number(now.values[i])) value.append(" = ", numbers);
        value.append(" = ");
    } else if (node.formula !== undefined) value.append(formulaOf(i), " = ");
    value.append(known(knowsValue(i), now.values[i], node.kind === "op"));
    out.push(value);
    if (node.at) out.push(make("p", {}, lineButton(i)));
    out.push(...(forwards() ? tangentOf(i) : upstreamOf(i)));
    if (!forwards() && node.gives && node.says !== undefined) out.push(make("p", { className: "note" }, shared.says[node.says]), gives(i));
    return out;
}

function upstreamOf(i) {
    const node = nodes[i];
    if (node.d === undefined) return page.backward.length ? [make("p", { className: "note" }, words.unreached)] : [];
    const title = node.gives ? words.upstream : words.slope;
    const out = [make("p", {}, `${title}: ${slopeName(i)} = `, known(knowsSlope(i), now.slopes[i]))];
    if (node.gets && node.gets.length > 1) {
        const rows = node.gets.map((b) => row(goTo(branches[b].user), known(knowsBranch(b), now.parts[b])));
        out.push(tableOf([words.gets, words.contribution], [...rows, totalRow(words.total, i)]));
    }
    return out;
}

function totalRow(title, i, span = 1) {
    const head = make("th", { scope: "row", colSpan: span }, title);
    return make("tr", { className: "total" }, head, make("td", {}, known(knowsSlope(i), slopeOf(i))));
}

/** A local derivative as a formula, its number, and how it is computed where textbooks write it otherwise. */
function localCell(i, { mathml, formula, computed }, slope) {
    const made = make("div", {});
    if (mathml !== undefined) made.append(formulaElement(i, formula, mathml));
    if (!state.quiz && slope !== undefined && inNames(i, formula) !== number(slope)) made.append(" = ", known(knowsValue(i), slope));
    if (computed !== undefined) made.append(make("div", { className: "note" }, say(words.computed, { formula: inNames(i, computed) })));
    return made;
}

const productOf = (told, left, right) =>
    !state.quiz && told && isNumber(left) && isNumber(right) ? `${number(left)} × ${signed(number(right))} = ` : "";

/** In forward mode: the sum of the chain rule that the derivative of a node by the input is. */
function tangentOf(i) {
    const x = nodes[state.from].name;
    const none = (text) => make("p", { className: "note" }, say(text, { name: nodes[i].name, x }));
    if (!hasSlope(i)) return [none(words.unmoved)];
    const out = [make("p", {}, `${say(words.tangent, { x })}: ${slopeName(i)} = `, known(knowsSlope(i), slopeOf(i)))];
    const ways = waysOf(i, true);
    const told = knowsSlope(i);
    if (i !== state.from && now.tangents[i] === undefined) out.push(none(words.no_tangent));
    if (!ways.length) return out;
    const rows = ways.map((w) => {
        const slope = w.whole ? undefined : localOf(i, w);
        const product = productOf(told, slope, slopeOf(w.source) ?? 0);
        return row(goTo(w.source), localCell(i, wayFormula(w), slope), make("span", {}, product, known(told, w.term ?? 0)));
    });
    const whole = ways.some((w) => w.whole);
    if (ways.length > 1) rows.push(totalRow(words.chain_total, i, 2));
    if (whole) out.push(make("p", { className: "note" }, say(words.whole, { x })));
    out.push(tableOf([words.gets, whole ? words.formula : words.local, whole ? words.contribution : words.product_forward], rows));
    return out;
}

/** What a node hands back: for each argument the local derivative and the product. */
function gives(i) {
    const rows = nodes[i].gives.map((b) => {
        const told = knowsBranch(b);
        const product = productOf(told, now.slopes[i], now.locals[b]);
        return row(goTo(branches[b].source), localCell(i, branches[b], now.locals[b]), make("span", {}, product, known(told, now.parts[b])));
    });
    const plain = nodes[i].gives.every((b) => branches[b].local !== undefined);
    return tableOf([words.gives, plain ? words.local : words.formula, plain ? words.product : words.contribution], rows);
}

const MOST = 40; // nodes of a box that are listed

function showNode() {
    const panel = part("node");
    const { node } = state;
    const members = (page.shapes[shapeOf.get(node)]?.members ?? []).filter((i) => nodes[i].kind === "op");
    const out = about(node);
    if (members.length > 1) {
        const list = make("ul", { className: "members" }, ...members.slice(0, MOST).map((i) => make("li", {}, goTo(i))));
        if (members.length > MOST) list.append(make("li", {}, say(words.more, { count: members.length - MOST })));
        out.push(make("p", { className: "note" }, say(words.group, { count: members.length })), list);
    }
    panel.replaceChildren(...out);
}

// ------------------------------------------------------------------ the source text
let sourceLines;

function buildSource() {
    sourceLines = files.map((file, f) => {
        const at = nodes.map((n, i) => [n, i]).filter(([n]) => n.at && n.at[0] === f);
        const first = new Map(at.reverse().map(([n, i]) => [n.at[1], i]));
        return file.text.replace(/\n$/, "").split("\n").map((text, k) => sourceLine(text, first.get(k + 1)));
    });
    const lists = files.map(({ name }, f) => make("ol", { className: "source", tabIndex: 0, "aria-label": name, role: "list" }, ...sourceLines[f]));
    part("source").replaceChildren(part("source").firstElementChild, ...files.flatMap(({ name }, f) => [make("h3", {}, name), lists[f]]));
}

function sourceLine(text, i) {
    const made = make("li", {}, make("code", {}, text || " "));
    if (i !== undefined) {
        made.className = "some";
        made.onclick = () => choose(i);
    }
    return made;
}

/** Marks the line of a node, and brings it into view. */
function showLine(i, focus = false) {
    for (const element of sourceLines.flat()) {
        element.classList.remove("here");
        element.removeAttribute("aria-current");
    }
    const at = nodes[i]?.at;
    if (!at) return;
    const line = sourceLines[at[0]][at[1] - 1];
    line.classList.add("here");
    line.setAttribute("aria-current", "true");
    const list = line.parentElement;
    list.scrollTop = line.offsetTop - list.offsetTop - list.clientHeight / 2;
    if (focus) list.focus();
}

// ------------------------------------------------------------------ the table
const rows = new Map();

function buildTable() {
    const body = part("rows");
    const listed = nodes.map((n, i) => i).filter((i) => nodes[i].kind === "input" || nodes[i].step !== undefined);
    body.replaceChildren();
    rows.clear();
    for (const i of listed) {
        const cells = { formula: make("td"), value: make("td", { className: "number" }), slope: make("td", { className: "number slope" }) };
        cells.formula.textContent = nodes[i].kind === "op" ? formulaOf(i) : nodes[i].label ?? "";
        rows.set(i, cells);
        const line = make("tr", {}, make("th", { scope: "row" }, goTo(i)), cells.formula, cells.value, cells.slope);
        cells.row = line;
        body.append(line);
    }
}

function fillTable() {
    for (const [i, cells] of rows) {
        cells.row.classList.toggle("chosen", i === state.node);
        if (state.quiz) continue;
        cell(cells.value, knowsValue(i), now.values[i]);
        if (!hasSlope(i)) put(cells.slope, "");
        else cell(cells.slope, knowsSlope(i), slopeOf(i));
    }
}

function cell(element, yes, x) {
    if (yes) put(element, number(x));
    else if (!element.querySelector(".pending")) element.replaceChildren(pending());
}
