/**
 * The script in the page's head: decides at once, before the browser asks for any lazy picture.
 *
 * A page that decodes claims its pictures and loads `page.ts`. Any other page is left alone.
 */

import digests from "virtual:digests";
import pageFile from "virtual:page";
import type { Space } from "../container";
import { readRendition } from "./addresses";
import { type Claim, claim, type Claims, hideStandIns, IMAGES, releaseAll } from "./claims";
import { decide, thisDevice } from "./decision";
import { forgetDecoder, recall, remember } from "./memory";
import { saving } from "./worth";

const script = document.currentScript as HTMLScriptElement;
const serviceWorker = script.dataset["serviceWorker"];
/** Of what the site makes now. */
const space = (script.dataset["space"] ?? "sd1") as Space;
const verdict = decide(recall(), thisDevice(), digests[space]);

type Page = typeof import("./page");
const loadPage = (): Promise<Page> => import(/* @vite-ignore */ new URL(pageFile, script.src).href);

function decodePictures(): void {
  const claims: Claims = new WeakMap();
  let gallery: Promise<InstanceType<Page["Gallery"]> | void> | undefined;

  const giveUp = () => {
    observer.disconnect();
    releaseAll(claims);
    forgetDecoder();
  };
  const open = () => loadPage().then(({ Gallery }) => new Gallery(claims, giveUp, space), giveUp);
  const take = (taken: Claim) => {
    claims.set(taken.image, taken);
    gallery ??= open();
    void gallery.then((opened) => opened?.add(taken));
  };
  // Runs after the parser's step and before the layout that would start a lazy download.
  const observer = new MutationObserver((records) => {
    for (const node of records.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (!(node instanceof Element)) continue;
      const images = node.matches(IMAGES) ? [node] : node.querySelectorAll(IMAGES);
      for (const image of images as Iterable<HTMLImageElement>) {
        const taken = claims.has(image) ? undefined : claim(image);
        if (taken) take(taken);
      }
    }
  });
  observer.observe(document, { childList: true, subtree: true });
  hideStandIns();
  addEventListener("beforeprint", () => releaseAll(claims));
}

/** What blobs would have saved on this page. */
function countBytes(): void {
  let { missed } = recall();
  for (const { complete, naturalWidth, currentSrc } of document.images) {
    const rendition = readRendition(currentSrc);
    if (rendition && complete && naturalWidth) missed += saving(rendition.of, rendition.width);
  }
  remember({ missed: Math.round(missed) });
}

async function startServiceWorker(url: string): Promise<void> {
  await navigator.serviceWorker.register(url, { scope: "/", type: "module" });
  const { active } = await navigator.serviceWorker.ready;
  active!.postMessage({ ...recall(), space }); // It has no access to what pages remember.
}

async function afterLoad(): Promise<void> {
  if (verdict === "try")
    await loadPage().then(({ tryDecoder }) => tryDecoder(space), forgetDecoder);
  if (serviceWorker && "serviceWorker" in navigator) await startServiceWorker(serviceWorker);
}

if (verdict === "decode") decodePictures();
else addEventListener("pagehide", countBytes, { once: true });

addEventListener("load", () => {
  const whenIdle = self.requestIdleCallback ?? setTimeout; // Safari has no idle callbacks.
  whenIdle(() => afterLoad().catch(() => {})); // Of no concern to the page.
});
