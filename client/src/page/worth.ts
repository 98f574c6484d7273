/** Whether a blob has fewer bytes than the rendition it stands for. */

import type { Compressed } from "./addresses";

/**
 * That a pixel of a rendition takes in AVIF: mean and median of those in
 * `benchmarks/results/renditions.csv`, half of them of products. What it comes to is at the end of
 * `benchmarks/results/client.md`.
 */
const BITS = 0.48;

/** Decoding takes time, and what a rendition takes is a guess: for less it is not worth it. */
const LEAST_SHARE = 1 / 3;

/** Bytes that a blob saves where the picture is shown this wide; 0 if it is not worth decoding. */
export function saving({ width, height, bytes }: Compressed, shown: number): number {
  const rendition = (shown * shown * height * BITS) / (8 * width);
  const saved = rendition - bytes;
  return saved >= rendition * LEAST_SHARE ? saved : 0;
}
