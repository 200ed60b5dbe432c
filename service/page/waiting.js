// Waiting for work that others may wait for, too. Nothing here knows the page.

/** What it is called when somebody leaves. */
export const left = () => new DOMException("left", "AbortError");
export const isLeaving = (error) => error.name === "AbortError";

/** Wait for work that goes on without whoever waits. */
export function within(work, signal) {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const leave = () => reject(left());
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}

/** Start work that several may wait for; when the last of them leaves, it is given up. */
export function shared(work) {
  const controller = new AbortController();
  let waiting = 0;
  let isOver = false;
  const result = work(controller.signal).finally(() => { isOver = true; });
  result.catch(() => {}); // Whoever waits hears of it.
  const join = (signal) => {
    waiting++;
    return within(result, signal).finally(() => { if (!--waiting && !isOver) controller.abort(); });
  };
  return { join, isGivenUp: () => controller.signal.aborted };
}
