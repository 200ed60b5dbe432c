// What has been decided, and what it was before: a list of frozen states with a place in it. Nothing here knows the page.

const MOST_STEPS = 200;

/** Make the history of a state. Changes of one `stroke`, such as the drag of a slider, are one step. */
export function makeHistory(first, most = MOST_STEPS) {
  let past = []; // Each step: the state before it, and what was done then.
  let future = [];
  let now = first;
  let running = null;

  const step = (from, to) => {
    const { state, label, at } = from.pop();
    to.push({ state: now, label, at });
    now = state;
    running = null;
    return { label, at };
  };
  return {
    now: () => now,
    decide(state, label, { stroke = null, at = null } = {}) {
      if (stroke === null || stroke !== running) past = [...past, { state: now, label, at }].slice(-most);
      now = state;
      future = [];
      running = stroke;
    },
    /** Start anew from a state that was there before. */
    begin(state) {
      now = state;
      past = [];
      future = [];
      running = null;
    },
    endStroke() { running = null; },
    undo: () => (past.length ? step(past, future) : null),
    redo: () => (future.length ? step(future, past) : null),
    labels: () => ({ undo: past.at(-1)?.label ?? "", redo: future.at(-1)?.label ?? "" }),
    past: () => past,
  };
}
