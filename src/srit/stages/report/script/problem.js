// One problem in full: its prompts, demonstration, samples, pairs, and each model's answer, differences marked.
const MOST_COMPARED = 1200; // words of a text: the comparison takes as much time as the product of both
const ALIKE = 0.4; // share of the words that two texts have in common, below which marks would say nothing
const VERDICTS = { right: "right", wrong: "wrong", unread: "unread", error: "not judged" };

const words = (text) => text.match(/\s+|[\p{L}\p{M}]+|[\d.,]*\d|[^\s\p{L}\p{M}\d]/gu) || [];

// Which words of two texts are not in their longest common subsequence.
const differences = (a, b) => {
  if (a.length > MOST_COMPARED || b.length > MOST_COMPARED) return [new Set(), new Set()];
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] = a[i] === b[j]
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const onlyA = new Set(a.keys()), onlyB = new Set(b.keys());
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) { onlyA.delete(i++); onlyB.delete(j++); }
    else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else j++;
  }
  const alike = 1 - (onlyA.size + onlyB.size) / (a.length + b.length);
  return alike < ALIKE ? [new Set(), new Set()] : [onlyA, onlyB];
};

// A text whose words are marked where they differ from another text, and where its answer was read.
const marked = (text, other, kind, span = []) => {
  const parts = words(text);
  const different = other === null ? new Set() : differences(parts, words(other))[0];
  const pre = make("pre");
  let at = 0;
  let run = null;
  parts.forEach((part, i) => {
    const read = span.length === 2 && at >= span[0] && at + part.length <= span[1];
    const classes = [different.has(i) && part.trim() ? kind : "", read ? "read" : ""].filter(Boolean).join(" ");
    if (run && run.classes === classes) run.text += part;
    else { if (run) pre.append(piece(run)); run = { classes, text: part }; }
    at += part.length;
  });
  if (run) pre.append(piece(run));
  return pre;
};

const piece = ({ classes, text }) => {
  if (!classes) return document.createTextNode(text);
  const tag = classes.includes("read") && classes === "read" ? "u" : "mark";
  const element = make(tag, { class: classes });
  element.textContent = text;
  return element;
};

const badge = (verdict) => make("span", { class: `badge ${verdict}` }, VERDICTS[verdict] || verdict);

const facts = (...parts) => make("span", { class: "soft" }, parts.filter(Boolean).join(" · "));

const folded = (title, open, ...children) => make("details", { open }, make("summary", {}, title), ...children);

const answerCard = (answer, other) => {
  const [model, , index, verdict, nTokens, cut, said, reason, span, text] = answer;
  const about = facts(
    index ? `sample ${index}` : "", `${count(nTokens)} tokens`, cut ? "cut" : "",
    said === null ? reason : `answer ${said}`,
  );
  const title = make("h4", {}, make("i", { class: model.split("-")[0] }), model, " ", badge(verdict));
  return make("div", { class: "card" }, title, marked(text, other, "differs", span), about);
};

const answers = (problem, from) => {
  const parts = [];
  for (const prompt of ["cot", "direct"]) {
    const of = problem.answers.filter((answer) => answer[1] === prompt);
    const greedy = of.filter((answer) => answer[2] === 0), drawn = of.filter((answer) => answer[2] > 0);
    const base = greedy.find((answer) => answer[0] === from);
    const cards = greedy.map((answer) => answerCard(answer, base && answer !== base ? base[9] : null));
    if (cards.length) {
      parts.push(make("h3", {}, `Answers to the ${prompt === "cot" ? "CoT" : "direct"} prompt`), make("div", { class: "cards" }, ...cards));
      if (cards.length > 1 && base) parts.push(make("p", { class: "soft" }, "Marked: what differs from ", from, ". Underlined: where the answer was read."));
    }
    if (drawn.length) parts.push(folded(`${drawn.length} samples`, false, make("div", { class: "cards" }, ...drawn.map((answer) => answerCard(answer, null)))));
  }
  return parts;
};

const samples = (problem) => {
  if (!problem.samples.length) return [];
  const rows = problem.samples.map(([round, prompt, index, verdict, reward, logp, nTokens, cut, said, text]) =>
    make("tr", {},
      make("td", {}, `${prompt} ${index}`, ...(round > 1 ? [` (round ${round})`] : [])),
      make("td", {}, badge(verdict)),
      make("td", { class: "number" }, signed(reward, Number.isInteger(reward) ? 0 : 2)),
      make("td", { class: "number" }, signed(logp, 2)),
      make("td", { class: "number" }, `${nTokens}${cut ? " cut" : ""}`),
      make("td", {}, marked(text, null, ""), said === null ? null : facts(`answer ${said}`))));
  const heads = ["sample", "verdict", "reward", "log p, nats", "tokens", "text"];
  const head = make("tr", {}, ...heads.map((name, i) => make("th", { scope: "col", class: i > 1 && i < 5 ? "number" : null }, name)));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  return [make("h3", {}, "Own samples"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Own samples" }, table)];
};

const pairs = (problem) => problem.pairs.flatMap(([round, prompt, chosenFrom, chosen, rejectedFrom, rejected], i) => [
  ...(i ? [] : [make("h3", {}, "Pairs")]),
  make("div", { class: "cards" },
    make("div", { class: "card" }, make("h4", {}, "chosen ", facts(chosenFrom, `${prompt} prompt`, `round ${round}`)), marked(chosen, rejected, "better")),
    make("div", { class: "card" }, make("h4", {}, "rejected ", facts(rejectedFrom)), marked(rejected, chosen, "worse"))),
]);

const demonstrations = (problem) => problem.demonstrations.flatMap(([teacher, verdict, kept, reason, text]) => [
  make("h3", {}, "Demonstration"),
  make("div", { class: "card" },
    make("h4", {}, make("i", { class: "teacher" }), teacher, " ", badge(verdict)),
    marked(text, null, ""), facts(kept ? "trained on" : `not trained on: ${reason}`)),
]);

const problemView = (problem, row, from) => {
  const prompts = Object.entries(problem.prompts).map(([kind, text]) =>
    folded(`${kind === "cot" ? "CoT" : "Direct"} prompt`, false, make("pre", {}, text)));
  const choices = problem.choices.map((choice) => make("li", {}, choice));
  return [
    make("p", { class: "soft" }, `${row.task} · ${row.id}`),
    make("pre", { class: "question" }, problem.question),
    choices.length ? make("ol", { class: "choices" }, ...choices) : null,
    make("p", {}, "Gold answer: ", make("b", {}, problem.gold)),
    ...prompts, ...answers(problem, from), ...demonstrations(problem), ...pairs(problem), ...samples(problem),
  ].filter(Boolean);
};
