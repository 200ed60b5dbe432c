// The page's elements, and how new ones are made.

export const $ = (id) => document.getElementById(id);

/** Make an element of properties, attributes (in `is`) and children. */
export function make(name, { is = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  for (const [attribute, value] of Object.entries(is)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/** Set the text of an element, if it is another one: a screen reader then hears of changes only. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Let as many children stand in an element as there are things: each is made once and drawn each time. */
export function list(parent, things, create, draw) {
  while (parent.children.length > things.length) parent.lastElementChild.remove();
  while (parent.children.length < things.length) parent.append(create(parent.children.length));
  for (const [index, thing] of things.entries()) draw(parent.children[index], thing, index);
}

const TOAST_MS = 6000;
let timer = 0;

/** Say something to whoever listens and, unless it is `quiet`, to whoever looks; `undo` offers to undo it. */
export function say(text, { quiet = false, undo = false } = {}) {
  $("live").textContent = text;
  if (quiet) return;
  $("toast-text").textContent = text;
  $("toast-undo").hidden = !undo;
  $("toast").classList.toggle("on", Boolean(text));
  clearTimeout(timer);
  timer = setTimeout(() => { $("toast").classList.remove("on"); $("toast-undo").hidden = true; }, TOAST_MS);
}
