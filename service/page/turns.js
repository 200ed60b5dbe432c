// Who waits for what: pauses, attempts, and work of which only the newest counts.

import { Problem, Unreachable } from "./service.js";
import { inWords, patience } from "./words.js";

const STALE_MS = 800; // What has been on its way for longer than this gives way to something newer.

export const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const leave = () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); };
  const timer = setTimeout(() => { signal?.removeEventListener("abort", leave); resolve(); }, seconds * 1000);
  signal?.addEventListener("abort", leave, { once: true });
});

let cameBack = 0;
addEventListener("online", () => { cameBack++; });

/** Do something until it works or fails for good; between attempts count the seconds down aloud. */
export async function withRetry(work, onWait, signal) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const seconds = patience(error, attempt);
      if (!seconds || signal?.aborted) throw error;
      const before = cameBack;
      for (let left = seconds; left > 0 && before === cameBack; left--) {
        onWait(`${inWords(error)} Trying again in ${left} s.`);
        await pause(1, signal);
      }
      onWait("");
    }
  }
}

/** Let one run at a time, and after it only the newest of those that were asked for meanwhile; `now` gives up the old. */
export function newestWins(work) {
  let running = null;
  let again = false;
  let since = 0;
  let ended = Promise.resolve();
  function run(now = false) {
    if (running) {
      again = true;
      if (now || performance.now() - since > STALE_MS) running.abort();
      return;
    }
    running = new AbortController();
    since = performance.now();
    ended = work(running.signal).catch((error) => {
      // What the service or the network refuses is said where it matters; the strip of versions can wait.
      if (error.name !== "AbortError" && !(error instanceof Problem) && !(error instanceof Unreachable)) console.error(error);
    }).finally(() => {
      running = null;
      if (again) { again = false; run(); }
    });
  }
  run.stop = () => { again = false; running?.abort(); };
  run.isOver = async () => { while (running) await ended; };
  return run;
}
