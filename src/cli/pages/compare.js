// SPDX-License-Identifier: Apache-2.0
// The page of `heed compare --html`: the verdict in words, then where, then the weights, then how large, then what else was
// tried. The data is the object that --json prints; what only pictures need is under "page".
"use strict";

(() => {
const data = JSON.parse(document.getElementById("data").textContent), page = data.page, picture = page.picture;
const told = data.departs === "a" ? 0 : 1;                   // the side the findings are of
const names = data.a === data.b ? [`${data.a} (A)`, `${data.b} (B)`] : [data.a, data.b];
const departing = data.departs === null ? null : names[told];
const best = data.explanations.find((one) => one.residual !== null) || null;
const small = departing !== null && page.sides[told].inside;    // inside the floor, and yet systematic
const EXPLAINED = 2, KINDS = ["a", "b", "explained"];
const viewNames = [`${names[0]}, as stated`, `${names[1]}, as stated`, `${departing || names[1]}, explained`];

// ---- words ----

function digits(value, n) {
    if (value === null) return "not finite";
    if (value !== 0 && (Math.abs(value) >= HUGE || Math.abs(value) < 1e-3)) return value.toExponential(n - 1).replace("e+", "e");
    return Number(value.toPrecision(n)).toLocaleString("en-US", {maximumFractionDigits: 6});
}

// Beyond a billion, the number says nothing any more (an element that must be exact has next to no expected error).
const HUGE = 1e9;
function times(value) {
    if (value === null) return "not finite";
    return value > HUGE ? ">\u200910\u2079\u00d7" : `${digits(value, 2)}\u00d7`;
}

function percent(part) { return part === null ? "-" : shareText(part); }

function idText(explanation) {
    return explanation.ids.map((id, i) => {
        const number = explanation.parameters ? explanation.parameters[i] : null;
        return number === null || number === undefined ? id : `${id} (${numberText(number)})`;
    }).join(" and ");
}

// "0-3, 7 and 12 more".
function ranges(list, most) {
    const parts = [];
    for (let i = 0; i < list.length; i++) {
        const first = list[i];
        while (i + 1 < list.length && list[i + 1] === list[i] + 1) i++;
        parts.push(first === list[i] ? String(first) : `${first}-${list[i]}`);
    }
    return parts.length <= most ? parts.join(", ") : `${parts.slice(0, most).join(", ")}, ...`;
}

const CAUSES = {
    "nan.empty_row": "Every such row sees no key at all: a softmax over nothing is 0 / 0.",
    "nan.visible_input": "The inputs of those rows hold a NaN or an infinity that they may see.",
    "nan.hidden_input": "Hidden keys or values hold a NaN or an infinity: 0 times that is NaN, although the mask hides it.",
    "nan.overflow": "The products overflow f16 before the scale is applied.",
    "nan.unexplained": "No single cause that the inputs show is shared by all those rows.",
};

function mood() {
    return {SAME: "good", ROUNDING: "good", SEMANTIC: "bad", NAN: "bad"}[data.verdict] || "open";
}

function headline() {
    switch (data.verdict) {
    case "SAME": return "Equal to the last bit.";
    case "ROUNDING": return "Only rounding: both compute the stated formula.";
    case "NAN": return `${departing} and the stated formula are not finite in the same places.`;
    case "SEMANTIC": return data.unexplained ? `${departing} computes another formula, and no hypothesis explains it.`
                                             : `${departing} computes another formula.`;
    default: return "These inputs cannot show what was asked.";
    }
}

function why() {
    if (data.verdict === "NAN" && data.explanations.length > 0 && CAUSES[data.explanations[0].ids[0]])
        return CAUSES[data.explanations[0].ids[0]];
    if (best !== null) return `${best.says.map((says) => says[0].toUpperCase() + says.slice(1)).join(". And: ")}.`;
    return data.verdict === "NAN" ? CAUSES["nan.unexplained"] : null;
}

function evidence() {
    const list = [], own = page.sides[told], formula = "Held against the stated formula";
    if (data.verdict === "ROUNDING")
        list.push(`In units of what rounding is expected to do, the errors of ${names[0]} are ${digits(page.sides[0].rms, 2)} ` +
                  `and those of ${names[1]} are ${digits(page.sides[1].rms, 2)}; correct code reaches ${digits(data.floor, 2)}.`);
    if (departing !== null && own.apart > 0)
        list.push(`${formula}, ${numberText(own.apart)} rows (of all heads) are finite on one side only.`);
    if (departing !== null && own.apart === 0 && !small) list.push(`${formula}, its errors are ${sizes(own)}.`);
    if (small)
        list.push(`Its errors are small, ${digits(own.rms, 2)} of what rounding may do, but they have the shape that this ` +
                  "formula predicts, the whole of it, and far beyond chance.");
    if (best !== null && !small)
        list.push(`Held against this formula (${idText(best)}), they are ${times(best.residual)} what rounding is expected to ` +
                  `do: ${percent(best.fraction_fixed)} of the difference is explained.`);
    const others = data.explanations.filter((one) => one !== best && one.residual !== null);
    if (others.length > 0)
        list.push(`These inputs cannot tell it from ${others.map(idText).join(", ")}.`);
    if (data.unexplained && data.nearest.length > 0)
        list.push(`The nearest: ${data.nearest.map((one) => `${idText(one)} (leaves ${times(one.residual)})`).join(", ")}.`);
    if (departing !== null && page.sides[1 - told].inside === false)
        list.push(`${names[1 - told]} departs from the stated formula too.`);
    if (page.asked.length > 0) list.push(`Asked in vain: ${page.asked.map((one) => `${one.id}, that ${one.says}`).join("; ")}.`);
    return list;
}

function sizes(side) {
    return `${times(side.rms)} what rounding is expected to do; correct code stays near ${digits(side.correct, 2)}\u00d7`;
}

function answer() {
    const because = why();
    return el("section", {class: `answer ${mood()}`, id: "verdict"}, el("div", {class: "kind"}, data.verdict),
              el("h2", {}, headline()), because ? el("p", {class: "why"}, because) : null,
              ...evidence().map((text) => el("p", {}, text)));
}

function tile(value, label, kind) { return el("div", {class: `tile ${kind || ""}`}, el("b", {}, value), el("span", {}, label)); }

function tiles() {
    const list = [], other = told === 0 ? data.errors.a_ref : data.errors.b_ref;
    if (departing !== null) {
        const own = page.sides[told];
        if (own.apart > 0) list.push(tile(numberText(own.apart), "rows (of all heads) are finite on one side only", "bad"));
        else list.push(tile(times(own.rms), `rounding: ${departing} against the stated formula`,
                            small ? "" : "bad"));
        if (best !== null) list.push(tile(times(best.residual), `rounding: against ${idText(best)}`, "good"));
        list.push(tile(`${numberText(page.bad_rows[0])} of ${numberText(page.bad_rows[1])}`, "rows (of all heads) depart"));
    } else {
        page.sides.forEach((side, i) => list.push(tile(times(side.rms), `rounding: ${names[i]} against the formula`, "good")));
    }
    list.push(tile(percent(other.mismatched), "of the elements beyond torch.testing's tolerance"));
    list.push(tile(digits(data.errors.a_b.max, 3), "largest difference of A and B"));
    return el("div", {class: "tiles"}, ...list);
}

function head() {
    const title = el("h1", {class: "break"}, data.a === data.b ? `${data.a}, twice` : `${data.a} and ${data.b}`);
    return el("header", {}, el("div", {class: "controls"}, title, look.button()),
              el("p", {class: "soft break"}, `heed ${page.heed} compare; `, el("code", {}, data.problem)), answer(), tiles());
}

// ---- errors by head and row ----

const CALM = {light: [[244, 247, 251], [150, 187, 232]], dark: [[30, 38, 48], [58, 98, 150]]};
const HOT = {light: [[252, 226, 150], [240, 130, 60], [190, 30, 45], [90, 10, 70]],
             dark: [[150, 112, 40], [226, 110, 48], [246, 70, 80], [255, 190, 240]]};
const views = picture.views.map((view) => view === null ? null : {...view, map: unpackMap(view.map)});

// Doublings of rounding at which the colours end: where the largest error is.
const TOP = (() => {
    let most = 0;
    for (const view of views) if (view !== null) for (const byte of view.map.data) if (byte > most && byte < 255) most = byte;
    return Math.max(6, Math.ceil(Math.log2(Math.max(1, scaled(picture.scales.errors, most)))));
})();

// Below what rounding does: cold; from twice that on: hot. The two meet sharply, for that is the question.
function errorStops() {
    const calm = CALM[look.theme()], hot = HOT[look.theme()], at = (doublings) => (doublings + 8) / (TOP + 8);
    const hotter = (part) => at(1.01 + part * (TOP - 1.01));
    return [[0, calm[0]], [at(1), calm[1]], [at(1.01), hot[0]], [hotter(0.2), hot[1]], [hotter(0.55), hot[2]], [1, hot[3]]];
}

function errorColour(byte) {
    if (byte === 255) return look.theme() === "dark" ? [255, 255, 255] : [0, 0, 0];
    const size = scaled(picture.scales.errors, byte);
    return between(errorStops(), size === 0 ? 0 : (Math.log2(size) + 8) / (TOP + 8));
}

function errorText(byte) {
    return byte === 255 ? "finite on one side only" : byte === 0 ? "exact" : `about ${times(scaled(picture.scales.errors, byte))}`;
}

function errorLegend() {
    const at = (doublings) => (doublings + 8) / (TOP + 8), power = (doublings) => `${numberText(2 ** doublings)}\u00d7`;
    const middle = Math.round((1 + TOP) / 2);
    return colourBar(errorStops(), [[at(-4), "1/16"], [at(1), "rounding ends"], ...(TOP > 8 ? [[at(middle), power(middle)]] : []),
                                    [1, power(TOP)]]);
}

const redrawn = [];    // functions that draw again after light became dark

function refreshed(make) {
    let made = make();
    redrawn.push(() => {
        const next = make();
        made.replaceWith(next);
        made = next;
    });
    return made;
}

function headText(index) {
    const {heads, batch} = page.shape;
    return batch > 1 ? `${Math.floor(index / heads)}/${index % heads}` : String(index);
}

const HEAD = page.shape.batch > 1 ? "batch/head" : "head";

function errorsAt(row, column) {
    return views.flatMap((view, i) => view === null ? [] :
        [[viewNames[i], errorText(view.map.data[row * view.map.cells[1] + column])]]);
}

function errorMap() {
    const first = told, cursor = new MapCursor();
    const [heads, rows] = views[first].map.of, [tall, wide] = views[first].map.stride;
    const map = new HeatMap(views[first].map, cursor, {
        title: "error by head and row", note: viewNames[first], rowName: HEAD, columnName: "row", rowText: headText, ratio: 4,
        least: Math.min(420, 16 * views[first].map.cells[0]), most: 420, colour: errorColour, legend: refreshed(errorLegend),
        tell: (row, column) => [[HEAD, tall === 1 ? headText(row) : placeText(row, tall, heads)],
                                ["row", placeText(column, wide, rows)], ...errorsAt(row, column)]});
    const pick = el("div", {class: "pick", role: "group", "aria-label": "whose errors"});
    views.forEach((view, i) => {
        if (view === null) return;
        pick.append(el("button", {type: "button", "aria-pressed": String(i === first), onclick: (event) => {
            for (const one of pick.children) one.setAttribute("aria-pressed", String(one === event.currentTarget));
            map.show(view.map, viewNames[i]);
        }}, viewNames[i]));
    });
    redrawn.push(() => map.draw());
    return el("div", {}, pick, el("div", {class: "charts one"}, map.element));
}

// ---- errors by position: charts.js draws them ----

let palette = null;
const lineView = {
    names: [...viewNames, "rounding"], axis: "row", smoothing: 0, log: true, zoom: null, cursor: null, pointed: null,
    hidden: new Set(), stressed: null,
    axisName() { return "row"; },
    colours() { return palette; },
    extent() { return [0, Math.max(1, page.shape.queries - 1)]; },
    faults() { return lineFaults; },
    point(chart, x) {
        lineView.pointed = chart;
        lineView.cursor = x;
        for (const one of lines) one.drawCursor();
    },
    setZoom(range) {
        lineView.zoom = range !== null && range[1] > range[0] ? range : null;
        for (const one of lines) one.draw();
    },
};
const lineFaults = [], lines = [];

function paint() {
    const own = look.colours("a", "b", "explained", "expected");
    palette = {...look.colours("faint", "line", "soft", "card", "accent"), count: 4,
               of: (i) => [own.a, own.b, own.explained, own.expected][i]};
}

function lineChart(title, key) {
    const wide = views[told].map.stride[1], curves = [];
    views.forEach((view, run) => {
        if (view === null) return;
        const ys = Float64Array.from(numbersOf(view[key]), (value) => Number.isFinite(value) ? Math.min(value, HUGE) : NaN);
        const xs = Float64Array.from(ys, (unused, i) => i * wide);
        curves.push({run, ys, xs: () => xs, cut: new Set(), stride: 1, dashed: false});
        if (key === "worst")
            numbersOf(view.worst).forEach((value, i) => { if (value === Infinity) lineFaults.push({run, x: i * wide}); });
    });
    const edge = Float64Array.of(0, Math.max(1, page.shape.queries - 1)), floor = Math.max(1, data.floor);
    curves.push({run: 3, ys: Float64Array.of(floor, floor), xs: () => edge, cut: new Set(), stride: 1, dashed: true});
    const chart = new Chart(title, key, curves, lineView);
    lines.push(chart);
    return chart.element;
}

function legend() {
    return el("div", {class: "keys"}, ...views.map((view, i) => view === null ? null :
        el("span", {}, el("i", {class: `swatch ${KINDS[i]}`}), viewNames[i])),
              el("span", {}, el("i", {class: "line"}), "what rounding is expected to do"));
}

function where() {
    const at = data.where, list = [];
    if (at.pattern !== null) list.push(`Pattern: ${at.pattern}.`);
    if (departing !== null && at.heads.length > 0)
        list.push(`Heads ${ranges(at.heads, 8)}; rows ${ranges(at.rows, 8)}${at.rows.length === 64 ? " and more" : ""}` +
                  `${at.keys.length > 0 ? `; keys whose sight differs: ${ranges(at.keys, 8)}` : ""}.`);
    const lead = "An error is counted in units of its own expected size: the rounding of this element, of this problem. Up to " +
                 "about 2 is rounding; hot colours are not. " +
                 (page.sides.some((side) => side.apart > 0) ? "Black, or white on dark: finite on one side only." : "");
    return el("section", {id: "where"}, el("h2", {}, "Where"), ...list.map((text) => el("p", {class: "break"}, text)),
              el("p", {class: "lead"}, lead), errorMap(), legend(),
              el("div", {class: "charts"}, lineChart("largest error at a row", "worst"),
                 lineChart("usual error at a row (rms)", "usual")));
}

// ---- weights ----

const WEIGHT = {light: [[0, [226, 236, 248]], [0.35, [122, 172, 226]], [0.7, [38, 96, 178]], [1, [14, 34, 84]]],
                dark: [[0, [26, 44, 68]], [0.35, [44, 98, 160]], [0.7, [96, 190, 200]], [1, [250, 240, 150]]]};
const HIDDEN = {light: [250, 250, 248], dark: [18, 22, 28]};
const MORE = {light: [[0, [253, 240, 225]], [0.5, [240, 150, 70]], [1, [160, 50, 0]]],
              dark: [[0, [50, 36, 24]], [0.5, [214, 120, 50]], [1, [255, 210, 140]]]};
const LESS = {light: [[0, [228, 240, 252]], [0.5, [90, 150, 225]], [1, [10, 50, 130]]],
              dark: [[0, [22, 36, 54]], [0.5, [60, 130, 214]], [1, [170, 215, 255]]]};
const FAINTEST = 2 ** -14;    // weights below have the palest colour

// A weight's place between FAINTEST and 1, by its logarithm.
function place(weight) { return Math.max(0, Math.min(1, 1 - Math.log2(weight) / Math.log2(FAINTEST))); }

function weightColour(byte) {
    if (byte === 255) return look.theme() === "dark" ? [255, 120, 200] : [200, 20, 120];
    return byte === 0 ? HIDDEN[look.theme()] : between(WEIGHT[look.theme()], place(scaled(picture.scales.weights, byte)));
}

function changeColour(byte) {
    if ((byte & 127) === 0) return HIDDEN[look.theme()];
    return between((byte > 127 ? MORE : LESS)[look.theme()], place(scaled(picture.scales.changes, byte & 127)));
}

function weightText(byte) {
    return byte === 255 ? "NaN" : byte === 0 ? "hidden" : `about ${digits(scaled(picture.scales.weights, byte), 2)}`;
}

function changeText(byte) {
    if ((byte & 127) === 0) return "none";
    return `${byte > 127 ? "+" : "-"}${digits(scaled(picture.scales.changes, byte & 127), 2)}`;
}

function weightLegend() {
    return colourBar(WEIGHT[look.theme()], [[place(1e-3), "0.001"], [place(1e-2), "0.01"], [place(0.1), "0.1"], [1, "1"]]);
}

function changeLegend() {
    const both = [...LESS[look.theme()].map(([t, colour]) => [0.5 - t / 2, colour]).reverse(),
                  ...MORE[look.theme()].map(([t, colour]) => [0.5 + t / 2, colour])];
    return colourBar(both, [[0, "less weight than stated"], [1, "more"]]);
}

function weights() {
    const sets = picture.weights.map((one) => ({...one, claim: unpackMap(one.claim), explained: unpackMap(one.explained),
                                               change: unpackMap(one.change)}));
    if (sets.length === 0 || sets[0].claim.of[1] === 0) return null;
    const cursor = new MapCursor(), maps = [];
    const same = best !== null && sets.every((one) => one.change.data.every((byte) => byte === 0));
    let now = sets[0];
    const tell = (row, column) => {
        const [tall, wide] = now.claim.stride, i = row * now.claim.cells[1] + column;
        return [["row", placeText(row, tall, now.claim.of[0])], ["key", placeText(column, wide, now.claim.of[1])],
                ["as stated", weightText(now.claim.data[i])],
                ...(best === null ? [] : [["explained", weightText(now.explained.data[i])],
                                          ["difference", changeText(now.change.data[i])]])];
    };
    const add = (title, note, key, colour, make) => {
        if (now[key] === null) return;
        const map = new HeatMap(now[key], cursor, {title, note, rowName: "row", columnName: "key", ratio: 1, least: 60, most: 520,
                                                   colour, tell, legend: refreshed(make)});
        maps.push([map, key, note]);
    };
    add("as stated", "weights of the stated formula", "claim", weightColour, weightLegend);
    add("as explained", best === null ? "" : idText(best), "explained", weightColour, weightLegend);
    add("where they differ", "explained less stated", "change", changeColour, changeLegend);
    const choose = el("select", {"aria-label": "head", onchange: (event) => {
        now = sets[Number(event.target.value)];
        for (const [map, key, note] of maps) map.show(now[key], note);
    }}, ...sets.map((one, i) => el("option", {value: String(i)}, page.shape.batch > 1 ? `batch ${one.batch}, ` : "",
                                   `head ${one.head}`, i === 0 ? " (largest errors)" : "")));
    redrawn.push(() => { for (const [map] of maps) map.draw(); });
    const lead = best === null ? "What every row of the chosen head attends to. Blank: hidden."
        : "What every row of the chosen head attends to: as stated, by the formula that explains the result, and the difference. " +
          "Blank: hidden, or no difference. " +
          (sets.some((one) => one.explained.data.includes(255)) ? "Magenta: NaN." : "");
    const total = page.shape.batch * page.shape.heads, some = ` ${sets.length} of ${total} heads are on this page.`;
    return el("section", {id: "weights"}, el("h2", {}, "Weights, row by key"),
              el("p", {class: "lead"}, lead, sets.length < total ? some : ""),
              same ? el("p", {}, "Both formulas weigh the keys alike here: they differ in what is done with the weights.") : null,
              el("div", {class: "pick"}, el("label", {}, "head ", choose)),
              el("div", {class: "charts three"}, ...maps.map(([map]) => map.element)));
}

// ---- how large ----

function shares(counts) {
    const sum = counts.reduce((a, b) => a + b, 0);
    return counts.map((count) => sum > 0 ? count / sum : 0);
}

// Half doublings are drawn as doublings: 24 of them are wide enough for a thumb.
function doublings(list) {
    const made = [];
    for (let i = 0; i + 1 < list.length; i += 2) made.push(list[i] + list[i + 1]);
    return made;
}

function inUnits() {
    const expected = doublings(picture.z_expected), first = -7, low = (bin) => first + bin - 1;
    const last = Math.max(...shown((view) => doublings(view.z)).map((one) => one.shares.findLastIndex((count) => count > 0)));
    const n = Math.max(18, Math.min(expected.length, last + 2)), cut = (list) => list.slice(0, n);
    const power = (p) => p < 0 ? `1/${2 ** -p}` : numberText(2 ** p);
    const words = Array.from({length: n}, (unused, bin) => bin === 0 ? `below ${power(first)} of the expected size`
        : `${power(low(bin))} to ${power(low(bin) + 1)} times the expected size`);
    const series = shown((view) => cut(doublings(shares(view.z))));
    const labels = [-6, -4, -2, 0, 2, 4, 7, 10, 13, 16, 19, 22].map((p) => [p - first + 1, power(p)]).filter(([bin]) => bin <= n);
    return figure("error in units of its expected size", "all elements of out and lse",
                  barChart("histogram of errors in units of their expected size", series, cut(expected), words, labels, 3 - first));
}

const ULPS = ["0 to 1/2", "to 1", "to 2", "to 4", "to 8", "to 16", "to 32", "to 64", "to 128", "to 256", "beyond 256",
              "not finite on one side"];

function inUlps() {
    const short = ["\u00bd", "1", "2", "4", "8", "16", "32", "64", "128", "256", "more", "NaN"];
    const title = `histogram of errors in units in the last place of ${page.shape.dtype}`;
    return figure(`error in ulps of ${page.shape.dtype}`, "elements of out",
                  barChart(title, shown((view) => shares(view.ulps)), picture.ulps_expected, ULPS.map((text) => `${text} ulp`),
                           short.map((text, i) => [i + 0.5, text]), ULPS.length));
}

function shown(of) {
    return views.flatMap((view, i) => view === null ? [] : [{name: viewNames[i], kind: KINDS[i], shares: of(view)}]);
}

function figure(title, note, drawing) {
    return el("figure", {class: "chart"}, el("figcaption", {}, el("b", {}, title), el("span", {}, note)), drawing);
}

function errorTable() {
    const rows = [[`${names[0]} to the formula`, data.errors.a_ref], [`${names[1]} to the formula`, data.errors.b_ref],
                  ["A to B", data.errors.a_b]];
    const cells = (one) => [digits(one.max, 4), digits(one.mean, 4), digits(one.rms, 4),
                            one.cosine === null ? "-" : digits(one.cosine, 8), percent(one.mismatched),
                            one.first_bad_index < 0 ? "-" : numberText(one.first_bad_index),
                            numberText(one.not_finite)];
    const heads = ["", "largest", "mean", "rms", "cosine", "beyond tolerance", "first at index", "not finite on one side"];
    return table(heads.map((text) => el("th", {scope: "col"}, text)), rows.map(([name, one]) =>
        el("tr", {}, el("th", {scope: "row"}, name), ...cells(one).map((text) => el("td", {class: "number"}, text)))));
}

function howLarge() {
    const gradients = Object.entries(data.gradients || {}).map(([name, one]) => el("tr", {}, el("th", {scope: "row"}, name),
        el("td", {class: "number"}, times(one.residual), bar(one.residual, one.floor)),
        el("td", {class: "number"}, times(one.floor))));
    const lead = "Bars: how many elements have an error of that size, on a square-root scale. The line is what rounding alone is " +
                 "expected to give for this very problem, element by element.";
    return el("section", {id: "errors"}, el("h2", {}, "How large"), el("p", {class: "lead"}, lead), legend(),
              el("div", {class: "charts"}, inUnits(), inUlps()), el("p", {}), errorTable(),
              gradients.length === 0 ? null : el("p", {class: "lead"}, `Gradients of ${names[told]} against the stated formula, ` +
                 "in units of their expected size. The pictures are of out and lse."),
              gradients.length === 0 ? null : table(["gradient", "usual error", "correct code"].map((text) =>
                  el("th", {scope: "col"}, text)), gradients));
}

// ---- hypotheses ----

function bar(residual, floor) {
    if (residual === null || residual <= 0) return null;
    const mark = el("i", {class: residual <= 1.5 * Math.max(1, floor || 1) ? "size inside" : "size", "aria-hidden": "true"});
    mark.style.width = `${Math.max(2, Math.min(90, 6 * (Math.log2(residual) + 2)))}px`;
    return mark;
}

function explanationRow(one, role, kind) {
    const aliases = (one.aliases || []).length > 0 ? `, also ${one.aliases.join(" ").split(" ").join(", ")}` : "";
    return el("tr", {}, el("th", {scope: "row"}, el("code", {}, idText(one))),
              el("td", {}, el("span", {class: `chip ${kind}`}, role)),
              el("td", {class: "number"}, one.residual === null ? "-" : times(one.residual), bar(one.residual, one.floor)),
              el("td", {class: "number"}, digits(one.floor, 2)), el("td", {class: "number"}, percent(one.fraction_fixed)),
              el("td", {}, (one.says || [CAUSES[one.ids[0]]]).join("; and "), aliases));
}

function screened() {
    const apart = (one) => one.apart > 0 ? 1 : 0;
    const list = page.screened.filter((one) => one.visible).sort((x, y) => apart(x) - apart(y) || x.residual - y.residual);
    const rows = list.map((one) => el("tr", {},
        el("th", {scope: "row"}, el("code", {}, idText({ids: [one.id], parameters: [one.parameter]}))),
        el("td", {class: "number"}, one.apart > 0 ? `${numberText(one.apart)} rows not finite` : times(one.residual),
           one.apart > 0 ? null : bar(one.residual, 1)),
        el("td", {class: "number"}, percent(Math.max(0, one.coefficient))), el("td", {}, one.says)));
    const heads = ["hypothesis", "leaves", "of its effect is there", "what would have been computed"];
    return el("details", {}, el("summary", {}, `All that were tried on a sample of rows (${list.length})`),
              el("p", {class: "lead"}, "Leaves: the usual error (rms) under that formula, in units of its expected size. A right " +
                 "one leaves about 1 or less, and the whole of its effect, 100 %, is there."),
              table(heads.map((text) => el("th", {scope: "col"}, text)), rows));
}

function hypotheses() {
    const rows = [...data.explanations.map((one, i) => explanationRow(one, i === 0 ? "explains" : "as well", "good")),
                  ...data.nearest.map((one) => explanationRow(one, "nearest", "open"))];
    const heads = ["hypothesis", "", "leaves", "correct code", "explains", "what was computed"];
    const lead = rows.length > 0 ? "Each was computed on all rows and held against the result, with a floor of its own."
        : "Nothing needs explaining: no hypothesis was confirmed.";
    return el("section", {id: "hypotheses"}, el("h2", {}, "Which formula"), el("p", {class: "lead"}, lead),
              rows.length > 0 ? table(heads.map((text) => el("th", {scope: "col"}, text)), rows) : null,
              page.screened.length > 0 ? screened() : null);
}

function blind() {
    if (page.blind.length === 0) return null;
    const forward = Object.keys(data.gradients || {}).length === 0;    // what --probe makes inputs for
    return el("section", {id: "blind"}, el("h2", {}, "What these inputs cannot show"),
              el("p", {class: "lead"}, "Had one of these been done as well, the result would be the same to within rounding: " +
                 "nothing here speaks for or against them. Other data may show them." +
                 (forward ? " This looks for it:" : "")),
              forward ? el("pre", {}, el("code", {}, `heed compare --probe probe.npz --problem ${quoted(data.problem)}`)) : null,
              el("ul", {class: "ids"}, ...page.blind.map((one) => el("li", {}, el("code", {}, one.id), `: ${one.says}`))));
}

// ---- again ----

function quoted(word) { return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`; }

function again() {
    // Inputs of --probe are made for the problem that was given, whatever its sizes became; others are what the text says.
    const {shape, given} = page, problem = given.problem !== null ? given.problem : data.problem;
    const call = [`heed compare ${quoted(data.a)} ${quoted(data.b)} --problem ${quoted(problem)}`,
                  given.seed !== null ? `--seed ${given.seed}` : null,
                  given.probe !== null ? `--probe ${quoted(given.probe)}` : null,
                  given.ask !== null ? `--ask ${quoted(given.ask)}` : null].filter((part) => part !== null).join(" ");
    const about = `${shape.batch} sequence${shape.batch === 1 ? "" : "s"}, ${shape.heads} heads over ${shape.kv_heads} of keys ` +
                  `and values, ${shape.queries} rows by ${shape.keys} keys, ${shape.channels} channels, ${shape.dtype}`;
    const commands = [`${call} --html page.html`, `${call} --json`, `heed explain ${quoted(data.problem)}`];
    const remarks = (data.remarks || []).map((line) => el("li", {class: "break"}, line));
    return el("section", {id: "again"}, el("h2", {}, "The problem, and how to see this again"), el("p", {}, about, "."),
              ...commands.map((text) => el("pre", {}, el("code", {}, text))),
              remarks.length > 0 ? el("ul", {class: "notes"}, ...remarks) : null,
              el("p", {class: "soft"}, "The same command gives the same page, byte for byte."));
}

// ---- all together ----

document.title = `${data.verdict}: ${data.a} and ${data.b}`;
paint();
const drawable = views[told] !== null && views[told].map.of[0] * views[told].map.of[1] > 0;
const sections = [head(), drawable ? where() : null, drawable ? weights() : null, hypotheses(), howLarge(), blind(), again()];
document.body.append(...sections.filter((part) => part !== null));
for (const chart of lines) chart.draw();
look.changed = (printing) => {
    paint();
    for (const draw of redrawn) draw();
    for (const chart of lines) chart.draw(printing);
};
document.documentElement.dataset.maps = String(document.querySelectorAll("[data-map]").length);
performance.mark("heed-drawn");
})();
