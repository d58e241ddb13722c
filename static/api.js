// The service's interface. Every address is relative, for the service may live below a path of its own.

import { currentLanguage, say } from "./words.js";

const API = "api/v1/";
const MOST_SECONDS = 60;

/** An answer that is no success (status 0: there was none). */
export class Problem extends Error {
  constructor(status, document = {}, retryAfter = null) {
    super(document.detail ?? document.title ?? "");
    this.status = status;
    this.code = document.code ?? "";
    this.retryAfter = Number(retryAfter) || null;
  }

  /** Whether the same request may succeed in a moment. */
  get passing() {
    return [0, 408, 425, 429, 502, 503, 504].includes(this.status);
  }

  /** The server's own sentence, or ours where it gave none. */
  get sentence() {
    return this.message || say(this.status ? "unanswered" : "unreachable", { status: this.status });
  }
}

function read(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

async function request(path, { method = "GET", body, headers = {}, seconds = MOST_SECONDS } = {}) {
  let answer, text;
  try {
    answer = await fetch(API + path, {
      method,
      body,
      headers: { "Accept-Language": currentLanguage(), ...headers },
      cache: "no-store",
      signal: AbortSignal.timeout(seconds * 1000),
    });
    text = await answer.text();
  } catch {
    throw new Problem(0);
  }
  if (!answer.ok) throw new Problem(answer.status, read(text), answer.headers.get("Retry-After"));
  return text ? JSON.parse(text) : null;
}

const page = (path, cursor) => request(cursor === null ? path : `${path}?cursor=${encodeURIComponent(cursor)}`);

/** Every clip of the library, newest first. */
export async function clips() {
  const all = [];
  let cursor = null;
  do {
    const { items, next } = await page("clips", cursor);
    all.push(...items);
    cursor = next ?? null;
  } while (cursor !== null);
  return all;
}

/** One page of jobs, newest first. */
export const jobs = (cursor = null) => page("compositions", cursor);
export const job = (id) => request(`compositions/${encodeURIComponent(id)}`);
export const cancel = (id) => request(`compositions/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const removeJob = (id) => request(`compositions/${encodeURIComponent(id)}`, { method: "DELETE" });
export const removeClip = (id) => request(`clips/${encodeURIComponent(id)}`, { method: "DELETE" });
export const events = (after, wait) => request(`events?after=${after}&wait=${wait}`, { seconds: wait + 20 });

export function compose(body, key) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  return request("compositions", { method: "POST", body, headers });
}

/** A new idempotency key. crypto.randomUUID is missing where the page came over plain HTTP. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Send a file. Gives {done, stop}: a promise of the clip, and a way to stop. fetch knows no upload progress. */
export function upload(file, onSent) {
  const call = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    call.upload.onprogress = (event) => onSent(event.loaded, event.total);
    call.onload = () => {
      if (call.status === 201) resolve(JSON.parse(call.responseText));
      else reject(new Problem(call.status, read(call.responseText), call.getResponseHeader("Retry-After")));
    };
    call.onerror = () => reject(new Problem(0));
    call.onabort = () => reject(null);
  });
  const form = new FormData();
  form.append("file", file, file.name);
  call.open("POST", `${API}clips`);
  call.setRequestHeader("Accept-Language", currentLanguage());
  call.send(form);
  return { done, stop: () => call.abort() };
}
