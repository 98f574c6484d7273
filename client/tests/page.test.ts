import { describe, expect, test } from "vitest";
import { readBlob, readRendition } from "../src/page/addresses";
import { toBitmapFile } from "../src/page/bmp";
import { BREAK_EVEN, decide, type Device, SLOWEST, type Visitor } from "../src/page/decision";
import { TOLERANCE, widthFor } from "../src/page/widths";
import { saving } from "../src/page/worth";

describe("decide", () => {
  const visitor: Visitor = { missed: 0, digest: "this", pace: 500 };
  const device: Device = { able: true, saveData: false, memory: 8 };

  test.each<[string, Partial<Visitor>, Partial<Device>, ReturnType<typeof decide>]>([
    ["has the decoder", {}, {}, "decode"],
    ["is just fast enough", { pace: SLOWEST }, {}, "decode"],
    ["is too slow", { pace: SLOWEST + 1 }, {}, "neither"],
    ["may be fast by now", { pace: SLOWEST + 1, missed: BREAK_EVEN }, {}, "try"],
    ["has another decoder", { digest: "other" }, {}, "neither"],
    ["has none", { digest: "" }, {}, "neither"],
    ["has nearly lost enough", { digest: "", missed: BREAK_EVEN - 1 }, {}, "neither"],
    ["has lost enough", { digest: "", missed: BREAK_EVEN }, {}, "try"],
    ["saves data", { missed: BREAK_EVEN }, { saveData: true }, "neither"],
    ["has little memory", { missed: BREAK_EVEN }, { memory: 2 }, "neither"],
    ["has just enough memory", {}, { memory: 4 }, "decode"],
    ["is an old browser", { missed: BREAK_EVEN }, { able: false }, "neither"],
  ])("a visitor that %s", (_, someVisitor, someDevice, verdict) => {
    const decided = decide({ ...visitor, ...someVisitor }, { ...device, ...someDevice }, "this");
    expect(decided).toBe(verdict);
  });
});

describe("addresses", () => {
  const signed = "https://cdn.example/img/shop.product.photo:Ab-_9";
  const name = "photos/%C3%BC%201.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg";

  test.each(["avif", "webp", "jpeg"])("a rendition in %s leads to its blob", (format) => {
    const rendition = readRendition(`${signed}/640/${name}.${format}`);
    const of = { url: `${signed}/640/${name}.limg`, width: 1600, height: 1200, bytes: 5123 };
    expect(rendition).toEqual({ width: 640, of });
    expect(readBlob(of.url)).toEqual(of);
  });

  test("a rendition is never wider than its blob", () => {
    expect(readRendition(`${signed}/1920/${name}.avif`)?.width).toBe(1600);
  });

  test.each([
    ["a part", `${signed}/640x16-9/${name}.avif`],
    ["a blob", `${signed}/640/${name}.limg`],
    ["a negotiated URL", `${signed}/640/${name}`],
    ["a source's", `${signed}/640/photos/llama.jpg.avif`],
    ["another picture", "https://shop.example/static/logo.avif"],
    ["a drawing", "blob:https://shop.example/0123#stand-in"],
  ])("%s is no rendition of a blob", (_, url) => {
    expect(readRendition(url)).toBeUndefined();
  });

  test("a rendition is no blob", () => {
    expect(readBlob(`${signed}/640/${name}.avif`)).toBeUndefined();
    expect(readBlob(`${signed}/640/photos/llama.jpg.limg`)).toBeUndefined();
  });
});

describe("saving", () => {
  const picture = { url: "", width: 1600, height: 1200, bytes: 25_000 };

  test.each([
    ["in full", 1600, 115_200 - 25_000],
    ["at half of its width", 800, 0],
    ["where that is just under two thirds of the rendition", 913, 37_511 - 25_000],
    ["where it is a little more", 912, 0],
  ])("%s", (_, shown, bytes) => {
    expect(Math.round(saving(picture, shown))).toBe(bytes);
  });

  test("a blob that holds AVIF saves nothing", () => {
    expect(saving({ ...picture, bytes: 150_000 }, 1600)).toBe(0);
  });
});

describe("widthFor", () => {
  test.each([
    ["more than there is", 3000, 1000, 1000],
    ["a fraction of a pixel", 612.3, 1000, 613],
    ["an output", 500, 1000, 500],
    ["a little more than an output", 549, 1000, 500],
    ["much more than an output", 551, 1000, 551],
    ["a little more than a quarter", 260, 1000, 250],
    ["an output of an odd width", 501, 1001, 500],
  ])("%s", (_, wanted, full, width) => {
    expect(widthFor(wanted, full)).toBe(width);
  });

  test("never leaves a place that it would decode for again", () => {
    for (let full = 1; full < 300; full++) {
      for (let wanted = 1; wanted <= full; wanted += 0.7) {
        expect(wanted).toBeLessThanOrEqual(widthFor(wanted, full) * TOLERANCE);
      }
    }
  });
});

describe("toBitmapFile", () => {
  const picture = (width: number, height: number, alpha = 255): ImageData => {
    const data = Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) =>
      at % 4 === 3 ? alpha : at,
    );
    return { data, width, height, colorSpace: "srgb" } as ImageData;
  };

  test.each([1, 2, 3, 4, 5])("%i pixels in a row", (width) => {
    const file = toBitmapFile(picture(width, 2))!;
    const view = new DataView(file.buffer);
    const start = view.getUint32(10, true);
    const stride = Math.ceil((3 * width) / 4) * 4;
    expect(String.fromCharCode(file[0]!, file[1]!)).toBe("BM");
    expect(view.getUint32(2, true)).toBe(file.length);
    expect(file.length).toBe(start + 2 * stride);
    expect([view.getInt32(18, true), view.getInt32(22, true)]).toEqual([width, 2]);
    expect([view.getUint16(26, true), view.getUint16(28, true)]).toEqual([1, 24]);
    const lowest = 4 * width;
    expect([...file.subarray(start, start + 3)]).toEqual([lowest + 2, lowest + 1, lowest]);
    expect([...file.subarray(start + stride, start + stride + 3)]).toEqual([2, 1, 0]);
  });

  test("says nothing of pictures with transparency", () => {
    expect(toBitmapFile(picture(3, 2, 254))).toBeUndefined();
  });
});
