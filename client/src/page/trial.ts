/** The decoder's first run: afterwards its files are in the browser's cache, and its pace known. */

import digests from "virtual:digests";
import type { Space } from "../container";
import { decode } from "../decode";
import { forgetDecoder, remember } from "./memory";
import compactSampleUrl from "./sample-compact1.limg?url";
import sampleUrl from "./sample-sd1.limg?url";

const SAMPLES: Record<Space, string> = { sd1: sampleUrl, compact1: compactSampleUrl };

const MEGAPIXELS = 0.32 ** 2;
/** The first waits for the files; the fastest of the others is the one that least disturbed. */
const ROUNDS = 3;

export async function tryDecoder(space: Space): Promise<void> {
  try {
    const response = await fetch(new URL(SAMPLES[space], import.meta.url));
    const sample = new Uint8Array(await response.arrayBuffer());
    (await decode(sample)).close();
    let least = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      (await decode(sample)).close();
      least = Math.min(least, performance.now() - start);
    }
    remember({ missed: 0, digest: digests[space], pace: Math.round(least / MEGAPIXELS) });
  } catch {
    forgetDecoder();
  }
}
