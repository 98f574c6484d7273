import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** `import integrity from "./file?integrity"`: what `fetch` compares the file with. */
const integrity: Plugin = {
  name: "integrity",
  enforce: "pre",
  load(id) {
    const [file, query] = id.split("?");
    if (query !== "integrity") return null;
    const digest = createHash("sha384").update(readFileSync(file!)).digest("base64");
    return `export default "sha384-${digest}"`;
  },
};

export default defineConfig({
  base: "./", // Django knows where static files are served, the build does not.
  plugins: [integrity],
  worker: { format: "es", plugins: () => [integrity] },
  build: {
    target: "es2022",
    outDir: "../django_latentimg/static/django_latentimg/client",
    emptyOutDir: true,
    assetsDir: "",
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      input: "src/index.ts",
      preserveEntrySignatures: "strict",
      output: { entryFileNames: "latentimg.js" },
    },
  },
  // How long a test takes is the machine's affair.
  test: { globalSetup: "tests/setup.ts", testTimeout: 300_000 },
});
