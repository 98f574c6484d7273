/** A decoded picture as a file that an `<img>` shows. */

import { toBitmapFile } from "./bmp";

/** PNG where the picture has transparency. Closes the bitmap. */
export async function toFile(bitmap: ImageBitmap): Promise<Blob> {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser gives no canvas of that size.");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const file = toBitmapFile(context.getImageData(0, 0, width, height));
  return file ? new Blob([file], { type: "image/bmp" }) : canvas.convertToBlob();
}
