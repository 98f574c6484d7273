/** What the site's pages remember of a visitor, in this browser. */

import type { Visitor } from "./decision";

const KEY = "latentimg";
const UNKNOWN: Visitor = { missed: 0, digest: "", pace: 0 };

export function recall(): Visitor {
  try {
    return { ...UNKNOWN, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return UNKNOWN; // Browsers may forbid storage, and it may hold anything.
  }
}

export function remember(change: Partial<Visitor>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...change }));
  } catch {
    // Then nothing is ever decoded.
  }
}

/** The decoder has failed: it is tried again after as many bytes as the first time. */
export const forgetDecoder = () => remember(UNKNOWN);
