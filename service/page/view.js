// How the photograph lies in the stage: what scale, which part of it, and where the border to the one before is.

import { $ } from "./dom.js";
import { changed, current, screen } from "./state.js";
import { factsOf } from "./work.js";

const PREVIEW_SIDES = [256, 384, 512, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384];

// scale 0 fits; x, y: what the middle shows; apart: before and after stand side by side; held: only the one before is shown.
export const view = { scale: 0, x: 0.5, y: 0.5, split: 50, width: 0, height: 0, apart: false, held: false };

/** How wide the place of one picture is, px. */
const room = () => (view.apart ? view.width / 2 : view.width);


export const facts = () => current() && factsOf(current());

export const fitScale = () => (facts() ? Math.min(room() / facts().width, view.height / facts().height, 3) : 1);
export const scaleNow = () => view.scale || fitScale();
export const isLarge = () => view.scale > fitScale() * 1.001;

/** Where the picture's top left corner lies in the stage, and how large it is, px. */
export function box() {
  const { width, height } = facts();
  const scale = scaleNow();
  const place = (length, room, middle) => (length <= room ? (room - length) / 2
    : Math.min(0, Math.max(room - length, room / 2 - middle * length)));
  const [w, h] = [width * scale, height * scale];
  return { x: place(w, room(), view.x), y: place(h, view.height, view.y), w, h };
}

/** Return the longest side that a preview needs now: what the screen shows, in steps, at most the picture's own. */
export function sideNeeded() {
  const long = Math.max(facts().width, facts().height);
  const shown = Math.min(long, long * scaleNow() * devicePixelRatio);
  return Math.max(64, Math.min(long, PREVIEW_SIDES.find((side) => side >= shown - 1) ?? long));
}

/** Set the scale; the point of the stage at (x, y) px keeps showing what it shows. */
export function zoomTo(scale, x = room() / 2, y = view.height / 2) {
  if (!facts()) return;
  const fit = fitScale();
  const at = box();
  const [u, v] = [(x - at.x) / at.w, (y - at.y) / at.h];
  const next = Math.min(Math.max(scale, fit), Math.max(8 / devicePixelRatio, fit * 4));
  view.scale = next <= fit * 1.001 ? 0 : next;
  view.x = u + (room() / 2 - x) / (facts().width * scaleNow());
  view.y = v + (view.height / 2 - y) / (facts().height * scaleNow());
  stayInside();
}

export function pan(dx, dy) {
  const at = box();
  view.x -= dx / at.w;
  view.y -= dy / at.h;
  stayInside();
}

/** Never move further than the edge, so that panning back starts at once. */
function stayInside() {
  const at = box();
  if (at.w > room()) view.x = Math.min(Math.max(view.x, room() / 2 / at.w), 1 - room() / 2 / at.w);
  if (at.h > view.height) view.y = Math.min(Math.max(view.y, view.height / 2 / at.h), 1 - view.height / 2 / at.h);
  layOut();
  changed();
}

export function setSplit(percent) {
  view.split = Math.min(100, Math.max(0, percent));
  layOut();
}

export function splitAt(x) {
  const at = box();
  const left = Math.max(at.x, 0);
  setSplit((100 * (x - left)) / (Math.min(at.x + at.w, view.width) - left));
}

/** Where a point of the picture in color, { x, y } as shares, lies in the stage, px. */
export function placeOf({ x, y }) {
  const at = box();
  return { x: at.x + view.width - room() + x * at.w, y: at.y + y * at.h };
}

/** Return where the mark of a point or region stands. */
export const anchorOf = ({ x, y, marks }) => (marks ? { x: marks[0].points[0][0], y: marks[0].points[0][1] } : { x, y });

/** Lay the layers of the stage over each other. Follows the pointer, so it does not wait for the next drawing. */
export function layOut() {
  if (!facts()) return;
  const at = box();
  const shift = view.width - room();
  for (const layer of [$("before"), $("after"), $("veil"), $("shape")]) {
    layer.style.width = `${at.w}px`;
    layer.style.height = `${at.h}px`;
    layer.style.transform = `translate(${at.x + (layer.id === "before" ? 0 : shift)}px, ${at.y}px)`;
  }
  const left = Math.max(at.x, 0);
  const right = Math.min(at.x + at.w, room());
  const split = screen.placing ? 0 : view.split; // Whoever fixes colors sees them all.
  const border = view.held ? room() : view.apart ? shift : left + ((right - left) * split) / 100;
  $("pane-before").style.clipPath = `inset(0 ${view.width - border}px 0 0)`;
  $("pane-after").style.clipPath = `inset(0 0 0 ${view.held && view.apart ? view.width : border}px)`;
  $("split").style.transform = `translateX(${border}px)`;
  $("split").setAttribute("aria-valuenow", Math.round(view.split));
  $("split").setAttribute("aria-valuetext", `${Math.round(view.split)} % before, ${Math.round(100 - view.split)} % in color`);
  $("stage").style.setProperty("--ratio", facts().height / facts().width);
  $("tag-before").hidden = !view.apart && !view.held && split < 12;
  $("tag-after").hidden = view.held || (!view.apart && split > 88);
  $("zoom").textContent = `${Math.round(scaleNow() * devicePixelRatio * 100)} %`;
  $("stage").classList.toggle("large", isLarge());
  for (const [kind, marks] of [["hints", $("marks")], ["regions", $("handles")]]) {
    for (const [number, mark] of [...marks.children].entries()) {
      const fix = current().look[kind][number];
      if (!fix) continue;
      const { x, y } = placeOf(anchorOf(fix));
      mark.style.transform = `translate(${x}px, ${y}px)`;
    }
  }
}

/** Lay out the photograph as it came while nothing better is there. */
export function layOutWaiting(size) {
  $("tag-before").hidden = $("tag-after").hidden = true;
  if (!size) return;
  const scale = Math.min(view.width / size.width, view.height / size.height, 3);
  const { style } = $("before");
  style.width = `${size.width * scale}px`;
  style.height = `${size.height * scale}px`;
  style.transform = `translate(${(view.width - size.width * scale) / 2}px, ${(view.height - size.height * scale) / 2}px)`;
  $("pane-before").style.clipPath = "";
  $("stage").style.setProperty("--ratio", size.height / size.width);
}

new ResizeObserver(([entry]) => {
  view.width = entry.contentRect.width;
  view.height = entry.contentRect.height;
  if (facts()) stayInside();
}).observe($("stage"));
