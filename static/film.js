// The film's list: which clips, in which order; and the press on "Compose".

import * as api from "./api.js";
import { announce, button, byId, element } from "./dom.js";
import { pause } from "./live.js";
import { length, say } from "./words.js";

const MOST_PREFILLED = 20;
const MOST_TRIES = 4;
const REMEMBERED = "vcompose.film";

let entries = []; // {clip}: the same clip may be there twice, so an entry is itself its identity
let press = null; // {body, key}: kept until the server has answered, so that a press makes one job
let ready = false; // whether the library is known
let busy = false;
let saying = ""; // a sentence's key, or a Problem
let insisted = false; // whether "Compose" was pressed with too few clips
let accepted = () => {};
let uploading = () => false;

/** onAccepted(job) is called with each accepted job; isUploading() tells whether clips are still on their way. */
export function start(onAccepted, isUploading) {
  accepted = onAccepted;
  uploading = isUploading;
  byId("compose").onclick = compose;
  byId("clear").onclick = () => {
    entries = [];
    changed();
    announce(say("cleared"));
    byId("film-title").focus();
  };
}

/** What the tab's last visit left in the list; or else the library, oldest first. */
export function prefill(library) {
  ready = true;
  const known = new Map(library.map((clip) => [clip.id, clip]));
  let chosen = remembered().filter((id) => known.has(id)).map((id) => known.get(id));
  // a small library is the film that is meant; of a large one nobody can tell
  if (!chosen.length && library.length >= 2 && library.length <= MOST_PREFILLED) chosen = [...library].reverse();
  if (!entries.length) entries = chosen.map((clip) => ({ clip }));
  render();
}

export function add(clip) {
  entries.push({ clip });
  changed();
  announce(say("added", { name: clip.name, place: entries.length }));
}

/** The clip is deleted. */
export function forget(id) {
  entries = entries.filter((entry) => entry.clip.id !== id);
  changed();
}

export function render() {
  const list = byId("film");
  list.replaceChildren(...entries.map(row));
  const seconds = entries.reduce((sum, entry) => sum + entry.clip.duration, 0);
  byId("film-length").textContent = entries.length
    ? say("filmLength", { count: entries.length, length: length(seconds) })
    : "";
  byId("clear").hidden = !entries.length;
  byId("compose").textContent = say(busy ? "composing" : "compose");
  byId("compose").setAttribute("aria-disabled", busy);
  const few = entries.length < 2;
  const sentence = ready && few ? "tooFew" : saying;
  const says = byId("compose-says");
  says.textContent = sentence instanceof api.Problem ? sentence.sentence : sentence && say(sentence);
  says.classList.toggle("good", sentence === "accepted");
  says.classList.toggle("bad", few ? insisted : sentence !== "accepted");
}

function row(entry, at) {
  const { name, duration } = entry.clip;
  const named = (key) => ({ "aria-label": say(key, { name }), title: say(key, { name }), className: "small" });
  return element(
    "li",
    {},
    element("span", { className: "name" }, name),
    element("span", { className: "muted" }, length(duration)),
    element(
      "span",
      { className: "buttons" },
      button("↑", () => move(entry, -1), { ...named("upNamed"), disabled: at === 0 }),
      button("↓", () => move(entry, 1), { ...named("downNamed"), disabled: at === entries.length - 1 }),
      button("✕", () => take(entry), named("takeNamed")),
    ),
  );
}

function move(entry, by) {
  const from = entries.indexOf(entry);
  const to = from + by;
  entries.splice(to, 0, ...entries.splice(from, 1));
  changed();
  // the hand stays on the clip that it moves; at the end, on the way back
  const [up, down] = byId("film").children[to].querySelectorAll("button");
  const wanted = by < 0 ? up : down;
  (wanted.disabled ? (by < 0 ? down : up) : wanted).focus();
  announce(say("moved", { name: entry.clip.name, place: to + 1, count: entries.length }));
}

function take(entry) {
  const at = entries.indexOf(entry);
  entries.splice(at, 1);
  changed();
  const next = byId("film").children[Math.min(at, entries.length - 1)];
  (next?.querySelector("button:last-of-type") ?? byId("film-title")).focus();
  announce(say("taken", { name: entry.clip.name }));
}

function changed() {
  saying = "";
  try {
    sessionStorage.setItem(REMEMBERED, JSON.stringify(entries.map((entry) => entry.clip.id)));
  } catch {
    // storage may be forbidden or full: then a reload begins anew
  }
  render();
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(REMEMBERED)) ?? [];
  } catch {
    return [];
  }
}

async function compose() {
  if (busy) return;
  insisted = entries.length < 2;
  if (insisted) {
    render();
    announce(say("tooFew"));
    return;
  }
  if (uploading()) {
    // a film without the clips that are still coming is not the one that is meant
    saying = "uploadsFirst";
    render();
    announce(say(saying));
    return;
  }
  const clips = entries.map((entry) => ({ clip: entry.clip.id }));
  const body = JSON.stringify({ clips, output: { filename: filename() } });
  if (press?.body !== body) press = { body, key: api.newKey() };
  busy = true;
  saying = "";
  render();
  try {
    const job = await send(press);
    press = null;
    saying = "accepted";
    accepted(job);
  } catch (problem) {
    if (!(problem instanceof api.Problem)) throw problem;
    if (!problem.passing) press = null;
    saying = problem;
  } finally {
    busy = false;
    render();
  }
}

async function send({ body, key }) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.compose(body, key);
    } catch (problem) {
      if (!problem.passing || tries === MOST_TRIES) throw problem;
      await pause(problem.retryAfter ? Math.min(10, problem.retryAfter) * 1000 : 150 * 2 ** tries);
    }
  }
}

function filename() {
  const name = byId("filename").value.trim() || "film";
  return /\.(mp4|m4v)$/i.test(name) ? name : `${name}.mp4`;
}
