// The live connection: a WebSocket, or long polls where something on the way does not let one through.

import { events } from "./api.js";

const SILENCE = 15_000; // the server's heartbeat is more frequent
const OPENING = 8_000;
const LONGEST_PAUSE = 20_000;
const POLL = 25;
const BETWEEN_POLLS = 250;

/** Calls receive(message) for whatever happens, and status("live" | "polling" | "reconnecting"), for ever.
 *
 * begin() gives the number of the last change that is known without us: where polling starts if no socket ever told. */
export async function watch({ begin, receive, status }) {
  let seq = null;
  let failures = 0;
  let pauses = 0;

  function take(message) {
    if (message.type === "snapshot") seq = message.seq;
    else if (message.seq !== undefined) seq = Math.max(seq ?? 0, message.seq);
    receive(message);
  }

  /** Until it is closed; whether anything was heard. */
  function overSocket() {
    const url = new URL("api/v1/ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    if (seq !== null) url.searchParams.set("since", seq);
    return new Promise((resolve) => {
      let heard = false;
      const socket = new WebSocket(url);
      const end = () => {
        clearTimeout(watchdog);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        resolve(heard);
      };
      let watchdog = setTimeout(end, OPENING);
      const alive = () => {
        clearTimeout(watchdog);
        watchdog = setTimeout(end, SILENCE);
        status("live");
      };
      // a replay may be empty, a snapshot comes at once
      socket.onopen = () => seq !== null && alive();
      socket.onmessage = (event) => {
        heard = true;
        alive();
        take(JSON.parse(event.data));
      };
      socket.onclose = end;
    });
  }

  /** Until one fails; whether anything was answered. */
  async function overPolls() {
    seq ??= begin();
    for (let answered = false; ; answered = true) {
      // the first only asks whether polling works
      const answer = await events(seq, answered ? POLL : 0).catch(() => null);
      if (answer === null) return answered;
      status("polling");
      answer.items.forEach(take);
      seq = answer.next;
      await pause(BETWEEN_POLLS);
    }
  }

  for (;;) {
    if (await overSocket().catch(() => false)) failures = pauses = 0;
    else failures += 1;
    if (failures >= 2 && (await overPolls())) pauses = 0;
    status("reconnecting");
    await pause(Math.min(LONGEST_PAUSE, 500 * 2 ** pauses) * (0.5 + Math.random() / 2));
    pauses += 1;
  }
}

/** Wait; or less, when the network comes back. */
export function pause(milliseconds) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
  });
}
