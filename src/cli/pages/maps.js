// SPDX-License-Identifier: Apache-2.0
// Heat maps on canvas and bars in SVG. A map's cells are bytes of a logarithmic scale (compare/picture.h); several maps of the
// same rows and columns share a cursor.
"use strict";

// The value of a byte, and its place in 0 .. 1 of what the scale can hold up to `most`.
function scaled(scale, byte) { return byte === 0 ? 0 : scale.least * 2 ** ((byte - 1) / scale.steps); }

// Colours between stops [[0, [r, g, b]], ..., [1, [r, g, b]]].
function between(stops, t) {
    let i = 1;
    while (i < stops.length - 1 && stops[i][0] < t) i++;
    const [t0, from] = stops[i - 1], [t1, to] = stops[i], part = Math.max(0, Math.min(1, (t - t0) / (t1 - t0)));
    return from.map((value, k) => Math.round(value + part * (to[k] - value)));
}

function rgb(colour) { return `rgb(${colour.join(" ")})`; }

function unpackMap(packed) { return packed === null ? null : {...packed, data: numbersOf(packed.data)}; }

// What several maps have in common: where one looks.
class MapCursor {
    constructor() {
        this.maps = [];
        this.at = null;
    }

    point(map, at) {
        this.at = at;
        this.pointed = map;
        for (const one of this.maps) one.drawCursor();
    }
}

// options: {title, rowName, columnName, rowText(i), ratio: of a cell's height to its width, least, most: height in pixels,
// colour(byte): [r, g, b], tell(row, column): [[label, value], ...] of cells, legend: an element or null}.
class HeatMap {
    constructor(map, cursor, options) {
        Object.assign(this, {map, cursor, options});
        cursor.maps.push(this);
        this.plain = el("canvas", {class: "base", "aria-hidden": "true"});
        this.over = el("canvas", {class: "over", tabindex: "0", role: "img"});
        this.readout = el("div", {class: "readout", hidden: true, "aria-live": "polite"});
        this.plot = el("div", {class: "plot map"}, this.plain, this.over, this.readout);
        this.caption = el("figcaption", {}, el("b", {}, options.title), el("span", {}, options.note || ""));
        this.element = el("figure", {class: "chart", "data-map": options.title}, this.caption, this.plot, options.legend || null);
        this.listen();
        new ResizeObserver(() => { if (this.width !== this.plot.clientWidth) this.draw(); }).observe(this.plot);
    }

    // Another map of the same kind in the same place.
    show(map, note) {
        this.map = map;
        this.caption.lastChild.textContent = note || "";
        this.draw();
    }

    describe() {
        const [rows, columns] = this.map.of, [tall, wide] = this.map.stride, parts = [];
        parts.push(`${this.options.title}: ${rows} by ${columns}, ${this.options.rowName} by ${this.options.columnName}.`);
        if (tall * wide > 1) parts.push(`A cell is the largest of ${tall} by ${wide}.`);
        this.over.setAttribute("aria-label", `${parts.join(" ")} Arrow keys read values.`);
    }

    // The cells as an image, one pixel each.
    image() {
        const [rows, columns] = this.map.cells, canvas = document.createElement("canvas"), table = [];
        canvas.width = Math.max(1, columns);
        canvas.height = Math.max(1, rows);
        const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
        for (let i = 0; i < rows * columns; i++) {
            const byte = this.map.data[i], colour = table[byte] || (table[byte] = this.options.colour(byte));
            image.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
        }
        context.putImageData(image, 0, 0);
        return canvas;
    }

    draw() {
        this.width = this.plot.clientWidth;
        if (this.width === 0) return;
        const [rows, columns] = this.map.cells, {options} = this;
        const labels = this.rowTicks(8).map((tick) => tick.text.length), left = 16 + 6.6 * Math.max(2, ...labels);
        const wide = this.width - left - 6, cell = wide / Math.max(1, columns);
        const tall = Math.round(Math.max(options.least, Math.min(options.most, cell * rows * options.ratio)));
        this.plot.style.height = `${tall + 40}px`;
        this.box = {left, top: 4, wide, tall};
        const context = prepareCanvas(this.plain, this.width, tall + 40), colours = look.colours("soft", "line");
        context.imageSmoothingEnabled = wide < columns || tall < rows;
        context.drawImage(this.image(), left, 4, wide, tall);
        context.strokeStyle = colours.line;
        context.strokeRect(left - 0.5, 3.5, wide + 1, tall + 1);
        context.font = FONT;
        context.fillStyle = colours.soft;
        this.drawTicks(context);
        this.describe();
        this.drawCursor();
    }

    rowTicks(count) {
        const text = this.options.rowText || String;
        return wholeTicks(this.map.of[0], count).map((value) => ({value, text: text(value)}));
    }

    drawTicks(context) {
        const {left, top, wide, tall} = this.box, [n_rows, n_columns] = this.map.of;
        context.textBaseline = "middle";
        context.textAlign = "right";
        for (const {value, text} of this.rowTicks(Math.max(1, Math.floor(tall / 26))))
            context.fillText(text, left - 6, top + (value + 0.5) / n_rows * tall);
        context.textBaseline = "top";
        for (const value of wholeTicks(n_columns, Math.max(2, Math.floor(wide / 60)))) {
            const at = left + (value + 0.5) / n_columns * wide;
            context.textAlign = at > left + wide - 12 ? "right" : "center";
            context.fillText(String(value), Math.min(at, left + wide), top + tall + 5);
        }
        context.textAlign = "right";
        context.fillText(`${this.options.columnName} \u2192`, left + wide, top + tall + 21);
        context.textAlign = "left";
        context.fillText(`\u2193 ${this.options.rowName}`, 4, top + tall + 21);
    }

    drawCursor() {
        if (this.box === undefined) return;
        const {left, top, wide, tall} = this.box, [rows, columns] = this.map.cells, at = this.cursor.at;
        const context = prepareCanvas(this.over, this.width, tall + 40);
        this.readout.hidden = at === null || this.cursor.pointed !== this;
        if (at === null) return;
        const x = left + (at[1] + 0.5) / columns * wide, y = top + (at[0] + 0.5) / rows * tall;
        context.strokeStyle = look.colours("ink").ink;
        context.globalAlpha = 0.55;
        context.beginPath();
        context.moveTo(x, top);
        context.lineTo(x, top + tall);
        context.moveTo(left, y);
        context.lineTo(left + wide, y);
        context.stroke();
        if (this.readout.hidden) return;
        this.readout.replaceChildren(...this.options.tell(at[0], at[1]).map(([label, value]) =>
            el("div", {}, el("span", {class: "name"}, label), el("b", {}, value))));
        const right = x > left + wide / 2;
        this.readout.style.left = right ? "auto" : `${x + 12}px`;
        this.readout.style.right = right ? `${this.width - x + 12}px` : "auto";
        this.readout.style.top = `${Math.max(4, Math.min(y + 12, tall - 60))}px`;
    }

    cellAt(event) {
        const {left, top, wide, tall} = this.box, [rows, columns] = this.map.cells, frame = this.over.getBoundingClientRect();
        const row = Math.floor((event.clientY - frame.top - top) / tall * rows);
        const column = Math.floor((event.clientX - frame.left - left) / wide * columns);
        return row < 0 || column < 0 || row >= rows || column >= columns ? null : [row, column];
    }

    listen() {
        const target = this.over;
        target.addEventListener("pointermove", (event) => this.cursor.point(this, this.cellAt(event)));
        target.addEventListener("pointerdown", (event) => this.cursor.point(this, this.cellAt(event)));
        target.addEventListener("pointerleave", () => this.cursor.point(null, null));
        target.addEventListener("blur", () => this.cursor.point(null, null));
        target.addEventListener("keydown", (event) => {
            const move = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
            if (event.key === "Escape") this.cursor.point(null, null);
            if (move === undefined) return;
            event.preventDefault();
            const now = this.cursor.at, stride = event.shiftKey ? 10 : 1;
            const next = now === null ? [0, 0] : now.map((value, i) => value + stride * move[i]);
            this.cursor.point(this, next.map((value, i) => Math.max(0, Math.min(this.map.cells[i] - 1, value))));
        });
    }
}

// Whole numbers of 0 .. n - 1, at most about `count`.
function wholeTicks(n, count) {
    const ticks = linearTicks(0, Math.max(1, n - 1), count).map((tick) => tick.value);
    return [...new Set(ticks.filter(Number.isInteger))].filter((value) => value < n);
}

// "17", or "16-19" where a cell stands for several.
function placeText(cell, stride, n) {
    return stride === 1 ? String(cell) : `${cell * stride}-${Math.min(n, (cell + 1) * stride) - 1}`;
}

// A bar of colours with words below: marks are [place in 0 .. 1, text].
function colourBar(stops, marks) {
    const bar = el("div", {class: "ramp", "aria-hidden": "true"}), words = el("div", {class: "marks"});
    bar.style.background = `linear-gradient(to right, ${stops.map(([t, colour]) => `${rgb(colour)} ${100 * t}%`).join(", ")})`;
    for (const [t, text] of marks) {
        const mark = el("span", {}, text);
        mark.style.left = `${100 * t}%`;
        if (t > 0.9) mark.classList.add("last");
        if (t < 0.1) mark.classList.add("first");
        words.append(mark);
    }
    return el("div", {class: "bar-of-colours"}, bar, words);
}

// ---- bars ----

function svg(tag, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
}

// Groups of bars over bins, heights as shares on a square-root scale, so that one in a thousand is seen. series: {name, kind: a
// class, shares}; expected: shares drawn as a line of steps; words: of each bin; shade: bins from there on are beyond rounding.
function barChart(title, series, expected, words, labels, shade) {
    const width = Math.max(320, Math.min(640, document.documentElement.clientWidth - 60)), height = width < 480 ? 210 : 250;
    const left = 44, bottom = 34, top = 10, bins = words.length, wide = (width - left - 8) / bins;
    const y = (share) => height - bottom - Math.sqrt(Math.max(0, Math.min(1, share))) * (height - bottom - top);
    const x = (bin) => left + bin * wide, parts = [];
    if (shade < bins)
        parts.push(svg("rect", {class: "beyond", x: x(shade), y: top, width: width - 8 - x(shade), height: height - bottom - top}),
                   svg("text", {class: "beyond-text", x: width - 14, y: top + 15, "text-anchor": "end"}, "beyond rounding"));
    for (const [share, text] of [[0.001, "0.1 %"], [0.01, "1 %"], [0.1, "10 %"], [0.5, "50 %"], [1, "100 %"]])
        parts.push(svg("line", {class: "rule", x1: left, x2: width - 8, y1: y(share), y2: y(share)}),
                   svg("text", {x: left - 6, y: y(share) + 4, "text-anchor": "end"}, text));
    const own = wide * 0.86 / series.length;
    series.forEach(({kind, shares}, k) => shares.forEach((share, bin) => {
        const at = Math.min(y(share), height - bottom - 1);    // what is there at all is seen
        if (share > 0) parts.push(svg("rect", {class: kind, x: x(bin) + wide * 0.07 + k * own, width: Math.max(1, own - 0.4), y: at,
                                               height: height - bottom - at}));
    }));
    const steps = expected.map((share, bin) => `${bin === 0 ? "M" : "L"}${x(bin)} ${y(share)}H${x(bin + 1)}`).join("");
    parts.push(svg("path", {class: "expected", d: steps}));
    parts.push(svg("line", {class: "axis", x1: left, x2: width - 8, y1: height - bottom, y2: height - bottom}));
    let free = 0;
    for (const [bin, text] of labels) {
        const half = 3.6 * text.length;
        if (x(bin) - half < free) continue;
        parts.push(svg("text", {x: x(bin), y: height - bottom + 15, "text-anchor": "middle"}, text));
        free = x(bin) + half + 4;
    }
    for (let bin = 0; bin < bins; bin++) {
        const told = [words[bin], ...series.map((one) => `${one.name}: ${shareText(one.shares[bin])}`),
                      `expected: ${shareText(expected[bin])}`];
        parts.push(svg("rect", {class: "hit", x: x(bin), y: top, width: wide, height: height - bottom - top},
                       svg("title", {}, told.join("\n"))));
    }
    return svg("svg", {viewBox: `0 0 ${width} ${height}`, class: "bars", role: "img", "aria-label": title}, ...parts);
}

function shareText(share) {
    const part = 100 * share;
    return part === 0 ? "0 %" : part < 0.001 ? "below 0.001 %" : `${Number(part.toPrecision(3))} %`;
}
