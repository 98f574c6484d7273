/** Answers requests for renditions with decoded pictures, for pages that know nothing of it. */

import digests from "virtual:digests";
import type { Space } from "../container";
import { type Equipment, performer } from "../decoder/tasks";
import { MOST_WORKERS } from "../decoder/pool";
import { decoder, type Runner } from "../picture";
import { readRendition, type Rendition } from "./addresses";
import { decide, thisDevice, type Visitor } from "./decision";
import { toFile } from "./file";
import { saving } from "./worth";

/** Milliseconds for a picture, its blob included. */
const PATIENCE = 5000;
const [CACHE, KEY] = ["latentimg", "/visitor"];

/** What pages tell. */
type Told = Visitor & { space: Space };

/** Of the global scope, what is used: TypeScript's library of workers excludes that of pages. */
interface Event {
  waitUntil(work: Promise<unknown>): void;
}
const scope = self as unknown as {
  addEventListener(kind: "install" | "activate", listen: (event: Event) => void): void;
  addEventListener(kind: "message", listen: (event: Event & { data: Told }) => void): void;
  addEventListener(
    kind: "fetch",
    listen: (event: { request: Request; respondWith(answer: Promise<Response>): void }) => void,
  ): void;
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
};

/** In this very thread: service workers can start no others. */
const inPlace = (equipment: Equipment): Runner => {
  const perform = performer(equipment);
  const run = (prepare: () => { task: Parameters<typeof perform>[0] }) => perform(prepare().task);
  return { size: 1, broken: false, run: run as Runner["run"] };
};
const decode = decoder(inPlace);

let failed = false;
/** Whose decoder pages have fetched. */
let space: Space;
/** Undefined until it is known; the browser stops and starts this program as it likes. */
let willing: boolean | undefined;
const known = recall().then((visitor) => {
  if (willing === undefined) consider(visitor); // A page may have told it meanwhile.
});

scope.addEventListener("install", (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener("activate", (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener("message", (event) => {
  consider(event.data);
  event.waitUntil(keep(event.data));
});
scope.addEventListener("fetch", (event) => {
  const { request } = event;
  if (willing === false || failed || request.destination !== "image") return;
  const rendition = readRendition(request.url);
  if (!rendition || !saving(rendition.of, rendition.width)) return;
  event.respondWith(answer(request, rendition));
});

async function answer(request: Request, rendition: Rendition): Promise<Response> {
  await known;
  if (!willing || failed) return fetch(request);
  const late = new Promise<never>((_, reject) => setTimeout(reject, PATIENCE));
  return Promise.race([decoded(rendition), late]).catch(() => fetch(request));
}

async function decoded({ of: { url }, width }: Rendition): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const file = await decode(bytes, width, space).then(toFile, (error: Error) => {
    failed ||= error.name !== "BlobError"; // The decoder itself: no other picture will fare better.
    throw error;
  });
  return new Response(file);
}

function consider(visitor: Told | undefined): void {
  space = visitor?.space ?? "sd1";
  // The pace was measured with as many threads as pages have.
  const threads = Math.min(navigator.hardwareConcurrency || 1, MOST_WORKERS);
  const alone = visitor && { ...visitor, pace: visitor.pace * threads };
  willing = !!alone && decide(alone, thisDevice(), digests[space]) === "decode";
}

async function recall(): Promise<Told | undefined> {
  const kept = await (await caches.open(CACHE)).match(KEY);
  return kept?.json();
}

async function keep(visitor: Told): Promise<void> {
  await (await caches.open(CACHE)).put(KEY, Response.json(visitor));
}
