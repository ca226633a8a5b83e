// SPDX-License-Identifier: Apache-2.0
// Line charts on canvas: many curves of many points each. A curve with more points than pixels is drawn by the first, least,
// greatest and last value of each pixel column, which looks exactly as all its points would.
"use strict";

// The index of the last x that is not above value; -1: all are. xs rise.
function indexBelow(xs, value) {
    let low = -1, high = xs.length;
    while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (xs[middle] <= value) low = middle;
        else high = middle;
    }
    return low;
}

function indexNearest(xs, value) {
    const below = indexBelow(xs, value);
    if (below < 0) return 0;
    if (below + 1 >= xs.length) return xs.length - 1;
    return value - xs[below] <= xs[below + 1] - value ? below : below + 1;
}

// Exponential moving average whose first values are not drawn to zero. amount: the share of the past, below 1.
function smooth(ys, amount) {
    const out = new Float64Array(ys.length);
    let sum = 0, weight = 0;
    for (let i = 0; i < ys.length; i++) {
        sum = amount * sum + (1 - amount) * ys[i];
        weight = amount * weight + (1 - amount);
        out[i] = sum / weight;
    }
    return out;
}

// ---- drawing ----

// Lines through the points first .. last. x and y give pixels; NaN lifts the pen.
function trace(context, xs, ys, first, last, x, y, columns) {
    let pen = false;
    const point = (px, i) => {
        const py = y(ys[i]);
        if (Number.isNaN(py)) {
            pen = false;
            return;
        }
        if (pen) context.lineTo(px, py);
        else context.moveTo(px, py);
        pen = true;
    };
    context.beginPath();
    if (last - first <= 2 * columns) {
        for (let i = first; i <= last; i++) point(x(xs[i]), i);
        context.stroke();
        return;
    }
    const dense = last - first > 8 * columns;    // a column's range hides where in it the curve came and went
    for (let i = first; i <= last;) {
        const column = Math.floor(x(xs[i]));
        let low = i, high = i, end = i;
        for (; end <= last && Math.floor(x(xs[end])) === column; end++) {
            if (ys[end] < ys[low]) low = end;
            if (ys[end] > ys[high]) high = end;
        }
        if (!dense) point(column + 0.5, i);
        point(column + 0.5, Math.min(low, high));
        point(column + 0.5, Math.max(low, high));
        if (!dense) point(column + 0.5, end - 1);
        i = end;
    }
    context.stroke();
}

function dots(context, xs, ys, list, x, y, hollow, ground) {
    for (const i of list) {
        const py = y(ys[i]);
        if (Number.isNaN(py)) continue;
        context.beginPath();
        context.arc(x(xs[i]), py, hollow ? 3.4 : 2.4, 0, 2 * Math.PI);
        context.fillStyle = hollow ? ground : context.strokeStyle;
        context.fill();
        if (hollow) context.stroke();
    }
}

const SMOOTHED_LEAST = 200;    // fewer points are read one by one, and an average of many would only bend them
const AHEAD = 150;             // pixels beyond the window in which charts are drawn already
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

// A canvas of that many pixels of the page, cleared; its context measures in them too.
function prepareCanvas(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.lineJoin = "bevel";
    return context;
}

// One chart. curves: {run, xs(axis), ys, cut: Set of truncated points, stride: 1, or of how many points two were kept, dashed};
// view: what all charts share (report.js).
class Chart {
    constructor(title, key, curves, view) {
        this.curves = curves;
        this.view = view;
        this.log = null;                 // null: as the page says
        this.plain = el("canvas", {class: "base", "aria-hidden": "true"});
        this.over = el("canvas", {class: "over", tabindex: "0", role: "img"});
        this.readout = el("div", {class: "readout", hidden: true, "aria-live": "polite"});
        this.remark = el("span");
        this.button = el("button", {type: "button", "aria-pressed": "false", title: "logarithmic scale",
                                    onclick: () => this.setLog(!this.isLog())}, "log");
        this.plot = el("div", {class: "plot"}, this.plain, this.over, this.readout);
        const caption = el("figcaption", {}, el("b", {title: key}, title), this.remark, this.button);
        this.element = el("figure", {class: "chart", "data-key": key}, caption, this.plot);
        this.title = title;
        this.listen();
        new ResizeObserver(() => { if (this.frame === undefined || this.isResized()) this.draw(); }).observe(this.plot);
        new IntersectionObserver(() => { if (this.stale) this.draw(); }, {rootMargin: `${AHEAD}px`}).observe(this.plot);
    }

    isResized() { return this.frame.width !== this.plot.clientWidth || this.frame.height !== this.plot.clientHeight; }

    isLog() { return this.log === null ? this.view.log : this.log; }

    setLog(on) {
        this.log = on;
        this.draw();
    }

    visible() { return this.curves.filter((curve) => !this.view.hidden.has(curve.run)); }

    values(curve) {
        const amount = curve.ys.length >= SMOOTHED_LEAST ? this.view.smoothing : 0;
        if (amount === 0) return curve.ys;
        if (curve.smoothed === undefined || curve.amount !== amount) {
            curve.smoothed = smooth(curve.ys, amount);
            curve.amount = amount;
        }
        return curve.smoothed;
    }

    // The part of a curve inside the zoomed range, with one point more on either side.
    part(xs) {
        const zoom = this.view.zoom;
        if (zoom === null) return [0, xs.length - 1];
        return [Math.max(0, indexBelow(xs, zoom[0])), Math.min(xs.length - 1, indexBelow(xs, zoom[1]) + 1)];
    }

    measure() {
        const range = {x0: 0, x1: 0, y0: Infinity, y1: -Infinity};
        const log = this.isLog();
        for (const curve of this.visible()) {
            const xs = curve.xs(this.view.axis), ys = this.values(curve), [first, last] = this.part(xs);
            for (let i = first; i <= last; i++) {
                const value = ys[i];
                if (log && !(value > 0)) continue;
                if (value < range.y0) range.y0 = value;
                if (value > range.y1) range.y1 = value;
            }
        }
        [range.x0, range.x1] = this.view.zoom !== null ? this.view.zoom : this.view.extent();
        if (!(range.x0 <= range.x1)) range.x0 = range.x1 = 0;
        range.empty = !(range.y0 <= range.y1);
        if (range.empty) range.y0 = range.y1 = log ? 1 : 0;
        if (range.x1 === range.x0) range.x0 -= 0.5, range.x1 += 0.5;
        this.pad(range, log);
        return range;
    }

    // Room above and below, so that no curve lies on the frame.
    pad(range, log) {
        if (log) {
            const room = range.y1 > range.y0 ? (range.y1 / range.y0) ** 0.06 : 1.5;
            range.y0 /= room;
            range.y1 *= room;
        } else {
            const room = range.y1 > range.y0 ? 0.06 * (range.y1 - range.y0) : Math.abs(range.y1) * 0.1 || 1;
            range.y0 -= range.y0 >= 0 && range.y0 < room ? range.y0 : room;    // what begins near 0 begins at 0
            range.y1 += room;
        }
    }

    // What cannot be seen is drawn when it comes near, unless anyway.
    draw(anyway = false) {
        const {top, bottom, width, height} = this.plot.getBoundingClientRect();
        if (width === 0 || height === 0) return;
        this.stale = !anyway && (bottom < -AHEAD || top > window.innerHeight + AHEAD);
        if (!this.stale) this.redraw(this.plot.clientWidth, this.plot.clientHeight);
    }

    redraw(width, height) {
        const context = prepareCanvas(this.plain, width, height), colours = this.view.colours(), range = this.measure();
        const log = this.isLog(), yTicks = (log ? logTicks : linearTicks)(range.y0, range.y1, Math.max(2, Math.round(height / 42)));
        this.button.setAttribute("aria-pressed", String(log));
        context.font = FONT;
        const left = Math.ceil(Math.max(24, ...yTicks.map((tick) => context.measureText(tick.text).width))) + 10;
        const box = {left, top: 8, right: width - 8, bottom: height - 22};
        const a = log ? Math.log(range.y0) : range.y0, b = log ? Math.log(range.y1) : range.y1;
        const x = (value) => box.left + (value - range.x0) / (range.x1 - range.x0) * (box.right - box.left);
        const y = (value) => {
            if (log && !(value > 0)) return NaN;
            return box.bottom - ((log ? Math.log(value) : value) - a) / (b - a) * (box.bottom - box.top);
        };
        this.frame = {box, x, y, range, width, height};
        this.drawAxes(context, colours, yTicks);
        context.save();
        context.beginPath();
        context.rect(box.left - 1, box.top - 4, box.right - box.left + 5, box.bottom - box.top + 8);
        context.clip();
        this.drawFaults(context, colours);
        for (const curve of this.visible()) this.drawCurve(context, curve, colours);
        context.restore();
        this.describe(range);
        this.drawCursor();
    }

    drawAxes(context, colours, yTicks) {
        const {box, x, y, range} = this.frame;
        context.lineWidth = 1;
        context.textBaseline = "middle";
        context.textAlign = "right";
        for (const tick of yTicks) {
            const at = Math.round(y(tick.value)) + 0.5;
            context.strokeStyle = colours.faint;
            context.beginPath();
            context.moveTo(box.left, at);
            context.lineTo(box.right, at);
            context.stroke();
            context.fillStyle = colours.soft;
            context.fillText(tick.text, box.left - 7, at);
        }
        context.strokeStyle = colours.line;
        context.beginPath();
        context.moveTo(box.left, box.bottom + 0.5);
        context.lineTo(box.right, box.bottom + 0.5);
        context.textBaseline = "top";
        for (const tick of linearTicks(range.x0, range.x1, Math.max(2, Math.floor((box.right - box.left) / 62)))) {
            const at = x(tick.value), half = context.measureText(tick.text).width / 2;
            context.moveTo(Math.round(at) + 0.5, box.bottom);
            context.lineTo(Math.round(at) + 0.5, box.bottom + 4);
            context.textAlign = at + half > box.right + 6 ? "right" : at - half < 0 ? "left" : "center";
            context.fillText(tick.text, at + half > box.right + 6 ? box.right + 6 : at, box.bottom + 6);
        }
        context.stroke();
    }

    drawCurve(context, curve, colours) {
        const {box, x, y} = this.frame, xs = curve.xs(this.view.axis), ys = this.values(curve), [first, last] = this.part(xs);
        if (last < first) return;
        const columns = box.right - box.left, faded = this.view.stressed !== null && this.view.stressed !== curve.run;
        context.strokeStyle = colours.of(curve.run);
        context.setLineDash(curve.dashed ? [4, 4] : DASHES[Math.floor(curve.run / colours.count) % DASHES.length]);
        if (ys !== curve.ys) {
            context.globalAlpha = (faded ? 0.3 : 1) * (this.view.names.length > 4 ? 0.13 : 0.25);
            context.lineWidth = 1;
            trace(context, xs, curve.ys, first, last, x, y, columns);
        }
        context.globalAlpha = faded ? 0.2 : curve.dashed ? 0.7 : 1;
        context.lineWidth = this.view.stressed === curve.run ? 2.4 : 1.6;
        trace(context, xs, ys, first, last, x, y, columns);
        context.setLineDash([]);
        const shown = [];
        for (let i = first; i <= last && last - first < 60 && !curve.dashed; i++) if (!curve.cut.has(i)) shown.push(i);
        dots(context, xs, ys, shown, x, y, false, colours.card);
        dots(context, xs, ys, curve.cut, x, y, true, colours.card);
        context.globalAlpha = 1;
    }

    // Where a run met a NaN or an infinity.
    drawFaults(context, colours) {
        const {box, x} = this.frame;
        for (const fault of this.view.faults(this.view.axis)) {
            if (this.view.hidden.has(fault.run) || !this.curves.some((curve) => curve.run === fault.run)) continue;
            const at = x(fault.x);
            context.strokeStyle = colours.of(fault.run);
            context.lineWidth = 1;
            context.setLineDash([3, 3]);
            context.beginPath();
            context.moveTo(at, box.top);
            context.lineTo(at, box.bottom);
            context.stroke();
            context.setLineDash([]);
            context.beginPath();
            for (const slope of [-1, 1]) {
                context.moveTo(at - 4, box.top + 2 - 4 * slope);
                context.lineTo(at + 4, box.top + 2 + 4 * slope);
            }
            context.lineWidth = 2;
            context.stroke();
        }
    }

    describe(range) {
        const curves = this.visible(), cut = curves.some((curve) => curve.cut.size > 0);
        const parts = [];
        if (range.empty) parts.push(curves.length === 0 ? "no run is chosen" : "no positive value: no logarithmic scale");
        const lost = curves.filter((curve) => curve.ys.length > 0 && curve.xs(this.view.axis).length === 0 && !curve.dashed).length;
        if (lost > 0) parts.push(`${lost} run${lost === 1 ? "" : "s"} without ${this.view.axisName()}`);
        if (cut) parts.push("hollow: truncated");
        const stride = Math.max(1, ...curves.map((curve) => curve.stride));
        if (stride > 1) parts.push(`least and greatest of every ${stride} points`);
        if (curves.some((curve) => curve.dashed)) parts.push("dashed: the floor");
        this.remark.textContent = parts.join("; ");
        this.remark.title = this.remark.textContent;
        const ends = curves.filter((curve) => curve.ys.length > 0 && !curve.dashed).slice(0, 12).map((curve) =>
            `${this.view.names[curve.run]} ends at ${numberText(curve.ys[curve.ys.length - 1])}`);
        const told = `${this.title} by ${this.view.axisName()}: ${ends.join(", ")}. Arrow keys read values.`;
        this.over.setAttribute("aria-label", told);
    }

    // ---- the cursor ----

    readings() {
        const list = [];
        for (const curve of this.visible()) {
            const xs = curve.xs(this.view.axis);
            if (xs.length === 0) continue;
            const i = indexNearest(xs, this.view.cursor);
            if (this.view.zoom !== null && (xs[i] < this.view.zoom[0] || xs[i] > this.view.zoom[1])) continue;
            list.push({curve, i, x: xs[i], value: curve.ys[i], shown: this.values(curve)[i]});
        }
        return list.sort((a, b) => b.shown - a.shown);
    }

    drawCursor() {
        if (this.frame === undefined) return;
        const {box, x, y, width, height} = this.frame, context = prepareCanvas(this.over, width, height);
        const colours = this.view.colours(), cursor = this.view.cursor;
        this.readout.hidden = cursor === null || this.view.pointed !== this;
        if (this.drag !== undefined && this.drag !== null) {
            context.fillStyle = colours.accent;
            context.globalAlpha = 0.16;
            context.fillRect(Math.min(...this.drag), box.top, Math.abs(this.drag[1] - this.drag[0]), box.bottom - box.top);
            context.globalAlpha = 1;
        }
        if (cursor === null || x(cursor) < box.left - 1 || x(cursor) > box.right + 1) return;
        context.strokeStyle = colours.soft;
        context.globalAlpha = 0.6;
        context.beginPath();
        context.moveTo(Math.round(x(cursor)) + 0.5, box.top);
        context.lineTo(Math.round(x(cursor)) + 0.5, box.bottom);
        context.stroke();
        context.globalAlpha = 1;
        const readings = this.readings();
        for (const {curve, x: at, shown} of readings) {
            const py = y(shown);
            if (Number.isNaN(py)) continue;
            context.fillStyle = colours.of(curve.run);
            context.strokeStyle = colours.card;
            context.lineWidth = 1.5;
            context.beginPath();
            context.arc(x(at), py, 4, 0, 2 * Math.PI);
            context.fill();
            context.stroke();
        }
        if (!this.readout.hidden) this.tell(readings, x(cursor));
    }

    tell(readings, at) {
        const most = 14, colours = this.view.colours();
        const rows = readings.slice(0, most).map(({curve, i, x, value, shown}) => {
            const swatch = el("i", {class: "swatch"});
            swatch.style.background = colours.of(curve.run);
            const soft = (text) => el("span", {class: "soft"}, text);
            const name = this.view.names[curve.run] + (curve.dashed ? ", floor" : "");
            return el("div", {}, swatch, el("span", {class: "name"}, name),
                      x !== this.view.cursor ? soft(`at ${numberText(x)}`) : null, curve.cut.has(i) ? soft("truncated") : null,
                      el("b", {}, numberText(value)),
                      shown !== value ? soft(`~ ${numberText(Number(shown.toPrecision(5)))}`) : null);
        });
        const head = el("div", {class: "head"}, `${this.view.axisName()} ${numberText(this.view.cursor)}`);
        const rest = readings.length > most ? el("div", {class: "head"}, `and ${readings.length - most} more`) : null;
        this.readout.replaceChildren(head, ...rows, ...(rest === null ? [] : [rest]));
        const left = at < this.frame.width / 2;
        this.readout.style.left = left ? `${at + 12}px` : "auto";
        this.readout.style.right = left ? "auto" : `${this.frame.width - at + 12}px`;
    }

    // ---- pointer and keys ----

    value(px) {
        const {box, range} = this.frame;
        return range.x0 + (px - box.left) / (box.right - box.left) * (range.x1 - range.x0);
    }

    // The x of a point of any visible curve that is nearest to a pixel.
    pick(px) {
        const wanted = this.value(px);
        let best = null;
        for (const curve of this.visible()) {
            const xs = curve.xs(this.view.axis), x = xs[indexNearest(xs, wanted)];
            if (x !== undefined && (best === null || Math.abs(x - wanted) < Math.abs(best - wanted))) best = x;
        }
        return best;
    }

    listen() {
        const pixel = (event) => event.clientX - this.over.getBoundingClientRect().left;
        const target = this.over;
        target.addEventListener("pointermove", (event) => {
            if (this.frame === undefined) return;
            if (this.drag) this.drag[1] = pixel(event);
            this.view.point(this, this.pick(pixel(event)));
        });
        target.addEventListener("pointerleave", () => { if (!this.drag) this.view.point(null, null); });
        target.addEventListener("pointerdown", (event) => {
            if (event.pointerType !== "mouse" || event.button !== 0) return;
            this.drag = [pixel(event), pixel(event)];
            target.setPointerCapture(event.pointerId);
        });
        target.addEventListener("pointerup", () => {
            const drag = this.drag;
            this.drag = null;
            if (!drag || Math.abs(drag[1] - drag[0]) < 8) return this.view.point(this, this.view.cursor);
            const {range} = this.frame, ends = [this.value(Math.min(...drag)), this.value(Math.max(...drag))];
            return this.view.setZoom([Math.max(ends[0], range.x0), Math.min(ends[1], range.x1)]);
        });
        target.addEventListener("dblclick", () => this.view.setZoom(null));
        target.addEventListener("blur", () => this.view.point(null, null));
        target.addEventListener("keydown", (event) => this.key(event));
    }

    key(event) {
        const curve = this.visible()[0];
        if (curve === undefined) return;
        const xs = curve.xs(this.view.axis), [first, last] = this.part(xs), stride = event.shiftKey ? 20 : 1;
        const now = this.view.cursor === null ? null : indexNearest(xs, this.view.cursor);
        const next = {ArrowRight: now === null ? first : now + stride, ArrowLeft: now === null ? last : now - stride, Home: first,
                      End: last}[event.key];
        if (event.key === "Escape") {
            if (this.view.cursor !== null) this.view.point(null, null);
            else this.view.setZoom(null);
        } else if (next !== undefined) {
            event.preventDefault();
            this.view.point(this, xs[Math.max(first, Math.min(last, next))]);
        }
    }
}
