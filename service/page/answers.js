// From wishes to pictures. A wish is frozen: { file, seen, query, reference }: a photograph, how the network is to see
// it, how it is to be colored, and the file whose palette it follows, if any. What the service calls its kept pictures
// never leaves this file: one that it has forgotten is posted again, and nobody hears of it. Nothing here knows the page.

import { isLeaving, left, shared, within } from "./waiting.js";

const NO_ROOM = "too-large-to-keep";
const GONE = "picture-not-kept";
const MOST_LOSSES = 2; // A picture that is lost more often is pushed out by its own reference, or by others.

const numbers = new WeakMap();
let count = 0;

/** Return a number that stands for a file. */
export function numberOf(file) {
  if (!numbers.has(file)) numbers.set(file, ++count);
  return numbers.get(file);
}

/** Return a text that two wishes share if they ask for the same picture. */
export const keyOf = (wish) =>
  `${numberOf(wish.file)} ${wish.seen}|${wish.query}|${wish.reference ? numberOf(wish.reference) : ""}`;

/**
 * Make the memo of what was asked of a service.
 *
 * `service` has keep, render, sureness, colors, colorize and forget, see service.js. `wholeBytes` limits the answers at full size
 * that are remembered where nothing is kept; `onPost(file, share)` hears how a post goes, null when it is over.
 */
export function makeAnswers(service, { wholeBytes = 128e6, onPost = () => {} } = {}) {
  const slots = new Map(); // File -> what is known of it; a file that leaves and comes back gets a new one.
  const wholes = new Map(); // Key of a wish -> its answer at full size, the one used last at the end.
  let clock = 0; // Counts uses: what was used longest ago the service lets go first.
  let keeps = true; // Whether the service keeps pictures at all.

  function slotOf(file) {
    if (!slots.has(file)) {
      slots.set(file, { left: new AbortController(), id: null, seen: null, post: null, facts: null, refused: new Set(), sure: null, used: 0 });
    }
    return slots.get(file);
  }

  const isOtherwise = ({ post, id, seen }, wanted) => (post ? post.seen !== wanted : Boolean(id) && seen !== wanted);
  const hasRoom = (file, seen) => !slots.get(file)?.refused.has(seen);
  const isKept = (wish) => keeps && hasRoom(wish.file, wish.seen) && !(wish.reference && !hasRoom(wish.reference, ""));

  /** Whether all is there that the picture of a wish takes: no post is needed. */
  function isThere(wish) {
    if (!isKept(wish)) return Boolean(wholes.get(keyOf(wish))?.blob);
    const slot = slots.get(wish.file);
    return Boolean(slot?.id) && slot.seen === wish.seen;
  }

  /** Have a file kept as it is to be seen, one post at a time; null where there is no room. */
  function keptAs(file, slot, seen, isReference = false) {
    if (slot.post?.seen === seen) return slot.post.done;
    if (!slot.post && slot.id && slot.seen === seen) return Promise.resolve(slot.id);
    const before = slot.post?.done;
    const mine = { seen, done: null };
    slot.post = mine;
    mine.done = (async () => {
      try {
        await before?.catch(() => {});
        if (slot.post !== mine || slot.left.signal.aborted) throw left(); // What was asked after it goes instead.
        return await post(file, slot, seen, isReference);
      } finally {
        if (slot.post === mine) slot.post = null;
      }
    })();
    return mine.done;
  }

  async function post(file, slot, seen, isReference) {
    if (slot.id) service.forget(slot.id);
    slot.id = null;
    // A reference is small as a rule: its post goes on, and its id is let go when it comes.
    const signal = isReference ? undefined : slot.left.signal;
    try {
      const facts = await service.keep(file, seen, { signal, onProgress: (share) => onPost(file, share) });
      if (slot.left.signal.aborted) {
        service.forget(facts.id);
        throw left();
      }
      Object.assign(slot, { id: facts.id, seen, facts, used: ++clock });
      return facts.id;
    } catch (error) {
      if (error.kind === NO_ROOM) slot.refused.add(seen);
      else if ([404, 405].includes(error.status)) keeps = false;
      else throw error;
      return null;
    } finally {
      onPost(file, null);
    }
  }

  /** Take it that the service has forgotten a picture, and so those that were used before it. */
  function lose(slot) {
    slot.id = null;
    for (const other of slots.values()) if (other.used < slot.used) other.id = null;
  }

  /** Do something with the ids of a wish; return undefined where the service has no room for them. */
  async function withIds(wish, { signal, holds = () => true }, use) {
    const slot = slotOf(wish.file);
    const other = wish.reference && slotOf(wish.reference);
    const check = () => {
      signal?.throwIfAborted();
      if (slot.left.signal.aborted || other?.left.signal.aborted || !holds()) throw left();
    };
    check();
    for (let losses = 0; isKept(wish); check()) {
      let id = null;
      let palette = null;
      try {
        id = await within(keptAs(wish.file, slot, wish.seen), signal);
        if (id && other) palette = await within(keptAs(wish.reference, other, "", true), signal);
        if (id && (palette || !other)) {
          const made = await use(id, palette);
          for (const each of [slot, other]) if (each) each.used = ++clock;
          return made;
        }
      } catch (error) {
        if (isLeaving(error)) check(); // Else another wish came between, and this one still holds.
        else if (error.kind !== GONE) throw error;
        else if (isOtherwise(slot, wish.seen)) return undefined; // It gave way to how somebody else wishes to see it.
        else if (++losses > MOST_LOSSES) (other ?? slot).refused.add(other ? "" : wish.seen);
        else { // It does not say which of the two is gone. What has been posted anew meanwhile is not.
          if (slot.id === id) {
            if (other) slot.id = null;
            else lose(slot);
          }
          if (other?.id === palette) other.id = null;
        }
      }
    }
    return undefined;
  }

  /** Where nothing is kept: post everything for one answer at full size. */
  async function wholeOf(wish, { signal, more = { format: "png" }, anew = false, onProgress = () => {} }) {
    const key = keyOf(wish);
    const isMain = more.format === "png" && !anew;
    const known = isMain && wholes.get(key);
    if (known && !known.work.isGivenUp()) {
      wholes.delete(key);
      wholes.set(key, known);
      return known.work.join(signal);
    }
    const slot = slotOf(wish.file);
    const query = new URLSearchParams(wish.query);
    query.delete("variant");
    for (const [name, value] of [...Object.entries(more), ...new URLSearchParams(wish.seen)]) query.set(name, value);
    const entry = { file: wish.file, blob: null, work: null };
    entry.work = shared(async (given) => {
      const either = AbortSignal.any([given, slot.left.signal]);
      try {
        const { blob, facts } = await service.colorize(wish.file, String(query), wish.reference, { signal: either, onProgress });
        slot.facts ??= facts;
        entry.blob = blob;
        if (isMain) makeRoom();
        return blob;
      } catch (error) {
        if (wholes.get(key) === entry) wholes.delete(key);
        throw error;
      }
    });
    if (isMain) wholes.set(key, entry);
    return entry.work.join(signal);
  }

  /** Let answers at full size go that were used longest ago, when they all take too much memory. */
  function makeRoom() {
    const [newest, ...others] = [...wholes].filter(([, entry]) => entry.blob).reverse();
    let room = wholeBytes - newest[1].blob.size;
    for (const [key, entry] of others) {
      room -= entry.blob.size;
      if (room < 0) wholes.delete(key);
    }
  }

  /** Have all there that the picture of a wish takes. */
  async function prepare(wish, how = {}) {
    const alone = { ...wish, reference: null };
    if (isKept(wish) && (await withIds(alone, how, async (id) => id)) && isKept(wish)) return;
    if (!isKept(wish)) await wholeOf(wish, how);
  }

  /**
   * Get the picture of a wish, a blob. `more` adds to the query where it is kept, `whole` where it comes at full size.
   * `holds` says whether it is still wished; what is not is posted no more. `keptOnly` leaves rather than posts it whole;
   * `anew` posts it whole although it is kept, which only the first version can be, and remembers nothing of it.
   */
  async function answer(wish, more = {}, { whole, keptOnly = false, ...how } = {}) {
    const isAnew = how.anew && !new URLSearchParams(wish.query).has("variant");
    const blob = !isAnew && await withIds(wish, how, (id, palette) => {
      const query = new URLSearchParams(wish.query);
      for (const [name, value] of Object.entries(more)) query.set(name, value);
      if (palette) query.set("reference", palette);
      return service.render(id, String(query), how.signal);
    });
    if (blob) return blob;
    if (keptOnly) throw left();
    return wholeOf(wish, { ...how, anew: isAnew, more: whole });
  }

  /** Get the map of where the network is sure of a kept photograph; undefined where it is not kept. */
  async function sureness(wish, how = {}) {
    const slot = slotOf(wish.file);
    if (slot.sure?.seen !== wish.seen) {
      const blob = await withIds({ ...wish, reference: null }, how, (id) => service.sureness(id, how.signal));
      if (blob) slot.sure = { seen: wish.seen, blob };
    }
    return slot.sure?.seen === wish.seen ? slot.sure.blob : undefined;
  }

  /** Get the colors that are plausible at a place of a kept photograph; undefined where it is not kept. */
  const colors = (wish, query, how) =>
    withIds({ ...wish, reference: null }, how, (id) => service.colors(id, query, how.signal));

  /** Let a file go, here and in the service. */
  function leave(file) {
    const slot = slots.get(file);
    if (!slot) return;
    slots.delete(file);
    slot.left.abort();
    if (slot.id) service.forget(slot.id);
    for (const [key, entry] of wholes) if (entry.file === file) wholes.delete(key);
  }

  return {
    answer, prepare, sureness, colors, isKept, isThere, leave,
    whole: (wish) => wholes.get(keyOf(wish))?.blob ?? null,
    facts: (file) => slots.get(file)?.facts ?? null,
    keep: (file) => keptAs(file, slotOf(file), "", true),
    keepsAnything: () => keeps,
    hasRoom,
    forgetAll() {
      for (const slot of slots.values()) {
        if (slot.id) service.forget(slot.id);
        slot.id = null;
      }
    },
  };
}
