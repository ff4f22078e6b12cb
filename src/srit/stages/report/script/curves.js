// Training curves with axes, smoothing, zoom, and a reading point that pointer and keyboard move.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200, LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 28;

const draw = (parent, tag, attributes, text) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
};

// Round numbers that divide a range into about n parts.
const ticksOf = (low, high, n) => {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const off = (factor) => Math.abs(Math.log((factor * power) / raw));
  const step = power * [1, 2, 5, 10].reduce((best, factor) => (off(factor) < off(best) ? factor : best));
  const first = Math.ceil(low / step - 1e-9);
  const ticks = [];
  for (let i = first; i * step <= high + step * 1e-9; i++) ticks.push(i * step + 0); // no −0
  return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
};

// The exponential moving average without the pull of its first value (Kingma and Ba 2015, arXiv 1412.6980, section 3).
const smoothed = (values, weight) => {
  let mean = 0, mass = 0;
  return values.map((value) => {
    if (value === null) return mass ? mean / mass : null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
};

class Chart {
  constructor(curve, weight) {
    this.curve = curve;
    this.n = curve.lines[0].values.length;
    this.range = [0, Math.max(1, this.n - 1)];
    this.at = this.n - 1;
    this.svg = document.createElementNS(SVG, "svg");
    this.width = 360;
    const attributes = { height: HEIGHT, tabindex: 0, role: "slider", "aria-label": curve.title };
    for (const [name, value] of Object.entries({ ...attributes, "data-reads": "", "aria-valuemin": 0 })) {
      this.svg.setAttribute(name, value);
    }
    this.svg.setAttribute("aria-valuemax", this.n - 1);
    this.listen();
    this.smooth(weight);
  }

  smooth(weight) {
    this.lines = this.curve.lines.map((line) => ({ ...line, smooth: smoothed(line.values, weight) }));
    this.raw = weight > 0;
    this.redraw();
  }

  x(step) {
    return LEFT + ((step - this.range[0]) / (this.range[1] - this.range[0])) * (this.width - LEFT - RIGHT);
  }

  y(value) {
    return TOP + (1 - (value - this.low) / (this.high - this.low)) * (HEIGHT - TOP - BOTTOM);
  }

  stepAt(clientX) {
    const box = this.svg.getBoundingClientRect();
    const step = this.range[0] + ((clientX - box.left - LEFT) / (this.width - LEFT - RIGHT)) * (this.range[1] - this.range[0]);
    return Math.max(0, Math.min(this.n - 1, Math.round(step)));
  }

  redraw() {
    const [first, last] = this.range;
    const seen = this.lines.flatMap((line) => [...line.values.slice(first, last + 1), ...line.smooth.slice(first, last + 1)]);
    const known = seen.filter((value) => value !== null);
    this.low = known.reduce((a, b) => Math.min(a, b), Infinity);
    this.high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!known.length) [this.low, this.high] = [0, 1];
    if (this.low === this.high) [this.low, this.high] = [this.low - 0.5, this.high + 0.5];
    this.svg.replaceChildren();
    this.drawAxes();
    for (const line of this.lines) {
      if (this.raw) this.drawLine(line.values, `curve raw ${line.style}`);
      this.drawLine(line.smooth, `curve ${line.style}`);
    }
    this.point = draw(this.svg, "g", { class: "point" });
    this.valueText();
  }

  drawAxes() {
    const up = ticksOf(this.low, this.high, 4), across = ticksOf(...this.range, 5);
    for (const tick of up.ticks) {
      draw(this.svg, "path", { class: "rule", d: `M${LEFT} ${this.y(tick)}H${this.width - RIGHT}` });
      draw(this.svg, "text", { x: LEFT - 6, y: this.y(tick) + 4, "text-anchor": "end" }, signed(tick, up.digits));
    }
    draw(this.svg, "path", { class: "axis", d: `M${LEFT} ${HEIGHT - BOTTOM}H${this.width - RIGHT}` });
    for (const tick of across.ticks.filter(Number.isInteger)) {
      draw(this.svg, "path", { class: "axis", d: `M${this.x(tick)} ${HEIGHT - BOTTOM}v4` });
      draw(this.svg, "text", { x: this.x(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, count(tick));
    }
  }

  drawLine(values, style) {
    const [first, last] = this.range;
    const points = [];
    for (let step = first; step <= last && step < this.n; step++) {
      if (values[step] !== null) points.push(`${this.x(step).toFixed(1)},${this.y(values[step]).toFixed(1)}`);
    }
    if (points.length === 1) points.push(points[0]);
    draw(this.svg, "polyline", { class: style, points: points.join(" ") });
  }

  words() {
    const parts = this.lines.map((line) => {
      const value = line.values[this.at];
      return `${line.label} ${value === null ? "not a number" : signed(value, Math.abs(value) < 10 ? 4 : 2)}`;
    });
    return `step ${count(this.at)}: ${parts.join(", ")}${this.curve.unit ? ` ${this.curve.unit}` : ""}`;
  }

  valueText() {
    this.svg.setAttribute("aria-valuenow", this.at);
    this.svg.setAttribute("aria-valuetext", this.words());
  }

  read(step) {
    this.at = Math.max(this.range[0], Math.min(this.range[1], step, this.n - 1));
    this.point.replaceChildren();
    draw(this.point, "path", { class: "axis", d: `M${this.x(this.at)} ${TOP}V${HEIGHT - BOTTOM}` });
    for (const line of this.lines) {
      const value = line.smooth[this.at];
      if (value !== null) draw(this.point, "circle", { class: line.style, cx: this.x(this.at), cy: this.y(value), r: 3 });
    }
    this.valueText();
    const box = this.svg.getBoundingClientRect();
    showTip(this.words(), box.left + this.x(this.at), box.top + TOP);
  }

  zoom(first, last) {
    const whole = Math.max(1, this.n - 1);
    this.range = last - first < 2 ? [0, whole] : [Math.max(0, first), Math.min(whole, last)];
    this.at = Math.max(this.range[0], Math.min(this.range[1], this.at));
    this.redraw();
  }

  zoomBy(factor) {
    const half = ((this.range[1] - this.range[0]) / 2) * factor;
    this.zoom(Math.round(this.at - half), Math.round(this.at + half));
  }

  // One unit is one pixel, whatever the width.
  fit() {
    const width = Math.round(this.svg.getBoundingClientRect().width);
    if (!width || width === this.width) return;
    this.width = width;
    this.redraw();
  }

  listen() {
    new ResizeObserver(() => this.fit()).observe(this.svg);
    const keys = {
      ArrowRight: () => this.read(this.at + 1), ArrowUp: () => this.read(this.at + 1),
      ArrowLeft: () => this.read(this.at - 1), ArrowDown: () => this.read(this.at - 1),
      Home: () => this.read(this.range[0]), End: () => this.read(this.range[1]),
      PageUp: () => this.read(this.at + 10), PageDown: () => this.read(this.at - 10),
      "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), 0: () => this.zoom(0, 0),
    };
    this.svg.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    this.svg.addEventListener("pointerdown", (event) => {
      this.from = this.stepAt(event.clientX);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      const step = this.stepAt(event.clientX);
      this.read(step);
      if (this.from !== undefined && step !== this.from) {
        const [a, b] = [this.from, step].sort((p, q) => p - q);
        const box = { x: this.x(a), y: TOP, width: this.x(b) - this.x(a), height: HEIGHT - TOP - BOTTOM };
        draw(this.point, "rect", { class: "chosen", ...box });
      }
    });
    this.svg.addEventListener("pointerup", (event) => {
      const [a, b] = [this.from, this.stepAt(event.clientX)].sort((p, q) => p - q);
      this.from = undefined;
      if (b - a >= 2) this.zoom(a, b);
    });
    this.svg.addEventListener("dblclick", () => this.zoom(0, 0));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("blur", () => this.leave());
  }

  leave() {
    this.point.replaceChildren();
    tip.hidden = true;
  }
}

const curveKey = (lines) =>
  lines.length < 2 ? [] : lines.map((line) => make("span", {}, make("i", { class: line.style }), line.label));

const showCurves = (curves) => {
  const place = byId("curves"), smoothing = byId("smoothing");
  const charts = [];
  for (const stage of new Set(curves.map((curve) => curve.stage))) {
    const grid = make("div", { class: "grid" });
    for (const curve of curves.filter((one) => one.stage === stage)) {
      const chart = new Chart(curve, Number(smoothing.value));
      charts.push(chart);
      const unit = curve.unit ? make("span", { class: "soft" }, `, ${curve.unit}`) : null;
      const caption = make("figcaption", { class: "key" }, make("span", {}, make("b", {}, curve.title), ...(unit ? [unit] : [])), ...curveKey(curve.lines));
      grid.append(make("figure", {}, caption, chart.svg));
    }
    place.append(make("h3", {}, stage), grid);
  }
  byId("curve-controls").hidden = false;
  smoothing.addEventListener("input", () => charts.forEach((chart) => chart.smooth(Number(smoothing.value))));
};

const curveData = readJson("curve-data");
if (curveData) showCurves(curveData);
