/** What a picture's URL tells: `/pictures/<signature>/<width>/<stored name>.<format>`. */

const RENDITION = /\/(\d+)(\/.+\.(\d+)x\d+\.[0-9a-f]{8}-[0-9a-f]{4}\.limg)\.(?:avif|webp|jpeg)$/;
const WIDTH = /\.(\d+)x\d+\.[0-9a-f]{8}-[0-9a-f]{4}\.limg\.limg$/;

export interface Rendition {
  /** Pixels. */
  width: number;
  /** Of the whole picture, pixels. */
  full: number;
  /** Its blob's URL. */
  blob: string;
}

/**
 * What a rendition's URL stands for; undefined for other URLs, and for parts of pictures, which
 * have no blob.
 */
export function readRendition(url: string): Rendition | undefined {
  const match = RENDITION.exec(url);
  if (!match) return undefined;
  const [whole, asked, name, full] = match as unknown as [string, string, string, string];
  return {
    width: Math.min(Number(asked), Number(full)), // Pictures are never scaled up.
    full: Number(full),
    blob: `${url.slice(0, -whole.length)}/${asked}${name}.limg`,
  };
}

/** Of the whole picture, pixels, by its blob's URL; 0 for other URLs. */
export function blobWidth(url: string): number {
  return Number(WIDTH.exec(url)?.[1] ?? 0);
}

/**
 * AVIF half as wide as a blob takes 1.4 times the blob's bytes, and 0.6 times if it has a quarter of
 * the width (the photographs of `BREAK_EVEN`), so small renditions are downloaded.
 */
const LEAST_SHARE = 0.5;

export function isWorthDecoding(width: number, full: number): boolean {
  return width >= LEAST_SHARE * full;
}
