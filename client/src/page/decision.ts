/** Whether this browser decodes. */

/** What is remembered of somebody who visits the site. */
export interface Visitor {
  /** Bytes that blobs would have saved since the decoder was last tried. */
  missed: number;
  /** Digest of the decoder's files that were fetched, and are in the browser's cache. */
  digest: string;
  /** Milliseconds that a megapixel takes. */
  pace: number;
}

export interface Device {
  /** Whether it has what the decoder needs. */
  able: boolean;
  saveData: boolean;
  /** GiB, as far as the browser tells. */
  memory: number;
}

/**
 * Bytes of the decoder, compressed. Somebody who has lost as much without it will go on to: to
 * fetch it then costs at most twice what the best guess would have.
 */
export const BREAK_EVEN = 1_800_000;

/** A megapixel in 1.5 s is a card of 300 × 400 CSS pixels on a dense screen in 0.7. */
export const SLOWEST = 1500;

/** GiB. Each of up to four workers takes 50 MB. */
const LEAST_MEMORY = 4;

/** Decode; or fetch and try the decoder for the next pages; or neither. */
export function decide(
  visitor: Visitor,
  device: Device,
  digest: string,
): "decode" | "try" | "neither" {
  if (!device.able || device.saveData || device.memory < LEAST_MEMORY) return "neither";
  if (visitor.digest === digest && visitor.pace <= SLOWEST) return "decode";
  return visitor.missed >= BREAK_EVEN ? "try" : "neither";
}

/** A function that gives a vector, the least that WebAssembly without SIMD refuses. */
const SIMD = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic and version
  ...[1, 5, 1, 0x60, 0, 1, 0x7b], // a type: nothing to v128
  ...[3, 2, 1, 0], // a function of it
  ...[10, 8, 1, 6, 0, 0x41, 0, 0xfd, 15, 11], // i32.const 0, i8x16.splat
);

/** Of a page, or of a service worker. */
export function thisDevice(): Device {
  const { connection, deviceMemory = LEAST_MEMORY } = navigator as Navigator & {
    connection?: { saveData?: boolean };
    deviceMemory?: number;
  };
  return {
    able: "OffscreenCanvas" in self && "WebAssembly" in self && WebAssembly.validate(SIMD),
    saveData: connection?.saveData ?? false,
    memory: deviceMemory,
  };
}
