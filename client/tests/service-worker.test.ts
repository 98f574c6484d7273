import digests from "virtual:digests";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Visitor } from "../src/page/decision";

type Listener = (event: object) => void;

/** The service worker's program begun anew, with a cache whose answer is `kept`, in time. */
async function started(kept: Promise<Visitor | undefined>) {
  const listeners: Record<string, Listener> = {};
  vi.stubGlobal("addEventListener", (kind: string, listen: Listener) => (listeners[kind] = listen));
  const match = () => kept.then((visitor) => visitor && Response.json(visitor));
  vi.stubGlobal("caches", { open: async () => ({ match, put: async () => {} }) });
  await import("../src/page/service-worker");
  return listeners;
}

/** What it asks the server for when a page wants a rendition, a moment later. */
async function asked(listeners: Record<string, Listener>): Promise<string[]> {
  const requests: string[] = [];
  vi.stubGlobal("fetch", async (request: string | Request) => {
    requests.push(typeof request === "string" ? request : request.url);
    return new Response("", { status: 404 });
  });
  const url = "https://shop.example/img/p:Ab/640/cat.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg.avif";
  let answer: Promise<Response> | undefined;
  listeners["fetch"]!({
    request: { url, destination: "image" },
    respondWith: (given: Promise<Response>) => (answer = given),
  });
  await (answer ?? fetch(url)); // What it leaves alone the browser asks for itself.
  return requests.map((request) => request.slice(request.lastIndexOf(".") + 1));
}

const told = { waitUntil: () => {} };
const visitor = { missed: 0, digest: digests.compact1, pace: 10, space: "compact1" as const };

beforeEach(() => {
  vi.resetModules();
  vi.stubGlobal("self", globalThis);
  vi.stubGlobal("navigator", { hardwareConcurrency: 2, deviceMemory: 8 });
  vi.stubGlobal("OffscreenCanvas", class {});
});
afterEach(() => vi.unstubAllGlobals());

test("it decodes for a visitor of whom it has kept that he decodes", async () => {
  const listeners = await started(Promise.resolve(visitor));
  expect(await asked(listeners)).toEqual(["limg", "avif"]);
});

test("it leaves pictures alone while it knows of no visitor", async () => {
  const listeners = await started(Promise.resolve(undefined));
  expect(await asked(listeners)).toEqual(["avif"]);
});

test("what a page tells is not undone by a cache that answers later", async () => {
  let answer!: (kept: undefined) => void;
  const listeners = await started(new Promise((resolve) => (answer = resolve)));
  listeners["message"]!({ ...told, data: visitor });
  answer(undefined);
  expect(await asked(listeners)).toEqual(["limg", "avif"]);
});
