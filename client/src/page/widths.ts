/** How many pixels are decoded. */

import { SCALES } from "../decoder/layers";

/** By how much a browser may scale a picture up before a larger one is decoded. */
export const TOLERANCE = 1.1;

/**
 * Pixels of width to decode for a place of `wanted`, of a picture of `full`. Where one of the
 * decoder's outputs nearly covers it, that one, for the next takes up to four times as long.
 */
export function widthFor(wanted: number, full: number): number {
  const outputs = SCALES.map((scale) => Math.floor(full / scale));
  const nearly = outputs.find((output) => output <= wanted && wanted <= output * TOLERANCE);
  return nearly ?? Math.min(Math.ceil(wanted), full);
}

/** Pixels of the screen that the picture's width has, where it is shown or would be, uncropped. */
export function shownWidth(image: HTMLImageElement): number {
  const { width, height } = image.getBoundingClientRect();
  const [across, down] = [image.getAttribute("width"), image.getAttribute("height")].map(Number);
  return Math.max(width, (height * across!) / down! || 0) * devicePixelRatio;
}
