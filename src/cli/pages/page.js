// SPDX-License-Identifier: Apache-2.0
// What every page of heed is made with: elements, numbers and their ticks, packed data, light and dark, tables.
"use strict";

// el("a", {title: "x"}, "text", child): the only way elements are made here, so that no text is ever read as markup.
function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
        if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
        else if (value === true) made.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
}

// ---- numbers ----

function numberText(value) {
    if (typeof value !== "number") return String(value);
    if (!Number.isFinite(value)) return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    return size < 1e-4 || size >= 1e9 ? value.toExponential(5).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(7)));
}

// A tick's label, with as many digits as its distance to the next one needs, in the unit of the axis' largest value.
function tickText(value, step, largest) {
    if (Math.abs(value) < step * 1e-6) return "0";
    if (largest < 1e-3 || largest >= 1e15) {
        const power = (x) => Math.floor(Math.log10(Math.abs(x)) + 1e-9);
        return value.toExponential(Math.max(0, Math.min(3, power(value) - power(step)))).replace("e+", "e");
    }
    const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
    const [unit, letter] = units.find(([from]) => largest >= Math.max(from, 1e4)) || [1, ""];
    const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step / unit) + 1e-9)));
    return (value / unit).toFixed(digits) + letter;
}

function linearTicks(low, high, count) {
    const raw = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw)), ratio = raw / power;
    const step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10), largest = Math.max(-low, high), ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && ticks.length < 40; i++)
        ticks.push({value: i * step, text: tickText(i * step, step, largest)});
    return ticks;
}

function logTicks(low, high, count) {
    const decades = Math.log10(high / low);
    if (decades < 0.8) return linearTicks(low, high, count);
    const digits = decades < 2.5 ? [1, 2, 5] : [1], stride = Math.max(1, Math.ceil(decades / count)), ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const digit of power % stride === 0 ? digits : []) {
            const value = digit * 10 ** power;
            if (value >= low && value <= high) ticks.push({value, text: tickText(value, value, value)});
        }
    return ticks;
}

// What page_data.c packs: {"u1": base64}, {"f4": base64}, {"f8": base64}; or {"from", "by", "n"}.
function numbersOf(packed) {
    if (packed.n !== undefined) return Float64Array.from({length: packed.n}, (unused, i) => packed.from + i * packed.by);
    const text = atob(packed.u1 || packed.f4 || packed.f8 || ""), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    if (packed.u1 !== undefined) return bytes;
    return packed.f4 !== undefined ? new Float64Array(new Float32Array(bytes.buffer)) : new Float64Array(bytes.buffer);
}

// ---- colours ----

const PALETTES = {
    light: ["#2a6fdb", "#e0572a", "#1a9a6c", "#b0459c", "#b98200", "#0f93aa", "#7a5bd6", "#8a6242", "#d13c6a", "#5f6b7a"],
    dark: ["#6aa5ff", "#ff8a5c", "#4fd1a1", "#e58ad6", "#f0c04a", "#52d3e6", "#b09cff", "#d0a37e", "#ff7fa3", "#a9b4c2"],
};
// Light or dark: as the system says, or as was chosen here; paper is light. changed(printing) is called after every change.
const look = (() => {
    const root = document.documentElement, system = window.matchMedia("(prefers-color-scheme: dark)");
    let chosen = null, printing = false;
    const theme = () => printing ? "light" : chosen !== null ? chosen : system.matches ? "dark" : "light";
    const made = {
        theme,
        changed() {},
        // Values of the style's custom properties: colours("faint") is {faint: "#e3e7ec"}.
        colours(...names) {
            const style = getComputedStyle(root);
            return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
        },
        palette() {
            const list = PALETTES[theme()];
            return {count: list.length, of: (i) => list[i % list.length]};
        },
        button() {
            return el("button", {type: "button", onclick: () => {
                chosen = theme() === "dark" ? "light" : "dark";
                apply();
            }}, "light / dark");
        },
    };
    function apply() {
        root.dataset.theme = theme();
        made.changed(printing);
    }
    system.addEventListener("change", apply);
    window.addEventListener("beforeprint", () => { printing = true; apply(); });
    window.addEventListener("afterprint", () => { printing = false; apply(); });
    root.dataset.theme = theme();
    return made;
})();

// ---- tables ----

function table(heads, rows) {
    const grid = el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
    return el("div", {class: "scroll", tabindex: "0"}, grid);
}
