// The jobs: what was accepted, how far it is, and what became of it.

import * as api from "./api.js";
import { announce, ask, button, byId, element } from "./dom.js";
import { nameOf } from "./library.js";
import { bytes, known, length, moment, percent, say, timeLeft } from "./words.js";

const LIVE = new Set(["pending", "processing"]);
const MOST_NAMES = 4;
const LONGEST_NAME = 40;

const shown = new Map(); // id -> {job, view, problem, cancelling}
const gone = new Set(); // ids of deleted jobs: a late answer must not bring one back
let loaded = false;
let cursor = null; // of the page of older jobs

export function start() {
  byId("older").onclick = older;
}

/** The newest jobs, as the server tells them in the chosen language. */
export async function load() {
  const { items, next } = await api.jobs();
  if (!loaded) cursor = next ?? null;
  loaded = true;
  for (const job of items) take(job, { same: true });
  arrange();
}

/** The number of the last change that is shown. */
export const lastSeen = () => Math.max(0, ...Array.from(shown.values(), ({ job }) => job.seq));

/** A message of the live connection. */
export function receive(message) {
  if (message.type === "snapshot") begin(message.jobs);
  if (message.type === "job") take(message.job);
  if (message.type === "deleted") drop(message.id);
  if (message.type !== "heartbeat") arrange();
}

/** A job that the person has just sent. */
export function accept(job) {
  take(job);
  arrange();
  shown.get(job.id)?.view.root.scrollIntoView({ block: "nearest" });
}

export function render() {
  for (const one of shown.values()) show(one);
  arrange();
}

// ---- what is known ----------------------------------------------------------------------------------------------------

function take(job, { same = false } = {}) {
  const one = shown.get(job.id);
  if (gone.has(job.id) || (one && !newer(job, one.job, same))) return;
  if (one === undefined) {
    const made = { job, view: null, problem: null, cancelling: false };
    made.view = view(made);
    shown.set(job.id, made);
    show(made);
    return;
  }
  const before = one.job.state;
  one.job = job;
  if (!LIVE.has(job.state)) one.cancelling = false;
  if (before !== job.state) {
    one.problem = null;
    announce(say("became", { name: title(job), state: say(`state_${job.state}`) }));
    // the live connection speaks the browser's language, which need not be the chosen one
    if (job.state === "failed" && !same) refresh(job.id);
  }
  show(one);
}

/** Answers overtake each other: what is older is not shown, so no bar goes back. */
function newer(job, old, same) {
  if (job.seq !== old.seq) return job.seq > old.seq;
  return same || (LIVE.has(old.state) && job.percent >= old.percent);
}

async function refresh(id) {
  try {
    take(await api.job(id), { same: true });
  } catch {
    // what came over the live connection stays
  }
}

/** The newest jobs, all of them: another that is shown was deleted meanwhile (or the server has new data). */
function begin(jobs) {
  const ids = new Set(jobs.map((job) => job.id));
  for (const id of shown.keys()) if (!ids.has(id)) hide(id);
  for (const job of jobs) take(job);
}

function hide(id) {
  const view = shown.get(id)?.view;
  if (!view) return;
  unload(view);
  view.root.remove();
  shown.delete(id);
}

/** Ask for no more of a film that is going to be deleted. */
function unload({ video }) {
  video?.removeAttribute("src");
  video?.load();
}

function drop(id) {
  gone.add(id);
  hide(id);
}

async function older() {
  try {
    const { items, next } = await api.jobs(cursor);
    cursor = next ?? null;
    for (const job of items) take(job);
    arrange();
  } catch (problem) {
    announce(problem.sentence);
  }
}

// ---- how it is shown ----------------------------------------------------------------------------------------------------

function arrange() {
  const newest = [...shown.values()].sort((a, b) => before(b.job, a.job));
  const list = byId("jobs");
  newest.forEach(({ view }, at) => {
    // moved only where it must be: a film that plays would stop
    if (list.children[at] !== view.root) list.insertBefore(view.root, list.children[at] ?? null);
  });
  byId("no-jobs").hidden = !loaded || shown.size > 0;
  byId("older").hidden = cursor === null;
}

const before = (a, b) => Date.parse(a.created) - Date.parse(b.created) || (a.id < b.id ? -1 : 1);

function title(job) {
  if (job.output) return job.output.filename;
  const names = job.clips.map((one) => shortened(nameOf(one.clip)));
  const first = names.slice(0, MOST_NAMES).join(" + ");
  return names.length > MOST_NAMES ? say("more", { names: first, count: names.length - MOST_NAMES }) : first;
}

/** The beginning and the end of a long name. */
function shortened(name) {
  const signs = [...name];
  if (signs.length <= LONGEST_NAME) return name;
  return `${signs.slice(0, LONGEST_NAME - 14).join("")}…${signs.slice(-12).join("")}`;
}

function view(one) {
  const parts = {
    name: element("h3", { className: "name" }),
    state: element("span", { className: "state" }),
    facts: element("p", { className: "muted" }),
    bar: element("progress", { max: 100, value: 0 }),
    text: element("p", { className: "progress-text" }),
    error: element("p", { className: "error" }),
    cancel: button("", () => cancel(one)),
    remove: button("", () => remove(one)),
    video: null, // and the link, once there is a film
    link: null,
  };
  const head = element("div", { className: "head" }, parts.name, parts.state);
  const buttons = element("div", { className: "buttons" }, parts.cancel, parts.remove);
  const body = [head, parts.facts, parts.bar, parts.text, parts.error, buttons];
  return { root: element("li", { className: "job" }, ...body), buttons, ...parts };
}

function show(one) {
  const { job, view } = one;
  const name = title(job);
  const live = LIVE.has(job.state);
  view.root.dataset.id = job.id;
  view.root.dataset.state = job.state;
  view.name.textContent = name;
  view.state.textContent = say(`state_${job.state}`);
  view.facts.textContent = facts(job);
  view.bar.hidden = !live && job.state !== "completed";
  view.bar.value = job.percent;
  view.bar.setAttribute("aria-label", say("progressOf", { name }));
  view.text.hidden = !live;
  view.text.textContent = live ? progress(one) : "";
  view.error.textContent = failure(one);
  view.error.hidden = !view.error.textContent;

  const held = document.activeElement === view.cancel;
  view.cancel.hidden = !live;
  view.cancel.textContent = say("cancel");
  view.cancel.setAttribute("aria-label", say("cancelNamed", { name }));
  view.cancel.setAttribute("aria-disabled", one.cancelling);
  view.remove.hidden = live;
  view.remove.textContent = say("remove");
  view.remove.setAttribute("aria-label", say("removeJobNamed", { name }));
  if (held && !live) view.remove.focus();

  if (job.output) play(view, job.output);
}

function facts(job) {
  const copied = job.clips.filter((one) => one.treatment === "copy").length;
  const encoded = job.clips.length - copied;
  const parts = [moment(job.created)];
  if (job.output) parts.push(length(job.output.duration), bytes(job.output.bytes));
  if (copied) parts.push(say("copied", { count: copied }));
  if (encoded) parts.push(say("encoded", { count: encoded }));
  return parts.join(" · ");
}

function progress({ job, cancelling }) {
  const parts = [percent(job.percent), cancelling ? say("cancelling") : stage(job.stage)];
  if (job.attempt > 1) parts.push(say("attempt", { n: job.attempt }));
  if (job.speed !== null && !cancelling) parts.push(`${job.speed.toFixed(1)}×`);
  if (job.seconds_left !== null && !cancelling) parts.push(timeLeft(job.seconds_left));
  return parts.join(" · ");
}

const stage = (code) => (known(`stage_${code}`) ? say(`stage_${code}`) : code);

function failure({ job, problem }) {
  if (problem) return problem.sentence;
  if (!job.error) return "";
  const { detail, clip } = job.error;
  const name = clip && nameOf(clip);
  return name && !detail.includes(name) ? `${detail} (${say("blamed", { name })})` : detail;
}

function play(view, { url, filename }) {
  if (view.video === null) {
    view.video = element("video", { controls: true, preload: "metadata", playsInline: true, src: url });
    view.link = element("a", { className: "download", href: `${url}?download=1`, download: filename });
    view.buttons.before(view.video);
    view.buttons.prepend(view.link);
  }
  view.video.setAttribute("aria-label", say("filmOf", { name: filename }));
  view.link.textContent = say("download", { name: filename });
}

async function cancel(one) {
  if (one.cancelling) return;
  one.cancelling = true;
  one.problem = null;
  show(one);
  try {
    take(await api.cancel(one.job.id));
  } catch (problem) {
    // it ended in the same moment: the live connection tells how
    one.problem = problem.status === 409 ? null : problem;
    if (problem.status === 409) refresh(one.job.id);
  }
  one.cancelling = false;
  show(one);
}

async function remove(one) {
  if (!(await ask(say("removeJob")))) return;
  unload(one.view);
  try {
    await api.removeJob(one.job.id);
  } catch (problem) {
    if (problem.status !== 404) {
      one.problem = problem;
      if (one.job.output) one.view.video.src = one.job.output.url;
      show(one);
      return;
    }
  }
  drop(one.job.id);
  arrange();
  announce(say("jobRemoved"));
  byId("jobs-title").focus();
}
