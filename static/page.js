// The page: its parts put together.

import { Problem } from "./api.js";
import { byId, translate } from "./dom.js";
import * as film from "./film.js";
import * as jobs from "./jobs.js";
import * as library from "./library.js";
import { pause, watch } from "./live.js";
import { chooseLanguage, currentLanguage, say } from "./words.js";

let connection = "connecting";

function status(now) {
  connection = now;
  byId("live").textContent = say(now);
  byId("live").dataset.status = now;
}

function render() {
  document.documentElement.lang = currentLanguage();
  byId("language").value = currentLanguage();
  translate();
  status(connection);
  library.render();
  film.render();
  jobs.render();
}

/** Both lists, as often as it takes: the page may be there before the service is again. */
async function load() {
  const notice = byId("notice");
  for (let wait = 1000; ; wait = Math.min(10_000, wait * 2)) {
    try {
      await Promise.all([library.load(), jobs.load()]);
      library.prefill();
      notice.hidden = true;
      return;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      notice.textContent = problem.sentence;
      notice.hidden = false;
    }
    await pause(wait);
  }
}

library.start(jobs.render);
film.start(jobs.accept, library.uploading);
jobs.start();
byId("language").onchange = (event) => {
  chooseLanguage(event.target.value);
  render();
  jobs.load().catch(() => {}); // the sentences of failed jobs are the server's
};
render();
await load();
watch({ begin: jobs.lastSeen, receive: jobs.receive, status });
