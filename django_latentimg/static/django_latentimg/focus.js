// A click on the picture sets the point around which its parts are cut, in the form's own field.
"use strict";
{
  const place = (frame, marker) => {
    marker.style.left = `${frame.dataset.x}%`;
    marker.style.top = `${frame.dataset.y}%`;
  };

  const start = (frame) => {
    const input = document.getElementById(frame.dataset.focusFor);
    if (!input) return;
    const marker = document.createElement("span");
    marker.className = "latentimg-focus";
    frame.append(marker);
    place(frame, marker);
    frame.addEventListener("click", (event) => {
      const box = frame.querySelector("img").getBoundingClientRect();
      const share = (position, begin, length) => Math.min(1, Math.max(0, (position - begin) / length));
      const x = share(event.clientX, box.left, box.width);
      const y = share(event.clientY, box.top, box.height);
      input.value = JSON.stringify([Number(x.toFixed(2)), Number(y.toFixed(2))]);
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    input.addEventListener("change", () => {
      try {
        const [x, y] = JSON.parse(input.value);
        frame.dataset.x = 100 * x;
        frame.dataset.y = 100 * y;
        place(frame, marker);
      } catch {
        // Half typed.
      }
    });
  };

  const startAll = () => document.querySelectorAll("[data-focus-for]").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startAll);
  else startAll();
}
