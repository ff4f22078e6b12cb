// The list of all problems: only the rows in view are in the document.
const ROW = 58; // pixels; as in the style
const SPARE = 8; // rows drawn above and below those in view

const FILTERS = [
  ["all", "all", () => true],
  ["fixed", "fixed", (b, i) => b.verdict(i, b.from) !== "r" && b.verdict(i, b.to) === "r" && b.verdict(i, b.from) !== "-"],
  ["broken", "broken", (b, i) => b.verdict(i, b.from) === "r" && !"r-".includes(b.verdict(i, b.to))],
  ["never", "never right", (b, i) => b.isAnswered(i) && !b.index.verdicts[i].includes("r") && !b.index.right[i]],
  ["cut", "cut", (b, i) => b.index.cut[i] === 1],
  ["unread", "unread", (b, i) => b.index.unread[i] === 1],
  ["trained", "training problems", (b, i) => b.index.samples[i] > 0],
  ["paired", "with pairs", (b, i) => b.index.pairs[i] > 0],
];

class Browser {
  constructor(index) {
    this.index = index;
    this.n = index.id.length;
    this.chunks = new Map();
    this.texts = null;
    this.filter = "all";
    this.at = -1;
    this.list = byId("list");
    this.rows = byId("rows");
    this.haystack = index.question.map((question, i) => `${question}\n${index.id[i]}`.toLowerCase());
    this.choices();
    this.listen();
    byId("browser").hidden = false;
    this.restore();
  }

  verdict(i, model) {
    return this.index.verdicts[i][model];
  }

  isAnswered(i) {
    return this.index.samples[i] > 0 || /[wue]/.test(this.index.verdicts[i]);
  }

  chunk(number) {
    if (!this.chunks.has(number)) this.chunks.set(number, unpack(`chunk-${number}`));
    return this.chunks.get(number);
  }

  async problem(i) {
    const { chunk } = this.index;
    return (await this.chunk(Math.floor(i / chunk)))[i % chunk];
  }

  choices() {
    const { models, tasks } = this.index;
    tasks.forEach((task, i) => byId("task").append(make("option", { value: i }, task)));
    for (const id of ["from", "to"]) {
      models.forEach((model, i) => byId(id).append(make("option", { value: i }, model)));
      byId(id).closest("label").hidden = models.length < 2;
    }
    this.from = Math.max(0, models.indexOf("instructed"));
    this.to = models.includes("refined") ? models.indexOf("refined") : models.length - 1;
    [byId("from").value, byId("to").value] = [this.from, this.to];
    const parts = [models.length ? `✓ ✗: ${models.join(", ")}` : "", this.index.samples.some((n) => n) ? "3/4: own samples that are right" : ""];
    byId("legend").textContent = parts.filter(Boolean).map((part) => ` · ${part}`).join("");
    for (const [name, label] of FILTERS) {
      byId("filters").append(make("button", { type: "button", "data-filter": name, "aria-pressed": "false" }, label, " ", make("span", { class: "soft" })));
    }
  }

  listen() {
    let waiting;
    const soon = () => { clearTimeout(waiting); waiting = setTimeout(() => this.search(), 120); };
    byId("search").addEventListener("input", soon);
    byId("deep").addEventListener("change", soon);
    byId("task").addEventListener("change", () => this.search());
    for (const side of ["from", "to"]) {
      byId(side).addEventListener("change", () => { this[side] = Number(byId(side).value); this.search(); this.choose(this.at); });
    }
    byId("filters").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) { this.filter = button.dataset.filter; this.search(); }
    });
    let drawing = false;
    this.list.addEventListener("scroll", () => {
      if (drawing) return;
      drawing = true;
      requestAnimationFrame(() => { drawing = false; this.draw(); });
    }, { passive: true });
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[data-at]");
      if (option) this.choose(Number(option.dataset.at));
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !(event.target instanceof HTMLInputElement)) { event.preventDefault(); byId("search").focus(); }
    });
    new ResizeObserver(() => this.draw()).observe(this.list);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1), last = this.found.length - 1;
    const to = {
      ArrowDown: this.at + 1, ArrowUp: this.at - 1, PageDown: this.at + page, PageUp: this.at - page, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.max(0, Math.min(last, to)));
  }

  // Texts of all answers, read from every chunk once.
  async answerTexts() {
    if (this.texts) return this.texts;
    const texts = [];
    for (let number = 0; number * this.index.chunk < this.n; number++) {
      for (const problem of await unpack(`chunk-${number}`)) {
        const said = [...problem.answers.map((a) => a[9]), ...problem.samples.map((s) => s[9]), ...problem.demonstrations.map((d) => d[4])];
        texts.push(said.join("\n").toLowerCase());
      }
    }
    this.texts = texts;
    return texts;
  }

  async search() {
    const asked = byId("search").value.trim().toLowerCase(), deep = byId("deep").checked && asked;
    const ticket = (this.ticket = (this.ticket || 0) + 1);
    if (deep && !this.texts) byId("found").textContent = "Reading all answers …";
    const texts = deep ? await this.answerTexts() : null;
    if (ticket !== this.ticket) return;
    const task = byId("task").value;
    const counts = Object.fromEntries(FILTERS.map(([name]) => [name, 0]));
    const chosen = this.found ? this.found[this.at] : undefined;
    this.found = [];
    for (let i = 0; i < this.n; i++) {
      if (task !== "" && this.index.task[i] !== Number(task)) continue;
      if (asked && !this.haystack[i].includes(asked) && !(texts && texts[i].includes(asked))) continue;
      for (const [name, , holds] of FILTERS) {
        if (!holds(this, i)) continue;
        counts[name]++;
        if (name === this.filter) this.found.push(i);
      }
    }
    this.tell(counts);
    this.at = this.found.indexOf(chosen);
    this.list.hidden = !this.found.length;
    this.list.scrollTop = Math.max(0, this.at * ROW);
    this.rows.style.height = `${this.found.length * ROW}px`;
    this.draw();
    if (this.at < 0) this.choose(this.found.length ? 0 : -1);
    else this.remember();
  }

  tell(counts) {
    for (const button of byId("filters").children) {
      const name = button.dataset.filter;
      button.setAttribute("aria-pressed", String(name === this.filter));
      button.lastChild.textContent = count(counts[name]);
      button.hidden = !counts[name] && name !== this.filter;
    }
    byId("found").textContent = `${count(this.found.length)} of ${count(this.n)} problems`;
  }

  draw() {
    if (!this.found) return;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - SPARE);
    const last = Math.min(this.found.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW) + SPARE);
    const rows = [];
    for (let at = first; at < last; at++) rows.push(this.row(at));
    this.rows.replaceChildren(...rows);
    if (this.at >= first && this.at < last) this.list.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  row(at) {
    const i = this.found[at], { index } = this;
    const outcome = make("span", { class: "outcome" });
    [...index.verdicts[i]].forEach((verdict, model) => {
      if (verdict !== "-") outcome.append(make("i", { class: `mark-${verdict}`, title: `${index.models[model]}: ${{ r: "right", w: "wrong", u: "unread", e: "not judged" }[verdict]}` }, { r: "✓", w: "✗", u: "?", e: "!" }[verdict]));
    });
    if (index.samples[i]) outcome.append(`${index.right[i]}/${index.samples[i]}`);
    const attributes = {
      id: `row-${at}`, role: "option", "data-at": at, "aria-selected": String(at === this.at),
      "aria-posinset": at + 1, "aria-setsize": this.found.length, style: `top:${at * ROW}px`,
    };
    const about = make("span", { class: "about" }, `${index.tasks[index.task[i]]} · ${index.id[i]}`);
    return make("div", attributes, make("span", { class: "asks" }, index.question[i]), about, outcome);
  }

  async choose(at) {
    this.at = at;
    const shown = byId("shown");
    if (at < 0) { shown.replaceChildren(); return; }
    const top = at * ROW, view = this.list;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + ROW > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW - view.clientHeight;
    this.draw();
    this.remember();
    const i = this.found[at];
    const problem = await this.problem(i);
    if (this.found[this.at] !== i) return; // another one was chosen meanwhile
    const row = { id: this.index.id[i], task: this.index.tasks[this.index.task[i]] };
    shown.replaceChildren(...problemView(problem, row, this.index.models[this.from]));
    shown.scrollTop = 0;
  }

  // What is shown is part of the address, so that a link or a reload shows it again. Browsers refuse frequent changes.
  remember() {
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => this.ready && this.writeAddress(), 200);
  }

  writeAddress() {
    const state = new URLSearchParams();
    if (this.filter !== "all") state.set("show", this.filter);
    if (byId("search").value) state.set("search", byId("search").value);
    if (byId("task").value) state.set("task", this.index.tasks[Number(byId("task").value)]);
    if (this.at > 0) state.set("problem", this.index.id[this.found[this.at]]);
    const text = state.toString();
    if (text || location.hash.startsWith("#?")) history.replaceState(null, "", `#?${text}`);
  }

  async restore() {
    const state = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
    if (FILTERS.some(([name]) => name === state.get("show"))) this.filter = state.get("show");
    byId("search").value = state.get("search") || "";
    const task = this.index.tasks.indexOf(state.get("task"));
    byId("task").value = task < 0 ? "" : task;
    await this.search();
    const wanted = this.found.findIndex((i) => this.index.id[i] === state.get("problem"));
    if (wanted > 0) this.choose(wanted);
    this.ready = true;
    if (state.get("problem")) byId("problems").scrollIntoView();
  }
}

if (byId("index")) {
  unpack("index").then((index) => new Browser(index)).catch((error) => {
    byId("problems").append(make("p", { class: "notice" }, `This browser cannot show the problems: ${error.message}`));
  });
}
