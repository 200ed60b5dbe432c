// What outlasts a reload: photographs and what was decided of them, in this browser's own database, up to a limit. Each
// tab has a session of its own; one whose tab is gone is taken over by the next that opens, so that nothing lies unseen.

const DATABASE = "photochrom";
const TAB = "photochrom-tab";
const ANSWER_MS = 200; // So long other tabs have to say that they live.
export const MOST_BYTES = 1e9;

export const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
export const ended = (transaction) => new Promise((resolve, reject) => {
  transaction.oncomplete = () => resolve();
  transaction.onerror = transaction.onabort = () => reject(transaction.error);
});

let database = null;

/** Open the database; null where the browser has none or does not give it. */
async function open() {
  if (database) return database;
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("files"); // Key: session, file.
    request.result.createObjectStore("sessions");
  };
  database = await done(request);
  database.onversionchange = () => { database.close(); database = null; };
  return database;
}

/** Make a name that no other tab has. */
const newName = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("");

// ------------------------------------------------------------------------------------------------------------ sessions

const channel = new BroadcastChannel(DATABASE);
let tab = null;

channel.addEventListener("message", ({ data }) => {
  if (data === "who" && tab) channel.postMessage({ here: tab });
});

/** Return the names of the other tabs that are open. */
function others() {
  const names = new Set();
  const listen = ({ data }) => { if (data.here) names.add(data.here); };
  channel.addEventListener("message", listen);
  channel.postMessage("who");
  return new Promise((resolve) => setTimeout(() => {
    channel.removeEventListener("message", listen);
    resolve(names);
  }, ANSWER_MS));
}

const filesOf = (name) => IDBKeyRange.bound([name], [name, []]);

/** Find the session of this tab, or one that was left behind; those that nobody has any more go. */
async function find() {
  const base = await open();
  const store = base.transaction("sessions").objectStore("sessions");
  const [names, values] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
  const mine = sessionStorage.getItem(TAB);
  const alive = names.length ? await others() : new Set();
  const left = names.map((name, i) => ({ name, ...values[i] })).filter(({ name }) => !alive.has(name));
  left.sort((a, b) => (b.name === mine) - (a.name === mine) || b.at - a.at);
  const [own, ...gone] = left;
  tab = own?.name ?? newName();
  sessionStorage.setItem(TAB, tab);
  if (gone.length) {
    const transaction = base.transaction(["files", "sessions"], "readwrite");
    for (const { name } of gone) {
      transaction.objectStore("sessions").delete(name);
      transaction.objectStore("files").delete(filesOf(name));
    }
    await ended(transaction);
  }
  return own ?? null;
}

const ids = new WeakMap(); // File -> its key in the database.
let serial = 0;

/** Bring back what this tab had: photographs, { file, name, folder, look, earlier }, and which of them was on the screen. */
export async function restore() {
  const session = await find();
  if (!session) return null;
  const store = database.transaction("files").objectStore("files");
  const [keys, blobs] = await Promise.all([done(store.getAllKeys(filesOf(tab))), done(store.getAll(filesOf(tab)))]);
  const files = new Map(keys.map(([, id], i) => [id, blobs[i]]));
  for (const [id, file] of files) {
    ids.set(file, id);
    serial = Math.max(serial, id);
  }
  const withFiles = (look) => ({ ...look, reference: files.get(look.reference) ?? null });
  const photos = session.photos.filter(({ file }) => files.has(file)).map(({ file, name, folder, look, earlier }) => ({
    file: files.get(file), name, folder, look: withFiles(look),
    earlier: { words: earlier?.words, before: (earlier?.before ?? []).map(([each, words]) => [withFiles(each), words]) },
  }));
  return { photos, current: session.current };
}

/** Keep photographs, decisions and earlier looks; returns how many photographs there was room for, the first ones. */
export async function keep(photos, current) {
  const base = await open();
  if (!tab) await find();
  let bytes = 0;
  const files = new Map();
  const take = (file) => {
    if (!file) return null;
    if (!ids.has(file)) ids.set(file, ++serial);
    if (!files.has(ids.get(file))) bytes += file.size;
    files.set(ids.get(file), file);
    return ids.get(file);
  };
  const kept = [];
  const isRoomFor = (...some) =>
    bytes + some.filter((each) => each && !files.has(ids.get(each))).reduce((sum, { size }) => sum + size, 0) <= MOST_BYTES;
  const withIds = (look) => ({ ...look, reference: take(look.reference) });
  for (const { file, name, folder, look } of photos) {
    if (!isRoomFor(file, look.reference)) break;
    kept.push({ file: take(file), name, folder, look: withIds(look) });
  }
  for (const [number, photo] of kept.entries()) { // What is now comes first.
    const { words, before } = photos[number].earlier;
    const some = before.filter(([look]) => isRoomFor(look.reference));
    photo.earlier = { words, before: some.map(([look, label]) => [withIds(look), label]) };
  }
  const there = new Set((await done(base.transaction("files").objectStore("files").getAllKeys(filesOf(tab)))).map(([, id]) => id));
  const transaction = base.transaction(["files", "sessions"], "readwrite");
  const store = transaction.objectStore("files");
  for (const id of there) if (!files.has(id)) store.delete([tab, id]);
  for (const [id, file] of files) if (!there.has(id)) store.put(file, [tab, id]);
  if (kept.length) transaction.objectStore("sessions").put({ at: Date.now(), photos: kept, current }, tab);
  else transaction.objectStore("sessions").delete(tab);
  await ended(transaction);
  return kept.length;
}
