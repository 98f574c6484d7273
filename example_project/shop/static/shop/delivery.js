// The part of "How it was delivered" that only the browser knows: which rendition it chose out of
// the srcset, and how many bytes that took. And the wait for a photograph's blob.
"use strict";

const picture = document.querySelector(".stage img");
const arrived = document.getElementById("arrived");
const sourceBytes = Number(document.getElementById("bars").dataset.sourceBytes);

function readable(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KB`;
}

/** Real width in pixels of the chosen candidate: the descriptor beside its URL in a srcset. */
function chosenWidth(url) {
  const path = new URL(url).pathname;
  for (const element of picture.closest("picture").querySelectorAll("[srcset]")) {
    for (const candidate of element.srcset.split(", ")) {
      const [address, descriptor] = candidate.trim().split(" ");
      if (new URL(address, document.baseURI).pathname === path) {
        return parseInt(descriptor, 10);
      }
    }
  }
  return null;
}

/** Tell what is known about the candidate that is shown now; a resized window may change it. */
function show() {
  const timings = performance.getEntriesByName(picture.currentSrc, "resource");
  const timing = timings.find((entry) => entry.encodedBodySize);
  if (!timing) {
    return; // Not here yet.
  }
  const format = timing.name.split(".").pop().toUpperCase();
  const width = chosenWidth(timing.name);
  const milliseconds = Math.round(timing.responseEnd - timing.requestStart);
  const how = timing.transferSize ? `in ${milliseconds} ms` : "from its cache";
  arrived.querySelector("[data-which]").textContent = `${format}, ${width} px wide, ${how}`;
  arrived.querySelector("[data-bytes]").textContent = readable(timing.encodedBodySize);
  if (sourceBytes) {
    arrived.style.setProperty("--share", (100 * timing.encodedBodySize) / sourceBytes);
  }
}

// The picture may be complete before its timing is recorded, and the other way round.
picture.addEventListener("load", show);
new PerformanceObserver(show).observe({ type: "resource", buffered: true });

async function reloadWhenLatent(url) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const answer = await fetch(url);
    if (answer.ok && (await answer.json()).is_latent) {
      location.reload();
      return;
    }
  }
}

const waiting = document.querySelector("[data-state]");
if (waiting) {
  reloadWhenLatent(waiting.dataset.state);
}
