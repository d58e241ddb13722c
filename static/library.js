// The library: clips on the server, and those that are on their way there.

import * as api from "./api.js";
import { announce, ask, button, byId, element } from "./dom.js";
import * as film from "./film.js";
import { bytes, known, length, percent, rate, say } from "./words.js";

let clips = []; // newest first
let loaded = false;
let uploads = []; // {file, state: "waiting" | "sending" | "failed", sent, problem, stop, view}
const problems = new Map(); // clip's id -> what was answered when it should be deleted
const missed = new Set(); // ids of clips that were asked for and are not in the library

/** Called when names may have changed. */
let renamed = () => {};

export function start(onRenamed) {
  renamed = onRenamed;
  byId("files").onchange = (event) => {
    for (const file of event.target.files) enqueue(file);
    event.target.value = ""; // so that the same file may be chosen again
  };
  addEventListener("beforeunload", (event) => {
    if (uploading()) event.preventDefault();
  });
}

/** Whether clips are still on their way. */
export const uploading = () => uploads.some((one) => one.state !== "failed");

export async function load() {
  clips = await api.clips();
  loaded = true;
  render();
  renamed();
}

/** What the film begins with. */
export const prefill = () => film.prefill(clips);

/** A clip's name; its id where the name is not known (any more). */
export function nameOf(id) {
  const clip = clips.find((one) => one.id === id);
  if (!clip && loaded && !missed.has(id)) {
    // somebody else may have brought it since
    missed.add(id);
    load().catch(() => {});
  }
  return clip?.name ?? id;
}

// ---- the clips ------------------------------------------------------------------------------------------------------

export function render() {
  byId("clips").replaceChildren(...clips.map(row));
  byId("no-clips").hidden = !loaded || clips.length + uploads.length > 0;
  for (const one of uploads) show(one);
}

function row(clip) {
  const { id, name } = clip;
  const problem = problems.get(id);
  return element(
    "li",
    {},
    element("span", { className: "name" }, name),
    element("span", { className: "muted" }, facts(clip)),
    element(
      "span",
      { className: "buttons" },
      button(say("add"), () => film.add(clip), { "aria-label": say("addNamed", { name }) }),
      button(say("remove"), () => remove(clip), { "aria-label": say("removeNamed", { name }), className: "quiet" }),
    ),
    ...(clip.warnings ?? []).map((code) => element("span", { className: "warning" }, known(code) ? say(code) : code)),
    ...(problem ? [element("span", { className: "error", role: "alert" }, problem.sentence)] : []),
  );
}

function facts(clip) {
  const { video, audio } = clip;
  const parts = [length(clip.duration), video.shown_size.replace("x", "×"), `${rate(video.fps)} fps`, video.codec];
  if (video.color?.hdr) parts.push("HDR");
  if (!audio) parts.push(say("noSound"));
  return [...parts, bytes(clip.size)].join(" · ");
}

async function remove(clip) {
  if (!(await ask(say("removeClip", { name: clip.name })))) return;
  problems.delete(clip.id);
  try {
    await api.removeClip(clip.id);
  } catch (problem) {
    if (problem.status !== 404) {
      problems.set(clip.id, problem);
      render();
      return;
    }
  }
  clips = clips.filter((one) => one.id !== clip.id);
  missed.add(clip.id);
  film.forget(clip.id);
  render();
  announce(say("removed", { name: clip.name }));
  byId("library-title").focus();
}

// ---- uploads: one after another, so that they come into the film in the order they were chosen --------------------------

function enqueue(file) {
  const one = { file, state: "waiting", sent: 0, problem: null, stop: null, view: null };
  one.view = view(one);
  uploads.push(one);
  byId("uploads").append(one.view.root);
  render();
  next();
}

function view(one) {
  const { name } = one.file;
  const parts = {
    bar: element("progress", { max: 100, value: 0 }),
    text: element("span", { className: "muted" }),
    error: element("span", { className: "error", role: "alert" }),
    stop: button("", () => one.stop?.() ?? drop(one), { className: "quiet" }),
    again: button("", () => retry(one)),
  };
  const buttons = element("span", { className: "buttons" }, parts.again, parts.stop);
  const label = element("span", { className: "name" }, name);
  return { root: element("li", {}, label, parts.text, buttons, parts.bar, parts.error), ...parts };
}

function show({ file, state, sent, problem, view }) {
  const { name, size } = file;
  const failed = state === "failed";
  const part = state === "waiting" ? 0 : size ? (100 * sent) / size : 100;
  view.bar.hidden = failed;
  view.bar.value = part;
  view.bar.setAttribute("aria-label", say("uploadOf", { name }));
  if (failed) view.text.textContent = bytes(size);
  else if (state === "waiting") view.text.textContent = say("waitingToSend");
  else view.text.textContent = part < 100 ? say("sending", { percent: percent(part) }) : say("looking");
  view.error.textContent = problem?.sentence ?? "";
  view.again.hidden = !failed;
  view.again.textContent = say("again");
  view.again.setAttribute("aria-label", say("againNamed", { name }));
  view.stop.textContent = say(failed ? "dismiss" : "stop");
  view.stop.setAttribute("aria-label", say(failed ? "dismissNamed" : "stopNamed", { name }));
}

async function next() {
  const one = uploads.find((other) => other.state === "waiting");
  if (!one || uploads.some((other) => other.state === "sending")) return;
  one.state = "sending";
  const { done, stop } = api.upload(one.file, (loaded, total) => {
    one.sent = (one.file.size * loaded) / total; // the form around the file is sent too
    show(one);
  });
  one.stop = stop;
  show(one);
  try {
    const clip = await done;
    clips.unshift(clip);
    missed.delete(clip.id);
    drop(one);
    film.add(clip);
    announce(say("uploaded", { name: clip.name }));
  } catch (problem) {
    one.stop = null;
    if (problem === null) {
      drop(one);
    } else {
      one.state = "failed";
      one.problem = problem;
      show(one);
    }
  }
  next();
}

function retry(one) {
  Object.assign(one, { state: "waiting", sent: 0, problem: null });
  show(one);
  next();
}

function drop(one) {
  const held = one.view.root.contains(document.activeElement);
  uploads = uploads.filter((other) => other !== one);
  one.view.root.remove();
  render();
  if (held) byId("library-title").focus();
}
