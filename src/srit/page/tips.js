// Figures that appear where the pointer rests: the text of the nearest element with data-tip.
const byId = (id) => document.getElementById(id);

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

const tip = make("div", { id: "tip", hidden: true });
document.body.append(tip);

const showTip = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(x + 14, document.documentElement.clientWidth - width - 8));
  const top = y + 18 + height > window.innerHeight ? y - height - 12 : y + 18;
  tip.style.transform = `translate(${left}px, ${top}px)`;
};

document.addEventListener("pointermove", (event) => {
  const about = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  if (about) showTip(about.dataset.tip, event.clientX, event.clientY);
  else if (!(event.target instanceof Element && event.target.closest("[data-reads]"))) tip.hidden = true;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
});
