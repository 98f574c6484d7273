/** What a picture's URL tells: `/pictures/<signature>/<width>/<stored name>.<format>`. */

const STORED = String.raw`\.(\d+)x(\d+)-(\d+)\.[0-9a-f]{8}-[0-9a-f]{4}\.limg`;
const RENDITION = new RegExp(String.raw`/(\d+)(/.+${STORED})\.(?:avif|webp|jpeg)$`);
const BLOB = new RegExp(String.raw`${STORED}\.limg$`);

export interface Compressed {
  /** Of the blob. */
  url: string;
  /** Of the whole picture, pixels. */
  width: number;
  height: number;
  /** Of the blob. */
  bytes: number;
}

export interface Rendition {
  /** Pixels. */
  width: number;
  /** What it was made of. */
  of: Compressed;
}

/**
 * What a rendition's URL stands for; undefined for other URLs, and for parts of pictures, which
 * have no blob.
 */
export function readRendition(url: string): Rendition | undefined {
  const match = RENDITION.exec(url);
  if (!match) return undefined;
  const [whole, asked, name, ...size] = match as unknown as [string, string, string];
  const of = compressed(`${url.slice(0, -whole.length)}/${asked}${name}.limg`, size);
  return { width: Math.min(Number(asked), of.width), of }; // Pictures are never scaled up.
}

/** What a blob's URL tells; undefined for other URLs. */
export function readBlob(url: string): Compressed | undefined {
  const match = BLOB.exec(url);
  return match ? compressed(url, match.slice(1)) : undefined;
}

function compressed(url: string, size: string[]): Compressed {
  const [width, height, bytes] = size.map(Number) as [number, number, number];
  return { url, width, height, bytes };
}
