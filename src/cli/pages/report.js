// SPDX-License-Identifier: Apache-2.0
// The page of `heed runs report`: curves of runs over each other, then what was asked for, what ran, and what came of it. The
// data is the JSON in the page; everything in it is shown as text.
"use strict";

(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const names = data.runs.map((run) => run.name);

// ---- data ----

const columns = data.columns.map(numbersOf);
const curves = data.curves.map((packed) => ({run: packed.run, key: packed.key, steps: columns[packed.x], ys: columns[packed.y],
                                             cut: new Set(packed.cut), stride: packed.stride, byAxis: new Map(),
                                             dashed: false}));

// A run's counter (tokens, seconds) as a function of the step. It begins again from 0 where a run was resumed: then it goes on.
const counters = new Map();
function counter(run, key) {
    const name = `${run} ${key}`;
    if (!counters.has(name)) {
        const curve = curves.find((one) => one.run === run && one.key === key);
        let made = null;
        if (curve !== undefined) {
            made = {steps: [0, ...curve.steps], values: [0]};
            let offset = 0, last = 0;
            for (const value of curve.ys) {
                if (value < last) offset += last;
                last = value;
                made.values.push(offset + value);
            }
        }
        counters.set(name, made);
    }
    return counters.get(name);
}

function translate(run, steps, key) {
    const map = counter(run, key);
    if (map === null) return new Float64Array(0);
    return Float64Array.from(steps, (step) => {
        const i = Math.max(0, Math.min(map.steps.length - 2, indexBelow(map.steps, step)));
        if (map.steps.length < 2 || map.steps[i + 1] === map.steps[i]) return map.values[i];
        const share = Math.min(1, (step - map.steps[i]) / (map.steps[i + 1] - map.steps[i]));
        return map.values[i] + share * (map.values[i + 1] - map.values[i]);
    });
}

for (const curve of curves)
    curve.xs = (axis) => {
        if (axis === "step") return curve.steps;
        if (!curve.byAxis.has(axis)) curve.byAxis.set(axis, translate(curve.run, curve.steps, axis));
        return curve.byAxis.get(axis);
    };

const keys = [...new Set(curves.map((curve) => curve.key))];
const axes = [["step", "step"], ["epoch", "epoch"], ["tokens", "tokens"], ["elapsed_seconds", "seconds"]].filter(
    ([key]) => key === "step" || keys.includes(key));

// ---- what all charts share ----

let charts = [], palette = null;

const view = {
    names, axis: "step", smoothing: 0, log: false, zoom: null, cursor: null, pointed: null, hidden: new Set(), stressed: null,
    axisName() { return axes.find(([key]) => key === view.axis)[1]; },
    colours() { return palette; },
    // Every chart shows the same part of the axis, so that one looks down from one to the next.
    extent() {
        let low = Infinity, high = -Infinity;
        for (const curve of curves) {
            const xs = view.hidden.has(curve.run) ? [] : curve.xs(view.axis);
            if (xs.length > 0) [low, high] = [Math.min(low, xs[0]), Math.max(high, xs[xs.length - 1])];
        }
        return [low, high];
    },
    faults(axis) {
        return data.runs.flatMap((run, index) => run.faults.map((fault) => ({
            run: index, x: axis === "step" ? fault.step : translate(index, [fault.step], axis)[0]})));
    },
    point(chart, x) {
        view.pointed = chart;
        view.cursor = x;
        later("cursor");
    },
    setZoom(range) {
        view.zoom = range !== null && range[1] > range[0] ? range : null;
        later("all");
    },
};

function paint() {
    palette = {...look.colours("faint", "line", "soft", "card", "accent"), ...look.palette()};
    for (const swatch of document.querySelectorAll("[data-run]")) swatch.style.background = palette.of(Number(swatch.dataset.run));
}

// Many changes in one frame are one drawing.
let due = null;
function later(what) {
    if (due === null) requestAnimationFrame(() => {
        const all = due === "all";
        due = null;
        for (const chart of charts) if (all) chart.draw(); else chart.drawCursor();
        reset.hidden = view.zoom === null;
    });
    due = due === "all" ? "all" : what;
}

// ---- head and controls ----

const SMOOTHING = curves.some((curve) => curve.ys.length > 1000) ? 0.33 : 0;    // long noisy curves over each other hide each other

function swatch(run) { return el("i", {class: "swatch", "data-run": String(run)}); }

const reset = el("button", {type: "button", hidden: true, onclick: () => view.setZoom(null)}, "whole range");

function controls() {
    const axis = el("select", {"aria-label": "horizontal axis", onchange: (event) => {
        view.axis = event.target.value;
        view.zoom = view.cursor = null;
        later("all");
    }}, ...axes.map(([key, name]) => el("option", {value: key}, name)));
    const shown = el("output", {});
    const amount = el("input", {type: "range", min: "0", max: "100", value: String(100 * SMOOTHING), "aria-label": "smoothing"});
    const read = () => {
        const part = Number(amount.value) / 100;
        view.smoothing = part === 0 ? 0 : 1 - 10 ** (-3 * part);    // even steps from none to an average of a thousand
        shown.textContent = part === 0 ? "off" : view.smoothing.toFixed(view.smoothing > 0.99 ? 3 : 2);
        later("all");
    };
    amount.addEventListener("input", read);
    read();
    const log = el("input", {type: "checkbox", onchange: (event) => {
        view.log = event.target.checked;
        for (const chart of charts) chart.log = null;
        later("all");
    }});
    const shade = look.button();
    shade.classList.add("push");
    return el("div", {class: "controls"}, el("label", {}, "by", axis), el("label", {}, "smoothing", amount, shown),
              el("label", {}, log, "log scale"), reset, shade);
}

function statusChip(run) {
    if (run.status === "done") return null;
    return el("span", {class: run.faults.length > 0 ? "chip bad" : "chip open"}, run.status);
}

function legend() {
    return el("ul", {class: "legend", "aria-label": "runs"}, ...data.runs.map((run, index) => {
        const box = el("input", {type: "checkbox", checked: true, onchange: () => {
            if (box.checked) view.hidden.delete(index);
            else view.hidden.add(index);
            item.classList.toggle("off", !box.checked);
            later("all");
        }});
        const item = el("li", {}, el("label", {title: run.folder}, box, swatch(index), el("span", {class: "name"}, run.name),
                                     statusChip(run)));
        item.addEventListener("pointerenter", () => { view.stressed = index; later("all"); });
        item.addEventListener("pointerleave", () => { view.stressed = null; later("all"); });
        return item;
    }));
}

function head() {
    const count = names.length === 1 ? "1 run" : `${names.length} runs`;
    const mood = {true: "good", false: "bad", null: "open"}[data.comparable_by_attention];
    const verdict = names.length < 2 ? null : el("span", {class: `verdict break ${mood}`}, data.verdict);
    return el("header", {}, el("h1", {}, names.length === 1 ? names[0] : count),
              el("p", {class: "soft"}, `heed ${data.heed}, ${count}, ${data.made}`), verdict);
}

// ---- charts ----

function title(key) { return key.replace(/_per_/g, "/").replace(/\//g, " / ").replace(/_/g, " "); }

// What only counts, or never changes, is no result: its charts stand behind the others.
function isCounter(key) {
    if (/loss|learning_rate/.test(key)) return false;
    if (/(^|\/)(epoch|tokens|batches|floor)$|seconds$/.test(key)) return true;
    const own = curves.filter((curve) => curve.key === key), first = own[0].ys[0];
    return own.every((curve) => curve.ys.every((value) => value === first));
}

// The lowest loss possible, where the data set knows it, as a dashed line.
function withFloor(key, own) {
    if (key !== "eval_loss") return own;
    return own.concat(curves.filter((curve) => curve.key === "floor").map((curve) => ({...curve, dashed: true, cut: new Set()})));
}

function chartGrid(list) {
    const made = list.map((key) => new Chart(title(key), key, withFloor(key, curves.filter((curve) => curve.key === key)), view));
    charts = charts.concat(made);
    return el("div", {class: "charts"}, ...made.map((chart) => chart.element));
}

function allCharts() {
    const rank = (key) => key === "loss" ? 0 : key === "eval_loss" ? 1 : key.includes("loss") ? 2 : 3;
    const sorted = keys.map((key, i) => [rank(key), i, key]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((row) => row[2]);
    const main = sorted.filter((key) => !isCounter(key)), rest = sorted.filter(isCounter);
    if (keys.length === 0) return [el("p", {class: "soft"}, "No step was recorded.")];
    const first = el("section", {"aria-label": "curves"}, chartGrid(main));
    if (rest.length === 0) return [first];
    return [first, el("details", {}, el("summary", {}, `Counters and constants (${rest.length})`), chartGrid(rest))];
}

// ---- tables ----

function cell(value, flags) {
    const given = flags && flags.given, cut = flags && flags.truncated;
    if (value === null || value === undefined) return el("td", {class: "soft"}, "-");
    const words = typeof value === "number" ? numberText(value) : typeof value === "string" ? value : JSON.stringify(value);
    const kind = `${typeof value === "number" ? "number" : ""} ${given ? "given" : ""}`;
    return el("td", {class: kind}, words, cut ? " (truncated)" : null);
}

function runHeads() { return names.map((name, run) => el("th", {scope: "col"}, swatch(run), name)); }

// A row for each name, a column for each run.
function facts(heading, rows, remark) {
    if (!rows || rows.length === 0) return null;
    const lines = rows.map((row) => el("tr", {}, el("th", {scope: "row"}, row.name), ...row.values.map((value, run) =>
        cell(value, {given: row.given && row.given[run], truncated: row.truncated && row.truncated[run]}))));
    return el("section", {}, el("h2", {}, heading), remark ? el("p", {class: "soft"}, remark) : null,
              table([el("th", {}, ""), ...runHeads()], lines));
}

function attentionTable() {
    const lines = [];
    data.attention.forEach((passes, run) => {
        const label = el("th", {scope: "row"}, swatch(run), names[run]);
        const seen = Object.entries(passes || {});
        if (seen.length === 0) lines.push(el("tr", {}, label, el("td", {colspan: "5", class: "soft"}, "not known")));
        const merged = seen.length === 2 && JSON.stringify(seen[0][1]) === JSON.stringify(seen[1][1])
            ? [[`${seen[0][0]} and ${seen[1][0]}`, seen[0][1]]] : seen;
        merged.forEach(([pass, entry], i) => lines.push(el("tr", {}, i === 0 ? label : el("th", {}), el("td", {}, pass),
            el("td", {}, entry.requested.join(", ")),
            el("td", {class: "given"}, entry.actual.join(", "), " ",
               entry.substituted ? el("span", {class: "chip bad"}, "substitute") : null),
            el("td", {}, entry.preset.join(", ")), el("td", {}, entry.reason.join("; ")))));
    });
    const heads = ["run", "pass", "asked for", "ran", "preset", "because"].map((text) => el("th", {scope: "col"}, text));
    return el("section", {}, el("h2", {}, "Attention"), table(heads, lines));
}

function notes() {
    const items = data.runs.flatMap((run, index) => [
        ...run.faults.map((fault) =>
            el("li", {class: "break"}, swatch(index), `${run.name}, step ${fault.step}: ${fault.sentence}`)),
        ...run.notes.map((note) => el("li", {class: "break"}, swatch(index), note))]);
    return items.length === 0 ? null : el("section", {}, el("h2", {}, "Notes"), el("ul", {class: "notes"}, ...items));
}

// ---- all together ----

document.title = names.length <= 3 ? `heed: ${names.join(", ")}` : `heed: ${names.length} runs`;
document.body.append(...[
    head(), el("div", {class: "bar"}, controls(), legend()), ...allCharts(), attentionTable(),
    facts("Options that differ", data.options, "Bold: given on the command line; else the default."),
    facts("Results", data.final), facts("Data that differs", data.data), facts("Models that differ", data.model),
    facts("Versions and machines that differ", data.machine), notes(),
].filter((part) => part !== null));
paint();
for (const chart of charts) chart.draw();
look.changed = (printing) => {
    paint();
    if (printing) for (const chart of charts) chart.draw(true);
    else later("all");
};
document.documentElement.dataset.charts = String(charts.length);
performance.mark("heed-drawn");
})();
