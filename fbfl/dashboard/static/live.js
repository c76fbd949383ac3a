// Looks for news and puts them into the page, without moving what the reader looks at.
"use strict";

const every = 1000 * Number(document.body.dataset.every);
let known = null;

async function look() {
  try {
    if (!document.hidden) {
      const headers = known === null ? {} : {"If-None-Match": known};
      const answer = await fetch(location.href, {headers, cache: "no-store"});
      if (answer.status === 200) {
        known = answer.headers.get("ETag");
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const opened = Array.from(document.querySelectorAll("main details"), (each) => each.open);
        document.querySelector("main").replaceWith(page.querySelector("main"));
        document.querySelectorAll("main details").forEach((each, place) => { each.open ||= opened[place]; });
      }
      document.body.classList.remove("gone");
    }
  } catch {
    document.body.classList.add("gone");
  }
  setTimeout(look, every);
}

if (every > 0) setTimeout(look, every);
